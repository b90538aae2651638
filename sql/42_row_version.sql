-- Local, like the table: to be called on every node.
CREATE FUNCTION bdr.internal_row_version()
RETURNS trigger
AS 'MODULE_PATHNAME', 'bdr_internal_row_version'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_row_version() IS 'internal: increment the row version of a row that is updated';
REVOKE ALL ON FUNCTION bdr.internal_row_version() FROM PUBLIC;

CREATE FUNCTION bdr.alter_table_conflict_detection(relation regclass, method text, column_name name DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'bdr_alter_table_conflict_detection'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.alter_table_conflict_detection(regclass, text, name) IS 'choose how this node finds conflicting updates of a table: row_origin or row_version';
REVOKE ALL ON FUNCTION bdr.alter_table_conflict_detection(regclass, text, name) FROM PUBLIC;

-- The trigger is what tells that a table has row versions; its first argument is the column.
CREATE VIEW bdr.conflict_detection AS
    SELECT c.oid AS relid, n.nspname, c.relname,
           CASE WHEN t.oid IS NULL THEN 'row_origin' ELSE 'row_version' END AS method,
           pg_catalog.convert_from(pg_catalog.substring(t.tgargs, 1, pg_catalog.position(t.tgargs, '\x00'::bytea) - 1),
               pg_catalog.getdatabaseencoding())::name AS column_name
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid AND t.tgnargs = 2 AND t.tgenabled <> 'D'
        AND t.tgfoid = 'bdr.internal_row_version()'::pg_catalog.regprocedure
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'bdr');
COMMENT ON VIEW bdr.conflict_detection IS 'how this node finds conflicting updates of each table';
