package failure

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// stopLimit is how long an orderly stop may take, whatever the peers do.
const stopLimit = 15 * time.Second

// A hindrance keeps a peer from confirming what the node that is to be stopped
// has written.
type hindrance struct {
	name   string
	write  []string
	frozen bool // the peer's processes are stopped, too
}

var hindrances = []hindrance{
	{"small_transaction", []string{"UPDATE t SET n = n + 1 WHERE id = 1"}, false},
	{"full_socket", []string{"UPDATE t SET n = n + 1 WHERE id = 1", bulky(2000), bulky(2000), bulky(2000)}, false},
	{"large_transaction", []string{"UPDATE t SET n = n + 1 WHERE id = 1", bulky(40000)}, false},
	{"frozen_peer", []string{"UPDATE t SET n = n + 1 WHERE id = 1", bulky(20000)}, true},
}

// bulky is a transaction of so many rows of 1 kB.
func bulky(rows int) string {
	return fmt.Sprintf("INSERT INTO bulk (v) SELECT repeat(md5(g::text), 32) FROM generate_series(1, %d) g", rows)
}

// TestStopWhilePeerWaits exists because a server that stops waits until its
// peers have confirmed all that it wrote, and a peer that waits for a lock of
// one of its users confirms nothing. The stop must not take longer than a peer
// that works needs, and what was not confirmed must arrive after the restart.
func TestStopWhilePeerWaits(t *testing.T) {
	clustertest.OverTLS(t, func(t *testing.T, options ...pgtest.Option) {
		t.Parallel()
		settings := map[string]string{"bdr.min_worker_backoff_delay": "100ms", "bdr.max_worker_backoff_delay": "300ms",
			"logical_decoding_work_mem": "1MB", "bdr.logical_decoding_work_mem": "1MB", "wal_sender_timeout": "60s"}
		c := pgtest.NewCluster(t, 2, append(options, pgtest.WithSettings(settings))...)
		c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, n int)",
			"CREATE TABLE bulk (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), v text)", "ALTER TABLE bulk ALTER v SET STORAGE EXTERNAL")
		c.Nodes[0].Exec("INSERT INTO t VALUES (1, 0)")
		c.RequireConverged()
		for _, h := range hindrances {
			t.Run(h.name, func(t *testing.T) { requireQuickStop(t, c.For(t), h) })
		}
	})
}

func requireQuickStop(t *testing.T, c *pgtest.Cluster, h hindrance) {
	a, b := c.Nodes[0], c.Nodes[1]
	release, _ := clustertest.Hold(t, b, "SELECT * FROM t WHERE id = 1 FOR UPDATE")
	a.Exec(h.write[0])
	clustertest.WaitForLockWait(t, b)
	a.Exec(h.write[1:]...)
	if h.frozen {
		defer freeze(t, append(b.ProcessesTitled(clustertest.ManagerTitle), b.ProcessesTitled(clustertest.WriterTitle)...))()
	}
	took, err := a.Stop(pgtest.Fast)
	a.Must(err)
	t.Logf("the server stopped in %s", took)
	if took > stopLimit {
		t.Errorf("the server stopped in %s, expected %s at most", took, stopLimit)
	}
	a.Must(a.Start())
	release()
	t.Cleanup(func() {
		if !t.Failed() {
			c.WaitMesh(a, b)
			c.RequireConverged()
		}
	})
}

// freeze stops processes as a debugger does; they go on when the test wants it.
func freeze(t *testing.T, processes []pgtest.Process) (thaw func()) {
	t.Helper()
	for _, p := range processes {
		if err := syscall.Kill(p.PID, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		for !p.Stopped() {
			time.Sleep(time.Millisecond)
		}
	}
	return func() {
		for _, p := range processes {
			_ = syscall.Kill(p.PID, syscall.SIGCONT)
		}
	}
}

// TestStopOfWaitingNode exists because the node whose writer waits for a lock
// must be able to stop as well, in both orderly ways. The lock is of a prepared
// transaction: a smart stop waits for sessions, but not for those of our own.
func TestStopOfWaitingNode(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(clustertest.QuickRetries))
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, n int)")
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("INSERT INTO t VALUES (1, 0)")
	c.RequireConverged()
	_, err := b.Run(b.Database, "BEGIN; LOCK TABLE t; PREPARE TRANSACTION 'holder'")
	b.Must(err)
	a.Exec("UPDATE t SET n = n + 1 WHERE id = 1")
	for _, mode := range []pgtest.StopMode{pgtest.Fast, pgtest.Smart} {
		clustertest.WaitForLockWait(t, b)
		b.CloseSessions()
		took, err := b.Stop(mode)
		b.Must(err)
		t.Logf("the server stopped in %s after signal %d", took, mode)
		if took > stopLimit {
			t.Errorf("the server stopped in %s after signal %d, expected %s at most", took, mode, stopLimit)
		}
		b.Must(b.Start())
	}
	b.Exec("COMMIT PREPARED 'holder'")
	c.WaitMesh(a, b)
	c.RequireConverged()
}
