//go:build soak

package cluster

import "testing"

// How many seeds are played, and how many values are made of each sound one;
// BDR_SEED plays one seed.
const (
	soakValueSeeds = 5
	soakValues     = 1000
)

// TestSoakHandMadeValues is TestHandMadeValues with many more values.
func TestSoakHandMadeValues(t *testing.T) {
	eachSeed(t, soakValueSeeds, func(t *testing.T, seed uint64) { handMadeValues(t, seed, soakValues) })
}
