package clustertest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgtest"
)

// Names of our processes, as ps and pg_stat_activity show them.
const (
	ManagerTitle   = "bdr manager"
	WriterTitle    = "bdr writer"
	WalsenderTitle = "walsender"
)

// ResumeLimit is how long replication may take to be back after the worst that
// a test does to it.
const ResumeLimit = 60 * time.Second

// Load is writers on several nodes that go on through lost connections, and
// what their servers acknowledged.
type Load struct {
	Pause time.Duration // of each writer, between two statements

	stop    chan struct{}
	running sync.WaitGroup
	rate    int // of each writer, in transactions a second; 0: as fast as it goes

	mu       sync.Mutex
	acked    map[string][]int // by node: the n of rows of ledger whose COMMIT was answered
	commits  int
	failures map[string]int // unexpected errors, by text
}

// LoadTables are made on every node before a load starts.
var LoadTables = []string{
	"CREATE TABLE ledger (node text, n int, payload text NOT NULL, PRIMARY KEY (node, n))",
	"CREATE TABLE shared (id int PRIMARY KEY, v bigint NOT NULL, who text NOT NULL)",
}

// sharedKeys is small enough that nodes meet on the same rows all the time.
const sharedKeys = 400

// StartLoad starts the writers of own and of shared rows on nodes.
func StartLoad(nodes ...*pgtest.Node) *Load { return StartLoadAt(0, nodes...) }

// StartLoadAt is StartLoad with a rate: a fast machine would write more than a node
// that has much else to do can follow.
func StartLoadAt(rate int, nodes ...*pgtest.Node) *Load {
	l := &Load{stop: make(chan struct{}), rate: rate, acked: map[string][]int{}, failures: map[string]int{}}
	for _, n := range nodes {
		l.AddOwn(n)
		l.AddShared(n)
	}
	return l
}

// AddOwn writes rows that only this node writes: every one that was
// acknowledged must be everywhere in the end.
func (l *Load) AddOwn(n *pgtest.Node) {
	next := 0
	l.Loop(n, func(conn *pgconn.PgConn) error {
		next++
		sql := fmt.Sprintf("INSERT INTO ledger VALUES ('%s', %d, repeat('x', %d))", n.Name, next, next%50)
		if next%10 == 0 {
			sql += fmt.Sprintf("; UPDATE ledger SET payload = 'changed' WHERE node = '%s' AND n = %d", n.Name, next-5)
		}
		_, err := pgtest.RunOn(conn, sql, time.Minute)
		if err == nil {
			l.acknowledge(n.Name, next)
		}
		return err
	})
}

// AddShared inserts and updates rows that every node writes. It deletes none:
// deletes under any order of arrival are another issue.
func (l *Load) AddShared(n *pgtest.Node) {
	random := rand.New(rand.NewPCG(1, uint64(n.Port)))
	l.Loop(n, func(conn *pgconn.PgConn) error {
		id, v := random.IntN(sharedKeys), random.Int64()
		sql := fmt.Sprintf("INSERT INTO shared VALUES (%d, %d, '%s')", id, v, n.Name)
		if random.IntN(4) > 0 {
			sql = fmt.Sprintf("UPDATE shared SET v = %d, who = '%s' WHERE id = %d", v, n.Name, id)
		}
		_, err := pgtest.RunOn(conn, sql, time.Minute)
		if e := pgtest.PgError(err); e != nil && e.Code == "23505" {
			return nil // the key is there already
		}
		return err
	})
}

// Loop runs one statement after the other until the load stops; a lost
// connection is opened again, as applications do.
func (l *Load) Loop(n *pgtest.Node, step func(*pgconn.PgConn) error) {
	l.running.Go(func() {
		var conn *pgconn.PgConn
		due := time.Now()
		for !l.stopped() {
			if l.rate > 0 {
				time.Sleep(time.Until(due))
				due = due.Add(time.Second / time.Duration(l.rate))
			}
			if conn == nil || conn.IsClosed() {
				fresh, err := n.Connect(n.Database)
				if err != nil {
					time.Sleep(20 * time.Millisecond) // the server is down: try again, not all the time
					continue
				}
				conn = fresh
			}
			l.note(step(conn), conn.IsClosed())
			time.Sleep(l.Pause)
		}
	})
}

func (l *Load) note(err error, lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.commits++
		return
	}
	e := pgtest.PgError(err)
	// 57P0x: the server says that it goes away; 25006: it takes no changes, as it is
	// being upgraded; 40P01: this writer lost a deadlock.
	if lost || e != nil && (e.Code[:3] == "57P" || e.Code == "25006" || e.Code == "40P01") {
		return
	}
	l.failures[pgtest.Explain(err)]++
}

func (l *Load) acknowledge(node string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[node] = append(l.acked[node], n)
}

func (l *Load) stopped() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

// Committed is the number of acknowledged transactions of all writers so far.
func (l *Load) Committed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.commits
}

// WaitCommits returns when the writers got so many more answers.
func (l *Load) WaitCommits(t *testing.T, more int) {
	t.Helper()
	want := l.Committed() + more
	pgtest.Eventually(t, ResumeLimit, fmt.Sprintf("%d more commits", more), func() (bool, string) {
		now := l.Committed()
		return now >= want, fmt.Sprintf("%d of %d", now, want)
	})
}

// End stops the writers and fails the test if one met an error that no lost
// server explains.
func (l *Load) End(t *testing.T) {
	t.Helper()
	close(l.stop)
	l.running.Wait()
	for text, n := range l.failures {
		t.Errorf("a writer failed %d times: %s", n, text)
	}
	t.Logf("%d transactions were acknowledged", l.commits)
}

// RequireAcknowledged requires that every acknowledged row is on every node.
func (l *Load) RequireAcknowledged(t *testing.T, nodes ...*pgtest.Node) {
	t.Helper()
	for _, n := range nodes {
		present := map[string]bool{}
		for _, row := range n.Rows("SELECT node || ' ' || n FROM ledger") {
			present[row[0]] = true
		}
		for node, numbers := range l.acked {
			missing := 0
			for _, number := range numbers {
				if !present[fmt.Sprint(node, " ", number)] {
					missing++
				}
			}
			if missing > 0 {
				t.Errorf("%s lacks %d of the %d rows that %s acknowledged", n.Name, missing, len(numbers), node)
			}
		}
	}
}
