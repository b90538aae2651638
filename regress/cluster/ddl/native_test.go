package ddl

import (
	"fmt"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

const countRows = "SELECT count(*) || ' ' || count(DISTINCT a) || ' ' || sum(b) FROM t"

// subscribe makes a native subscription to node of, and waits for its first copy.
func subscribe(t *testing.T, n, of *pgtest.Node) {
	t.Helper()
	n.Exec(fmt.Sprintf("CREATE SUBSCRIPTION native CONNECTION '%s' PUBLICATION p", of.DSN(of.Database)))
	n.Wait(clustertest.ResumeLimit, "SELECT count(*) FILTER (WHERE srsubstate = 'r') || ' of ' || count(*) FROM pg_subscription_rel", "1 of 1")
}

// TestPublicationOfANode exists because a plain server reads from one node what all
// nodes write: each row of each node, once.
func TestPublicationOfANode(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithMembers(2), pgtest.WithSettings(on))
	a, b, plain := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	a.Exec("CREATE TABLE t (a int, b int DEFAULT 1, PRIMARY KEY (a))", "INSERT INTO t SELECT generate_series(1, 100)", "CREATE PUBLICATION p FOR TABLE t")
	c.RequireConvergedAmong(a, b)
	plain.Exec("CREATE TABLE t (a int PRIMARY KEY, b int)")
	subscribe(t, plain, b)
	for i, n := range []*pgtest.Node{a, b, a, b} {
		first := 1000 * (i + 1)
		n.Exec(fmt.Sprintf("INSERT INTO t SELECT generate_series(%d, %d)", first, first+99), fmt.Sprintf("UPDATE t SET b = b + 1 WHERE a BETWEEN %d AND %d", first, first+49),
			fmt.Sprintf("DELETE FROM t WHERE a = %d", first))
		c.RequireConvergedAmong(a, b)
	}
	for _, n := range []*pgtest.Node{a, b, plain} {
		n.Wait(clustertest.ResumeLimit, countRows, "496 496 692")
	}
	a.Exec("ALTER TABLE t ADD c int") // the plain server does not need it
	a.Exec("ALTER PUBLICATION p SET (publish = 'insert')", "UPDATE t SET b = 0 WHERE a = 1001", "INSERT INTO t VALUES (1, 1) ON CONFLICT DO NOTHING")
	c.RequireConvergedAmong(a, b)
	if got := plain.Value("SELECT b FROM t WHERE a = 1001"); got != "2" {
		t.Errorf("an update that is not published came: %s", got)
	}
	clustertest.RequireNoErrors(t, a)
	clustertest.RequireNoErrors(t, b)
	plain.Exec("DROP SUBSCRIPTION native")
}

// TestSubscriptionOfANode exists because an application moves into a group from a
// plain server that goes on: what comes into one node goes on to all, once.
func TestSubscriptionOfANode(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithMembers(2), pgtest.WithSettings(on))
	a, b, plain := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	for _, n := range []*pgtest.Node{plain, a} {
		n.Exec("CREATE TABLE t (a int PRIMARY KEY, b int DEFAULT 1)")
	}
	plain.Exec("INSERT INTO t SELECT generate_series(1, 100)", "CREATE PUBLICATION p FOR TABLE t")
	c.WaitDrained(a, b)
	subscribe(t, a, plain)
	plain.Exec("INSERT INTO t SELECT generate_series(101, 200)", "UPDATE t SET b = 2 WHERE a <= 50", "DELETE FROM t WHERE a = 200")
	for _, n := range []*pgtest.Node{a, b} {
		n.Wait(clustertest.ResumeLimit, countRows, "199 199 249")
	}
	b.Exec("UPDATE t SET b = 7 WHERE a = 199", "INSERT INTO t VALUES (300, 1)")
	c.RequireConvergedAmong(a, b)
	for _, n := range []*pgtest.Node{a, b} {
		clustertest.RequireNoErrors(t, n)
	}
	a.Must(a.Kill9())
	a.Must(a.Start())
	plain.Exec("INSERT INTO t SELECT generate_series(401, 500)")
	for _, n := range []*pgtest.Node{a, b} {
		n.Wait(clustertest.ResumeLimit, countRows, "300 300 356")
	}
	c.RequireConvergedAmong(a, b)
	for _, n := range []*pgtest.Node{a, b} {
		if got := n.Value("SELECT count(*) FROM bdr.conflict_history"); got != "0" {
			t.Errorf("%s: %s conflicts", n.Name, got)
		}
	}
	if got := b.Value("SELECT count(*) FROM pg_subscription"); got != "0" {
		t.Errorf("node2 subscribes, too")
	}
	session := a.Session() // not in a transaction block
	if _, err := pgtest.RunOn(session, "DROP SUBSCRIPTION native", time.Minute); err != nil {
		t.Error(pgtest.Explain(err))
	}
}
