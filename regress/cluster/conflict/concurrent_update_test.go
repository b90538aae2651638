package conflict

import (
	"fmt"
	"slices"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestOnlyConcurrentUpdatesAreConflicts exists because most rows that one node
// updates were last written by another one, long before: to call each of them a
// conflict hides the true ones, and costs a question each.
func TestOnlyConcurrentUpdatesAreConflicts(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, v text)")
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("INSERT INTO t SELECT i, 'first' FROM generate_series(1, 50) i")
	c.RequireConverged()
	t.Run("one_after_the_other", func(t *testing.T) {
		c := c.For(t)
		for round, n := range append(c.Nodes, c.Nodes...) {
			n.Exec(fmt.Sprintf("UPDATE t SET v = '%s %d'", n.Name, round))
			c.RequireConverged()
		}
		requireConflicts(t, c, "", "", "")
	})
	t.Run("streams_that_start_anew", func(t *testing.T) { concurrentRestart(t, c.For(t)) })
	t.Run("at_the_same_time", func(t *testing.T) {
		c := c.For(t)
		clustertest.Pause(t, c)
		a.For(t).Exec("UPDATE t SET v = 'earlier' WHERE id = 1")
		b.For(t).Exec("UPDATE t SET v = 'later' WHERE id = 1")
		c.ExecAll("SELECT bdr.alter_subscription_enable(immediate := true)")
		c.RequireConverged()
		requireConflicts(t, c, "update_origin_change apply_remote", "update_origin_change skip", thirdOfTwo(t, c))
		requireValue(t, c, 1, "later")
	})
	t.Run("the_third_knows_more_than_the_sender", func(t *testing.T) { concurrentThird(t, c.For(t)) })
}

// thirdOfTwo returns what node3 logged about two concurrent updates of others:
// which came first is open, and as the streams have just started, the first may
// count as a conflict, too (docs/conflicts.md).
func thirdOfTwo(t *testing.T, c *pgtest.Cluster) string {
	got := c.Nodes[2].Value(`SELECT string_agg(conflict_type || ' ' || conflict_resolution, ', ' ORDER BY local_time) FROM bdr.conflict_history`)
	known := []string{"update_origin_change apply_remote", "update_origin_change skip",
		"update_origin_change apply_remote, update_origin_change apply_remote", "update_origin_change apply_remote, update_origin_change skip"}
	if !slices.Contains(known, got) {
		t.Errorf("node3 logged %q", got)
	}
	return got
}

// The sender tells at the start of a stream what it has, even when the other
// node has been silent since: also in what has waited to be sent.
func concurrentRestart(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("UPDATE t SET v = 'before'")
	c.RequireConverged()
	forgetCatchUp(t, c)
	clustertest.Pause(t, c)
	b.Exec("UPDATE t SET v = 'waits'")
	c.ExecAll("SELECT bdr.alter_subscription_enable(immediate := true)")
	c.RequireConverged()
	a.Exec("UPDATE t SET v = 'before'")
	c.RequireConverged()
	for _, n := range c.Nodes {
		if _, err := n.Stop(pgtest.Fast); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range c.Nodes {
		n.Must(n.Start())
	}
	c.WaitMesh(c.Nodes...)
	b.Exec("UPDATE t SET v = 'after'")
	c.RequireConverged()
	requireConflicts(t, c, "", "", "")
}

// forgetCatchUp returns when no stream would start early enough to decode again
// what has been applied so far.
func forgetCatchUp(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	for _, n := range c.Nodes {
		next := n.Value("SELECT pg_current_xact_id()")
		pgtest.Eventually(t, clustertest.ResumeLimit, "catalog_xmin of "+n.Name+" passes "+next, func() (bool, string) {
			n.Exec("CHECKPOINT", "SELECT pg_logical_emit_message(true, 'test', 'passes by')")
			behind := n.Value(fmt.Sprintf(`SELECT count(*) FROM pg_replication_slots
				WHERE plugin = 'bdr_output' AND catalog_xmin::text::bigint <= %s`, next))
			return behind == "0", behind + " slots are behind"
		})
	}
}

// node2 does not get what node1 writes, node3 does. So node2 updates a row of
// which node3 has a version that node2 has not seen.
func concurrentThird(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("TRUNCATE bdr.conflict_history")
	subscription := b.Value("SELECT sub_name FROM bdr.subscription_summary WHERE origin_name = 'node1'")
	b.Exec(fmt.Sprintf("SELECT bdr.alter_subscription_disable('%s', immediate := true)", subscription))
	pgtest.Eventually(t, clustertest.ResumeLimit, "one writer runs on node2", func() (bool, string) {
		writers := b.ProcessesTitled(clustertest.WriterTitle)
		return len(writers) == 1, fmt.Sprint(writers)
	})
	a.Exec("UPDATE t SET v = 'of node1' WHERE id = 2")
	c.Nodes[2].Wait(clustertest.ResumeLimit, "SELECT v FROM t WHERE id = 2", "of node1")
	b.Exec("UPDATE t SET v = 'of node2' WHERE id IN (2, 3)")
	c.Nodes[2].Wait(clustertest.ResumeLimit, "SELECT v FROM t WHERE id = 2", "of node2")
	b.Exec(fmt.Sprintf("SELECT bdr.alter_subscription_enable('%s', immediate := true)", subscription))
	c.RequireConverged()
	requireConflicts(t, c, "update_origin_change apply_remote", "update_origin_change skip", "update_origin_change apply_remote")
	requireValue(t, c, 2, "of node2")
}

// requireConflicts compares what each node logged since the last time, and that
// it counted as many.
func requireConflicts(t *testing.T, c *pgtest.Cluster, want ...string) {
	t.Helper()
	for i, n := range c.Nodes {
		got := n.Value(`SELECT coalesce(string_agg(conflict_type || ' ' || conflict_resolution, ', ' ORDER BY local_time), '')
			FROM bdr.conflict_history`)
		if got != want[i] {
			t.Errorf("%s logged %q, expected %q", n.Name, got, want[i])
		}
	}
	c.ExecAll("TRUNCATE bdr.conflict_history")
}

func requireValue(t *testing.T, c *pgtest.Cluster, id int, want string) {
	t.Helper()
	for _, n := range c.Nodes {
		if got := n.Value(fmt.Sprintf("SELECT v FROM t WHERE id = %d", id)); got != want {
			t.Errorf("%s: row %d is %q, expected %q", n.Name, id, got, want)
		}
	}
}
