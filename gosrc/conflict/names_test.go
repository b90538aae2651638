package conflict

import (
	"slices"
	"testing"
)

// What users may name must be exactly what a history row can carry: no gap of
// the lists, and nothing twice.
func TestNamesAreThoseOfTheLists(t *testing.T) {
	types := TypeNames()
	for i := range typeNames {
		if known := Type(i).Known(); known != slices.Contains(types, Type(i).String()) {
			t.Errorf("conflict type %d, %q: known is %t, in the list of names %v", i, Type(i), known, types)
		}
	}
	if want := []string{"apply_remote", "error", "skip"}; !slices.Equal(ResolutionNames(), want) {
		t.Errorf("resolutions are %v, expected %v", ResolutionNames(), want)
	}
	if slices.Contains(types, "") || len(slices.Compact(slices.Clone(types))) != len(types) {
		t.Errorf("names with gaps or doubles: %q", types)
	}
}
