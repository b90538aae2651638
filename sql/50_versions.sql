-- Versions of rows that this node has seen but that no row of a table shows
-- (docs/decisions/0007-convergence.md).  Local: not replicated.

-- index_name is '' for the key by which rows are found; else a unique or
-- exclusion index.  key_values are the values in the index's order, as text in
-- the writers' settings; value_hash is 0 where the types have no hash function.
CREATE TABLE bdr.remembered_version (
    relation oid NOT NULL,
    index_name name NOT NULL,
    value_hash bigint NOT NULL,
    key_values text[] NOT NULL,
    commit_time timestamptz NOT NULL,
    node_id oid NOT NULL
);
CREATE INDEX remembered_version_idx ON bdr.remembered_version (relation, index_name, value_hash);
CREATE INDEX remembered_version_commit_time_idx ON bdr.remembered_version (commit_time);
COMMENT ON TABLE bdr.remembered_version IS 'deletions that found no row, and rows that lost, for as long as a peer may send something older';

-- By key values like '' above.  The local transaction deleted the row in favour
-- of one with another key: it is no deletion of this key.
CREATE TABLE bdr.evicted_row (
    relation oid NOT NULL,
    value_hash bigint NOT NULL,
    key_values text[] NOT NULL,
    xid xid NOT NULL
);
CREATE INDEX evicted_row_idx ON bdr.evicted_row (relation, value_hash);
COMMENT ON TABLE bdr.evicted_row IS 'rows that were deleted because a newer row of another key took a value of theirs';
