package conflict

import (
	"fmt"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// settleChanges is how many changes of one key are applied for each number.
const settleChanges = 1000

// TestSettleCost exists because a key that was written often leaves thousands
// of dead rows behind while a peer is away, and each of the peer's changes of
// the key that came later walked them all, several times.
func TestSettleCost(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(map[string]string{"autovacuum": "off"}))
	cost := map[int]float64{}
	for i, dead := range []int{10, 1000, 10000} {
		table := fmt.Sprintf("cost%d", i)
		cost[dead] = settleCost(t, c.For(t), table, dead)
		t.Logf("%5d dead rows: %.0f µs for a change", dead, cost[dead]*1e6)
	}
	if cost[10000] > 6*cost[10] {
		t.Errorf("a change costs %.1f times as much", cost[10000]/cost[10])
	}
}

// settleCost is the CPU time of the writer for a change that came late, of a
// key with so many dead rows.
func settleCost(t *testing.T, c *pgtest.Cluster, table string, dead int) float64 {
	a, b := c.Nodes[0], c.Nodes[1]
	// dead rows are made without an index, or making them would take that long
	c.ExecAll("CREATE TABLE " + table + " (id int NOT NULL, v int)")
	a.Exec("ALTER TABLE " + table + " ADD PRIMARY KEY (id)")
	b.Exec("ALTER TABLE " + table + " REPLICA IDENTITY FULL")
	heal, healOther := cut(t, b, a), cut(t, a, b)
	a.Exec(fmt.Sprintf(`DO $$ BEGIN FOR i IN 1..%d LOOP
		INSERT INTO %s VALUES (1, i); COMMIT; DELETE FROM %[2]s WHERE id = 1; COMMIT; END LOOP; END $$`, settleChanges/2, table))
	b.Exec(fmt.Sprintf(`DO $$ DECLARE place tid; BEGIN FOR i IN 1..%d LOOP
		INSERT INTO %s VALUES (1, i) RETURNING ctid INTO place; COMMIT; DELETE FROM %[2]s WHERE ctid = place; COMMIT; END LOOP; END $$`, dead, table))
	b.Exec("ALTER TABLE "+table+" ADD PRIMARY KEY (id)", "ALTER TABLE "+table+" REPLICA IDENTITY DEFAULT")
	end := "INSERT INTO " + table + " VALUES (2, 0)"
	a.Exec(end)
	heal()
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM "+table, "1")
	total := 0.0
	for _, p := range b.ProcessesTitled(clustertest.WriterTitle, a.Name) {
		total += p.RunSeconds()
	}
	healOther()
	c.RequireConverged()
	return total / settleChanges
}
