//go:build soak

package failure

import (
	"math/rand/v2"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// soakMinutes is how long chaos lasts.
var soakMinutes = clustertest.FromEnvironment("BDR_SOAK_MINUTES", 30)

// soakRound is how long writers write before everything is compared.
const soakRound = 2 * time.Minute

// TestSoakChaos exists because thirty seconds of chaos meet few of the states
// that a cluster can be in when something breaks. Writers on all nodes, and
// every few seconds an accident of any kind; after each round all nodes are
// equal and hold every commit that was acknowledged for a key of the node's own.
func TestSoakChaos(t *testing.T) {
	seed := clustertest.SoakSeed()
	t.Logf("BDR_SEED=%d", seed)
	c := pgtest.NewCluster(t, 3, pgtest.WithProxies())
	c.ExecAll(clustertest.LoadTables...)
	chaos := &clustertest.Chaos{T: t, C: c, Random: rand.New(rand.NewPCG(seed, 0)), Second: time.Second}
	rounds := 0
	for began := time.Now(); time.Since(began) < time.Duration(soakMinutes)*time.Minute; rounds++ {
		writers := clustertest.StartLoad(c.Nodes...)
		for round := time.Now(); time.Since(round) < soakRound; {
			chaos.Accident()
		}
		writers.End(t)
		c.WaitMesh(c.Nodes...)
		c.RequireConverged()
		writers.RequireAcknowledged(t, c.Nodes...)
		c.Nodes[0].Exec("TRUNCATE ledger, shared")
		c.RequireConverged()
	}
	t.Logf("%d rounds, accidents: %v", rounds, chaos.Count)
}
