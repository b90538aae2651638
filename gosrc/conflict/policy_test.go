package conflict

import (
	"math/rand/v2"
	"testing"
)

func version(time int64, node uint32) Version {
	return Version{Known: true, Time: time, Node: node}
}

// Each row is one promise of the conflict table in docs/architecture.md.
func TestResolve(t *testing.T) {
	tests := []struct {
		name     string
		conflict Conflict
		want     Decision
	}{
		{"later_insert_wins", Conflict{InsertExists, version(1, 9), version(2, 1), true},
			Decision{Apply, ApplyRemote, "later_commit_wins"}},
		{"earlier_insert_loses", Conflict{InsertExists, version(2, 1), version(1, 9), true},
			Decision{Keep, Skip, "later_commit_wins"}},
		{"later_update_wins", Conflict{UpdateOriginChange, version(1, 9), version(2, 1), false},
			Decision{Apply, ApplyRemote, "later_commit_wins"}},
		{"earlier_update_loses", Conflict{UpdateOriginChange, version(2, 1), version(1, 9), true},
			Decision{Keep, Skip, "later_commit_wins"}},
		{"tie_goes_to_the_higher_node", Conflict{UpdateOriginChange, version(5, 1), version(5, 2), true},
			Decision{Apply, ApplyRemote, "higher_node_id_breaks_tie"}},
		{"tie_is_kept_from_the_lower_node", Conflict{UpdateOriginChange, version(5, 2), version(5, 1), true},
			Decision{Keep, Skip, "higher_node_id_breaks_tie"}},
		{"one_node_twice_in_a_microsecond", Conflict{UpdateOriginChange, version(5, 2), version(5, 2), true},
			Decision{Apply, ApplyRemote, "same_node_arrival_order"}},
		{"forgotten_local_version_loses", Conflict{UpdateOriginChange, Version{}, version(-1, 1), true},
			Decision{Apply, ApplyRemote, "unknown_version_loses"}},
		{"older_delete_loses", Conflict{DeleteRecentlyUpdated, version(2, 1), version(1, 2), false},
			Decision{Keep, Skip, "later_commit_wins"}},
		{"newer_delete_wins", Conflict{DeleteRecentlyUpdated, version(1, 2), version(2, 1), false},
			Decision{Apply, ApplyRemote, "later_commit_wins"}},
		{"update_brings_the_row_back", Conflict{UpdateMissing, Version{}, version(1, 1), true},
			Decision{Insert, ApplyRemote, "missing_row_inserted"}},
		{"newer_update_beats_the_delete", Conflict{UpdateMissing, version(1, 2), version(2, 1), true},
			Decision{Insert, ApplyRemote, "missing_row_inserted"}},
		{"older_update_loses_to_the_delete", Conflict{UpdateMissing, version(2, 1), version(1, 2), true},
			Decision{Keep, Skip, "later_delete_wins"}},
		{"incomplete_row_is_asked_for", Conflict{UpdateMissing, Version{}, version(1, 1), false},
			Decision{Insert, ApplyRemote, "missing_row_inserted"}},
		{"delete_of_a_missing_row", Conflict{DeleteMissing, Version{}, version(1, 1), false},
			Decision{Keep, Skip, "nothing_to_delete"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := DefaultPolicy().Resolve(test.conflict)
			if err != nil || got != test.want {
				t.Fatalf("got %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
	t.Run("later_commit_wins_on_every_node", laterCommitWinsEverywhere)
}

// Two nodes that meet the same two versions from opposite sides must keep the
// same one: whatever is local here is remote there.
func laterCommitWinsEverywhere(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	policy := DefaultPolicy()
	for range 20000 {
		a := version(random.Int64N(6)-3, random.Uint32N(4)+1)
		b := version(random.Int64N(6)-3, random.Uint32N(4)+1)
		if a == b {
			continue
		}
		for _, kind := range []Type{InsertExists, UpdateOriginChange, DeleteRecentlyUpdated} {
			here := survivor(t, policy, Conflict{kind, a, b, true})
			there := survivor(t, policy, Conflict{kind, b, a, true})
			if here != there {
				t.Fatalf("%s of %+v and %+v: %+v survives here, %+v there", kind, a, b, here, there)
			}
		}
	}
}

func survivor(t *testing.T, policy Policy, c Conflict) Version {
	t.Helper()
	decision, err := policy.Resolve(c)
	if err != nil {
		t.Fatal(err)
	}
	if decision.Action == Apply {
		return c.Remote
	}
	return c.Local
}

// A register must not depend on the order in which versions arrive.
func TestResolveAnyOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	policy := DefaultPolicy()
	for range 2000 {
		versions := distinctVersions(random, 5)
		first := lastAfter(t, policy, versions)
		random.Shuffle(len(versions), func(i, j int) { versions[i], versions[j] = versions[j], versions[i] })
		if second := lastAfter(t, policy, versions); second != first {
			t.Fatalf("%+v: ends with %+v in one order and %+v in another", versions, first, second)
		}
	}
}

func distinctVersions(random *rand.Rand, n int) []Version {
	var versions []Version
	seen := map[Version]bool{}
	for len(versions) < n {
		v := version(random.Int64N(4), random.Uint32N(4)+1)
		if !seen[v] {
			seen[v] = true
			versions = append(versions, v)
		}
	}
	return versions
}

func lastAfter(t *testing.T, policy Policy, versions []Version) Version {
	t.Helper()
	row := versions[0]
	for _, incoming := range versions[1:] {
		row = survivor(t, policy, Conflict{UpdateOriginChange, row, incoming, true})
	}
	return row
}

// Facts that no rule covers are an error of the peer or the writer, never a
// silent choice.
func TestResolveRefuses(t *testing.T) {
	tests := []struct {
		name     string
		policy   Policy
		conflict Conflict
	}{
		{"unknown_type", DefaultPolicy(), Conflict{Type: 99, Remote: version(1, 1)}},
		{"type_zero", DefaultPolicy(), Conflict{Remote: version(1, 1)}},
		{"unknown_remote_version", DefaultPolicy(), Conflict{Type: InsertExists}},
		{"empty_policy", Policy{}, Conflict{Type: InsertExists, Remote: version(1, 1)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got, err := test.policy.Resolve(test.conflict); err == nil {
				t.Fatalf("got %+v, want an error", got)
			}
		})
	}
}

// The lists must stay complete: a new type needs a name and a rule, a new
// action a name and a resolution.
func TestListsAreComplete(t *testing.T) {
	for i := 1; i < len(typeNames); i++ {
		if Type(i).Known() != (DefaultPolicy().rules[i] != nil) {
			t.Errorf("conflict type %d has a name and no rule, or a rule and no name", i)
		}
	}
	if len(actionNames) != len(resolutions) {
		t.Errorf("%d actions, %d resolutions", len(actionNames), len(resolutions))
	}
	for i := 1; i < len(actionNames); i++ {
		if actionNames[i] == "" || resolutions[i] == "" {
			t.Errorf("action %d has no name or no resolution", i)
		}
	}
}
