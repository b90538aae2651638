package statemachine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
)

// fakeTables answers reads with nothing and counts written transactions.
type fakeTables struct {
	fail    error
	written [][]ipc.Stmt
}

func (f *fakeTables) Run(_ context.Context, statements ...ipc.Stmt) ([]ipc.Result, error) {
	if f.fail != nil {
		return nil, f.fail
	}
	if !strings.HasPrefix(statements[0].SQL, "SELECT") {
		f.written = append(f.written, statements)
	}
	return make([]ipc.Result, len(statements)), nil
}

func testLedger(t *testing.T) (*Ledger, *fakeTables) {
	t.Helper()
	tables := &fakeTables{}
	ledger, err := Load(context.Background(), tables, 1)
	if err != nil {
		t.Fatal(err)
	}
	return ledger, tables
}

func applyAt(t *testing.T, l *Ledger, index uint64, cmd cluster.Command) *pgerr.Error {
	t.Helper()
	answer, err := l.Apply(context.Background(), index, 1, cmd.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return answer.Fault
}

func testNode(id uint32, name string) catalog.Node {
	return catalog.Node{ID: id, Name: name, UUID: fmt.Sprintf("uuid-%d-%s", id, name), DSN: "dbname=" + name}
}

var groupCommand = cluster.Command{Kind: cluster.CreateGroup, Node: testNode(1, "a"), Group: catalog.Group{ID: 9, Name: "g", UUID: "u"}}

// Rows and the applied index are written together or not at all, or a crash
// would apply an entry twice or lose it.
func TestLedgerWritesStateAndIndexTogether(t *testing.T) {
	ledger, tables := testLedger(t)
	tables.fail = errors.New("disk full")
	if _, err := ledger.Apply(context.Background(), 3, 1, groupCommand.Encode()); err == nil {
		t.Fatal("failure to write was not reported")
	}
	if _, exists := ledger.Cluster().Group(); exists || ledger.Applied() != 0 {
		t.Fatal("memory is ahead of the tables")
	}
	tables.fail = nil
	if fault := applyAt(t, ledger, 3, groupCommand); fault != nil {
		t.Fatal(fault)
	}
	if len(tables.written) != 1 || !strings.Contains(tables.written[0][len(tables.written[0])-1].SQL, "local_consensus_state") {
		t.Errorf("not one transaction with the index: %v", tables.written)
	}
	if _, exists := ledger.Cluster().Group(); !exists || ledger.Applied() != 3 {
		t.Error("entry was not carried out")
	}
}

// A refused or unreadable entry counts as applied on every node alike.
func TestLedgerCountsRefusedEntries(t *testing.T) {
	ledger, _ := testLedger(t)
	if fault := applyAt(t, ledger, 5, cluster.Command{Kind: cluster.DropNode, NodeID: 3}); fault != nil {
		t.Errorf("dropping what is not there: %v", fault)
	}
	answer, err := ledger.Apply(context.Background(), 7, 1, []byte("{"))
	if err != nil || answer.Fault == nil || ledger.Applied() != 7 {
		t.Errorf("unreadable entry: %v, %v", answer, err)
	}
}

// An entry of a newer version must not be passed over: nodes that know it carry it
// out. It waits for this node to be updated, and as a leader it takes none.
func TestLedgerStopsAtNewerEntries(t *testing.T) {
	ledger, _ := testLedger(t)
	for _, kind := range []cluster.Kind{"future", "future/command"} {
		entry := cluster.Command{Kind: kind}.Encode()
		_, err := ledger.Apply(context.Background(), 6, 1, entry)
		fault := pgerr.From(err)
		if err == nil || fault.Code != pgerr.FeatureNotSupported || !strings.Contains(fault.Message, string(kind)) || fault.Hint == "" || ledger.Applied() != 0 {
			t.Errorf("unknown command: %+v, applied %d", err, ledger.Applied())
		}
		if ledger.Check(entry) == nil {
			t.Error("a leader would take it")
		}
	}
	if fault := ledger.Check(groupCommand.Encode()); fault != nil {
		t.Error(fault)
	}
}

// A new node gets a snapshot; a restarted one finds its tables ahead of it.
func TestLedgerSnapshot(t *testing.T) {
	source, _ := testLedger(t)
	applyAt(t, source, 3, groupCommand)
	snapshot, err := source.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	fresh, tables := testLedger(t)
	if err := fresh.Restore(context.Background(), snapshot); err != nil {
		t.Fatal(err)
	}
	if _, known := fresh.Cluster().Node(1); !known || fresh.Applied() != 3 || len(tables.written) != 1 {
		t.Error("snapshot was not restored")
	}
	applyAt(t, source, 4, cluster.Command{Kind: cluster.RegisterNode, Node: testNode(2, "b")})
	if err := source.Restore(context.Background(), snapshot); err != nil {
		t.Fatal(err)
	}
	if _, known := source.Cluster().Node(2); !known || source.Applied() != 4 {
		t.Error("an older snapshot replaced newer tables")
	}
	for _, bad := range []string{"", "{}", `{"version": 2}`} {
		if fresh.Restore(context.Background(), []byte(bad)) == nil {
			t.Errorf("restored %q", bad)
		}
	}
}

// Sessions keep in mind which node this is: they hear when that changes, and not
// when another node does something.
func TestLedgerTellsSessions(t *testing.T) {
	ledger, tables := testLedger(t)
	told := func() bool {
		for _, s := range tables.written[len(tables.written)-1] {
			if strings.Contains(s.SQL, "internal_forget_node_number") {
				return true
			}
		}
		return false
	}
	applyAt(t, ledger, 3, groupCommand)
	if !told() {
		t.Error("the local node is in a group now")
	}
	applyAt(t, ledger, 4, cluster.Command{Kind: cluster.RegisterNode, Node: testNode(2, "b")})
	if told() {
		t.Error("another node joins")
	}
	snapshot, err := ledger.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	fresh, restored := testLedger(t)
	tables = restored
	if err := fresh.Restore(context.Background(), snapshot); err != nil || !told() {
		t.Errorf("a snapshot has the local node: %v", err)
	}
	if err := fresh.PartLocal(context.Background()); err != nil || !told() {
		t.Errorf("the local node is parted: %v", err)
	}
}

// counter is a second machine: it counts its entries and refuses some.
type counter struct{ n int }

func (c *counter) Knows(string) bool { return true }

func (c *counter) Apply(entry []byte) (Step, *pgerr.Error) {
	if strings.Contains(string(entry), "refuse") {
		return Step{}, pgerr.New(pgerr.WrongState, "no")
	}
	return Step{Statements: []ipc.Stmt{{SQL: "UPDATE counter"}}, Commit: func() { c.n++ }, Answer: "counted"}, nil
}

func (c *counter) Snapshot() (json.RawMessage, error) { return json.Marshal(c.n) }

func (c *counter) Restore(snapshot json.RawMessage) (Step, error) {
	n := 0
	if snapshot != nil {
		if err := json.Unmarshal(snapshot, &n); err != nil {
			return Step{}, err
		}
	}
	return Step{Commit: func() { c.n = n }}, nil
}

// Machines share the log and its index, and nothing else.
func TestLedgerHandsEntriesOn(t *testing.T) {
	ctx := context.Background()
	source, tables := testLedger(t)
	first := &counter{}
	source.machines["counter"] = first
	applyAt(t, source, 3, groupCommand)
	answer, err := source.Apply(ctx, 4, 1, []byte(`{"kind": "counter/up"}`))
	if err != nil || answer.Fault != nil || answer.Value != "counted" || first.n != 1 || len(tables.written) != 2 {
		t.Fatalf("got %+v, %v, counter %d", answer, err, first.n)
	}
	tables.fail = errors.New("disk full")
	if _, err := source.Apply(ctx, 5, 1, []byte(`{"kind": "counter/up"}`)); err == nil || first.n != 1 || source.Applied() != 4 {
		t.Errorf("memory is ahead of the tables: counter %d, applied %d", first.n, source.Applied())
	}
	tables.fail = nil
	if answer, _ := source.Apply(ctx, 5, 1, []byte(`{"kind": "counter/refuse"}`)); answer.Fault == nil || source.Applied() != 5 || first.n != 1 {
		t.Errorf("got %+v", answer)
	}
	if _, err := source.Apply(ctx, 6, 1, []byte(`{"kind": "other/up"}`)); err == nil || source.Applied() != 5 {
		t.Error("an unknown machine took an entry")
	}
	snapshot, err := source.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	fresh, _ := testLedger(t)
	second := &counter{n: 8}
	fresh.machines["counter"] = second
	if err := fresh.Restore(ctx, snapshot); err != nil || second.n != 1 || fresh.Applied() != 5 {
		t.Errorf("counter %d, applied %d: %v", second.n, fresh.Applied(), err)
	}
	if _, known := fresh.Cluster().Node(1); !known {
		t.Error("the cluster was not restored")
	}
	without, _ := testLedger(t)
	if err := without.Restore(ctx, snapshot); pgerr.From(err).Code != pgerr.FeatureNotSupported || without.Applied() != 0 {
		t.Errorf("a machine of a newer version was passed over: %v", err)
	}
}
