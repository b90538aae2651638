package apply

import (
	"fmt"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestWALWriterIsNotWokenForEachTransaction exists because one signal per
// applied transaction cost a quarter of the writer's time on 15, and because
// sparing it must not let commits lie around: what was applied is on disk as soon
// as PostgreSQL promises, also when the WAL writer was in its long sleep.
func TestWALWriterIsNotWokenForEachTransaction(t *testing.T) {
	const transactions = 20000
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(map[string]string{"wal_writer_delay": "100ms"}))
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, v text)")
	a, b := c.Nodes[0], c.Nodes[1]
	writers := b.ProcessesTitled("walwriter")
	if len(writers) != 1 {
		t.Fatalf("WAL writers: %v", writers)
	}
	b.Exec("SELECT bdr.alter_subscription_disable(immediate := true)")
	a.Exec(fmt.Sprintf("DO $$ BEGIN FOR i IN 1..%d LOOP INSERT INTO t VALUES (i, 'row ' || i); COMMIT; END LOOP; END $$", transactions))
	time.Sleep(55 * 100 * time.Millisecond) // 50 delays without work: the WAL writer sleeps 25 delays at a time
	before := writers[0].Wakeups()
	b.Exec("SELECT bdr.alter_subscription_enable(immediate := true)")
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM t", fmt.Sprint(transactions))
	if woken := writers[0].Wakeups() - before; woken > transactions/20 {
		t.Errorf("the WAL writer was woken %d times for %d transactions", woken, transactions)
	}
	end := b.Value("SELECT pg_current_wal_insert_lsn()")
	b.Wait(1500*time.Millisecond, fmt.Sprintf("SELECT pg_current_wal_flush_lsn() >= '%s'", end), "t")
	a.Wait(clustertest.ResumeLimit, "SELECT bool_and(flush_lag_bytes = 0) FROM bdr.node_slots", "t")
	c.RequireConverged()
}
