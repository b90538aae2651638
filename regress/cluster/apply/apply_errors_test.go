package apply

import (
	"fmt"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// A mistake makes a change of one node fail on another one, until it is put
// right.
type mistake struct {
	name     string
	make     string // on the applying node
	change   string // on the other one, in one transaction
	sqlstate string
	relation string // that the error names; <NULL>: none, it came at commit
	number   string // of the change
	end      string // on the applying node
}

const raisingFunction = `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '%s'; END $$; `

var mistakes = []mistake{
	{"check", "ALTER TABLE t ADD CONSTRAINT low CHECK (n < 100)", "INSERT INTO u VALUES (1); INSERT INTO t VALUES (1, 'a', 1); INSERT INTO t VALUES (2, 'b', 100)",
		"23514", "t", "3", "ALTER TABLE t DROP CONSTRAINT low"},
	{"not_null", "ALTER TABLE t ALTER v SET NOT NULL", "INSERT INTO t VALUES (3, NULL, 1)",
		"23502", "t", "1", "ALTER TABLE t ALTER v DROP NOT NULL"},
	{"missing_table", "ALTER TABLE u RENAME TO away", "INSERT INTO u VALUES (2)",
		"42P01", "u", "1", "ALTER TABLE away RENAME TO u"},
	{"unreadable_value", "ALTER TABLE t ALTER v TYPE int USING 0", "UPDATE t SET v = 'x' WHERE id = 1",
		"22P02", "t", "1", "ALTER TABLE t ALTER v TYPE text; UPDATE t SET v = CASE id WHEN 1 THEN 'a' WHEN 2 THEN 'b' END"},
	{"disk_full", fmt.Sprintf(raisingFunction, "disk_full") + `CREATE TRIGGER refuse BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION refuse();
		ALTER TABLE t ENABLE REPLICA TRIGGER refuse`, "DELETE FROM t WHERE id = 3",
		"53100", "t", "1", "DROP FUNCTION refuse CASCADE"},
	{"out_of_memory_at_commit", fmt.Sprintf(raisingFunction, "out_of_memory") + `CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON t
		DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse(); ALTER TABLE t ENABLE ALWAYS TRIGGER refuse`,
		"INSERT INTO t VALUES (4, 'd', 4); INSERT INTO u VALUES (3)",
		"53200", pgtest.Null, "2", "DROP FUNCTION refuse CASCADE"},
}

// TestApplyErrors exists because any local change of a schema may make a peer's
// change fail. The administrator must see which change of which transaction it
// is; everybody else must go on; and when the cause is gone so must this
// subscription, without help, with nothing lost or doubled.
func TestApplyErrors(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithSettings(clustertest.QuickRetries))
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, v text, n int)", "CREATE TABLE u (id int PRIMARY KEY)", "CREATE TABLE other (id int PRIMARY KEY)")
	for i, m := range mistakes {
		t.Run(m.name, func(t *testing.T) { requireMistake(t, c.For(t), i, m) })
	}
	t.Run("manager_restarts", func(t *testing.T) {
		c, a, b := c.For(t), c.Nodes[0].For(t), c.Nodes[1].For(t)
		b.Exec("ALTER TABLE u ADD CONSTRAINT none CHECK (id <> 100)")
		a.Exec("INSERT INTO u VALUES (100)")
		waitFailure(b, a, "23514")
		b.Exec(fmt.Sprintf("SELECT pg_terminate_backend(%d)", clustertest.OnlyProcess(t, b, clustertest.ManagerTitle).PID))
		waitFailure(b, a, "23514")
		b.Exec("ALTER TABLE u DROP CONSTRAINT none")
		c.WaitMesh(c.Nodes...)
		c.RequireConverged()
	})
}

func requireMistake(t *testing.T, c *pgtest.Cluster, i int, m mistake) {
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	c.RequireConverged()
	b.Exec("TRUNCATE bdr.event_history", m.make)
	c.WaitDrained(c.Nodes...)
	a.Exec("BEGIN; CREATE TEMP TABLE IF NOT EXISTS me (xid xid8); TRUNCATE me; INSERT INTO me SELECT pg_current_xact_id();" + m.change + "; COMMIT")
	xid := a.Value("SELECT xid::text::bigint % (1::bigint << 32) FROM me")

	waitFailure(b, a, m.sqlstate)
	where := b.Rows(`SELECT coalesce(remote_relname, '<NULL>'), remote_change_nr, remote_xid, remote_end_lsn, worker_role, error_context
		FROM bdr.worker_errors`)[0]
	if got, want := strings.Join(where[:3], " "), m.relation+" "+m.number+" "+xid; got != want || where[4] != "writer" {
		t.Errorf("the error is about %q, expected %q: %v", got, want, where)
	}
	for _, part := range []string{"remote transaction " + xid, "finished at " + where[3], "alter_subscription_skip_changes_upto"} {
		if !b.LogContains(part) {
			t.Errorf("the log does not contain %q", part)
		}
	}
	b.Wait(clustertest.ResumeLimit, "SELECT error_retries >= 2 AND next_retry_time < error_time + interval '500 ms' FROM bdr.worker_errors", "t")
	b.Wait(clustertest.ResumeLimit, "SELECT retries_at_same_lsn >= 2 AND nerror >= 3 FROM bdr.stat_subscription JOIN bdr.worker_errors USING (sub_name)", "t")

	d.Exec(fmt.Sprintf("INSERT INTO other VALUES (%d)", i)) // the other peers go on, in all directions
	b.Exec(fmt.Sprintf("INSERT INTO other VALUES (%d)", -1-i))
	b.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT count(*) FROM other WHERE id = %d", i), "1")
	a.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT count(*) FROM other WHERE id IN (%d, %d)", i, -1-i), "2")
	a.Exec(fmt.Sprintf("INSERT INTO u VALUES (%d)", 1000+i))
	d.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT count(*) FROM u WHERE id = %d", 1000+i), "1")

	b.Exec(m.end)
	c.RequireConverged()
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.worker_errors", "0")
	b.Wait(clustertest.ResumeLimit, "SELECT string_agg(event_sub_type, ' ' ORDER BY event_time) FROM bdr.event_summary WHERE event_node_name = 'node2'", "error resumed")
}

// waitFailure returns when a change of one node has failed on another.
func waitFailure(on, from *pgtest.Node, sqlstate string) {
	on.Wait(clustertest.ResumeLimit, `SELECT error_sqlstate FROM bdr.worker_errors e JOIN bdr.subscription_summary s USING (sub_name)
		WHERE origin_name = '`+from.Name+"'", sqlstate)
}

// largeInsert writes 7000 rows in one transaction of about 13 MB, more than one
// unit (apply/transaction.c).
const largeInsert = "INSERT INTO t SELECT g, repeat(md5(g::text), 60), g FROM generate_series(1, 7000) g"

// TestErrorsInLargeTransactions exists because a large transaction is applied in
// parts that can be started over by themselves: an error in a later part, or at
// commit, must take all of it back, each time.
func TestErrorsInLargeTransactions(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(clustertest.QuickRetries))
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, v text, n int)")
	a, b := c.Nodes[0], c.Nodes[1]
	for _, m := range []mistake{
		{"in_the_last_part", "ALTER TABLE t ADD CONSTRAINT low CHECK (n < 6800)", largeInsert, "23514", "t", "6800", "ALTER TABLE t DROP CONSTRAINT low"},
		{"at_commit", fmt.Sprintf(raisingFunction, "P0001") + `CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON t
			DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.id = 6999) EXECUTE FUNCTION refuse(); ALTER TABLE t ENABLE ALWAYS TRIGGER refuse`,
			largeInsert, "P0001", pgtest.Null, "7000", "DROP FUNCTION refuse CASCADE"},
		// the code of a conflict: the writer must not try to start over what has ended
		{"unique_at_commit", fmt.Sprintf(raisingFunction, "unique_violation") + `CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON t
			DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.id = 6999) EXECUTE FUNCTION refuse(); ALTER TABLE t ENABLE ALWAYS TRIGGER refuse`,
			largeInsert, "23505", pgtest.Null, "7000", "DROP FUNCTION refuse CASCADE"},
		// rows that are here already are conflicts, not errors; but the error comes after them
		{"after_conflicts", "ALTER TABLE t ADD CONSTRAINT low CHECK (n < 6800); INSERT INTO t VALUES (5, 'here', -5), (6500, 'here', -6)",
			largeInsert, "23514", "t", "6800", "ALTER TABLE t DROP CONSTRAINT low"},
	} {
		t.Run(m.name, func(t *testing.T) {
			c, a, b := c.For(t), a.For(t), b.For(t)
			c.ExecAll("SELECT bdr.alter_subscription_disable()")
			b.Exec(m.make)
			a.Exec(m.change)
			c.ExecAll("SELECT bdr.alter_subscription_enable()")
			waitFailure(b, a, m.sqlstate)
			where := b.Rows("SELECT coalesce(remote_relname, '<NULL>'), remote_change_nr FROM bdr.worker_errors")
			if len(where) != 1 || where[0][0] != m.relation || where[0][1] != m.number {
				t.Errorf("the error is about %v", where)
			}
			if m.name == "in_the_last_part" { // a crash in the middle of a try
				b.KillProcess(waitWriter(t, b))
				waitFailure(b, a, m.sqlstate)
			}
			b.Wait(clustertest.ResumeLimit, "SELECT error_retries >= 1 FROM bdr.worker_errors", "t")
			if got := b.Value("SELECT count(*) FROM t WHERE id > 0 AND v <> 'here'"); got != "0" {
				t.Errorf("%s rows of an unfinished transaction are visible", got)
			}
			b.Exec(m.end)
			c.WaitMesh(a, b)
			c.RequireConverged()
			if got := b.Value("SELECT count(*) || ' ' || count(*) FILTER (WHERE id > 0) FROM t"); got != "7000 7000" {
				t.Errorf("%s rows", got)
			}
			a.Exec("TRUNCATE t")
			c.RequireConverged()
		})
	}
}

// waitWriter returns a writer that runs.
func waitWriter(t *testing.T, n *pgtest.Node) (found pgtest.Process) {
	t.Helper()
	pgtest.Eventually(t, clustertest.ResumeLimit, "a writer runs on "+n.Name, func() (bool, string) {
		all := n.ProcessesTitled(clustertest.WriterTitle)
		if len(all) > 0 {
			found = all[0]
		}
		return len(all) > 0, fmt.Sprint(n.Processes())
	})
	return found
}
