package core

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
)

// followLimit bounds the time that node 2 needs after the suite has ended, and
// retriesMax the attempts at a transaction: an error may go away by itself.
const (
	followLimit = 15 * time.Minute
	retriesMax  = 3
)

// changing is what an error says of the transaction, which has other numbers each time.
var changing = regexp.MustCompile(`(?m)(, |^)change \d+ of remote transaction .*$`)

func port(n *pgtest.Node) string { return strconv.Itoa(n.Port) }

// A follower looks whether node 2 can apply what node 1 does. Where transactions are
// skipped it goes on behind one that it cannot apply.
type follower struct {
	t            *testing.T
	node1, node2 *pgtest.Node
	skips        bool    // whatever stops it
	known        []entry // else only what is known to stop it
	end          chan struct{}
	done         sync.WaitGroup
	stops        []difference
	failed       bool   // it has stopped at something else
	skipped      string // the end of the last transaction that was left out
}

func follow(t *testing.T, known []entry, node1, node2 *pgtest.Node) *follower {
	f := &follower{t: t, known: known, node1: node1, node2: node2, skips: os.Getenv(skipVariable) != "", end: make(chan struct{})}
	f.done.Add(1)
	go func() {
		defer f.done.Done()
		for f.look() {
			select {
			case <-f.end:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return f
}

// finish returns when node 2 has everything, with what it could not apply.
func (f *follower) finish() []difference {
	close(f.end)
	f.done.Wait()
	if f.failed {
		f.t.FailNow()
	}
	target := f.node1.Value("SELECT pg_current_wal_insert_lsn()")
	deadline := time.Now().Add(followLimit)
	for f.look() {
		if f.node1.Value(fmt.Sprintf("SELECT bool_and(confirmed_flush_lsn >= '%s') FROM pg_replication_slots WHERE plugin = 'bdr_output' AND NOT temporary", target)) == "t" {
			return f.stops
		}
		if time.Now().After(deadline) {
			f.t.Fatal("node 2 has not everything of node 1 in time")
		}
		time.Sleep(100 * time.Millisecond)
	}
	f.t.FailNow() // look has said why
	return nil
}

// look returns false where node 2 has stopped for good.
func (f *follower) look() bool {
	rows, err := f.node2.Run(f.node2.Database, fmt.Sprintf(`SELECT sub_name, remote_end_lsn, error_sqlstate, error_message, error_detail, error_context
FROM bdr.worker_errors WHERE worker_role <> 'manager' AND error_retries >= %d`, retriesMax))
	if err != nil || len(rows) == 0 {
		return true
	}
	r := rows[0]
	if r[1] == f.skipped { // and the view says so a moment longer
		return true
	}
	f.t.Logf("node 2 stopped: %s (%s) %s\n%s", r[3], r[2], r[4], r[5])
	stop := difference{"stop", r[2], strings.Split(strings.TrimSpace(r[3]+"\n"+changing.ReplaceAllString(r[5], "")), "\n")}
	isKnown := slices.ContainsFunc(f.known, func(e entry) bool { return e.difference.String() == stop.String() })
	if r[1] == pgtest.Null || !f.skips && !isKnown { // a receiver's error is of no transaction
		f.t.Errorf("node 2 stopped at what is not known:\n%s", stop)
		f.failed = true
		return false
	}
	f.stops = append(f.stops, stop)
	f.skip(r[0], r[1])
	f.skipped = r[1]
	return true
}

func (f *follower) skip(subscription, end string) {
	for _, statement := range []string{
		fmt.Sprintf("SELECT bdr.alter_subscription_disable('%s')", subscription),
		fmt.Sprintf("SELECT bdr.alter_subscription_skip_changes_upto('%s', '%s')", subscription, end),
		fmt.Sprintf("SELECT bdr.alter_subscription_enable('%s')", subscription)} {
		if err := f.node2.Try(statement); err != nil {
			f.t.Logf("%s: %s", statement, pgtest.Explain(err))
		}
	}
}
