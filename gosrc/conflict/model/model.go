// Package model is a cluster in one process, for testing that conflict.Policy
// converges. It keeps what a PostgreSQL server keeps: rows with their versions,
// dead rows until they are vacuumed, and a table of remembered versions. Nodes
// commit on their own and get each other's transactions in commit order, at any
// speed, across crashes and with clocks that disagree.
//
// It knows no other way to decide a conflict than conflict.Policy.
package model

import "bdr/gosrc/conflict"

// nodesMax bounds a cluster, columnsMax the columns that constraints are on.
const (
	nodesMax   = 4
	columnsMax = 2
)

// Row is one row. A column of 0 is null and collides with nothing.
type Row struct {
	Key   int8
	Cols  [columnsMax]int8
	Body  int16 // no two writes have the same
	Large int16 // left out of an update that does not change it
}

// Constraint says that rows must differ in a column, or by more than one under
// an exclusion constraint.
type Constraint struct {
	Column int
	Kind   conflict.Constraint
}

// Table is a key and what else its rows may not share.
type Table struct {
	Name        string
	Constraints []Constraint
}

// The tables that are modelled.
var (
	KeyOnly   = Table{"key only", nil}
	OneUnique = Table{"one unique constraint", []Constraint{{0, conflict.Unique}}}
	TwoUnique = Table{"two unique constraints", []Constraint{{0, conflict.Unique}, {1, conflict.Unique}}}
	Excluding = Table{"an exclusion constraint", []Constraint{{0, conflict.Exclusion}}}
)

// collide reports whether two rows collide over constraint i of t; 0 is the key.
func (t *Table) collide(a, b *Row, i int) bool {
	if i == 0 {
		return a.Key == b.Key
	}
	c := t.Constraints[i-1]
	x, y := a.Cols[c.Column], b.Cols[c.Column]
	if x == 0 || y == 0 {
		return false
	}
	return x == y || c.Kind == conflict.Exclusion && x-y <= 1 && y-x <= 1
}

// collideAny reports whether two rows cannot both be there.
func (t *Table) collideAny(a, b *Row) bool {
	for i := 0; i <= len(t.Constraints); i++ {
		if t.collide(a, b, i) {
			return true
		}
	}
	return false
}

// Change is one row change, as it travels.
type Change struct {
	Operation conflict.Operation
	OldKey    int8 // of an update or delete
	Row       Row  // of an insert or update
	Unchanged bool // Row.Large was not sent: a receiver must not read it
}

// Transaction is what one commit sends. A watermark has no changes: it promises
// that nothing older than its time follows it.
type Transaction struct {
	Version   conflict.Version
	Changes   []Change
	Watermark bool
}

// Faults are mistakes that a server could make. Each is there to be seen to
// diverge (faults_test.go).
type Faults struct {
	ForgetDeletes      bool // a deletion that finds no row is not remembered
	ForgetLosers       bool // nor is a row that lost
	ForgetDead         bool // dead rows are not looked at
	EvictionIsDeletion bool // an evicted row counts as deleted
	SameOriginWins     bool // a row is not compared with what its own origin sends
	NoWait             bool // versions from the future are applied at once
	NoGuard            bool // commits go on when the clock went back
	LastCommitIsMark   bool // the last commit's time is taken for a watermark
	VacuumAtOnce       bool // nothing is held for slow peers
	FillLarge          bool // values that were not sent come from whatever row is here
	RewriteIsWrite     bool // a rewrite of the table gives all rows its own version
	RewriteForgets     bool // ... and what its dead rows told is gone with them

	// What a join could do wrong.
	BarrierAtOnce     bool // the peers name their barriers whatever their clocks say
	BarrierPastCommit bool // ... and while somebody is committing
	CatchUpNoMemory   bool // what the source remembers meanwhile is not sent
	CatchUpNoMarks    bool // nor are its marks
	CatchUpNoHold     bool // the new node vacuums at once until it hears the others
	UncountedJoiner   bool // the others clean up as if it could not write
	ActiveAtOnce      bool // it writes before its clock has passed theirs
}
