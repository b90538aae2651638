package apply

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// skipTo calls the function for the subscription of a node to another one.
func skipTo(n *pgtest.Node, subscription, lsn string) error {
	return n.Try(fmt.Sprintf("SELECT bdr.alter_subscription_skip_changes_upto('%s', '%s')", subscription, lsn))
}

// TestSkip exists because there is no way around a transaction that can never
// be applied but to leave it out, and leaving out one more than that loses data
// silently: of three that wait, exactly the named one is skipped, here only.
func TestSkip(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithSettings(clustertest.QuickRetries))
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, n int)")
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	sub := subscriptionName(b, a)
	b.Exec("ALTER TABLE t ADD CONSTRAINT low CHECK (n < 100)")
	a.Exec("INSERT INTO t VALUES (1, 100)", "INSERT INTO t VALUES (2, 2)", "INSERT INTO t VALUES (3, 3)")
	waitFailure(b, a, "23514")
	failing := b.Value("SELECT remote_end_lsn FROM bdr.worker_errors")
	xid := b.Value("SELECT remote_xid FROM bdr.worker_errors")
	origins := "SELECT string_agg(external_id || ' ' || remote_lsn, ', ' ORDER BY 1) FROM pg_replication_origin_status WHERE external_id NOT LIKE '%' || (SELECT origin_id FROM bdr.subscription_summary WHERE sub_name = '" + sub + "')"
	other := b.Value(origins)

	requireSkipRefused(t, b, sub, failing, "55000", "enabled")
	b.Exec("SELECT bdr.alter_subscription_disable('" + sub + "')")
	requireSkipRefused(t, b, "nobody", failing, "42704", "does not exist")
	requireSkipRefused(t, b, sub, a.Value("SELECT pg_current_wal_insert_lsn() + 100000"), "22023", "has written up to")
	requireSkipRefused(t, b, sub, b.Value("SELECT '"+failing+"'::pg_lsn - 8"), "22023", "first transaction that waits ends at "+failing)
	requireSkipRefused(t, b, sub, b.Value("SELECT '"+failing+"'::pg_lsn + 8"), "22023", "last transaction before it ends at "+failing)
	requireSkipRefused(t, b, sub, "0/1", "22023", "applied or skipped already")

	b.Exec(fmt.Sprintf("SELECT bdr.alter_subscription_skip_changes_upto('%s', '%s')", sub, failing))
	requireSkipRefused(t, b, sub, failing, "22023", "applied or skipped already")
	if got := b.Value("SELECT nskippedtx FROM bdr.stat_subscription WHERE sub_name = '" + sub + "'"); got != "1" {
		t.Errorf("nskippedtx is %s", got)
	}
	if got := b.Value(origins); got != other {
		t.Errorf("positions of other peers moved from %s to %s", other, got)
	}
	b.Must(b.Kill9()) // what was skipped stays skipped
	b.Must(b.Start())
	b.Exec("SELECT bdr.alter_subscription_enable('" + sub + "')")
	c.WaitMesh(c.Nodes...)
	a.Exec("UPDATE t SET n = n + 1 WHERE id > 1")
	c.WaitDrained(c.Nodes...)
	for _, n := range []struct {
		node *pgtest.Node
		want string
	}{{a, "1=100 2=3 3=4"}, {b, "2=3 3=4"}, {d, "1=100 2=3 3=4"}} {
		if got := n.node.Value("SELECT string_agg(id || '=' || n, ' ' ORDER BY id) FROM t"); got != n.want {
			t.Errorf("%s has %s, expected %s", n.node.Name, got, n.want)
		}
	}
	event := b.Rows("SELECT event_text, event_detail FROM bdr.event_summary WHERE event_sub_type = 'skipped'")
	if len(event) != 1 || !strings.Contains(event[0][0], `role "postgres" skipped 1 transactions of node "node1"`) ||
		!strings.Contains(event[0][1], "transaction "+xid+", committed 2") || !strings.Contains(event[0][1], "ends at "+failing) {
		t.Errorf("history %v", event)
	}
	if !b.LogContains("skipped 1 transactions") {
		t.Error("the log does not say that a transaction was skipped")
	}
	b.Exec("ALTER TABLE t DROP CONSTRAINT low", "INSERT INTO t VALUES (1, 100) ON CONFLICT DO NOTHING")
	c.RequireConverged()

	a.Exec("SELECT pg_create_logical_replication_slot('ends', 'test_decoding')")
	t.Run("several", func(t *testing.T) { requireSeveralSkipped(t, c.For(t), sub) })
	t.Run("races_with_enable", func(t *testing.T) { requireSkipRaces(t, c.For(t), sub) })
}

// endOfLast is where the last transaction of a node ends; the test has made the
// slot. Watermarks are no text.
func endOfLast(n *pgtest.Node) string {
	return n.Value("SELECT max(lsn) FROM pg_logical_slot_get_binary_changes('ends', NULL, NULL) WHERE substr(data, 1, 6) = 'COMMIT'")
}

func requireSkipRefused(t *testing.T, n *pgtest.Node, subscription, lsn, code, part string) {
	t.Helper()
	err := skipTo(n, subscription, lsn)
	if e := pgtest.PgError(err); e == nil || e.Code != code || !strings.Contains(pgtest.Explain(err), part) {
		t.Errorf("skip of %s up to %s: expected %s with %q, got %v", subscription, lsn, code, part, err)
	}
}

// requireSeveralSkipped: everything up to the named transaction, not beyond; and
// a large one counts as one.
func requireSeveralSkipped(t *testing.T, c *pgtest.Cluster, sub string) {
	a, b := c.Nodes[0], c.Nodes[1]
	b.Exec("SELECT bdr.alter_subscription_disable('" + sub + "')")
	a.Exec("INSERT INTO t SELECT g, 1 FROM generate_series(100, 20100) g", "INSERT INTO t VALUES (10, 1)")
	target := endOfLast(a)
	a.Exec("INSERT INTO t VALUES (11, 1)")
	b.Exec(fmt.Sprintf("SELECT bdr.alter_subscription_skip_changes_upto('%s', '%s')", sub, target))
	if got := b.Value("SELECT nskippedtx FROM bdr.stat_subscription WHERE sub_name = '" + sub + "'"); got != "2" {
		t.Errorf("nskippedtx is %s", got)
	}
	b.Exec("SELECT bdr.alter_subscription_enable('" + sub + "')")
	c.WaitDrained(c.Nodes...)
	if got := b.Value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t WHERE id > 3"); got != "11" {
		t.Errorf("b has %s, expected 11", got)
	}
	a.Exec("DELETE FROM t WHERE id >= 10")
	c.RequireConverged()
}

// requireSkipRaces calls both functions at the same time, again and again:
// either the transaction is skipped or the call is refused, never both, and what
// comes after it is always applied.
func requireSkipRaces(t *testing.T, c *pgtest.Cluster, sub string) {
	a, b := c.Nodes[0], c.Nodes[1]
	session := b.Session()
	outcomes := map[bool]int{}
	for i := range 12 {
		b.Exec("SELECT bdr.alter_subscription_disable('" + sub + "')")
		a.Exec(fmt.Sprintf("INSERT INTO t VALUES (%d, 1)", 1000+2*i))
		target := endOfLast(a)
		a.Exec(fmt.Sprintf("INSERT INTO t VALUES (%d, 1)", 1001+2*i))
		enabled := make(chan error, 1)
		go func() {
			_, err := pgtest.RunOn(session, "SELECT bdr.alter_subscription_enable('"+sub+"')", time.Minute)
			enabled <- err
		}()
		time.Sleep(time.Duration(i) * 500 * time.Microsecond) // moves the collision through the calls
		err := skipTo(b, sub, target)
		b.Must(<-enabled)
		c.WaitDrained(c.Nodes...)
		want := "2"
		outcomes[err == nil]++
		if err == nil {
			want = "1"
		}
		if got := b.Value(fmt.Sprintf("SELECT count(*) FROM t WHERE id IN (%d, %d)", 1000+2*i, 1001+2*i)); got != want {
			t.Errorf("round %d: %s rows, expected %s; the call answered %v", i, got, want, err)
		}
	}
	t.Logf("%d skipped, %d refused", outcomes[true], outcomes[false])
	a.Exec("DELETE FROM t WHERE id >= 1000", "SELECT pg_drop_replication_slot('ends')")
	c.RequireConverged()
}
