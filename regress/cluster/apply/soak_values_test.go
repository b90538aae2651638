//go:build soak

package apply

import (
	"testing"

	"bdr/regress/cluster/clustertest"
)

// How many seeds are played, and how many values are made of each sound one;
// BDR_SEED plays one seed.
const (
	soakValueSeeds = 5
	soakValues     = 1000
)

// TestSoakHandMadeValues is TestHandMadeValues with many more values.
func TestSoakHandMadeValues(t *testing.T) {
	clustertest.EachSeed(t, soakValueSeeds, func(t *testing.T, seed uint64) { handMadeValues(t, seed, soakValues) })
}
