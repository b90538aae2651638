-- An origin for repairs; its name gets the prefix "bdr_".
CREATE FUNCTION bdr.difference_fix_origin_create(origin_name name)
RETURNS oid
AS 'MODULE_PATHNAME', 'bdr_difference_fix_origin_create'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.difference_fix_origin_create(name) IS 'create a replication origin for repairs; what is written under it stays on this node';
REVOKE ALL ON FUNCTION bdr.difference_fix_origin_create(name) FROM PUBLIC;

-- From here on what the session writes stays on this node.
CREATE FUNCTION bdr.difference_fix_session_setup()
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_difference_fix_session_setup'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.difference_fix_session_setup() IS 'keep what this session writes from now on away from the peers; one session at a time';
REVOKE ALL ON FUNCTION bdr.difference_fix_session_setup() FROM PUBLIC;

CREATE FUNCTION bdr.difference_fix_session_setup(origin_name text)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_difference_fix_session_setup_named'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.difference_fix_session_setup(text) IS 'the same under an origin of difference_fix_origin_create, named with its prefix';
REVOKE ALL ON FUNCTION bdr.difference_fix_session_setup(text) FROM PUBLIC;

CREATE FUNCTION bdr.difference_fix_session_reset()
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_difference_fix_session_reset'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.difference_fix_session_reset() IS 'end what difference_fix_session_setup began';
REVOKE ALL ON FUNCTION bdr.difference_fix_session_reset() FROM PUBLIC;

CREATE FUNCTION bdr.difference_fix_xact_set_avoid_conflict()
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_difference_fix_xact_set_avoid_conflict'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.difference_fix_xact_set_avoid_conflict() IS 'let what this transaction writes lose against every other version of a row';
REVOKE ALL ON FUNCTION bdr.difference_fix_xact_set_avoid_conflict() FROM PUBLIC;
