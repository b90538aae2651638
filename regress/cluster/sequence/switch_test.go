package sequence

import (
	"fmt"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// unsettled counts changes of kinds that are under way.
const unsettled = "SELECT count(*) FROM bdr.sequence_switch WHERE NOT done"

// TestSwitchUnderWrites exists because the kind of a sequence changes while all nodes
// use it: nobody may meet an error, and no value may be made twice.
func TestSwitchUnderWrites(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	a := c.Nodes[0]
	c.ExecAll("SET bdr.default_sequence_kind = 'local'; CREATE TABLE t (id bigserial PRIMARY KEY, who text)")
	a.Exec("SELECT bdr.alter_sequence_set_kind('t_id_seq', 'galloc')")
	var benches []*pgtest.Pgbench
	for _, n := range c.Nodes {
		n.Exec("ALTER SEQUENCE t_id_seq OWNED BY t.id")
		script := n.Script(fmt.Sprintf("INSERT INTO t (who) VALUES ('%s');\n", n.Name))
		benches = append(benches, n.StartPgbench("-f", script, "-c", "2", "-T", "600", "-P", "1", "--rate=100"))
	}
	for i, kind := range []string{"snowflakeid", "timeshard", "snowflakeid", "timeshard", "snowflakeid"} {
		c.Nodes[i%3].Exec(fmt.Sprintf("SELECT bdr.alter_sequence_set_kind('t_id_seq', '%s')", kind))
		requireKind(t, "t_id_seq", kind, c.Nodes...)
		for _, n := range c.Nodes {
			before := n.Value(fmt.Sprintf("SELECT count(*) FROM t WHERE who = '%s'", n.Name))
			n.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT count(*) > %s + 50 FROM t WHERE who = '%s'", before, n.Name), "t")
		}
	}
	for _, b := range benches {
		b.Stop()
		b.RequireNoneFailed()
	}
	c.RequireConverged()
	for _, n := range c.Nodes {
		if got := n.Value("SELECT count(*) FROM bdr.conflict_history"); got != "0" {
			t.Errorf("%s: %s conflicts", n.Name, got)
		}
		n.Wait(clustertest.ResumeLimit, unsettled, "0")
	}
}

// TestSwitchIsForAllOrNone exists because a node that cannot take part, for a while or
// for longer, must not have a kind of its own.
func TestSwitchIsForAllOrNone(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	c.ExecAll("SET bdr.default_sequence_kind = 'local'; CREATE SEQUENCE s")
	const change = "SELECT bdr.alter_sequence_set_kind('s', 'galloc')"

	t.Run("a_transaction_uses_it", func(t *testing.T) {
		release, _ := clustertest.Hold(t, b, "SELECT nextval('s')")
		clustertest.RequireRefused(t, a, change, "55P03", "could not change the kind of sequence \"public.s\"")
		requireKind(t, "s", "local", c.Nodes...)
		release()
		for _, n := range c.Nodes {
			n.Wait(clustertest.ResumeLimit, unsettled, "0")
		}
		if got := b.Value("SELECT nextval('s')") + a.Value("SELECT nextval('s')") + d.Value("SELECT nextval('s')"); got != "211" {
			t.Errorf("the local sequences go on with %s", got)
		}
	})
	t.Run("a_node_is_away", func(t *testing.T) {
		_, err := d.Stop(pgtest.Fast)
		d.Must(err)
		clustertest.RequireRefused(t, a, change, "55000", "not all nodes answer")
		d.Must(d.Start())
		pgtest.Eventually(t, clustertest.ResumeLimit, "the node takes part again", func() (bool, string) {
			err := a.Try(change)
			return err == nil, fmt.Sprint(err)
		})
		requireKind(t, "s", "galloc", c.Nodes...)
		for _, n := range c.Nodes {
			n.Wait(clustertest.ResumeLimit, "SELECT nextval('s') > 2", "t")
		}
	})
	t.Run("its_driver_dies", func(t *testing.T) {
		release, _ := clustertest.Hold(t, b, "SELECT nextval('s')")
		done := make(chan error, 1)
		go func() { done <- a.Try("SELECT bdr.alter_sequence_set_kind('s', 'local')") }()
		d.Wait(clustertest.ResumeLimit, unsettled, "1")
		a.KillProcess(clustertest.OnlyProcess(t, a, clustertest.ManagerTitle))
		if err := <-done; err == nil {
			t.Error("the change was reported as done")
		}
		release()
		a.Wait(clustertest.ResumeLimit, "SELECT nextval('s') > 0", "t")
		for _, n := range c.Nodes {
			n.Wait(2*time.Minute, unsettled, "0")
		}
		requireKind(t, "s", "galloc", c.Nodes...)
	})
}

// TestStopIsTakenBack exists because a node that has begun to stop a sequence may not
// come to an end of it: then the sequence goes on there as if nobody had asked.
func TestStopIsTakenBack(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("SET bdr.default_sequence_kind = 'local'; CREATE TABLE t (id bigserial PRIMARY KEY)")
	const change = "SELECT bdr.alter_sequence_set_kind('t_id_seq', 'galloc')"
	waits := func(n *pgtest.Node) {
		n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass", "1")
	}
	for i, end := range []struct {
		name string
		lost int64 // at most so many values: those that were logged ahead
		do   func(release func())
	}{
		{"lock_timeout", 0, func(release func()) {
			clustertest.RequireRefused(t, a, change, "55P03", "could not change the kind of sequence \"public.t_id_seq\"")
			release()
		}},
		{"caller_cancels", 0, func(release func()) {
			caller, done := a.Session(), make(chan error, 1)
			go func() {
				_, err := pgtest.RunOn(caller, change, time.Minute)
				done <- err
			}()
			waits(b)
			a.Exec(fmt.Sprintf("SELECT pg_cancel_backend(%d)", caller.PID()))
			if e := pgtest.PgError(<-done); e == nil || e.Code != "57014" {
				t.Errorf("the call ended with %v", e)
			}
			release()
		}},
		{"node_crashes", loggedAhead, func(func()) {
			done := make(chan error, 1)
			go func() { done <- a.Try(change) }()
			waits(b)
			b.Exec("SELECT pg_switch_wal()")
			b.Must(b.Kill9())
			if err := <-done; err == nil {
				t.Error("the change was reported as done")
			}
			b.Must(b.Start())
		}},
	} {
		release, _ := clustertest.Hold(t, b, "LOCK TABLE t")
		end.do(release)
		for _, n := range c.Nodes {
			n.Wait(clustertest.ResumeLimit, unsettled, "0")
		}
		requireKind(t, "t_id_seq", "local", c.Nodes...)
		if got := a.Value("SELECT nextval('t_id_seq')"); got != fmt.Sprint(i+1) {
			t.Errorf("%s: node1 goes on with %s", end.name, got)
		}
		want := int64(i + 1)
		if got := (&session{b.Session(), t, b}).number("SELECT nextval('t_id_seq')"); got < want || got > want+end.lost {
			t.Errorf("%s: node2 goes on with %d", end.name, got)
		}
	}
	a.Exec(change)
	requireKind(t, "t_id_seq", "galloc", c.Nodes...)
}
