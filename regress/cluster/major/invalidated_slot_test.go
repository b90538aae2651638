package major

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestSlotIsInvalidated exists because a slot that its server has given up takes
// changes with it: the peer must say so for as long as nobody has acted, name the
// setting, and say what to type; and what it says must work. What the peer itself
// writes goes on meanwhile.
func TestSlotIsInvalidated(t *testing.T) {
	for _, k := range []struct {
		name, setting, value string
		since                int
		reason               string
		cause                func(t *testing.T, a *pgtest.Node)
	}{
		{"wal_removed", "max_slot_wal_keep_size", "16MB", 15, "wal_removed", writeMuchWAL},
		{"idle_timeout", "idle_replication_slot_timeout", "1s", 18, "idle_timeout", func(t *testing.T, a *pgtest.Node) {
			a.Wait(clustertest.ResumeLimit, "SELECT inactive_since < now() - interval '2 s' FROM bdr.node_slots", "t")
			a.Exec("CHECKPOINT")
		}},
	} {
		t.Run(k.name, func(t *testing.T) {
			pgtest.Since(t, k.since, k.setting)
			c := pgtest.NewCluster(t, 2, pgtest.WithSettings(clustertest.QuickRetries))
			slotIsInvalidated(t, c, k.setting, k.value, k.reason, k.cause)
		})
	}
}

func slotIsInvalidated(t *testing.T, c *pgtest.Cluster, setting, value, reason string, cause func(*testing.T, *pgtest.Node)) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, v text)")
	a.Exec("INSERT INTO t VALUES (1, 'both')")
	c.RequireConverged()
	a.Must(a.Configure(map[string]string{setting: value}))
	a.Must(a.Reload())
	a.Wait(clustertest.ResumeLimit, "SELECT setting <> '-1' AND setting <> '0' FROM pg_settings WHERE name = '"+setting+"'", "t")

	if setting == "idle_replication_slot_timeout" {
		pgtest.Eventually(t, clustertest.ResumeLimit, "the log warns", func() (bool, string) {
			return a.LogContains("WARNING:  " + setting + " is " + value), a.LogTail(3)
		})
	}
	b.Exec("SELECT bdr.alter_subscription_disable(immediate := true)")
	a.Wait(clustertest.ResumeLimit, "SELECT active FROM bdr.node_slots", "f")
	a.Exec("INSERT INTO t VALUES (2, 'b does not get it')")
	cause(t, a)
	a.Wait(clustertest.ResumeLimit, "SELECT wal_status FROM bdr.node_slots", "lost")
	if pgtest.Major(t) >= 17 {
		a.Wait(clustertest.ResumeLimit, "SELECT invalidation_reason FROM bdr.node_slots", reason)
	}

	b.Exec("SELECT bdr.alter_subscription_enable()")
	message := fmt.Sprintf("cannot go on with the changes of node \"%s\": replication slot", a.Name)
	b.Wait(clustertest.ResumeLimit, fmt.Sprintf(`SELECT count(*) FROM bdr.worker_errors WHERE worker_role = 'receiver' AND error_sqlstate = '55000'
 AND starts_with(error_message, '%s') AND error_message LIKE '%%invalidated (%s)%%' AND error_detail LIKE '%%%s%%' AND error_retries > 2`,
		message, reason, setting), "1")
	b.Exec("INSERT INTO t VALUES (3, 'a gets it')")
	a.Wait(clustertest.ResumeLimit, "SELECT string_agg(id::text, ',' ORDER BY id) FROM t", "1,2,3")
	if got := b.Value("SELECT string_agg(id::text, ',' ORDER BY id) FROM t"); got != "1,3" {
		t.Errorf("the peer has rows %s", got)
	}
	hint := b.Value("SELECT error_hint FROM bdr.worker_errors")
	if !b.LogContains(message) || !b.LogContains("HINT:  Part this node and join it again") {
		t.Error("the peer's log does not say what has happened, or what to do")
	}
	rejoin(t, c, hint)
}

// writeMuchWAL writes more than any slot may keep, and has it removed.
func writeMuchWAL(t *testing.T, a *pgtest.Node) {
	pgtest.Eventually(t, time.Minute, "the slot is lost", func() (bool, string) {
		a.Exec("SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000000)) FROM generate_series(1, 20)",
			"SELECT pg_switch_wal()", "CHECKPOINT")
		got := a.Value("SELECT wal_status FROM bdr.node_slots")
		return got == "lost", got
	})
}

// rejoin does what the hint says.
func rejoin(t *testing.T, c *pgtest.Cluster, hint string) {
	t.Helper()
	a, b := c.Nodes[0], c.Nodes[1]
	_, commands, found := strings.Cut(hint, fmt.Sprintf("On node \"%s\": ", a.Name))
	there, here, two := strings.Cut(commands, " then here: ")
	if !found || !two {
		t.Fatalf("the hint is %q", hint)
	}
	for _, step := range []struct {
		n    *pgtest.Node
		text string
	}{{a, there}, {b, here}} {
		for command := range strings.SplitSeq(strings.TrimRight(step.text, ";."), ";") {
			pgtest.Eventually(t, clustertest.ResumeLimit, step.n.Name+": "+command, func() (bool, string) {
				err := step.n.Try(command) // the parted node learns of its end a little later
				return err == nil, fmt.Sprint(err)
			})
		}
	}
	b.CloseSessions()
	if _, err := b.Run("postgres", "DROP DATABASE app WITH (FORCE)"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Run("postgres", "CREATE DATABASE app"); err != nil {
		t.Fatal(err)
	}
	b.Exec("CREATE EXTENSION bdr CASCADE")
	c.Member(1)
	c.WaitMesh(a, b)
	c.RequireConverged()
	if got := b.Value("SELECT string_agg(id::text, ',' ORDER BY id) FROM t"); got != "1,2,3" {
		t.Errorf("after the new join the peer has rows %s", got)
	}
}

// TestIdleTimeoutIsWarnedOf exists because nobody thinks of a time limit for slots
// on the day on which a node has been away for longer. Who makes a node hears of
// it, and whoever reads the log after a start or a change.
func TestIdleTimeoutIsWarnedOf(t *testing.T) {
	const setting = "idle_replication_slot_timeout"
	pgtest.Since(t, 18, setting)
	n := pgtest.NewCluster(t, 1, pgtest.WithSettings(map[string]string{setting: "2d"})).Nodes[0]
	if !n.LogContains("WARNING:  " + setting + " is 2d. A peer that is away") {
		t.Error("bdr.create_node did not warn")
	}
	logs := func(text string) {
		t.Helper()
		pgtest.Eventually(t, clustertest.ResumeLimit, text, func() (bool, string) { return n.LogContains("WARNING:  " + text), n.LogTail(3) })
	}
	n.Must(n.Configure(map[string]string{setting: "3d"}))
	n.Must(n.Reload())
	logs(setting + " is 3d")
	n.Must(n.Configure(map[string]string{setting: "4d"}))
	n.Must(n.Restart())
	logs(setting + " is 4d")
}
