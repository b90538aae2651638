package mixed

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
)

// TestMembership exists because membership is one log of commands that all majors
// read: each can lead, and be parted and dropped by each other one, and what one of
// them shows of its peers does not depend on their major versions.
func TestMembership(t *testing.T) {
	for name, leaves := range map[string][][2]int{ // places of who leaves and who says so
		"newest_leave": {{2, 0}, {1, 0}}, "oldest_leave": {{0, 2}, {1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := pgtest.NewCluster(t, 3, pgtest.WithMajors(15, 17, 18))
			c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, note text)")
			for i, n := range c.Nodes {
				lead(c, n)
				n.Exec(fmt.Sprintf("INSERT INTO t VALUES (%d, 'of the leader %s')", i, n.Name))
			}
			c.RequireConverged()
			requireSameGroup(c.Nodes...)
			requireViews(t, c.Nodes...)
			left := slices.Clone(c.Nodes)
			for _, l := range leaves {
				leaving := c.Nodes[l[0]]
				left = slices.DeleteFunc(left, func(n *pgtest.Node) bool { return n == leaving })
				leave(c, leaving, c.Nodes[l[1]], left)
			}
		})
	}
}

// leave parts and drops a node; the others stay.
func leave(c *pgtest.Cluster, leaving, by *pgtest.Node, left []*pgtest.Node) {
	by.Exec(fmt.Sprintf("SELECT bdr.part_node('%s')", leaving.Name))
	for _, n := range left {
		n.Wait(time.Minute, "SELECT peer_state_name FROM bdr.node_summary WHERE node_name = '"+leaving.Name+"'", "PARTED")
	}
	leaving.Wait(time.Minute, "SELECT count(*) FROM pg_replication_slots", "0")
	by.Exec(fmt.Sprintf("SELECT bdr.drop_node('%s')", leaving.Name))
	for _, n := range left {
		n.Wait(time.Minute, "SELECT count(*) FROM bdr.node_summary", fmt.Sprint(len(left)))
		n.Wait(time.Minute, "SELECT count(*) FROM pg_replication_origin WHERE roname ~ '^bdr_[0-9]+_[0-9]+$'", fmt.Sprint(len(left)-1))
	}
	c.WaitMesh(left...)
	by.Exec(fmt.Sprintf("INSERT INTO t VALUES (%d, 'without %s')", 10+len(left), leaving.Name))
	c.RequireConvergedAmong(left...)
}

// lead has the group elect this node.
func lead(c *pgtest.Cluster, wanted *pgtest.Node) {
	for range 20 {
		leader := wanted.Value("SELECT coalesce(max(leader_name), '') FROM bdr.get_raft_status()")
		if leader == wanted.Name {
			return
		}
		for _, n := range c.Nodes {
			if n.Name == leader {
				n.Must(n.Restart())
			}
		}
		wanted.Wait(time.Minute, "SELECT count(*) FROM bdr.get_raft_status() WHERE leader_name <> '' AND leader_name <> '"+leader+"'", "1")
	}
	wanted.Must(fmt.Errorf("does not become the leader"))
}

// requireSameGroup waits until the nodes know the same of each other.
func requireSameGroup(nodes ...*pgtest.Node) {
	const query = "SELECT string_agg(concat_ws(' ', node_name, peer_state_name), ', ' ORDER BY node_name) FROM bdr.node_summary"
	for _, n := range nodes[1:] {
		n.Wait(time.Minute, query, nodes[0].Value(query))
	}
}

// requireViews reads every view of ours, with peers of other majors.
func requireViews(t *testing.T, nodes ...*pgtest.Node) {
	t.Helper()
	for _, n := range nodes {
		views := n.Rows("SELECT relname FROM pg_class WHERE relnamespace = 'bdr'::regnamespace AND relkind = 'v'")
		if len(views) < 10 {
			t.Errorf("%s: only %d views", n.Name, len(views))
		}
		for _, v := range views {
			if err := n.Try("SELECT * FROM bdr." + v[0]); err != nil {
				t.Errorf("%s: %s: %s", n.Name, v[0], pgtest.Explain(err))
			}
		}
		n.Wait(time.Minute, "SELECT count(*) FROM bdr.subscription_summary WHERE subscription_status = 'replicating'", "2")
		n.Wait(time.Minute, "SELECT count(*) FROM bdr.node_slots WHERE state = 'streaming'", "2")
	}
}
