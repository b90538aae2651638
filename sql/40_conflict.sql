-- The columns are those of extension/conflict/log.c.
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
    local_tuple_commit_time timestamptz,
    reloid_xmin xid
);
ALTER TABLE bdr.conflict_history REPLICA IDENTITY FULL; -- a publication for all tables must not keep us from deleting
COMMENT ON TABLE bdr.conflict_history IS 'conflicts that this node met while applying changes of its peers, and what it did';

-- By which old rows are found.
CREATE INDEX conflict_history_local_time_idx ON bdr.conflict_history (local_time);

-- Whether the current user may read the whole of a table; false when it is gone, or
-- when row security restricts him.  A partition may be read through what it is a part of.
-- Oids are used again: the table must be the one that transaction created_by made, which is
-- told by a row of pg_attribute that stays as it was then.
CREATE FUNCTION bdr.internal_may_read(relation oid, created_by xid)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = relation AND a.attname = 'cmin' AND a.xmin = created_by)
    AND ((pg_catalog.has_table_privilege(relation, 'SELECT') AND NOT pg_catalog.row_security_active(relation))
    OR EXISTS (SELECT FROM pg_catalog.pg_partition_ancestors(relation::pg_catalog.regclass) a
        WHERE pg_catalog.has_table_privilege(a.relid, 'SELECT') AND NOT pg_catalog.row_security_active(a.relid)));
COMMENT ON FUNCTION bdr.internal_may_read(oid, xid) IS 'internal: whether the current user may read every row of a table';

-- Whether the current user has the rights of a role; false when there is no such role.
CREATE FUNCTION bdr.internal_has_role(role name)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = role AND pg_catalog.pg_has_role(r.oid, 'USAGE'));
COMMENT ON FUNCTION bdr.internal_has_role(name) IS 'internal: whether the current user has the rights of a role, if there is one of that name';

ALTER TABLE bdr.conflict_history ENABLE ROW LEVEL SECURITY;
CREATE POLICY conflicts_of_readable_tables ON bdr.conflict_history FOR SELECT
    USING ((SELECT bdr.internal_has_role('bdr_read_all_conflicts')) OR bdr.internal_may_read(reloid, reloid_xmin));
COMMENT ON POLICY conflicts_of_readable_tables ON bdr.conflict_history IS 'whoever may read the table may read its conflicts';

-- No user data: whoever reads statistics sees all of it.
CREATE VIEW bdr.conflict_history_summary WITH (security_barrier) AS
    SELECT h.nspname, h.relname, h.origin_node_id, h.remote_commit_lsn, h.remote_change_nr, h.local_time,
           h.local_tuple_commit_time, h.remote_commit_time, h.conflict_type, h.conflict_resolution
    FROM bdr.conflict_history h
    WHERE (SELECT bdr.internal_has_role('bdr_read_all_stats') OR bdr.internal_has_role('bdr_read_all_conflicts'))
       OR bdr.internal_may_read(h.reloid, h.reloid_xmin);
COMMENT ON VIEW bdr.conflict_history_summary IS 'conflicts without the rows that they are about';

CREATE TABLE bdr.node_log_config (
    log_name name NOT NULL PRIMARY KEY,
    log_to_file boolean NOT NULL,
    log_to_table boolean NOT NULL,
    log_conflict_type text[],
    log_conflict_res text[]
);
COMMENT ON TABLE bdr.node_log_config IS 'which conflicts this node logs, and where; without a row all of them to bdr.conflict_history';

-- Of the local node only, and not replicated.  NULL is all types, or all resolutions.
CREATE FUNCTION bdr.alter_node_set_log_config(node_name text, log_to_file boolean DEFAULT true, log_to_table boolean DEFAULT true,
    conflict_type text[] DEFAULT NULL, conflict_resolution text[] DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.alter_node_set_log_config(text, boolean, boolean, text[], text[]) IS 'choose which conflicts the local node logs, and where';
REVOKE ALL ON FUNCTION bdr.alter_node_set_log_config(text, boolean, boolean, text[], text[]) FROM PUBLIC;

-- Where a type has no row its default holds; gosrc/conflict/resolver.go has the list.
CREATE TABLE bdr.node_conflict_resolvers (
    conflict_type text NOT NULL PRIMARY KEY,
    conflict_resolver text NOT NULL
);
COMMENT ON TABLE bdr.node_conflict_resolvers IS 'what this node does about conflicts of a type, where that is not the default';

CREATE FUNCTION bdr.internal_resolvers_changed()
RETURNS trigger
AS 'MODULE_PATHNAME', 'bdr_internal_resolvers_changed'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_resolvers_changed() IS 'internal: have the writers ask for resolvers again';
REVOKE ALL ON FUNCTION bdr.internal_resolvers_changed() FROM PUBLIC;
CREATE TRIGGER resolvers_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON bdr.node_conflict_resolvers
    FOR EACH STATEMENT EXECUTE FUNCTION bdr.internal_resolvers_changed();
ALTER TABLE bdr.node_conflict_resolvers ENABLE ALWAYS TRIGGER resolvers_changed;

-- For skip_if_recently_dropped: notes of every DROP TABLE; the manager takes away what is older than a day.
CREATE TABLE bdr.dropped_table (
    nspname name NOT NULL,
    relname name NOT NULL,
    drop_time timestamptz NOT NULL,
    owner_name name NOT NULL,
    owner_is_superuser boolean NOT NULL
);
CREATE INDEX dropped_table_relname_idx ON bdr.dropped_table (relname);
ALTER TABLE bdr.dropped_table REPLICA IDENTITY FULL;
COMMENT ON TABLE bdr.dropped_table IS 'tables that were dropped on this node within the last day or so';

CREATE FUNCTION bdr.alter_node_set_conflict_resolver(node_name text, conflict_type text, conflict_resolver text)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.alter_node_set_conflict_resolver(text, text, text) IS 'choose what the local node does about conflicts of a type';
REVOKE ALL ON FUNCTION bdr.alter_node_set_conflict_resolver(text, text, text) FROM PUBLIC;
