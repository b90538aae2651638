package conflict

import (
	"cmp"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func row(on []int, v Version) Found { return Found{Live: true, On: on, Version: v} }

func unseen(on []int, v Version) Found { return Found{On: on, Version: v} }

func seen(f Found) Found {
	f.Seen = true
	return f
}

// moving is the old key of an update that changes it.
func moving(found ...Found) Facts {
	return with(change(OpDelete, 1, found...), func(f *Facts) { f.KeyChanged = true })
}

func rowVersions(f Facts) Facts { return with(f, func(f *Facts) { f.RowVersion = true }) }

func change(op Operation, constraints int, found ...Found) Facts {
	f := Facts{Operation: op, Image: Complete, Remote: version(5, 2), Found: found}
	for range constraints {
		f.Constraints = append(f.Constraints, Unique)
	}
	return f
}

func with(f Facts, edit func(*Facts)) Facts {
	edit(&f)
	return f
}

var (
	older, newer = version(4, 3), version(6, 1)
	key, u, w    = []int{0}, []int{1}, []int{2}
)

type decideCase struct {
	name  string
	facts Facts
	want  Plan
}

// Each row is one case of the facts-and-plan table of decision 0007.
var decideCases = []decideCase{
	{"nothing_in_the_way", change(OpInsert, 2),
		Plan{0, Insert, ApplyRemote, "no_conflict", []Fate{}, nil, -1}},
	{"insert_over_an_older_row", change(OpInsert, 2, row(key, older)),
		Plan{InsertExists, Apply, ApplyRemote, "later_commit_wins", []Fate{Replaced}, nil, 0}},
	{"insert_under_a_newer_row_of_other_values", change(OpInsert, 2, row(key, newer)),
		Plan{InsertExists, Keep, Skip, "later_commit_wins", []Fate{Stays}, []int{1}, 0}},
	{"update_under_a_newer_row_of_the_same_values", change(OpUpdate, 2, row([]int{0, 1}, newer)),
		Plan{UpdateOriginChange, Keep, Skip, "later_commit_wins", []Fate{Stays}, nil, 0}},
	{"insert_after_its_deletion", change(OpInsert, 1, unseen(key, newer)),
		Plan{InsertExists, Keep, Skip, "later_commit_wins", []Fate{Stays}, nil, 0}},
	{"update_after_an_older_deletion", change(OpUpdate, 1, unseen(key, older)),
		Plan{UpdateRecentlyDeleted, Insert, ApplyRemote, "missing_row_inserted", []Fate{Stays}, nil, 0}},
	{"update_after_a_newer_deletion", change(OpUpdate, 1, unseen(key, newer)),
		Plan{UpdateRecentlyDeleted, Keep, Skip, "later_delete_wins", []Fate{Stays}, nil, 0}},
	{"update_of_nothing", change(OpUpdate, 1),
		Plan{UpdateMissing, Insert, ApplyRemote, "missing_row_inserted", []Fate{}, nil, -1}},
	{"update_evicts_an_older_row", change(OpUpdate, 2, row(key, older), row(u, older)),
		Plan{UpdateOriginChange, Apply, ApplyRemote, "later_commit_wins", []Fate{Replaced, Evicted}, nil, 0}},
	{"update_loses_a_value_and_takes_its_old_row_along", change(OpUpdate, 2, row(key, older), row(u, newer)),
		Plan{UpdatePkeyExists, Keep, Skip, "later_commit_wins", []Fate{Removed, Stays}, []int{0}, 1}},
	{"a_loser_still_evicts", change(OpInsert, 3, row(u, newer), row(w, older)),
		Plan{MultipleUniqueConflicts, Keep, Skip, "later_commit_wins", []Fate{Stays, Evicted}, []int{0, 2}, 0}},
	{"a_value_taken_by_a_row_that_is_gone", change(OpInsert, 2, unseen(u, newer)),
		Plan{InsertExists, Keep, Skip, "later_commit_wins", []Fate{Stays}, []int{0}, 0}},
	{"a_changed_key_that_exists", with(change(OpUpdate, 1, row(key, older)), func(f *Facts) { f.KeyChanged = true }),
		Plan{UpdatePkeyExists, Apply, ApplyRemote, "later_commit_wins", []Fate{Replaced}, nil, 0}},
	{"an_exclusion_constraint_covers_nothing", with(change(OpInsert, 2, row(u, newer)), func(f *Facts) { f.Constraints[1] = Exclusion }),
		Plan{InsertExists, Keep, Skip, "later_commit_wins", []Fate{Stays}, []int{0, 1}, 0}},
	{"a_partial_row_is_fetched", with(change(OpUpdate, 1), func(f *Facts) { f.Image = Partial }),
		Plan{UpdateMissing, Fetch, ApplyRemote, "missing_row_inserted", []Fate{}, nil, -1}},
	{"a_partial_row_that_loses_is_not", with(change(OpUpdate, 1, unseen(key, newer)), func(f *Facts) { f.Image = Partial }),
		Plan{UpdateRecentlyDeleted, Keep, Skip, "later_delete_wins", []Fate{Stays}, nil, 0}},
	{"a_row_gone_at_its_origin_still_counts", with(change(OpUpdate, 2, row(key, older), row(u, older)), func(f *Facts) { f.Image = Gone }),
		Plan{UpdateOriginChange, Keep, Skip, "row_gone_at_origin", []Fate{Removed, Evicted}, []int{0, 1}, 0}},
	{"delete_an_older_row", change(OpDelete, 1, row(key, older)),
		Plan{0, Apply, ApplyRemote, "no_conflict", []Fate{Removed}, nil, -1}},
	{"delete_a_newer_row", change(OpDelete, 1, row(key, newer)),
		Plan{DeleteRecentlyUpdated, Keep, Skip, "later_commit_wins", []Fate{Stays}, nil, 0}},
	{"delete_before_the_insert", change(OpDelete, 1),
		Plan{DeleteMissing, Keep, Skip, "nothing_to_delete", []Fate{}, []int{0}, -1}},
	{"delete_after_a_newer_delete", change(OpDelete, 1, unseen(key, newer)),
		Plan{DeleteMissing, Keep, Skip, "nothing_to_delete", []Fate{Stays}, nil, -1}},
	{"one_node_twice_in_a_microsecond", change(OpUpdate, 1, row(key, version(5, 2))),
		Plan{UpdateOriginChange, Apply, ApplyRemote, "same_node_arrival_order", []Fate{Replaced}, nil, 0}},
}

// What is called a conflict, and an update that changes its key.
var detectionCases = []decideCase{
	{"a_row_that_its_sender_had_seen", change(OpUpdate, 1, seen(row(key, older))),
		Plan{0, Apply, ApplyRemote, "no_conflict", []Fate{Replaced}, nil, -1}},
	{"a_clock_that_is_behind", change(OpUpdate, 1, seen(row(key, newer))),
		Plan{UpdateOriginChange, Keep, Skip, "later_commit_wins", []Fate{Stays}, nil, 0}},
	{"another_row_version", rowVersions(change(OpUpdate, 1, row(key, older))),
		Plan{UpdateDiffering, Apply, ApplyRemote, "later_commit_wins", []Fate{Replaced}, nil, 0}},
	{"another_row_version_of_a_lost_origin", rowVersions(change(OpUpdate, 1, row(key, Version{}))),
		Plan{UpdateDiffering, Apply, ApplyRemote, "unknown_version_loses", []Fate{Replaced}, nil, 0}},
	{"the_same_row_version", rowVersions(change(OpUpdate, 1, seen(row(key, older)))),
		Plan{0, Apply, ApplyRemote, "no_conflict", []Fate{Replaced}, nil, -1}},
	{"delete_another_row_version", rowVersions(change(OpDelete, 1, row(key, older))),
		Plan{DeleteRecentlyUpdated, Apply, ApplyRemote, "later_commit_wins", []Fate{Removed}, nil, 0}},
	{"move_an_older_row", moving(row(key, older)),
		Plan{UpdateOriginChange, Apply, ApplyRemote, "later_commit_wins", []Fate{Removed}, nil, 0}},
	{"move_a_newer_row", moving(row(key, newer)),
		Plan{UpdateOriginChange, Keep, ApplyRemote, "moved_row_is_new", []Fate{Stays}, nil, 0}},
	{"move_a_row_that_was_seen", moving(seen(row(key, older))),
		Plan{0, Apply, ApplyRemote, "no_conflict", []Fate{Removed}, nil, -1}},
	{"move_a_deleted_row", moving(unseen(key, newer)),
		Plan{UpdateRecentlyDeleted, Keep, ApplyRemote, "moved_row_is_new", []Fate{Stays}, nil, 0}},
	{"move_a_missing_row", moving(),
		Plan{UpdateMissing, Keep, ApplyRemote, "missing_row_inserted", []Fate{}, []int{0}, -1}},
}

func TestDecide(t *testing.T) {
	for _, test := range append(decideCases, detectionCases...) {
		t.Run(test.name, func(t *testing.T) {
			got, err := DefaultPolicy().Decide(test.facts)
			if err != nil || !samePlan(got, test.want) {
				t.Fatalf("got %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
}

func samePlan(a, b Plan) bool {
	if len(a.Remember) == 0 && len(b.Remember) == 0 {
		a.Remember, b.Remember = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

// A resolver that was chosen is obeyed; a change that is ignored leaves no
// trace, one that raises an error changes nothing.
func TestDecideWithResolvers(t *testing.T) {
	tests := []struct {
		name     string
		kind     Type
		resolver Resolver
		facts    Facts
		want     Plan
	}{
		{"update", UpdateOriginChange, "update", change(OpUpdate, 1, row(key, newer)),
			Plan{UpdateOriginChange, Apply, ApplyRemote, "resolver_update", []Fate{Replaced}, nil, 0}},
		{"skip", UpdateOriginChange, "skip", change(OpUpdate, 2, row(key, older), row(u, older)),
			Plan{UpdateOriginChange, Ignore, Skip, "resolver_skip", []Fate{Stays, Stays}, nil, 0}},
		{"skip_though_it_would_lose", UpdatePkeyExists, "skip", change(OpUpdate, 2, row(key, older), row(u, newer)),
			Plan{UpdatePkeyExists, Ignore, Skip, "resolver_skip", []Fate{Stays, Stays}, nil, 1}},
		{"skip_only_what_is_concurrent", UpdateOriginChange, "skip", change(OpUpdate, 2, seen(row(key, older)), row(u, older)),
			Plan{UpdatePkeyExists, Apply, ApplyRemote, "later_commit_wins", []Fate{Replaced, Evicted}, nil, 1}},
		{"skip_a_missing_row", UpdateMissing, "skip", change(OpUpdate, 1),
			Plan{UpdateMissing, Ignore, Skip, "resolver_skip", []Fate{}, nil, -1}},
		{"skip_a_deleted_row", UpdateRecentlyDeleted, "skip", change(OpUpdate, 1, unseen(key, older)),
			Plan{UpdateRecentlyDeleted, Ignore, Skip, "resolver_skip", []Fate{Stays}, nil, 0}},
		{"insert_or_error_of_a_whole_row", UpdateMissing, "insert_or_error", change(OpUpdate, 1),
			Plan{UpdateMissing, Insert, ApplyRemote, "missing_row_inserted", []Fate{}, nil, -1}},
		{"insert_or_error_of_a_part", UpdateMissing, "insert_or_error", with(change(OpUpdate, 1), func(f *Facts) { f.Image = Partial }),
			Plan{UpdateMissing, Raise, Error, "incomplete_row", []Fate{}, nil, -1}},
		{"insert_or_error_of_a_part_that_loses", UpdateRecentlyDeleted, "insert_or_error",
			with(change(OpUpdate, 1, unseen(key, newer)), func(f *Facts) { f.Image = Partial }),
			Plan{UpdateRecentlyDeleted, Keep, Skip, "later_delete_wins", []Fate{Stays}, nil, 0}},
		{"error", MultipleUniqueConflicts, "error", change(OpInsert, 3, row(u, older), row(w, newer)),
			Plan{MultipleUniqueConflicts, Raise, Error, "resolver_error", []Fate{Stays, Stays}, nil, 0}},
		{"error_before_skip", MultipleUniqueConflicts, "error", change(OpUpdate, 3, row(key, newer), row(u, older), row(w, newer)),
			Plan{MultipleUniqueConflicts, Raise, Error, "resolver_error", []Fate{Stays, Stays, Stays}, nil, 1}},
		{"error_where_nothing_is_to_be_deleted", DeleteMissing, "error", change(OpDelete, 1),
			Plan{DeleteMissing, Raise, Error, "resolver_error", []Fate{}, nil, -1}},
		{"no_error_for_a_row_that_is_gone", DeleteRecentlyUpdated, "error", change(OpDelete, 1, unseen(key, newer)),
			Plan{DeleteMissing, Keep, Skip, "nothing_to_delete", []Fate{Stays}, nil, -1}},
		{"no_error_for_an_older_row", DeleteRecentlyUpdated, "error", change(OpDelete, 1, row(key, older)),
			Plan{0, Apply, ApplyRemote, "no_conflict", []Fate{Removed}, nil, -1}},
		{"delete_anyway", DeleteRecentlyUpdated, "update", change(OpDelete, 1, row(key, newer)),
			Plan{DeleteRecentlyUpdated, Apply, ApplyRemote, "resolver_update", []Fate{Removed}, nil, 0}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			policy, err := DefaultPolicy().With(test.kind, test.resolver)
			if err != nil {
				t.Fatal(err)
			}
			got, err := policy.Decide(test.facts)
			if err != nil || !samePlan(got, test.want) {
				t.Fatalf("got %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
}

// What is called a conflict must not decide who wins: with the default rules
// nodes that see different ones still end equal.
func TestDetectionDecidesNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 20000 {
		f := randomFacts(random)
		want, err := DefaultPolicy().Decide(f)
		if err != nil {
			t.Fatalf("%+v: %v", f, err)
		}
		f.RowVersion = !f.RowVersion
		for i := range f.Found {
			f.Found[i].Seen = random.IntN(2) == 0
		}
		got, err := DefaultPolicy().Decide(f)
		got.Type, got.Rule, got.Decisive = want.Type, want.Rule, want.Decisive
		if err != nil || !samePlan(got, want) {
			t.Fatalf("%+v: %+v, %v, but %+v when conflicts are found in another way", f, got, err, want)
		}
	}
}

func randomFacts(random *rand.Rand) Facts {
	f := change(Operation(1+random.IntN(3)), 1+random.IntN(3))
	f.Image = Image(1 + random.IntN(3))
	f.KeyChanged = f.Operation != OpInsert && random.IntN(2) == 0
	if f.Operation == OpDelete {
		f.Constraints = f.Constraints[:1]
	}
	for k := range f.Constraints {
		found := Found{Live: random.IntN(2) == 0, On: []int{k}, Version: version(3+random.Int64N(5), random.Uint32N(3)+1)}
		if random.IntN(3) > 0 {
			f.Found = append(f.Found, found)
		}
	}
	return f
}

func TestWithRefuses(t *testing.T) {
	for _, test := range []struct {
		kind     Type
		resolver Resolver
	}{{UpdateMissing, "update_if_newer"}, {InsertExists, "insert_or_skip"}, {DeleteMissing, "update"}, {99, "skip"}, {InsertExists, ""}} {
		if _, err := DefaultPolicy().With(test.kind, test.resolver); err == nil {
			t.Errorf("%v takes resolver %q", test.kind, test.resolver)
		}
	}
}

// Facts that cannot be are a mistake of the writer and never decided.
func TestDecideRefuses(t *testing.T) {
	tests := []struct {
		want  string
		facts Facts
	}{
		{"operation", Facts{}},
		{"version", with(change(OpInsert, 1), func(f *Facts) { f.Remote = Version{} })},
		{"image", with(change(OpInsert, 1), func(f *Facts) { f.Image = 9 })},
		{"key", change(OpInsert, 0)},
		{"key", change(OpDelete, 2)},
		{"constraints", change(OpInsert, 1, row(u, older))},
		{"constraints", change(OpInsert, 2, row([]int{1, 0}, older))},
		{"nothing", change(OpInsert, 1, row(nil, older))},
		{"2 rows", change(OpInsert, 1, row(key, older), row(key, newer))},
	}
	for _, test := range tests {
		if _, err := DefaultPolicy().Decide(test.facts); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, expected something about %q", test.facts, err, test.want)
		}
	}
}

// TestPlansDependOnOrderOnly exists because a writer uses a plan again for all
// cases that are like the one it was made for (extension/conflict/decision_cache.c): only how
// each version compares with the incoming one may count, and by what.
func TestPlansDependOnOrderOnly(t *testing.T) {
	random := rand.New(rand.NewPCG(17, 0))
	policies := []Policy{DefaultPolicy()}
	for _, d := range definitions {
		for _, c := range d.choices {
			if p, err := DefaultPolicy().WithNamed(d.name, c.resolver); err == nil {
				policies = append(policies, p)
			}
		}
	}
	for range 2000 {
		f := fewVersions(random)
		g := f
		g.Remote = Version{Known: true, Time: 1000 + random.Int64N(1000), Node: 100 + random.Uint32N(100)}
		g.Found = slices.Clone(f.Found)
		for i, found := range f.Found {
			g.Found[i].Version = alike(random, found.Version, f.Remote, g.Remote)
		}
		for _, p := range policies {
			a, errA := p.Decide(f)
			b, errB := p.Decide(g)
			if (errA == nil) != (errB == nil) || !reflect.DeepEqual(a, b) {
				t.Fatalf("%+v: %+v, %v\n%+v: %+v, %v", f, a, errA, g, b, errB)
			}
		}
	}
}

// fewVersions are of few versions, so that they are often equal.
func fewVersions(random *rand.Rand) Facts {
	f := Facts{Operation: Operation(1 + random.IntN(3)), KeyChanged: random.IntN(4) == 0, RowVersion: random.IntN(4) == 0,
		Image: Image(1 + random.IntN(3)), Remote: version(5, 2), Constraints: []Constraint{Unique}}
	for f.Operation != OpDelete && len(f.Constraints) < 1+random.IntN(4) {
		f.Constraints = append(f.Constraints, Constraint(1+random.IntN(2)))
	}
	for range random.IntN(4) {
		f.Found = append(f.Found, Found{Live: random.IntN(2) == 0, Seen: random.IntN(2) == 0, On: []int{random.IntN(len(f.Constraints))},
			Version: Version{Known: random.IntN(5) > 0, Time: 4 + random.Int64N(3), Node: 1 + random.Uint32N(3)}})
	}
	return f
}

// alike compares with remote as v does with other.
func alike(random *rand.Rand, v, other, remote Version) Version {
	out := Version{Known: v.Known, Time: remote.Time, Node: remote.Node}
	switch {
	case v.Time != other.Time:
		out.Time += int64(cmp.Compare(v.Time, other.Time)) * (1 + random.Int64N(500))
		out.Node = random.Uint32N(300)
	case v.Node != other.Node:
		out.Node = uint32(int(remote.Node) + cmp.Compare(v.Node, other.Node)*(1+random.IntN(50)))
	}
	return out
}
