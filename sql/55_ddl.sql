-- What becomes of commands; the table is in extension/ddl/command.c.
CREATE FUNCTION bdr.ddl_commands()
RETURNS TABLE (command_tag text, replicated text, lock text, reason text)
AS 'MODULE_PATHNAME', 'bdr_ddl_commands'
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION bdr.ddl_commands() IS 'for every command tag: what is replicated of it, and which global lock it takes';
