-- Names of node states; gosrc/cluster/state.go and its test hold the same list.
CREATE TABLE bdr.peer_state (
    state oid NOT NULL PRIMARY KEY,
    state_name text NOT NULL UNIQUE
);
COMMENT ON TABLE bdr.peer_state IS 'names of node states';
INSERT INTO bdr.peer_state (state, state_name) VALUES
    (0, 'NONE'),
    (1, 'CREATED'),
    (2, 'JOIN_START'),
    (3, 'JOINING'),
    (4, 'CATCHUP'),
    (5, 'STANDBY'),
    (6, 'PROMOTE'),
    (7, 'PROMOTING'),
    (8, 'ACTIVE'),
    (9, 'PART_START'),
    (10, 'PARTING'),
    (11, 'PART_CATCHUP'),
    (12, 'PARTED');

CREATE TABLE bdr.node_group (
    node_group_id oid NOT NULL PRIMARY KEY,
    node_group_name name NOT NULL UNIQUE,
    node_group_uuid uuid NOT NULL,
    node_group_parent_id oid NOT NULL DEFAULT 0,
    last_node_seq_id integer NOT NULL DEFAULT 0
);
COMMENT ON TABLE bdr.node_group IS 'groups of the cluster, agreed by consensus';

CREATE TABLE bdr.node (
    node_id oid NOT NULL PRIMARY KEY,
    node_name name NOT NULL UNIQUE,
    node_group_id oid NOT NULL DEFAULT 0,
    source_node_id oid NOT NULL DEFAULT 0,
    synchronize_structure text NOT NULL DEFAULT 'all',
    node_state oid NOT NULL REFERENCES bdr.peer_state (state),
    target_state oid NOT NULL REFERENCES bdr.peer_state (state),
    seq_id integer NOT NULL DEFAULT 0,
    dbname name NOT NULL,
    dboid oid NOT NULL,
    node_dsn text NOT NULL,
    node_kind text NOT NULL DEFAULT 'data',
    node_uuid uuid NOT NULL UNIQUE
);
COMMENT ON TABLE bdr.node IS 'nodes of the cluster, agreed by consensus; before the first group only the local node';

CREATE TABLE bdr.local_node (
    only_row boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    node_id oid NOT NULL,
    node_uuid uuid NOT NULL,
    pub_repsets text[] NOT NULL DEFAULT '{}',
    sub_repsets text[] NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE bdr.local_node IS 'which node this database is';

-- apply_index is written in the transaction that carries out the entry.
CREATE TABLE bdr.local_consensus_state (
    only_row boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    node_id oid NOT NULL,
    apply_index bigint NOT NULL,
    apply_term bigint NOT NULL
);
COMMENT ON TABLE bdr.local_consensus_state IS 'last consensus log entry that the tables of this database contain';

-- Where the local join stands; a restarted manager goes on from here.
CREATE TABLE bdr.local_join (
    only_row boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    step text NOT NULL,
    join_target_dsn text NOT NULL,
    source_node_id oid NOT NULL DEFAULT 0,
    synchronize_structure text NOT NULL DEFAULT 'all',
    tables_total integer NOT NULL DEFAULT 0,
    tables_copied integer NOT NULL DEFAULT 0,
    bytes_copied bigint NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    waiting_for text,
    last_error text
);
COMMENT ON TABLE bdr.local_join IS 'progress of this node''s join';

CREATE VIEW bdr.join_progress AS
    SELECT j.step, s.node_name AS source_name, j.tables_total, j.tables_copied, j.bytes_copied,
           pg_catalog.pg_size_pretty(j.bytes_copied) AS size_copied,
           j.started_at, j.updated_at, j.waiting_for, j.last_error
    FROM bdr.local_join j LEFT JOIN bdr.node s ON s.node_id = j.source_node_id;
COMMENT ON VIEW bdr.join_progress IS 'progress of this node''s join';

CREATE VIEW bdr.node_summary AS
    SELECT n.node_name, g.node_group_name, n.node_dsn AS interface_connstr,
           cs.state_name AS peer_state_name, ts.state_name AS peer_target_state_name,
           n.seq_id AS node_seq_id, n.dbname AS node_local_dbname, n.node_id, n.node_group_id,
           n.node_kind AS node_kind_name, n.node_uuid
    FROM bdr.node n
         JOIN bdr.peer_state cs ON cs.state = n.node_state
         JOIN bdr.peer_state ts ON ts.state = n.target_state
         LEFT JOIN bdr.node_group g ON g.node_group_id = n.node_group_id;
COMMENT ON VIEW bdr.node_summary IS 'every node of the cluster';

CREATE VIEW bdr.local_node_summary AS
    SELECT s.node_name, s.node_group_name, s.interface_connstr, s.peer_state_name, s.peer_target_state_name,
           s.node_seq_id, s.node_local_dbname, s.node_id, s.node_group_id, s.node_kind_name, s.node_uuid,
           l.pub_repsets, l.sub_repsets
    FROM bdr.local_node l JOIN bdr.node_summary s ON s.node_id = l.node_id;
COMMENT ON VIEW bdr.local_node_summary IS 'the node that this database is';

-- Make the current database a BDR node.  Nothing replicates until it creates or joins a group.
CREATE FUNCTION bdr.create_node(node_name text, local_dsn text, node_kind text DEFAULT NULL)
RETURNS oid
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.create_node(text, text, text) IS 'make the current database a BDR node';
REVOKE ALL ON FUNCTION bdr.create_node(text, text, text) FROM PUBLIC;

CREATE FUNCTION bdr.drop_node(node_name text, cascade boolean DEFAULT false, force boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_call'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.drop_node(text, boolean, boolean) IS 'remove what this database knows about a parted node';
REVOKE ALL ON FUNCTION bdr.drop_node(text, boolean, boolean) FROM PUBLIC;
