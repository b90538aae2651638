package replicate

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"bdr/gosrc/pgerr"
)

// Limits of what is tried again outside the ordinary backoff.
const (
	retryAtOnceMax = 3                      // in a row, for a transaction that only met another one
	retryBusyMax   = 50                     // in a row, for a slot or origin that its last user has not let go
	retryBusyDelay = 200 * time.Millisecond // between those
	backoffMin     = time.Second            // when the setting cannot be read
	backoffMax     = time.Minute
	goodConnection = time.Minute // open for so long, a connection counts as progress
)

// Codes of the server, and of ours (extension/base/retry.h).
const (
	deadlockDetected = "40P01"
	startOver        = "40BDR"
)

// retry says how long to wait before a failed subscription is started again.
//
// A failure that passes by itself is tried at once, a few times; a slot or
// origin that is still in use is tried soon; all others back off exponentially
// between the two settings. Any progress starts the count again.
type retry struct {
	failures int            // since the last progress, ordinary ones
	atOnce   int            // in a row
	busy     int            // in a row
	passing  bool           // the last failure should pass by itself: nobody needs to know
	random   func() float64 // [0, 1)
}

func newRetry() *retry { return &retry{random: rand.Float64} }

// progressed forgets all failures: something was applied since.
func (r *retry) progressed() { r.failures, r.atOnce, r.busy = 0, 0, 0 }

// delay says how long to wait after a failure.
func (r *retry) delay(fault *pgerr.Error, lowest, highest time.Duration) time.Duration {
	r.passing = true
	switch fault.Code {
	case deadlockDetected, startOver, pgerr.SerializationFailure, pgerr.LockNotAvailable:
		if r.atOnce < retryAtOnceMax {
			r.atOnce++
			return 0
		}
	case pgerr.ObjectInUse:
		if r.busy < retryBusyMax {
			r.busy++
			return retryBusyDelay
		}
	}
	r.passing = false
	r.failures++
	return r.backoff(lowest, highest)
}

// backoff doubles from lowest to highest; up to a quarter is taken off at
// random, so that subscriptions which failed together do not return together.
func (r *retry) backoff(lowest, highest time.Duration) time.Duration {
	highest = max(lowest, highest)
	wait := lowest
	for i := 1; i < r.failures && wait < highest; i++ {
		wait *= 2
	}
	wait = min(wait, highest)
	return max(lowest, wait-time.Duration(float64(wait)*r.random()/4))
}

// durationUnits are the units that the server prints for time settings.
var durationUnits = []struct {
	suffix string
	unit   time.Duration
}{
	{"us", time.Microsecond}, {"ms", time.Millisecond}, {"min", time.Minute},
	{"s", time.Second}, {"h", time.Hour}, {"d", 24 * time.Hour}, {"", time.Millisecond},
}

// settingDuration reads a time setting as the server prints it ("10s", "500ms",
// or a bare number of milliseconds).
func settingDuration(value string, fallback time.Duration) time.Duration {
	for _, u := range durationUnits {
		number, found := strings.CutSuffix(value, u.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 32)
		if err != nil || n < 0 {
			return fallback
		}
		return time.Duration(n) * u.unit
	}
	return fallback
}
