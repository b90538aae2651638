package catalog

import (
	"context"
	"time"

	"bdr/gosrc/ipc"
)

// SequenceAllocation is a row of bdr.sequence_allocation: up to where the values
// of a galloc sequence have been given out.
type SequenceAllocation struct {
	Key       string
	ChunkSize int64
	UpTo      int64
	Allocs    int64
	LastAlloc int64 // microseconds since 1970; 0: never
}

// SequenceChunk is a row of bdr.sequence_chunk: values that one node may make.
type SequenceChunk struct {
	Key   string
	First int64
	Last  int64
	Node  uint32
}

// SequenceSwitch is a row of bdr.sequence_switch: a change of a sequence's kind.
type SequenceSwitch struct {
	ID      string
	Schema  string
	Name    string
	Kind    string // as in bdr.sequence_kind
	Node    uint32
	Started int64 // microseconds since 1970
	Done    bool  `json:",omitzero"`
}

// HasSequences says whether the SQL objects of a database are of a version with global
// sequences.
func HasSequences(ctx context.Context, runner Runner) (bool, error) {
	return has(ctx, runner, "sequence_kind")
}

// has says whether a database has a table of ours.
func has(ctx context.Context, runner Runner, table string) (bool, error) {
	results, err := runner.Run(ctx, ipc.Stmt{SQL: `SELECT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
 WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
  AND d.objid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('bdr.` + table + `')
  AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
  AND d.deptype OPERATOR(pg_catalog.=) 'e' AND e.extname OPERATOR(pg_catalog.=) 'bdr')`})
	if err != nil || len(results[0].Rows) == 0 {
		return false, err
	}
	c := columns{row: results[0].Rows[0]}
	is := c.boolean()
	return is, c.done()
}

// SelectSequenceState reads what consensus wrote about sequences.
func SelectSequenceState() []ipc.Stmt {
	return []ipc.Stmt{
		{SQL: `SELECT seq_key, chunk_size, allocated_up_to, nallocs,
 COALESCE((extract(epoch FROM last_alloc) * 1000000)::bigint, 0) FROM bdr.sequence_allocation ORDER BY seq_key`},
		{SQL: `SELECT seq_key, first_value, last_value, node_id FROM bdr.sequence_chunk ORDER BY seq_key, first_value`},
		{SQL: `SELECT switch_id, nspname, relname, seqkind, node_id, (extract(epoch FROM started) * 1000000)::bigint, done
 FROM bdr.sequence_switch ORDER BY switch_id`},
	}
}

// SequenceState decodes what SelectSequenceState returned.
func SequenceState(results []ipc.Result) (allocations []SequenceAllocation, chunks []SequenceChunk, switches []SequenceSwitch, err error) {
	for _, row := range results[0].Rows {
		c := columns{row: row}
		allocations = append(allocations, SequenceAllocation{Key: c.text(), ChunkSize: c.integer(), UpTo: c.integer(), Allocs: c.integer(), LastAlloc: c.integer()})
		if err := c.done(); err != nil {
			return nil, nil, nil, err
		}
	}
	for _, row := range results[1].Rows {
		c := columns{row: row}
		chunks = append(chunks, SequenceChunk{Key: c.text(), First: c.integer(), Last: c.integer(), Node: c.oid()})
		if err := c.done(); err != nil {
			return nil, nil, nil, err
		}
	}
	for _, row := range results[2].Rows {
		c := columns{row: row}
		switches = append(switches, SequenceSwitch{ID: c.text(), Schema: c.text(), Name: c.text(), Kind: c.text(), Node: c.oid(),
			Started: c.integer(), Done: c.boolean()})
		if err := c.done(); err != nil {
			return nil, nil, nil, err
		}
	}
	return allocations, chunks, switches, nil
}

// moment is an argument for a timestamptz; NULL for zero.
func moment(microseconds int64) any {
	if microseconds == 0 {
		return nil
	}
	return time.UnixMicro(microseconds)
}

// UpsertSequenceAllocation writes a row.
func UpsertSequenceAllocation(a SequenceAllocation) ipc.Stmt {
	return ipc.Stmt{SQL: `INSERT INTO bdr.sequence_allocation (seq_key, chunk_size, allocated_up_to, nallocs, last_alloc)
 VALUES ($1, $2::bigint, $3::bigint, $4::bigint, $5::timestamptz)
 ON CONFLICT (seq_key) DO UPDATE SET chunk_size = excluded.chunk_size, allocated_up_to = excluded.allocated_up_to,
 nallocs = excluded.nallocs, last_alloc = excluded.last_alloc`,
		Args: []any{a.Key, a.ChunkSize, a.UpTo, a.Allocs, moment(a.LastAlloc)}}
}

// InsertSequenceChunk writes a row.
func InsertSequenceChunk(c SequenceChunk) ipc.Stmt {
	return ipc.Stmt{SQL: `INSERT INTO bdr.sequence_chunk (seq_key, first_value, last_value, node_id)
 VALUES ($1, $2::bigint, $3::bigint, $4::oid)`, Args: []any{c.Key, c.First, c.Last, c.Node}}
}

// DeleteSequenceChunk removes a row.
func DeleteSequenceChunk(c SequenceChunk) ipc.Stmt {
	return ipc.Stmt{SQL: `DELETE FROM bdr.sequence_chunk WHERE seq_key = $1 AND first_value = $2::bigint`, Args: []any{c.Key, c.First}}
}

// UpsertSequenceSwitch writes a row.
func UpsertSequenceSwitch(s SequenceSwitch) ipc.Stmt {
	return ipc.Stmt{SQL: `INSERT INTO bdr.sequence_switch (switch_id, nspname, relname, seqkind, node_id, started, done)
 VALUES ($1::uuid, $2, $3, $4::"char", $5::oid, $6::timestamptz, $7::boolean)
 ON CONFLICT (switch_id) DO UPDATE SET done = excluded.done`,
		Args: []any{s.ID, s.Schema, s.Name, s.Kind, s.Node, time.UnixMicro(s.Started), s.Done}}
}

// DeleteSequenceSwitch removes a row.
func DeleteSequenceSwitch(id string) ipc.Stmt {
	return ipc.Stmt{SQL: `DELETE FROM bdr.sequence_switch WHERE switch_id = $1::uuid`, Args: []any{id}}
}

// DeleteSequenceState removes all that consensus wrote about sequences.
func DeleteSequenceState() []ipc.Stmt {
	return []ipc.Stmt{{SQL: `DELETE FROM bdr.sequence_switch`}, {SQL: `DELETE FROM bdr.sequence_chunk`}, {SQL: `DELETE FROM bdr.sequence_allocation`}}
}

// SelectSequenceKey reads under which name the group will know a sequence.
func SelectSequenceKey(schema, name string) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT bdr.internal_sequence_key($1::name, $2::name)`, Args: []any{schema, name}}
}

// A StopSequence is what a node is asked for before the kind of a sequence changes,
// and, with Carried, when that has been agreed on: whether it has carried it out.
type StopSequence struct {
	Switch       string
	Schema, Name string
	Role         string // whose member must own the sequence; "" for a superuser
	Carried      bool
}

// Statements runs it in a session: users' transactions may have to be waited for.
func (s StopSequence) Statements() []ipc.Stmt {
	var role any
	if s.Role != "" {
		role = s.Role
	}
	return []ipc.Stmt{LimitLockWait(), {SQL: `SELECT present, old_kind, old_key, highest
 FROM bdr.internal_stop_sequence($1::name, $2::name, $3::uuid, $4::name)`, Args: []any{s.Schema, s.Name, s.Switch, role}}}
}

// A StoppedSequence is where a node's sequence stands.
type StoppedSequence struct {
	Present bool
	OldKind string
	OldKey  string
	HasMade bool  // there is a highest value
	Highest int64 // that the node has made, or has in the column
}

// StoppedSequenceOf decodes what the last statement of StopSequence returned.
func StoppedSequenceOf(results []ipc.Result) (StoppedSequence, error) {
	rows := results[len(results)-1].Rows
	if len(rows) == 0 {
		return StoppedSequence{}, (&columns{}).done()
	}
	c := columns{row: rows[0]}
	s := StoppedSequence{Present: c.boolean(), OldKind: c.text(), OldKey: c.text()}
	s.HasMade = c.next < len(c.row) && c.row[c.next] != nil
	s.Highest = c.integer()
	return s, c.done()
}

// A SwitchedSequence is what becomes of a sequence on every node.
type SwitchedSequence struct {
	Switch SequenceSwitch
	Key    string
	Start  int64
	Clock  int64 // what the clock of ids must have passed, in milliseconds after their epoch; 0: nothing
}

// SwitchSequence carries it out here, without waiting for anybody.
func SwitchSequence(s SwitchedSequence) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT bdr.internal_switch_sequence($1::name, $2::name, $3::uuid, $4::"char", $5, $6::bigint, $7::bigint)`,
		Args: []any{s.Switch.Schema, s.Switch.Name, s.Switch.ID, s.Switch.Kind, s.Key, s.Start, s.Clock}}
}

// SequenceChanged has sessions look at the chunks of a key again.
func SequenceChanged(key string) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT bdr.internal_sequence_changed($1)`, Args: []any{key}}
}

// InstallSequences has the sequence functions of PostgreSQL led to ours.
func InstallSequences() []ipc.Stmt {
	return []ipc.Stmt{LimitLockWait(), {SQL: `SELECT bdr.internal_install_sequences()`}}
}

// UninstallSequences makes all sequences local again.
func UninstallSequences() ipc.Stmt { return ifPresent("internal_uninstall_sequences") }

// ForgetNodeNumber has sessions read again which node this is.
func ForgetNodeNumber() ipc.Stmt { return ifPresent("internal_forget_node_number") }

// ForgetSequenceState removes all that consensus wrote about sequences, where there
// are tables for it.
func ForgetSequenceState() ipc.Stmt {
	return ipc.Stmt{SQL: `DO $do$ BEGIN IF pg_catalog.to_regclass('bdr.sequence_switch') IS NOT NULL THEN
 DELETE FROM bdr.sequence_switch; DELETE FROM bdr.sequence_chunk; DELETE FROM bdr.sequence_allocation; END IF; END $do$`}
}

// ifPresent calls a function that older SQL objects do not have.
func ifPresent(function string) ipc.Stmt {
	return ipc.Stmt{SQL: `DO $do$ BEGIN IF pg_catalog.to_regprocedure('bdr.` + function + `()') IS NOT NULL THEN
 PERFORM bdr.` + function + `(); END IF; END $do$`}
}

// Title is the sequence's name for messages.
func (s SequenceSwitch) Title() string { return s.Schema + "." + s.Name }
