-- Global locks: who holds which, and who waits, agreed by consensus. Of one key the first has it.
CREATE TABLE bdr.global_lock (
    lock_id text COLLATE "C" NOT NULL PRIMARY KEY,
    place bigint NOT NULL,
    lock_type text NOT NULL,
    key1 integer NOT NULL,
    key2 integer NOT NULL,
    key_is_bigint boolean NOT NULL,
    origin_node_id oid NOT NULL,
    pid integer NOT NULL,
    local_lock_request_time timestamptz NOT NULL,
    global_lock_request_time timestamptz NOT NULL,
    last_state_change_time timestamptz NOT NULL
);
COMMENT ON TABLE bdr.global_lock IS 'global locks that sessions hold or wait for, agreed by consensus';

-- One row, from the first lock on.
CREATE TABLE bdr.global_lock_place (
    id integer NOT NULL PRIMARY KEY DEFAULT 1 CHECK (id OPERATOR(pg_catalog.=) 1),
    last_place bigint NOT NULL
);
COMMENT ON TABLE bdr.global_lock_place IS 'how many global locks have been asked for, agreed by consensus';

-- A node that takes the DDL lock has to have what the others wrote before these positions.
CREATE TABLE bdr.global_lock_position (
    origin_node_id oid NOT NULL PRIMARY KEY,
    "position" pg_lsn NOT NULL
);
COMMENT ON TABLE bdr.global_lock_position IS 'where nodes have given the global DDL lock back, agreed by consensus';

CREATE VIEW bdr.global_locks AS
    SELECT l.origin_node_id, n.node_name AS origin_node_name, 'GLOBAL_LOCK_' || pg_catalog.upper(l.lock_type) AS lock_type,
           CASE WHEN l.lock_type OPERATOR(pg_catalog.<>) 'advisory' THEN NULL
                WHEN l.key_is_bigint THEN ((l.key1::bigint << 32) | (l.key2::bigint & 4294967295))::text
                ELSE l.key1::text || ', ' || l.key2::text END AS key,
           l.pid, CASE WHEN pg_catalog.row_number() OVER ahead = 1 THEN 'acquired' ELSE 'waiting' END AS acquire_stage,
           (pg_catalog.count(*) OVER same - pg_catalog.row_number() OVER ahead)::integer AS waiters,
           l.global_lock_request_time, l.local_lock_request_time, l.last_state_change_time
    FROM bdr.global_lock l LEFT JOIN bdr.node n ON n.node_id = l.origin_node_id
    WINDOW same AS (PARTITION BY l.lock_type, l.key1, l.key2, l.key_is_bigint),
           ahead AS (PARTITION BY l.lock_type, l.key1, l.key2, l.key_is_bigint ORDER BY l.place);
COMMENT ON VIEW bdr.global_locks IS 'global locks that sessions of any node hold or wait for';

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
