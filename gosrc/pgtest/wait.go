package pgtest

import (
	"testing"
	"time"
)

// pollInterval is the time between two looks at a condition.
const pollInterval = 20 * time.Millisecond

func pause() { time.Sleep(pollInterval) }

// Eventually looks at a condition until it holds, and fails the test with what
// the condition last said when the limit has passed.
func Eventually(t testing.TB, limit time.Duration, what string, condition func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		ok, state := condition()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s; last seen: %s", limit, what, state)
		}
		pause()
	}
}
