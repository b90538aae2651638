package conflict

import "slices"

// TypeNames lists every conflict type as users write it.
func TypeNames() []string {
	return named(typeNames[:])
}

// ResolutionNames lists every resolution that a history row can carry.
func ResolutionNames() []string {
	names := make([]string, 0, len(resolutions))
	for _, r := range resolutions {
		names = append(names, string(r))
	}
	return named(names)
}

// named returns the names in order, each once, without gaps of the list.
func named(list []string) []string {
	names := slices.DeleteFunc(slices.Sorted(slices.Values(list)), func(name string) bool { return name == "" })
	return slices.Compact(names)
}
