//go:build soak

package conflict

import (
	"fmt"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// soakStorms is how often each kind of storm passes.
var soakStorms = clustertest.FromEnvironment("BDR_SOAK_STORMS", 50)

// TestSoakStorm is TestStorm again and again: what it looks for came in about
// one storm of four.
func TestSoakStorm(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	for _, s := range storms {
		for i := range soakStorms {
			t.Run(fmt.Sprintf("%s/%d", s.name, i), func(t *testing.T) { s.blow(t, c.For(t), stormLag) })
		}
	}
}
