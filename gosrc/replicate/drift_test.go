package replicate

import (
	"testing"
	"time"
)

// A message that waited in a queue must not hide how far ahead a clock is, and
// a clock that was set right must not be blamed for ever.
func TestDrift(t *testing.T) {
	base := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(s float64) time.Time { return base.Add(time.Duration(s * float64(time.Second))) }
	var d drift
	if got := d.estimate(at(0)); got != nil {
		t.Fatalf("%s before anything was heard", *got)
	}
	require := func(step string, now time.Time, want time.Duration) {
		t.Helper()
		got := d.estimate(now)
		if got == nil || *got != want {
			t.Fatalf("%s: got %v, expected %s", step, got, want)
		}
	}
	d.add(at(3), at(1))
	require("the peer is 2 s ahead", at(1), 2*time.Second)
	d.add(at(4), at(12))
	require("one message took 10 s", at(12), 2*time.Second)
	d.add(at(64), at(65))
	require("the clock was set back, the window before remembers", at(65), 2*time.Second)
	d.add(at(129), at(130))
	require("then it does not", at(130), -time.Second)
	if got := d.estimate(at(130 + 2*driftWindow.Seconds())); got != nil {
		t.Errorf("%s after a long silence", *got)
	}
}
