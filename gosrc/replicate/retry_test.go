package replicate

import (
	"fmt"
	"testing"
	"time"

	"bdr/gosrc/pgerr"
)

// A peer that is down must not be flooded, and one that comes back must not be
// kept waiting longer than the setting says.
func TestRetryBackoff(t *testing.T) {
	r := &retry{random: func() float64 { return 0 }}
	lost := pgerr.New(pgerr.ConnectionFailure, "connection lost")
	for i, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		if got := r.delay(lost, time.Second, 10*time.Second); got != want*time.Second {
			t.Errorf("failure %d: got %s, want %s", i+1, got, want*time.Second)
		}
	}
	r.progressed()
	if got := r.delay(lost, time.Second, 10*time.Second); got != time.Second {
		t.Errorf("after progress: got %s", got)
	}
}

// Jitter stays within the settings.
func TestRetryJitter(t *testing.T) {
	r := newRetry()
	for range 1000 {
		if got := r.delay(pgerr.New(pgerr.ConnectionFailure, "x"), time.Second, 10*time.Second); got < time.Second || got > 10*time.Second {
			t.Fatalf("got %s", got)
		}
	}
}

// What passes by itself is tried at once, but not for ever.
func TestRetryKinds(t *testing.T) {
	tests := []struct {
		name  string
		code  string
		times int
		delay time.Duration
	}{
		{"deadlock", "40P01", retryAtOnceMax, 0},
		{"start_over", "40BDR", retryAtOnceMax, 0},
		{"serialization_failure", pgerr.SerializationFailure, retryAtOnceMax, 0},
		{"lock_timeout", pgerr.LockNotAvailable, retryAtOnceMax, 0},
		{"slot_still_active", pgerr.ObjectInUse, retryBusyMax, retryBusyDelay},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &retry{random: func() float64 { return 0 }}
			err := pgerr.From(fmt.Errorf("wrapped: %w", pgerr.New(test.code, "x")))
			for i := range test.times {
				if got := r.delay(err, time.Second, time.Minute); got != test.delay {
					t.Fatalf("try %d: got %s, want %s", i+1, got, test.delay)
				}
			}
			if got := r.delay(err, time.Second, time.Minute); got != time.Second {
				t.Fatalf("then: got %s, want the ordinary backoff", got)
			}
		})
	}
}

// Settings come as the server prints them.
func TestSettingDuration(t *testing.T) {
	tests := map[string]time.Duration{"500ms": 500 * time.Millisecond, "10s": 10 * time.Second, "2min": 2 * time.Minute,
		"1h": time.Hour, "250": 250 * time.Millisecond, "0": 0, "": time.Second, "soon": time.Second, "-1": time.Second}
	for value, want := range tests {
		if got := settingDuration(value, time.Second); got != want {
			t.Errorf("%q: got %s, want %s", value, got, want)
		}
	}
}
