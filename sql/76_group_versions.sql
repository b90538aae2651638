-- What the nodes say when they are asked now, each within 3 s; no rows when the manager does not run.
CREATE FUNCTION bdr.internal_group_versions(
    OUT node_id oid, OUT postgres_version text, OUT bdr_version text, OUT extension_version text,
    OUT protocol_min integer, OUT protocol_max integer, OUT is_reachable boolean, OUT last_seen timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'bdr_call_if_running'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_group_versions() IS 'internal: ask the nodes for their versions';
REVOKE ALL ON FUNCTION bdr.internal_group_versions() FROM PUBLIC;

CREATE VIEW bdr.group_versions_details AS
    SELECT n.node_id, n.node_name, v.postgres_version, v.bdr_version, v.extension_version, v.protocol_min, v.protocol_max,
           v.is_reachable, v.last_seen
    FROM bdr.node n LEFT JOIN bdr.internal_group_versions() v ON v.node_id = n.node_id
    WHERE n.node_group_id <> 0 AND n.node_state <> 12;
COMMENT ON VIEW bdr.group_versions_details IS 'which versions of PostgreSQL and of bdr each node has';

-- One row, of all that is not as it should be.
CREATE FUNCTION bdr.monitor_group_versions(OUT status text, OUT message text)
RETURNS record
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
    WITH node AS MATERIALIZED (
        SELECT d.node_name, d.postgres_version, d.bdr_version, d.extension_version, d.is_reachable FROM bdr.group_versions_details d),
    finding AS (
        SELECT 1 AS place, 'UNKNOWN' AS status, 'this database is not a member of a node group' AS message
        WHERE NOT EXISTS (SELECT FROM node)
        UNION ALL SELECT 2, 'WARNING', 'the bdr manager of this database does not run, or must not act'
        FROM node n HAVING pg_catalog.count(*) > pg_catalog.count(n.is_reachable)
        UNION ALL SELECT 2, 'WARNING', 'not reachable: ' || pg_catalog.string_agg(n.node_name, ', ' ORDER BY n.node_name)
        FROM node n WHERE NOT n.is_reachable HAVING pg_catalog.count(*) > 0
        UNION ALL SELECT 3, 'WARNING', 'nodes have different versions of bdr: '
               || pg_catalog.string_agg(n.node_name || ' ' || n.bdr_version, ', ' ORDER BY n.node_name)
        FROM node n WHERE n.bdr_version IS NOT NULL HAVING pg_catalog.count(DISTINCT n.bdr_version) > 1
        UNION ALL SELECT 4, 'WARNING', 'run ALTER EXTENSION bdr UPDATE on: '
               || pg_catalog.string_agg(n.node_name, ', ' ORDER BY n.node_name)
        FROM node n WHERE n.extension_version <> n.bdr_version HAVING pg_catalog.count(*) > 0
        UNION ALL SELECT 5, 'WARNING', 'nodes have different versions of PostgreSQL: '
               || pg_catalog.string_agg(n.node_name || ' ' || n.postgres_version, ', ' ORDER BY n.node_name)
        FROM node n WHERE n.postgres_version IS NOT NULL HAVING pg_catalog.count(DISTINCT n.postgres_version) > 1)
    SELECT COALESCE(pg_catalog.min(f.status), 'OK'),
           COALESCE(pg_catalog.string_agg(f.message, '; ' ORDER BY f.place), 'all nodes have the same versions')
    FROM finding f;
END;
COMMENT ON FUNCTION bdr.monitor_group_versions() IS 'whether all nodes can be reached and have the same versions';
REVOKE ALL ON FUNCTION bdr.monitor_group_versions() FROM PUBLIC;
