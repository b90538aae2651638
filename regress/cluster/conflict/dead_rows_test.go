package conflict

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// quickWatermarks makes what takes half a minute take a second. Autovacuum would
// write on its own where a test looks at an idle cluster.
var quickWatermarks = map[string]string{"bdr.watermark_interval": "100ms", "autovacuum": "off"}

const (
	holdStatus = "SELECT hold_status FROM bdr.dead_row_hold"
	vacuum     = "VACUUM (TRUNCATE off) t"
	// lines counts what is stored in the first page of the table, dead or alive.
	lines = "SELECT count(*) FROM heap_page_items(get_raw_page('t', 0)) WHERE t_data IS NOT NULL"
)

// TestDeadRows exists because a deleted row is a version like any other: while a
// peer may send something older, it must not be forgotten, and when nobody can,
// it must be, or tables grow for ever.
func TestDeadRows(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithSettings(quickWatermarks))
	c.ExecAll("CREATE EXTENSION pageinspect", "CREATE EXTENSION pg_walinspect", "CREATE TABLE t (id int PRIMARY KEY, v text)")
	for _, part := range []struct {
		name string
		run  func(*testing.T, *pgtest.Cluster)
	}{
		{"idle_cluster_comes_to_rest", testComesToRest},
		{"kept_for_a_peer_that_is_late", testKeptForLatePeer},
		{"kept_over_a_crash", testKeptOverCrash},
		{"prepared_transaction_is_not_older", testPreparedIsNotOlder},
		{"promises_are_kept_under_load", testPromisesUnderLoad},
		{"broken_promise_is_told", testBrokenPromise},
		{"bound", testBound},
		{"switched_off_and_without_a_slot", testWithoutSlot},
		{"stray_slot_is_dropped", testStraySlot},
		{"parted_node_keeps_no_slot", testPartedKeepsNoSlot},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, c.For(t)) })
	}
}

// subscriptionFrom names the subscription of a node to another.
func subscriptionFrom(n, origin *pgtest.Node) string {
	return n.Value(fmt.Sprintf("SELECT sub_name FROM bdr.subscription_summary WHERE origin_name = '%s'", origin.Name))
}

// cut keeps everything of origin from n until the end of the test, or the
// function that it returns.
func cut(t *testing.T, n, origin *pgtest.Node) (heal func()) {
	name := subscriptionFrom(n, origin)
	n.Exec(fmt.Sprintf("SELECT bdr.alter_subscription_disable('%s')", name))
	heal = func() { n.Exec(fmt.Sprintf("SELECT bdr.alter_subscription_enable('%s')", name)) }
	t.Cleanup(heal)
	return heal
}

// watermark is what a peer has promised a node.
func watermark(n, origin *pgtest.Node) string {
	return n.Value(fmt.Sprintf("SELECT watermark_time FROM bdr.subscription_summary WHERE origin_name = '%s'", origin.Name))
}

// waitWatermark returns when a peer has promised a node a time after this one.
func waitWatermark(n, origin *pgtest.Node, after string) {
	n.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT watermark_time > '%s' FROM bdr.subscription_summary WHERE origin_name = '%s'", after, origin.Name), "t")
}

// remember writes a version into a node's memory.
func remember(n *pgtest.Node, key, commitTime string) {
	n.Exec(fmt.Sprintf("INSERT INTO bdr.remembered_version VALUES ('t'::regclass, '', 0, '{%s}', '%s', 1)", key, commitTime))
}

const remembered = "SELECT coalesce(string_agg(key_values::text, ' ' ORDER BY key_values), 'none') FROM bdr.remembered_version"

// waitRest returns when nothing is kept on these nodes.
func waitRest(nodes ...*pgtest.Node) {
	for _, n := range nodes {
		n.Wait(clustertest.ResumeLimit, holdStatus, "holding")
		n.Wait(clustertest.ResumeLimit, "SELECT held_since IS NULL FROM bdr.dead_row_hold", "t")
		n.Wait(clustertest.ResumeLimit, remembered, "none")
	}
}

// setRetention changes the bound of a node while it runs.
func setRetention(n *pgtest.Node, value string) {
	n.Exec("ALTER SYSTEM SET bdr.dead_row_retention = '"+value+"'", "SELECT pg_reload_conf()")
}

// What has nothing to do must not write: promises do not answer each other for
// ever, and what was kept is let go although nothing happens any more.
func testComesToRest(t *testing.T, c *pgtest.Cluster) {
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf("INSERT INTO t VALUES (%d, 'x')", i), fmt.Sprintf("DELETE FROM t WHERE id = %d", i))
		remember(n, fmt.Sprint(i), n.Value("SELECT clock_timestamp()"))
		n.Exec("INSERT INTO bdr.evicted_row SELECT 't'::regclass, 0, '{1}', pg_current_xact_id()")
	}
	c.RequireConverged()
	waitRest(c.Nodes...)
	for _, n := range c.Nodes {
		n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.evicted_row", "0")
		waitVacuumed(t, n)
		waitRest(c.Nodes...)
		n.Wait(clustertest.ResumeLimit, "SELECT xmin_age FROM bdr.dead_row_hold", "0")
	}
	// what VACUUM wrote may call for more rounds, of which each may come a second later
	pgtest.Eventually(t, clustertest.ResumeLimit, "nothing is written for two seconds", func() (bool, string) {
		written := writtenIn(2*time.Second, c.Nodes...)
		return written == "", written
	})
	if written := writtenIn(3*time.Second, c.Nodes...); written != "" {
		t.Errorf("a cluster at rest wrote: %s", written)
	}
}

// writtenIn says what nodes write to WAL in this time, but for what the server
// writes by itself.
func writtenIn(d time.Duration, nodes ...*pgtest.Node) string {
	var before, all []string
	for _, n := range nodes {
		before = append(before, n.Value("SELECT pg_current_wal_insert_lsn()"))
	}
	time.Sleep(d)
	for i, n := range nodes {
		if n.Value(fmt.Sprintf("SELECT pg_current_wal_flush_lsn() <= '%s'", before[i])) == "t" {
			continue
		}
		written := n.Value(fmt.Sprintf(`SELECT coalesce(string_agg(DISTINCT resource_manager || ' ' || record_type, ', '), '')
			FROM pg_get_wal_records_info('%s', pg_current_wal_flush_lsn()) WHERE resource_manager NOT IN ('Standby', 'XLOG')`, before[i]))
		if written != "" {
			all = append(all, n.Name+" "+written)
		}
	}
	return strings.Join(all, "; ")
}

// A peer whose changes do not come may have written before the row was deleted.
func testKeptForLatePeer(t *testing.T, c *pgtest.Cluster) {
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	waitRest(c.Nodes...)
	heal := cut(t, b, d)
	last := watermark(b, d)
	b.Exec("INSERT INTO t VALUES (1, 'x')", "DELETE FROM t")
	remember(b, "early", last)
	remember(b, "late", b.Value("SELECT clock_timestamp()"))
	waitWatermark(b, a, b.Value("SELECT clock_timestamp()"))
	d.Exec("INSERT INTO t VALUES (2, 'y')", "DELETE FROM t")
	b.Wait(clustertest.ResumeLimit, "SELECT blocking_node_name || ' ' || (held_since IS NOT NULL) FROM bdr.dead_row_hold", "node3 true")
	b.Exec(vacuum)
	if got := b.Value(lines); got != "1" {
		t.Errorf("%s lines after VACUUM, expected the dead row", got)
	}
	if got := b.Value(remembered); got != "{early} {late}" {
		t.Errorf("remembered is %s", got)
	}
	if got := b.Value("SELECT clean_up_time FROM bdr.dead_row_hold"); got != last {
		t.Errorf("cleaned up to %s, expected %s, the last promise of the peer that is away", got, last)
	}
	waitRest(a) // nothing keeps the others from it
	heal()
	waitRest(c.Nodes...)
	waitVacuumed(t, b)
}

// The slot is on disk before anything relies on it, where it stood then or
// earlier, and a node that comes back asks its peers again, though they have
// nothing new to say.
func testKeptOverCrash(t *testing.T, c *pgtest.Cluster) {
	b, d := c.Nodes[1], c.Nodes[2]
	waitRest(c.Nodes...)
	heal := cut(t, b, d)
	b.Exec("INSERT INTO t VALUES (1, 'x')", "DELETE FROM t")
	b.Wait(clustertest.ResumeLimit, "SELECT held_since IS NOT NULL FROM bdr.dead_row_hold", "t")
	const xmin = `SELECT xmin FROM pg_replication_slots WHERE slot_name LIKE 'bdr\_%\_hold'`
	before := b.Value(xmin)
	b.Must(b.Kill9())
	b.Must(b.Start())
	if got := b.Value("SELECT age(xmin) >= age('" + before + "'::xid) FROM (" + xmin + ") s"); got != "t" {
		t.Errorf("the hold stands at %s after a crash, before at %s", b.Value(xmin), before)
	}
	b.Wait(clustertest.ResumeLimit, holdStatus, "holding")
	b.Exec(vacuum)
	if got := b.Value(lines); got != "1" {
		t.Errorf("%s lines after a crash and VACUUM, expected the dead row", got)
	}
	heal()
	waitRest(c.Nodes...)
	waitVacuumed(t, b)
	for _, n := range c.Nodes {
		n.Must(n.Restart())
	}
	waitRest(c.Nodes...)
}

// A transaction takes its time when it commits, not when it is prepared, so it
// does not hold up promises and does not break them.
func testPreparedIsNotOlder(t *testing.T, c *pgtest.Cluster) {
	b, d := c.Nodes[1], c.Nodes[2]
	d.Exec("BEGIN; INSERT INTO t VALUES (1, 'prepared'); PREPARE TRANSACTION 'p'")
	waitWatermark(b, d, d.Value("SELECT clock_timestamp()"))
	promised := watermark(b, d)
	d.Exec("COMMIT PREPARED 'p'")
	b.Wait(clustertest.ResumeLimit, "SELECT v FROM t WHERE id = 1", "prepared")
	if got := b.Value(fmt.Sprintf("SELECT pg_xact_commit_timestamp(xmin) >= '%s' FROM t", promised)); got != "t" {
		t.Errorf("prepared transaction is older than %s, which was promised", promised)
	}
	d.Exec("DELETE FROM t")
	c.RequireConverged()
}

// Commit times are taken before the commit record is written: without waiting
// for those in between, promises would be broken under load now and then.
func testPromisesUnderLoad(t *testing.T, c *pgtest.Cluster) {
	for _, n := range c.Nodes {
		n.Exec("ALTER SYSTEM SET bdr.watermark_interval = '10ms'", "SELECT pg_reload_conf()")
	}
	c.ExecAll(clustertest.LoadTables...)
	writers := clustertest.StartLoad(c.Nodes...)
	var before []string
	for _, n := range c.Nodes {
		before = append(before, n.Value("SELECT min(watermark_time) FROM bdr.subscription_summary"))
	}
	writers.WaitCommits(t, 3000)
	for i, n := range c.Nodes {
		n.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT min(watermark_time) > timestamptz '%s' + interval '2 s' FROM bdr.subscription_summary", before[i]), "t")
	}
	writers.End(t)
	c.RequireConverged()
	for _, n := range c.Nodes {
		if n.LogContains("older than was promised") {
			t.Errorf("%s was sent what is older than promised", n.Name)
		}
		n.Exec("ALTER SYSTEM RESET bdr.watermark_interval", "SELECT pg_reload_conf()")
	}
	waitRest(c.Nodes...)
}

// A clock that was set back breaks promises, and so does another replication
// system that commits with old times: users must hear of it.
func testBrokenPromise(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("SELECT pg_replication_origin_create('elsewhere')")
	commitAhead(a, "-1 hour", "INSERT INTO t VALUES (1, 'old')")
	c.RequireConverged()
	if !b.LogContains("older than was promised") {
		t.Errorf("%s says nothing", b.Name)
	}
	a.Exec("DELETE FROM t", "SELECT pg_replication_origin_drop('elsewhere')")
	c.RequireConverged()
}

// Dead rows slow the lookups of a hot table, so a peer that does not come back
// cannot have them kept for ever; that something was lost for it must be seen.
func testBound(t *testing.T, c *pgtest.Cluster) {
	b, d := c.Nodes[1], c.Nodes[2]
	waitRest(c.Nodes...)
	heal := cut(t, b, d)
	b.Exec("INSERT INTO t VALUES (1, 'x')", "DELETE FROM t")
	remember(b, "kept", b.Value("SELECT clock_timestamp()"))
	xid := b.Value("SELECT pg_current_xact_id()")
	b.Wait(clustertest.ResumeLimit, "SELECT held_since IS NOT NULL FROM bdr.dead_row_hold", "t")
	setRetention(b, "1s")
	b.Wait(clustertest.ResumeLimit, "SELECT hold_status || ' ' || ncuts || ' ' || cut_node_name || ' ' || (cut_end_time IS NULL) FROM bdr.dead_row_hold",
		"cut 1 node3 true")
	b.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT cut_xid::text::bigint > %s AND cut_commit_time <= clock_timestamp() FROM bdr.dead_row_hold", xid), "t")
	waitVacuumed(t, b)
	b.Exec("INSERT INTO t VALUES (1, 'x')", "DELETE FROM t")
	b.Wait(clustertest.ResumeLimit, "SELECT held_since IS NULL FROM bdr.dead_row_hold", "t") // cut once more, and not told again
	if got := b.Value(remembered); got != "{kept}" {
		t.Errorf("remembered is %s: the bound is for dead rows", got)
	}
	setRetention(b, "10min") // or a machine that is busy for a second makes another cut
	heal()
	b.Wait(clustertest.ResumeLimit, "SELECT hold_status || ' ' || ncuts || ' ' || (cut_end_time > cut_start_time) FROM bdr.dead_row_hold", "holding 1 true")
	b.Wait(clustertest.ResumeLimit, "SELECT string_agg(event_sub_type, ' ' ORDER BY event_time) FROM bdr.event_summary WHERE event_type = 'dead_rows'", "cut whole")
	waitRest(c.Nodes...)
	if log := b.LogTail(100000); strings.Count(log, "dead rows are kept for bdr.dead_row_retention only") != 1 {
		t.Errorf("the log does not tell of the cut once")
	}
	b.Exec("ALTER SYSTEM RESET bdr.dead_row_retention", "SELECT pg_reload_conf()")
}

// waitVacuumed removes all dead rows: a snapshot that somebody has for a moment
// keeps some from one VACUUM.
func waitVacuumed(t *testing.T, n *pgtest.Node) {
	t.Helper()
	pgtest.Eventually(t, clustertest.ResumeLimit, n.Name+" has no dead rows any more", func() (bool, string) {
		n.Exec(vacuum)
		got := n.Value(lines)
		return got == "0", got
	})
}

// Without a slot the node goes on, and says so.
func testWithoutSlot(t *testing.T, c *pgtest.Cluster) {
	b := c.Nodes[1]
	setRetention(b, "0")
	b.Wait(clustertest.ResumeLimit, holdStatus, "off")
	b.Wait(clustertest.ResumeLimit, clustertest.HoldSlots, "0")
	b.Exec("INSERT INTO t VALUES (1, 'x')", "DELETE FROM t")
	waitVacuumed(t, b)
	b.Exec(`SELECT pg_create_physical_replication_slot('filler' || g) FROM generate_series(1,
		current_setting('max_replication_slots')::int - (SELECT count(*)::int FROM pg_replication_slots)) g`)
	setRetention(b, "-1")
	b.Wait(clustertest.ResumeLimit, holdStatus, "no slot")
	if !b.LogContains("max_replication_slots is too small") {
		t.Errorf("%s says nothing", b.Name)
	}
	remember(b, "x", b.Value("SELECT clock_timestamp()"))
	b.Wait(clustertest.ResumeLimit, remembered, "none")
	b.Exec("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'filler%'",
		"ALTER SYSTEM RESET bdr.dead_row_retention", "SELECT pg_reload_conf()")
	waitRest(c.Nodes...)
}

// A database may be dropped with its node. Nobody else would know of its hold,
// which would keep the dead rows of all databases for ever.
func testStraySlot(t *testing.T, c *pgtest.Cluster) {
	a := c.Nodes[0]
	a.Exec("SELECT pg_create_physical_replication_slot('bdr_1_hold')", "SELECT pg_create_physical_replication_slot('bdr_1_holder')")
	a.Must(a.Reload())
	a.Wait(clustertest.ResumeLimit, `SELECT string_agg(slot_name, ' ') FROM pg_replication_slots WHERE slot_name LIKE 'bdr\_1\_%'`, "bdr_1_holder")
	a.Exec("SELECT pg_drop_replication_slot('bdr_1_holder')")
	if got := a.Value(clustertest.HoldSlots); got != "1" {
		t.Errorf("%s holds, expected the node's own", got)
	}
}

// A node that has left keeps nothing, and one that is alone needs nothing.
func testPartedKeepsNoSlot(t *testing.T, c *pgtest.Cluster) {
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	c.RequireConverged()
	a.Exec("SELECT bdr.part_node('node3')")
	d.Wait(clustertest.ResumeLimit, clustertest.HoldSlots, "0")
	waitRest(a, b)
	a.Exec("SELECT bdr.part_node('node2')")
	b.Wait(clustertest.ResumeLimit, clustertest.HoldSlots, "0")
	a.Wait(clustertest.ResumeLimit, clustertest.HoldSlots, "0")
	a.Wait(clustertest.ResumeLimit, holdStatus, "not needed")
	d.Exec("SELECT bdr.drop_node('node3')", "DROP EXTENSION bdr")
	b.Exec("SELECT bdr.drop_node('node2')", "DROP EXTENSION bdr")
	for _, n := range []*pgtest.Node{b, d} {
		n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM pg_replication_slots", "0")
	}
}
