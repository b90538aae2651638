package conflict

import "fmt"

// Resolver is the name of a rule that users choose per conflict type.
type Resolver string

// resolvers is the one list of what may be chosen for what. Only those of
// DefaultPolicy converge.
var resolvers = map[Type]map[Resolver]rule{
	InsertExists:            newestOr,
	UpdateOriginChange:      newestOr,
	UpdatePkeyExists:        newestOr,
	MultipleUniqueConflicts: newestOr,
	UpdateMissing:           insertOr,
	UpdateRecentlyDeleted:   insertOr,
	DeleteRecentlyUpdated:   {"skip": newestWins, "update": remoteWins, "error": raise},
	DeleteMissing:           {"skip": nothingToDelete, "error": raise},
}

var (
	newestOr = map[Resolver]rule{"update_if_newer": newestWins, "update": remoteWins, "skip": localWins, "error": raise}
	insertOr = map[Resolver]rule{"insert_or_skip": insertUnlessOlder, "skip": localWins, "error": raise}
)

// With returns a policy with another resolver for one type.
func (p Policy) With(t Type, name Resolver) (Policy, error) {
	chosen := resolvers[t][name]
	if chosen == nil {
		return p, fmt.Errorf("resolver %q cannot be used for conflict type %q", name, t)
	}
	p.rules[t] = chosen
	return p, nil
}

func remoteWins(c Conflict) (Action, string) { return Apply, "resolver_update" }

func localWins(c Conflict) (Action, string) { return Keep, "resolver_skip" }

func raise(c Conflict) (Action, string) { return Raise, "resolver_error" }
