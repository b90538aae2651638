package lock

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

const (
	lockTable = "SELECT bdr.global_lock_table('t')"
	writeTo   = "SET lock_timeout = '500ms'; INSERT INTO t VALUES (%d, '%s')"

	// tableStages are those of the global locks of tables, with the nodes that users may write on.
	tableStages = "SELECT COALESCE(string_agg(origin_node_name || ' ' || relation || ' ' || acquire_stage || COALESCE(' ' || array_to_string(missing_nodes, ','), ''), '; ' ORDER BY global_lock_request_time), '') FROM bdr.global_locks WHERE lock_type = 'GLOBAL_LOCK_DML'"

	noGates = "SELECT count(*) FROM bdr.internal_gates()"
)

// withTable makes a cluster in which DDL replicates, with a table that has a row.
func withTable(t *testing.T, nodes int, options ...pgtest.Option) *pgtest.Cluster {
	t.Helper()
	c := replicating(t, nodes, options...)
	c.Nodes[0].Exec("CREATE TABLE t (a int PRIMARY KEY, b text)", "CREATE TABLE other (a int PRIMARY KEY)", "INSERT INTO t VALUES (1, 'first')")
	c.WaitDrained(c.Nodes...)
	return c
}

func requireNoLocks(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	for _, n := range c.Nodes {
		n := n.For(t)
		n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.global_lock", "0")
		n.Wait(clustertest.ResumeLimit, noGates, "0")
		n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.table_gate", "0")
		n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.worker_errors", "0")
	}
}

// TestTableIsLockedEverywhere exists because that is what the lock is: one transaction writes
// to the table, and those who wait go on when it has ended, as after any lock.
func TestTableIsLockedEverywhere(t *testing.T) {
	c := withTable(t, 3)
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	holder := begin(t, a)
	holder.must(lockTable)
	for _, n := range c.Nodes {
		n.Wait(stepLimit, tableStages, "node1 public.t acquired")
	}
	holder.must(lockTable)
	for _, n := range []*pgtest.Node{b, d} {
		requireCode(t, n.Try(fmt.Sprintf(writeTo, 2, "x")), lockTaken, "lock timeout")
		requireCode(t, n.Try("SET lock_timeout = '500ms'; COPY t FROM PROGRAM 'echo 5'"), lockTaken, "lock timeout")
		n.Exec("INSERT INTO other VALUES ("+n.Name[4:]+")", "SELECT * FROM t")
	}
	waiting := (&tx{t, b, b.Session()}).start("UPDATE t SET b = b || ', second'")
	b.Wait(stepLimit, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE t%'", "1")
	next := begin(t, d)
	nextDone := next.start(lockTable)
	a.Wait(stepLimit, tableStages, "node1 public.t acquired; node3 public.t waiting")
	holder.must("INSERT INTO t VALUES (7, 'own'); UPDATE t SET b = 'changed' WHERE a = 1")
	requireWaiting(t, waiting)
	requireWaiting(t, nextDone)
	holder.must("COMMIT")
	d.Must(answer(t, nextDone))
	b.Must(answer(t, waiting)) // it was before
	if got := d.Value("SELECT b FROM t WHERE a = 1"); got != "changed, second" && got != "changed" {
		t.Errorf("node3 has %q", got)
	}
	next.must("COMMIT")
	requireNoLocks(t, c)
	c.RequireConverged()
	if got := a.Value("SELECT b FROM t WHERE a = 1"); got != "changed, second" {
		t.Errorf("the row is %q", got)
	}
}

// TestLockWaitsForWriters exists because what others have written must be there before the one
// with the lock looks, also of transactions that were under way.
func TestLockWaitsForWriters(t *testing.T) {
	c := withTable(t, 3)
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	writer := begin(t, b)
	writer.must("INSERT INTO t VALUES (2, 'under way')")
	holder := begin(t, a)
	done := holder.start(lockTable)
	d.Wait(stepLimit, tableStages, "node1 public.t draining node2")
	b.Exec("INSERT INTO other VALUES (1)")
	a.Wait(stepLimit, "SELECT count(*) FROM other", "1") // its stream goes on
	requireWaiting(t, done)
	writer.must("INSERT INTO t VALUES (3, 'under way'); COMMIT")
	a.Must(answer(t, done))
	if got := holder.value("SELECT count(*) FROM t"); got != "3" {
		t.Errorf("who has the lock sees %s rows", got)
	}
	holder.must("ROLLBACK")

	writer.must("BEGIN; UPDATE t SET b = 'x' WHERE a = 2")
	requireCode(t, a.Try(fmt.Sprintf(setTimeout, "2s")+lockTable), lockTaken, `the global lock of table "public.t" within 2s`, `"node2"`)
	writer.must("COMMIT")
	requireNoLocks(t, c)

	writer.must("BEGIN; UPDATE t SET b = 'y' WHERE a = 2")
	cancelled := begin(t, a)
	done = cancelled.start(lockTable)
	b.Wait(stepLimit, tableStages, "node1 public.t draining node2")
	a.Exec(fmt.Sprintf("SELECT pg_cancel_backend(%d)", cancelled.conn.PID()))
	requireCode(t, answer(t, done), canceled)
	requireNoLocks(t, c)
	writer.must("COMMIT")
	c.RequireConverged()
}

func (s *tx) value(sql string) string {
	s.t.Helper()
	rows, err := pgtest.RunOn(s.conn, sql, time.Minute)
	s.node.Must(err)
	return rows[0][0]
}

// TestPeersPassTheGate exists because the rows that a lock waits for, and those behind which a
// statement has to come, must get through where the table is locked already.
func TestPeersPassTheGate(t *testing.T) {
	c := withTable(t, 3, pgtest.WithProxies())
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	late := c.Link(d, b) // from node2 to node3
	late.Cut()
	b.Exec("INSERT INTO t VALUES (2, 'late')", "UPDATE t SET b = 'late' WHERE a = 1")
	changer := begin(t, a)
	changer.must("ALTER TABLE t DROP COLUMN b; COMMIT")
	d.Wait(stepLimit, "SELECT count(*) FROM bdr.internal_gates() WHERE closed AND held", "1")
	indexer := begin(t, d)
	indexer.must("SET LOCAL bdr.ddl_replication = off; CREATE INDEX by_a ON t (a)")
	late.Heal()
	d.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'bdr writer' AND wait_event_type = 'Lock'", "1")
	indexer.must("COMMIT")
	requireNoLocks(t, c)
	if got := d.Value("SET enable_seqscan = off; SELECT count(*) FROM t WHERE a > 0"); got != "2" {
		t.Errorf("the index finds %s rows", got)
	}
	c.RequireConverged()
}

// TestLockComesTooLate exists because a transaction can have locked what the rows need that it
// waits for: no server sees that deadlock, and the way around it must be said.
func TestLockComesTooLate(t *testing.T) {
	c := withTable(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	for _, before := range []string{"ALTER TABLE t ADD COLUMN c int", "UPDATE t SET b = 'mine'", "LOCK TABLE t"} {
		late := begin(t, a)
		late.must(before)
		b.Exec("UPDATE t SET b = 'theirs'")
		requireCode(t, late.try("ALTER TABLE t DROP COLUMN b"), "40P01", `node "node2"`, "bdr.global_lock_table()")
		late.must("ROLLBACK")
		requireNoLocks(t, c)
	}
	first := begin(t, a)
	first.must(lockTable + "; ALTER TABLE t ADD COLUMN c int; UPDATE t SET b = 'mine'; ALTER TABLE t DROP COLUMN b; COMMIT")
	requireNoLocks(t, c)
	requireOneSchema(t, c)
	c.RequireConverged()
}

// TestNodeIsMissing exists because a lock that nobody writes under needs every node: who is
// away is named, and the way out is to part it.
func TestNodeIsMissing(t *testing.T) {
	c := withTable(t, 3)
	a, d := c.Nodes[0], c.Nodes[2]
	d.Must(d.Kill9())
	requireCode(t, a.Try(fmt.Sprintf(setTimeout, "3s")+"ALTER TABLE t DROP COLUMN b"), lockTaken, `table "public.t"`, `"node3"`, "parted")
	a.Exec(fmt.Sprintf(setTimeout, "3s")+"ALTER TABLE t ADD COLUMN c int", "CREATE TABLE u (a int PRIMARY KEY)")
	a.Exec("RESET bdr.global_lock_timeout")
	a.Exec("SELECT bdr.part_node('node3')")
	a.Exec("ALTER TABLE t DROP COLUMN b")
	rest := c.Nodes[:2]
	c.WaitDrained(rest...)
	c.RequireConvergedAmong(rest...)
}

// TestPartedNodeIsFree exists because a node that leaves is not waited for any more, and its
// users need not wait either.
func TestPartedNodeIsFree(t *testing.T) {
	c := withTable(t, 3)
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	holder := begin(t, a)
	holder.must(lockTable)
	requireCode(t, b.Try(fmt.Sprintf(writeTo, 2, "x")), lockTaken)
	d.Exec("SELECT bdr.part_node('node2')")
	pgtest.Eventually(t, stepLimit, "the parted node is free", func() (bool, string) {
		err := b.Try(fmt.Sprintf(writeTo, 2, "x"))
		return err == nil, fmt.Sprint(err)
	})
	requireCode(t, d.Try(fmt.Sprintf(writeTo, 3, "x")), lockTaken)
	holder.must("ALTER TABLE t DROP COLUMN b; COMMIT")
	b.Exec("SELECT bdr.drop_node('node2')", "DROP EXTENSION bdr CASCADE", "INSERT INTO t VALUES (4, 'x')")
	rest := []*pgtest.Node{a, d}
	c.WaitDrained(rest...)
	c.RequireConvergedAmong(rest...)
}

// TestHolderOfTableDies exists because users of all nodes wait for it. Where its server goes
// down, too, the stream that keeps their nodes' locks ends: they may have to try again.
func TestHolderOfTableDies(t *testing.T) {
	c := withTable(t, 3)
	a, b := c.Nodes[0], c.Nodes[1]
	for _, end := range []struct {
		name string
		do   func(pid int)
		may  bool // the user has to try again
	}{
		{"terminated", func(pid int) { a.Exec(fmt.Sprintf("SELECT pg_terminate_backend(%d)", pid)) }, false},
		{"killed", func(pid int) { a.KillProcess(pgtest.Process{PID: pid}) }, true},
	} {
		holder := begin(t, a)
		holder.must("ALTER TABLE t DROP COLUMN b")
		insert := fmt.Sprintf("INSERT INTO t VALUES (%d, '%s')", 10+len(end.name), end.name)
		done := (&tx{t, b, b.Session()}).start(insert)
		b.Wait(stepLimit, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO t%'", "1")
		end.do(int(holder.conn.PID()))
		if err := answer(t, done); err != nil {
			if !end.may {
				t.Fatalf("%s: %s", end.name, pgtest.Explain(err))
			}
			requireCode(t, err, lockTaken, "Try again")
			pgtest.Eventually(t, stepLimit, "the table can be written to", func() (bool, string) {
				err := b.Try(insert)
				return err == nil, fmt.Sprint(err)
			})
		}
		requireNoLocks(t, c)
		c.RequireConverged()
		if got := a.Value("SELECT count(*) FROM t WHERE b = '" + end.name + "'"); got != "1" {
			t.Errorf("%s: the row is not there", end.name)
		}
	}
}

// TestManagerDiesUnderTableLock exists because the transaction goes on, and its lock with it.
func TestManagerDiesUnderTableLock(t *testing.T) {
	c := withTable(t, 2, pgtest.WithFaults())
	a, b := c.Nodes[0], c.Nodes[1]
	a.LoadTestFunctions()
	holder := begin(t, a)
	holder.must(lockTable)
	done := (&tx{t, b, b.Session()}).start("INSERT INTO t VALUES (2, 'waits')")
	b.Wait(stepLimit, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO t%'", "1")
	replaceManager(t, a)
	holder.must("ALTER TABLE t DROP COLUMN b; ALTER TABLE t ADD COLUMN b text")
	requireWaiting(t, done)
	holder.must("COMMIT")
	b.Must(answer(t, done))
	requireNoLocks(t, c)
	requireOneSchema(t, c)
	c.RequireConverged()
}

// TestJoinBesideTableLocks exists because a node that comes while tables are locked has users,
// too: from when on it counts must not be in doubt.
func TestJoinBesideTableLocks(t *testing.T) {
	c := replicating(t, 3, pgtest.WithMembers(2))
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	a.Exec("CREATE TABLE t (a int PRIMARY KEY, b text)", "INSERT INTO t VALUES (1, 'first')")
	c.WaitDrained(a, b)
	d.CreateNode()
	d.StartJoin(b)
	names := []string{"b", "c"}
	for i := 0; ; i++ {
		a.Exec(fmt.Sprintf("BEGIN; ALTER TABLE t RENAME COLUMN %s TO %s; INSERT INTO t VALUES (%d, 'more'); COMMIT", names[i%2], names[1-i%2], 10+i))
		b.Exec(fmt.Sprintf("INSERT INTO t VALUES (%d, 'other')", 100000+i))
		if d.Value("SELECT count(*) FROM bdr.node_summary WHERE node_name = 'node3' AND peer_state_name = 'ACTIVE'") == "1" {
			t.Logf("%d changes while the node joined", i+1)
			break
		}
	}
	d.Exec("INSERT INTO t VALUES (2, 'after')")
	requireNoLocks(t, c)
	requireOneSchema(t, c)
	c.RequireConverged()
}

// TestGateOutlivesItsWriter exists because the lock of the server ends with its process, and in
// a crash with all of them: nobody may write before the next one has it.
func TestGateOutlivesItsWriter(t *testing.T) {
	c := withTable(t, 2, pgtest.WithSettings(map[string]string{"bdr.ddl_replication": "on", "bdr.max_worker_backoff_delay": "1s"}))
	a, b := c.Nodes[0], c.Nodes[1]
	holder := begin(t, a)
	holder.must(lockTable + "; TRUNCATE t")
	refused := func(times int) {
		t.Helper()
		for i := range times {
			requireCode(t, b.Try("SET lock_timeout = '100ms'; INSERT INTO t VALUES (99, 'never')"), lockTaken)
			if i%5 == 0 {
				requireCode(t, b.Try("SET lock_timeout = '100ms'; COPY t FROM PROGRAM 'echo 98'"), lockTaken)
				requireCode(t, b.Try("SET lock_timeout = '100ms'; TRUNCATE t"), lockTaken)
			}
		}
	}
	refused(3)
	for range 3 {
		b.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'bdr writer'")
		refused(10)
		b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.internal_gates() WHERE closed AND held", "1")
	}
	b.Must(b.Kill9())
	b.Must(b.Start())
	refused(10)
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.internal_gates() WHERE closed AND held", "1")
	refused(3)
	holder.must("COMMIT")
	requireNoLocks(t, c)
	b.Exec("INSERT INTO t VALUES (2, 'after')")
	c.RequireConverged()
	if got := a.Value("SELECT string_agg(b, ' ') FROM t"); got != "after" {
		t.Errorf("the rows are %q", got)
	}
}

// TestPartitionsAreOneTree exists because a row has two names there: the lock of one is that of
// all.
func TestPartitionsAreOneTree(t *testing.T) {
	c := replicating(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE TABLE t (a int PRIMARY KEY, b text) PARTITION BY RANGE (a)", "CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (100)",
		"CREATE TABLE high PARTITION OF t FOR VALUES FROM (100) TO (200)", "CREATE TABLE above (a int PRIMARY KEY)", "CREATE TABLE below () INHERITS (above)")
	c.WaitDrained(a, b)
	holder := begin(t, a)
	holder.must("SELECT bdr.global_lock_table('low'), bdr.global_lock_table('above')")
	b.Wait(stepLimit, tableStages, "node1 public.t acquired; node1 public.above acquired")
	for _, sql := range []string{"INSERT INTO t VALUES (1)", "INSERT INTO high VALUES (101)", "INSERT INTO below VALUES (1)", "DELETE FROM above"} {
		requireCode(t, b.Try("SET lock_timeout = '300ms'; "+sql), lockTaken)
	}
	holder.must("INSERT INTO t VALUES (5, 'low'), (105, 'high'); INSERT INTO below VALUES (3); COMMIT")
	requireNoLocks(t, c)
	b.Exec("INSERT INTO t VALUES (1), (101)", "INSERT INTO below VALUES (1)")
	c.RequireConverged()
}

// TestTruncateLocking exists because TRUNCATE removes rows that its node may not have yet, and
// then nodes differ. Under the lock they do not.
func TestTruncateLocking(t *testing.T) {
	const rounds = 5
	c := withTable(t, 3)
	c.Nodes[0].Exec("ALTER TABLE other ADD COLUMN t int REFERENCES t ON DELETE CASCADE")
	c.WaitDrained(c.Nodes...)
	stop := make(chan struct{})
	var wait sync.WaitGroup
	for i, n := range c.Nodes {
		s := &tx{t, n, n.Session()}
		wait.Go(func() {
			for j := 0; ; j++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := s.persist(fmt.Sprintf("INSERT INTO t VALUES (%d, '%s')", 10+3*j+i, n.Name)); err != nil {
					t.Errorf("%s: %s", n.Name, pgtest.Explain(err))
					return
				}
			}
		})
	}
	for i := range rounds {
		n := c.Nodes[i%3]
		n.Exec("SET bdr.truncate_locking = on; TRUNCATE t CASCADE")
		n.Wait(stepLimit, "SELECT count(*) > 20 FROM t", "t")
	}
	close(stop)
	wait.Wait()
	requireNoLocks(t, c)
	c.RequireConverged()
}

// persist does what the hint of a locked table says: a machine that is busy may end a writer.
func (s *tx) persist(sql string) error {
	for {
		err := s.try(sql)
		if e := pgtest.PgError(err); e == nil || e.Code != lockTaken || !strings.HasPrefix(e.Hint, "Try again.") {
			return err
		}
		s.t.Logf("%s: once more: %s", s.node.Name, sql)
		time.Sleep(10 * time.Millisecond) // as somebody would
	}
}

// TestSchemaChangesBesideWriters exists because that is what the lock is for: columns that
// rows have come and go, change their types and names, and no stream stops, no row is lost and
// no session gets an error that does not go by itself.
func TestSchemaChangesBesideWriters(t *testing.T) {
	const rounds = 4
	c := withTable(t, 3)
	a := c.Nodes[0]
	a.Exec("ALTER TABLE t ADD COLUMN number int")
	c.WaitDrained(c.Nodes...)
	stop := make(chan struct{})
	var wait sync.WaitGroup
	var mu sync.Mutex
	rows := 1
	for i, n := range c.Nodes {
		for k := range 2 {
			s := &tx{t, n, n.Session()}
			wait.Go(func() {
				for j := 1; ; j++ {
					select {
					case <-stop:
						return
					default:
					}
					key := 10 + 6*j + 2*i + k
					if err := s.persist(fmt.Sprintf("INSERT INTO t (a) VALUES (%d); UPDATE t SET b = 'changed' WHERE a = %[1]d", key)); err != nil {
						t.Errorf("%s: %s", n.Name, pgtest.Explain(err))
						return
					}
					mu.Lock()
					rows++
					mu.Unlock()
				}
			})
		}
	}
	for i := range rounds {
		n := c.Nodes[i%3]
		for _, sql := range []string{"ALTER TABLE t ADD COLUMN extra text NOT NULL DEFAULT 'x'", "ALTER TABLE t ALTER COLUMN number TYPE bigint", "CREATE INDEX by_b ON t (b)",
			"ALTER TABLE t RENAME COLUMN extra TO more", "DROP INDEX by_b", "ALTER TABLE t DROP COLUMN more", "ALTER TABLE t ALTER COLUMN number TYPE int"} {
			pgtest.Eventually(t, clustertest.ResumeLimit, sql, func() (bool, string) {
				err := n.Try(sql)
				if err != nil && pgtest.PgError(err).Code != "40P01" { // with what is applied
					t.Fatalf("%s: %s: %s", n.Name, sql, pgtest.Explain(err))
				}
				return err == nil, fmt.Sprint(err)
			})
		}
	}
	close(stop)
	wait.Wait()
	requireNoLocks(t, c)
	requireOneSchema(t, c)
	c.RequireConverged()
	if got := a.Value("SELECT count(*) FROM t"); got != fmt.Sprint(rows) {
		t.Errorf("%s rows of %d that were written", got, rows)
	}
	t.Logf("%d rows were written beside %d changes of the schema", rows, 7*rounds)
}

// TestTablesThatNeedNoLock exists because a lock that needs every node must not be asked for
// where nobody else can write.
func TestTablesThatNeedNoLock(t *testing.T) {
	c := withTable(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE UNLOGGED TABLE unlogged (a int)", "CREATE ROLE poor LOGIN", "GRANT ALL ON SCHEMA public TO poor")
	c.WaitDrained(a, b)
	for _, sql := range []string{"CREATE TABLE mine (a int); ALTER TABLE mine ALTER COLUMN a TYPE bigint; CREATE INDEX ON mine (a); TRUNCATE mine; DROP TABLE mine",
		"ALTER TABLE unlogged ALTER COLUMN a TYPE bigint", "ALTER TABLE t ADD COLUMN c int", "SET LOCAL bdr.truncate_locking = off; TRUNCATE t",
		"CREATE TEMP TABLE temporary (a int); ALTER TABLE temporary ALTER COLUMN a TYPE bigint; SET LOCAL bdr.truncate_locking = on; TRUNCATE temporary",
		"SET LOCAL bdr.ddl_locking = off; SET LOCAL bdr.truncate_locking = on; TRUNCATE t", "SET LOCAL bdr.ddl_replication = off; ALTER TABLE t DROP COLUMN b"} {
		s := begin(t, a)
		s.must(sql)
		if got := a.Value(tableStages); got != "" {
			t.Errorf("%s: %s", sql, got)
		}
		s.must("ROLLBACK")
	}
	poor := a.As("poor", "")
	for _, sql := range []string{"ALTER TABLE t DROP COLUMN b", "TRUNCATE t", "DROP TABLE t", "CREATE INDEX ON t (a)", "SELECT bdr.global_lock_table('t')", "ALTER TABLE t RENAME TO u"} {
		requireCode(t, poor.Try("SET bdr.truncate_locking = on; "+sql), noRights)
	}
	requireNoLocks(t, c)
	for _, table := range []string{"4000000", "'bdr.node'", "'pg_class'", "'t_pkey'"} {
		requireCode(t, a.Try("SELECT bdr.global_lock_table("+table+")"), "42809", "not a table")
	}
	// what a peer says is locked must not stop the manager, or the server
	for _, table := range []string{"'bdr', 'node'", "'pg_catalog', 'pg_class'", "'public', 'none'", "'none', 'none'"} {
		if got := a.Value("SELECT bdr.internal_close_gates(" + table + ", 1, 'x') IS NULL"); got != "t" {
			t.Errorf("%s can be locked", table)
		}
	}
	a.Exec("SET bdr.ddl_replication = off; CREATE TABLE here (a int)")
	requireCode(t, a.Try("SELECT bdr.global_lock_table('here')"), lockTaken, `no such table on node "node2"`)
}
