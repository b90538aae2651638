//go:build soak

package conflict

import (
	"testing"

	"bdr/regress/cluster/clustertest"
)

// soakSchedules is how many random schedules each table gets.
var soakSchedules = clustertest.FromEnvironment("BDR_SOAK_SCHEDULES", 1000)

// TestSoakSchedules plays random schedules that nobody has played before.
func TestSoakSchedules(t *testing.T) {
	first := clustertest.SoakSeed()
	t.Logf("BDR_SEED=%d", first)
	p := newPlayer(t)
	for _, l := range layouts() {
		t.Run(l.name, func(t *testing.T) { p.playAll(t, randomSchedules(l, first, uint64(soakSchedules))) })
	}
	p.c.RequireConverged()
}
