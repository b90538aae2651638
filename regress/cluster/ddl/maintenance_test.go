package ddl

import (
	"fmt"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// maintenance is what a DBA does on one node at its own time.
var maintenance = []string{"VACUUM FULL shared", "VACUUM FULL ledger", "CLUSTER shared", "REINDEX TABLE shared", "REINDEX TABLE CONCURRENTLY shared", "REINDEX INDEX ledger_pkey", "REINDEX INDEX CONCURRENTLY ledger_pkey",
	"REFRESH MATERIALIZED VIEW totals", "REFRESH MATERIALIZED VIEW CONCURRENTLY totals", "VACUUM (FREEZE, ANALYZE) shared"}

// TestMaintenance exists because what one node does to its files concerns no other: they
// write on while it is done, and while it waits for somebody on that node.
func TestMaintenance(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithSettings(on))
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec(clustertest.LoadTables...)
	a.Exec("CREATE MATERIALIZED VIEW totals AS SELECT node, count(*) AS n FROM ledger GROUP BY node", "CREATE UNIQUE INDEX ON totals (node)", "ALTER TABLE shared CLUSTER ON shared_pkey")
	c.WaitDrained(c.Nodes...)
	others, own := clustertest.StartLoadAt(50, a, c.Nodes[2]), clustertest.StartLoadAt(50, b)
	for _, sql := range maintenance {
		others.WaitCommits(t, 20)
		own.WaitCommits(t, 10)
		b.Exec(sql)
	}
	for _, sql := range []string{"VACUUM FULL shared", "CLUSTER shared", "REINDEX TABLE shared", "REFRESH MATERIALIZED VIEW totals"} {
		release, _ := clustertest.Hold(t, b, "SELECT FROM shared WHERE id = 1; SELECT FROM totals LIMIT 1")
		session := b.Session()
		done := make(chan error, 1)
		go func() {
			_, err := pgtest.RunOn(session, sql, time.Minute)
			done <- err
		}()
		b.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT wait_event_type FROM pg_stat_activity WHERE pid = %d", session.PID()), "Lock")
		others.WaitCommits(t, 50)
		release()
		b.Must(<-done)
		own.WaitCommits(t, 10)
	}
	b.Exec("REFRESH MATERIALIZED VIEW CONCURRENTLY totals")
	others.WaitCommits(t, 20)
	others.End(t)
	own.End(t)
	c.WaitDrained(c.Nodes...)
	b.Exec("REFRESH MATERIALIZED VIEW totals")
	c.RequireSameSchemas()
	others.RequireAcknowledged(t, c.Nodes...)
	own.RequireAcknowledged(t, c.Nodes...)
	const totals = "SELECT string_agg(node || ' ' || n, ', ' ORDER BY node) FROM totals"
	for _, n := range c.Nodes {
		clustertest.RequireNoErrors(t, n)
		if got, want := n.Value(totals), a.Value(totals); got != want {
			t.Errorf("%s has %s, node1 %s", n.Name, got, want)
		}
	}
}
