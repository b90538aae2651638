//go:build soak

package clustertest

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// SoakSeed is the seed of BDR_SEED, or another one each time.
func SoakSeed() uint64 { return SeedOr(uint64(time.Now().UnixNano())) }

// FromEnvironment is a number that a variable sets.
func FromEnvironment(name string, otherwise int) int {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		return otherwise
	}
	return n
}

// EachSeed plays n seeds, or the one of BDR_SEED.
func EachSeed(t *testing.T, n uint64, play func(*testing.T, uint64)) {
	first := SeedOr(0)
	if first > 0 {
		n = 1
	} else {
		first = uint64(time.Now().UnixNano())
	}
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprintf("seed_%d", seed), func(t *testing.T) { play(t, seed) })
	}
}
