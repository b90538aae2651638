package cluster

import (
	"fmt"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
)

// TestManagerDiesWhileWriterWaitsForLock exists because a writer that waits for
// a lock hears nothing from its manager. When that one dies, the writer must
// not keep the origin until the lock is free, and the change that waited must
// arrive once.
func TestManagerDiesWhileWriterWaitsForLock(t *testing.T) {
	c, release := clusterWithStuckWriter(t, "SELECT * FROM t WHERE id = 1 FOR UPDATE")
	b := c.Nodes[1]
	stuck := onlyProcess(t, b, writerTitle)
	if err := b.Try("SELECT bdr.internal_debug_fault('panic')"); err != nil {
		t.Logf("the call ended with: %v", err)
	}
	pgtest.Eventually(t, 20*time.Second, "another writer waits for the lock", func() (bool, string) {
		now := b.ProcessesTitled(writerTitle)
		return len(now) == 1 && now[0].PID != stuck.PID, fmt.Sprint(now)
	})
	waitForLockWait(t, b)
	release()
}

// TestWriterIsTerminatedWhileItWaitsForLock exists because an administrator may
// end a writer that is in the way of a long transaction: it ends at once, comes
// back, and nothing is lost.
func TestWriterIsTerminatedWhileItWaitsForLock(t *testing.T) {
	c, release := clusterWithStuckWriter(t, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
	b := c.Nodes[1]
	stuck := onlyProcess(t, b, writerTitle)
	b.Exec(fmt.Sprintf("SELECT pg_terminate_backend(%d)", stuck.PID))
	pgtest.Eventually(t, 5*time.Second, "the writer has ended", func() (bool, string) { return stuck.Gone(), "it still runs" })
	release()
}

// clusterWithStuckWriter returns two nodes and an update of the first that waits
// on the second for a lock, which release gives up; the update must then be
// there, once.
func clusterWithStuckWriter(t *testing.T, lock string) (c *pgtest.Cluster, release func()) {
	t.Helper()
	c = pgtest.NewCluster(t, 2, pgtest.WithSettings(debugFaults))
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, n int)")
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("INSERT INTO t VALUES (1, 0)")
	c.RequireConverged()

	holder := b.Session()
	_, err := pgtest.RunOn(holder, "BEGIN; "+lock, time.Minute)
	b.Must(err)
	a.Exec("UPDATE t SET n = n + 1 WHERE id = 1")
	waitForLockWait(t, b)
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

// waitForLockWait returns when a writer of this node waits for a lock.
func waitForLockWait(t *testing.T, n *pgtest.Node) {
	t.Helper()
	pgtest.Eventually(t, 20*time.Second, "a writer waits for a lock", func() (bool, string) {
		got := n.Value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'bdr writer' AND wait_event_type = 'Lock'")
		return got == "1", got + " do"
	})
}
