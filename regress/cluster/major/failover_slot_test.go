package major

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

const sinceFailover = 17

var syncsSlots = map[string]string{"sync_replication_slots": "on"}

const syncedSlots = "SELECT count(*) FROM pg_replication_slots WHERE synced AND failover AND NOT temporary AND invalidation_reason IS NULL AND plugin = 'bdr_output'"

// waitSynced returns when a standby has the slots of so many peers. Slots move
// only while there is something to read.
func waitSynced(t *testing.T, primary, standby *pgtest.Node, peers int) {
	t.Helper()
	pgtest.Eventually(t, time.Minute, "the standby has the slots", func() (bool, string) {
		primary.Exec("SELECT pg_log_standby_snapshot(), pg_logical_emit_message(false, 'test', 'goes on')")
		got := standby.Value(syncedSlots)
		return got == fmt.Sprint(peers), got
	})
}

// standbyTakesOver promotes a standby of a node that has ended, as docs/compatibility.md says.
func standbyTakesOver(t *testing.T, c *pgtest.Cluster, standby, node *pgtest.Node) {
	t.Helper()
	standby.Promote()
	pgtest.Eventually(t, clustertest.ResumeLimit, "the promoted standby does not act as the node", func() (bool, string) {
		err := standby.Try("SELECT * FROM bdr.get_raft_status()")
		e := pgtest.PgError(err)
		return e != nil && e.Code == "55000" && strings.Contains(e.Hint, "incarnation"), fmt.Sprint(err)
	})
	files, err := filepath.Glob(filepath.Join(standby.DataDirectory(), "bdr", "*", "incarnation"))
	if err != nil || len(files) != 1 {
		t.Fatalf("incarnation files: %v, %v", files, err)
	}
	standby.Must(os.Remove(files[0]))
	standby.TakeAddress(node)
	for i, n := range c.Nodes {
		if n.Name == node.Name {
			c.Nodes[i] = standby
		}
	}
}

// TestOldSlotsGoToStandbysToo exists because a slot that was made by an older
// server, or an older version of bdr, would be missing on the standby on the day
// on which it is needed.
func TestOldSlotsGoToStandbysToo(t *testing.T) {
	pgtest.Since(t, sinceFailover, "failover slots")
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(clustertest.QuickRetries))
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY)")
	const failover = "SELECT failover FROM bdr.node_slots"
	a.Wait(clustertest.ResumeLimit, failover, "t")
	b.Exec("SELECT bdr.alter_subscription_disable(immediate := true)")
	a.Wait(clustertest.ResumeLimit, "SELECT active FROM bdr.node_slots", "f")
	conn, err := pgconn.Connect(t.Context(), a.NodeDSN+" replication=database")
	a.Must(err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), "ALTER_REPLICATION_SLOT "+a.Value("SELECT slot_name FROM bdr.node_slots")+" (FAILOVER false)").ReadAll()
	a.Must(err)
	a.Wait(clustertest.ResumeLimit, failover, "f")
	a.Exec("INSERT INTO t VALUES (1)")
	b.Exec("SELECT bdr.alter_subscription_enable()")
	c.RequireConverged()
	a.Wait(clustertest.ResumeLimit, failover, "t")
}

// TestStandbyTakesOver exists because a node with a standby is made for the day
// on which it dies: the peers' streams must go on from the promoted standby, in
// both directions, with nothing lost of what any other node has.
func TestStandbyTakesOver(t *testing.T) {
	pgtest.Since(t, sinceFailover, "failover slots")
	c := pgtest.NewCluster(t, 3, pgtest.WithSettings(clustertest.QuickRetries))
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	c.ExecAll("CREATE TABLE t (id serial, who text, PRIMARY KEY (who, id))")
	c.RequireConverged()
	s := c.Standby(a, "standby", syncsSlots)
	waitSynced(t, a, s, 2)
	if got := s.Value("SELECT count(*) FROM bdr.node_slots WHERE synced AND failover"); got != "2" {
		t.Errorf("on the standby bdr.node_slots shows %s of the slots", got)
	}
	a.Must(a.Configure(map[string]string{"synchronized_standby_slots": "standby"}))
	a.Must(a.Reload())

	script := func(n *pgtest.Node) string {
		path := filepath.Join(c.Dir, n.Name+".sql")
		n.Must(os.WriteFile(path, []byte("INSERT INTO t (who) VALUES ('"+n.Name+"');\n"), 0o644))
		return path
	}
	var loads []*pgtest.Pgbench
	for _, n := range []*pgtest.Node{b, d} {
		loads = append(loads, n.StartPgbench("-f", script(n), "-T", "600", "-R", "300"))
	}
	victim := a.PgbenchCommand(a.DSN(a.Database), "-f", script(a), "-T", "600", "-R", "300")
	a.Must(victim.Start())
	for _, n := range c.Nodes {
		for _, who := range c.Nodes {
			n.Wait(clustertest.ResumeLimit, "SELECT count(*) > 300 FROM t WHERE who = '"+who.Name+"'", "t")
		}
	}
	a.Must(a.Kill9())
	_ = victim.Wait() // it has lost its server
	standbyTakesOver(t, c, s, a)
	for _, n := range []*pgtest.Node{b, d} {
		n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.subscription_summary WHERE subscription_status = 'replicating'", "2")
	}
	for _, load := range loads {
		load.Stop()
	}
	for _, n := range c.Nodes {
		n.Exec("INSERT INTO t (id, who) VALUES (0, '" + n.Name + "')")
	}
	c.WaitMesh(c.Nodes...)
	c.RequireConverged()
	s.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.get_raft_status() WHERE leader_name IS NOT NULL", "1")
	b.Exec("SELECT bdr.part_node('" + d.Name + "')") // the members agree on something new
	s.Wait(clustertest.ResumeLimit, "SELECT peer_state_name FROM bdr.node_summary WHERE node_name = '"+d.Name+"'", "PARTED")
	c.RequireConvergedAmong(s, b)

	// the old primary must not be believed by those who have seen the new one
	_, err := s.Stop(pgtest.Fast)
	s.Must(err)
	a.Must(a.Start())
	b.Wait(clustertest.ResumeLimit, "SELECT error_message LIKE '%is on timeline 1 of its WAL, but changes of timeline 2 are applied here' FROM bdr.worker_errors", "t")
}

// TestStandbyIsAway exists because whoever has peers wait for a standby must see
// that they do when the standby is gone, at no cost but the waiting: no process
// turns in circles, the log is not flooded, and what the node receives goes on.
func TestStandbyIsAway(t *testing.T) {
	pgtest.Since(t, sinceFailover, "failover slots")
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(clustertest.QuickRetries))
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY)")
	s := c.Standby(a, "standby", syncsSlots)
	waitSynced(t, a, s, 1)
	_, err := s.Stop(pgtest.Fast)
	a.Must(err)
	a.Must(a.Configure(map[string]string{"synchronized_standby_slots": "standby"}))
	a.Must(a.Reload())
	a.Wait(clustertest.ResumeLimit, "SHOW synchronized_standby_slots", "standby")

	a.Exec("INSERT INTO t VALUES (1)")
	a.Wait(clustertest.ResumeLimit, "SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'walsender'", "WaitForStandbyConfirmation")
	b.Exec("INSERT INTO t VALUES (2)")
	written := b.Value("SELECT pg_current_wal_insert_lsn()")
	a.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM t", "2")
	b.Wait(clustertest.ResumeLimit, "SELECT replay_lsn >= '"+written+"' FROM bdr.node_slots", "t")
	requireQuiet(t, a)
	if got := b.Value("SELECT confirmed_flush_lsn < '" + written + "' FROM bdr.node_slots"); got != "t" {
		t.Errorf("what the standby does not have was confirmed to the peer: up to %s", b.Value("SELECT confirmed_flush_lsn FROM bdr.node_slots"))
	}
	if got := b.Value("SELECT count(*) FROM t"); got != "1" {
		t.Errorf("the peer has %s rows", got)
	}
	// a new stream must not confirm more than the last one
	a.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'bdr writer'")
	a.Wait(clustertest.ResumeLimit, "SELECT nconnect > 1 FROM bdr.stat_subscription", "t")
	b.Exec("INSERT INTO t VALUES (3)")
	a.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM t", "3")
	if got := b.Value("SELECT confirmed_flush_lsn < '" + written + "' FROM bdr.node_slots"); got != "t" {
		t.Error("a new stream confirmed what the standby does not have")
	}

	a.Must(s.Start())
	a.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'standby' AND state = 'streaming'", "1")
	c.RequireConverged()
	_, err = s.Stop(pgtest.Fast)
	a.Must(err)
	a.Exec("INSERT INTO t VALUES (4)")
	took, err := a.Stop(pgtest.Fast)
	a.Must(err)
	if took > 5*time.Second {
		t.Errorf("a stop while walsenders wait for the standby took %s", took)
	}
	a.Must(a.Start())
	a.Must(a.Configure(map[string]string{"synchronized_standby_slots": ""}))
	a.Must(a.Reload())
	c.RequireConverged()
}

// requireQuiet looks for three seconds at what works for a peer.
func requireQuiet(t *testing.T, a *pgtest.Node) {
	t.Helper()
	walsender, writer := clustertest.OnlyProcess(t, a, clustertest.WalsenderTitle), clustertest.OnlyProcess(t, a, clustertest.WriterTitle)
	began, used := time.Now(), walsender.CPUSeconds()+writer.CPUSeconds()
	logged := logSize(a)
	a.Exec("SELECT pg_logical_emit_message(false, 'test', 'x') FROM generate_series(1, 100)", "SELECT pg_sleep(3)")
	used = walsender.CPUSeconds() + writer.CPUSeconds() - used
	if share := used / time.Since(began).Seconds(); share > 0.1 {
		t.Errorf("walsender and writer use %.0f %% of a CPU while they wait", 100*share)
	}
	if n := logSize(a) - logged; n > 20000 {
		t.Errorf("the log grew by %d bytes within three seconds", n)
	}
}

func logSize(n *pgtest.Node) int64 {
	info, err := os.Stat(n.LogPath())
	n.Must(err)
	return info.Size()
}

// TestLateStandbyIsNotBelieved exists because a standby that did not get the end
// of its primary's WAL writes new transactions at positions that the peers have
// passed: they would leave them out without a word. They must stop instead, and
// stay so however much is written later.
func TestLateStandbyIsNotBelieved(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(clustertest.QuickRetries))
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY)")
	a.Exec("INSERT INTO t VALUES (1)")
	c.RequireConverged()
	s := c.Standby(a, "standby", nil)
	s.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM t", "1")
	s.Exec("ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
	a.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'standby'", "0")
	a.Exec("INSERT INTO t VALUES (2)")
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM t", "2")
	a.Must(a.Kill9())
	standbyTakesOver(t, c, s, a)
	s.Exec("SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000)) FROM generate_series(1, 1000)", "INSERT INTO t VALUES (3)")
	b.Wait(clustertest.ResumeLimit, `SELECT error_message LIKE '%that was replicated ends at%' AND error_hint LIKE '%part_node(''node1'')%' AND error_retries > 2 FROM bdr.worker_errors`, "t")
	b.Must(b.Restart())
	b.Wait(clustertest.ResumeLimit, "SELECT error_message LIKE '%that was replicated ends at%' FROM bdr.worker_errors", "t")
	if got := b.Value("SELECT string_agg(id::text, ',' ORDER BY id) FROM t"); got != "1,2" {
		t.Errorf("the peer has rows %s", got)
	}
}
