-- Global locks: who holds which, and who waits, agreed by consensus. Of one key the first has it.
CREATE TABLE bdr.global_lock (
    lock_id text COLLATE "C" NOT NULL PRIMARY KEY,
    place bigint NOT NULL,
    lock_type text NOT NULL,
    key1 integer NOT NULL,
    key2 integer NOT NULL,
    key_is_bigint boolean NOT NULL,
    schema_name text COLLATE "C" NOT NULL,
    table_name text COLLATE "C" NOT NULL,
    origin_node_id oid NOT NULL,
    pid integer NOT NULL,
    local_lock_request_time timestamptz NOT NULL,
    global_lock_request_time timestamptz NOT NULL,
    last_state_change_time timestamptz NOT NULL,
    request_position pg_lsn NOT NULL
);
COMMENT ON TABLE bdr.global_lock IS 'global locks that sessions hold or wait for, agreed by consensus';

-- One row, from the first lock on.
CREATE TABLE bdr.global_lock_place (
    id integer NOT NULL PRIMARY KEY DEFAULT 1 CHECK (id OPERATOR(pg_catalog.=) 1),
    last_place bigint NOT NULL
);
COMMENT ON TABLE bdr.global_lock_place IS 'how many global locks have been asked for, agreed by consensus';

-- A node that takes the DDL lock, or that of a table, has to have what the others wrote before these positions.
CREATE TABLE bdr.global_lock_position (
    origin_node_id oid NOT NULL PRIMARY KEY,
    "position" pg_lsn NOT NULL
);
COMMENT ON TABLE bdr.global_lock_position IS 'where nodes have given locks of the schema and of tables back, agreed by consensus';

-- Nodes whose users do not write to the table of a lock any more, and up to where they did; 0/0: they do not have it.
CREATE TABLE bdr.global_lock_ready (
    lock_id text COLLATE "C" NOT NULL,
    node_id oid NOT NULL,
    "position" pg_lsn NOT NULL,
    PRIMARY KEY (lock_id, node_id)
);
COMMENT ON TABLE bdr.global_lock_ready IS 'nodes that have stopped writing to a table that is locked, agreed by consensus';

-- Tables of this node that its users do not write to; of this node alone, and read by session/lock/table_gate.c.
CREATE TABLE bdr.table_gate (
    relid oid NOT NULL,
    node_id oid NOT NULL,
    lock_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (relid, lock_id)
);
COMMENT ON TABLE bdr.table_gate IS 'tables that transactions of other nodes have locked, as this node keeps its users from them';

CREATE VIEW bdr.global_locks AS
    SELECT l.origin_node_id, n.node_name AS origin_node_name, 'GLOBAL_LOCK_' || pg_catalog.upper(l.lock_type) AS lock_type,
           CASE WHEN l.lock_type OPERATOR(pg_catalog.=) 'dml'
                THEN pg_catalog.quote_ident(l.schema_name) || '.' || pg_catalog.quote_ident(l.table_name) END AS relation,
           CASE WHEN l.lock_type OPERATOR(pg_catalog.<>) 'advisory' THEN NULL
                WHEN l.key_is_bigint THEN ((l.key1::bigint << 32) | (l.key2::bigint & 4294967295))::text
                ELSE l.key1::text || ', ' || l.key2::text END AS key,
           l.pid, CASE WHEN pg_catalog.row_number() OVER ahead > 1 THEN 'waiting'
                       WHEN l.lock_type OPERATOR(pg_catalog.=) 'dml' AND m.missing IS NOT NULL THEN 'draining'
                       ELSE 'acquired' END AS acquire_stage,
           CASE WHEN l.lock_type OPERATOR(pg_catalog.=) 'dml' AND pg_catalog.row_number() OVER ahead = 1 THEN m.missing END AS missing_nodes,
           (pg_catalog.count(*) OVER same - pg_catalog.row_number() OVER ahead)::integer AS waiters,
           l.global_lock_request_time, l.local_lock_request_time, l.last_state_change_time
    FROM bdr.global_lock l LEFT JOIN bdr.node n ON n.node_id = l.origin_node_id
    CROSS JOIN LATERAL (
        SELECT pg_catalog.array_agg(o.node_name ORDER BY o.node_name) AS missing
        FROM bdr.node o
        WHERE o.node_id <> l.origin_node_id AND o.node_state BETWEEN 5 AND 8
          AND NOT EXISTS (SELECT FROM bdr.global_lock_ready r WHERE r.lock_id = l.lock_id AND r.node_id = o.node_id)) m
    WINDOW same AS (PARTITION BY l.lock_type, l.key1, l.key2, l.key_is_bigint, l.schema_name, l.table_name),
           ahead AS (PARTITION BY l.lock_type, l.key1, l.key2, l.key_is_bigint, l.schema_name, l.table_name ORDER BY l.place);
COMMENT ON VIEW bdr.global_locks IS 'global locks that sessions of any node hold or wait for';

CREATE FUNCTION bdr.internal_close_gates(schema_name text, table_name text, node_id oid, lock_id text)
RETURNS integer
AS 'MODULE_PATHNAME', 'bdr_internal_close_gates'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_close_gates(text, text, oid, text) IS 'for the manager: have a writer keep users from a table and those below; to how many they may write still';
REVOKE ALL ON FUNCTION bdr.internal_close_gates(text, text, oid, text) FROM PUBLIC;

CREATE FUNCTION bdr.internal_leave_gates(lock_id text)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_internal_leave_gates'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_leave_gates(text) IS 'for the manager: let users write to the tables of a lock again';
REVOKE ALL ON FUNCTION bdr.internal_leave_gates(text) FROM PUBLIC;

CREATE FUNCTION bdr.internal_queue_await(positions text)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_internal_queue_await'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_queue_await(text) IS 'for the manager: have what follows wait on each other node until it has other changes';
REVOKE ALL ON FUNCTION bdr.internal_queue_await(text) FROM PUBLIC;

CREATE FUNCTION bdr.internal_gates(OUT relid oid, OUT node_id oid, OUT lock_id text, OUT closed boolean, OUT held boolean)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'bdr_internal_gates'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_gates() IS 'tables that users of this node do not write to, and whether a writer has the lock for that';
REVOKE ALL ON FUNCTION bdr.internal_gates() FROM PUBLIC;

-- It asks for the rights that LOCK TABLE asks for.
CREATE FUNCTION bdr.global_lock_table(relation regclass)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_global_lock_table'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.global_lock_table(regclass) IS 'lock a table against writers of all nodes until the transaction ends';

-- Whom a superuser grants it: each call is an entry of consensus on every node.
CREATE FUNCTION bdr.global_advisory_lock(key bigint)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_global_advisory_lock_bigint'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.global_advisory_lock(bigint) IS 'lock a key in the whole group until the transaction ends';
REVOKE ALL ON FUNCTION bdr.global_advisory_lock(bigint) FROM PUBLIC;

CREATE FUNCTION bdr.global_advisory_lock(key1 integer, key2 integer)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_global_advisory_lock_integers'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.global_advisory_lock(integer, integer) IS 'lock a key of two parts in the whole group until the transaction ends';
REVOKE ALL ON FUNCTION bdr.global_advisory_lock(integer, integer) FROM PUBLIC;

CREATE FUNCTION bdr.global_advisory_unlock(key bigint)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_global_advisory_unlock_bigint'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.global_advisory_unlock(bigint) IS 'take back one global_advisory_lock of this transaction';
REVOKE ALL ON FUNCTION bdr.global_advisory_unlock(bigint) FROM PUBLIC;

CREATE FUNCTION bdr.global_advisory_unlock(key1 integer, key2 integer)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_global_advisory_unlock_integers'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.global_advisory_unlock(integer, integer) IS 'take back one global_advisory_lock of this transaction';
REVOKE ALL ON FUNCTION bdr.global_advisory_unlock(integer, integer) FROM PUBLIC;
