-- Which method makes a sequence's values; one that has no row is local. Local to this node.
CREATE TABLE bdr.sequence_kind (
    seqid oid NOT NULL PRIMARY KEY,
    seqkind "char" NOT NULL,
    seq_key text COLLATE "C" NOT NULL,
    stopped_by uuid,
    local_last bigint,
    local_called boolean
);
COMMENT ON TABLE bdr.sequence_kind IS 'kinds of the sequences that are, or were, not local';

-- Changes of a kind that all nodes have to confirm, agreed by consensus.
CREATE TABLE bdr.sequence_switch (
    switch_id uuid NOT NULL PRIMARY KEY,
    nspname name NOT NULL,
    relname name NOT NULL,
    seqkind "char" NOT NULL,
    node_id oid NOT NULL,
    started timestamptz NOT NULL,
    done boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE bdr.sequence_switch IS 'changes of the kinds of sequences, agreed by consensus';

-- Up to where the values of each galloc sequence have been given out, agreed by consensus.
CREATE TABLE bdr.sequence_allocation (
    seq_key text COLLATE "C" NOT NULL PRIMARY KEY,
    chunk_size bigint NOT NULL,
    allocated_up_to bigint NOT NULL,
    nallocs bigint NOT NULL DEFAULT 0,
    last_alloc timestamptz
);
COMMENT ON TABLE bdr.sequence_allocation IS 'galloc sequences: the last value that any node may make, agreed by consensus';

CREATE TABLE bdr.sequence_chunk (
    seq_key text COLLATE "C" NOT NULL,
    first_value bigint NOT NULL,
    last_value bigint NOT NULL,
    node_id oid NOT NULL,
    PRIMARY KEY (seq_key, first_value)
);
COMMENT ON TABLE bdr.sequence_chunk IS 'galloc sequences: which node may make which values, agreed by consensus';

-- Times up to which ids may have been made, in milliseconds after their epoch: the server does not go back behind it.
CREATE SEQUENCE bdr.id_clock MINVALUE 0 START 0;
COMMENT ON SEQUENCE bdr.id_clock IS 'ids of snowflakeid and timeshard sequences are later than this, after a crash and when the clock is set back';
