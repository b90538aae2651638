package conflict

import (
	"fmt"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// clash is two transactions that do not know of each other: the first on
// node1, the second, later one on node2.
type clash struct {
	name          string
	prepare       string // on node1, replicated before the clash
	first, second string
	want          string // the rows of t on both nodes afterwards
	onFirst       string // what node1 writes to its history: types and resolutions
	onSecond      string
}

// TestConflicts exists because both nodes must come to the same row without
// talking to each other, and say what they did. Later commits win, and what
// is gone stays gone; every type is in resolvers_test.go.
func TestConflicts(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, v text)")
	for _, k := range []clash{
		{"insert_exists", "", "INSERT INTO t VALUES (1, 'earlier')", "INSERT INTO t VALUES (1, 'later')",
			"1 later", "insert_exists apply_remote", "insert_exists skip"},
		{"update_origin_change", "INSERT INTO t VALUES (1, 'old')", "UPDATE t SET v = 'earlier'", "UPDATE t SET v = 'later'",
			"1 later", "update_origin_change apply_remote", "update_origin_change skip"},
		{"delete_missing", "INSERT INTO t VALUES (1, 'old'), (2, 'stays')", "DELETE FROM t WHERE id = 1", "DELETE FROM t WHERE id = 1",
			"2 stays", "delete_missing skip", "delete_missing skip"},
	} {
		t.Run(k.name, func(t *testing.T) { requireClash(t, c.For(t), k) })
	}
}

func requireClash(t *testing.T, c *pgtest.Cluster, k clash) {
	a, b := c.Nodes[0], c.Nodes[1]
	if k.prepare != "" {
		a.Exec(k.prepare)
	}
	c.RequireConverged()
	c.ExecAll("TRUNCATE bdr.conflict_history", "SELECT bdr.alter_subscription_disable(immediate := true)")
	for _, n := range c.Nodes {
		pgtest.Eventually(t, clustertest.ResumeLimit, "no writer runs", func() (bool, string) {
			writers := n.ProcessesTitled(clustertest.WriterTitle)
			return len(writers) == 0, fmt.Sprint(writers)
		})
	}
	a.Exec(k.first)
	b.Exec(k.second)
	c.ExecAll("SELECT bdr.alter_subscription_enable(immediate := true)")
	c.RequireConverged()
	if got := a.Value("SELECT coalesce(string_agg(id || ' ' || v, ', ' ORDER BY id), '') FROM t"); got != k.want {
		t.Errorf("the row in the end: %q, expected %q", got, k.want)
	}
	requireHistory(t, a, k.onFirst)
	requireHistory(t, b, k.onSecond)
	a.Exec("TRUNCATE t")
	c.RequireConverged()
}

func requireHistory(t *testing.T, n *pgtest.Node, want string) {
	t.Helper()
	const query = `SELECT string_agg(conflict_type || ' ' || conflict_resolution, ', ' ORDER BY local_time) FROM bdr.conflict_history`
	if got := n.Value(query); got != want {
		t.Errorf("%s: history has %q, expected %q", n.Name, got, want)
	}
	const complete = `SELECT count(*) FROM bdr.conflict_history h JOIN bdr.subscription s USING (sub_id)
		WHERE h.nspname = 'public' AND h.relname = 't' AND h.reloid = 't'::regclass AND conflict_rule <> ''
		AND remote_xid IS NOT NULL AND remote_commit_lsn IS NOT NULL AND remote_commit_time < clock_timestamp()
		AND h.origin_node_id = s.origin_node_id AND coalesce(key_tuple, remote_tuple)->>'id' IS NOT NULL
		AND (remote_tuple IS NOT NULL) = (conflict_type NOT LIKE 'delete%')
		AND (conflict_type LIKE '%_missing' OR local_tuple->>'id' IS NOT NULL AND local_tuple_commit_time IS NOT NULL)`
	if got := n.Value(complete); got != "1" {
		t.Errorf("%s: the history row is not complete: %v", n.Name, n.Rows("SELECT to_json(h) FROM bdr.conflict_history h"))
	}
}

// TestManyConflictsConverge exists because single conflicts are easy: three nodes
// that write the same few rows all the time meet in every order of arrival, and
// must agree on every row in the end.
func TestManyConflictsConverge(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	c.ExecAll(clustertest.LoadTables...)
	writers := clustertest.StartLoad(c.Nodes...)
	for _, n := range c.Nodes {
		writers.AddShared(n)
	}
	writers.WaitCommits(t, 6000)
	writers.End(t)
	c.RequireConverged()
	total := 0
	for _, n := range c.Nodes {
		rows := n.Rows("SELECT conflict_type, conflict_resolution, count(*) FROM bdr.conflict_history GROUP BY 1, 2 ORDER BY 1, 2")
		t.Logf("%s: %v", n.Name, rows)
		total += len(rows)
	}
	if total == 0 {
		t.Error("no node met a conflict: the test tests nothing")
	}
}
