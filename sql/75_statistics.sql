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
