package conflict

import "fmt"

// A rule turns the facts into an action and names itself for history rows.
type rule func(Conflict) (Action, string)

// Policy holds one rule per conflict type. The zero Policy refuses everything;
// start from DefaultPolicy.
type Policy struct {
	rules [len(typeNames)]rule
}

// DefaultPolicy makes every node end with the newest version of a row, whatever
// the order of arrival: a row is a register of which the last writer wins, and
// a deletion is a version like any other.
func DefaultPolicy() Policy {
	var p Policy
	for _, d := range definitions {
		if d.kind.Known() {
			p.rules[d.kind] = d.rule(d.initial)
		}
	}
	return p
}

// Resolve says what the applying node does with the remote version.
//
// Every node must reach the same answer from the same two versions, so Resolve
// reads only its arguments: no clock, no catalog, no map iteration.
func (p Policy) Resolve(c Conflict) (Decision, error) {
	if !c.Type.Known() || p.rules[c.Type] == nil {
		return Decision{}, fmt.Errorf("no rule for conflict type %d", c.Type)
	}
	if !c.Remote.Known {
		return Decision{}, fmt.Errorf("the incoming version of a conflict of type %s is not known", c.Type)
	}
	action, name := p.rules[c.Type](c)
	return Decision{Action: action, Resolution: resolutions[action], Rule: name}, nil
}

// newestWins keeps the newer of the two versions.
//
// Equal versions come from one node, whose transactions arrive in the order of
// their commits on every node: the one that arrives later is the newer one.
func newestWins(c Conflict) (Action, string) {
	switch {
	case !c.Local.Known:
		return Apply, "unknown_version_loses"
	case Compare(c.Remote, c.Local) < 0:
		return Keep, winner(c.Local, c.Remote)
	case Compare(c.Remote, c.Local) == 0:
		return Apply, "same_node_arrival_order"
	default:
		return Apply, winner(c.Remote, c.Local)
	}
}

// winner names what made the first of two versions the newer one.
func winner(won, lost Version) string {
	if won.Time == lost.Time {
		return "higher_node_id_breaks_tie"
	}
	return "later_commit_wins"
}

// insertUnlessOlder brings a row back that an update did not find, unless the
// row is known to have been deleted later than the update was made. What is not
// known of it is asked for at its origin.
func insertUnlessOlder(c Conflict) (Action, string) {
	if Compare(c.Remote, c.Local) < 0 {
		return Keep, "later_delete_wins"
	}
	return Insert, "missing_row_inserted"
}

// insertOrError asks nobody.
func insertOrError(c Conflict) (Action, string) {
	action, name := insertUnlessOlder(c)
	if action == Insert && !c.Complete {
		return Raise, "incomplete_row"
	}
	return action, name
}

func nothingToDelete(Conflict) (Action, string) {
	return Keep, "nothing_to_delete"
}
