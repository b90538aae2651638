package join

import (
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestJoinUnderLoad exists because a cluster that must stand still while a node
// joins is not one that users can grow. pgbench and keyed writers run on every
// existing node during each join; afterwards nothing is lost and nothing
// doubled: pgbench_history has no key, so a change that is applied twice, or
// both copied and applied, makes the nodes differ.
func TestJoinUnderLoad(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithMembers(0))
	first := c.Nodes[0]
	first.Pgbench("-i", "-q", "-s", "3")
	first.Exec(clustertest.LoadTables...)
	first.Exec("CREATE SEQUENCE counter", "SELECT setval('counter', 4711)",
		"CREATE TABLE big (id int PRIMARY KEY, t text)",
		"INSERT INTO big SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 20000) g",
		"CREATE VIEW look AS SELECT count(*) FROM big", "CREATE INDEX big_t ON big (md5(t))",
		"CREATE TABLE parent (id int PRIMARY KEY)", "CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent)",
		"INSERT INTO parent SELECT g FROM generate_series(1, 100) g", "INSERT INTO child SELECT g, g % 100 + 1 FROM generate_series(1, 500) g")
	c.Member(0)
	first.Exec(historyOf("before"))

	// Rates that leave the two cores of a small machine some air.
	writers := clustertest.StartLoadAt(500, first)
	bench := []string{"-c", "2", "-T", "600", "-R", "300"}
	benches := []*pgtest.Pgbench{first.StartPgbench(bench...)}
	for i, n := range c.Nodes[1:] {
		writers.WaitCommits(t, 50)
		c.Member(i + 1)
		n.Wait(clustertest.ResumeLimit, "SELECT peer_state_name FROM bdr.local_node_summary", "ACTIVE")
		writers.AddOwn(n)
		writers.AddShared(n)
		benches = append(benches, n.StartPgbench(bench...))
	}
	c.WaitMesh(c.Nodes...)
	writers.WaitCommits(t, 500)
	for _, b := range benches {
		b.Stop()
	}
	writers.End(t)
	c.RequireConverged()
	writers.RequireAcknowledged(t, c.Nodes...)
	requireSameObjects(t, c)
}

// historyOf is one more row without a key, to be copied exactly once.
func historyOf(what string) string {
	return "INSERT INTO pgbench_history (tid, bid, aid, delta, filler) VALUES (0, 0, 0, 0, '" + what + "')"
}

// requireSameObjects compares what is not rows: a join copies the schema and
// the sequences, and leaves nothing of its own behind.
func requireSameObjects(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	const objects = `SELECT string_agg(c.relkind::text || ' ' || c.oid::regclass, ', ' ORDER BY c.relkind, c.oid::regclass::text)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public'`
	want := c.Nodes[0].Value(objects)
	for _, n := range c.Nodes {
		if got := n.Value(objects); got != want {
			t.Errorf("%s has other objects:\n%s\n%s", n.Name, got, want)
		}
		if got := n.Value("SELECT last_value FROM counter"); got != "4711" {
			t.Errorf("%s: the sequence stands at %s", n.Name, got)
		}
		n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM pg_replication_slots WHERE plugin = 'bdr_output'", "2")
		n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM pg_replication_origin", "3") // of the others, and for messages
	}
}
