-- Sets of tables, agreed by consensus.  The default set, which has the name of the group and every table, has no row.
-- Output plugins read these as they were at a place in WAL; what they read must not be in a TOAST table.
CREATE TABLE bdr.replication_set (
    set_id oid NOT NULL PRIMARY KEY,
    set_name name NOT NULL UNIQUE,
    replicate_insert boolean NOT NULL,
    replicate_update boolean NOT NULL,
    replicate_delete boolean NOT NULL,
    replicate_truncate boolean NOT NULL,
    set_isinternal boolean NOT NULL DEFAULT false,
    set_autoadd_tables boolean NOT NULL,
    set_autoadd_seqs boolean NOT NULL DEFAULT false
) WITH (user_catalog_table = true);
COMMENT ON TABLE bdr.replication_set IS 'replication sets but the default one, agreed by consensus';

-- Tables by name, since each node has its own of that name.  One that is not a member is left out of a set that adds
-- tables by itself.
CREATE TABLE bdr.replication_set_table (
    set_id oid NOT NULL,
    nspname name NOT NULL,
    relname name NOT NULL,
    is_member boolean NOT NULL,
    set_att_list text[],
    set_row_filter text,
    set_filter_outside name,
    PRIMARY KEY (set_id, nspname, relname)
) WITH (user_catalog_table = true);
ALTER TABLE bdr.replication_set_table ALTER COLUMN set_att_list SET STORAGE PLAIN;
ALTER TABLE bdr.replication_set_table ALTER COLUMN set_row_filter SET STORAGE PLAIN;
COMMENT ON TABLE bdr.replication_set_table IS 'tables of replication sets, agreed by consensus';

-- Which statements go with a set; regular expressions, of which NULL matches everything.  Read where a statement is typed.
CREATE TABLE bdr.replication_set_ddl (
    set_id oid NOT NULL,
    set_ddl_name name NOT NULL PRIMARY KEY,
    set_ddl_tag text,
    set_ddl_role text,
    set_ddl_query text,
    set_ddl_exclusive boolean NOT NULL
);
COMMENT ON TABLE bdr.replication_set_ddl IS 'DDL filters of replication sets, agreed by consensus';

-- One row, from the first set on: a call that the log brings twice is carried out once.
CREATE TABLE bdr.replication_set_call (
    id integer NOT NULL PRIMARY KEY DEFAULT 1 CHECK (id OPERATOR(pg_catalog.=) 1),
    last_set_id oid NOT NULL,
    calls text[] NOT NULL
);
COMMENT ON TABLE bdr.replication_set_call IS 'the last calls that changed replication sets, agreed by consensus';

ALTER TABLE bdr.node_group SET (user_catalog_table = true);
ALTER TABLE bdr.local_node SET (user_catalog_table = true);
ALTER TABLE bdr.local_node ALTER COLUMN pub_repsets SET STORAGE PLAIN;
ALTER TABLE bdr.local_node ALTER COLUMN sub_repsets SET STORAGE PLAIN;

CREATE FUNCTION bdr.internal_replication_sets_changed()
RETURNS trigger
AS 'MODULE_PATHNAME', 'bdr_internal_replication_sets_changed'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_replication_sets_changed() IS 'internal: have output plugins look at replication sets again';
REVOKE ALL ON FUNCTION bdr.internal_replication_sets_changed() FROM PUBLIC;
CREATE TRIGGER replication_sets_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON bdr.replication_set
    FOR EACH STATEMENT EXECUTE FUNCTION bdr.internal_replication_sets_changed();
ALTER TABLE bdr.replication_set ENABLE ALWAYS TRIGGER replication_sets_changed;
CREATE TRIGGER replication_sets_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON bdr.replication_set_table
    FOR EACH STATEMENT EXECUTE FUNCTION bdr.internal_replication_sets_changed();
ALTER TABLE bdr.replication_set_table ENABLE ALWAYS TRIGGER replication_sets_changed;
CREATE TRIGGER replication_sets_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON bdr.local_node
    FOR EACH STATEMENT EXECUTE FUNCTION bdr.internal_replication_sets_changed();
ALTER TABLE bdr.local_node ENABLE ALWAYS TRIGGER replication_sets_changed;

CREATE FUNCTION bdr.internal_check_row_filter(relation regclass, row_filter text)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_internal_check_row_filter'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_check_row_filter(regclass, text) IS 'internal: refuse a row filter with code of users';
REVOKE ALL ON FUNCTION bdr.internal_check_row_filter(regclass, text) FROM PUBLIC;

CREATE VIEW bdr.replication_sets AS
    SELECT g.node_group_id AS set_id, g.node_group_name AS set_name, true AS replicate_insert, true AS replicate_update,
           true AS replicate_delete, true AS replicate_truncate, true AS set_autoadd_tables, false AS set_autoadd_seqs
    FROM bdr.node_group g
    UNION ALL
    SELECT s.set_id, s.set_name, s.replicate_insert, s.replicate_update, s.replicate_delete, s.replicate_truncate,
           s.set_autoadd_tables, s.set_autoadd_seqs
    FROM bdr.replication_set s;
COMMENT ON VIEW bdr.replication_sets IS 'all replication sets, the default one among them';

CREATE VIEW bdr.ddl_replication AS
    SELECT d.set_ddl_name, d.set_ddl_tag, d.set_ddl_role, s.set_name, d.set_ddl_query, d.set_ddl_exclusive
    FROM bdr.replication_set_ddl d
    JOIN bdr.replication_set s ON s.set_id = d.set_id;
COMMENT ON VIEW bdr.ddl_replication IS 'DDL filters and the replication sets that they are of';

CREATE VIEW bdr.node_group_replication_sets AS
    SELECT g.node_group_name, g.node_group_name AS def_repset,
           '{INSERT,UPDATE,DELETE,TRUNCATE}'::text[] AS def_repset_ops,
           g.node_group_name AS def_repset_ext, '{INSERT,UPDATE,DELETE,TRUNCATE}'::text[] AS def_repset_ext_ops
    FROM bdr.node_group g;
COMMENT ON VIEW bdr.node_group_replication_sets IS 'the default replication set of each group';

-- The table nearest to the root of a partition that is in the set counts; a set adds roots by itself, not partitions.
-- extension/output/replication_set.c has the same rule.  Joins call it where views are forbidden.
CREATE FUNCTION bdr.internal_tables_of_sets(OUT relid oid, OUT set_name name, OUT set_ops text[], OUT rel_columns text[], OUT row_filter text)
RETURNS SETOF record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH sets AS (
        SELECT g.node_group_id AS set_id, g.node_group_name AS set_name, '{INSERT,UPDATE,DELETE,TRUNCATE}'::text[] AS set_ops, true AS adds_tables
        FROM bdr.node_group g
        UNION ALL
        SELECT s.set_id, s.set_name,
               array_remove(ARRAY[CASE WHEN s.replicate_insert THEN 'INSERT' END, CASE WHEN s.replicate_update THEN 'UPDATE' END,
                   CASE WHEN s.replicate_delete THEN 'DELETE' END, CASE WHEN s.replicate_truncate THEN 'TRUNCATE' END], NULL),
               s.set_autoadd_tables
        FROM bdr.replication_set s)
    SELECT c.oid, s.set_name, s.set_ops, m.set_att_list, m.set_row_filter
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN sets s
    CROSS JOIN LATERAL (
        SELECT t.set_att_list, t.set_row_filter
        FROM (SELECT c.oid AS relid, 1::bigint AS place WHERE NOT c.relispartition
              UNION ALL SELECT a.relid, a.place FROM pg_partition_ancestors(c.oid) WITH ORDINALITY a (relid, place)
              WHERE c.relispartition) a
        JOIN pg_class r ON r.oid = a.relid
        JOIN pg_namespace rn ON rn.oid = r.relnamespace
        LEFT JOIN bdr.replication_set_table t ON t.set_id = s.set_id AND t.nspname = rn.nspname AND t.relname = r.relname
        WHERE COALESCE(t.is_member, s.adds_tables AND NOT r.relispartition)
        ORDER BY a.place DESC LIMIT 1) m
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'bdr');
END;
COMMENT ON FUNCTION bdr.internal_tables_of_sets() IS 'internal: which tables are in which replication sets';
REVOKE ALL ON FUNCTION bdr.internal_tables_of_sets() FROM PUBLIC;

CREATE VIEW bdr.tables AS
    SELECT d.relid, d.nspname, d.relname, t.set_name, t.set_ops, t.rel_columns, t.row_filter, d.method AS conflict_detection
    FROM bdr.internal_tables_of_sets() t
    JOIN bdr.conflict_detection d ON d.relid = t.relid;
COMMENT ON VIEW bdr.tables IS 'tables and the replication sets that they are in';

-- These are carried out on all nodes at once, whatever becomes of the caller's transaction.
CREATE FUNCTION bdr.create_replication_set(set_name name, replicate_insert boolean DEFAULT true, replicate_update boolean DEFAULT true,
    replicate_delete boolean DEFAULT true, replicate_truncate boolean DEFAULT true, autoadd_tables boolean DEFAULT false,
    autoadd_existing boolean DEFAULT true)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.create_replication_set(name, boolean, boolean, boolean, boolean, boolean, boolean) IS 'make a replication set on all nodes';
REVOKE ALL ON FUNCTION bdr.create_replication_set(name, boolean, boolean, boolean, boolean, boolean, boolean) FROM PUBLIC;

CREATE FUNCTION bdr.alter_replication_set(set_name name, replicate_insert boolean DEFAULT NULL, replicate_update boolean DEFAULT NULL,
    replicate_delete boolean DEFAULT NULL, replicate_truncate boolean DEFAULT NULL, autoadd_tables boolean DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.alter_replication_set(name, boolean, boolean, boolean, boolean, boolean) IS 'change what a replication set replicates, on all nodes';
REVOKE ALL ON FUNCTION bdr.alter_replication_set(name, boolean, boolean, boolean, boolean, boolean) FROM PUBLIC;

CREATE FUNCTION bdr.drop_replication_set(set_name name)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.drop_replication_set(name) IS 'forget a replication set on all nodes';
REVOKE ALL ON FUNCTION bdr.drop_replication_set(name) FROM PUBLIC;

CREATE FUNCTION bdr.replication_set_add_table(relation regclass, set_name name DEFAULT NULL, columns text[] DEFAULT NULL, row_filter text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_replication_set_add_table'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.replication_set_add_table(regclass, name, text[], text) IS 'put a table into a replication set, on all nodes';
REVOKE ALL ON FUNCTION bdr.replication_set_add_table(regclass, name, text[], text) FROM PUBLIC;

CREATE FUNCTION bdr.replication_set_remove_table(relation regclass, set_name name DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_replication_set_remove_table'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.replication_set_remove_table(regclass, name) IS 'take a table out of a replication set, on all nodes';
REVOKE ALL ON FUNCTION bdr.replication_set_remove_table(regclass, name) FROM PUBLIC;

CREATE FUNCTION bdr.replication_set_add_ddl_filter(set_name name, ddl_filter_name text, command_tag text, role_name text DEFAULT NULL,
    base_relation_name text DEFAULT NULL, query_match text DEFAULT NULL, exclusive boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_replication_set_add_ddl_filter'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.replication_set_add_ddl_filter(name, text, text, text, text, text, boolean) IS 'have statements go with a replication set, on all nodes';
REVOKE ALL ON FUNCTION bdr.replication_set_add_ddl_filter(name, text, text, text, text, text, boolean) FROM PUBLIC;

CREATE FUNCTION bdr.replication_set_remove_ddl_filter(set_name name, ddl_filter_name text)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.replication_set_remove_ddl_filter(name, text) IS 'take a DDL filter away from a replication set, on all nodes';
REVOKE ALL ON FUNCTION bdr.replication_set_remove_ddl_filter(name, text) FROM PUBLIC;

-- Of the local node only: what it sends, and what it wants of its peers.
CREATE FUNCTION bdr.alter_node_replication_sets(node_name name, set_names text[])
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.alter_node_replication_sets(name, text[]) IS 'choose which replication sets the local node publishes and subscribes to';
REVOKE ALL ON FUNCTION bdr.alter_node_replication_sets(name, text[]) FROM PUBLIC;
