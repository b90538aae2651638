-- Statements on their way to the peers (docs/decisions/0027-ddl-queue.md).  A row is deleted by the command that inserts it.
CREATE TABLE bdr.queue (
    queued_at timestamptz NOT NULL,
    role name NOT NULL,
    replication_sets text[],
    message_type "char" NOT NULL,
    message text NOT NULL,
    settings text[] NOT NULL,
    role_superuser boolean NOT NULL
);
ALTER TABLE bdr.queue REPLICA IDENTITY FULL; -- a publication for all tables must not keep us from deleting
REVOKE ALL ON bdr.queue FROM PUBLIC;
COMMENT ON TABLE bdr.queue IS 'what puts a statement between the rows around it; nobody sees a row of it';

-- What is in the table runs on the peers as anybody, so no grant is enough to write to it.
CREATE FUNCTION bdr.internal_refuse_queue()
RETURNS trigger
AS 'MODULE_PATHNAME', 'bdr_internal_refuse_queue'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_refuse_queue() IS 'internal: nothing but bdr itself writes to bdr.queue';
REVOKE ALL ON FUNCTION bdr.internal_refuse_queue() FROM PUBLIC;

CREATE TRIGGER refuse_queue BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON bdr.queue
    FOR EACH STATEMENT EXECUTE FUNCTION bdr.internal_refuse_queue();
ALTER TABLE bdr.queue ENABLE ALWAYS TRIGGER refuse_queue;

CREATE FUNCTION bdr.replicate_ddl_command(ddl_cmd text, replication_sets text[] DEFAULT NULL, ddl_locking text DEFAULT NULL,
    execute_locally boolean DEFAULT true)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_replicate_ddl_command'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.replicate_ddl_command(text, text[], text, boolean) IS 'run a statement on all nodes';
REVOKE ALL ON FUNCTION bdr.replicate_ddl_command(text, text[], text, boolean) FROM PUBLIC;
