package major

import (
	"fmt"
	"maps"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestNothingIsStreamedInProgress exists because a server can be told to hand
// every change to the output plugin before its transaction has committed, and
// ours must not get any: a transaction that was rolled back would have been sent.
// With little memory everything is spilled instead, and must arrive as it was.
func TestNothingIsStreamedInProgress(t *testing.T) {
	settings := map[string]string{"logical_decoding_work_mem": "64kB", "bdr.logical_decoding_work_mem": "64kB"}
	switch major := pgtest.Major(t); {
	case major == 16:
		settings["logical_decoding_mode"] = "immediate"
	case major > 16:
		settings["debug_logical_replication_streaming"] = "immediate"
	}
	maps.Copy(settings, clustertest.QuickRetries)
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(settings))
	b := c.Nodes[1]
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, v text)", "ALTER TABLE t ALTER v SET STORAGE EXTERNAL")
	for _, n := range c.Nodes {
		shift := 0
		if n == b {
			shift = 1000000
		}
		n.Exec(
			fmt.Sprintf("INSERT INTO t VALUES (%d, 'small')", shift),
			fmt.Sprintf("INSERT INTO t SELECT g + %d, repeat('x', 100) FROM generate_series(1, 5000) g", shift),
			fmt.Sprintf("BEGIN; INSERT INTO t SELECT g + %d, 'rolled back' FROM generate_series(10001, 15000) g; ROLLBACK", shift),
			fmt.Sprintf(`BEGIN; UPDATE t SET v = 'first' WHERE id > %[1]d AND id <= %[1]d + 1000;
 SAVEPOINT s; UPDATE t SET v = 'taken back' WHERE id > %[1]d AND id <= %[1]d + 3000; INSERT INTO t SELECT g + %[1]d, 'taken back' FROM generate_series(20001, 22000) g;
 ROLLBACK TO s; DELETE FROM t WHERE id > %[1]d + 4000 AND id <= %[1]d + 4500; SAVEPOINT r; UPDATE t SET v = 'kept' WHERE id = %[1]d + 4600; RELEASE r; COMMIT`, shift),
			fmt.Sprintf("INSERT INTO t SELECT g + %d, repeat(md5(g::text), 3000) FROM generate_series(30001, 30040) g", shift),
			fmt.Sprintf("BEGIN; INSERT INTO t VALUES (%d, 'in two steps'); PREPARE TRANSACTION 'two'", 40000+shift), "COMMIT PREPARED 'two'",
			fmt.Sprintf("BEGIN; INSERT INTO t SELECT g + %d, 'prepared and rolled back' FROM generate_series(50001, 52000) g; PREPARE TRANSACTION 'no'", shift), "ROLLBACK PREPARED 'no'")
	}
	c.RequireConverged()
	const summary = `SELECT count(*) || ' ' || count(*) FILTER (WHERE v = 'first') || ' ' || count(*) FILTER (WHERE v = 'kept') || ' '
 || count(*) FILTER (WHERE v LIKE '%back%') FROM t`
	for _, n := range c.Nodes {
		if got, want := n.Value(summary), "9084 2000 2 0"; got != want {
			t.Errorf("%s has %s, expected %s", n.Name, got, want)
		}
		n.Wait(clustertest.ResumeLimit, "SELECT sum(stream_txns) || ' ' || (sum(spill_txns) > 0) FROM pg_stat_replication_slots", "0 true")
	}
}
