CREATE TABLE bdr.conflict_history (
    sub_id oid,
    origin_node_id oid,
    local_xid xid,
    local_lsn pg_lsn,
    local_time timestamptz,
    remote_xid xid,
    remote_change_nr oid,
    remote_commit_lsn pg_lsn,
    remote_commit_time timestamptz,
    conflict_type text,
    conflict_resolution text,
    conflict_rule text,
    conflict_index regclass,
    reloid oid,
    nspname text,
    relname text,
    key_tuple json,
    remote_tuple json,
    local_tuple json,
    apply_tuple json,
    local_tuple_xmin xid,
    local_tuple_node_id oid,
    local_tuple_commit_time timestamptz
);
CREATE INDEX conflict_history_local_time_idx ON bdr.conflict_history USING brin (local_time);
COMMENT ON TABLE bdr.conflict_history IS 'conflicts that this node met while applying changes of its peers, and what it did';
