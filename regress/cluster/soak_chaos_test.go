//go:build soak

package cluster

import (
	"cmp"
	"math/rand/v2"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
)

// soakRound is how long writers write before everything is compared.
const soakRound = 2 * time.Minute

// TestSoakChaos exists because thirty seconds of chaos meet few of the states
// that a cluster can be in when something breaks. Writers on all nodes, and
// every few seconds an accident of any kind; after each round all nodes are
// equal and hold every commit that was acknowledged for a key of the node's own.
func TestSoakChaos(t *testing.T) {
	seed := cmp.Or(uint64(soakSeed), uint64(time.Now().UnixNano()))
	t.Logf("BDR_SOAK_SEED=%d", seed)
	c := pgtest.NewCluster(t, 3, pgtest.WithProxies())
	c.ExecAll(loadTables...)
	chaos := &chaos{t: t, c: c, random: rand.New(rand.NewPCG(seed, 0)), second: time.Second}
	rounds := 0
	for began := time.Now(); time.Since(began) < time.Duration(soakMinutes)*time.Minute; rounds++ {
		writers := startLoad(c.Nodes...)
		for round := time.Now(); time.Since(round) < soakRound; {
			chaos.accident()
		}
		writers.end(t)
		c.WaitMesh(c.Nodes...)
		c.RequireConverged()
		writers.requireAcknowledged(t, c.Nodes...)
		c.Nodes[0].Exec("TRUNCATE ledger, shared")
		c.RequireConverged()
	}
	t.Logf("%d rounds, accidents: %v", rounds, chaos.count)
}
