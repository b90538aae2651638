\echo Use "CREATE EXTENSION bdr" to load this file. \quit

CREATE SCHEMA bdr;
GRANT USAGE ON SCHEMA bdr TO PUBLIC;

CREATE FUNCTION bdr.bdr_version()
RETURNS text
AS 'MODULE_PATHNAME', 'bdr_version'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION bdr.bdr_version() IS 'version of the bdr extension';

CREATE FUNCTION bdr.bdr_version_num()
RETURNS integer
AS 'MODULE_PATHNAME', 'bdr_version_num'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION bdr.bdr_version_num() IS 'version of the bdr extension as major * 10000 + minor * 100 + patch';

-- What internal form of values depends on, besides the server's major version.
CREATE FUNCTION bdr.internal_architecture()
RETURNS text
AS 'MODULE_PATHNAME', 'bdr_internal_architecture'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION bdr.internal_architecture() IS 'byte order, sizes and alignment of this server';

-- A manager's message to this node's manager.
CREATE FUNCTION bdr.internal_rpc(message bytea)
RETURNS bytea
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_rpc(bytea) IS 'internal: deliver a message of a peer''s manager to this node''s manager';
REVOKE ALL ON FUNCTION bdr.internal_rpc(bytea) FROM PUBLIC;
-- Names of node states; gosrc/cluster/state.go and its test hold the same list.
CREATE TABLE bdr.peer_state (
    state oid NOT NULL PRIMARY KEY,
    state_name text NOT NULL UNIQUE
);
COMMENT ON TABLE bdr.peer_state IS 'names of node states';
INSERT INTO bdr.peer_state (state, state_name) VALUES
    (0, 'NONE'),
    (1, 'CREATED'),
    (2, 'JOIN_START'),
    (3, 'JOINING'),
    (4, 'CATCHUP'),
    (5, 'STANDBY'),
    (6, 'PROMOTE'),
    (7, 'PROMOTING'),
    (8, 'ACTIVE'),
    (9, 'PART_START'),
    (10, 'PARTING'),
    (11, 'PART_CATCHUP'),
    (12, 'PARTED');

CREATE TABLE bdr.node_group (
    node_group_id oid NOT NULL PRIMARY KEY,
    node_group_name name NOT NULL UNIQUE,
    node_group_uuid uuid NOT NULL,
    node_group_parent_id oid NOT NULL DEFAULT 0
);
COMMENT ON TABLE bdr.node_group IS 'groups of the cluster, agreed by consensus';

CREATE TABLE bdr.node (
    node_id oid NOT NULL PRIMARY KEY,
    node_name name NOT NULL UNIQUE,
    node_group_id oid NOT NULL DEFAULT 0,
    source_node_id oid NOT NULL DEFAULT 0,
    synchronize_structure text NOT NULL DEFAULT 'all',
    node_state oid NOT NULL REFERENCES bdr.peer_state (state),
    target_state oid NOT NULL REFERENCES bdr.peer_state (state),
    seq_id integer NOT NULL DEFAULT 0,
    dbname name NOT NULL,
    dboid oid NOT NULL,
    node_dsn text NOT NULL,
    node_kind text NOT NULL DEFAULT 'data',
    node_uuid uuid NOT NULL UNIQUE
);
COMMENT ON TABLE bdr.node IS 'nodes of the cluster, agreed by consensus; before the first group only the local node';

CREATE TABLE bdr.local_node (
    only_row boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    node_id oid NOT NULL,
    node_uuid uuid NOT NULL,
    pub_repsets text[] NOT NULL DEFAULT '{}',
    sub_repsets text[] NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE bdr.local_node IS 'which node this database is';

-- apply_index is written in the transaction that carries out the entry.
CREATE TABLE bdr.local_consensus_state (
    only_row boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    node_id oid NOT NULL,
    apply_index bigint NOT NULL,
    apply_term bigint NOT NULL
);
COMMENT ON TABLE bdr.local_consensus_state IS 'last consensus log entry that the tables of this database contain';

-- Where the local join stands; a restarted manager goes on from here.
CREATE TABLE bdr.local_join (
    only_row boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    step text NOT NULL,
    join_target_dsn text NOT NULL,
    source_node_id oid NOT NULL DEFAULT 0,
    synchronize_structure text NOT NULL DEFAULT 'all',
    tables_total integer NOT NULL DEFAULT 0,
    tables_copied integer NOT NULL DEFAULT 0,
    bytes_copied bigint NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    waiting_for text,
    last_error text
);
COMMENT ON TABLE bdr.local_join IS 'progress of this node''s join';

CREATE VIEW bdr.join_progress AS
    SELECT j.step, s.node_name AS source_name, j.tables_total, j.tables_copied, j.bytes_copied,
           pg_catalog.pg_size_pretty(j.bytes_copied) AS size_copied,
           j.started_at, j.updated_at, j.waiting_for, j.last_error
    FROM bdr.local_join j LEFT JOIN bdr.node s ON s.node_id = j.source_node_id;
COMMENT ON VIEW bdr.join_progress IS 'progress of this node''s join';

CREATE VIEW bdr.node_summary AS
    SELECT n.node_name, g.node_group_name, n.node_dsn AS interface_connstr,
           cs.state_name AS peer_state_name, ts.state_name AS peer_target_state_name,
           n.seq_id AS node_seq_id, n.dbname AS node_local_dbname, n.node_id, n.node_group_id,
           n.node_kind AS node_kind_name, n.node_uuid
    FROM bdr.node n
         JOIN bdr.peer_state cs ON cs.state = n.node_state
         JOIN bdr.peer_state ts ON ts.state = n.target_state
         LEFT JOIN bdr.node_group g ON g.node_group_id = n.node_group_id;
COMMENT ON VIEW bdr.node_summary IS 'every node of the cluster';

CREATE VIEW bdr.local_node_summary AS
    SELECT s.node_name, s.node_group_name, s.interface_connstr, s.peer_state_name, s.peer_target_state_name,
           s.node_seq_id, s.node_local_dbname, s.node_id, s.node_group_id, s.node_kind_name, s.node_uuid,
           l.pub_repsets, l.sub_repsets
    FROM bdr.local_node l JOIN bdr.node_summary s ON s.node_id = l.node_id;
COMMENT ON VIEW bdr.local_node_summary IS 'the node that this database is';

-- Make the current database a BDR node.  Nothing replicates until it creates or joins a group.
CREATE FUNCTION bdr.create_node(node_name text, local_dsn text, node_kind text DEFAULT NULL)
RETURNS oid
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.create_node(text, text, text) IS 'make the current database a BDR node';
REVOKE ALL ON FUNCTION bdr.create_node(text, text, text) FROM PUBLIC;

CREATE FUNCTION bdr.drop_node(node_name text, cascade boolean DEFAULT false, force boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.drop_node(text, boolean, boolean) IS 'remove what this database knows about a parted node';
REVOKE ALL ON FUNCTION bdr.drop_node(text, boolean, boolean) FROM PUBLIC;
-- For the joiner's connection to its source.
CREATE FUNCTION bdr.internal_sequence(sequence oid, OUT last_value bigint, OUT is_called boolean)
RETURNS record
AS 'MODULE_PATHNAME', 'bdr_internal_sequence'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_sequence(oid) IS 'where a sequence stands, or NULL if this is none any more';
REVOKE ALL ON FUNCTION bdr.internal_sequence(oid) FROM PUBLIC;
-- Start a cluster with the local node as its first member.
CREATE FUNCTION bdr.create_node_group(node_group_name text, parent_group_name text DEFAULT NULL,
    join_node_group boolean DEFAULT true, node_group_type text DEFAULT NULL)
RETURNS oid
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.create_node_group(text, text, boolean, text) IS 'create a node group and make the local node its first member';
REVOKE ALL ON FUNCTION bdr.create_node_group(text, text, boolean, text) FROM PUBLIC;

-- Join the cluster of the node that join_target_dsn reaches; its schema and data are copied.
CREATE FUNCTION bdr.join_node_group(join_target_dsn text, node_group_name text DEFAULT NULL,
    wait_for_completion boolean DEFAULT true, synchronize_structure text DEFAULT 'all')
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.join_node_group(text, text, boolean, text) IS 'join the local node to the group of another node';
REVOKE ALL ON FUNCTION bdr.join_node_group(text, text, boolean, text) FROM PUBLIC;

CREATE FUNCTION bdr.wait_for_join_completion(verbose_progress boolean DEFAULT false)
RETURNS text
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.wait_for_join_completion(boolean) IS 'wait until the local node has reached its target state';
REVOKE ALL ON FUNCTION bdr.wait_for_join_completion(boolean) FROM PUBLIC;

CREATE FUNCTION bdr.part_node(node_name text, wait_for_completion boolean DEFAULT true,
    force boolean DEFAULT false, concurrent boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.part_node(text, boolean, boolean, boolean) IS 'remove a node from the cluster for good';
REVOKE ALL ON FUNCTION bdr.part_node(text, boolean, boolean, boolean) FROM PUBLIC;

CREATE FUNCTION bdr.get_raft_status(
    OUT group_name text, OUT raft_stat text, OUT leader_name text, OUT is_voting boolean,
    OUT current_term bigint, OUT commit_index bigint, OUT apply_index bigint,
    OUT last_log_term bigint, OUT last_log_index bigint, OUT snapshot_term bigint, OUT snapshot_index bigint,
    OUT nnodes integer, OUT nvoting_nodes integer)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.get_raft_status() IS 'state of consensus as the local node sees it';
REVOKE ALL ON FUNCTION bdr.get_raft_status() FROM PUBLIC;

-- One row per peer whose changes this node applies.
CREATE TABLE bdr.subscription (
    sub_id oid NOT NULL PRIMARY KEY,
    sub_name name NOT NULL UNIQUE,
    nodegroup_id oid NOT NULL,
    origin_node_id oid NOT NULL UNIQUE,
    source_node_id oid NOT NULL,
    target_node_id oid NOT NULL,
    subscription_mode "char" NOT NULL DEFAULT 'n',
    sub_enabled boolean NOT NULL DEFAULT true,
    slot_name name NOT NULL,
    origin_name name NOT NULL,
    num_writers integer NOT NULL DEFAULT 1
);
COMMENT ON TABLE bdr.subscription IS 'peers whose changes this node applies';

CREATE FUNCTION bdr.alter_subscription_enable(subscription_name name DEFAULT NULL, immediate boolean DEFAULT false)
RETURNS integer
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.alter_subscription_enable(name, boolean) IS 'go on applying the changes of one peer or of all';
REVOKE ALL ON FUNCTION bdr.alter_subscription_enable(name, boolean) FROM PUBLIC;

CREATE FUNCTION bdr.alter_subscription_disable(subscription_name name DEFAULT NULL, immediate boolean DEFAULT false, fast boolean DEFAULT true)
RETURNS integer
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.alter_subscription_disable(name, boolean, boolean) IS 'pause the changes of one peer or of all';
REVOKE ALL ON FUNCTION bdr.alter_subscription_disable(name, boolean, boolean) FROM PUBLIC;

-- The last resort for a transaction that cannot be applied here: it is not, and the nodes differ by it.
CREATE FUNCTION bdr.alter_subscription_skip_changes_upto(subname text, skip_upto_and_including pg_lsn)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.alter_subscription_skip_changes_upto(text, pg_lsn) IS 'skip the transactions of a disabled subscription up to the one that ends at an LSN';
REVOKE ALL ON FUNCTION bdr.alter_subscription_skip_changes_upto(text, pg_lsn) FROM PUBLIC;

-- Wait until the peers have confirmed this node's changes up to an LSN.
CREATE FUNCTION bdr.wait_slot_confirm_lsn(slot_name text DEFAULT NULL, target_lsn pg_lsn DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_wait_slot_confirm_lsn'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.wait_slot_confirm_lsn(text, pg_lsn) IS 'wait until a slot, or every BDR slot, has confirmed an LSN; NULL is the current position';
REVOKE ALL ON FUNCTION bdr.wait_slot_confirm_lsn(text, pg_lsn) FROM PUBLIC;

CREATE FUNCTION bdr.wait_node_confirm_lsn(node_name text DEFAULT NULL, target_lsn pg_lsn DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_wait_node_confirm_lsn'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.wait_node_confirm_lsn(text, pg_lsn) IS 'wait until a node, or every node, has confirmed an LSN; NULL is the current position';
REVOKE ALL ON FUNCTION bdr.wait_node_confirm_lsn(text, pg_lsn) FROM PUBLIC;
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
-- Local, like the table: to be called on every node.
CREATE FUNCTION bdr.internal_row_version()
RETURNS trigger
AS 'MODULE_PATHNAME', 'bdr_internal_row_version'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_row_version() IS 'internal: increment the row version of a row that is updated';
REVOKE ALL ON FUNCTION bdr.internal_row_version() FROM PUBLIC;

CREATE FUNCTION bdr.alter_table_conflict_detection(relation regclass, method text, column_name name DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'bdr_alter_table_conflict_detection'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.alter_table_conflict_detection(regclass, text, name) IS 'choose how this node finds conflicting updates of a table: row_origin or row_version';
REVOKE ALL ON FUNCTION bdr.alter_table_conflict_detection(regclass, text, name) FROM PUBLIC;

-- The trigger is what tells that a table has row versions; its first argument is the column.
CREATE VIEW bdr.conflict_detection AS
    SELECT c.oid AS relid, n.nspname, c.relname,
           CASE WHEN t.oid IS NULL THEN 'row_origin' ELSE 'row_version' END AS method,
           pg_catalog.convert_from(pg_catalog.substring(t.tgargs, 1, pg_catalog.position(t.tgargs, '\x00'::bytea) - 1),
               pg_catalog.getdatabaseencoding())::name AS column_name
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid AND t.tgnargs = 2 AND t.tgenabled <> 'D'
        AND t.tgfoid = 'bdr.internal_row_version()'::pg_catalog.regprocedure
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'bdr');
COMMENT ON VIEW bdr.conflict_detection IS 'how this node finds conflicting updates of each table';
-- An origin for repairs; its name gets the prefix "bdr_".
CREATE FUNCTION bdr.difference_fix_origin_create(origin_name name)
RETURNS oid
AS 'MODULE_PATHNAME', 'bdr_difference_fix_origin_create'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.difference_fix_origin_create(name) IS 'create a replication origin for repairs; what is written under it stays on this node';
REVOKE ALL ON FUNCTION bdr.difference_fix_origin_create(name) FROM PUBLIC;

-- From here on what the session writes stays on this node.
CREATE FUNCTION bdr.difference_fix_session_setup()
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_difference_fix_session_setup'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.difference_fix_session_setup() IS 'keep what this session writes from now on away from the peers; one session at a time';
REVOKE ALL ON FUNCTION bdr.difference_fix_session_setup() FROM PUBLIC;

CREATE FUNCTION bdr.difference_fix_session_setup(origin_name text)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_difference_fix_session_setup_named'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.difference_fix_session_setup(text) IS 'the same under an origin of difference_fix_origin_create, named with its prefix';
REVOKE ALL ON FUNCTION bdr.difference_fix_session_setup(text) FROM PUBLIC;

CREATE FUNCTION bdr.difference_fix_session_reset()
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_difference_fix_session_reset'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.difference_fix_session_reset() IS 'end what difference_fix_session_setup began';
REVOKE ALL ON FUNCTION bdr.difference_fix_session_reset() FROM PUBLIC;

CREATE FUNCTION bdr.difference_fix_xact_set_avoid_conflict()
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_difference_fix_xact_set_avoid_conflict'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.difference_fix_xact_set_avoid_conflict() IS 'let what this transaction writes lose against every other version of a row';
REVOKE ALL ON FUNCTION bdr.difference_fix_xact_set_avoid_conflict() FROM PUBLIC;
-- Triggers that foreign keys need where changes of peers are applied: enable them with ENABLE REPLICA TRIGGER.
CREATE FUNCTION bdr.ri_fkey_trigger()
RETURNS trigger
AS 'MODULE_PATHNAME', 'bdr_ri_fkey_trigger'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.ri_fkey_trigger() IS 'set referring columns to NULL when a peer''s row refers to a row that is not here';
REVOKE ALL ON FUNCTION bdr.ri_fkey_trigger() FROM PUBLIC;

CREATE FUNCTION bdr.ri_fkey_on_del_trigger()
RETURNS trigger
AS 'MODULE_PATHNAME', 'bdr_ri_fkey_on_del_trigger'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.ri_fkey_on_del_trigger() IS 'set referring columns to NULL when a peer deletes the row that they refer to';
REVOKE ALL ON FUNCTION bdr.ri_fkey_on_del_trigger() FROM PUBLIC;
-- Called by peers: values of a row that an update of this node left out.
CREATE FUNCTION bdr.internal_fetch(relation oid, xid xid, commit_time timestamptz, key_columns text[], key_values text[],
    columns text[], in_binary boolean[])
RETURNS TABLE (shown boolean, found boolean, value bytea)
AS 'MODULE_PATHNAME', 'bdr_internal_fetch'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_fetch(oid, xid, timestamptz, text[], text[], text[], boolean[]) IS 'internal: read values of a row for a peer, as a transaction of this node left it';
REVOKE ALL ON FUNCTION bdr.internal_fetch(oid, xid, timestamptz, text[], text[], text[], boolean[]) FROM PUBLIC;
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
-- Live figures of the receivers; no rows when the manager does not run.
CREATE FUNCTION bdr.internal_subscription_status(
    OUT sub_id oid, OUT subscription_status text, OUT writer_pid integer,
    OUT receive_lsn pg_lsn, OUT receive_commit_lsn pg_lsn,
    OUT last_xact_replay_lsn pg_lsn, OUT last_xact_flush_lsn pg_lsn, OUT last_xact_replay_timestamp timestamptz,
    OUT nconnect bigint, OUT ncommit bigint, OUT nerror bigint, OUT nretries bigint, OUT nskippedtx bigint,
    OUT ninsert bigint, OUT nupdate bigint, OUT ndelete bigint, OUT ntruncate bigint, OUT nconflict bigint,
    OUT connect_time timestamptz, OUT last_disconnect_time timestamptz, OUT start_lsn pg_lsn,
    OUT last_error text, OUT last_error_time timestamptz,
    OUT mean_apply_time double precision, OUT nabort bigint, OUT ndeadlocks bigint, OUT nduplicatetx bigint, OUT curr_ncommit bigint,
    OUT error_sqlstate text, OUT error_message text, OUT error_detail text, OUT error_hint text, OUT error_context text,
    OUT error_first_time timestamptz, OUT error_retries bigint, OUT next_retry_time timestamptz,
    OUT remote_xid xid, OUT remote_end_lsn pg_lsn, OUT remote_commit_time timestamptz, OUT remote_change_nr bigint,
    OUT remote_nspname text, OUT remote_relname text,
    OUT approx_clock_drift_ms bigint, OUT stats_reset timestamptz, OUT watermark_time timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'bdr_call_if_running'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_subscription_status() IS 'internal: live figures of the receivers';
REVOKE ALL ON FUNCTION bdr.internal_subscription_status() FROM PUBLIC;

CREATE VIEW bdr.subscription_summary AS
    SELECT g.node_group_name, s.sub_name, o.node_name AS origin_name, t.node_name AS target_name,
           s.sub_enabled, s.slot_name AS sub_slot_name, s.origin_name AS sub_origin_name,
           s.subscription_mode AS bdr_subscription_mode,
           CASE WHEN NOT s.sub_enabled THEN 'disabled' ELSE COALESCE(l.subscription_status, 'down') END AS subscription_status,
           s.nodegroup_id AS node_group_id, s.sub_id, s.origin_node_id AS origin_id, s.target_node_id AS target_id,
           l.receive_lsn, l.receive_commit_lsn, l.last_xact_replay_lsn, l.last_xact_flush_lsn, l.last_xact_replay_timestamp,
           l.last_error, l.last_error_time, l.approx_clock_drift_ms, l.watermark_time
    FROM bdr.subscription s
         LEFT JOIN bdr.internal_subscription_status() l ON l.sub_id = s.sub_id
         LEFT JOIN bdr.node_group g ON g.node_group_id = s.nodegroup_id
         LEFT JOIN bdr.node o ON o.node_id = s.origin_node_id
         LEFT JOIN bdr.node t ON t.node_id = s.target_node_id;
COMMENT ON VIEW bdr.subscription_summary IS 'each peer whose changes this node applies, and how far it is';

CREATE VIEW bdr.stat_subscription AS
    SELECT s.sub_name, s.sub_id AS subid, l.mean_apply_time, l.nconnect, l.ncommit, l.nabort, l.nerror, l.nskippedtx, l.nduplicatetx,
           l.ninsert, l.nupdate, l.ndelete, l.ntruncate, l.nconflict, l.ndeadlocks, l.nretries,
           l.connect_time, l.last_disconnect_time, l.start_lsn,
           CASE WHEN l.remote_end_lsn IS NOT NULL THEN l.error_retries ELSE 0 END AS retries_at_same_lsn, l.curr_ncommit, l.stats_reset
    FROM bdr.subscription s LEFT JOIN bdr.internal_subscription_status() l ON l.sub_id = s.sub_id;
COMMENT ON VIEW bdr.stat_subscription IS 'counters of each subscription since the manager started, or since they were reset';

-- Upkeep of the extension's own tables that fails.
CREATE FUNCTION bdr.internal_upkeep_errors(
    OUT error_time timestamptz, OUT error_first_time timestamptz, OUT error_retries bigint, OUT error_sqlstate text,
    OUT error_message text, OUT error_detail text, OUT error_hint text, OUT error_context text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'bdr_call_if_running'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_upkeep_errors() IS 'internal: upkeep of the tables of the extension that fails';
REVOKE ALL ON FUNCTION bdr.internal_upkeep_errors() FROM PUBLIC;

-- One row for each subscription that stands still, gone as soon as it goes on, and for what the manager cannot do.
CREATE VIEW bdr.worker_errors AS
    SELECT s.sub_name, s.sub_id, CASE WHEN l.remote_end_lsn IS NULL THEN 'receiver' ELSE 'writer' END AS worker_role,
           l.last_error_time AS error_time, l.error_first_time, l.error_retries,
           CASE WHEN s.sub_enabled THEN l.next_retry_time END AS next_retry_time,
           l.error_sqlstate, l.error_message, l.error_detail, l.error_hint, l.error_context,
           l.remote_nspname, l.remote_relname, l.remote_change_nr, l.remote_xid, l.remote_end_lsn, l.remote_commit_time
    FROM bdr.subscription s JOIN bdr.internal_subscription_status() l ON l.sub_id = s.sub_id
    WHERE l.error_sqlstate IS NOT NULL
    UNION ALL
    SELECT NULL, NULL, 'manager', u.error_time, u.error_first_time, u.error_retries, NULL,
           u.error_sqlstate, u.error_message, u.error_detail, u.error_hint, u.error_context,
           NULL, NULL, NULL, NULL, NULL, NULL
    FROM bdr.internal_upkeep_errors() u;
COMMENT ON VIEW bdr.worker_errors IS 'subscriptions that cannot go on, and upkeep that fails, and why';

-- What writers do at this moment; no rows where bdr is not preloaded.
CREATE FUNCTION bdr.internal_writer_activity(
    OUT pid integer, OUT sub_id oid, OUT ncommits bigint, OUT naborts bigint,
    OUT remote_xid xid, OUT remote_commit_lsn pg_lsn, OUT remote_end_lsn pg_lsn, OUT remote_commit_time timestamptz,
    OUT origin_node_id oid, OUT origin_lsn pg_lsn, OUT nchanges bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'bdr_internal_writer_activity'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION bdr.internal_writer_activity() IS 'internal: what writers do at this moment';
REVOKE ALL ON FUNCTION bdr.internal_writer_activity() FROM PUBLIC;

CREATE VIEW bdr.stat_worker AS
    SELECT pg_catalog.replace(a.backend_type, 'bdr ', '') AS worker_role, a.pid AS worker_pid, s.sub_name,
           a.backend_start AS worker_start, a.xact_start AS worker_xact_start,
           a.backend_xid AS worker_xid, a.backend_xmin AS worker_xmin,
           a.state_change AS worker_backend_state_change, a.state AS worker_backend_state, a.wait_event_type, a.wait_event,
           CASE WHEN a.wait_event_type = 'Lock' THEN pg_catalog.pg_blocking_pids(a.pid) ELSE '{}' END AS blocked_by_pids,
           a.query, a.query_start AS worker_query_start
    FROM pg_catalog.pg_stat_activity a
         LEFT JOIN bdr.internal_writer_activity() w ON w.pid = a.pid
         LEFT JOIN bdr.subscription s ON s.sub_id = w.sub_id
    WHERE a.backend_type = 'bdr supervisor'
       OR a.backend_type IN ('bdr manager', 'bdr writer') AND a.datname = pg_catalog.current_database();
COMMENT ON VIEW bdr.stat_worker IS 'the background workers that serve this database, and what they wait for';

CREATE VIEW bdr.workers AS
    SELECT w.worker_pid, w.worker_role AS worker_role_name, s.sub_id AS worker_subid
    FROM bdr.stat_worker w LEFT JOIN bdr.subscription s ON s.sub_name = w.sub_name;
COMMENT ON VIEW bdr.workers IS 'the background workers that serve this database';

CREATE VIEW bdr.stat_writer AS
    SELECT s.sub_name, w.pid AS worker_pid, w.ncommits, w.naborts,
           w.remote_xid AS xact_source_xid, w.remote_commit_lsn AS xact_source_commit_lsn, w.remote_end_lsn AS xact_source_end_lsn,
           w.nchanges AS xact_nchanges, n.node_name AS xact_origin_node_name, w.origin_lsn AS xact_origin_lsn,
           w.remote_commit_time AS xact_origin_timestamp,
           t.worker_start, t.worker_xact_start, t.worker_xid, t.worker_xmin, t.worker_backend_state_change, t.worker_backend_state,
           t.wait_event_type, t.wait_event, t.blocked_by_pids, t.query, t.worker_query_start
    FROM bdr.internal_writer_activity() w
         JOIN bdr.stat_worker t ON t.worker_pid = w.pid
         LEFT JOIN bdr.subscription s ON s.sub_id = w.sub_id
         LEFT JOIN bdr.node n ON n.node_id = w.origin_node_id;
COMMENT ON VIEW bdr.stat_writer IS 'the writer of each subscription, the transaction that it applies, and what it waits for';

CREATE VIEW bdr.writers AS
    SELECT w.sub_name, w.worker_pid AS pid, w.xact_source_xid AS remote_xid, w.xact_source_commit_lsn AS remote_commit_lsn,
           w.ncommits, w.naborts, w.xact_nchanges
    FROM bdr.stat_writer w;
COMMENT ON VIEW bdr.writers IS 'the writer of each subscription, and the transaction that it applies';

CREATE VIEW bdr.stat_receiver AS
    SELECT s.sub_name, CASE s.subscription_status WHEN 'disabled' THEN 'disabled' WHEN 'replicating' THEN 'running' ELSE 'down' END AS worker_state,
           w.worker_pid, s.sub_slot_name, s.origin_name AS source_name, s.origin_name, s.bdr_subscription_mode AS subscription_mode,
           s.receive_lsn, s.receive_commit_lsn, s.last_xact_replay_lsn AS xact_apply_lsn, s.last_xact_flush_lsn AS xact_flush_lsn,
           s.last_xact_replay_timestamp AS xact_apply_timestamp, w.worker_start
    FROM bdr.subscription_summary s LEFT JOIN bdr.stat_worker w ON w.worker_role = 'manager';
COMMENT ON VIEW bdr.stat_receiver IS 'the receiver of each subscription, which is part of the manager';

-- Written by the manager: a change that could not be applied, its end, and what was skipped.
CREATE TABLE bdr.event_history (
    event_node_id oid NOT NULL,
    event_type text NOT NULL,
    event_sub_type text NOT NULL,
    event_source text,
    event_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    event_text text NOT NULL,
    event_detail text
);
ALTER TABLE bdr.event_history REPLICA IDENTITY FULL;
COMMENT ON TABLE bdr.event_history IS 'what happened to the subscriptions of this node, and to the upkeep of its tables';

CREATE VIEW bdr.event_summary AS
    SELECT n.node_name AS event_node_name, e.event_type, e.event_sub_type, e.event_source, e.event_time, e.event_text, e.event_detail
    FROM bdr.event_history e LEFT JOIN bdr.node n ON n.node_id = e.event_node_id;
COMMENT ON VIEW bdr.event_summary IS 'what happened to the subscriptions of this node, with the name of the node';

CREATE VIEW bdr.node_slots AS
    SELECT o.dbname AS target_dbname, g.node_group_name, g.node_group_id,
           o.node_name AS origin_name, t.node_name AS target_name, o.node_id AS origin_id, t.node_id AS target_id,
           r.slot_name AS local_slot_name, r.slot_name, r.plugin, r.slot_type, r.datoid, r.database, r.temporary,
           r.active, r.active_pid, r.xmin, r.catalog_xmin, r.restart_lsn, r.confirmed_flush_lsn,
           a.usesysid, a.usename, a.application_name, a.client_addr, a.client_hostname, a.client_port, a.backend_start,
           COALESCE(a.state, 'disconnected') AS state, a.sent_lsn, a.write_lsn, a.flush_lsn, a.replay_lsn,
           a.write_lag, a.flush_lag, a.replay_lag,
           pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), a.sent_lsn)::bigint AS sent_lag_bytes,
           pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), a.write_lsn)::bigint AS write_lag_bytes,
           pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), COALESCE(a.flush_lsn, r.confirmed_flush_lsn))::bigint AS flush_lag_bytes,
           pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), COALESCE(a.replay_lsn, r.confirmed_flush_lsn))::bigint AS replay_lag_bytes
    FROM pg_catalog.pg_replication_slots r
         JOIN bdr.local_node l ON true
         JOIN bdr.node o ON o.node_id = l.node_id
         JOIN bdr.node t ON r.slot_name = pg_catalog.format('bdr_%s_%s', r.datoid, t.node_id)
         LEFT JOIN bdr.node_group g ON g.node_group_id = o.node_group_id
         LEFT JOIN pg_catalog.pg_stat_replication a ON a.pid = r.active_pid
    WHERE r.database = pg_catalog.current_database();
COMMENT ON VIEW bdr.node_slots IS 'the slots from which peers read this node''s changes';

CREATE VIEW bdr.dead_row_hold AS
    SELECT h.slot_name, h.hold_status, h.xmin, h.xmin_age, h.held_since, pg_catalog.clock_timestamp() - h.held_since AS held_for,
           h.clean_up_time, b.node_name AS blocking_node_name,
           pg_catalog.pg_stat_get_live_tuples('bdr.remembered_version'::pg_catalog.regclass) AS nremembered_versions,
           pg_catalog.pg_stat_get_live_tuples('bdr.evicted_row'::pg_catalog.regclass) AS nevicted_rows,
           h.ncuts, h.cut_start_time, h.cut_end_time, h.cut_xid, h.cut_commit_time, c.node_name AS cut_node_name
    FROM bdr.internal_dead_row_hold() h
         LEFT JOIN bdr.node b ON b.node_id = h.blocking_node_id
         LEFT JOIN bdr.node c ON c.node_id = h.cut_node_id;
COMMENT ON VIEW bdr.dead_row_hold IS 'dead rows that this node keeps because a peer may send something older, and whether it had to let go of some';
-- What the writers of this node did to each table, since the server started.
CREATE FUNCTION bdr.get_relation_stats(
    OUT relid oid, OUT ninsert bigint, OUT nupdate bigint, OUT ndelete bigint, OUT ntruncate bigint, OUT nconflict bigint,
    OUT stats_reset timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'bdr_get_relation_stats'
LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION bdr.get_relation_stats() IS 'counters of the changes that were applied to each table';
REVOKE ALL ON FUNCTION bdr.get_relation_stats() FROM PUBLIC;

CREATE VIEW bdr.stat_relation AS
    SELECT n.nspname, c.relname, s.relid, s.ninsert, s.nupdate, s.ndelete, s.ntruncate, s.nconflict, s.stats_reset
    FROM bdr.get_relation_stats() s
         JOIN pg_catalog.pg_class c ON c.oid = s.relid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace;
COMMENT ON VIEW bdr.stat_relation IS 'changes of peers that were applied to each table';

CREATE FUNCTION bdr.reset_relation_stats()
RETURNS boolean
AS 'MODULE_PATHNAME', 'bdr_reset_relation_stats'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.reset_relation_stats() IS 'start the counters of tables from zero';
REVOKE ALL ON FUNCTION bdr.reset_relation_stats() FROM PUBLIC;

CREATE FUNCTION bdr.reset_subscription_stats()
RETURNS boolean
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.reset_subscription_stats() IS 'start the counters of subscriptions from zero';
REVOKE ALL ON FUNCTION bdr.reset_subscription_stats() FROM PUBLIC;
-- Connection strings may hold passwords: most tables are for superusers until roles come.
REVOKE ALL ON ALL TABLES IN SCHEMA bdr FROM PUBLIC;

-- Roles belong to all databases of the server, so they may be there already, and
-- stay when the extension goes.
DO $do$
DECLARE
    role name;
BEGIN
    FOREACH role IN ARRAY ARRAY['bdr_read_all_conflicts', 'bdr_read_all_stats'] LOOP
        BEGIN
            EXECUTE pg_catalog.format('CREATE ROLE %I', role);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END
$do$;

GRANT SELECT ON bdr.stat_relation TO bdr_read_all_stats;
GRANT EXECUTE ON FUNCTION bdr.get_relation_stats() TO bdr_read_all_stats;

-- Row security says which conflicts each user sees.
GRANT SELECT ON bdr.conflict_history, bdr.conflict_history_summary TO PUBLIC;
