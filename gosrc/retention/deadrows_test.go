package retention

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/conflict"
)

// The row and the function's declaration must have the same columns.
func TestHoldRowMatchesTheFunction(t *testing.T) {
	sql, err := os.ReadFile("../../sql/50_versions.sql")
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?s)FUNCTION bdr\.internal_dead_row_hold\((.*?)\)`).FindSubmatch(sql)
	want := strings.Count(string(declared[1]), "OUT ")
	if got := len(holdRow("", retentionStatus{})); got != want {
		t.Errorf("%d values for %d columns", got, want)
	}
}

// Transaction ids are shown as the server shows them; what is not known is NULL.
func TestHoldRow(t *testing.T) {
	row := holdRow("slot", retentionStatus{state: holdKeep, xmin: 1<<32 + 5, next: 1<<32 + 9, safe: conflict.Never, blocker: 7})
	if *row[2] != "5" || *row[3] != "4" || row[4] != nil || row[5] != nil || *row[6] != "7" || row[8] != nil || row[10] != nil {
		t.Errorf("got %v", row)
	}
	row = holdRow("slot", retentionStatus{state: holdOff, safe: 1_000_000, cut: conflict.Cut{Start: 1, Xid: 1<<32 + 3, Newest: 2_000_000, Node: 8}})
	if row[2] != nil || row[3] != nil || *row[5] != "2000-01-01 00:00:01+00" || *row[10] != "3" || *row[11] != "2000-01-01 00:00:02+00" {
		t.Errorf("got %v", row)
	}
}

// A node counts while it may send what is older than something here: from the
// moment on at which it has slots until it is gone, and only if we would get it.
func TestSenders(t *testing.T) {
	node := func(id uint32, state catalog.State) catalog.Node {
		return catalog.Node{ID: id, GroupID: 1, State: state}
	}
	loose := node(4, cluster.Active)
	loose.GroupID = 0
	all := []catalog.Node{node(1, cluster.Active), node(2, cluster.Joining), node(3, cluster.Catchup), loose,
		node(5, cluster.Active), node(6, cluster.Parting), node(7, cluster.Parted)}
	ids := func(nodes []catalog.Node) (ids []uint32) {
		for _, n := range nodes {
			ids = append(ids, n.ID)
		}
		return ids
	}
	for local, want := range map[uint32]int{1: 3, 2: 0, 3: 3, 4: 0, 7: 0, 9: 0} {
		if _, others := senders(local, all); len(others) != want {
			t.Errorf("node %d is sent something by %v", local, ids(others))
		}
	}
}
