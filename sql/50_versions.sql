-- Versions of rows that this node has seen but that no row of a table shows
-- (docs/decisions/0007-convergence.md).  Local: not replicated.

-- index_name is '' for the key by which rows are found; else a unique or
-- exclusion index.  key_values are the values in the index's order, as text in
-- the writers' settings; value_hash is 0 where the types have no hash function.
-- commit_time infinity is that of the transaction that wrote the row here.
CREATE TABLE bdr.remembered_version (
    relation oid NOT NULL,
    index_name name NOT NULL,
    value_hash bigint NOT NULL,
    key_values text[] NOT NULL,
    commit_time timestamptz NOT NULL,
    node_id oid NOT NULL
);
CREATE INDEX remembered_version_idx ON bdr.remembered_version (relation, index_name, value_hash, commit_time);
CREATE INDEX remembered_version_commit_time_idx ON bdr.remembered_version (commit_time);
ALTER TABLE bdr.remembered_version REPLICA IDENTITY FULL;
COMMENT ON TABLE bdr.remembered_version IS 'deletions that found no row, and rows that lost, for as long as a peer may send something older';

-- By key values like '' above.  The local transaction deleted the row in favour
-- of one with another key: it is no deletion of this key.
CREATE TABLE bdr.evicted_row (
    relation oid NOT NULL,
    value_hash bigint NOT NULL,
    key_values text[] NOT NULL,
    xid xid8 NOT NULL
);
CREATE INDEX evicted_row_idx ON bdr.evicted_row (relation, value_hash, xid);
ALTER TABLE bdr.evicted_row REPLICA IDENTITY FULL;
COMMENT ON TABLE bdr.evicted_row IS 'rows that were deleted because a newer row of another key took a value of theirs';

-- Rows of both go soon after they came.
ALTER TABLE bdr.remembered_version SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000);
ALTER TABLE bdr.evicted_row SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000);

-- The next six are the manager's.  Times are microseconds since 2000.
CREATE FUNCTION bdr.internal_watermark(awaited bigint)
RETURNS bigint
AS 'MODULE_PATHNAME', 'bdr_internal_watermark'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_watermark(bigint) IS 'internal: promise that nothing older than now follows';
REVOKE ALL ON FUNCTION bdr.internal_watermark(bigint) FROM PUBLIC;

CREATE FUNCTION bdr.internal_sample(OUT xmin xid8, OUT next_xid xid8, OUT clock bigint, OUT newest_commit bigint, OUT hold_xmin xid8)
RETURNS record
AS 'MODULE_PATHNAME', 'bdr_internal_sample'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_sample() IS 'internal: which transactions have ended, and by when';
REVOKE ALL ON FUNCTION bdr.internal_sample() FROM PUBLIC;

CREATE FUNCTION bdr.internal_set_hold(xmin xid8)
RETURNS boolean
AS 'MODULE_PATHNAME', 'bdr_internal_set_hold'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_set_hold(xid8) IS 'internal: keep the dead rows of transactions from this one on';
REVOKE ALL ON FUNCTION bdr.internal_set_hold(xid8) FROM PUBLIC;

CREATE FUNCTION bdr.internal_dead_row_hold(
    OUT slot_name name, OUT hold_status text, OUT xmin xid, OUT xmin_age bigint, OUT held_since timestamptz,
    OUT clean_up_time timestamptz, OUT blocking_node_id oid,
    OUT ncuts bigint, OUT cut_start_time timestamptz, OUT cut_end_time timestamptz,
    OUT cut_xid xid, OUT cut_commit_time timestamptz, OUT cut_node_id oid)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'bdr_call_if_running'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_dead_row_hold() IS 'internal: what the manager keeps of dead rows, and why';
REVOKE ALL ON FUNCTION bdr.internal_dead_row_hold() FROM PUBLIC;

CREATE FUNCTION bdr.internal_barrier(after bigint, OUT clock bigint, OUT "position" pg_lsn)
RETURNS record
AS 'MODULE_PATHNAME', 'bdr_internal_barrier'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_barrier(bigint) IS 'internal: where everything in WAL begins to be newer than a time';
REVOKE ALL ON FUNCTION bdr.internal_barrier(bigint) FROM PUBLIC;

CREATE FUNCTION bdr.internal_message(content text)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_internal_message'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_message(text) IS 'internal: writes a message to the peers into WAL';
REVOKE ALL ON FUNCTION bdr.internal_message(text) FROM PUBLIC;
