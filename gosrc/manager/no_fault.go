//go:build !faults

package manager

// faults is empty in the library that is installed.
func faults() map[string]entry { return nil }
