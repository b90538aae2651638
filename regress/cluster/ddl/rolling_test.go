package ddl

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// versions are what an application writes with, before and after its upgrade: one
// takes the place of column old, the other that of column new.
var versions = []struct{ insert, update string }{
	{"INSERT INTO orders (node, n, v, old) VALUES ('%[1]s', %[2]d, 1, 'by the old one')", "UPDATE orders SET v = v + 1, old = '%[1]s' WHERE n = %[2]d"},
	{"INSERT INTO orders (node, n, v, new) VALUES ('%[1]s', %[2]d, 1, 'by the new one')", "UPDATE orders SET v = v + 1, new = '%[1]s' WHERE n = %[2]d"},
}

// An application writes to one node, in the version that it has there.
type application struct{ version atomic.Int32 }

func (app *application) start(load *clustertest.Load, n *pgtest.Node) {
	next := 0
	load.Loop(n, func(conn *pgconn.PgConn) error {
		next++
		v := versions[app.version.Load()]
		_, err := pgtest.RunOn(conn, fmt.Sprintf(v.insert, n.Name, next)+";"+fmt.Sprintf(v.update, n.Name, next/2), clustertest.ResumeLimit)
		return err
	})
}

// TestRollingApplicationUpgrade exists because an application is upgraded on one node
// after the other, and nodes have different columns for as long as that takes. These
// are the steps of docs/upgrade.md.
func TestRollingApplicationUpgrade(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithSettings(map[string]string{"bdr.max_worker_backoff_delay": "1s"}))
	c.ExecAll("CREATE TABLE orders (node text, n int, v int NOT NULL, old text NOT NULL DEFAULT 'nothing', PRIMARY KEY (node, n))")
	load := clustertest.StartLoadAt(40)
	apps := make([]application, len(c.Nodes))
	for i, n := range c.Nodes {
		apps[i].start(load, n)
	}
	everyNode := func(statements ...string) {
		t.Helper()
		for _, n := range c.Nodes {
			load.WaitCommits(t, 20)
			n.Exec(statements...)
			load.WaitCommits(t, 20)
		}
		c.WaitDrained(c.Nodes...)
	}
	// a column is added
	everyNode("ALTER TABLE orders ADD COLUMN new text")
	everyNode("ALTER TABLE orders ALTER new SET DEFAULT 'nothing'")
	everyNode("ALTER TABLE orders ALTER old DROP NOT NULL, ALTER old DROP DEFAULT")
	for i := range apps {
		load.WaitCommits(t, 20)
		apps[i].version.Store(1)
	}
	for c.Nodes[0].Value("SELECT count(*) FROM orders WHERE new IS NULL") != "0" {
		c.Nodes[0].Exec("UPDATE orders SET new = 'filled' WHERE new IS NULL")
		c.WaitDrained(c.Nodes...)
	}
	everyNode("ALTER TABLE orders ALTER new SET NOT NULL")
	// another one is dropped
	for _, n := range c.Nodes {
		n.Exec(fmt.Sprintf("SELECT bdr.alter_node_set_conflict_resolver('%s', 'target_column_missing', 'ignore')", n.Name))
	}
	everyNode("ALTER TABLE orders DROP COLUMN old")
	for _, n := range c.Nodes {
		n.Exec(fmt.Sprintf("SELECT bdr.alter_node_set_conflict_resolver('%s', 'target_column_missing', 'ignore_if_null')", n.Name))
	}
	load.WaitCommits(t, 20)
	load.End(t)
	c.RequireSameSchemas()
	for _, n := range c.Nodes {
		clustertest.RequireNoErrors(t, n)
	}
	for _, kind := range []string{"source_column_missing", "target_column_missing"} {
		for _, n := range c.Nodes {
			if n.Value(fmt.Sprintf("SELECT count(*) > 0 FROM bdr.conflict_history WHERE conflict_type = '%s'", kind)) != "t" {
				t.Errorf("%s has not met %s", n.Name, kind)
			}
		}
	}
	t.Logf("%s rows, of which %s have what the new application wrote", c.Nodes[0].Value("SELECT count(*) FROM orders"), c.Nodes[0].Value("SELECT count(*) FROM orders WHERE new = 'by the new one' OR new LIKE 'node%'"))
}

// TestColumnWithDefaultTooEarly exists because the wrong order must do no more than make
// nodes wait: what the others cannot take is not lost.
func TestColumnWithDefaultTooEarly(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(map[string]string{"bdr.max_worker_backoff_delay": "1s"}))
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE orders (n int PRIMARY KEY, old text DEFAULT 'nothing')")
	a.Exec("INSERT INTO orders VALUES (1)")
	c.RequireConverged()
	const waiting = "SELECT count(*) FROM bdr.worker_errors WHERE error_message LIKE '%column%' AND error_context LIKE '%orders%'"
	a.Exec("ALTER TABLE orders ADD COLUMN new text NOT NULL DEFAULT 'early'", "INSERT INTO orders VALUES (2)")
	b.Wait(clustertest.ResumeLimit, waiting, "1")
	b.Exec("ALTER TABLE orders ADD COLUMN new text NOT NULL DEFAULT 'early'")
	c.RequireSameSchemas()
	// and so a column that is dropped while old rows have something in it
	b.Exec("ALTER TABLE orders DROP COLUMN old")
	a.Exec("UPDATE orders SET new = 'changed' WHERE n = 1")
	b.Wait(clustertest.ResumeLimit, waiting, "1")
	b.Exec("SELECT bdr.alter_node_set_conflict_resolver('node2', 'target_column_missing', 'ignore')")
	c.WaitDrained(a, b)
	a.Exec("ALTER TABLE orders DROP COLUMN old")
	c.RequireSameSchemas()
	if got := b.Value("SELECT string_agg(n || ' ' || new, ', ' ORDER BY n) FROM orders"); got != "1 changed, 2 early" {
		t.Errorf("node2 has %s", got)
	}
}
