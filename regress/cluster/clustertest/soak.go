//go:build soak

package clustertest

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// The tests of this file take long: `make soak` runs them, `make test` does
// not. Their size can be chosen, for a short look or a long night.
var (
	SoakRows    = FromEnvironment("BDR_SOAK_ROWS", 5_000_000) // of the large transaction, 430 bytes each
	SoakMinutes = FromEnvironment("BDR_SOAK_MINUTES", 30)     // of chaos
	SoakSeed    = FromEnvironment("BDR_SEED", 0)              // of chaos; 0: another one each time
)

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
