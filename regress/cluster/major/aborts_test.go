package major

import (
	"fmt"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestAbortsDoNotMoveOrigins exists because from PostgreSQL 16 an abort moves the
// origin of its session to the transaction that it carries, as if that had been
// applied: it would be skipped by the next try. However a transaction is taken
// back here, the origin must stay before it, and all of it must be applied in the
// end. TestApplyErrors, TestDeadlocks and TestKilledProcesses look at the rows only.
func TestAbortsDoNotMoveOrigins(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(clustertest.QuickRetries))
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE TABLE waits (id int)")
	c.Nodes[1].Exec(`CREATE FUNCTION obstacle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
 BEGIN INSERT INTO public.waits VALUES (NEW.id); RAISE 'taken back'; EXCEPTION WHEN raise_exception THEN NULL; END;
 PERFORM pg_catalog.pg_advisory_xact_lock_shared(1);
 IF NEW.v = 'fails' AND EXISTS (SELECT FROM public.waits WHERE id = -1) THEN RAISE 'the test wants it'; END IF;
 RETURN NEW; END $$`,
		"CREATE TRIGGER obstacle BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION obstacle()", "ALTER TABLE t ENABLE ALWAYS TRIGGER obstacle",
		"CREATE CONSTRAINT TRIGGER obstacle_at_the_end AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION obstacle()",
		"ALTER TABLE t ENABLE ALWAYS TRIGGER obstacle_at_the_end")
	for i, k := range []struct {
		name, value string
		takeBack    func(t *testing.T, b *pgtest.Node, release func()) // while the transaction waits at the peer
	}{
		{"subtransaction_of_a_trigger", "goes", func(_ *testing.T, _ *pgtest.Node, release func()) { release() }},
		{"terminated_writer", "goes", signalWriter("pg_terminate_backend")},
		{"cancelled_writer", "goes", signalWriter("pg_cancel_backend")},
		{"failing_trigger", "fails", failingTrigger},
		{"killed_writer", "goes", kill(clustertest.WriterTitle)},
		{"killed_manager", "goes", kill(clustertest.ManagerTitle)},
	} {
		t.Run(k.name, func(t *testing.T) {
			c := c.For(t)
			a, b := c.Nodes[0], c.Nodes[1]
			c.RequireConvergedAmong(a, b)
			b.Exec(clustertest.Local + "TRUNCATE waits; INSERT INTO waits VALUES (-1); COMMIT")
			before := b.Value(position)
			release, _ := clustertest.Hold(t, b, "SELECT pg_advisory_xact_lock(1)")
			a.Exec(fmt.Sprintf("INSERT INTO t SELECT g, '%s' FROM generate_series(%d, %d) g", k.value, 10*i, 10*i+4))
			end := a.Value("SELECT pg_current_wal_insert_lsn()")
			clustertest.WaitForLockWait(t, b)
			requireOrigin(t, b, before)
			k.takeBack(t, b, func() { requireOrigin(t, b, before); release() })
			b.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT count(*) FROM t WHERE id BETWEEN %d AND %d", 10*i, 10*i+4), "5")
			if got := b.Value(fmt.Sprintf("SELECT pg_replication_origin_progress(origin_name, true) <= '%s' FROM bdr.subscription", end)); got != "t" {
				t.Error("the origin is beyond what the peer had written")
			}
			b.Exec(clustertest.Local + "TRUNCATE waits; COMMIT")
			c.WaitMesh(a, b)
			c.RequireConverged()
		})
	}
}

const position = "SELECT pg_replication_origin_progress(origin_name, false) FROM bdr.subscription"

func requireOrigin(t *testing.T, b *pgtest.Node, want string) {
	t.Helper()
	if got := b.Value(position); got != want {
		t.Errorf("the origin moved from %s to %s with what was not committed", want, got)
	}
}

const waitingWriter = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'bdr writer' AND wait_event_type = 'Lock'"

// signalWriter lets the next writer come as far as the first.
func signalWriter(function string) func(*testing.T, *pgtest.Node, func()) {
	return func(t *testing.T, b *pgtest.Node, release func()) {
		first := b.Value(waitingWriter)
		b.Exec(fmt.Sprintf("SELECT %s(%s)", function, first))
		pgtest.Eventually(t, clustertest.ResumeLimit, "another writer waits", func() (bool, string) {
			rows := b.Rows(waitingWriter)
			return len(rows) == 1 && rows[0][0] != first, fmt.Sprint(rows)
		})
		release()
	}
}

func failingTrigger(t *testing.T, b *pgtest.Node, release func()) {
	before := b.Value(position)
	release()
	b.Wait(clustertest.ResumeLimit, "SELECT error_message LIKE '%the test wants it%' AND error_retries > 1 FROM bdr.worker_errors", "t")
	requireOrigin(t, b, before)
	b.Exec("TRUNCATE waits")
}

// kill resets the whole instance, and with it the lock.
func kill(title string) func(*testing.T, *pgtest.Node, func()) {
	return func(t *testing.T, b *pgtest.Node, _ func()) {
		b.KillProcess(clustertest.OnlyProcess(t, b, title))
	}
}
