package conflict

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
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
// written over it, until the clock has caught up. So a server waits, with the
// transaction or with its own commits; a wait must be seen, and be ended by
// whoever is in charge.
func TestClockSkew(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, v text)")
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("SELECT pg_replication_origin_create('elsewhere')")
	if got := b.Value("SELECT current_setting('bdr.maximum_clock_skew') || ' ' || current_setting('bdr.maximum_clock_skew_action')"); got != "0 WAIT" {
		t.Errorf("the defaults are %s", got)
	}
	// its sessions write with times that its clock has not reached
	setSkew(t, a, "-1", "WARN")
	for _, part := range []struct {
		name string
		run  func(*testing.T, *pgtest.Cluster)
	}{
		{"short_waits_are_not_logged", testSkewShort},
		{"wait", testSkewWait},
		{"commits_wait_instead", testSkewCommitsWait},
		{"wait_ends_by_termination", testSkewTermination},
		{"wait_ends_by_reload", testSkewReload},
		{"off", testSkewOff},
		{"warn", testSkewWarn},
		{"drift_is_shown", testDriftIsShown},
	} {
		t.Run(part.name, func(t *testing.T) {
			a.For(t).Exec("DELETE FROM t")
			c.For(t).RequireConverged()
			part.run(t, c.For(t))
		})
	}
}

// testSkewShort: clocks always differ a little.
func testSkewShort(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	commitAhead(a, "300 ms", "INSERT INTO t VALUES (1, 'x')")
	c.RequireConverged()
	if b.LogContains("in the future") {
		t.Errorf("%s complains", b.Name)
	}
}

// testSkewCommitsWait: the rows are applied at once, and who changes one waits.
func testSkewCommitsWait(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	setSkew(t, b, "-1", "WAIT")
	commitAhead(a, "2 seconds", "INSERT INTO t VALUES (1, 'x'), (2, 'x')")
	b.Wait(time.Second, "SELECT string_agg(v, ' ') FROM t", "x x")
	if got := b.Value("SELECT bool_and(pg_xact_commit_timestamp(xmin) > clock_timestamp()) FROM t"); got != "t" {
		t.Error("the rows came too late for this test")
	}
	before := b.Value("SELECT max(pg_xact_commit_timestamp(xmin)) FROM t")
	b.Exec("BEGIN; DELETE FROM t WHERE id = 1; UPDATE t SET v = 'over it'; COMMIT")
	if got := b.Value("SELECT pg_xact_commit_timestamp(xmin) > '" + before + "' FROM t"); got != "t" {
		t.Error("the later write has the earlier commit time")
	}
	c.RequireConverged()
	if got := a.Value("SELECT string_agg(id || ' ' || v, ', ') FROM t"); got != "2 over it" {
		t.Errorf("the rows are %q, expected the later write", got)
	}
}

// testSkewOff: nothing is said or waited for.
func testSkewOff(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	before := strings.Count(b.LogTail(1000), "ms in the future")
	commitAhead(a, "1 hour", "INSERT INTO t VALUES (1, 'x')")
	c.RequireConverged()
	if strings.Count(b.LogTail(1000), "ms in the future") != before {
		t.Errorf("%s complains", b.Name)
	}
	a.Exec("TRUNCATE t")
}

func testSkewWarn(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	setSkew(t, b, "10000", "WARN")
	defer setSkew(t, b, "-1", "WARN")
	// a writer that has not complained within the last minute
	b.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'bdr writer'")
	complaints := func() int { return strings.Count(b.LogTail(10000), "ms in the future") }
	before := complaints()
	commitAhead(a, "5 seconds", "INSERT INTO t VALUES (1, 'x')")
	c.RequireConverged()
	if complaints() != before {
		t.Errorf("%s complains about less than the maximum", b.Name)
	}
	commitAhead(a, "1 hour", "INSERT INTO t VALUES (2, 'x')")
	commitAhead(a, "1 hour", "INSERT INTO t VALUES (3, 'x')")
	c.RequireConverged()
	if got := complaints() - before; got != 1 {
		t.Errorf("%s complained %d times in a minute, expected once", b.Name, got)
	}
	a.Exec("TRUNCATE t")
}

// testSkewWait: whoever sees the row can only commit later than it, so the
// overwrite wins on both nodes.
func testSkewWait(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	commitAhead(a, "3 seconds", "INSERT INTO t VALUES (1, 'x'), (2, 'x')")
	b.Wait(2*time.Second, waitingWriter, "1")
	if got := b.Value("SELECT count(*) FROM t"); got != "0" {
		t.Errorf("%s has the row while it waits", b.Name)
	}
	b.Wait(10*time.Second, "SELECT string_agg(v, ' ') FROM t", "x x")
	b.Exec("BEGIN; DELETE FROM t WHERE id = 1; UPDATE t SET v = 'over it'; COMMIT")
	c.RequireConverged()
	if got := a.Value("SELECT string_agg(id || ' ' || v, ', ') FROM t"); got != "2 over it" {
		t.Errorf("the rows are %q, expected the later write", got)
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
	stuck := clustertest.OnlyProcess(t, b, clustertest.WriterTitle)
	b.Exec(fmt.Sprintf("SELECT pg_terminate_backend(%d)", stuck.PID))
	pgtest.Eventually(t, 5*time.Second, "the writer has ended", func() (bool, string) { return stuck.Gone(), "it still runs" })
	b.Wait(20*time.Second, waitingWriter, "1")
	stuck = clustertest.OnlyProcess(t, b, clustertest.WriterTitle)
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
