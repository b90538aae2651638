package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
)

// commitAhead commits a transaction as a node does whose clock is ahead: what
// another replication system applied keeps the time that this one gave it.
func commitAhead(n *pgtest.Node, ahead, statement string) {
	n.Exec(fmt.Sprintf(`BEGIN; SELECT pg_replication_origin_session_setup('elsewhere');
		SELECT pg_replication_origin_xact_setup('0/1', clock_timestamp() + '%s'); %s; COMMIT;
		SELECT pg_replication_origin_session_reset()`, ahead, statement))
}

const waitingWriter = `SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'bdr writer'
	AND query LIKE 'wait for the clock%' AND wait_event IS NOT NULL AND xact_start IS NULL`

// setSkew sets both settings of a node while it runs. Every process has been
// told of them when a new session has them.
func setSkew(t *testing.T, n *pgtest.Node, skew, action string) {
	t.Helper()
	n.Exec("ALTER SYSTEM SET bdr.maximum_clock_skew = '"+skew+"'", "ALTER SYSTEM SET bdr.maximum_clock_skew_action = '"+action+"'",
		"SELECT pg_reload_conf()")
	pgtest.Eventually(t, 10*time.Second, "the settings are read", func() (bool, string) {
		rows, err := pgtest.RunOn(n.Session(), `SELECT string_agg(setting, ' ' ORDER BY name) FROM pg_settings WHERE name LIKE 'bdr.maximum_clock_skew%'`, time.Minute)
		n.Must(err)
		return rows[0][0] == skew+" "+action, rows[0][0]
	})
}

// TestClockSkew exists because a row from the future wins against whatever is
// written over it, until the clock has caught up. The server must be able to
// say so, or to wait; and a wait must be seen, and be ended by whoever is in
// charge.
func TestClockSkew(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, v text)")
	a := c.Nodes[0]
	a.Exec("SELECT pg_replication_origin_create('elsewhere')")
	for _, part := range []struct {
		name string
		run  func(*testing.T, *pgtest.Cluster)
	}{
		{"off", testSkewOff},
		{"warn", testSkewWarn},
		{"wait", testSkewWait},
		{"wait_ends_by_reload", testSkewReload},
		{"wait_ends_by_termination", testSkewTermination},
		{"drift_is_shown", testDriftIsShown},
	} {
		t.Run(part.name, func(t *testing.T) {
			a.For(t).Exec("DELETE FROM t")
			c.For(t).RequireConverged()
			part.run(t, c.For(t))
		})
	}
}

// By default nothing is said or waited for.
func testSkewOff(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	commitAhead(a, "1 hour", "INSERT INTO t VALUES (1, 'x')")
	c.RequireConverged()
	if b.LogContains("in the future") {
		t.Errorf("%s complains", b.Name)
	}
	a.Exec("TRUNCATE t")
}

func testSkewWarn(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	setSkew(t, b, "10000", "WARN")
	defer setSkew(t, b, "-1", "WARN")
	commitAhead(a, "5 seconds", "INSERT INTO t VALUES (1, 'x')")
	c.RequireConverged()
	if b.LogContains("in the future") {
		t.Errorf("%s complains about less than the maximum", b.Name)
	}
	commitAhead(a, "1 hour", "INSERT INTO t VALUES (2, 'x')")
	commitAhead(a, "1 hour", "INSERT INTO t VALUES (3, 'x')")
	c.RequireConverged()
	if got := strings.Count(b.LogTail(1000), "ms in the future"); got != 1 {
		t.Errorf("%s complained %d times in a minute, expected once", b.Name, got)
	}
	a.Exec("TRUNCATE t")
}

// testSkewWait: whoever sees the row can only commit later than it, so the
// overwrite wins on both nodes.
func testSkewWait(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	setSkew(t, b, "0", "WAIT")
	defer setSkew(t, b, "-1", "WARN")
	commitAhead(a, "3 seconds", "INSERT INTO t VALUES (1, 'x')")
	b.Wait(2*time.Second, waitingWriter, "1")
	if got := b.Value("SELECT count(*) FROM t"); got != "0" {
		t.Errorf("%s has the row while it waits", b.Name)
	}
	b.Wait(10*time.Second, "SELECT v FROM t", "x")
	b.Exec("UPDATE t SET v = 'over it'")
	c.RequireConverged()
	if got := a.Value("SELECT v FROM t"); got != "over it" {
		t.Errorf("the row is %q, expected the later write", got)
	}
	if got := b.Value(waitingWriter); got != "0" {
		t.Errorf("%s writers still wait for the clock", got)
	}
}

func testSkewReload(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	setSkew(t, b, "0", "WAIT")
	commitAhead(a, "1 hour", "INSERT INTO t VALUES (1, 'x')")
	b.Wait(10*time.Second, waitingWriter, "1")
	setSkew(t, b, "-1", "WARN")
	c.RequireConverged()
	a.Exec("TRUNCATE t")
}

// testSkewTermination: disabling the subscription and ending the process work
// as they do on a writer that waits for a lock.
func testSkewTermination(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	setSkew(t, b, "0", "WAIT")
	commitAhead(a, "1 hour", "INSERT INTO t VALUES (1, 'x')")
	b.Wait(10*time.Second, waitingWriter, "1")
	stuck := onlyProcess(t, b, writerTitle)
	b.Exec(fmt.Sprintf("SELECT pg_terminate_backend(%d)", stuck.PID))
	pgtest.Eventually(t, 5*time.Second, "the writer has ended", func() (bool, string) { return stuck.Gone(), "it still runs" })
	b.Wait(20*time.Second, waitingWriter, "1")
	stuck = onlyProcess(t, b, writerTitle)
	b.Exec("SELECT bdr.alter_subscription_disable(immediate := true)")
	pgtest.Eventually(t, 5*time.Second, "the writer has ended", func() (bool, string) { return stuck.Gone(), "it still runs" })
	setSkew(t, b, "-1", "WARN")
	b.Exec("SELECT bdr.alter_subscription_enable(immediate := true)")
	c.RequireConverged()
	a.Exec("TRUNCATE t")
}

// testDriftIsShown: both servers have the same clock.
func testDriftIsShown(t *testing.T, c *pgtest.Cluster) {
	c.Nodes[0].Exec("INSERT INTO t VALUES (1, 'x')")
	c.Nodes[1].Exec("INSERT INTO t VALUES (2, 'x')")
	for _, n := range c.Nodes {
		n.Wait(20*time.Second, "SELECT approx_clock_drift_ms BETWEEN -1000 AND 0 FROM bdr.subscription_summary", "t")
	}
	c.RequireConverged()
}
