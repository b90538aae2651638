package conflict

import "fmt"

// Operation is what an incoming change does. A change of a row's key comes as
// two, both with KeyChanged: the deletion of the old key, and the update.
type Operation uint8

// The operations.
const (
	OpInsert Operation = 1
	OpUpdate Operation = 2
	OpDelete Operation = 3
)

// Image says what is known of the row that an insert or update brings.
type Image uint8

// The kinds of image.
const (
	Complete Image = 1 // every value is known
	Partial  Image = 2 // unchanged values were not sent, and cannot be had here
	Gone     Image = 3 // asked for the rest, the origin said it has no such row
)

// Constraint is a kind of constraint over which two rows collide.
type Constraint uint8

// The kinds of constraint.
const (
	Unique    Constraint = 1 // equal values collide
	Exclusion Constraint = 2 // an operator says what collides
)

// Facts is what a node knows about one incoming version when it comes in.
type Facts struct {
	Operation  Operation
	KeyChanged bool // an update that gives a row this key, or takes its old one
	RowVersion bool // the table has row versions: Found.Seen goes by them, too
	Image      Image
	Remote     Version

	// Constraints are those that the incoming version takes part in. The
	// first is the row's key; a deletion has nothing else.
	Constraints []Constraint

	// Found is what the incoming version collides with.
	Found []Found
}

// Found is one thing that collides with an incoming version: a row of the
// table, or the newest version, no longer visible, that took the same values.
type Found struct {
	Live    bool  // a row of the table; false: only its version is known
	Seen    bool  // the sender had this version of the row
	On      []int // places in Facts.Constraints; 0: it has the same key
	Version Version
}

func (f Found) sameKey() bool { return len(f.On) > 0 && f.On[0] == 0 }

// Fate is what becomes of a row that was found.
type Fate uint8

// The fates.
const (
	Stays    Fate = 1 // untouched
	Replaced Fate = 2 // same key: the incoming row is written over it
	Removed  Fate = 3 // same key: deleted, which the incoming version stands for
	Evicted  Fate = 4 // another key: deleted, which is no deletion of its key
)

// Plan says what to do with an incoming version, in this order: delete what is
// removed or evicted, store the row, remember the version.
type Plan struct {
	Type       Type // 0: nothing was in the way
	Action     Action
	Resolution Resolution
	Rule       string
	Fates      []Fate // of Facts.Found
	Remember   []int  // constraints whose values this version took and no row shows
	Decisive   int    // place in Facts.Found of what decided; -1: nothing that was found
}

// check refuses facts that no node can have.
func (f Facts) check() error {
	switch {
	case f.Operation < OpInsert || f.Operation > OpDelete:
		return fmt.Errorf("unknown operation %d", f.Operation)
	case !f.Remote.Known:
		return fmt.Errorf("the incoming version is not known")
	case f.Operation != OpDelete && (f.Image < Complete || f.Image > Gone):
		return fmt.Errorf("unknown image %d", f.Image)
	case len(f.Constraints) == 0 || f.Constraints[0] != Unique:
		return fmt.Errorf("the first constraint must be the key")
	case f.Operation == OpDelete && len(f.Constraints) > 1:
		return fmt.Errorf("a deletion collides over its key only")
	}
	rows := 0
	for i, found := range f.Found {
		if len(found.On) == 0 {
			return fmt.Errorf("found %d collides over nothing", i)
		}
		for k, on := range found.On {
			if on < 0 || on >= len(f.Constraints) || k > 0 && on <= found.On[k-1] {
				return fmt.Errorf("found %d collides over constraints %v of %d", i, found.On, len(f.Constraints))
			}
		}
		if found.Live && found.sameKey() {
			rows++
		}
	}
	if rows > 1 {
		return fmt.Errorf("%d rows have the key of the incoming one", rows)
	}
	return nil
}

// leaves reports whether this is the old key of an update that changes it.
func (f Facts) leaves() bool { return f.Operation == OpDelete && f.KeyChanged }

// isOwn reports whether found is, or was, the row that an update is for.
func (f Facts) isOwn(found Found) bool {
	return found.sameKey() && (f.leaves() || f.Operation == OpUpdate && !f.KeyChanged)
}

// rows counts the rows in the way; the row that an update is for is not.
func (f Facts) rows() int {
	n := 0
	for _, found := range f.Found {
		if found.Live && !f.isOwn(found) {
			n++
		}
	}
	return n
}

// typeOf names the conflict of an incoming version with one thing that was
// found; 0: there is none.
//
// An update of a row that its sender had seen is none, nor is the deletion of
// an older row; with row versions, it must be the very row that was deleted.
func (f Facts) typeOf(found Found) Type {
	newer := Compare(f.Remote, found.Version) >= 0
	switch {
	case f.Operation == OpDelete && !f.KeyChanged:
		if newer && (found.Seen || !f.RowVersion) {
			return 0
		}
		return DeleteRecentlyUpdated
	case f.isOwn(found) && found.Live:
		if newer && found.Seen {
			return 0
		}
		return f.ownType()
	case f.isOwn(found):
		return UpdateRecentlyDeleted
	case f.rows() > 1:
		return MultipleUniqueConflicts
	case f.Operation == OpUpdate:
		return UpdatePkeyExists
	default:
		return InsertExists
	}
}

func (f Facts) ownType() Type {
	if f.RowVersion {
		return UpdateDiffering
	}
	return UpdateOriginChange
}
