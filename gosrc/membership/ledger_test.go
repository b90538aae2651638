package membership

import (
	"context"
	"errors"
	"strings"
	"testing"

	"bdr/gosrc/catalog"
	"bdr/gosrc/hand"
	"bdr/gosrc/pgerr"
)

// fakeTables answers reads with nothing and counts written transactions.
type fakeTables struct {
	fail    error
	written [][]hand.Stmt
}

func (f *fakeTables) Run(_ context.Context, statements ...hand.Stmt) ([]hand.Result, error) {
	if f.fail != nil {
		return nil, f.fail
	}
	if !strings.HasPrefix(statements[0].SQL, "SELECT") {
		f.written = append(f.written, statements)
	}
	return make([]hand.Result, len(statements)), nil
}

func testLedger(t *testing.T) (*Ledger, *fakeTables) {
	t.Helper()
	tables := &fakeTables{}
	ledger, err := LoadLedger(context.Background(), tables, 1)
	if err != nil {
		t.Fatal(err)
	}
	return ledger, tables
}

func applyAt(t *testing.T, l *Ledger, index uint64, cmd Command) *pgerr.Error {
	t.Helper()
	answer, err := l.Apply(context.Background(), index, 1, encodeCommand(cmd))
	if err != nil {
		t.Fatal(err)
	}
	return answer.Fault
}

var groupCommand = Command{Kind: CreateGroup, Node: testNode(1, "a"), Group: catalog.Group{ID: 9, Name: "g", UUID: "u"}}

// Rows and the applied index are written together or not at all, or a crash
// would apply an entry twice or lose it.
func TestLedgerWritesStateAndIndexTogether(t *testing.T) {
	ledger, tables := testLedger(t)
	tables.fail = errors.New("disk full")
	if _, err := ledger.Apply(context.Background(), 3, 1, encodeCommand(groupCommand)); err == nil {
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
	if fault := applyAt(t, ledger, 5, Command{Kind: DropNode, NodeID: 3}); fault != nil {
		t.Errorf("dropping what is not there: %v", fault)
	}
	if fault := applyAt(t, ledger, 6, Command{Kind: "future"}); fault == nil || ledger.Applied() != 6 {
		t.Errorf("unknown command: %v, applied %d", fault, ledger.Applied())
	}
	answer, err := ledger.Apply(context.Background(), 7, 1, []byte("{"))
	if err != nil || answer.Fault == nil || ledger.Applied() != 7 {
		t.Errorf("unreadable entry: %v, %v", answer, err)
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
	applyAt(t, source, 4, Command{Kind: RegisterNode, Node: testNode(2, "b")})
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
