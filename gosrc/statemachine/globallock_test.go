package statemachine

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"bdr/gosrc/catalog"
	"bdr/gosrc/globallock"
	"bdr/gosrc/pgerr"
)

var lockCommand = globallock.Command{Kind: globallock.Acquire, Node: 1, Time: 1, ID: "a-1", Type: catalog.GlobalLockAdvisory, Key2: 7, Bigint: true,
	PID: 100, LocalRequest: 1}

// Locks are one more machine: rows and index are written together, a snapshot has them,
// and an older node is not sent a snapshot that it cannot read as long as there are none.
func TestGlobalLocksAreInTheLedger(t *testing.T) {
	ledger, tables := withGroup(t)
	if snapshot, err := ledger.Snapshot(); err != nil || strings.Contains(string(snapshot), `"lock"`) {
		t.Errorf("a snapshot without locks: %s, %v", snapshot, err)
	}
	if fault := applyEntry(t, ledger, 4, lockCommand.Encode()); fault != nil {
		t.Fatal(fault)
	}
	want := "INSERT INTO bdr.global_lock; INSERT INTO bdr.global_lock_place; INSERT INTO bdr.local_consensus_state"
	if len(tables.written) != 1 || firstWords(tables.written[0]) != want {
		t.Errorf("written: %v", tables.written)
	}
	snapshot, err := ledger.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	fresh, copied := testLedger(t)
	if err := fresh.Restore(context.Background(), snapshot); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(fresh.GlobalLocks(), ledger.GlobalLocks()) || !strings.Contains(firstWords(copied.written[0]), "DELETE FROM bdr.global_lock; ") {
		t.Errorf("restored: %+v", fresh.GlobalLocks())
	}
	give := globallock.Command{Kind: globallock.Release, Node: 1, Time: 2, IDs: []string{"a-1"}}
	if fault := applyEntry(t, ledger, 5, give.Encode()); fault != nil || len(ledger.GlobalLocks().Locks) != 0 {
		t.Errorf("%v, %+v", fault, ledger.GlobalLocks())
	}
	other := lockCommand
	other.Node = 8
	if fault := applyEntry(t, ledger, 6, other.Encode()); fault == nil || fault.Code != pgerr.WrongState || ledger.Applied() != 6 {
		t.Errorf("a lock of a stranger: %v", fault)
	}
}
