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
    num_writers integer NOT NULL DEFAULT 1,
    origin_system text,
    origin_timeline integer
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
