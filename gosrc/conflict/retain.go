package conflict

import (
	"math"
	"slices"
)

// What a node keeps of versions that no row shows, and for how long: decision
// 0007, "Clean-up". Times are microseconds; transaction ids are full ones, which
// do not wrap around.

// A Promise is what one node that may send something has promised.
type Promise struct {
	Node uint32
	Time int64 // nothing that it sends from now on is older; 0: it has not said
}

// Never is a safe time where nobody sends anything.
const Never = math.MaxInt64

// Safe returns the time before which nothing comes any more, 0 if there is none
// yet, and the node that keeps it from being later.
func Safe(promises []Promise) (time int64, blocker uint32) {
	time = Never
	for _, p := range promises {
		if p.Time < time {
			time, blocker = p.Time, p.Node
		}
	}
	return time, blocker
}

// A Sample says which transactions had ended at some moment.
type Sample struct {
	Xmin   uint64 // all before this one
	Next   uint64 // none from this one on had begun
	Clock  int64  // read after that
	Newest int64  // newest commit time known then, whatever the clock says
}

// bound is a sample that may be passed.
type bound struct {
	xmin   uint64
	newest int64 // no version of what had ended is newer
	taken  int64
}

// boundsMax is how many bounds are kept. A longer list is thinned out.
const boundsMax = 128

// A Cut is a time in which dead rows went though somebody might still have sent
// something older.
type Cut struct {
	Start, End int64  // End is 0 while it lasts
	Xid        uint64 // the dead rows of transactions before this one are gone
	Newest     int64  // no version that they were is newer
	Node       uint32 // for whose sake they would have been kept
}

// A Retention decides which dead rows are kept. Its zero value has seen nothing.
type Retention struct {
	Xmin    uint64 // those of transactions from this one on are kept
	Passed  uint64 // nothing comes that is older than what ended before this one
	Awaited int64  // when all have promised a later time, there is nothing to keep
	Cut     Cut    // the last one
	Cuts    int    // how many there were

	next   uint64
	bounds []bound // oldest first; what is passed is not among them
}

// Note takes a sample.
func (r *Retention) Note(s Sample) {
	b := bound{xmin: s.Xmin, newest: max(s.Clock, s.Newest), taken: s.Clock}
	last := len(r.bounds) - 1
	ended := last < 0 && s.Xmin > r.Passed || last >= 0 && s.Xmin > r.bounds[last].xmin
	if ended {
		r.bounds = append(r.bounds, b)
	}
	if ended || s.Next != r.next {
		r.Awaited, r.next = b.newest, s.Next
	}
	if len(r.bounds) > boundsMax {
		r.bounds = thinned(r.bounds)
	}
}

// thinned drops every second bound, but neither the first nor the last.
func thinned(bounds []bound) []bound {
	var kept []bound
	for i, b := range bounds {
		if i%2 == 0 || i == len(bounds)-1 {
			kept = append(kept, b)
		}
	}
	return kept
}

// Stand says where the hold is found.
func (r *Retention) Stand(xmin uint64) { r.Xmin = xmin }

// Newest is how far the hold could go.
func (r *Retention) Newest() uint64 {
	if n := len(r.bounds); n > 0 {
		return r.bounds[n-1].xmin
	}
	return r.Passed
}

// Release lets go of what nothing can come for: all that comes from now on is
// as new as safe. It returns true if that, now, ends a cut.
func (r *Retention) Release(now, safe int64) (whole bool) {
	n := 0
	for n < len(r.bounds) && r.bounds[n].newest < safe {
		r.Passed = r.bounds[n].xmin
		n++
	}
	r.bounds = slices.Delete(r.bounds, 0, n)
	r.Xmin = max(r.Xmin, r.Passed)
	if !r.IsCut() || safe <= r.Cut.Newest {
		return false
	}
	r.Cut.End = now
	return true
}

// IsCut says whether a cut lasts.
func (r *Retention) IsCut() bool { return r.Cut.Start != 0 && r.Cut.End == 0 }

// Limit lets go of what has been kept for longer than limit, at the moment now,
// for the sake of blocker. It returns true if that begins a cut.
func (r *Retention) Limit(now, limit int64, blocker uint32) (began bool) {
	for _, b := range r.bounds {
		if b.xmin <= r.Xmin || b.taken > now-limit {
			continue
		}
		if !r.IsCut() {
			r.Cut = Cut{Start: now}
			r.Cuts++
			began = true
		}
		r.Xmin = b.xmin
		r.Cut.Xid, r.Cut.Newest, r.Cut.Node = b.xmin, b.newest, blocker
	}
	return began
}

// Since says since when something is kept that could go otherwise; 0: nothing is.
func (r *Retention) Since() int64 {
	for _, b := range r.bounds {
		if b.xmin > r.Xmin {
			return b.taken
		}
	}
	return 0
}

// Watermarks decides when this node makes a promise of its own. Its zero value
// has made none.
type Watermarks struct {
	Last      int64 // the time that was promised
	awaited   int64 // what was said with it
	listeners []uint32
}

// Due says whether another one is wanted: something has ended since the last,
// somebody waits for a later time, which has come, or somebody who may not have
// heard the last one listens. A cluster where nothing happens comes to rest.
func (w *Watermarks) Due(clock, awaited, asked int64, listeners []uint32) bool {
	fresh := func(l uint32) bool { return !slices.Contains(w.listeners, l) }
	return w.Last == 0 || awaited > w.awaited || asked >= w.Last && clock > asked || slices.ContainsFunc(listeners, fresh)
}

// Listen notes who listens; those who have gone have to come anew.
func (w *Watermarks) Listen(listeners []uint32) {
	w.listeners = slices.DeleteFunc(w.listeners, func(l uint32) bool { return !slices.Contains(listeners, l) })
}

// Written notes a promise.
func (w *Watermarks) Written(time, awaited int64, listeners []uint32) {
	w.Last, w.awaited, w.listeners = time, awaited, slices.Clone(listeners)
}
