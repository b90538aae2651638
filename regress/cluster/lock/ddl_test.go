package lock

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// ddlStages are those of the global DDL lock.
const ddlStages = "SELECT COALESCE(string_agg(origin_node_name || ' ' || acquire_stage, '; ' ORDER BY place), '') FROM bdr.global_locks JOIN bdr.global_lock USING (origin_node_id, pid, global_lock_request_time) WHERE bdr.global_locks.lock_type = 'GLOBAL_LOCK_DDL'"

// replicating makes a cluster in which DDL runs on all nodes.
func replicating(t *testing.T, nodes int, options ...pgtest.Option) *pgtest.Cluster {
	t.Helper()
	settings := map[string]string{"bdr.ddl_replication": "on", "bdr.max_worker_backoff_delay": "1s"}
	return pgtest.NewCluster(t, nodes, append(options, pgtest.WithSettings(settings))...)
}

// requireOneSchema compares what tables and functions look like.
func requireOneSchema(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	const shape = `SELECT string_agg(line, '; ' ORDER BY line) FROM (
 SELECT relname || '.' || attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
 UNION ALL SELECT proname || prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace) l (line)`
	c.WaitDrained(c.Nodes...)
	want := c.Nodes[0].Value(shape)
	for _, n := range c.Nodes[1:] {
		if got := n.Value(shape); got != want {
			t.Errorf("the schema of %s: %s\nthat of %s: %s", n.Name, got, c.Nodes[0].Name, want)
		}
	}
}

// TestTwoNodesAlterATable exists because statements that cross would leave nodes with
// different tables: the second one waits, and sees what the first one has done.
func TestTwoNodesAlterATable(t *testing.T) {
	c := replicating(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE TABLE t (a int PRIMARY KEY)")
	c.WaitDrained(a, b)
	first, second := begin(t, a), begin(t, b)
	first.must("ALTER TABLE t ADD COLUMN b int")
	for _, n := range c.Nodes {
		n.Wait(stepLimit, ddlStages, "node1 acquired")
	}
	done := second.start("ALTER TABLE t RENAME COLUMN b TO c; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT c FROM t'")
	a.Wait(stepLimit, ddlStages, "node1 acquired; node2 waiting")
	b.Wait(stepLimit, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND query LIKE 'ALTER%' AND state = 'active'", "1")
	requireWaiting(t, done)
	first.must("INSERT INTO t VALUES (1, 1); COMMIT")
	b.Must(answer(t, done))
	second.must("UPDATE t SET c = 2; COMMIT")
	a.Wait(stepLimit, ddlStages, "")
	requireOneSchema(t, c)
	c.RequireConverged()
	if got := a.Value("SELECT a || ' ' || c FROM t"); got != "1 2" {
		t.Errorf("the row is %s", got)
	}
}

// TestNodesTakeTurns exists because a lock that two have at once shows only under load:
// all nodes replace the same function, and add and drop the same column.
func TestNodesTakeTurns(t *testing.T) {
	const rounds = 6
	c := replicating(t, 3)
	c.Nodes[0].Exec("CREATE TABLE t (a int PRIMARY KEY)", "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''nobody'''")
	c.WaitDrained(c.Nodes...)
	var wait sync.WaitGroup
	for _, n := range c.Nodes {
		s := &tx{t, n, n.Session()}
		wait.Go(func() {
			for i := range rounds {
				for _, sql := range []string{
					fmt.Sprintf("CREATE OR REPLACE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''%s %d'''", n.Name, i),
					"ALTER TABLE t ADD COLUMN IF NOT EXISTS b int", "ALTER TABLE t DROP COLUMN IF EXISTS b"} {
					if err := s.try(sql); err != nil {
						t.Errorf("%s: %s: %s", n.Name, sql, pgtest.Explain(err))
					}
				}
			}
		})
	}
	wait.Wait()
	requireOneSchema(t, c)
	for _, n := range c.Nodes {
		n.Wait(stepLimit, "SELECT count(*) FROM bdr.global_lock", "0")
		n.Wait(stepLimit, "SELECT count(*) FROM bdr.worker_errors", "0")
	}
}

// TestWhatTakesTheDDLLock exists because a lock that nobody needs stops work when the
// group has no majority.
func TestWhatTakesTheDDLLock(t *testing.T) {
	c := replicating(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE TABLE t (a int PRIMARY KEY)", "CREATE TYPE mood AS ENUM ('sad')")
	for _, test := range []struct{ name, does, holds string }{
		{"table", "CREATE TABLE u (a int)", "node1 acquired"},
		{"index", "CREATE INDEX ON t (a)", "node1 acquired"},
		{"function", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "node1 acquired"},
		{"created from a query", "CREATE TABLE u AS SELECT 1 AS one", "node1 acquired"},
		{"in a block", "DO $$ BEGIN EXECUTE 'CREATE VIEW v AS SELECT 1'; END $$", "node1 acquired"},
		{"two statements", "CREATE VIEW v AS SELECT 1; DROP VIEW v", "node1 acquired"},
		{"demanded", "SET LOCAL bdr.ddl_replication = off; SELECT bdr.replicate_ddl_command('CREATE VIEW v AS SELECT 1')", "node1 acquired"},
		{"demanded, only elsewhere", "SELECT bdr.replicate_ddl_command('CREATE VIEW v AS SELECT 1', execute_locally => false)", "node1 acquired"},
		{"demanded with a lock", "SET LOCAL bdr.ddl_locking = off; SELECT bdr.replicate_ddl_command('CREATE VIEW v AS SELECT 1', ddl_locking => 'Leader')", "node1 acquired"},
		{"demanded without", "SELECT bdr.replicate_ddl_command('CREATE VIEW v AS SELECT 1', ddl_locking => 'off')", ""},
		{"off", "SET LOCAL bdr.ddl_locking = off; CREATE VIEW v AS SELECT 1", ""},
		{"not replicated", "SET LOCAL bdr.ddl_replication = off; CREATE VIEW v AS SELECT 1", ""},
		{"local command", "SET LOCAL work_mem = '1MB'; ANALYZE t", ""},
		{"temporary table", "CREATE TEMP TABLE u (a int); CREATE INDEX ON u (a); ALTER TABLE u ADD COLUMN b int; DROP TABLE u; CREATE TABLE pg_temp.v (a int)", ""},
		{"temporary, from a query", "CREATE TEMP TABLE u AS SELECT 1 AS one; CREATE TEMP SEQUENCE s; CREATE TEMP VIEW v AS SELECT 1", ""},
		{"savepoint", "SAVEPOINT s; CREATE VIEW v AS SELECT 1; ROLLBACK TO s", ""},
		{"rows", "INSERT INTO t VALUES (1)", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, b := a.For(t), b.For(t)
			s := begin(t, a)
			s.must(test.does)
			b.Wait(stepLimit, ddlStages, test.holds)
			s.must("ROLLBACK")
			b.Wait(stepLimit, ddlStages, "")
		})
	}
	requireCode(t, a.Try("SELECT bdr.replicate_ddl_command('CREATE VIEW v AS SELECT 1', ddl_locking => 'some')"), "22023", "some")
	requireCode(t, begin(t, a).try("CREATE VIEW v AS SELECT 1; PREPARE TRANSACTION 'p'"), unsupported, "global locks")
	a.Exec("ALTER TYPE mood ADD VALUE 'ok'", "CREATE INDEX CONCURRENTLY i ON t (a)", "DROP INDEX CONCURRENTLY i")
	requireOneSchema(t, c)
}

// TestConcurrentlyKeepsTheLock exists because such a statement commits on its way, and
// is sent when it has ended.
func TestConcurrentlyKeepsTheLock(t *testing.T) {
	c := replicating(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE TABLE t (a int PRIMARY KEY)")
	c.WaitDrained(a, b)
	writer := begin(t, a)
	writer.must("INSERT INTO t VALUES (1)")
	builder := &tx{t, a, a.Session()}
	done := builder.start("CREATE INDEX CONCURRENTLY i ON t (a)")
	a.Wait(stepLimit, "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('i') AND NOT indisvalid", "1")
	b.Wait(stepLimit, ddlStages, "node1 acquired")
	requireWaiting(t, done)
	a.Exec(fmt.Sprintf("SELECT pg_cancel_backend(%d)", builder.conn.PID()))
	requireCode(t, answer(t, done), canceled)
	b.Wait(stepLimit, ddlStages, "")
	writer.must("COMMIT")
	builder.must("DROP INDEX IF EXISTS i") // node2 has none
	builder.must("CREATE INDEX CONCURRENTLY i ON t (a)")
	b.Wait(stepLimit, "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('i') AND indisvalid", "1")
	b.Wait(stepLimit, ddlStages, "")
}

// TestWaitForDDLGivenUp exists because whoever waits for the lock can stop, and leaves
// nothing behind.
func TestWaitForDDLGivenUp(t *testing.T) {
	c := replicating(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	holder := begin(t, a)
	holder.must("CREATE TABLE t (a int PRIMARY KEY)")
	waiter := begin(t, b)
	requireCode(t, waiter.try(fmt.Sprintf(setTimeout, "300ms")+"CREATE VIEW v AS SELECT 1"), lockTaken, "the global DDL lock within 300ms", `of node "node1"`)
	b.Wait(stepLimit, ddlStages, "node1 acquired")
	waiter.must("ROLLBACK; BEGIN")
	done := waiter.start("CREATE VIEW v AS SELECT 1")
	b.Wait(stepLimit, ddlStages, "node1 acquired; node2 waiting")
	b.Exec(fmt.Sprintf("SELECT pg_cancel_backend(%d)", waiter.conn.PID()))
	requireCode(t, answer(t, done), canceled)
	b.Wait(stepLimit, ddlStages, "node1 acquired")
	local := begin(t, a)
	requireCode(t, local.try(fmt.Sprintf(setTimeout, "300ms")+"CREATE VIEW v AS SELECT 1"), lockTaken, "waiting for other sessions of this node with the global DDL lock")
	waiter.must("ROLLBACK")

	b.Exec("SELECT bdr.alter_subscription_disable(sub_name) FROM bdr.subscription_summary")
	holder.must("COMMIT")
	requireCode(t, b.Try(fmt.Sprintf(setTimeout, "500ms")+"CREATE VIEW v AS SELECT * FROM t"), lockTaken, "does not have all earlier changes", `node "node1"`)
	b.Exec("RESET bdr.global_lock_timeout; SELECT bdr.alter_subscription_enable(sub_name) FROM bdr.subscription_summary")
	b.Exec("CREATE VIEW v AS SELECT * FROM t")
	requireOneSchema(t, c)
	a.Wait(stepLimit, "SELECT count(*) FROM bdr.global_lock", "0")
}

// TestHolderOfDDLDies exists because half a change of the schema must not stay, and the
// lock must not either.
func TestHolderOfDDLDies(t *testing.T) {
	c := replicating(t, 3)
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE TABLE t (a int PRIMARY KEY)")
	c.WaitDrained(c.Nodes...)
	holder := begin(t, a)
	holder.must("ALTER TABLE t ADD COLUMN lost int")
	waiter := begin(t, b)
	done := waiter.start("ALTER TABLE t ADD COLUMN b int")
	b.Wait(stepLimit, ddlStages, "node1 acquired; node2 waiting")
	a.KillProcess(pgtest.Process{PID: int(holder.conn.PID())})
	b.Must(answer(t, done))
	waiter.must("COMMIT")
	c.WaitDrained(c.Nodes...)

	holder = begin(t, a)
	holder.must("ALTER TABLE t ADD COLUMN lost int")
	done = begin(t, b).start("ALTER TABLE t ADD COLUMN c int; COMMIT")
	b.Wait(stepLimit, ddlStages, "node1 acquired; node2 waiting")
	stopManager(t, a)
	a.Must(a.Kill9())
	requireWaiting(t, done)
	a.Must(a.Start())
	b.Must(answer(t, done))
	requireOneSchema(t, c)
	c.RequireConverged()
	if columns := a.Value("SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0"); columns != "a b c" {
		t.Errorf("columns: %s", columns)
	}
}

// TestDDLWithNodesAway exists because one node that is away must not stop changes of the
// schema, and two halves of a group must not both make them.
func TestDDLWithNodesAway(t *testing.T) {
	c := replicating(t, 3)
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	a.Exec("CREATE TABLE t (a int PRIMARY KEY)")
	c.WaitDrained(c.Nodes...)
	d.Must(d.Kill9())
	a.Exec("ALTER TABLE t ADD COLUMN b int")
	b.Exec("ALTER TABLE t ALTER COLUMN b SET DEFAULT 3")
	a.Wait(stepLimit, ddlStages, "") // otherwise node2 keeps it
	b.Must(b.Kill9())
	requireCode(t, a.Try(fmt.Sprintf(setTimeout, "3s")+"ALTER TABLE t ADD COLUMN b int"), lockTaken, "the global DDL lock", "majority")
	requireCode(t, a.Try("CREATE TABLE u (a int REFERENCES t)"), lockTaken, "majority")
	a.Exec("RESET bdr.global_lock_timeout; CREATE TABLE u (a int PRIMARY KEY, b text DEFAULT 'x', CHECK (a > 0))", "INSERT INTO u VALUES (1)")
	for _, n := range []*pgtest.Node{b, d} {
		n.Must(n.Start())
	}
	pgtest.Eventually(t, clustertest.ResumeLimit, "the schema can be changed", func() (bool, string) {
		err := d.Try(fmt.Sprintf(setTimeout, "5s") + "ALTER TABLE u ADD COLUMN IF NOT EXISTS d int")
		return err == nil, fmt.Sprint(err)
	})
	requireOneSchema(t, c)
	c.RequireConverged()
}

// TestDDLMeetsUserLocks exists because the server of one node does not see who waits for
// whom on another one: the timeout has to end it.
func TestDDLMeetsUserLocks(t *testing.T) {
	c := replicating(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE TABLE t (a int PRIMARY KEY)", "CREATE TABLE u (a int PRIMARY KEY)")
	c.WaitDrained(a, b)
	reader, changer := begin(t, b), begin(t, a)
	changer.must("ALTER TABLE t ADD COLUMN b int")
	reader.must("SELECT * FROM t")
	done := reader.start(fmt.Sprintf(setTimeout, "1s") + "ALTER TABLE u ADD COLUMN b int")
	requireWaiting(t, done)
	if err := answer(t, done); !strings.Contains(fmt.Sprint(err), lockTaken) {
		t.Fatalf("the transaction that reads has %v", err)
	}
	reader.must("ROLLBACK")
	changer.must("COMMIT")
	requireOneSchema(t, c)
}

// TestManagerDiesUnderDDL exists because the transaction goes on: nobody else may begin
// before it has ended and its changes are known.
func TestManagerDiesUnderDDL(t *testing.T) {
	c := replicating(t, 2, pgtest.WithFaults())
	a, b := c.Nodes[0], c.Nodes[1]
	a.LoadTestFunctions()
	a.Exec("CREATE TABLE t (a int PRIMARY KEY)")
	c.WaitDrained(a, b)
	holder := begin(t, a)
	holder.must("ALTER TABLE t ADD COLUMN b int")
	done := (&tx{t, b, b.Session()}).start("ALTER TABLE t RENAME COLUMN b TO c")
	b.Wait(stepLimit, ddlStages, "node1 acquired; node2 waiting")
	replaceManager(t, a)
	holder.must("CREATE VIEW v AS SELECT b FROM t")
	requireWaiting(t, done)
	holder.must("COMMIT")
	b.Must(answer(t, done))
	requireOneSchema(t, c)
}

// TestDDLUnderLoad exists because a schema changes while users write: eight sessions on
// two nodes, while columns come, and indexes come and go, from both. No row is lost, and
// no stream stays behind.
func TestDDLUnderLoad(t *testing.T) {
	const rounds = 6
	c := replicating(t, 2)
	c.Nodes[0].Exec(clustertest.LoadTables...)
	c.WaitDrained(c.Nodes...)
	load := clustertest.StartLoadAt(100, c.Nodes...)
	for _, n := range c.Nodes {
		load.AddShared(n)
		load.AddShared(n)
	}
	change := func(n *pgtest.Node, sql string) {
		t.Helper()
		pgtest.Eventually(t, clustertest.ResumeLimit, sql, func() (bool, string) {
			err := n.Try(sql)
			if err != nil && pgtest.PgError(err).Code != "40P01" { // with a session, or with what is applied
				t.Fatalf("%s: %s: %s", n.Name, sql, pgtest.Explain(err))
			}
			return err == nil, fmt.Sprint(err)
		})
	}
	for i := range rounds {
		first, second := c.Nodes[i%2], c.Nodes[1-i%2]
		change(first, fmt.Sprintf("ALTER TABLE ledger ADD COLUMN c%d int DEFAULT 7", i))
		change(second, fmt.Sprintf("CREATE INDEX by_new ON ledger (c%d, n)", i))
		change(first, fmt.Sprintf("ALTER TABLE shared ADD COLUMN c%d text", i))
		change(second, "DROP INDEX by_new")
		change(first, fmt.Sprintf("ALTER TABLE shared RENAME COLUMN c%d TO d%[1]d", i))
		load.WaitCommits(t, 300)
	}
	load.End(t)
	requireOneSchema(t, c)
	c.RequireConverged()
	load.RequireAcknowledged(t, c.Nodes...)
	for _, n := range c.Nodes {
		n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.worker_errors", "0")
	}
}
