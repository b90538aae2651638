-- SQL on other nodes, over connections as the role of their connection strings: for superusers.
CREATE FUNCTION bdr.internal_run_on_node(node_name text, query text)
RETURNS json
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_run_on_node(text, text) IS 'internal: run SQL on one node';
REVOKE ALL ON FUNCTION bdr.internal_run_on_node(text, text) FROM PUBLIC;

CREATE FUNCTION bdr.run_on_nodes(node_names text[], query text)
RETURNS json
LANGUAGE sql STRICT VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT pg_catalog.json_agg(a.answer ORDER BY a.place)
    FROM (SELECT n.place, bdr.internal_run_on_node(n.name, run_on_nodes.query) AS answer
          FROM pg_catalog.unnest(run_on_nodes.node_names) WITH ORDINALITY n (name, place)) a;
END;
COMMENT ON FUNCTION bdr.run_on_nodes(text[], text) IS 'run SQL on these nodes, one after the other';
REVOKE ALL ON FUNCTION bdr.run_on_nodes(text[], text) FROM PUBLIC;

CREATE FUNCTION bdr.run_on_all_nodes(query text)
RETURNS json
LANGUAGE sql STRICT VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT bdr.run_on_nodes(pg_catalog.array_agg(n.node_name::text ORDER BY n.node_name), run_on_all_nodes.query)
    FROM bdr.node n WHERE n.node_state <> 12;
END;
COMMENT ON FUNCTION bdr.run_on_all_nodes(text) IS 'run SQL on all nodes that are not parted, one after the other';
REVOKE ALL ON FUNCTION bdr.run_on_all_nodes(text) FROM PUBLIC;

CREATE FUNCTION bdr.run_on_group(node_group_name text, query text)
RETURNS json
LANGUAGE sql STRICT VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT bdr.run_on_nodes(pg_catalog.array_agg(n.node_name::text ORDER BY n.node_name), run_on_group.query)
    FROM bdr.node n JOIN bdr.node_group g USING (node_group_id)
    WHERE n.node_state <> 12 AND g.node_group_name = run_on_group.node_group_name;
END;
COMMENT ON FUNCTION bdr.run_on_group(text, text) IS 'run SQL on the nodes of a group, one after the other; NULL: it has none';
REVOKE ALL ON FUNCTION bdr.run_on_group(text, text) FROM PUBLIC;
