package conflict

import (
	"fmt"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
)

// inProgress is what a table's counter says; 0 is the one of the whole server.
func inProgress(relation string) string {
	return "SELECT in_progress FROM bdr_test.key_removal(" + relation + ")"
}

// TestVanishedVersionsAreCounted exists because a writer stores rows without
// looking at dead ones while nobody is counted. A statement that is missed
// makes nodes differ, and one that stays counted makes them slow for ever.
func TestVanishedVersionsAreCounted(t *testing.T) {
	c := pgtest.NewCluster(t, 1)
	n := c.Nodes[0]
	n.LoadTestFunctions()
	n.Exec("CREATE EXTENSION btree_gist", "SELECT pg_replication_origin_create('elsewhere')")
	t.Run("statements", func(t *testing.T) { testVanishStatements(t, n.For(t)) })
	t.Run("ends", func(t *testing.T) { testVanishEnds(t, n.For(t)) })
	t.Run("until_locks_are_released", func(t *testing.T) { testVanishUntilVisible(t, n.For(t)) })
	t.Run("times", func(t *testing.T) { testVanishTimes(t, n.For(t)) })
	t.Run("around_the_executor", func(t *testing.T) { testVanishSubscription(t, n.For(t)) })
	t.Run("restart", func(t *testing.T) { testVanishRestart(t, n.For(t)) })
}

const vanishTables = `
	CREATE TABLE t (id int PRIMARY KEY, v text, u int UNIQUE, e int, x int, p int, g int GENERATED ALWAYS AS (p * 2) STORED UNIQUE, inc int, free text);
	CREATE UNIQUE INDEX ON t (lower(e::text)) INCLUDE (inc);
	CREATE UNIQUE INDEX ON t (v) WHERE x > 0;
	CREATE TABLE excluded (id int PRIMARY KEY, e int, f int, EXCLUDE USING gist (e WITH =));
	CREATE TABLE triggered (id int PRIMARY KEY, f int);
	CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN new; END$$;
	CREATE TRIGGER a BEFORE UPDATE ON triggered FOR EACH ROW EXECUTE FUNCTION change();
	CREATE TABLE disabled (id int PRIMARY KEY, f int);
	CREATE TRIGGER a BEFORE UPDATE ON disabled FOR EACH ROW EXECUTE FUNCTION change();
	CREATE TRIGGER b AFTER UPDATE ON disabled FOR EACH ROW EXECUTE FUNCTION change();
	ALTER TABLE disabled DISABLE TRIGGER a;
	CREATE TABLE keyless (a int, b int);
	ALTER TABLE keyless REPLICA IDENTITY FULL;
	CREATE TABLE parent (id int PRIMARY KEY, f int);
	CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE);
	CREATE TABLE split (id int, part int, f int, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
	CREATE TABLE split1 PARTITION OF split FOR VALUES IN (1);
	CREATE TABLE split2 (f int, part int NOT NULL, id int NOT NULL, only_here int);
	CREATE UNIQUE INDEX ON split2 (f);
	ALTER TABLE split2 DROP COLUMN only_here;
	ALTER TABLE split ATTACH PARTITION split2 FOR VALUES IN (2);
	CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY);
	CREATE VIEW seen AS SELECT id, u, free FROM t;
	CREATE FUNCTION remove(i int) RETURNS void LANGUAGE plpgsql AS $$BEGIN DELETE FROM t WHERE id = i; END$$;
	INSERT INTO t (id, v, u, e, x, p) VALUES (1, 'a', 1, 1, 1, 1);
	INSERT INTO excluded VALUES (1, 1, 1);
	INSERT INTO triggered VALUES (1, 1);
	INSERT INTO disabled VALUES (1, 1);
	INSERT INTO keyless VALUES (1, 1);
	INSERT INTO parent VALUES (1, 1);
	INSERT INTO child VALUES (1, 1);
	INSERT INTO split VALUES (1, 1, 1), (2, 2, 2);
	INSERT INTO unlogged VALUES (1)`

// vanishStatements says who counts on which table: 1 or 0.
var vanishStatements = []struct{ statement, table, want string }{
	{"DELETE FROM t", "t", "1"},
	{"DELETE FROM t WHERE id = 1; DELETE FROM t; DELETE FROM t", "t", "1"},
	{"DELETE FROM seen", "t", "1"},
	{"SELECT remove(1)", "t", "1"},
	{"WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d", "t", "1"},
	{"WITH d AS (DELETE FROM t RETURNING *) INSERT INTO t (id) SELECT id + 1 FROM d", "t", "1"},
	{"DECLARE c CURSOR FOR SELECT * FROM t FOR UPDATE; FETCH c; DELETE FROM t WHERE CURRENT OF c", "t", "1"},
	{"PREPARE d AS DELETE FROM t; EXECUTE d; DEALLOCATE d", "t", "1"},
	{"EXPLAIN ANALYZE DELETE FROM t", "t", "1"},
	{"EXPLAIN DELETE FROM t", "t", "0"},
	{"INSERT INTO t (id) VALUES (2)", "t", "0"},
	{"CREATE TEMP TABLE c AS SELECT * FROM t; DELETE FROM c", "t", "0"},
	{"SELECT * FROM t FOR UPDATE", "t", "0"},
	{"UPDATE t SET free = 'x'", "t", "0"},
	{"UPDATE t SET inc = 1", "t", "0"},
	{"UPDATE seen SET free = 'x'", "t", "0"},
	{"UPDATE seen SET u = 5", "t", "1"},
	{"UPDATE t SET id = 5", "t", "1"},
	{"UPDATE t SET u = 5", "t", "1"},
	{"UPDATE t SET u = 5 WHERE id = 77", "t", "1"},
	{"UPDATE t SET e = 5", "t", "1"},
	{"UPDATE t SET x = 5", "t", "1"},
	{"UPDATE t SET v = 'w'", "t", "1"},
	{"UPDATE t SET p = 5", "t", "1"},
	{"INSERT INTO t (id) VALUES (1) ON CONFLICT DO NOTHING", "t", "0"},
	{"INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET free = 'x'", "t", "0"},
	{"INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET u = 6", "t", "1"},
	{"MERGE INTO t USING (VALUES (1)) s (id) ON t.id = s.id WHEN MATCHED THEN UPDATE SET free = 'x' WHEN NOT MATCHED THEN INSERT (id) VALUES (1)", "t", "0"},
	{"MERGE INTO t USING (VALUES (1)) s (id) ON t.id = s.id WHEN MATCHED AND u = 9 THEN UPDATE SET free = 'x' WHEN MATCHED THEN UPDATE SET u = 7", "t", "1"},
	{"MERGE INTO t USING (VALUES (1)) s (id) ON t.id = s.id WHEN MATCHED AND u = 9 THEN UPDATE SET free = 'x' WHEN MATCHED THEN DELETE", "t", "1"},
	{"UPDATE excluded SET f = 2", "excluded", "0"},
	{"UPDATE excluded SET e = 2", "excluded", "1"},
	{"UPDATE triggered SET f = 2", "triggered", "1"},
	{"SET LOCAL session_replication_role = replica; UPDATE triggered SET f = 2", "triggered", "0"},
	{"UPDATE disabled SET f = 2", "disabled", "0"},
	{"UPDATE keyless SET b = 2", "keyless", "1"},
	{"UPDATE parent SET f = 2", "parent", "0"},
	{"DELETE FROM parent", "child", "1"},
	{"UPDATE split SET f = 3 WHERE id = 1 AND part = 1", "split1", "0"},
	{"UPDATE split SET f = 3 WHERE id = 2 AND part = 2", "split2", "1"},
	{"UPDATE split SET part = 2 WHERE id = 1 AND part = 1", "split1", "1"},
	{"DELETE FROM split", "split2", "1"},
	{"INSERT INTO split VALUES (1, 1, 1) ON CONFLICT (id, part) DO UPDATE SET f = 5", "split1", "0"},
	{"INSERT INTO split VALUES (2, 2, 2) ON CONFLICT (id, part) DO UPDATE SET f = 5", "split2", "1"},
	{"INSERT INTO split VALUES (2, 2, 2) ON CONFLICT (id, part) DO UPDATE SET id = 5", "split2", "1"},
	{"DELETE FROM unlogged", "unlogged", "0"},
	{"CREATE UNIQUE INDEX late ON t (free); UPDATE t SET free = 'x'", "t", "1"},
	{"UPDATE t SET free = 'x'", "t", "0"}, // it was rolled back
}

// testVanishStatements: within a transaction, from the statement on.
func testVanishStatements(t *testing.T, n *pgtest.Node) {
	n.Exec(vanishTables)
	session := n.Session()
	for _, part := range vanishStatements {
		run := func(sql string) {
			if _, err := pgtest.RunOn(session, sql, time.Minute); err != nil {
				t.Fatalf("%s\n%s", pgtest.Explain(err), sql)
			}
		}
		run("BEGIN; " + part.statement)
		if got := n.Value(inProgress("'" + part.table + "'::regclass")); got != part.want {
			t.Errorf("%s: %s counted on %q, expected %s", part.statement, got, part.table, part.want)
		}
		run("ROLLBACK")
		n.Wait(time.Second, inProgress("'"+part.table+"'::regclass"), "0")
	}
}

// testVanishEnds: whatever the end of a transaction, nothing stays counted.
func testVanishEnds(t *testing.T, n *pgtest.Node) {
	const counter, server = "'t'::regclass", "0"
	session := n.Session()
	run := func(sql string) error {
		_, err := pgtest.RunOn(session, sql, time.Minute)
		return err
	}
	expect := func(when, want string) {
		t.Helper()
		if got := n.Value(inProgress(counter)); got != want {
			t.Errorf("%s: %s counted, expected %s", when, got, want)
		}
	}
	n.Must(run("BEGIN; SAVEPOINT s; DELETE FROM t; ROLLBACK TO s"))
	expect("savepoint", "1")
	n.Must(run("COMMIT"))
	expect("commit", "0")
	n.Must(run("BEGIN; DELETE FROM t"))
	if run("SELECT 1/0") == nil {
		t.Error("no error")
	}
	expect("error", "0")
	for _, statement := range []string{"ROLLBACK", "BEGIN; UPDATE t SET u = 9; PREPARE TRANSACTION 'p'"} {
		n.Must(run(statement))
	}
	expect("prepared", "0")
	for _, statement := range []string{"ROLLBACK PREPARED 'p'", "BEGIN; UPDATE t SET u = 9; PREPARE TRANSACTION 'p'", "COMMIT PREPARED 'p'"} {
		n.Must(run(statement))
	}
	expect("committed prepared", "0")
	if got := n.Value(inProgress(server)); got != "0" {
		t.Errorf("committed prepared: %s counted on the server", got)
	}
	if got := n.Value("SELECT newest >= pg_xact_commit_timestamp(xmin) FROM t, bdr_test.key_removal(0)"); got != "t" {
		t.Error("the commit of a prepared transaction left no time")
	}
	if run("COMMIT PREPARED 'nothing'") == nil {
		t.Error("no error")
	}
	if got := n.Value(inProgress(server)); got != "0" {
		t.Errorf("failed to commit prepared: %s counted on the server", got)
	}
	n.Must(run("BEGIN; DELETE FROM t"))
	expect("in progress", "1")
	n.Exec(fmt.Sprintf("SELECT pg_terminate_backend(%d)", session.PID()))
	n.Wait(10*time.Second, inProgress(counter), "0")
}

// testVanishUntilVisible: a commit that waits for a standby is in WAL already,
// and counted still.
func testVanishUntilVisible(t *testing.T, n *pgtest.Node) {
	standby := func(name string) {
		n.Exec("ALTER SYSTEM SET synchronous_standby_names = '"+name+"'", "SELECT pg_reload_conf()")
		n.Wait(10*time.Second, "SELECT setting FROM pg_settings WHERE name = 'synchronous_standby_names'", name)
		n.Exec("CHECKPOINT") // commits wait as the checkpointer has read the setting, which it does before
	}
	n.Exec("BEGIN; UPDATE t SET u = 11; PREPARE TRANSACTION 'p'")
	session := n.Session()
	standby("nobody")
	for _, part := range []struct{ statement, relation string }{{"COMMIT PREPARED 'p'", "0"}, {"DELETE FROM t", "'t'::regclass"}} {
		done := make(chan error, 1)
		standby("nobody")
		go func() {
			_, err := pgtest.RunOn(session, part.statement, time.Minute)
			done <- err
		}()
		n.Wait(10*time.Second, fmt.Sprintf("SELECT wait_event FROM pg_stat_activity WHERE pid = %d", session.PID()), "SyncRep")
		if got := n.Value(inProgress(part.relation)); got != "1" {
			t.Errorf("%s: %s counted, expected 1", part.statement, got)
		}
		standby("")
		n.Must(<-done)
		if got := n.Value(inProgress(part.relation)); got != "0" {
			t.Errorf("%s: %s counted after the end", part.statement, got)
		}
	}
}

// testVanishTimes: what a commit leaves behind is the time of its version.
func testVanishTimes(t *testing.T, n *pgtest.Node) {
	const same = "SELECT newest = (pg_last_committed_xact()).timestamp FROM bdr_test.key_removal('t'::regclass)"
	const newest = "SELECT newest FROM bdr_test.key_removal('t'::regclass)"
	n.Exec("INSERT INTO t (id) VALUES (1), (2)")
	n.Exec("DELETE FROM t WHERE id = 1")
	if got := n.Value(same); got != "t" {
		t.Error("a commit did not leave its time")
	}
	before := n.Value(newest)
	n.Exec("INSERT INTO t (id) VALUES (3)", "DELETE FROM t WHERE id = 77", "BEGIN; DELETE FROM t; ROLLBACK", "UPDATE t SET free = 'x'")
	if got := n.Value(newest); got != before {
		t.Errorf("the time went from %s to %s, though nothing vanished", before, got)
	}
	commitAhead(n, "100 ms", "DELETE FROM t WHERE id = 2")
	if got := n.Value(same); got != "t" {
		t.Error("the time is not the one that the session chose")
	}
}

// testVanishSubscription: PostgreSQL's own logical replication deletes without
// a statement.
func testVanishSubscription(t *testing.T, n *pgtest.Node) {
	const table = "CREATE TABLE fed (id int PRIMARY KEY)"
	source := func(sql string) {
		_, err := n.Run("postgres", sql)
		n.Must(err)
	}
	source(table)
	source("CREATE PUBLICATION p FOR TABLE fed")
	source("SELECT pg_create_logical_replication_slot('fed', 'pgoutput')")
	n.Exec(table, "CREATE SUBSCRIPTION s CONNECTION '"+n.DSN("postgres")+"' PUBLICATION p WITH (create_slot = false, slot_name = 'fed', copy_data = false)")
	source("INSERT INTO fed VALUES (1)")
	n.Wait(30*time.Second, "SELECT count(*) FROM fed", "1")
	before := n.Value("SELECT newest FROM bdr_test.key_removal(0)")
	source("DELETE FROM fed")
	n.Wait(30*time.Second, "SELECT count(*) FROM fed", "0")
	n.Wait(time.Second, inProgress("0"), "0")
	if got := n.Value("SELECT newest > '" + before + "' FROM bdr_test.key_removal(0)"); got != "t" {
		t.Error("a row that a subscription deleted left no time")
	}
	n.Exec("DROP SUBSCRIPTION s")
}

// testVanishRestart: what was before is unknown, and nobody is counted.
func testVanishRestart(t *testing.T, n *pgtest.Node) {
	n.Exec("INSERT INTO t (id) VALUES (5)", "BEGIN; UPDATE t SET u = 12 WHERE id = 5; PREPARE TRANSACTION 'p'")
	session := n.Session()
	_, err := pgtest.RunOn(session, "BEGIN; DELETE FROM t WHERE id = 3", time.Minute)
	n.Must(err)
	n.Must(n.Kill9())
	n.Must(n.Start())
	if got := n.Value(inProgress("'t'::regclass")); got != "0" {
		t.Errorf("%s counted after a crash", got)
	}
	if got := n.Value("SELECT newest BETWEEN pg_postmaster_start_time() AND clock_timestamp() FROM bdr_test.key_removal(0)"); got != "t" {
		t.Error("the past is not unknown after a crash")
	}
	n.Exec("COMMIT PREPARED 'p'")
	if got := n.Value("SELECT newest >= pg_xact_commit_timestamp(xmin) FROM t, bdr_test.key_removal(0) WHERE id = 5"); got != "t" {
		t.Error("a transaction that was prepared before a crash left no time")
	}
}
