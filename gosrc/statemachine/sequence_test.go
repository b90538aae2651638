package statemachine

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/sequence"
)

var allocateCommand = sequence.Command{Kind: sequence.Allocate, Node: 1, Time: 1, Key: "public.s", Start: 1, Max: 32767, Size: 1000}

func applyEntry(t *testing.T, l *Ledger, index uint64, entry []byte) *pgerr.Error {
	t.Helper()
	answer, err := l.Apply(context.Background(), index, 1, entry)
	if err != nil {
		t.Fatal(err)
	}
	return answer.Fault
}

// withGroup returns a ledger whose node is the group's first.
func withGroup(t *testing.T) (*Ledger, *fakeTables) {
	t.Helper()
	ledger, tables := testLedger(t)
	if fault := applyAt(t, ledger, 3, groupCommand); fault != nil {
		t.Fatal(fault)
	}
	tables.written = nil
	return ledger, tables
}

func firstWords(statements []ipc.Stmt) string {
	var words []string
	for _, s := range statements {
		fields := strings.Fields(s.SQL)
		words = append(words, strings.Join(fields[:min(3, len(fields))], " "))
	}
	return strings.Join(words, "; ")
}

// Sequences are one more machine: its rows and the index are written together.
func TestSequencesAreWrittenWithTheIndex(t *testing.T) {
	ledger, tables := withGroup(t)
	if fault := applyEntry(t, ledger, 4, allocateCommand.Encode()); fault != nil {
		t.Fatal(fault)
	}
	want := "INSERT INTO bdr.sequence_allocation; INSERT INTO bdr.sequence_chunk; INSERT INTO bdr.sequence_chunk; " +
		"INSERT INTO bdr.sequence_chunk; INSERT INTO bdr.local_consensus_state"
	if len(tables.written) != 1 || firstWords(tables.written[0]) != want {
		t.Errorf("written: %v", tables.written)
	}
	if k, known := ledger.Sequences().Key("public.s"); !known || k.UpTo != 3000 || k.Ahead(1, 0) != 3 {
		t.Errorf("%+v", ledger.Sequences())
	}
	before := ledger.Sequences()
	tables.fail = errors.New("disk full")
	more := allocateCommand
	more.Position = 1000
	if _, err := ledger.Apply(context.Background(), 5, 1, more.Encode()); err == nil || !reflect.DeepEqual(ledger.Sequences(), before) {
		t.Error("memory is ahead of the tables")
	}
}

// What becomes of a sequence is done in the transaction that agrees on it; who
// joins is read from the cluster's part of the same log.
func TestSwitchLooksAtTheCluster(t *testing.T) {
	const id = "00000000-0000-4000-8000-00000000000a"
	ledger, tables := withGroup(t)
	begin := sequence.Command{Kind: sequence.Begin, Node: 1, Time: 1, ID: id, Schema: "public", Name: "s", NewKind: sequence.Galloc}
	if fault := applyEntry(t, ledger, 4, begin.Encode()); fault != nil {
		t.Fatal(fault)
	}
	carryOut := sequence.Command{Kind: sequence.Switch, Node: 1, ID: id, Key: "public.s", Start: 5, Nodes: []uint32{1}}
	if fault := applyAt(t, ledger, 5, cluster.Command{Kind: cluster.RegisterNode, Node: testNode(2, "b")}); fault != nil {
		t.Fatal(fault)
	}
	if fault := applyEntry(t, ledger, 6, carryOut.Encode()); fault == nil || fault.Code != pgerr.WrongState {
		t.Errorf("changed while a node joins: %v", fault)
	}
	giveUp := []cluster.Command{{Kind: cluster.ChangeState, NodeID: 2, From: cluster.JoinStart, To: cluster.PartStart},
		{Kind: cluster.ChangeState, NodeID: 2, From: cluster.PartStart, To: cluster.Parting},
		{Kind: cluster.ChangeState, NodeID: 2, From: cluster.Parting, To: cluster.Parted}}
	for i, cmd := range giveUp {
		if fault := applyAt(t, ledger, uint64(7+i), cmd); fault != nil {
			t.Fatal(fault)
		}
	}
	tables.written = nil
	if fault := applyEntry(t, ledger, 11, carryOut.Encode()); fault != nil {
		t.Fatal(fault)
	}
	if len(tables.written) != 1 || !slices.ContainsFunc(tables.written[0], func(s ipc.Stmt) bool { return strings.Contains(s.SQL, "internal_switch_sequence") }) {
		t.Errorf("written: %v", tables.written)
	}
}

// 0.1.0 reads snapshots without a part that it does not know.
func TestSnapshotWithoutSequences(t *testing.T) {
	ledger, _ := withGroup(t)
	snapshot, err := ledger.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var content map[string]json.RawMessage
	if err := json.Unmarshal(snapshot, &content); err != nil {
		t.Fatal(err)
	}
	if _, more := content["machines"]; more || strings.Contains(string(snapshot), "LastSeqID") {
		t.Errorf("a snapshot has more than 0.1.0 reads: %s", snapshot)
	}
	fresh, tables := testLedger(t)
	if err := fresh.Restore(context.Background(), snapshot); err != nil {
		t.Fatal(err)
	}
	if text := firstWords(tables.written[0]); strings.Contains(text, "sequence") {
		t.Errorf("tables that may not exist are written: %s", text)
	}
}

func TestSnapshotWithSequences(t *testing.T) {
	source, _ := withGroup(t)
	if fault := applyEntry(t, source, 4, allocateCommand.Encode()); fault != nil {
		t.Fatal(fault)
	}
	snapshot, err := source.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	fresh, tables := testLedger(t)
	if err := fresh.Restore(context.Background(), snapshot); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(fresh.Sequences(), source.Sequences()) {
		t.Errorf("%+v, %+v", fresh.Sequences(), source.Sequences())
	}
	if text := firstWords(tables.written[0]); !strings.Contains(text, "DELETE FROM bdr.sequence_chunk; DELETE FROM bdr.sequence_allocation; INSERT INTO bdr.sequence_allocation; INSERT") {
		t.Errorf("written: %s", text)
	}
}

// sequenceTables have rows of sequences, or no tables for them.
type sequenceTables struct {
	fakeTables
	present bool
}

func (f *sequenceTables) Run(ctx context.Context, statements ...ipc.Stmt) ([]ipc.Result, error) {
	text := ipc.Text
	switch {
	case strings.Contains(statements[0].SQL, "to_regclass"):
		return []ipc.Result{{Rows: [][]*string{{text(map[bool]string{true: "t", false: "f"}[f.present])}}}}, nil
	case strings.Contains(statements[0].SQL, "bdr.sequence_") && !f.present:
		return nil, pgerr.New(pgerr.UndefinedTable, "relation does not exist")
	case strings.Contains(statements[0].SQL, "FROM bdr.sequence_allocation"):
		return []ipc.Result{
			{Rows: [][]*string{{text("public.s"), text("1000"), text("2000"), text("2"), text("77")}}},
			{Rows: [][]*string{{text("public.s"), text("1"), text("1000"), text("1")}, {text("public.s"), text("1001"), text("2000"), text("2")}}},
			{Rows: [][]*string{{text("00000000-0000-4000-8000-00000000000a"), text("public"), text("s"), text("g"), text("1"), text("55"), text("t")}}},
		}, nil
	}
	return f.fakeTables.Run(ctx, statements...)
}

func TestLoadSequences(t *testing.T) {
	ledger, err := Load(context.Background(), &sequenceTables{present: true}, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := sequence.StateOf([]catalog.SequenceAllocation{{Key: "public.s", ChunkSize: 1000, UpTo: 2000, Allocs: 2, LastAlloc: 77}},
		[]catalog.SequenceChunk{{Key: "public.s", First: 1, Last: 1000, Node: 1}, {Key: "public.s", First: 1001, Last: 2000, Node: 2}},
		[]catalog.SequenceSwitch{{ID: "00000000-0000-4000-8000-00000000000a", Schema: "public", Name: "s", Kind: "g", Node: 1, Started: 55, Done: true}})
	if !reflect.DeepEqual(ledger.Sequences(), want) {
		t.Errorf("%+v", ledger.Sequences())
	}
	older, err := Load(context.Background(), &sequenceTables{}, 1)
	if err != nil || !older.Sequences().Empty() {
		t.Errorf("SQL objects of an older version: %v", err)
	}
}
