package conflict

import (
	"math/rand/v2"
	"testing"
)

// Whoever has promised least decides, and one who has promised nothing stops
// everything.
func TestSafe(t *testing.T) {
	tests := []struct {
		name     string
		promises []Promise
		time     int64
		blocker  uint32
	}{
		{"nobody_sends", nil, Never, 0},
		{"the_least_counts", []Promise{{1, 30}, {2, 20}, {3, 25}}, 20, 2},
		{"one_has_not_said", []Promise{{1, 30}, {2, 0}}, 0, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if time, blocker := Safe(test.promises); time != test.time || blocker != test.blocker {
				t.Errorf("got %d of node %d", time, blocker)
			}
		})
	}
}

func requireHold(t *testing.T, r *Retention, xmin, passed uint64, since int64) {
	t.Helper()
	if r.Xmin != xmin || r.Passed != passed || r.Since() != since {
		t.Fatalf("holds from %d since %d, passed %d; expected %d since %d, passed %d", r.Xmin, r.Since(), r.Passed, xmin, since, passed)
	}
}

// What had ended by the second sample may be as new as its clock or the newest
// commit, so both must be passed.
func TestHoldFollowsThePromises(t *testing.T) {
	var r Retention
	r.Stand(100)
	r.Note(Sample{Xmin: 110, Next: 112, Clock: 1000, Newest: 900})
	r.Note(Sample{Xmin: 110, Next: 115, Clock: 1010, Newest: 900}) // nothing more had ended
	r.Note(Sample{Xmin: 120, Next: 120, Clock: 1020, Newest: 1500})
	requireHold(t, &r, 100, 0, 1000)
	r.Release(1100, 1000)
	requireHold(t, &r, 100, 0, 1000)
	r.Release(1100, 1001)
	requireHold(t, &r, 110, 110, 1020)
	r.Release(1100, 1500)
	requireHold(t, &r, 110, 110, 1020)
	r.Release(1100, 1501)
	requireHold(t, &r, 120, 120, 0)
	r.Note(Sample{Xmin: 120, Next: 120, Clock: 1600})
	requireHold(t, &r, 120, 120, 0)
	if r.Newest() != 120 || r.Awaited != 1500 {
		t.Errorf("newest %d, awaited %d", r.Newest(), r.Awaited)
	}
}

// A transaction that ends without another one beginning has to be waited for
// too.
func TestAwaitedMovesWithWhatEnds(t *testing.T) {
	var r Retention
	for i, step := range []struct {
		sample Sample
		want   int64
	}{
		{Sample{Xmin: 10, Next: 10, Clock: 100}, 100},
		{Sample{Xmin: 10, Next: 10, Clock: 110}, 100},
		{Sample{Xmin: 10, Next: 12, Clock: 120}, 120},
		{Sample{Xmin: 12, Next: 12, Clock: 130}, 130},
		{Sample{Xmin: 12, Next: 12, Clock: 140, Newest: 200}, 130},
		{Sample{Xmin: 13, Next: 13, Clock: 150, Newest: 200}, 200},
	} {
		if r.Note(step.sample); r.Awaited != step.want {
			t.Errorf("step %d: awaited is %d, expected %d", i, r.Awaited, step.want)
		}
	}
}

// The bound lets go of what is older than it, never of younger rows, and a cut
// is over when all that was lost could not come any more anyway.
func TestLimitCutsTheHold(t *testing.T) {
	var r Retention
	r.Stand(100)
	r.Note(Sample{Xmin: 110, Next: 110, Clock: 1000})
	r.Note(Sample{Xmin: 120, Next: 120, Clock: 1100})
	r.Note(Sample{Xmin: 130, Next: 130, Clock: 1200})
	if r.Limit(1499, 500, 7) {
		t.Fatal("cut too early")
	}
	requireHold(t, &r, 100, 0, 1000)
	if !r.Limit(1650, 500, 7) || !r.IsCut() || r.Cuts != 1 {
		t.Fatal("no cut")
	}
	requireHold(t, &r, 120, 0, 1200)
	if r.Cut != (Cut{Start: 1650, Xid: 120, Newest: 1100, Node: 7}) {
		t.Errorf("cut is %+v", r.Cut)
	}
	if r.Limit(1700, 500, 8) || r.Xmin != 130 || r.Cut.Node != 8 || r.Cuts != 1 {
		t.Errorf("a cut that goes on is told again, or does not: %+v", r)
	}
	if r.Release(1800, 1101) || !r.IsCut() || r.Passed != 120 || r.Xmin != 130 {
		t.Errorf("the cut ended early: %+v", r)
	}
	if !r.Release(1900, 1201) || r.IsCut() || r.Cut.End != 1900 {
		t.Errorf("the cut did not end: %+v", r.Cut)
	}
}

// However long a peer is away, the list stays short, and what it says stays
// true: a bound is never passed early, and the oldest is never forgotten.
func TestBoundsStayFew(t *testing.T) {
	var r Retention
	const n = 100_000
	for i := range uint64(n) {
		r.Note(Sample{Xmin: 10 + i, Next: 10 + i, Clock: int64(1000 + i)})
		if len(r.bounds) > boundsMax {
			t.Fatalf("%d bounds", len(r.bounds))
		}
	}
	if r.Since() != 1000 || r.Newest() != 10+n-1 {
		t.Errorf("since %d, newest %d", r.Since(), r.Newest())
	}
	for safe := int64(1000); safe < 1000+n; safe += 997 {
		r.Release(safe, safe)
		if r.Passed != 0 && int64(r.Passed)-10+1000 >= safe {
			t.Fatalf("passed %d at %d", r.Passed, safe)
		}
	}
	if r.Passed < n/2 {
		t.Errorf("passed no more than %d", r.Passed)
	}
}

// A cluster in which nothing happens any more writes nothing more, whatever its
// clocks and the order of things, and by then everybody has let go of everything.
func TestClusterComesToRest(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(1, seed))
		c := newRestCluster(2+random.IntN(3), random)
		for range 40 {
			c.turn(random.IntN(len(c.nodes)), random.IntN(3) == 0)
		}
		for round := 0; ; round++ {
			written := 0
			for i := range c.nodes {
				written += c.turn(i, false)
			}
			if written == 0 && round > int(c.skewMax) {
				break
			}
			if round > int(c.skewMax)+10 {
				t.Fatalf("seed %d: still writing", seed)
			}
		}
		for i := range c.nodes {
			if r := &c.nodes[i].retention; r.Since() != 0 || r.Passed != c.nodes[i].next {
				t.Fatalf("seed %d: node %d is held at %d of %d", seed, i, r.Passed, c.nodes[i].next)
			}
		}
	}
}

// restCluster is nodes with clocks that differ, which hear of each other's
// commits and watermarks at once.
type restCluster struct {
	nodes   []restNode
	time    int64
	skewMax int64
}

type restNode struct {
	retention  Retention
	watermarks Watermarks
	next       uint64
	newest     int64
	skew       int64
	promised   []int64 // by the others
	asked      int64
}

func newRestCluster(n int, random *rand.Rand) *restCluster {
	c := &restCluster{nodes: make([]restNode, n), time: 1000, skewMax: 50}
	for i := range c.nodes {
		c.nodes[i] = restNode{next: 10, skew: random.Int64N(c.skewMax), promised: make([]int64, n)}
	}
	return c
}

// turn is one of node i, after it has committed something or not. It returns how
// many watermarks were written.
func (c *restCluster) turn(i int, commits bool) int {
	c.time++
	n := &c.nodes[i]
	clock := c.time + n.skew
	if commits {
		for j := range c.nodes {
			c.nodes[j].next++
			c.nodes[j].newest = max(c.nodes[j].newest, clock)
		}
	}
	n.retention.Note(Sample{Xmin: n.next, Next: n.next, Clock: clock, Newest: n.newest})
	var promises []Promise
	for j := range c.nodes {
		if j != i {
			promises = append(promises, Promise{uint32(j), n.promised[j]})
		}
	}
	safe, _ := Safe(promises)
	n.retention.Release(clock, safe)
	if !n.watermarks.Due(clock, n.retention.Awaited, n.asked, nil) {
		return 0
	}
	n.watermarks.Written(clock, n.retention.Awaited, nil)
	for j := range c.nodes {
		c.nodes[j].promised[i] = clock
		if j != i {
			c.nodes[j].asked = max(c.nodes[j].asked, n.retention.Awaited)
		}
	}
	return 1
}

// Somebody who connects may have lost what was promised before; one who stays
// connected has not.
func TestNewListenersAreTold(t *testing.T) {
	var w Watermarks
	for i, step := range []struct {
		listeners []uint32
		due       bool
	}{
		{nil, true}, {nil, false}, {[]uint32{7}, true}, {[]uint32{7}, false}, {nil, false}, {[]uint32{7}, true}, {[]uint32{7, 8}, true}, {[]uint32{8}, false},
	} {
		w.Listen(step.listeners)
		due := w.Due(100, 10, 0, step.listeners)
		if due != step.due {
			t.Errorf("step %d: due is %v", i, due)
		}
		if due {
			w.Written(100, 10, step.listeners)
		}
	}
}
