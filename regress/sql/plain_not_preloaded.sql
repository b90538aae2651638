-- A server as initdb makes it: the extension installs, and the first call says
-- which line of postgresql.conf is missing. The version needs no setting.
CREATE EXTENSION bdr;
SELECT bdr.bdr_version();
SELECT count(*) FROM bdr.node_summary;
SELECT bdr.create_node('n', 'dbname=x');
SELECT bdr.create_node_group('g');
SELECT bdr.join_node_group('dbname=x');
SELECT bdr.wait_for_join_completion();
SELECT * FROM bdr.get_raft_status();
SELECT count(*) FROM bdr.node;
DROP EXTENSION bdr;
