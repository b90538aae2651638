\echo Use "CREATE EXTENSION bdr" to load this file. \quit

CREATE SCHEMA bdr;
GRANT USAGE ON SCHEMA bdr TO PUBLIC;

CREATE FUNCTION bdr.bdr_version()
RETURNS text
AS 'MODULE_PATHNAME', 'bdr_version'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION bdr.bdr_version() IS 'version of the bdr extension';

CREATE FUNCTION bdr.bdr_version_num()
RETURNS integer
AS 'MODULE_PATHNAME', 'bdr_version_num'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION bdr.bdr_version_num() IS 'version of the bdr extension as major * 10000 + minor * 100 + patch';

-- A server that was not restarted after an installation has the older library still.
DO $do$
BEGIN
    IF bdr.bdr_version_num() < 200 THEN
        RAISE EXCEPTION 'the SQL objects of bdr 0.2.0 need its library, and the server has loaded that of %', bdr.bdr_version()
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Restart the server.';
    END IF;
END
$do$;

-- What internal form of values depends on, besides the server's major version.
CREATE FUNCTION bdr.internal_architecture()
RETURNS text
AS 'MODULE_PATHNAME', 'bdr_internal_architecture'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION bdr.internal_architecture() IS 'byte order, sizes and alignment of this server';

-- A manager's message to this node's manager.
CREATE FUNCTION bdr.internal_rpc(message bytea)
RETURNS bytea
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_rpc(bytea) IS 'internal: deliver a message of a peer''s manager to this node''s manager';
REVOKE ALL ON FUNCTION bdr.internal_rpc(bytea) FROM PUBLIC;
