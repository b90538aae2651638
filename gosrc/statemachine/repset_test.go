package statemachine

import (
	"context"
	"testing"

	"bdr/gosrc/catalog"
	"bdr/gosrc/repset"
)

// TestReplicationSetsAreWrittenWithTheIndex exists because they are one more machine: its
// rows and the index are written together, and a new node gets them with the snapshot.
func TestReplicationSetsAreWrittenWithTheIndex(t *testing.T) {
	ledger, tables := withGroup(t)
	cmd := repset.Command{Kind: repset.Create, ID: "1", Set: "s"}
	if fault := applyEntry(t, ledger, 4, cmd.Encode()); fault != nil {
		t.Fatal(fault)
	}
	add := repset.Command{Kind: repset.Add, ID: "2", Set: "s", Table: catalog.TableName{Schema: "public", Name: "t"}}
	if fault := applyEntry(t, ledger, 5, add.Encode()); fault != nil {
		t.Fatal(fault)
	}
	filter := repset.Command{Kind: repset.AddFilter, ID: "3", Set: "s", DDLFilter: catalog.DDLFilter{Name: "f"}}
	if fault := applyEntry(t, ledger, 6, filter.Encode()); fault != nil {
		t.Fatal(fault)
	}
	const index = "INSERT INTO bdr.local_consensus_state"
	const calls = "INSERT INTO bdr.replication_set_call; "
	for i, want := range []string{"DELETE FROM bdr.replication_set; INSERT INTO bdr.replication_set; " + calls + index,
		"DELETE FROM bdr.replication_set_table; INSERT INTO bdr.replication_set_table; " + calls + index,
		"INSERT INTO bdr.replication_set_ddl; " + calls + index} {
		if got := firstWords(tables.written[i]); got != want {
			t.Errorf("written: %s, expected %s", got, want)
		}
	}
	snapshot, err := ledger.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	fresh, _ := testLedger(t)
	if err := fresh.Restore(context.Background(), snapshot); err != nil {
		t.Fatal(err)
	}
	if s, known := fresh.ReplicationSets().Set("s"); !known || !s.Has(add.Table) || len(s.DDLFilters) != 1 || !fresh.ReplicationSets().Carried("1") {
		t.Errorf("after a snapshot: %+v", fresh.ReplicationSets())
	}
}
