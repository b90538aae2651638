// Package clustertest is what the tests of several stages share: load on a
// cluster, accidents, calls that must be refused, streams of one node, and how
// a test holds, pauses and looks at nodes.
package clustertest

import (
	"fmt"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
)

// HoldSlots counts the slots of a node that hold back the removal of dead rows.
const HoldSlots = `SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'bdr\_%\_hold'`

// QuickRetries keeps the tests of errors short: the product's own limits are
// meant for people who have to come and look.
var QuickRetries = map[string]string{"bdr.min_worker_backoff_delay": "100ms", "bdr.max_worker_backoff_delay": "300ms"}

// OnlyProcess is the one process of a node with a title.
func OnlyProcess(t *testing.T, n *pgtest.Node, title string) pgtest.Process {
	t.Helper()
	found := n.ProcessesTitled(title)
	if len(found) != 1 {
		t.Fatalf("%s: %d processes %q, expected 1: %v", n.Name, len(found), title, n.Processes())
	}
	return found[0]
}

// WaitForLockWait returns when a writer of this node waits for a lock.
func WaitForLockWait(t *testing.T, n *pgtest.Node) {
	t.Helper()
	pgtest.Eventually(t, 20*time.Second, "a writer waits for a lock", func() (bool, string) {
		got := n.Value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'bdr writer' AND wait_event_type = 'Lock'")
		return got == "1", got + " do"
	})
}

// Hold runs SQL in a transaction of another session and returns its end, and the
// process that holds its locks.
func Hold(t *testing.T, n *pgtest.Node, sql string) (release func(), pid uint32) {
	t.Helper()
	session := n.Session()
	_, err := pgtest.RunOn(session, "SET statement_timeout = 0; SET lock_timeout = 0; BEGIN; "+sql, time.Minute)
	n.Must(err)
	return func() {
		t.Helper()
		_, err := pgtest.RunOn(session, "COMMIT", time.Minute)
		n.Must(err)
	}, session.PID()
}

// Pause waits until the nodes are equal and then stops all writers.
func Pause(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	c.RequireConverged()
	StopWriters(t, c)
}

// StopWriters stops all writers where they are.
func StopWriters(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	c.ExecAll("SELECT bdr.alter_subscription_disable(immediate := true)")
	for _, n := range c.Nodes {
		pgtest.Eventually(t, ResumeLimit, "no writer runs", func() (bool, string) {
			writers := n.ProcessesTitled(WriterTitle)
			return len(writers) == 0, fmt.Sprint(writers)
		})
	}
}

// AllRows is every row of a table as one text.
const AllRows = "SELECT coalesce(string_agg(t::text, ' ' ORDER BY t), '') FROM "

const Local = "BEGIN; SET LOCAL bdr.xact_replication = off; "

// PauseAll stops both directions until resume.
func PauseAll(t *testing.T, c *pgtest.Cluster) (resume func()) {
	t.Helper()
	c.ExecAll("TRUNCATE bdr.conflict_history", "SELECT bdr.alter_subscription_disable(immediate := true)")
	return func() { c.ExecAll("SELECT bdr.alter_subscription_enable(immediate := true)") }
}

// OverTLS runs a test over plain connections, which are lent to the writer, and
// over those with TLS, which the manager reads. A test that mostly waits runs
// both at the same time.
func OverTLS(t *testing.T, test func(t *testing.T, options ...pgtest.Option)) {
	for name, options := range map[string][]pgtest.Option{"plain": nil, "tls": {pgtest.WithTLS()}} {
		t.Run(name, func(t *testing.T) { test(t, options...) })
	}
}
