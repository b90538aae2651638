package operate

import (
	"fmt"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// counted is what node2 says that it applied to a table.
const counted = `SELECT coalesce((SELECT format('%%s %%s %%s %%s, %%s conflicts', ninsert, nupdate, ndelete, ntruncate, nconflict)
	FROM bdr.stat_relation WHERE nspname = 'public' AND relname = '%s'), 'nothing')`

// TestRelationStatistics exists because counters are believed: what was rolled
// back and applied again must be in them once, and a reset must start from zero.
func TestRelationStatistics(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	require := func(t *testing.T, table, want string) {
		t.Helper()
		b.For(t).Wait(clustertest.ResumeLimit, fmt.Sprintf(counted, table), want)
	}
	t.Run("kinds", func(t *testing.T) {
		c := c.For(t)
		c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE TABLE u (id int PRIMARY KEY, v text)")
		a.Exec("INSERT INTO t SELECT i, 'x' FROM generate_series(1, 10) i", "UPDATE t SET v = 'y' WHERE id < 5", "DELETE FROM t WHERE id > 7",
			"BEGIN; INSERT INTO u VALUES (1, 'x'); UPDATE t SET v = 'z' WHERE id = 6; TRUNCATE t, u; INSERT INTO u VALUES (2, 'y'); COMMIT",
			"BEGIN; INSERT INTO u VALUES (3, 'x'); ROLLBACK")
		c.RequireConverged()
		require(t, "t", "10 5 3 1, 0 conflicts")
		require(t, "u", "2 0 0 1, 0 conflicts")
	})
	t.Run("applied_again", func(t *testing.T) { statisticsOfRedo(t, c.For(t), require) })
	t.Run("reset", func(t *testing.T) { statisticsReset(t, c.For(t), require) })
	t.Run("rights", func(t *testing.T) {
		b := b.For(t)
		b.Exec("CREATE ROLE monitor", "CREATE ROLE nobody", "GRANT bdr_read_all_stats TO monitor")
		if got := b.Value("SET LOCAL ROLE monitor; SELECT count(*) > 0 FROM bdr.stat_relation"); got != "t" {
			t.Errorf("bdr_read_all_stats sees rows: %s", got)
		}
		for _, call := range []string{"SET LOCAL ROLE nobody; SELECT * FROM bdr.stat_relation", "SET LOCAL ROLE nobody; SELECT * FROM bdr.get_relation_stats()",
			"SET LOCAL ROLE monitor; SELECT bdr.reset_relation_stats()", "SET LOCAL ROLE monitor; SELECT bdr.reset_subscription_stats()"} {
			if e := pgtest.PgError(b.Try(call)); e == nil || e.Code != clustertest.NotPermitted {
				t.Errorf("%s: %v", call, e)
			}
		}
	})
}

// A unique violation makes the writer start over: the whole transaction, and of
// a large one its last part.
func statisticsOfRedo(t *testing.T, c *pgtest.Cluster, require func(*testing.T, string, string)) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE small (id int PRIMARY KEY, v text)", "CREATE TABLE large (id int PRIMARY KEY, v text)")
	clustertest.Pause(t, c)
	b.Exec("INSERT INTO small VALUES (3, 'earlier')", "INSERT INTO large VALUES (3000, 'earlier')")
	a.Exec("INSERT INTO small SELECT i, 'later' FROM generate_series(1, 5) i",
		"BEGIN; INSERT INTO small VALUES (6, 'more'); ALTER TABLE large ALTER v SET STORAGE EXTERNAL; INSERT INTO large SELECT i, repeat('x', 4000) FROM generate_series(1, 3000) i; COMMIT")
	c.ExecAll("SELECT bdr.alter_subscription_enable(immediate := true)")
	c.RequireConverged()
	require(t, "small", "6 0 0 0, 1 conflicts")
	require(t, "large", "3000 0 0 0, 1 conflicts")
}

func statisticsReset(t *testing.T, c *pgtest.Cluster, require func(*testing.T, string, string)) {
	a, b := c.Nodes[0], c.Nodes[1]
	const subscription = "SELECT format('%s %s %s', ncommit, ninsert, nconflict) FROM bdr.stat_subscription"
	if got := b.Value("SELECT count(*) FROM bdr.stat_subscription WHERE stats_reset IS NULL AND nconflict = 2 AND ninsert = 3018"); got != "1" {
		t.Errorf("before the reset: %v", b.Rows("SELECT to_json(s) FROM bdr.stat_subscription s"))
	}
	c.ExecAll("DROP TABLE u")
	for _, function := range []string{"reset_relation_stats", "reset_subscription_stats"} {
		if got := b.Value("SELECT bdr." + function + "()"); got != "t" {
			t.Errorf("%s: %s", function, got)
		}
	}
	require(t, "t", "0 0 0 0, 0 conflicts")
	if got := b.Value("SELECT count(*) FROM bdr.get_relation_stats() WHERE relid NOT IN (SELECT oid FROM pg_class) OR stats_reset IS NULL"); got != "0" {
		t.Errorf("%s tables have been dropped or were not reset", got)
	}
	b.Wait(clustertest.ResumeLimit, subscription, "0 0 0")
	a.Exec("INSERT INTO t VALUES (1, 'after')")
	c.RequireConverged()
	require(t, "t", "1 0 0 0, 0 conflicts")
	b.Wait(clustertest.ResumeLimit, subscription, "1 1 0")
	if got := b.Value("SELECT stats_reset < clock_timestamp() FROM bdr.stat_subscription"); got != "t" {
		t.Errorf("stats_reset is in the past: %s", got)
	}
}
