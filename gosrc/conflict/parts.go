package conflict

import "slices"

// Part is one of the tables that the conflict history consists of. The one that
// began last is written to; each of the others ended when the next one began.
type Part struct {
	Name string
	Used bool
	Age  int64 // microseconds since it began
}

// Turn says what is to be done with the parts.
type Turn struct {
	Empty []string // their rows are all old enough
	Begin string   // the part to write to from now on; "" to go on
	Wait  int64    // microseconds until there is something to do again; 0: for ever
}

// periodMin bounds how often another part begins, whatever is asked for.
const periodMin = 1_000_000

// PlanParts keeps each row for the retention, in microseconds, and at most as
// long again as one part of the others lasts. A negative one keeps all.
func PlanParts(parts []Part, retention int64) Turn {
	if retention < 0 || len(parts) < 2 {
		return Turn{}
	}
	var used []Part
	var turn Turn
	free := ""
	for _, p := range parts {
		if p.Used {
			used = append(used, p)
		} else if free == "" {
			free = p.Name
		}
	}
	slices.SortStableFunc(used, func(a, b Part) int { return int(min(1, max(-1, b.Age-a.Age))) })
	for i := 0; i+1 < len(used); i++ {
		if left := retention - used[i+1].Age; left > 0 {
			turn.wait(left)
			continue
		}
		turn.Empty = append(turn.Empty, used[i].Name)
	}
	if free == "" && len(turn.Empty) > 0 {
		free = turn.Empty[0]
	}
	period := max(periodMin, retention/int64(len(parts)-1))
	left := int64(0)
	if len(used) > 0 {
		left = period - used[len(used)-1].Age
	}
	if left <= 0 && free != "" {
		turn.Begin = free
		left = period
	}
	turn.wait(left)
	return turn
}

// wait shortens the time until the next turn.
func (t *Turn) wait(left int64) {
	if left > 0 && (t.Wait == 0 || left < t.Wait) {
		t.Wait = max(left, periodMin)
	}
}
