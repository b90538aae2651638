-- The life of a node that stays alone: created, first of a group, dropped, and
-- the extension with it.
CREATE EXTENSION bdr;
SELECT format('host=127.0.0.1 port=%s dbname=%s user=postgres', current_setting('port'), current_database()) AS dsn \gset

SELECT bdr.create_node(node_name := 'alone', local_dsn := :'dsn') IS NOT NULL AS created;
SELECT node_name, peer_state_name, node_group_name, node_local_dbname, node_kind_name FROM bdr.local_node_summary;
SELECT provider, label FROM pg_shseclabel JOIN pg_database d ON objoid = d.oid WHERE d.datname = current_database();
-- A second node in one database is none.
\set VERBOSITY terse
SELECT bdr.create_node(node_name := 'another', local_dsn := :'dsn');
\set VERBOSITY default

SELECT bdr.create_node_group(node_group_name := 'regress_group') IS NOT NULL AS created;
SELECT bdr.wait_for_join_completion();
SELECT node_name, peer_state_name, peer_target_state_name, node_group_name, node_seq_id FROM bdr.local_node_summary;
SELECT node_group_name FROM bdr.node_group;
SELECT group_name, raft_stat, leader_name, is_voting, nnodes, nvoting_nodes FROM bdr.get_raft_status();
SELECT count(*) FROM bdr.subscription_summary;
SELECT bdr.alter_subscription_disable();
SELECT bdr.wait_slot_confirm_lsn(NULL, NULL);

-- A member keeps its extension.
DROP EXTENSION bdr;
DROP EXTENSION bdr CASCADE;
SELECT count(*) FROM pg_extension WHERE extname = 'bdr';

-- The last node is not parted: dropping it ends the cluster.
SELECT bdr.part_node('alone', wait_for_completion := false);
SELECT bdr.drop_node('alone');
SELECT count(*) FROM bdr.node;
DROP EXTENSION bdr;
SELECT count(*) FROM pg_shseclabel WHERE provider = 'bdr';
