//go:build soak

package conflict

import (
	"testing"
	"time"

	"bdr/regress/cluster/clustertest"
)

// How many seeds each test plays; BDR_SEED plays one.
const (
	soakChaosSeeds = 10
	soakJoinSeeds  = 20
)

// TestSoakConflictChaos is TestConflictChaos with accidents of full length.
func TestSoakConflictChaos(t *testing.T) {
	clustertest.EachSeed(t, soakChaosSeeds, func(t *testing.T, seed uint64) { conflictChaos(t, seed, 90*time.Second, time.Second) })
}

// TestSoakJoinUnderConflict is TestJoinUnderConflict, many times.
func TestSoakJoinUnderConflict(t *testing.T) {
	clustertest.EachSeed(t, soakJoinSeeds, joinUnderConflict)
}
