// Package release says which version of bdr this is, and how versions compare.
// It takes values and returns values: what a node has, somebody else finds out.
package release

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is that of this library, as in extension/base/bdr.h.
const Version = "0.2.0"

// First is what a node has that does not say its version.
const First = "0.1.0"

// Sequences is the first version whose nodes agree on global sequences, and on
// numbers of nodes that are given in turn.
const Sequences = "0.2.0"

// ReplicationSets is the first version whose nodes agree on replication sets.
const ReplicationSets = "0.2.0"

// FirstFrames is the version of the frames that it reads and writes.
const FirstFrames = 2

// Newer says whether a is newer than b. A version that is not three numbers is
// newer than one that is: nothing is known of it.
func Newer(a, b string) bool {
	left, known := parts(a)
	right, comparable := parts(b)
	if !known || !comparable {
		return !known && comparable
	}
	for i := range left {
		if left[i] != right[i] {
			return left[i] > right[i]
		}
	}
	return false
}

func parts(version string) (numbers [3]int, ok bool) {
	fields := strings.Split(version, ".")
	if len(fields) != len(numbers) {
		return numbers, false
	}
	for i, field := range fields {
		n, err := strconv.ParseUint(field, 10, 16)
		if err != nil {
			return numbers, false
		}
		numbers[i] = int(n)
	}
	return numbers, true
}

// A Range of versions of a protocol, both ends included.
type Range struct{ Min, Max int }

// Common returns the highest version that is in both.
func (r Range) Common(other Range) (version int, ok bool) {
	version = min(r.Max, other.Max)
	return version, version >= max(r.Min, other.Min)
}

func (r Range) String() string {
	if r.Min == r.Max {
		return fmt.Sprintf("version %d", r.Min)
	}
	return fmt.Sprintf("versions %d to %d", r.Min, r.Max)
}

// A Build is what a node has, for others to know whether they can work with it.
type Build struct {
	Version   string // of the library that its server has loaded
	Extension string // of the SQL objects of its database
	Frames    Range  // the changes of rows
	Managers  Range  // the messages between managers
}

// Has says whether a node has both library and SQL objects of a version, or newer ones.
func (b Build) Has(version string) bool {
	return !Newer(version, b.Version) && !Newer(version, b.Extension)
}
