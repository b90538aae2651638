package conflict

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

const second = 1_000_000

// history is a model of the parts: when rows came into each of them.
type history struct {
	now   int64
	began map[string]int64
	rows  map[string][]int64
	names []string
}

func newHistory(n int) *history {
	h := &history{began: map[string]int64{}, rows: map[string][]int64{}}
	for i := range n {
		h.names = append(h.names, fmt.Sprint("part", i))
	}
	h.began["part0"] = 0
	return h
}

func (h *history) parts() []Part {
	var parts []Part
	for _, name := range h.names {
		began, used := h.began[name]
		parts = append(parts, Part{Name: name, Used: used, Age: h.now - began})
	}
	return parts
}

func (h *history) current() string {
	return slices.MaxFunc(h.names, func(a, b string) int {
		i, okA := h.began[a]
		j, okB := h.began[b]
		switch {
		case okA != okB && okA:
			return 1
		case okA != okB:
			return -1
		}
		return int(i - j)
	})
}

func (h *history) carryOut(turn Turn, busy func() bool) {
	for _, name := range turn.Empty {
		if busy() {
			if turn.Begin == name {
				turn.Begin = ""
			}
			continue
		}
		delete(h.began, name)
		delete(h.rows, name)
	}
	if turn.Begin != "" {
		h.began[turn.Begin] = h.now
	}
}

// Rows must stay as long as they were promised to, whatever happens, and go
// soon after, as long as nobody reads the part that they are in.
func TestPlanPartsKeepsThePromise(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 1))
		h := newHistory(2 + random.IntN(9))
		retention := (7 + random.Int64N(1000)) * second
		busy := seed%2 == 1
		latest := retention + max(periodMin, retention/int64(len(h.names)-1)) + 2*periodMin
		for range 150 {
			turn := PlanParts(h.parts(), retention)
			before := h.all()
			h.carryOut(turn, func() bool { return busy && random.IntN(2) == 0 })
			for _, at := range before {
				if h.now-at < retention && !slices.Contains(h.all(), at) {
					t.Fatalf("seed %d: a row of age %d s is gone, %d were promised", seed, (h.now-at)/second, retention/second)
				}
				if !busy && h.now-at > latest && slices.Contains(h.all(), at) {
					t.Fatalf("seed %d: a row of age %d s is still there, at most %d were expected", seed, (h.now-at)/second, latest/second)
				}
			}
			if turn.Wait <= 0 {
				t.Fatalf("seed %d: nothing to wait for: %+v", seed, turn)
			}
			name := h.current()
			h.rows[name] = append(h.rows[name], h.now, h.now+turn.Wait/2)
			h.now += turn.Wait
		}
	}
}

func (h *history) all() []int64 {
	var all []int64
	for _, rows := range h.rows {
		all = append(all, rows...)
	}
	return all
}

// A setting that is changed counts for what is there already.
func TestPlanParts(t *testing.T) {
	part := func(name string, age int64) Part { return Part{name, true, age * second} }
	unused := Part{Name: "c"}
	for _, test := range []struct {
		name      string
		parts     []Part
		retention int64
		want      string
	}{
		{"young", []Part{part("a", 5), unused, {Name: "d"}}, 20, "{[]  5}"},
		{"time_for_another", []Part{part("a", 11), unused, {Name: "d"}}, 20, "{[] c 10}"},
		{"all_in_use", []Part{part("a", 25), part("b", 15), part("c", 11)}, 20, "{[]  5}"},
		{"oldest_is_old_enough", []Part{part("b", 20), part("a", 30), part("c", 10)}, 20, "{[a] a 10}"},
		{"shorter", []Part{part("a", 25), part("b", 15), part("c", 11)}, 2, "{[a b] a 1}"},
		{"longer", []Part{part("a", 25), part("b", 15), part("c", 11)}, 2000, "{[]  989}"},
		{"for_ever", []Part{part("a", 25), part("b", 15), part("c", 11)}, -1, "{[]  0}"},
		{"by_hand", []Part{unused, {Name: "d"}}, 20, "{[] c 20}"},
		{"clock_went_back", []Part{part("a", -100), unused}, 20, "{[]  120}"},
	} {
		t.Run(test.name, func(t *testing.T) {
			retention := test.retention
			if retention > 0 {
				retention *= second
			}
			turn := PlanParts(test.parts, retention)
			turn.Wait /= second
			if got := fmt.Sprint(turn); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
