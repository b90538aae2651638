package replicate

import "time"

// driftWindow is how long a sample counts, at least; twice as long at most.
const driftWindow = time.Minute

// A drift estimates how far a peer's clock is ahead of ours, from the times at
// which its messages were sent and received.
//
// A message that was under way for long makes the peer look behind, never
// ahead. So the largest difference of the last minute or two is kept: it is
// short of the truth by the shortest time that any message took, which is the
// delay of the network when one of them met no queue.
type drift struct {
	began             time.Time // of current
	current, previous window
}

// A window is the largest difference seen in it.
type window struct {
	seen  bool
	ahead time.Duration
}

func (d *drift) add(sent, received time.Time) {
	d.turn(received)
	ahead := sent.Sub(received)
	if !d.current.seen || ahead > d.current.ahead {
		d.current = window{true, ahead}
	}
}

// estimate returns nil when nothing was heard lately.
func (d *drift) estimate(now time.Time) *time.Duration {
	d.turn(now)
	var best *time.Duration
	for _, w := range []window{d.previous, d.current} {
		if w.seen && (best == nil || w.ahead > *best) {
			best = &w.ahead
		}
	}
	return best
}

// turn begins another window when the current one is old.
func (d *drift) turn(now time.Time) {
	age := now.Sub(d.began)
	if age < driftWindow {
		return
	}
	d.previous = d.current
	if age >= 2*driftWindow {
		d.previous = window{}
	}
	d.current = window{}
	d.began = now
}
