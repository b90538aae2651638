// Package sequence is what all nodes agree on about global sequences: which node
// may make which values of a galloc sequence, and which changes of kinds are under
// way. It is pure, so that every node reaches the same answer.
package sequence

import (
	"cmp"
	"slices"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
)

// The kinds of sequences, as in bdr.sequence_kind.
const (
	Local       = "l"
	Timeshard   = "t"
	SnowflakeID = "s"
	Galloc      = "g"
)

const unknownKind = "unknown"

// kinds are their names in SQL.
var kinds = []struct{ name, letter string }{
	{"local", Local}, {"timeshard", Timeshard}, {"snowflakeid", SnowflakeID}, {"galloc", Galloc},
}

// KindOf returns the letter of a kind's name, false for an unknown one.
func KindOf(name string) (string, bool) {
	for _, k := range kinds {
		if k.name == name {
			return k.letter, true
		}
	}
	return "", false
}

// KindName returns the name of a kind.
func KindName(letter string) string {
	for _, k := range kinds {
		if k.letter == letter {
			return k.name
		}
	}
	return unknownKind
}

// MakesIDs says whether a kind makes its values from the time.
func MakesIDs(kind string) bool { return kind == SnowflakeID || kind == Timeshard }

// A Key is a galloc sequence: how far its values are given out, and to whom.
type Key struct {
	catalog.SequenceAllocation
	Chunks []catalog.SequenceChunk `json:",omitempty"` // by first value
}

// State is all that is agreed. It is a value: Apply never changes the one that it
// was given.
type State struct {
	Keys     []Key                    `json:",omitempty"` // by name
	Switches []catalog.SequenceSwitch `json:",omitempty"` // by id
}

// Empty says whether nothing was ever agreed on, or nothing is left of it.
func (s State) Empty() bool { return len(s.Keys) == 0 && len(s.Switches) == 0 }

// Key returns what is known of a key.
func (s State) Key(name string) (Key, bool) {
	i, found := s.findKey(name)
	if !found {
		return Key{}, false
	}
	return s.Keys[i], true
}

// Switch returns a change of a kind by its id.
func (s State) Switch(id string) (catalog.SequenceSwitch, bool) {
	i, found := s.findSwitch(id)
	if !found {
		return catalog.SequenceSwitch{}, false
	}
	return s.Switches[i], true
}

// Pending returns the changes of kinds that are under way.
func (s State) Pending() []catalog.SequenceSwitch {
	var pending []catalog.SequenceSwitch
	for _, w := range s.Switches {
		if !w.Done {
			pending = append(pending, w)
		}
	}
	return pending
}

// Ahead returns how many chunks a node has with values beyond position.
func (k Key) Ahead(node uint32, position int64) int {
	n := 0
	for _, c := range k.Chunks {
		if c.Node == node && c.Last > position {
			n++
		}
	}
	return n
}

// Beyond says whether values up to one are given to nobody any more.
func (k Key) Beyond(value int64) bool {
	return k.UpTo >= value && (len(k.Chunks) == 0 || k.Chunks[0].First > value)
}

func (s State) findKey(name string) (int, bool) {
	return slices.BinarySearchFunc(s.Keys, name, func(k Key, name string) int { return cmp.Compare(k.Key, name) })
}

func (s State) findSwitch(id string) (int, bool) {
	return slices.BinarySearchFunc(s.Switches, id, func(w catalog.SequenceSwitch, id string) int { return cmp.Compare(w.ID, id) })
}

// withKey returns a copy with a key added or replaced.
func (s State) withKey(k Key) State {
	i, found := s.findKey(k.Key)
	s.Keys = cluster.With(s.Keys, i, found, k)
	return s
}

// withSwitch returns a copy with a change of a kind added or replaced.
func (s State) withSwitch(w catalog.SequenceSwitch) State {
	i, found := s.findSwitch(w.ID)
	s.Switches = cluster.With(s.Switches, i, found, w)
	return s
}

// withoutSwitch returns a copy without one.
func (s State) withoutSwitch(id string) State {
	s.Switches = slices.DeleteFunc(slices.Clone(s.Switches), func(w catalog.SequenceSwitch) bool { return w.ID == id })
	return s
}

// StateOf puts together what the tables have, in whatever order.
func StateOf(allocations []catalog.SequenceAllocation, chunks []catalog.SequenceChunk, switches []catalog.SequenceSwitch) State {
	var s State
	for _, a := range allocations {
		s.Keys = append(s.Keys, Key{SequenceAllocation: a})
	}
	slices.SortFunc(s.Keys, func(a, b Key) int { return cmp.Compare(a.Key, b.Key) })
	for _, c := range chunks {
		if i, found := s.findKey(c.Key); found {
			s.Keys[i].Chunks = append(s.Keys[i].Chunks, c)
		}
	}
	for _, k := range s.Keys {
		slices.SortFunc(k.Chunks, func(a, b catalog.SequenceChunk) int { return cmp.Compare(a.First, b.First) })
	}
	s.Switches = slices.Clone(switches)
	slices.SortFunc(s.Switches, func(a, b catalog.SequenceSwitch) int { return cmp.Compare(a.ID, b.ID) })
	return s
}
