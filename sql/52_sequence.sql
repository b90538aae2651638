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

-- In place of the server's functions, to which a planner support function redirects here. They ask for the same
-- rights on the sequence.
CREATE FUNCTION bdr.seq_nextval(sequence regclass)
RETURNS bigint
AS 'MODULE_PATHNAME', 'bdr_seq_nextval'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.seq_nextval(regclass) IS 'nextval for sequences of every kind';

-- Values of identity columns, for which the planner's call needs no rights on the sequence.
CREATE FUNCTION bdr.seq_nextval_identity(sequence regclass)
RETURNS bigint
AS 'MODULE_PATHNAME', 'bdr_seq_nextval_identity'
LANGUAGE C CALLED ON NULL INPUT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.seq_nextval_identity(regclass) IS 'internal: the value of an identity column';

CREATE FUNCTION bdr.seq_currval(sequence regclass)
RETURNS bigint
AS 'MODULE_PATHNAME', 'bdr_seq_currval'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.seq_currval(regclass) IS 'currval for sequences of every kind';

CREATE FUNCTION bdr.seq_lastval()
RETURNS bigint
AS 'MODULE_PATHNAME', 'bdr_seq_lastval'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.seq_lastval() IS 'lastval for sequences of every kind';

CREATE FUNCTION bdr.seq_setval(sequence regclass, value bigint)
RETURNS bigint
AS 'MODULE_PATHNAME', 'bdr_seq_setval'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.seq_setval(regclass, bigint) IS 'setval for sequences of every kind';

CREATE FUNCTION bdr.seq_setval_called(sequence regclass, value bigint, is_called boolean)
RETURNS bigint
AS 'MODULE_PATHNAME', 'bdr_seq_setval_called'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.seq_setval_called(regclass, bigint, boolean) IS 'setval for sequences of every kind';

CREATE FUNCTION bdr.seq_last_value(sequence regclass)
RETURNS bigint
AS 'MODULE_PATHNAME', 'bdr_seq_last_value'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.seq_last_value(regclass) IS 'pg_sequence_last_value for sequences of every kind';

CREATE FUNCTION bdr.seq_data(sequence regclass, OUT last_value bigint, OUT is_called boolean)
RETURNS record
AS 'MODULE_PATHNAME', 'bdr_seq_data'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.seq_data(regclass) IS 'pg_get_sequence_data for sequences of every kind';

CREATE FUNCTION bdr.seq_row(sequence regclass, reader oid, OUT last_value bigint, OUT log_cnt bigint, OUT is_called boolean)
RETURNS record
AS 'MODULE_PATHNAME', 'bdr_seq_row'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.seq_row(regclass, oid) IS 'what SELECT from a sequence shows, for sequences of every kind';

CREATE FUNCTION bdr.seq_support(request internal)
RETURNS internal
AS 'MODULE_PATHNAME', 'bdr_seq_support'
LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION bdr.seq_support(internal) IS 'internal: redirects nextval and its like';

-- Change the kind of a sequence on all nodes; at once, whatever becomes of the transaction.
CREATE FUNCTION bdr.alter_sequence_set_kind(seq regclass, seqkind text, start bigint DEFAULT 1)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_alter_sequence_set_kind'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.alter_sequence_set_kind(regclass, text, bigint) IS 'change the kind of a sequence on all nodes';

CREATE FUNCTION bdr.internal_stop_sequence(nspname name, relname name, switch_id uuid, role_name name,
    OUT present boolean, OUT old_kind "char", OUT old_key text, OUT highest bigint)
RETURNS record
AS 'MODULE_PATHNAME', 'bdr_internal_stop_sequence'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_stop_sequence(name, name, uuid, name) IS 'internal: nextval waits until a switch of the kind has ended';
REVOKE ALL ON FUNCTION bdr.internal_stop_sequence(name, name, uuid, name) FROM PUBLIC;

CREATE FUNCTION bdr.internal_switch_sequence(nspname name, relname name, switch_id uuid, seqkind "char", seq_key text, start bigint, clock_ms bigint)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_internal_switch_sequence'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_switch_sequence(name, name, uuid, "char", text, bigint, bigint) IS 'internal: give a sequence the kind that was agreed on';
REVOKE ALL ON FUNCTION bdr.internal_switch_sequence(name, name, uuid, "char", text, bigint, bigint) FROM PUBLIC;

CREATE FUNCTION bdr.internal_copy_sequence_kind(nspname name, relname name, owner name, seqkind "char", seq_key text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'bdr_internal_copy_sequence_kind'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_copy_sequence_kind(name, name, name, "char", text) IS 'internal: the kind of a sequence that a join has copied';
REVOKE ALL ON FUNCTION bdr.internal_copy_sequence_kind(name, name, name, "char", text) FROM PUBLIC;

CREATE FUNCTION bdr.internal_sequence_changed(seq_key text)
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_internal_sequence_changed'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_sequence_changed(text) IS 'internal: sessions look at a sequence again';
REVOKE ALL ON FUNCTION bdr.internal_sequence_changed(text) FROM PUBLIC;

CREATE FUNCTION bdr.internal_sequence_key(nspname name, relname name)
RETURNS text
AS 'MODULE_PATHNAME', 'bdr_internal_sequence_key'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_sequence_key(name, name) IS 'internal: the name under which the group will know a sequence';
REVOKE ALL ON FUNCTION bdr.internal_sequence_key(name, name) FROM PUBLIC;

CREATE FUNCTION bdr.internal_install_sequences()
RETURNS boolean
AS 'MODULE_PATHNAME', 'bdr_internal_install_sequences'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_install_sequences() IS 'internal: redirect nextval and its like in this database';
REVOKE ALL ON FUNCTION bdr.internal_install_sequences() FROM PUBLIC;

CREATE FUNCTION bdr.internal_uninstall_sequences()
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_internal_uninstall_sequences'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_uninstall_sequences() IS 'internal: all sequences become local, and nextval the server''s';
REVOKE ALL ON FUNCTION bdr.internal_uninstall_sequences() FROM PUBLIC;

CREATE FUNCTION bdr.internal_forget_node_number()
RETURNS void
AS 'MODULE_PATHNAME', 'bdr_internal_forget_node_number'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION bdr.internal_forget_node_number() IS 'internal: sessions find out again which number this node has';
REVOKE ALL ON FUNCTION bdr.internal_forget_node_number() FROM PUBLIC;
