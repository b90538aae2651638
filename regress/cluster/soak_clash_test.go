//go:build soak

package cluster

import (
	"fmt"
	"testing"
	"time"
)

// How many seeds each test plays; BDR_SEED plays one.
const (
	soakChaosSeeds = 10
	soakJoinSeeds  = 20
)

// TestSoakConflictChaos is TestConflictChaos with accidents of full length.
func TestSoakConflictChaos(t *testing.T) {
	eachSeed(t, soakChaosSeeds, func(t *testing.T, seed uint64) { conflictChaos(t, seed, 90*time.Second, time.Second) })
}

// TestSoakJoinUnderConflict is TestJoinUnderConflict, many times.
func TestSoakJoinUnderConflict(t *testing.T) {
	eachSeed(t, soakJoinSeeds, joinUnderConflict)
}

func eachSeed(t *testing.T, n uint64, play func(*testing.T, uint64)) {
	first := seedOr(0)
	if first > 0 {
		n = 1
	} else {
		first = uint64(time.Now().UnixNano())
	}
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprintf("seed_%d", seed), func(t *testing.T) { play(t, seed) })
	}
}
