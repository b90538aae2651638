package lock

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

const (
	lockTaken   = "55P03"
	canceled    = "57014"
	wrongState  = "55000"
	unsupported = "0A000"
	noRights    = "42501"
	stepLimit   = 20 * time.Second
	holders     = "SELECT count(*) FROM bdr.global_locks WHERE acquire_stage = 'acquired'"
	stages      = "SELECT COALESCE(string_agg(origin_node_name || ' ' || key || ' ' || acquire_stage || ' ' || waiters, '; ' ORDER BY place), '') FROM bdr.global_locks JOIN bdr.global_lock USING (origin_node_id, pid, global_lock_request_time)"
	setTimeout  = "SET bdr.global_lock_timeout = '%s'; "
	lockSeven   = "SELECT bdr.global_advisory_lock(7)"
)

// tx is a session with a transaction that is open.
type tx struct {
	t    *testing.T
	node *pgtest.Node
	conn *pgconn.PgConn
}

func begin(t *testing.T, n *pgtest.Node) *tx {
	t.Helper()
	s := &tx{t, n, n.Session()}
	s.must("BEGIN")
	return s
}

func (s *tx) try(sql string) error {
	_, err := pgtest.RunOn(s.conn, sql, time.Minute)
	return err
}

func (s *tx) must(sql string) {
	s.t.Helper()
	s.node.Must(s.try(sql))
}

// start runs SQL that is expected to wait; the answer comes later.
func (s *tx) start(sql string) <-chan error {
	done := make(chan error, 1)
	go func() { done <- s.try(sql) }()
	return done
}

func answer(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(stepLimit):
		t.Fatal("the session still waits")
		return nil
	}
}

func requireWaiting(t *testing.T, done <-chan error) {
	t.Helper()
	select {
	case err := <-done:
		t.Fatalf("the session does not wait: %v", err)
	default:
	}
}

func requireCode(t *testing.T, err error, code string, words ...string) {
	t.Helper()
	e := pgtest.PgError(err)
	if e == nil || e.Code != code {
		t.Fatalf("expected SQLSTATE %s: %v", code, err)
	}
	for _, w := range words {
		if text := pgtest.Explain(err); !strings.Contains(text, w) {
			t.Errorf("%q is not said: %s", w, text)
		}
	}
}

// requireFree takes a lock in a transaction of its own.
func requireFree(t *testing.T, n *pgtest.Node, call string) {
	t.Helper()
	pgtest.Eventually(t, stepLimit, call+" is free", func() (bool, string) {
		err := n.Try("SET bdr.global_lock_timeout = '5s'; " + call)
		return err == nil, fmt.Sprint(err)
	})
}

// TestOneHasTheLock exists because that is what a lock is: one in the whole group, the
// next one when that one has committed, in turn.
func TestOneHasTheLock(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	first := begin(t, c.Nodes[0])
	first.must(lockSeven)
	second, third := begin(t, c.Nodes[1]), begin(t, c.Nodes[2])
	secondDone := second.start(lockSeven)
	for _, n := range c.Nodes {
		n.Wait(stepLimit, stages, "node1 7 acquired 1; node2 7 waiting 0")
	}
	c.Nodes[1].Wait(stepLimit, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND query LIKE '%global_advisory_lock(7)%' AND state = 'active' AND pid <> pg_backend_pid()", "1")
	thirdDone := third.start(lockSeven)
	c.Nodes[0].Wait(stepLimit, stages, "node1 7 acquired 2; node2 7 waiting 1; node3 7 waiting 0")
	requireFree(t, c.Nodes[1], "SELECT bdr.global_advisory_lock(8)")
	requireFree(t, c.Nodes[1], "SELECT bdr.global_advisory_lock(0, 7)")
	requireWaiting(t, secondDone)

	first.must("COMMIT")
	c.Nodes[1].Must(answer(t, secondDone))
	requireWaiting(t, thirdDone)
	second.must("ROLLBACK")
	c.Nodes[2].Must(answer(t, thirdDone))
	third.must("COMMIT")
	for _, n := range c.Nodes {
		n.Wait(stepLimit, "SELECT count(*) FROM bdr.global_lock", "0")
	}
	c.RequireConverged()
}

// TestCounter exists because what only works when one looks on is no lock: each
// transaction reads what all before it have written, wherever they ran.
func TestCounter(t *testing.T) {
	const each = 8
	c := pgtest.NewCluster(t, 3)
	c.ExecAll("CREATE TABLE held (n int)")
	var wait sync.WaitGroup
	var mu sync.Mutex
	inside := 0
	failures := make(chan error, 100)
	for i := range 6 {
		n := c.Nodes[i%len(c.Nodes)]
		s := &tx{t, n, n.Session()}
		wait.Go(func() {
			for range each {
				if err := s.try("BEGIN; SELECT bdr.global_advisory_lock(-1, 2147483647)"); err != nil {
					failures <- err
					return
				}
				mu.Lock()
				inside++
				if inside != 1 {
					failures <- fmt.Errorf("%d transactions have the lock", inside)
				}
				mu.Unlock()
				err := s.try("INSERT INTO held VALUES (1)")
				mu.Lock()
				inside--
				mu.Unlock()
				if err == nil {
					err = s.try("COMMIT")
				}
				if err != nil {
					failures <- err
					return
				}
			}
		})
	}
	wait.Wait()
	close(failures)
	for err := range failures {
		t.Error(pgtest.Explain(err))
	}
	c.RequireConverged()
	if got := c.Nodes[2].Value("SELECT count(*) FROM held"); got != fmt.Sprint(6*each) {
		t.Errorf("%s transactions committed", got)
	}
	c.Nodes[0].Wait(stepLimit, "SELECT count(*) FROM bdr.global_lock", "0")
}

// TestWithinATransaction exists because functions call functions that lock the same,
// and savepoints take things back.
func TestWithinATransaction(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	const keys = "SELECT COALESCE(string_agg(key, ' ' ORDER BY place), '') FROM bdr.global_locks JOIN bdr.global_lock USING (origin_node_id, pid, global_lock_request_time)"
	for _, test := range []struct{ name, does, held string }{
		{"twice", "SELECT bdr.global_advisory_lock(1); SELECT bdr.global_advisory_lock(1); SELECT bdr.global_advisory_unlock(1)", "1"},
		{"given_back", "SELECT bdr.global_advisory_lock(1); SELECT bdr.global_advisory_lock(1); SELECT bdr.global_advisory_unlock(1); SELECT bdr.global_advisory_unlock(1)", ""},
		{"rolled_back", "SELECT bdr.global_advisory_lock(1); SAVEPOINT s; SELECT bdr.global_advisory_lock(1, 2); ROLLBACK TO s", "1"},
		{"released_savepoint", "SAVEPOINT s; SELECT bdr.global_advisory_lock(2); RELEASE s; SAVEPOINT s; SELECT bdr.global_advisory_lock(3); ROLLBACK TO s", "2"},
		{"taken_outside", "SELECT bdr.global_advisory_lock(1); SAVEPOINT s; SELECT bdr.global_advisory_lock(1); ROLLBACK TO s", "1"},
		{"nested", "SAVEPOINT s; SAVEPOINT u; SELECT bdr.global_advisory_lock(4); RELEASE u; ROLLBACK TO s", ""},
		{"unlocked_inside", "SELECT bdr.global_advisory_lock(1); SAVEPOINT s; SELECT bdr.global_advisory_unlock(1); RELEASE s", ""},
		{"exception", "DO $$ BEGIN PERFORM bdr.global_advisory_lock(5); BEGIN PERFORM bdr.global_advisory_lock(6); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN END; END $$", "5"},
		{"signs", "SELECT bdr.global_advisory_lock(-9223372036854775808); SELECT bdr.global_advisory_lock(-1); SELECT bdr.global_advisory_lock(-5, 6)", "-9223372036854775808 -1 -5, 6"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, b := a.For(t), b.For(t)
			s := begin(t, a)
			s.must(test.does)
			b.Wait(stepLimit, keys, test.held)
			s.must("COMMIT")
			b.Wait(stepLimit, keys, "")
		})
	}
	s := begin(t, a)
	requireCode(t, s.try("SELECT bdr.global_advisory_unlock(9)"), wrongState, "does not have the global advisory lock 9")
	s.must("ROLLBACK; BEGIN; SELECT bdr.global_advisory_lock(9)")
	requireCode(t, s.try("PREPARE TRANSACTION 'p'"), unsupported, "global locks")
	b.Wait(stepLimit, keys, "")
	s.must("ROLLBACK")

	a.Exec("CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN PERFORM bdr.global_advisory_lock(7); COMMIT; PERFORM bdr.global_advisory_lock(8); END $$")
	s.must("CALL p()")
	b.Wait(stepLimit, keys, "")
}

// TestGivenUp exists because who waits must be able to stop waiting, and must not get
// the lock afterwards.
func TestGivenUp(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	holder := begin(t, a)
	holder.must(lockSeven)

	waiter := begin(t, b)
	requireCode(t, waiter.try(fmt.Sprintf(setTimeout, "300ms")+lockSeven), lockTaken, "lock 7 within 300ms", `of node "node1"`, fmt.Sprint(holder.conn.PID()))
	onlyHolder := func() { // otherwise what was given up is taken for the next wait
		t.Helper()
		for _, n := range c.Nodes {
			n.Wait(stepLimit, stages, "node1 7 acquired 0")
		}
	}
	onlyHolder()
	waiter.must("ROLLBACK; BEGIN")
	done := waiter.start(lockSeven)
	b.Wait(stepLimit, stages, "node1 7 acquired 1; node2 7 waiting 0")
	b.Exec(fmt.Sprintf("SELECT pg_cancel_backend(%d)", waiter.conn.PID()))
	requireCode(t, answer(t, done), canceled)
	onlyHolder()
	waiter.must("ROLLBACK; BEGIN")
	done = waiter.start(lockSeven)
	b.Wait(stepLimit, stages, "node1 7 acquired 1; node2 7 waiting 0")
	b.Exec(fmt.Sprintf("SELECT pg_terminate_backend(%d)", waiter.conn.PID()))
	if answer(t, done) == nil {
		t.Error("a session that was ended got the lock")
	}
	onlyHolder()

	local := begin(t, a)
	requireCode(t, local.try(fmt.Sprintf(setTimeout, "300ms")+lockSeven), lockTaken, "waiting for other sessions of this node")
	local.must("ROLLBACK; BEGIN")
	done = local.start(lockSeven)
	a.Wait(stepLimit, "SELECT wait_event FROM pg_stat_activity WHERE pid = "+fmt.Sprint(local.conn.PID()), "userlock")
	a.Exec(fmt.Sprintf("SELECT pg_terminate_backend(%d)", holder.conn.PID()))
	a.Must(answer(t, done))
	local.must("COMMIT")
	requireFree(t, b, lockSeven)
}

// TestSessionsOfOneNode exists because the server finds deadlocks of its own sessions,
// and one that is a victim must let go.
func TestSessionsOfOneNode(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(map[string]string{"deadlock_timeout": "100ms"}))
	a := c.Nodes[0]
	one, two := begin(t, a), begin(t, a)
	one.must("SELECT bdr.global_advisory_lock(1)")
	two.must("SELECT bdr.global_advisory_lock(2)")
	oneDone, twoDone := one.start("SELECT bdr.global_advisory_lock(2)"), two.start("SELECT bdr.global_advisory_lock(1)")
	failed := 0
	for _, s := range []struct {
		*tx
		done <-chan error
	}{{one, oneDone}, {two, twoDone}} {
		if err := answer(t, s.done); err != nil {
			requireCode(t, err, "40P01")
			failed++
		}
		s.must("ROLLBACK")
	}
	if failed != 1 {
		t.Errorf("%d sessions were victims of the deadlock", failed)
	}
	c.Nodes[1].Wait(stepLimit, "SELECT count(*) FROM bdr.global_lock", "0")
}

// TestRightsOnLocks exists because each lock is work for every node: whom a superuser
// does not grant it, cannot.
func TestRightsOnLocks(t *testing.T) {
	c := pgtest.NewCluster(t, 1)
	n := c.Nodes[0]
	n.Exec("CREATE ROLE u LOGIN; GRANT USAGE ON SCHEMA bdr TO u")
	requireCode(t, n.Try("SET ROLE u; "+lockSeven), noRights)
	n.Exec("RESET ROLE; GRANT EXECUTE ON FUNCTION bdr.global_advisory_lock(bigint) TO u")
	n.Exec("SET ROLE u; " + lockSeven + "; RESET ROLE")
	n.Exec("RESET ROLE")
	single := pgtest.NewCluster(t, 1, pgtest.WithMembers(0)).Nodes[0]
	requireCode(t, single.Try(lockSeven), wrongState, "cannot take a global lock")
	n.Wait(stepLimit, holders, "0")
}

// TestHolderDies exists because a lock that nobody can give back any more would stop
// the group.
func TestHolderDies(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	a, b := c.Nodes[0], c.Nodes[1]

	holder := begin(t, a)
	holder.must(lockSeven)
	waiter := begin(t, b)
	done := waiter.start(lockSeven)
	b.Wait(stepLimit, stages, "node1 7 acquired 1; node2 7 waiting 0")
	a.KillProcess(pgtest.Process{PID: int(holder.conn.PID())})
	b.Must(answer(t, done))
	waiter.must("COMMIT")

	holder = begin(t, a)
	holder.must(lockSeven)
	done = begin(t, b).start(lockSeven)
	b.Wait(stepLimit, stages, "node1 7 acquired 1; node2 7 waiting 0")
	stopManager(t, a)
	a.Must(a.Kill9())
	requireWaiting(t, done)
	a.Must(a.Start())
	b.Must(answer(t, done))
}

// stopManager has a server that is about to be killed die as if all its processes did
// at once: a manager that is killed last hears of the end of the sessions.
func stopManager(t *testing.T, n *pgtest.Node) {
	t.Helper()
	for _, p := range n.ProcessesTitled(clustertest.ManagerTitle) {
		n.Must(syscall.Kill(p.PID, syscall.SIGSTOP))
	}
}

// replaceManager ends the manager by a fault, and returns when another one runs.
func replaceManager(t *testing.T, n *pgtest.Node) {
	t.Helper()
	before := clustertest.OnlyProcess(t, n, clustertest.ManagerTitle)
	_ = n.Try("SELECT bdr_test.internal_debug_fault('panic')") // the call ends with it
	pgtest.Eventually(t, stepLimit, "another manager runs", func() (bool, string) {
		now := n.ProcessesTitled(clustertest.ManagerTitle)
		return len(now) == 1 && now[0].PID != before.PID, fmt.Sprint(now)
	})
}

// TestManagerDies exists because the sessions go on: a new manager must not give away
// what they have, and must not keep what they do not have any more.
func TestManagerDies(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithFaults())
	a, b := c.Nodes[0], c.Nodes[1]
	a.LoadTestFunctions()
	holder, other := begin(t, a), begin(t, a)
	holder.must(lockSeven)
	other.must("SELECT bdr.global_advisory_lock(8)")
	waiter := begin(t, b)
	done := waiter.start(lockSeven)
	b.Wait(stepLimit, stages, "node1 7 acquired 1; node1 8 acquired 0; node2 7 waiting 0")
	replaceManager(t, a)
	other.must("COMMIT")
	b.Wait(stepLimit, stages, "node1 7 acquired 1; node2 7 waiting 0")
	requireWaiting(t, done)
	holder.must("SELECT bdr.global_advisory_lock(9)")
	requireFree(t, a, "SELECT bdr.global_advisory_lock(8)")
	requireWaiting(t, done)
	holder.must("COMMIT")
	b.Must(answer(t, done))
	waiter.must("COMMIT")

	holder.must("BEGIN; " + lockSeven)
	replaceManager(t, a)
	holder.must("COMMIT; BEGIN; " + lockSeven) // the lock of the old manager makes room for this one
	b.Wait(stepLimit, stages, "node1 7 acquired 0")
	holder.must("COMMIT")
	requireFree(t, b, lockSeven)
}

// TestMinority exists because two halves of a group must not both give the lock, and
// who cannot get it must hear why. A node that is parted has none.
func TestMinority(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	holder := begin(t, a)
	holder.must(lockSeven)
	waiter := begin(t, b)
	done := waiter.start(lockSeven)
	b.Wait(stepLimit, stages, "node1 7 acquired 1; node2 7 waiting 0")
	stopManager(t, a)
	a.Must(a.Kill9())
	requireWaiting(t, done)

	d.Must(d.Kill9())
	requireCode(t, b.Try(fmt.Sprintf(setTimeout, "2s")+"SELECT bdr.global_advisory_lock(8)"), lockTaken, "The group has not agreed", "majority")
	b.Exec("RESET bdr.global_lock_timeout")
	requireWaiting(t, done)
	d.Must(d.Start())
	requireFree(t, d, "SELECT bdr.global_advisory_lock(8)")
	requireWaiting(t, done)
	d.Exec("SELECT bdr.part_node('node1')")
	b.Must(answer(t, done))
	waiter.must("COMMIT")
	requireFree(t, d, lockSeven)
}

// TestJoinMeetsLocks exists because a node that joins must know who has what, and must
// not lock anything before it is active.
func TestJoinMeetsLocks(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithMembers(2))
	a, joiner := c.Nodes[0], c.Nodes[2]
	holder := begin(t, a)
	holder.must(lockSeven)
	joiner.CreateNode()
	requireCode(t, joiner.Try(lockSeven), wrongState, "is not a member of a group")
	joiner.Join(a)
	c.WaitMesh(c.Nodes...)
	joiner.Wait(stepLimit, stages, "node1 7 acquired 0")
	done := begin(t, joiner).start(lockSeven)
	a.Wait(stepLimit, stages, "node1 7 acquired 1; node3 7 waiting 0")
	holder.must("COMMIT")
	joiner.Must(answer(t, done))
}

// TestCutOff exists because the transaction of a node that nobody reaches may still be
// running: its lock stays, and goes when the node can say that it has ended.
func TestCutOff(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithProxies())
	a, b := c.Nodes[0], c.Nodes[1]
	holder, waiter := begin(t, a), begin(t, b)
	holder.must(lockSeven)
	done := waiter.start(lockSeven)
	b.Wait(stepLimit, stages, "node1 7 acquired 1; node2 7 waiting 0")
	for _, n := range c.Nodes[1:] {
		c.Link(a, n).Refuse()
		c.Link(n, a).Refuse()
	}
	requireFree(t, b, "SELECT bdr.global_advisory_lock(8)") // there is a leader, or another one by now
	holder.must("COMMIT")
	requireCode(t, a.Try(fmt.Sprintf(setTimeout, "1s")+"SELECT bdr.global_advisory_lock(8)"), lockTaken)
	a.Exec("RESET bdr.global_lock_timeout")
	requireWaiting(t, done)
	for _, n := range c.Nodes[1:] {
		c.Link(a, n).Heal()
		c.Link(n, a).Heal()
	}
	b.Must(answer(t, done))
	waiter.must("COMMIT")
	requireFree(t, a, lockSeven)
}

// TestDeadlockOfNodes exists because no server sees such a one: the timeout ends it.
func TestDeadlockOfNodes(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	one, two := begin(t, c.Nodes[0]), begin(t, c.Nodes[1])
	one.must("SELECT bdr.global_advisory_lock(1)")
	two.must("SELECT bdr.global_advisory_lock(2)")
	done := one.start("SELECT bdr.global_advisory_lock(2)")
	c.Nodes[1].Wait(stepLimit, stages, "node1 1 acquired 0; node2 2 acquired 1; node1 2 waiting 0")
	requireCode(t, two.try(fmt.Sprintf(setTimeout, "1s")+"SELECT bdr.global_advisory_lock(1)"), lockTaken, `of node "node1"`)
	c.Nodes[0].Must(answer(t, done)) // the error has ended the other transaction
}
