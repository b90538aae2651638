-- Live figures of the receivers; no rows when the manager does not run.
CREATE FUNCTION bdr.internal_subscription_status(
    OUT sub_id oid, OUT subscription_status text, OUT writer_pid integer,
    OUT receive_lsn pg_lsn, OUT receive_commit_lsn pg_lsn,
    OUT last_xact_replay_lsn pg_lsn, OUT last_xact_flush_lsn pg_lsn, OUT last_xact_replay_timestamp timestamptz,
    OUT nconnect bigint, OUT ncommit bigint, OUT nerror bigint, OUT nretries bigint, OUT nskippedtx bigint,
    OUT ninsert bigint, OUT nupdate bigint, OUT ndelete bigint, OUT ntruncate bigint, OUT nconflict bigint,
    OUT connect_time timestamptz, OUT last_disconnect_time timestamptz, OUT start_lsn pg_lsn,
    OUT last_error text, OUT last_error_time timestamptz)
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
           l.last_error, l.last_error_time
    FROM bdr.subscription s
         LEFT JOIN bdr.internal_subscription_status() l ON l.sub_id = s.sub_id
         LEFT JOIN bdr.node_group g ON g.node_group_id = s.nodegroup_id
         LEFT JOIN bdr.node o ON o.node_id = s.origin_node_id
         LEFT JOIN bdr.node t ON t.node_id = s.target_node_id;
COMMENT ON VIEW bdr.subscription_summary IS 'each peer whose changes this node applies, and how far it is';

CREATE VIEW bdr.stat_subscription AS
    SELECT s.sub_name, s.sub_id AS subid, l.nconnect, l.ncommit, l.nerror, l.nskippedtx,
           l.ninsert, l.nupdate, l.ndelete, l.ntruncate, l.nconflict, l.nretries,
           l.connect_time, l.last_disconnect_time, l.start_lsn
    FROM bdr.subscription s LEFT JOIN bdr.internal_subscription_status() l ON l.sub_id = s.sub_id;
COMMENT ON VIEW bdr.stat_subscription IS 'counters of each subscription since the manager started';

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
