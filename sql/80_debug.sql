-- For tests; all refuse to work unless bdr.debug_faults is on.
CREATE FUNCTION bdr.internal_debug_fault(kind text)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_internal_debug_fault'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_debug_fault(text) IS 'internal: make the manager fail, for tests';
REVOKE ALL ON FUNCTION bdr.internal_debug_fault(text) FROM PUBLIC;

CREATE FUNCTION bdr.internal_latch_stress(n integer)
RETURNS integer
AS 'MODULE_PATHNAME', 'bdr_internal_latch_stress'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_latch_stress(integer) IS 'internal: count wake-ups that the manager loses, for tests';
REVOKE ALL ON FUNCTION bdr.internal_latch_stress(integer) FROM PUBLIC;

CREATE FUNCTION bdr.internal_debug_apply(messages bytea)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_internal_debug_apply'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_debug_apply(bytea) IS 'internal: apply messages as if a peer had sent them, for tests';
REVOKE ALL ON FUNCTION bdr.internal_debug_apply(bytea) FROM PUBLIC;

CREATE FUNCTION bdr.internal_debug_clock()
RETURNS timestamptz
AS 'MODULE_PATHNAME', 'bdr_internal_debug_clock'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_debug_clock() IS 'internal: the newest commit time seen or committed, for tests';
REVOKE ALL ON FUNCTION bdr.internal_debug_clock() FROM PUBLIC;

CREATE FUNCTION bdr.internal_debug_vanish(relation oid, OUT in_progress bigint, OUT newest timestamptz)
AS 'MODULE_PATHNAME', 'bdr_internal_debug_vanish'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_debug_vanish(oid) IS 'internal: who makes versions of a table invisible, for tests';
REVOKE ALL ON FUNCTION bdr.internal_debug_vanish(oid) FROM PUBLIC;
