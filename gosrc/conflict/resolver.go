package conflict

import "fmt"

// Resolver is the name of a rule that users choose per conflict type.
type Resolver string

// A definition is what users may choose for one conflict type.
type definition struct {
	name    string
	kind    Type // zero: nothing can be chosen for it yet
	initial Resolver
	choices []choice
}

// A choice is one resolver. Without a rule it is known but cannot be chosen.
type choice struct {
	resolver Resolver
	rule     rule
}

// definitions is the one list of conflict types, of the resolvers that are valid
// for each, and of those that hold until a user sets another one. Of those for
// rows only the initial ones converge.
var definitions = [...]definition{
	{"insert_exists", InsertExists, "update_if_newer", newestOr},
	{"update_differing", UpdateDiffering, "update_if_newer", newestOr},
	{"update_origin_change", UpdateOriginChange, "update_if_newer", newestOr},
	{"update_missing", UpdateMissing, "insert_or_skip", insertOr},
	{"update_recently_deleted", UpdateRecentlyDeleted, "insert_or_skip", insertOr},
	{"update_pkey_exists", UpdatePkeyExists, "update_if_newer", newestOr},
	{"multiple_unique_conflicts", MultipleUniqueConflicts, "update_if_newer", newestOr},
	{"delete_recently_updated", DeleteRecentlyUpdated, "skip", []choice{{"skip", newestWins}, {"update", remoteWins}, {"error", raise}}},
	{"delete_missing", DeleteMissing, "skip", []choice{{"skip", nothingToDelete}, {"error", raise}}},
	{"target_column_missing", TargetColumnMissing, "ignore_if_null", []choice{{"ignore_if_null", ignoreIfNull},
		{"ignore", ignoreColumn}, {"skip", skipChange}, {"error", raise}}},
	{"source_column_missing", SourceColumnMissing, "use_default_value", []choice{{"use_default_value", useDefaultValue},
		{"skip", skipChange}, {"error", raise}}},
	{"target_table_missing", TargetTableMissing, "error", []choice{{"error", raise}, {"skip", skipChange},
		{"skip_if_recently_dropped", skipIfRecentlyDropped}}},
	{"apply_error_ddl", 0, "error", []choice{{"error", nil}, {"skip_transaction", nil}}},
}

// newestOr are the choices where two rows disagree.
var newestOr = []choice{{"update_if_newer", newestWins}, {"update", remoteWins}, {"skip", localWins}, {"error", raise}}

// insertOr are the choices where the row of an update is not here.
var insertOr = []choice{{"insert_or_skip", insertUnlessOlder}, {"insert_or_error", insertOrError}, {"skip", localWins}, {"error", raise}}

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

// Served lists those of ResolverNames that can be chosen.
func Served(conflictType string) []string {
	var names []string
	for _, c := range find(conflictType).choices {
		if c.rule != nil {
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

func localWins(Conflict) (Action, string) { return Ignore, "resolver_skip" }

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

// skipIfRecentlyDropped is told by Complete that the table was dropped here.
func skipIfRecentlyDropped(c Conflict) (Action, string) {
	if c.Complete {
		return Keep, "table_recently_dropped"
	}
	return Raise, "table_not_recently_dropped"
}
