package conflict

import (
	"slices"
	"testing"
)

// The table of docs/conflicts.md: what each resolver of a conflict of definition
// does with a row that loses nothing here, and with one that would.
func TestResolversOfDefinition(t *testing.T) {
	for _, test := range []struct {
		kind               Type
		resolver           Resolver
		complete, withLoss Action
	}{
		{TargetColumnMissing, "ignore_if_null", Apply, Raise},
		{TargetColumnMissing, "ignore", Apply, Apply},
		{TargetColumnMissing, "skip", Keep, Keep},
		{TargetColumnMissing, "error", Raise, Raise},
		{SourceColumnMissing, "use_default_value", Apply, Apply},
		{SourceColumnMissing, "skip", Keep, Keep},
		{SourceColumnMissing, "error", Raise, Raise},
		{TargetTableMissing, "error", Raise, Raise},
		{TargetTableMissing, "skip", Keep, Keep},
		{TargetTableMissing, "skip_if_recently_dropped", Keep, Raise},
	} {
		p, err := DefaultPolicy().With(test.kind, test.resolver)
		if err != nil {
			t.Fatal(err)
		}
		for complete, want := range map[bool]Action{true: test.complete, false: test.withLoss} {
			d, err := p.Resolve(Conflict{Type: test.kind, Remote: version(1, 1), Complete: complete})
			if err != nil || d.Action != want || d.Rule == "" {
				t.Errorf("%s of %s, complete %v: %+v, %v; want %s", test.resolver, test.kind, complete, d, err, want)
			}
		}
	}
}

// A resolver that is set must be one that does something, and setting one must
// not change the policy of anybody else.
func TestWith(t *testing.T) {
	for _, pair := range [][2]string{{"no_such_type", "error"}, {"target_column_missing", "update"}, {"apply_error_ddl", "error"}, {"", ""}} {
		if _, err := DefaultPolicy().WithNamed(pair[0], Resolver(pair[1])); err == nil {
			t.Errorf("%v is accepted", pair)
		}
	}
	base := DefaultPolicy()
	if _, err := base.With(TargetColumnMissing, "error"); err != nil {
		t.Fatal(err)
	}
	if d, err := base.Resolve(Conflict{Type: TargetColumnMissing, Remote: version(1, 1), Complete: true}); err != nil || d.Action != Apply {
		t.Errorf("the policy that With was called on has changed: %+v, %v", d, err)
	}
}

// Every type has valid resolvers, its default among them, and every type that
// nodes notice has a default that works and the same name in both lists.
func TestDefinitionsAreComplete(t *testing.T) {
	noticed := map[Type]bool{}
	for _, d := range definitions {
		if d.kind != 0 && !slices.Equal(Served(d.name), ResolverNames(d.name)) {
			t.Errorf("%s: of %v only %v can be chosen", d.name, ResolverNames(d.name), Served(d.name))
		}
		if !slices.Contains(ResolverNames(d.name), string(d.initial)) {
			t.Errorf("%s: the default %q is not one of its resolvers", d.name, d.initial)
		}
		if d.kind == 0 {
			if len(Served(d.name)) > 0 {
				t.Errorf("%s: nobody notices it, but resolvers work", d.name)
			}
			continue
		}
		noticed[d.kind] = true
		if d.rule(d.initial) == nil || d.kind.String() != d.name {
			t.Errorf("%s: the default does not work, or the type is called %q", d.name, d.kind)
		}
	}
	for kind := range Type(len(typeNames)) {
		if kind.Known() && !noticed[kind] {
			t.Errorf("%s has no definition", kind)
		}
	}
}
