package apply

import (
	"fmt"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

const senderGaveUp = "terminating walsender process due to replication timeout"

// TestSlowApply exists because a sender ends the connection when it hears
// nothing for wal_sender_timeout, and a transaction that takes longer to apply
// would start over for ever. It must hear from us whatever the writer does.
func TestSlowApply(t *testing.T) {
	clustertest.OverTLS(t, func(t *testing.T, options ...pgtest.Option) {
		t.Parallel()
		settings := map[string]string{"wal_sender_timeout": "3s", "bdr.min_worker_backoff_delay": "100ms"}
		c := pgtest.NewCluster(t, 2, append(options, pgtest.WithSettings(settings))...)
		c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, v text)", "ALTER TABLE t ALTER v SET STORAGE EXTERNAL", "CREATE TABLE slow (id int PRIMARY KEY)")
		a, b := c.Nodes[0], c.Nodes[1]
		b.Exec("CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END$$",
			"CREATE TRIGGER wait BEFORE INSERT ON slow FOR EACH ROW EXECUTE FUNCTION wait()", "ALTER TABLE slow ENABLE ALWAYS TRIGGER wait")
		a.Exec("INSERT INTO t VALUES (0, '')")
		c.RequireConverged()

		t.Run("slow_rows", func(t *testing.T) {
			a.For(t).Exec("INSERT INTO slow SELECT generate_series(1, 160)")
			b.For(t).Wait(20*time.Second, "SELECT count(*) FROM slow", "160")
			requireNoTimeout(t, a)
		})
		for name, bytes := range map[string]int{"lock_and_a_small_transaction": 1, "lock_and_a_full_socket": 30 << 20} {
			t.Run(name, func(t *testing.T) {
				release, _ := clustertest.Hold(t, b, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
				a.For(t).Exec(fmt.Sprintf("INSERT INTO t SELECT %d + g, repeat('x', 8000) FROM generate_series(1, %d) g", bytes, max(1, bytes/8000)))
				clustertest.WaitForLockWait(t, b)
				time.Sleep(8 * time.Second) // more than twice the time-out
				release()
				c.For(t).RequireConverged()
				requireNoTimeout(t, a)
			})
		}
	})
}

func requireNoTimeout(t *testing.T, n *pgtest.Node) {
	t.Helper()
	if n.LogContains(senderGaveUp) {
		t.Errorf("the sender of %s ended the connection", n.Name)
	}
}

// TestSilence exists because a network that lost its route tells nobody.
// wal_receiver_timeout of the receiver says when that counts, as for every other
// receiver.
func TestSilence(t *testing.T) {
	clustertest.OverTLS(t, func(t *testing.T, options ...pgtest.Option) {
		t.Parallel()
		options = append(options, pgtest.WithProxies(), pgtest.WithSettings(map[string]string{"wal_sender_timeout": "0", "wal_receiver_timeout": "4s"}))
		c := pgtest.NewCluster(t, 2, options...)
		c.ExecAll("CREATE TABLE t (id int PRIMARY KEY)")
		a, b := c.Nodes[0], c.Nodes[1]
		a.Exec("INSERT INTO t VALUES (1)")
		c.RequireConverged()
		began := time.Now()
		c.Link(b, a).Cut()
		pgtest.Eventually(t, 20*time.Second, "the silence is noticed", func() (bool, string) {
			return b.LogContains("nothing was heard"), "it is not"
		})
		if took := time.Since(began); took < 3*time.Second || took > 8*time.Second {
			t.Errorf("it took %s", took)
		}
		c.Link(b, a).Heal()
		c.WaitMesh(a, b)
		a.Exec("INSERT INTO t VALUES (2)")
		c.RequireConverged()
	})
}
