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
           pg_catalog.pg_wal_lsn_diff(w.lsn, a.sent_lsn)::bigint AS sent_lag_bytes,
           pg_catalog.pg_wal_lsn_diff(w.lsn, a.write_lsn)::bigint AS write_lag_bytes,
           pg_catalog.pg_wal_lsn_diff(w.lsn, COALESCE(a.flush_lsn, r.confirmed_flush_lsn))::bigint AS flush_lag_bytes,
           pg_catalog.pg_wal_lsn_diff(w.lsn, COALESCE(a.replay_lsn, r.confirmed_flush_lsn))::bigint AS replay_lag_bytes,
           r.wal_status, r.safe_wal_size,
           -- what later major versions have; NULL before
           (j.slot ->> 'inactive_since')::timestamptz AS inactive_since, j.slot ->> 'invalidation_reason' AS invalidation_reason,
           (j.slot ->> 'conflicting')::boolean AS conflicting,
           (j.slot ->> 'failover')::boolean AS failover, (j.slot ->> 'synced')::boolean AS synced
    FROM pg_catalog.pg_replication_slots r
         CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(r)) j (slot)
         CROSS JOIN (SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
                                 ELSE pg_catalog.pg_current_wal_lsn() END) w (lsn)
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
