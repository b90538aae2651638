package apply

import (
	"fmt"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestManagerDiesWhileWriterWaitsForLock exists because a writer that waits for
// a lock hears nothing from its manager. When that one dies, the writer must
// not keep the origin until the lock is free, and the change that waited must
// arrive once.
func TestManagerDiesWhileWriterWaitsForLock(t *testing.T) {
	c, release := clusterWithStuckWriter(t, "SELECT * FROM t WHERE id = 1 FOR UPDATE")
	b := c.Nodes[1]
	stuck := clustertest.OnlyProcess(t, b, clustertest.WriterTitle)
	b.LoadTestFunctions()
	if err := b.Try("SELECT bdr_test.internal_debug_fault('panic')"); err != nil {
		t.Logf("the call ended with: %v", err)
	}
	pgtest.Eventually(t, 20*time.Second, "another writer waits for the lock", func() (bool, string) {
		now := b.ProcessesTitled(clustertest.WriterTitle)
		return len(now) == 1 && now[0].PID != stuck.PID, fmt.Sprint(now)
	})
	clustertest.WaitForLockWait(t, b)
	release()
}

// TestWriterIsTerminatedWhileItWaitsForLock exists because an administrator may
// end a writer that is in the way of a long transaction: it ends at once, comes
// back, and nothing is lost.
func TestWriterIsTerminatedWhileItWaitsForLock(t *testing.T) {
	c, release := clusterWithStuckWriter(t, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
	b := c.Nodes[1]
	stuck := clustertest.OnlyProcess(t, b, clustertest.WriterTitle)
	b.Exec(fmt.Sprintf("SELECT pg_terminate_backend(%d)", stuck.PID))
	pgtest.Eventually(t, 5*time.Second, "the writer has ended", func() (bool, string) { return stuck.Gone(), "it still runs" })
	release()
}

// clusterWithStuckWriter returns two nodes and an update of the first that waits
// on the second for a lock, which release gives up; the update must then be
// there, once.
func clusterWithStuckWriter(t *testing.T, lock string) (c *pgtest.Cluster, release func()) {
	t.Helper()
	c = pgtest.NewCluster(t, 2, pgtest.WithFaults())
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, n int)")
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("INSERT INTO t VALUES (1, 0)")
	c.RequireConverged()

	holder := b.Session()
	_, err := pgtest.RunOn(holder, "BEGIN; "+lock, time.Minute)
	b.Must(err)
	a.Exec("UPDATE t SET n = n + 1 WHERE id = 1")
	clustertest.WaitForLockWait(t, b)
	return c, func() {
		t.Helper()
		_, err := pgtest.RunOn(holder, "COMMIT", time.Minute)
		b.Must(err)
		c.RequireConverged()
		if got := b.Value("SELECT n FROM t WHERE id = 1"); got != "1" {
			t.Errorf("n is %s, expected 1", got)
		}
	}
}

// TestLocksOfUsers exists because users lock rows and tables for as long as they
// like. Apply waits for them, the administrator sees who waits for whom and how
// far the waiting transaction is, and nobody else waits.
func TestLocksOfUsers(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithSettings(map[string]string{"bdr.min_worker_backoff_delay": "100ms", "bdr.max_worker_backoff_delay": "300ms",
		"lock_timeout": "1s", "statement_timeout": "10s", "idle_in_transaction_session_timeout": "1min"}))
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, n int)", "CREATE TABLE other (id int PRIMARY KEY, n int)")
	c.Nodes[0].Exec("INSERT INTO t SELECT g, 0 FROM generate_series(1, 9000) g", "INSERT INTO other VALUES (0, 0)")
	c.RequireConverged()
	t.Run("large_transaction", func(t *testing.T) { requireVisibleProgress(t, c.For(t)) })
	t.Run("bdr.conflict_history", func(t *testing.T) { requireConflictWaits(t, c.For(t)) })
	t.Run("bdr.event_history", func(t *testing.T) { requireErrorsGoOn(t, c.For(t)) })
	t.Run("bdr.subscription", func(t *testing.T) { requireCatalogLock(t, c.For(t)) })
}

func requireVisibleProgress(t *testing.T, c *pgtest.Cluster) {
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	row, rowHolder := clustertest.Hold(t, b, "SELECT FROM t WHERE id = 3000 FOR UPDATE")
	table, tableHolder := clustertest.Hold(t, b, "LOCK TABLE other IN SHARE MODE")
	a.Exec("BEGIN; UPDATE t SET n = n + 1; UPDATE other SET n = n + 1; COMMIT")
	const waits = `SELECT xact_nchanges || ' ' || wait_event_type || ' ' || blocked_by_pids::text || ' ' || worker_backend_state || ' ' || (query LIKE 'apply %')
		FROM bdr.stat_writer WHERE xact_origin_node_name = 'node1'`
	b.Wait(clustertest.ResumeLimit, waits, fmt.Sprintf("3000 Lock {%d} active true", rowHolder))
	b.Wait(clustertest.ResumeLimit, "SELECT wait_event_type || ' ' || (blocked_by_pids = "+fmt.Sprintf("'{%d}'", rowHolder)+
		") FROM bdr.stat_worker WHERE worker_role = 'writer' AND sub_name = '"+subscriptionName(b, a)+"'", "Lock true")
	began := time.Now()
	d.Exec("INSERT INTO t VALUES (-1, 0)")
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM t WHERE id = -1", "1")
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("another peer's change took %v beside a transaction that waits", took)
	}
	row()
	b.Wait(clustertest.ResumeLimit, waits, fmt.Sprintf("9001 Lock {%d} active true", tableHolder))
	if got := b.Value("SELECT (remote_xid = xact_source_xid AND remote_commit_lsn < xact_source_end_lsn AND remote_xid IS NOT NULL AND xact_origin_timestamp < clock_timestamp())::text FROM bdr.writers JOIN bdr.stat_writer USING (sub_name) WHERE sub_name = '" + subscriptionName(b, a) + "'"); got != "true" {
		t.Error("the views do not agree about the transaction")
	}
	if got := b.Value("SELECT string_agg(worker_state, ' ') FROM bdr.stat_receiver"); got != "running running" {
		t.Errorf("receivers are %s", got)
	}
	if got := b.Value("SELECT string_agg(worker_role_name, ' ' ORDER BY worker_role_name) FROM bdr.workers WHERE worker_role_name = 'supervisor' OR worker_role_name = 'manager' OR worker_subid IS NOT NULL"); got != "manager supervisor writer writer" {
		t.Errorf("workers are %s", got)
	}
	// neither timeout of the server ends the wait
	b.Wait(clustertest.ResumeLimit, "SELECT bool_or(clock_timestamp() - waitstart > interval '1.2 s') FROM pg_locks WHERE NOT granted", "t")
	table()
	c.RequireConverged()
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.stat_writer WHERE xact_source_xid IS NOT NULL", "0")
	clustertest.RequireNoErrors(t, b)
	if got := b.Value("SELECT mean_apply_time > 0 AND curr_ncommit > 0 FROM bdr.stat_subscription WHERE sub_name = '" + subscriptionName(b, a) + "'"); got != "t" {
		t.Errorf("mean_apply_time %s", got)
	}
}

// requireConflictWaits: the history of conflicts is a table like any other.
func requireConflictWaits(t *testing.T, c *pgtest.Cluster) {
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	release, holder := clustertest.Hold(t, b, "LOCK TABLE bdr.conflict_history")
	b.Exec("SELECT bdr.alter_subscription_disable('" + subscriptionName(b, a) + "')")
	a.Exec("UPDATE t SET n = 10 WHERE id = 1")
	b.Exec("UPDATE t SET n = 20 WHERE id = 1")
	b.Exec("SELECT bdr.alter_subscription_enable('" + subscriptionName(b, a) + "')")
	b.Wait(clustertest.ResumeLimit, "SELECT blocked_by_pids FROM bdr.stat_writer WHERE xact_origin_node_name = 'node1'", fmt.Sprintf("{%d}", holder))
	d.Exec("INSERT INTO t VALUES (-2, 0)")
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM t WHERE id = -2", "1")
	release()
	c.RequireConverged()
}

// requireErrorsGoOn: a history that cannot be written to keeps nothing from
// being tried again.
func requireErrorsGoOn(t *testing.T, c *pgtest.Cluster) {
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	release, _ := clustertest.Hold(t, b, "LOCK TABLE bdr.event_history")
	b.Exec("ALTER TABLE t ADD CONSTRAINT low CHECK (n < 100)")
	a.Exec("UPDATE t SET n = 100 WHERE id = 2")
	waitFailure(b, a, "23514")
	b.Wait(clustertest.ResumeLimit, "SELECT error_retries >= 2 FROM bdr.worker_errors", "t")
	d.Exec("INSERT INTO t VALUES (-3, 0)")
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM t WHERE id = -3", "1")
	b.Exec("ALTER TABLE t DROP CONSTRAINT low")
	c.RequireConverged()
	release()
}

// requireCatalogLock: our own tables can be locked, even while a manager starts.
func requireCatalogLock(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	sub := subscriptionName(b, a)
	release, _ := clustertest.Hold(t, b, "LOCK TABLE bdr.subscription, bdr.node, bdr.local_node")
	b.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'bdr writer' ")
	a.Exec("UPDATE t SET n = 3 WHERE id = 3")
	b.Wait(clustertest.ResumeLimit, "SELECT n FROM t WHERE id = 3", "3") // a connection needs no table
	session := b.Session()
	disabled := make(chan error, 1)
	go func() {
		_, err := pgtest.RunOn(session, "SELECT bdr.alter_subscription_disable('"+sub+"')", time.Minute)
		disabled <- err
	}()
	const managerWaits = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'bdr manager' AND wait_event_type = 'Lock'"
	b.Wait(clustertest.ResumeLimit, managerWaits, "1")
	release()
	b.Must(<-disabled)
	b.Exec("SELECT bdr.alter_subscription_enable('" + sub + "')")
	c.WaitMesh(c.Nodes...)

	release, _ = clustertest.Hold(t, b, "LOCK TABLE bdr.subscription, bdr.node, bdr.local_node")
	b.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'bdr manager'")
	b.Wait(clustertest.ResumeLimit, managerWaits, "1")
	a.Exec("UPDATE t SET n = 4 WHERE id = 4")
	release()
	c.WaitMesh(c.Nodes...)
	c.RequireConverged()
}
