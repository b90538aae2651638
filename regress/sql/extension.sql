-- What CREATE EXTENSION makes, who may use it, and that dropping it leaves
-- nothing: all of it on a database that is no node.
CREATE EXTENSION bdr;
SELECT extname, extversion FROM pg_extension WHERE extname = 'bdr';
SELECT bdr.bdr_version(), bdr.bdr_version_num();

-- Signatures are the product's promise to its users.
\pset format unaligned
SELECT p.proname || '(' || pg_get_function_arguments(p.oid) || ')' AS function, pg_get_function_result(p.oid) AS result
FROM pg_proc p WHERE p.pronamespace = 'bdr'::regnamespace AND p.proname !~ '^internal_' ORDER BY 1;
\pset format aligned
SELECT relkind, relname FROM pg_class WHERE relnamespace = 'bdr'::regnamespace AND relkind IN ('r', 'v') ORDER BY 1, 2;

-- Every function, table and view is described.
SELECT p.oid::regprocedure FROM pg_proc p
WHERE p.pronamespace = 'bdr'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL ORDER BY 1;
SELECT oid::regclass FROM pg_class
WHERE relnamespace = 'bdr'::regnamespace AND relkind IN ('r', 'v') AND obj_description(oid, 'pg_class') IS NULL ORDER BY 1;

-- Who may do what without being superuser: read the version, and conflicts of the tables that he may read.
CREATE ROLE bdr_regress_user;
SELECT p.oid::regprocedure AS allowed FROM pg_proc p
WHERE p.pronamespace = 'bdr'::regnamespace AND has_function_privilege('bdr_regress_user', p.oid, 'EXECUTE') ORDER BY 1;
SELECT oid::regclass AS readable FROM pg_class
WHERE relnamespace = 'bdr'::regnamespace AND relkind IN ('r', 'v') AND has_table_privilege('bdr_regress_user', oid, 'SELECT') ORDER BY 1;
SET ROLE bdr_regress_user;
SELECT bdr.create_node('n', 'dbname=x');
SELECT bdr.part_node('n');
SELECT * FROM bdr.node;
RESET ROLE;
DROP ROLE bdr_regress_user;

-- The views of a database that is no node are empty, and cost no manager.
SELECT count(*) FROM bdr.node_summary;
SELECT count(*) FROM bdr.local_node_summary;
SELECT count(*) FROM bdr.subscription_summary;
SELECT count(*) FROM bdr.stat_subscription;
SELECT count(*) FROM bdr.worker_errors;
SELECT count(*) FROM bdr.stat_writer;
SELECT count(*) FROM bdr.writers;
SELECT count(*) FROM bdr.stat_receiver;
SELECT worker_role_name, worker_subid FROM bdr.workers;
SELECT count(*) FROM bdr.event_summary;
SELECT count(*) FROM bdr.node_slots;
SELECT count(*) FROM bdr.join_progress;
SELECT count(*) FROM bdr.conflict_history;
SELECT count(*) FROM bdr.node_group;
SELECT state, state_name FROM bdr.peer_state ORDER BY state;

DROP EXTENSION bdr;
SELECT count(*) FROM pg_namespace WHERE nspname = 'bdr';
CREATE EXTENSION bdr CASCADE;
DROP EXTENSION bdr CASCADE;
CREATE EXTENSION bdr;
BEGIN;
DROP EXTENSION bdr;
ROLLBACK;
SELECT bdr.bdr_version();
DROP EXTENSION bdr;
