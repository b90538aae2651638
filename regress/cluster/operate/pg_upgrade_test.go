package operate

import (
	"fmt"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestPreparationMeetsFailures exists because a node that is being prepared for
// pg_upgrade may lose a link, or its manager: it must not count as ready before its
// peers have all, and says what to do. regress/mixed goes the whole way.
func TestPreparationMeetsFailures(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithProxies(), pgtest.WithSettings(clustertest.QuickRetries))
	n, peer := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY)")
	c.RequireConverged()
	t.Run("cut_link", func(t *testing.T) { prepareOverCutLink(t, c.For(t), n.For(t), peer.For(t)) })
	t.Run("killed_manager", func(t *testing.T) { prepareWithoutManager(t, c.For(t), n.For(t), peer.For(t)) })
}

// prepare runs in a session of its own, and waits for what it has to.
func prepare(n *pgtest.Node) <-chan error {
	session, result := n.Session(), make(chan error, 1)
	go func() {
		_, err := pgtest.RunOn(session, "SELECT bdr.prepare_pg_upgrade()", time.Minute)
		result <- err
	}()
	return result
}

// waitFence returns when no changes commit any more.
func waitFence(t *testing.T, n *pgtest.Node) {
	t.Helper()
	pgtest.Eventually(t, clustertest.ResumeLimit, "no changes commit", func() (bool, string) {
		e := pgtest.PgError(n.Try("INSERT INTO t VALUES ((random() * 1e9)::int)"))
		return e != nil && e.Code == "25006" && e.Hint != "", fmt.Sprint(e)
	})
}

// prepareOverCutLink: the peer has not applied a row when its link breaks.
func prepareOverCutLink(t *testing.T, c *pgtest.Cluster, n, peer *pgtest.Node) {
	release, _ := clustertest.Hold(t, peer, "LOCK TABLE t")
	n.Exec("INSERT INTO t VALUES (-1)")
	result := prepare(n)
	waitFence(t, n)
	link := c.Link(peer, n)
	link.Refuse()
	n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM pg_replication_slots WHERE active AND plugin = 'bdr_output'", "0")
	release()
	select {
	case err := <-result:
		t.Fatalf("the node is ready, and its peer has not read all: %v", err)
	case <-time.After(2 * time.Second): // as often as it looks, twenty times
	}
	link.Heal()
	if err := <-result; err != nil {
		t.Fatal(pgtest.Explain(err))
	}
	if got := peer.Value("SELECT count(*) FROM t WHERE id = -1"); got != "1" {
		t.Error("the node is ready, and its peer lacks a row")
	}
	n.Exec("SELECT bdr.cancel_pg_upgrade()")
	c.WaitMesh(c.Nodes...)
	peer.Exec("INSERT INTO t VALUES (-2)")
	c.RequireConverged()
}

// prepareWithoutManager: whoever called is gone, and so is what would undo it. A
// killed manager takes all processes of the server along.
func prepareWithoutManager(t *testing.T, c *pgtest.Cluster, n, peer *pgtest.Node) {
	holder := n.Session()
	_, err := pgtest.RunOn(holder, "BEGIN; INSERT INTO t VALUES (-3)", time.Minute)
	n.Must(err)
	result := prepare(n)
	waitFence(t, n)
	n.KillProcess(clustertest.OnlyProcess(t, n, clustertest.ManagerTitle))
	if err := <-result; err == nil {
		t.Error("the node is ready, and a transaction was running")
	}
	waitFence(t, n)
	pgtest.Eventually(t, clustertest.ResumeLimit, "the node says that it was interrupted", func() (bool, string) {
		e := pgtest.PgError(n.Try("SELECT bdr.part_node('node2')"))
		return e != nil && e.Code == "55000" && e.Detail == "bdr.prepare_pg_upgrade() was interrupted." && e.Hint != "", fmt.Sprint(e)
	})
	n.Exec("SELECT bdr.cancel_pg_upgrade()", "INSERT INTO t VALUES (-4)")
	c.WaitMesh(c.Nodes...)
	peer.Exec("INSERT INTO t VALUES (-5)")
	c.RequireConverged()
}
