package operate

import (
	"fmt"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestLocalChanges exists because a change that must stay on its node and one
// that must not look the same in the WAL but for their origin: one that leaks
// undoes a repair, one that is held back makes nodes differ for ever.
func TestLocalChanges(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE ROLE joe")
	for _, part := range []struct {
		name string
		run  func(*testing.T, *pgtest.Cluster)
	}{
		{"transactions", testLocalTransactions},
		{"refusals", testLocalRefusals},
		{"version_survives_a_crash", testLocalVersion},
		{"repair", testRepair},
		{"repair_loses", testRepairLoses},
		{"repair_sessions", testRepairSessions},
		{"repair_refusals", testRepairRefusals},
	} {
		t.Run(part.name, func(t *testing.T) {
			c := c.For(t)
			for _, n := range c.Nodes {
				n.Exec("BEGIN; SET LOCAL bdr.xact_replication = off; TRUNCATE t; COMMIT")
			}
			part.run(t, c)
		})
	}
}

// requireRows drains all links and compares table t of one node.
func requireRows(t *testing.T, c *pgtest.Cluster, n *pgtest.Node, want string) {
	t.Helper()
	c.WaitDrained(c.Nodes...)
	if got := n.Value(clustertest.AllRows + "t"); got != want {
		t.Errorf("%s has %q, expected %q", n.Name, got, want)
	}
}

// testLocalTransactions: each case runs on the first node alone; sent is what
// the second one must have of it.
func testLocalTransactions(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	for _, k := range []struct{ name, sql, here, sent string }{
		{"insert", clustertest.Local + "INSERT INTO t VALUES (1, 'x'); COMMIT", "(1,x)", ""},
		{"the next one is sent", "INSERT INTO t VALUES (2, 'x')", "(1,x) (2,x)", "(2,x)"},
		{"update", clustertest.Local + "UPDATE t SET v = 'y'; COMMIT", "(1,y) (2,y)", "(2,x)"},
		{"delete", clustertest.Local + "DELETE FROM t WHERE id = 2; COMMIT", "(1,y)", "(2,x)"},
		{"truncate", clustertest.Local + "TRUNCATE t; COMMIT", "", "(2,x)"},
		{"the next truncate is sent", "TRUNCATE t", "", ""},
		{"abort", clustertest.Local + "INSERT INTO t VALUES (3, 'x'); ROLLBACK; INSERT INTO t VALUES (4, 'x')", "(4,x)", "(4,x)"},
		{"released savepoint", "BEGIN; SAVEPOINT s; SET LOCAL bdr.xact_replication = off; RELEASE s; INSERT INTO t VALUES (5, 'x'); COMMIT",
			"(4,x) (5,x)", "(4,x)"},
		{"rolled back savepoint", `BEGIN; SAVEPOINT s; SET LOCAL bdr.xact_replication = off; INSERT INTO t VALUES (6, 'x');
			ROLLBACK TO s; INSERT INTO t VALUES (7, 'x'); COMMIT`, "(4,x) (5,x) (7,x)", "(4,x) (7,x)"},
		{"savepoints within", clustertest.Local + `SAVEPOINT s; INSERT INTO t VALUES (8, 'x'); ROLLBACK TO s; SAVEPOINT s2;
			INSERT INTO t VALUES (9, 'x'); RELEASE s2; COMMIT`, "(4,x) (5,x) (7,x) (9,x)", "(4,x) (7,x)"},
		{"prepare", clustertest.Local + "INSERT INTO t VALUES (10, 'x'); PREPARE TRANSACTION 'p'; INSERT INTO t VALUES (11, 'x')",
			"(4,x) (5,x) (7,x) (9,x) (11,x)", "(4,x) (7,x) (11,x)"},
		{"commit prepared", "COMMIT PREPARED 'p'", "(4,x) (5,x) (7,x) (9,x) (10,x) (11,x)", "(4,x) (7,x) (11,x)"},
		{"off and on before it writes", clustertest.Local + "SET LOCAL bdr.xact_replication = on; DELETE FROM t; COMMIT", "", ""},
		{"in a function", `DO $$BEGIN PERFORM set_config('bdr.xact_replication', 'off', true); INSERT INTO t VALUES (12, 'x'); END$$;
			INSERT INTO t VALUES (13, 'x')`, "(12,x) (13,x)", ""},
		{"after it", "INSERT INTO t VALUES (14, repeat('x', 3))", "(12,x) (13,x) (14,xxx)", "(14,xxx)"},
	} {
		a.Exec(k.sql)
		requireRows(t, c, a, k.here)
		requireRows(t, c, b, k.sent)
		if t.Failed() {
			t.Fatal(k.name)
		}
		if got := a.Value("SHOW bdr.xact_replication"); got != "on" {
			t.Errorf("%s: the setting is %s afterwards", k.name, got)
		}
	}
}

// testLocalRefusals: what would replicate half of a transaction, or keep a
// session from replicating, is an error, and nothing of it is kept.
func testLocalRefusals(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("INSERT INTO t VALUES (1, 'x')")
	const off = "SET bdr.xact_replication = off"
	for _, k := range []struct{ sql, code, message string }{
		{off, "55P02", "for a session"},
		{"BEGIN; " + off + "; INSERT INTO t VALUES (2, 'x'); COMMIT", "55P02", "for a session"},
		{"BEGIN; " + off + "; SET LOCAL bdr.xact_replication = off; INSERT INTO t VALUES (2, 'x'); COMMIT", "55P02", "for a session"},
		{"BEGIN; " + off + "; SET LOCAL bdr.xact_replication = on; INSERT INTO t VALUES (2, 'x'); COMMIT", "55P02", "for a session"},
		{"SELECT set_config('bdr.xact_replication', 'off', false)", "55P02", "for a session"},
		{"BEGIN; INSERT INTO t VALUES (2, 'x'); SET LOCAL bdr.xact_replication = off; COMMIT", "55P02", "cannot turn off"},
		{clustertest.Local + "INSERT INTO t VALUES (2, 'x'); SET LOCAL bdr.xact_replication = on; COMMIT", "55P02", "cannot turn on"},
		{clustertest.Local + "INSERT INTO t VALUES (2, 'x'); RESET bdr.xact_replication; INSERT INTO t VALUES (3, 'x'); COMMIT", "55P02", "cannot turn on"},
		{"ALTER ROLE joe SET bdr.xact_replication = off", "55P02", "cannot turn off"},
		{"ALTER DATABASE app SET bdr.xact_replication = off", "55P02", "cannot turn off"},
		{"ALTER SYSTEM SET bdr.xact_replication = off", "55P02", "cannot be changed"},
		{"CREATE FUNCTION f() RETURNS int LANGUAGE sql SET bdr.xact_replication = off AS 'SELECT 1'", "55P02", "cannot turn off"},
		{"BEGIN; SET LOCAL ROLE joe; SET LOCAL bdr.xact_replication = off; COMMIT", "42501", "permission denied"},
		{"BEGIN; SELECT bdr.difference_fix_session_setup(); SET LOCAL bdr.xact_replication = off; COMMIT", "55P02", "cannot turn off"},
	} {
		clustertest.RequireRefused(t, a, k.sql, k.code, k.message)
	}
	requireRows(t, c, a, "(1,x)")
	requireRows(t, c, b, "(1,x)")
}

// testLocalVersion: the version of a local row is this node and its commit, also
// when a crash has made the server read it from the WAL again.
func testLocalVersion(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	session := a.Session()
	const insert = "INSERT INTO t SELECT coalesce(max(id), 0) + 1, clock_timestamp() FROM t"
	for _, sql := range []string{insert, clustertest.Local + insert + "; COMMIT", "SELECT bdr.difference_fix_session_setup()", insert, insert} {
		_, err := pgtest.RunOn(session, sql, time.Minute)
		a.Must(err)
	}
	c.WaitDrained(b, a)
	a.Must(a.Kill9())
	a.Must(a.Start())
	const query = `SELECT string_agg(coalesce(pg_xact_commit_timestamp(xmin) - v::timestamptz BETWEEN '0' AND '10s', false)::text, ' ' ORDER BY id) FROM t`
	if got := a.Value(query); got != "true true true true" {
		t.Errorf("committed just after they were written, as the WAL says: %s", got)
	}
	if got := b.Value("SELECT string_agg(id::text, ' ') FROM t"); got != "1" {
		t.Errorf("%s has rows %s, expected 1", b.Name, got)
	}
}

const repair = "SELECT bdr.difference_fix_session_setup(); "

// testRepair: nodes that differ are made equal, one row at a time, and stay so.
func testRepair(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("INSERT INTO t VALUES (1, 'right'), (2, 'right'), (3, 'gone')")
	c.RequireConverged()
	b.Exec(clustertest.Local + "UPDATE t SET v = 'wrong' WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (9, 'wrong'); COMMIT")
	a.Exec(clustertest.Local + "DELETE FROM t WHERE id = 3; COMMIT")

	session := b.Session()
	for _, sql := range []string{repair, `BEGIN; SELECT bdr.difference_fix_xact_set_avoid_conflict(); UPDATE t SET v = 'right' WHERE id = 1;
		INSERT INTO t VALUES (2, 'right'); COMMIT`, "DELETE FROM t WHERE id IN (3, 9)",
		"SELECT bdr.difference_fix_session_reset()", "INSERT INTO t VALUES (4, 'sent')"} {
		_, err := pgtest.RunOn(session, sql, time.Minute)
		b.Must(err)
	}
	c.RequireConverged()
	requireRows(t, c, a, "(1,right) (2,right) (4,sent)")
	if got := b.Value("SELECT count(*) FROM t WHERE id < 3 AND pg_xact_commit_timestamp(xmin) < '2000-01-02'"); got != "2" {
		t.Errorf("%s rows are marked as old, expected 2", got)
	}
}

// testRepairLoses: a repair that avoids conflicts gives way to a change that
// was under way when it was made; one that does not is a write like any other.
func testRepairLoses(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("INSERT INTO t VALUES (1, 'old'), (2, 'old')")
	c.RequireConverged()
	resume := clustertest.PauseAll(t, c)
	a.Exec("UPDATE t SET v = 'under way'")
	session := b.Session()
	for _, sql := range []string{repair, "BEGIN; SELECT bdr.difference_fix_xact_set_avoid_conflict(); UPDATE t SET v = 'repair' WHERE id = 1; COMMIT",
		"UPDATE t SET v = 'write' WHERE id = 2", "SELECT bdr.difference_fix_session_reset()"} {
		_, err := pgtest.RunOn(session, sql, time.Minute)
		b.Must(err)
	}
	resume()
	requireRows(t, c, b, "(1,\"under way\") (2,write)")
	const history = `SELECT string_agg(conflict_resolution || ' over ' || (local_tuple->>'v') || ' of ' || node_name, ', ' ORDER BY remote_change_nr)
		FROM bdr.conflict_history JOIN bdr.node ON node_id = local_tuple_node_id`
	if got, want := b.Value(history), fmt.Sprintf("apply_remote over repair of %s, skip over write of %s", b.Name, b.Name); got != want {
		t.Errorf("history has %q, expected %q", got, want)
	}
}

// testRepairSessions: setting a session up is not undone by a rollback, unless
// its origin is; and an origin serves one session at a time.
func testRepairSessions(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin WHERE roname = 'bdr_local_only_origin'")
	first, second := a.Session(), a.Session()
	run := func(sql string) {
		t.Helper()
		if _, err := pgtest.RunOn(first, sql, time.Minute); err != nil {
			t.Fatalf("%s\n%s", sql, pgtest.Explain(err))
		}
	}
	run("BEGIN; " + repair + "ROLLBACK; INSERT INTO t VALUES (1, 'sent')")
	run("BEGIN; SAVEPOINT s; " + repair + "ROLLBACK TO s; INSERT INTO t VALUES (2, 'sent'); COMMIT")
	run("BEGIN; SAVEPOINT s; " + repair + "RELEASE s; ROLLBACK; INSERT INTO t VALUES (3, 'sent')")
	run("BEGIN; " + repair + "INSERT INTO t VALUES (4, 'here'); COMMIT; BEGIN; INSERT INTO t VALUES (5, 'here'); ROLLBACK; INSERT INTO t VALUES (6, 'here')")
	_, err := pgtest.RunOn(second, repair, time.Minute)
	if e := pgtest.PgError(err); e == nil || e.Code != "55006" {
		t.Errorf("a second session: %v", err)
	}
	for _, sql := range []string{"SELECT bdr.difference_fix_origin_create('mine')", "SELECT bdr.difference_fix_session_setup('bdr_mine')",
		"INSERT INTO t VALUES (7, 'here')", "SELECT pg_replication_origin_session_reset()", "INSERT INTO t VALUES (8, 'sent')",
		"SELECT pg_replication_origin_drop('bdr_mine')"} {
		_, err := pgtest.RunOn(second, sql, time.Minute)
		a.Must(err)
	}
	run("SELECT bdr.difference_fix_session_reset()")
	run("BEGIN; INSERT INTO t VALUES (9, 'sent'); ROLLBACK; INSERT INTO t VALUES (9, 'sent')")
	requireRows(t, c, b, "(1,sent) (2,sent) (3,sent) (8,sent) (9,sent)")
	requireRows(t, c, a, "(1,sent) (2,sent) (3,sent) (4,here) (6,here) (7,here) (8,sent) (9,sent)")
}

func testRepairRefusals(t *testing.T, c *pgtest.Cluster) {
	a := c.Nodes[0]
	for _, k := range []struct{ sql, code, message string }{
		{"SELECT bdr.difference_fix_origin_create('1_2')", "22023", "invalid origin name"},
		{"SELECT bdr.difference_fix_origin_create('')", "22023", "invalid origin name"},
		{"BEGIN; SELECT bdr.difference_fix_origin_create('x'); SELECT bdr.difference_fix_origin_create('x')", "42710", "already exists"},
		{"SELECT bdr.difference_fix_session_setup((SELECT origin_name::text FROM bdr.subscription))", "22023", "is not for repairs"},
		{"SELECT bdr.difference_fix_session_setup('bdr_nowhere')", "42704", "does not exist"},
		{"SELECT bdr.difference_fix_session_reset()", "55000", "does not repair"},
		{"SELECT bdr.difference_fix_xact_set_avoid_conflict()", "55000", "does not repair"},
		{"BEGIN; INSERT INTO t VALUES (1, 'x'); " + repair, "25001", "cannot begin a repair"},
		{repair + repair, "55000", "already"},
		{"BEGIN; " + repair + "INSERT INTO t VALUES (1, 'x'); SELECT bdr.difference_fix_session_reset()", "25001", "cannot end the repair"},
		{"SET ROLE joe; " + repair, "42501", "permission denied"},
	} {
		clustertest.RequireRefused(t, a, k.sql, k.code, k.message)
	}
	a.Exec("GRANT EXECUTE ON FUNCTION bdr.difference_fix_session_setup() TO joe")
	clustertest.RequireRefused(t, a, "SET ROLE joe; "+repair, "42501", "permission denied to repair")
	c.RequireConverged()
}
