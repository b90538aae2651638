-- An upgrade in place, with pg_upgrade (docs/upgrade.md).
CREATE FUNCTION bdr.prepare_pg_upgrade()
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.prepare_pg_upgrade() IS 'take no more changes, wait until peers have all, and keep what pg_upgrade does not carry over';
REVOKE ALL ON FUNCTION bdr.prepare_pg_upgrade() FROM PUBLIC;

CREATE FUNCTION bdr.cancel_pg_upgrade()
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.cancel_pg_upgrade() IS 'let a node that was prepared for an upgrade go on as it was';
REVOKE ALL ON FUNCTION bdr.cancel_pg_upgrade() FROM PUBLIC;

CREATE FUNCTION bdr.finish_pg_upgrade()
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.finish_pg_upgrade() IS 'let the node act on the server that pg_upgrade has made';
REVOKE ALL ON FUNCTION bdr.finish_pg_upgrade() FROM PUBLIC;

CREATE FUNCTION bdr.internal_set_fence(fenced boolean)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_internal_set_fence'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_set_fence(boolean) IS 'internal: whether transactions that have written may commit';
REVOKE ALL ON FUNCTION bdr.internal_set_fence(boolean) FROM PUBLIC;

CREATE FUNCTION bdr.internal_restore_origin(name text, number integer, "position" pg_lsn)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_internal_restore_origin'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_restore_origin(text, integer, pg_lsn) IS 'internal: a replication origin with the number that it had';
REVOKE ALL ON FUNCTION bdr.internal_restore_origin(text, integer, pg_lsn) FROM PUBLIC;

CREATE FUNCTION bdr.internal_oldest_commit_timestamp()
RETURNS xid
AS 'MODULE_PATHNAME', 'bdr_internal_oldest_commit_timestamp'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_oldest_commit_timestamp() IS 'internal: the first transaction with a commit timestamp';
REVOKE ALL ON FUNCTION bdr.internal_oldest_commit_timestamp() FROM PUBLIC;

CREATE FUNCTION bdr.internal_restore_commit_timestamps(oldest xid)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_internal_restore_commit_timestamps'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_restore_commit_timestamps(xid) IS 'internal: believe in the commit timestamps from this transaction on';
REVOKE ALL ON FUNCTION bdr.internal_restore_commit_timestamps(xid) FROM PUBLIC;
