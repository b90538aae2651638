package conflict

import "fmt"

// Resolver is the name of a rule that users choose per conflict type.
type Resolver string

// A definition is what users may choose for one conflict type.
type definition struct {
	name    string
	kind    Type // zero: nobody notices such a conflict yet
	initial Resolver
	choices []choice
}

// A choice is one resolver. Without a rule it is known but does not work; with
// one, it works in the model, and on servers where served says so.
type choice struct {
	resolver Resolver
	rule     rule
	served   bool
}

// definitions is the one list of conflict types, of the resolvers that are valid
// for each, and of those that hold until a user sets another one. Of those for
// rows only the initial ones converge.
var definitions = [...]definition{
	{"insert_exists", InsertExists, "update_if_newer", newestOr(true)},
	{"update_differing", 0, "update_if_newer", []choice{{"update_if_newer", nil, false}, {"update", nil, false},
		{"skip", nil, false}, {"error", nil, false}}},
	{"update_origin_change", UpdateOriginChange, "update_if_newer", newestOr(true)},
	{"update_missing", UpdateMissing, "insert_or_skip", insertOr(true)},
	{"update_recently_deleted", UpdateRecentlyDeleted, "insert_or_skip", insertOr(false)},
	{"update_pkey_exists", UpdatePkeyExists, "update_if_newer", newestOr(false)},
	{"multiple_unique_conflicts", MultipleUniqueConflicts, "update_if_newer", newestOr(false)},
	{"delete_recently_updated", DeleteRecentlyUpdated, "skip", []choice{{"skip", newestWins, true},
		{"update", remoteWins, false}, {"error", raise, false}}},
	{"delete_missing", DeleteMissing, "skip", []choice{{"skip", nothingToDelete, true}, {"error", raise, false}}},
	{"target_column_missing", TargetColumnMissing, "ignore_if_null", []choice{{"ignore_if_null", ignoreIfNull, true},
		{"ignore", ignoreColumn, true}, {"skip", skipChange, true}, {"error", raise, true}}},
	{"source_column_missing", SourceColumnMissing, "use_default_value", []choice{{"use_default_value", useDefaultValue, true},
		{"skip", skipChange, true}, {"error", raise, true}}},
	{"target_table_missing", TargetTableMissing, "error", []choice{{"error", raise, true}, {"skip", skipChange, true},
		{"skip_if_recently_dropped", nil, false}}},
	{"apply_error_ddl", 0, "error", []choice{{"error", nil, false}, {"skip_transaction", nil, false}}},
}

// newestOr are the choices where two rows disagree; served is about the first.
func newestOr(served bool) []choice {
	return []choice{{"update_if_newer", newestWins, served}, {"update", remoteWins, false}, {"skip", localWins, false}, {"error", raise, false}}
}

// insertOr are the choices where the row of an update is not here.
func insertOr(served bool) []choice {
	return []choice{{"insert_or_skip", insertUnlessOlder, served}, {"insert_or_error", nil, false}, {"skip", localWins, false}, {"error", raise, false}}
}

func find(conflictType string) definition {
	for _, d := range definitions {
		if d.name == conflictType {
			return d
		}
	}
	return definition{}
}

// rule returns the rule of a resolver, nil when there is none.
func (d definition) rule(name Resolver) rule {
	for _, c := range d.choices {
		if c.resolver == name {
			return c.rule
		}
	}
	return nil
}

// ResolvableNames lists the conflict types that have resolvers, as users write
// them.
func ResolvableNames() []string {
	var names []string
	for _, d := range definitions {
		names = append(names, d.name)
	}
	return names
}

// ResolverNames lists the resolvers that are valid for a type; none when there
// is no such type.
func ResolverNames(conflictType string) []string {
	var names []string
	for _, c := range find(conflictType).choices {
		names = append(names, string(c.resolver))
	}
	return names
}

// Served lists those of ResolverNames that servers carry out.
func Served(conflictType string) []string {
	var names []string
	for _, c := range find(conflictType).choices {
		if c.served {
			names = append(names, string(c.resolver))
		}
	}
	return names
}

// With returns a policy with another resolver for one type.
func (p Policy) With(t Type, name Resolver) (Policy, error) {
	return p.WithNamed(t.String(), name)
}

// WithNamed is With for a type as users write it.
func (p Policy) WithNamed(conflictType string, name Resolver) (Policy, error) {
	d := find(conflictType)
	chosen := d.rule(name)
	if chosen == nil {
		return p, fmt.Errorf("resolver %q cannot be used for conflict type %q", name, conflictType)
	}
	p.rules[d.kind] = chosen
	return p, nil
}

func remoteWins(Conflict) (Action, string) { return Apply, "resolver_update" }

func localWins(Conflict) (Action, string) { return Keep, "resolver_skip" }

func raise(Conflict) (Action, string) { return Raise, "resolver_error" }

// ignoreIfNull lets a row in whose columns without a place here are NULL.
func ignoreIfNull(c Conflict) (Action, string) {
	if c.Complete {
		return Apply, "missing_column_is_null"
	}
	return Raise, "missing_column_has_a_value"
}

func ignoreColumn(Conflict) (Action, string)    { return Apply, "missing_column_ignored" }
func useDefaultValue(Conflict) (Action, string) { return Apply, "default_value_used" }
func skipChange(Conflict) (Action, string)      { return Keep, "change_skipped" }
