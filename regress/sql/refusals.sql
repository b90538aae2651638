-- Calls that must not work on one server with the right settings: message,
-- detail and hint as the user reads them. Those that need several servers are
-- in regress/cluster/join/refusals_test.go.
\set VERBOSITY default
CREATE EXTENSION bdr;
SELECT format('host=127.0.0.1 port=%s dbname=%s user=postgres', current_setting('port'), current_database()) AS dsn \gset

SELECT bdr.create_node(NULL, :'dsn');
SELECT bdr.create_node('', :'dsn');
SELECT bdr.create_node('Upper', :'dsn');
SELECT bdr.create_node('with blank', :'dsn');
SELECT bdr.create_node('n', NULL);
SELECT bdr.create_node('n', :'dsn', 'strange');
SELECT bdr.create_node('n', 'host=127.0.0.1 port=1 dbname=x user=me password=secret');
SELECT bdr.create_node_group('g');
SELECT bdr.join_node_group(:'dsn');
SELECT bdr.wait_for_join_completion();
SELECT bdr.part_node('n');
SELECT bdr.drop_node('n');
SELECT bdr.alter_subscription_disable('s');
SELECT bdr.wait_slot_confirm_lsn('s', NULL);
SELECT bdr.wait_node_confirm_lsn('n', NULL);
SELECT * FROM bdr.get_raft_status();

SELECT count(*) FROM bdr.node;
SELECT count(*) FROM pg_shseclabel WHERE provider = 'bdr';
DROP EXTENSION bdr;
