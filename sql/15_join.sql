-- For the joiner's connection to its source.
CREATE FUNCTION bdr.internal_sequence(sequence oid, OUT last_value bigint, OUT is_called boolean)
RETURNS record
AS 'MODULE_PATHNAME', 'bdr_internal_sequence'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_sequence(oid) IS 'where a sequence stands, or NULL if this is none any more';
REVOKE ALL ON FUNCTION bdr.internal_sequence(oid) FROM PUBLIC;
