package conflict

import (
	"testing"

	"bdr/gosrc/pgtest"
)

// TestUniqueIndexOnOneNode exists because docs/failure-modes.md says what
// happens: rows that one node may have both collide on the other, which keeps
// the newer one and tells of it.
func TestUniqueIndexOnOneNode(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, v text)")
	b.Exec("CREATE UNIQUE INDEX ON t (v)")
	a.Exec("INSERT INTO t VALUES (1, 'x')", "INSERT INTO t VALUES (2, 'x')", "INSERT INTO t VALUES (3, 'y')")
	c.WaitDrained(c.Nodes...)
	const rows = "SELECT string_agg(id::text, ',' ORDER BY id) FROM t"
	if got := a.Value(rows) + " " + b.Value(rows); got != "1,2,3 2,3" {
		t.Errorf("rows %s", got)
	}
	if got := b.Value("SELECT string_agg(conflict_type || ' ' || conflict_resolution, ',') FROM bdr.conflict_history"); got != "insert_exists apply_remote" {
		t.Errorf("history: %s", got)
	}
	// the row that went there stays on the other node: nobody has deleted it
	a.Exec("UPDATE t SET v = 'z' WHERE id = 1")
	c.RequireConverged()
}
