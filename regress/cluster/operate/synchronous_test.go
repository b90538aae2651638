package operate

import (
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestSynchronousStandbysOnBothNodes exists because docs/failure-modes.md says
// what happens when two nodes wait for each other to have the same rows, and
// how to get out: a commit that waits for its peer keeps its locks, and the
// peer's writer waits for them.
func TestSynchronousStandbysOnBothNodes(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, v text)")
	a.Exec("INSERT INTO t VALUES (1, 'old')")
	c.RequireConverged()
	for _, n := range c.Nodes {
		n.Exec("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
		n.Wait(clustertest.ResumeLimit, "SHOW synchronous_standby_names", "*")
		n.Wait(clustertest.ResumeLimit, "SELECT sync_state FROM pg_stat_replication WHERE application_name LIKE 'bdr%'", "sync")
	}
	// alone, a commit returns when the peer has it
	a.Exec("UPDATE t SET v = 'seen' WHERE id = 1")
	if got := b.Value("SELECT v FROM t"); got != "seen" {
		t.Errorf("a commit returned before the peer had it: %s", got)
	}
	commits := make(chan error, 2)
	var sessions []*pgconn.PgConn
	for _, n := range c.Nodes {
		conn := n.Session()
		if _, err := pgtest.RunOn(conn, "BEGIN; UPDATE t SET v = '"+n.Name+"'", clustertest.ResumeLimit); err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, conn)
	}
	for _, conn := range sessions {
		go func() {
			_, err := pgtest.RunOn(conn, "COMMIT", clustertest.ResumeLimit)
			commits <- err
		}()
	}
	const waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query = 'COMMIT'"
	for _, n := range c.Nodes {
		n.Wait(clustertest.ResumeLimit, waiting, "1")
		n.Wait(clustertest.ResumeLimit, `SELECT count(*) FROM bdr.stat_worker w JOIN pg_stat_activity s ON s.pid = ANY (w.blocked_by_pids)
			WHERE w.worker_role = 'writer' AND s.wait_event = 'SyncRep'`, "1")
	}
	// one of the two is enough: it has been committed, and its peer will get it
	a.Exec("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
	for range sessions {
		if err := <-commits; err != nil {
			t.Error(err)
		}
	}
	c.RequireConverged()
}
