package conflict

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
)

// inBackground runs a statement on a session of its own and returns its end.
func inBackground(n *pgtest.Node, statements ...string) (pid uint32, end <-chan error) {
	session := n.Session()
	for _, s := range statements[:len(statements)-1] {
		_, err := pgtest.RunOn(session, s, time.Minute)
		n.Must(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := pgtest.RunOn(session, statements[len(statements)-1], time.Minute)
		done <- err
	}()
	return session.PID(), done
}

// waitingCommit counts the sessions that wait for the clock.
const waitingCommit = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND wait_event_type = 'Extension'"

// TestCommitsAreNewerThanWhatWasSeen exists because a session overwrites what
// it finds, whatever the clock says. Without the wait its version may be older
// than the one it replaced, and all other nodes keep that.
func TestCommitsAreNewerThanWhatWasSeen(t *testing.T) {
	c := pgtest.NewCluster(t, 1)
	n := c.Nodes[0]
	n.LoadTestFunctions()
	n.Exec("CREATE TABLE t (id int PRIMARY KEY, v text)", "SELECT pg_replication_origin_create('elsewhere')")
	t.Run("commit_is_later", func(t *testing.T) { testCommitIsLater(t, n.For(t)) })
	t.Run("nobody_else_waits", func(t *testing.T) { testNobodyElseWaits(t, n.For(t)) })
	t.Run("wait_ends_early", func(t *testing.T) { testCommitWaitEnds(t, n.For(t)) })
}

// testCommitIsLater: each way to commit gives a later time than the newest one.
func testCommitIsLater(t *testing.T, n *pgtest.Node) {
	for name, statements := range map[string][]string{
		"statement":     {"INSERT INTO t VALUES (2)"},
		"block":         {"BEGIN; INSERT INTO t VALUES (2); SAVEPOINT s; DELETE FROM t WHERE id = 3; ROLLBACK TO s; COMMIT"},
		"prepared":      {"BEGIN; INSERT INTO t VALUES (2); PREPARE TRANSACTION 'p'", "COMMIT PREPARED 'p'"},
		"local_changes": {"BEGIN; SET LOCAL bdr.xact_replication = off; INSERT INTO t VALUES (2); COMMIT"},
		"repair":        {"SELECT bdr.difference_fix_session_setup()", "INSERT INTO t VALUES (2)", "SELECT bdr.difference_fix_session_reset()"},
	} {
		t.Run(name, func(t *testing.T) {
			n := n.For(t)
			commitAhead(n, "700 ms", "TRUNCATE t; INSERT INTO t VALUES (1)")
			if got := n.Value("SELECT bdr_test.clock() = pg_xact_commit_timestamp(xmin) FROM t"); got != "t" {
				t.Error("the newest time is not the one that the session chose")
			}
			n.Exec(statements...)
			const later = "SELECT (max(pg_xact_commit_timestamp(xmin)) FILTER (WHERE id = 2) > max(pg_xact_commit_timestamp(xmin)) FILTER (WHERE id = 1))::text FROM t"
			if got := n.Value(later); got != "true" {
				t.Errorf("the commit is later than what was there: %s", got)
			}
			if got := n.Value("SELECT bdr_test.clock() >= pg_xact_commit_timestamp(xmin) FROM t WHERE id = 2"); got != "t" {
				t.Error("the commit did not raise the newest time")
			}
		})
	}
}

func testNobodyElseWaits(t *testing.T, n *pgtest.Node) {
	n.Exec("TRUNCATE t")
	commitAhead(n, "2 seconds", "INSERT INTO t VALUES (1)")
	started := time.Now()
	n.Exec("SELECT * FROM t", "BEGIN; INSERT INTO t VALUES (2); ROLLBACK")
	commitAhead(n, "-1 hour", "INSERT INTO t VALUES (3)")
	if _, err := n.Run("postgres", "CREATE TABLE elsewhere AS SELECT 1"); err != nil {
		t.Error(err)
	}
	if time.Since(started) > 1500*time.Millisecond {
		t.Error("something waited that does not have to")
	}
	if got := n.Value("SELECT pg_xact_commit_timestamp(xmin) < now() - interval '50 min' FROM t WHERE id = 3"); got != "t" {
		t.Error("a session did not get the commit time that it chose")
	}
}

// testCommitWaitEnds: whoever is in charge can end a wait.
func testCommitWaitEnds(t *testing.T, n *pgtest.Node) {
	n.Exec("TRUNCATE t", "BEGIN; INSERT INTO t VALUES (20); PREPARE TRANSACTION 'p'")
	commitAhead(n, "1 hour", "INSERT INTO t VALUES (1)")
	for name, statement := range map[string]string{"statement": "INSERT INTO t VALUES (2)", "prepared": "COMMIT PREPARED 'p'"} {
		t.Run("cancelled_"+name, func(t *testing.T) {
			n := n.For(t)
			pid, end := inBackground(n, statement)
			n.Wait(10*time.Second, waitingCommit, "1")
			n.Exec(fmt.Sprintf("SELECT pg_cancel_backend(%d)", pid))
			if e := pgtest.PgError(<-end); e == nil || e.Code != "57014" {
				t.Errorf("the statement was cancelled, but ended with %v", e)
			}
		})
	}
	pid, end := inBackground(n, "BEGIN; INSERT INTO t VALUES (3)", "COMMIT")
	n.Wait(10*time.Second, waitingCommit, "1")
	n.Exec(fmt.Sprintf("SELECT pg_terminate_backend(%d)", pid))
	if e := pgtest.PgError(<-end); e == nil || e.Code != "57P01" {
		t.Errorf("the session was terminated, but ended with %v", e)
	}

	_, end = inBackground(n, "INSERT INTO t VALUES (4)")
	_, preparedEnd := inBackground(n, "COMMIT PREPARED 'p'")
	n.Wait(10*time.Second, waitingCommit, "2")
	setSkew(t, n, "0", "WARN")
	n.Must(<-end)
	n.Must(<-preparedEnd)
	if got := n.Value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t"); got != "1 4 20" {
		t.Errorf("committed is %s", got)
	}
	if !strings.Contains(n.LogTail(100), "ms for the clock") {
		t.Error("the log does not tell of the wait")
	}
}
