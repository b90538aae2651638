// Package conflict decides which version of a row survives when two nodes
// changed it. It is pure: the C shim gathers the two versions before the call
// and carries the Decision out after it.
package conflict

// Type says how an incoming change and the local row disagree. The values
// travel in CONFLICT messages (docs/protocol.md, section 1).
type Type uint8

// The conflict types.
const (
	InsertExists          Type = 1
	UpdateOriginChange    Type = 2
	UpdateMissing         Type = 3
	DeleteRecentlyUpdated Type = 4
	DeleteMissing         Type = 5
	TargetColumnMissing   Type = 6
	SourceColumnMissing   Type = 7
	TargetTableMissing    Type = 8
)

// The conflict types that Decide derives from the facts; a writer does not send
// them, so their numbers leave room for those that it does.
const (
	UpdateRecentlyDeleted   Type = 16
	UpdatePkeyExists        Type = 17
	MultipleUniqueConflicts Type = 18
	UpdateDiffering         Type = 19
)

// typeNames is the one list of types in Go; bdr.conflict_history shows these
// names.
var typeNames = [...]string{
	InsertExists:          "insert_exists",
	UpdateOriginChange:    "update_origin_change",
	UpdateMissing:         "update_missing",
	DeleteRecentlyUpdated: "delete_recently_updated",
	DeleteMissing:         "delete_missing",

	UpdateRecentlyDeleted:   "update_recently_deleted",
	UpdatePkeyExists:        "update_pkey_exists",
	MultipleUniqueConflicts: "multiple_unique_conflicts",
	UpdateDiffering:         "update_differing",
	TargetColumnMissing:     "target_column_missing",
	SourceColumnMissing:     "source_column_missing",
	TargetTableMissing:      "target_table_missing",
}

// Known reports whether t is in the list of types.
func (t Type) Known() bool { return int(t) < len(typeNames) && typeNames[t] != "" }

// OfDefinition reports whether the tables disagree rather than the rows: such a
// conflict is decided once for a table, not for each row.
func (t Type) OfDefinition() bool { return t >= TargetColumnMissing && t <= TargetTableMissing }

// String returns the SQL name of the type.
func (t Type) String() string {
	if !t.Known() {
		return "unknown"
	}
	return typeNames[t]
}

// Action is what the applying node does with the incoming change. The values
// travel in DECISION messages.
type Action uint8

// The actions.
const (
	Apply  Action = 1 // carry out the incoming change
	Keep   Action = 2 // leave what is there
	Raise  Action = 3 // raise an error: the transaction is tried again
	Insert Action = 4 // insert the row of an update that found none
	Fetch  Action = 5 // get the complete row from its origin, then ask again
	Ignore Action = 6 // as if the change had never come
)

// actionNames is the one list of actions in Go.
var actionNames = [...]string{
	Apply:  "apply",
	Keep:   "keep",
	Raise:  "raise",
	Insert: "insert",
	Fetch:  "fetch",
	Ignore: "ignore",
}

// String returns the name of the action.
func (a Action) String() string {
	if a < 1 || int(a) >= len(actionNames) {
		return "unknown"
	}
	return actionNames[a]
}

// Resolution is the name that a history row carries for what was done.
type Resolution string

// The resolutions.
const (
	ApplyRemote Resolution = "apply_remote"
	Skip        Resolution = "skip"
	Error       Resolution = "error"
)

// resolutions is the one list from action to the resolution that it means.
var resolutions = [...]Resolution{
	Apply:  ApplyRemote,
	Keep:   Skip,
	Raise:  Error,
	Insert: ApplyRemote,
	Fetch:  ApplyRemote,
	Ignore: Skip,
}

// Version says who wrote a row and when.
type Version struct {
	Known bool   // false: no row, or its commit is no longer remembered
	Time  int64  // commit timestamp, microseconds since 2000-01-01
	Node  uint32 // id of the node where the transaction ran
}

// Conflict holds the facts of one conflict.
//
// Local is the version of the local row; for the missing types it is the
// version of the deletion, where it is known. Conflicts of definition have no
// local version.
type Conflict struct {
	Type     Type
	Local    Version
	Remote   Version
	Complete bool // nothing is missing; see Facts.Image, and in conflict/schema_mismatch.c what it means for each kind of table that differs
}

// Decision says what to do, and why.
type Decision struct {
	Action     Action
	Resolution Resolution
	Rule       string
}

// Compare returns -1, 0 or 1 when a is older than, equal to or newer than b.
//
// The later commit is the newer one and the higher node id breaks ties. A
// version that is not known is older than every known one.
func Compare(a, b Version) int {
	switch {
	case a.Known != b.Known:
		return order(b.Known, a.Known)
	case !a.Known:
		return 0
	case a.Time != b.Time:
		return order(a.Time < b.Time, a.Time > b.Time)
	default:
		return order(a.Node < b.Node, a.Node > b.Node)
	}
}

func order(less, greater bool) int {
	switch {
	case less:
		return -1
	case greater:
		return 1
	default:
		return 0
	}
}
