-- Triggers that foreign keys need where changes of peers are applied: enable them with ENABLE REPLICA TRIGGER.
CREATE FUNCTION bdr.ri_fkey_trigger()
RETURNS trigger
AS 'MODULE_PATHNAME', 'bdr_ri_fkey_trigger'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.ri_fkey_trigger() IS 'set referring columns to NULL when a peer''s row refers to a row that is not here';
REVOKE ALL ON FUNCTION bdr.ri_fkey_trigger() FROM PUBLIC;

CREATE FUNCTION bdr.ri_fkey_on_del_trigger()
RETURNS trigger
AS 'MODULE_PATHNAME', 'bdr_ri_fkey_on_del_trigger'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.ri_fkey_on_del_trigger() IS 'set referring columns to NULL when a peer deletes the row that they refer to';
REVOKE ALL ON FUNCTION bdr.ri_fkey_on_del_trigger() FROM PUBLIC;
