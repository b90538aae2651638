package lock

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// storm is what sessions of all nodes do with a few locks.
type storm struct {
	t    *testing.T
	stop chan struct{}
	wait sync.WaitGroup

	mu     sync.Mutex
	inside map[string]int // transactions that have it, by the call that took it
	times  int            // that one was taken
}

// session takes a lock again and again, and goes now and then without a word.
func (s *storm) session(n *pgtest.Node, call string) {
	for {
		select {
		case <-s.stop:
			return
		default:
		}
		conn, err := n.Connect(n.Database)
		if err != nil {
			continue // its server ends a session
		}
		for s.once(&tx{s.t, n, conn}, call) {
		}
		_ = conn.Conn().Close()
	}
}

// once is one transaction; false: it is time to go.
func (s *storm) once(session *tx, call string) bool {
	if session.try("BEGIN; SET LOCAL bdr.global_lock_timeout = '20s'; "+call) != nil {
		return false
	}
	s.mu.Lock()
	s.inside[call]++
	s.times++
	leave := s.times%50 == 0
	if s.inside[call] != 1 {
		s.t.Errorf("%d transactions have the lock", s.inside[call])
	}
	s.mu.Unlock()
	time.Sleep(time.Millisecond) // as long as it takes to do something
	s.mu.Lock()
	s.inside[call]--
	s.mu.Unlock()
	return session.try("COMMIT") == nil && !leave
}

// progress returns when locks were taken so many times more.
func (s *storm) progress(more int) {
	s.t.Helper()
	s.mu.Lock()
	want := s.times + more
	s.mu.Unlock()
	pgtest.Eventually(s.t, clustertest.ResumeLimit, "the lock goes round", func() (bool, string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.times >= want, fmt.Sprint(s.times)
	})
}

// TestStormOfLocks exists because all of it happens at once: managers, and sessions that
// wait, die while many want the lock, and never have two of them it.
func TestStormOfLocks(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithFaults())
	for _, n := range c.Nodes {
		n.LoadTestFunctions()
	}
	s := &storm{t: t, stop: make(chan struct{}), inside: map[string]int{}}
	for i, call := range []string{lockSeven, lockSeven, "SELECT bdr.global_advisory_lock(0, 7)"} {
		for j := range 3 {
			s.wait.Go(func() { s.session(c.Nodes[(i+j)%3], call) })
		}
	}
	for i := range 6 {
		s.progress(20)
		n := c.Nodes[i%3]
		if i%2 == 0 {
			_ = n.Try("SELECT bdr_test.internal_debug_fault('panic')") // the call ends with the manager
		} else {
			_ = n.Try("SELECT pg_terminate_backend(pid) FROM bdr.global_locks WHERE acquire_stage = 'waiting' AND origin_node_name = (SELECT node_name FROM bdr.local_node_summary)")
		}
	}
	s.progress(20)
	close(s.stop)
	s.wait.Wait()
	for _, n := range c.Nodes {
		n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.global_lock", "0")
	}
}
