package join

import (
	"fmt"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// leftovers counts what a node keeps for its peers: it must be gone with them.
const leftovers = `SELECT (SELECT count(*) FROM pg_replication_slots) || ' ' || (SELECT count(*) FROM pg_replication_origin)`

const nodeNamed3 = "SELECT count(*) FROM bdr.node_summary WHERE node_name = 'node3'"

// TestPart exists because a node that leaves must take nothing with it and
// leave nothing behind: its changes are everywhere, its slots hold back no WAL,
// its database is an ordinary one again, and its name is free for another.
func TestPart(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, who text)")
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf("INSERT INTO t SELECT g, '%s' FROM generate_series(%d, %d) g", n.Name, i*1000, i*1000+200))
	}
	t.Run("extension_stays_while_member", func(t *testing.T) {
		clustertest.RequireRefusal(t, a.For(t), clustertest.Refused("", "DROP EXTENSION bdr", clustertest.ObjectInUse, "part_node"))
		clustertest.RequireRefusal(t, a.For(t), clustertest.Refused("", "DROP SCHEMA bdr CASCADE", clustertest.DependsOnIt))
	})

	a.Exec("SELECT bdr.part_node(node_name := 'node3', wait_for_completion := true)")
	for _, n := range []*pgtest.Node{a, b} {
		n.Wait(clustertest.ResumeLimit, "SELECT peer_state_name FROM bdr.node_summary WHERE node_name = 'node3'", "PARTED")
		n.Wait(clustertest.ResumeLimit, leftovers, "2 2") // one slot keeps dead rows, one origin is for messages
	}
	d.Wait(clustertest.ResumeLimit, leftovers, "0 1")
	a.Exec("INSERT INTO t VALUES (-1, 'after the part')")
	c.RequireConvergedAmong(a, b)
	if got := b.Value("SELECT count(*) FROM t WHERE who = 'node3'"); got != "201" {
		t.Errorf("%s rows of the parted node, expected 201", got)
	}
	if got := d.Value("SELECT count(*) FROM t"); got != "603" {
		t.Errorf("the parted node kept %s rows, expected 603", got)
	}

	a.Exec("SELECT bdr.drop_node('node3')") // agreed with b; d is no member any more
	b.Wait(clustertest.ResumeLimit, nodeNamed3, "0")
	d.Exec("SELECT bdr.drop_node('node3')")
	t.Run("extension_drops_cleanly", func(t *testing.T) { requireCleanDrop(t, d.For(t)) })
	rejoin(t, c, d)
}

// requireCleanDrop drops the extension of a node that left.
func requireCleanDrop(t *testing.T, n *pgtest.Node) {
	t.Helper()
	n.Exec("DROP EXTENSION bdr")
	n.Wait(clustertest.ResumeLimit, leftovers, "0 0")
	n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM pg_shseclabel WHERE provider = 'bdr'", "0")
	n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM pg_namespace WHERE nspname = 'bdr'", "0")
	pgtest.Eventually(t, clustertest.ResumeLimit, "no manager and no writer is left", func() (bool, string) {
		left := append(n.ProcessesTitled(clustertest.ManagerTitle), n.ProcessesTitled(clustertest.WriterTitle)...)
		return len(left) == 0, fmt.Sprint(left)
	})
	n.Exec("INSERT INTO t VALUES (-2, 'an ordinary database')")
}

// rejoin brings the server back under its old name with an empty database.
func rejoin(t *testing.T, c *pgtest.Cluster, n *pgtest.Node) {
	t.Helper()
	n.CloseSessions()
	pgtest.Eventually(t, clustertest.ResumeLimit, "nobody uses the parted node's database", func() (bool, string) {
		_, err := n.Run("postgres", "DROP DATABASE app")
		users, _ := n.Run("postgres", "SELECT backend_type, application_name, query FROM pg_stat_activity WHERE datname = 'app'")
		return err == nil, fmt.Sprint(err, users)
	})
	if _, err := n.Run("postgres", "CREATE DATABASE app"); err != nil {
		t.Fatal(pgtest.Explain(err))
	}
	n.Exec("CREATE EXTENSION bdr")
	n.CreateNode()
	n.Join(c.Nodes[1])
	c.WaitMesh(c.Nodes...)
	n.Exec("INSERT INTO t VALUES (-3, 'back again')")
	c.RequireConverged()
}

// TestPartOfADeadNode exists because the node that has to go is often the one
// that is broken: the others part it without it.
func TestPartOfADeadNode(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY)")
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	d.Exec("INSERT INTO t VALUES (1)")
	c.RequireConverged()
	d.Must(d.Kill9())
	b.Exec("SELECT bdr.part_node('node3')")
	for _, n := range []*pgtest.Node{a, b} {
		n.Wait(clustertest.ResumeLimit, "SELECT peer_state_name FROM bdr.node_summary WHERE node_name = 'node3'", "PARTED")
		n.Wait(clustertest.ResumeLimit, leftovers, "2 2") // one slot keeps dead rows, one origin is for messages
	}
	a.Exec("SELECT bdr.drop_node('node3')")
	b.Wait(clustertest.ResumeLimit, nodeNamed3, "0")
	a.Exec("INSERT INTO t VALUES (2)")
	c.RequireConvergedAmong(a, b)
}

// TestPartWaitsForAPausedSubscription exists because a node whose subscription
// is paused lacks changes of the node that leaves. The part waits for it; when
// it is resumed in time, the survivors are equal.
func TestPartWaitsForAPausedSubscription(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY)")
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	pause := "(SELECT sub_name FROM bdr.subscription_summary WHERE origin_name = 'node3')"
	b.Exec("SELECT bdr.alter_subscription_disable(" + pause + ", immediate := true)")
	d.Exec("INSERT INTO t SELECT generate_series(1, 1000)")

	parted := make(chan error, 1)
	go func() { parted <- a.Try("SELECT bdr.part_node('node3')") }()
	a.Wait(clustertest.ResumeLimit, "SELECT bdr_subscription_mode FROM bdr.subscription_summary WHERE origin_name = 'node3'", "e")
	if got := b.Value("SELECT count(*) FROM t"); got != "0" {
		t.Errorf("a paused subscription applied %s rows", got)
	}
	b.Exec("SELECT bdr.alter_subscription_enable(" + pause + ", immediate := true)")
	a.Must(<-parted)
	c.RequireConvergedAmong(a, b)
	if got := b.Value("SELECT count(*) FROM t"); got != "1000" {
		t.Errorf("%s rows, expected 1000", got)
	}
}

// TestLastNode exists because somebody must be able to go back: the last node
// of a group ends it, and the database is an ordinary one.
func TestLastNode(t *testing.T) {
	c := pgtest.NewCluster(t, 1)
	n := c.Nodes[0]
	n.Exec("CREATE TABLE t (id int PRIMARY KEY, who text)")
	call := "SELECT bdr.part_node('node1', wait_for_completion := false)"
	clustertest.RequireRefusal(t, n, clustertest.Refused("", call, clustertest.WrongState, "last", "drop_node"))
	n.Exec("SELECT bdr.drop_node('node1')")
	requireCleanDrop(t, n)
	n.Exec("CREATE EXTENSION bdr")
	n.CreateNode()
	n.Exec("SELECT bdr.create_node_group('again')", "SELECT bdr.wait_for_join_completion()")
}
