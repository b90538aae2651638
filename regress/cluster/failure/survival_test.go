package failure

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// crashOfServer is what the postmaster logs when it resets the whole instance.
const crashOfServer = "terminating any other active server processes"

// TestKilledProcesses exists because any process may be killed at any time, by
// the OOM killer for one. PostgreSQL then restarts the whole instance;
// replication must come back by itself, and a transaction that was half
// applied, or applied and not yet confirmed, must count exactly once.
func TestKilledProcesses(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	c.ExecAll(clustertest.LoadTables...)
	a, b := c.Nodes[0], c.Nodes[1]
	writers := clustertest.StartLoad(a, b)
	for _, victim := range []struct {
		node  *pgtest.Node
		title string
	}{{b, clustertest.WriterTitle}, {a, clustertest.WalsenderTitle}, {a, clustertest.ManagerTitle}, {b, "bdr supervisor"}, {a, clustertest.WriterTitle}, {b, clustertest.ManagerTitle}} {
		writers.WaitCommits(t, 200)
		c.WaitMesh(a, b)
		var victims []pgtest.Process // the last one may have taken this one with it
		pgtest.Eventually(t, clustertest.ResumeLimit, victim.title+" runs on "+victim.node.Name, func() (bool, string) {
			victims = victim.node.ProcessesTitled(victim.title)
			return len(victims) > 0, fmt.Sprint(victim.node.Processes())
		})
		victim.node.KillProcess(victims[0])
	}
	writers.WaitCommits(t, 200)
	writers.End(t)
	c.WaitMesh(a, b)
	c.RequireConverged()
	writers.RequireAcknowledged(t, a, b)
}

// TestRestartInAnyOrder exists because after a power cut machines come up as
// they like: each order of stopping and starting, with kill -9 and without.
func TestRestartInAnyOrder(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	c.ExecAll("CREATE TABLE seen (id bigserial, who text, round int)")
	for round, order := range [][]int{{0, 1, 2}, {2, 0, 1}, {1, 2, 0}} {
		for _, i := range order {
			n := c.Nodes[i]
			n.Exec(fmt.Sprintf("INSERT INTO seen (who, round) SELECT '%s', %d FROM generate_series(1, 100)", n.Name, round))
			if round == 1 {
				n.Must(n.Kill9())
				continue
			}
			_, err := n.Stop(pgtest.Fast)
			n.Must(err)
		}
		slices.Reverse(order)
		for _, i := range order {
			n := c.Nodes[i]
			n.Must(n.Start())
			n.Exec(fmt.Sprintf("INSERT INTO seen (who, round) VALUES ('%s alone', %d)", n.Name, round))
		}
		c.WaitMesh(c.Nodes...)
		c.RequireConverged()
	}
	if got := c.Nodes[0].Value("SELECT count(*) FROM seen"); got != "909" {
		t.Errorf("%s rows, expected 909", got)
	}
}

// TestGoDeath exists because Go code will panic one day. That must end the
// manager and nothing else: no session is lost, the instance is not reset, and
// the manager is back by itself.
func TestGoDeath(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithFaults())
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY)")
	a, b := c.Nodes[0], c.Nodes[1]
	a.LoadTestFunctions()
	session := a.Session()
	for i, kind := range []string{"panic", "nil", "throw"} {
		t.Run(kind, func(t *testing.T) {
			c, a, b := c.For(t), a.For(t), b.For(t)
			before := clustertest.OnlyProcess(t, a, clustertest.ManagerTitle)
			if err := a.Try(fmt.Sprintf("SELECT bdr_test.internal_debug_fault('%s')", kind)); err != nil {
				t.Logf("the call ended with: %v", err)
			}
			pgtest.Eventually(t, 5*time.Second, "another manager runs", func() (bool, string) {
				now := a.ProcessesTitled(clustertest.ManagerTitle)
				return len(now) == 1 && now[0].PID != before.PID, fmt.Sprint(now)
			})
			if !before.Gone() {
				t.Error("the manager that died is still there")
			}
			if _, err := pgtest.RunOn(session, "SELECT 1", time.Minute); err != nil {
				t.Errorf("an open session was lost: %v", err)
			}
			c.WaitMesh(a, b)
			a.Exec(fmt.Sprintf("INSERT INTO t VALUES (%d)", i))
			b.Exec(fmt.Sprintf("INSERT INTO t VALUES (%d)", i+100))
			c.RequireConverged()
		})
	}
	if a.LogContains(crashOfServer) {
		t.Error("the postmaster reset the instance")
	}
}

// shutdownLimit is the promise; a try that takes longer is repeated, since the
// machine may have been busy with something else, but one hang is a failure.
const (
	shutdownLimit = time.Second
	shutdownHang  = 5 * time.Second
)

// TestShutdownIsQuick exists because a worker that does not stop keeps the
// whole server from stopping, and the tempted administrator reaches for kill -9.
func TestShutdownIsQuick(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	c.ExecAll("CREATE TABLE t (id serial, who text)")
	n := c.Nodes[1]
	fast := func() (time.Duration, error) { return n.Stop(pgtest.Fast) }
	immediate := func() (time.Duration, error) { return n.Stop(pgtest.Immediate) }
	for _, mode := range []struct {
		name string
		stop func() (time.Duration, error)
	}{{"fast", fast}, {"immediate", immediate}, {"postmaster_killed", n.KillPostmaster}} {
		t.Run(mode.name, func(t *testing.T) {
			n := n.For(t)
			var tries []time.Duration
			for range 3 {
				n.Exec("INSERT INTO t (who) VALUES ('" + mode.name + "')")
				c.For(t).WaitMesh(c.Nodes...)
				took, err := mode.stop()
				n.Must(err)
				n.Must(n.Start())
				tries = append(tries, took)
				if took > shutdownHang {
					t.Fatalf("took %v", took)
				}
				if took < shutdownLimit {
					t.Logf("took %v", took)
					return
				}
			}
			t.Errorf("took %v, never below %v", tries, shutdownLimit)
		})
	}
	c.WaitMesh(c.Nodes...)
	c.RequireConverged()
}

// TestManagerTermination exists because an administrator may terminate any
// backend by pid: our workers end at once and are back.
func TestManagerTermination(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY)")
	a := c.Nodes[0]
	for i, title := range []string{clustertest.ManagerTitle, clustertest.WriterTitle, clustertest.WalsenderTitle} {
		before := clustertest.OnlyProcess(t, a, title)
		a.Exec(fmt.Sprintf("SELECT pg_terminate_backend(%d)", before.PID))
		pgtest.Eventually(t, shutdownHang, title+" has ended", func() (bool, string) { return before.Gone(), before.Title })
		c.WaitMesh(c.Nodes...)
		a.Exec(fmt.Sprintf("INSERT INTO t VALUES (%d)", i))
		c.Nodes[1].Exec(fmt.Sprintf("INSERT INTO t VALUES (%d)", i+100))
		c.RequireConverged()
	}
	a.Must(a.Reload())
	if a.LogContains(crashOfServer) {
		t.Error("the postmaster reset the instance")
	}
}

// TestLatchStress exists because Go's runtime and PostgreSQL's latches use the
// same signal: a lost wake-up is a hang that shows once a month. The manager is
// put under the load that provokes it and must answer every single time.
func TestLatchStress(t *testing.T) {
	c := pgtest.NewCluster(t, 1, pgtest.WithFaults())
	n := c.Nodes[0]
	n.LoadTestFunctions()
	n.Exec("SELECT bdr_test.internal_debug_fault('load')")
	manager := clustertest.OnlyProcess(t, n, clustertest.ManagerTitle)
	if lost := n.Value("SELECT bdr_test.latch_stress(30000)"); lost != "0" {
		t.Errorf("%s wake-ups of 30000 were lost", lost)
	}
	if clustertest.OnlyProcess(t, n, clustertest.ManagerTitle).PID != manager.PID {
		t.Error("the manager did not survive")
	}
}

// TestWaitingFunctionsCanBeCancelled exists because a function that waits for
// another node may wait for ever; the user's way out must work at once and must
// leave the session usable.
func TestWaitingFunctionsCanBeCancelled(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithFaults())
	c.ExecAll("CREATE TABLE t (id int)")
	a, b := c.Nodes[0], c.Nodes[1]
	a.LoadTestFunctions()
	_, err := b.Stop(pgtest.Fast)
	b.Must(err)
	for _, call := range []string{"bdr_test.internal_debug_fault('hang')", "bdr.wait_slot_confirm_lsn(NULL, NULL)", "bdr.wait_node_confirm_lsn('node2', NULL)"} {
		t.Run(strings.SplitN(call, "(", 2)[0], func(t *testing.T) {
			requireCancellable(t, a.For(t), "SELECT "+call)
		})
	}
	b.Must(b.Start())
	c.WaitMesh(a, b)
	c.RequireConverged()
}

// requireCancellable ends a call that waits for ever in both ways.
func requireCancellable(t *testing.T, n *pgtest.Node, call string) {
	t.Helper()
	session := n.Session()
	began := time.Now()
	_, err := pgtest.RunOn(session, "SET statement_timeout = '300ms'; INSERT INTO t VALUES (1); "+call, time.Minute)
	requireCancelled(t, err, began, "statement_timeout")
	_, err = pgtest.RunOn(session, "SET statement_timeout = 0", time.Minute)
	n.Must(err)

	pid := session.PID()
	answered := make(chan error, 1)
	go func() {
		_, err := pgtest.RunOn(session, call, time.Minute)
		answered <- err
	}()
	n.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT state FROM pg_stat_activity WHERE pid = %d AND query = '%s'", pid, strings.ReplaceAll(call, "'", "''")), "active")
	began = time.Now()
	n.Exec(fmt.Sprintf("SELECT pg_cancel_backend(%d)", pid))
	requireCancelled(t, <-answered, began, "pg_cancel_backend")
	rows, err := pgtest.RunOn(session, "SELECT bdr.bdr_version(), count(*) FROM bdr.get_raft_status()", time.Minute)
	if err != nil || rows[0][1] != "1" {
		t.Errorf("the session is not usable afterwards: %v %v", rows, err)
	}
}

func requireCancelled(t *testing.T, err error, began time.Time, how string) {
	t.Helper()
	e := pgtest.PgError(err)
	if e == nil || e.Code != "57014" {
		t.Errorf("%s: expected 57014, got %v", how, err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("%s took %v", how, took)
	}
}

// TestLinksBreakAndHeal exists because networks lose packets silently: a cut
// link gives no error, a refused one gives one at every try, a slow one is just
// slow. Replication goes on after each, with what was written meanwhile.
func TestLinksBreakAndHeal(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithProxies())
	c.ExecAll(clustertest.LoadTables...)
	a, b := c.Nodes[0], c.Nodes[1]
	writers := clustertest.StartLoad(a, b)
	spoil := map[string]func(*pgtest.Link){
		"cut":    (*pgtest.Link).Cut,
		"refuse": (*pgtest.Link).Refuse,
		"delay":  func(l *pgtest.Link) { l.Delay(50 * time.Millisecond) },
	}
	for _, name := range []string{"cut", "refuse", "delay", "refuse", "cut"} {
		for _, link := range []*pgtest.Link{c.Link(b, a), c.Link(a, b)} {
			spoil[name](link)
			writers.WaitCommits(t, 300)
			link.Heal()
			writers.WaitCommits(t, 100)
		}
	}
	writers.End(t)
	c.WaitMesh(a, b)
	c.RequireConverged()
	writers.RequireAcknowledged(t, a, b)
}
