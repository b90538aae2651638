-- Called by peers: values of a row that an update of this node left out.
CREATE FUNCTION bdr.internal_fetch(relation oid, xid xid, commit_time timestamptz, key_columns text[], key_values text[],
    columns text[], in_binary boolean[])
RETURNS TABLE (shown boolean, found boolean, value bytea)
AS 'MODULE_PATHNAME', 'bdr_internal_fetch'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_fetch(oid, xid, timestamptz, text[], text[], text[], boolean[]) IS 'internal: read values of a row for a peer, as a transaction of this node left it';
REVOKE ALL ON FUNCTION bdr.internal_fetch(oid, xid, timestamptz, text[], text[], text[], boolean[]) FROM PUBLIC;
