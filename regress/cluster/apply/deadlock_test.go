package apply

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

const lockedRows = 60

// manyUpdates is one transaction that updates every row by a statement of its
// own, in this order.
func manyUpdates(order, who string) string {
	return fmt.Sprintf(`DO $$ DECLARE i int; BEGIN FOR i IN SELECT id FROM t ORDER BY id %s LOOP
		UPDATE t SET n = n + 1, who = '%s' WHERE id = i; END LOOP; END $$`, order, who)
}

// TestDeadlocks exists because two nodes that write the same rows in opposite
// order deadlock on every node that applies both, however well each of them
// behaves. A writer that is the victim tries again by itself; no subscription
// fails, and all nodes end up with the same rows.
func TestDeadlocks(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithSettings(map[string]string{"deadlock_timeout": "20ms"}))
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, n int, who text)")
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	a.Exec(fmt.Sprintf("INSERT INTO t SELECT g, 0, '' FROM generate_series(1, %d) g", lockedRows))
	c.RequireConverged()
	t.Run("of_a_writer_with_a_user", func(t *testing.T) { requireWriterIsVictim(t, c.For(t)) })
	t.Run("of_writers", func(t *testing.T) {
		deadlocks := func() (total int) {
			for _, n := range c.Nodes {
				total += atoi(t, n.Value("SELECT sum(ndeadlocks) FROM bdr.stat_subscription"))
			}
			return total
		}
		before := deadlocks()
		for range 5 {
			done := make(chan error, 2)
			update := func(n *pgtest.Node, order string) {
				session := n.Session()
				go func() { done <- updateOften(session, 15, manyUpdates(order, n.Name)) }()
			}
			update(b, "ASC")
			update(d, "DESC")
			a.Must(errors.Join(<-done, <-done))
			c.For(t).RequireConverged()
			if deadlocks() > before {
				break
			}
		}
		for _, n := range c.Nodes {
			clustertest.RequireNoErrors(t, n)
			t.Logf("%s: %v", n.Name, n.Rows("SELECT sub_name, ncommit, nabort, ndeadlocks, nconflict FROM bdr.stat_subscription ORDER BY 1"))
		}
		if deadlocks() == before {
			t.Error("no writer was the victim of a deadlock: the test tests nothing")
		}
	})
	t.Run("in_a_large_transaction", func(t *testing.T) { requireLargeVictim(t, c.For(t)) })
}

// updateOften runs a transaction so many times; one that is the victim of a
// deadlock with a writer is a user's own to repeat.
func updateOften(session *pgconn.PgConn, times int, sql string) error {
	for done := 0; done < times; {
		_, err := pgtest.RunOn(session, sql, time.Minute)
		if e := pgtest.PgError(err); e != nil && e.Code == "40P01" {
			continue
		}
		if err != nil {
			return err
		}
		done++
	}
	return nil
}

// requireWriterIsVictim makes the user wait first, so that the writer finds the
// deadlock: its own timer runs last.
func requireWriterIsVictim(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	session := b.Session()
	run := func(sql string) {
		_, err := pgtest.RunOn(session, sql, time.Minute)
		b.Must(err)
	}
	sub := subscriptionName(b, a)
	run("SET deadlock_timeout = '1min'; BEGIN; UPDATE t SET who = 'user' WHERE id = 2")
	a.Exec("BEGIN; UPDATE t SET who = 'peer' WHERE id = 1; UPDATE t SET who = 'peer' WHERE id = 2; COMMIT")
	b.Wait(clustertest.ResumeLimit, "SELECT xact_nchanges || ' ' || wait_event_type || ' ' || (blocked_by_pids = ARRAY["+fmt.Sprint(session.PID())+
		"]) || ' ' || xact_origin_node_name FROM bdr.stat_writer WHERE sub_name = '"+sub+"'", "2 Lock true node1")
	before := b.Value("SELECT ndeadlocks FROM bdr.stat_subscription WHERE sub_name = '" + sub + "'")
	// the writer looks for a deadlock once in each wait; after that the user's wait is the one that finds it
	b.Wait(clustertest.ResumeLimit, "SELECT bool_or(clock_timestamp() - waitstart > interval '300 ms') FROM pg_locks WHERE NOT granted", "t")
	run("SET LOCAL deadlock_timeout = '50ms'")
	_, err := pgtest.RunOn(session, "UPDATE t SET who = 'user' WHERE id = 1", time.Minute)
	if e := pgtest.PgError(err); e == nil || e.Code != "40P01" {
		t.Errorf("the user's wait closes the circle, but got %v", err)
	}
	run("ROLLBACK")
	c.RequireConverged()
	clustertest.RequireNoErrors(t, b)

	// the other way round: the user waits first, and the writer's wait closes the circle
	release := holdInMiddle(t, b, 30)
	a.Exec(manyUpdates("ASC", "peer")) // the writer holds 1 to 29 and waits for 30
	clustertest.WaitForLockWait(t, b)
	meetWriter(t, b, session, release)
	c.RequireConverged()
	clustertest.RequireNoErrors(t, b)
	if now := b.Value("SELECT ndeadlocks FROM bdr.stat_subscription WHERE sub_name = '" + sub + "'"); atoi(t, now) <= atoi(t, before) {
		t.Errorf("ndeadlocks went from %s to %s", before, now)
	}
	if !b.LogContains("is applied again after a deadlock") {
		t.Error("the log does not tell of the deadlock")
	}
}

// holdInMiddle locks one row in a session of its own.
func holdInMiddle(t *testing.T, n *pgtest.Node, id int) (release func()) {
	t.Helper()
	release, _ = clustertest.Hold(t, n, fmt.Sprintf("SELECT FROM t WHERE id = %d FOR UPDATE", id))
	return release
}

// meetWriter lets a writer that holds row 10 go on to row 40 when a user holds
// that and waits for row 10, so that the writer's wait closes the circle.
func meetWriter(t *testing.T, n *pgtest.Node, session *pgconn.PgConn, goOn func()) {
	t.Helper()
	run := func(sql string) error {
		_, err := pgtest.RunOn(session, sql, time.Minute)
		return err
	}
	n.Must(run("SET deadlock_timeout = '1min'; BEGIN; UPDATE t SET who = 'user' WHERE id = 40"))
	waiting := make(chan error, 1)
	go func() { waiting <- run("UPDATE t SET who = 'user' WHERE id = 10") }()
	n.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT wait_event_type FROM pg_stat_activity WHERE pid = %d", session.PID()), "Lock")
	goOn()
	n.Must(<-waiting)
	n.Must(run("COMMIT"))
}

// requireLargeVictim: a transaction that is too large to be kept starts over from
// the peer. That is a new connection, at once, and still no error.
func requireLargeVictim(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	sub := subscriptionName(b, a)
	c.ExecAll("CREATE TABLE bulk (id int PRIMARY KEY, v text)")
	count := "SELECT ndeadlocks || ' ' || nconnect FROM bdr.stat_subscription WHERE sub_name = '" + sub + "'"
	before := strings.Fields(b.Value(count))
	release := holdInMiddle(t, b, 30)
	a.Exec("BEGIN; UPDATE t SET who = 'large' WHERE id = 10; INSERT INTO bulk SELECT g, repeat(md5(g::text), 60) FROM generate_series(1, 7000) g; " +
		"UPDATE t SET who = 'large' WHERE id = 30; UPDATE t SET who = 'large' WHERE id = 40; COMMIT")
	clustertest.WaitForLockWait(t, b)
	meetWriter(t, b, b.Session(), release)
	c.RequireConverged()
	clustertest.RequireNoErrors(t, b)
	now := strings.Fields(b.Value(count))
	// one more where the last writer has not let go of its origin yet
	if again := atoi(t, now[0]) - atoi(t, before[0]); again < 1 || atoi(t, now[1]) < atoi(t, before[1])+again {
		t.Errorf("deadlocks and connections went from %v to %v", before, now)
	}
}

// subscriptionName is the name of the subscription of a node to another one.
func subscriptionName(n, origin *pgtest.Node) string {
	return n.Value("SELECT sub_name FROM bdr.subscription_summary WHERE origin_name = '" + origin.Name + "'")
}

func atoi(t *testing.T, text string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatal(err)
	}
	return n
}
