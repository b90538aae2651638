// Package globallock is what all nodes agree on about global locks: which session
// has which, and who waits for it. It is pure, so that every node reaches the same
// answer.
package globallock

import (
	"slices"
	"strconv"
	"strings"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
)

// Prefix is what the kinds of these commands begin with.
const Prefix = "lock"

// The commands of the consensus log. Their names are stored: never reuse one.
const (
	Acquire = Prefix + "/acquire" // puts a session of Node into the queue
	Release = Prefix + "/release" // takes sessions of Node, or of nodes that are gone, out
)

// Knows says whether a command is one of this version's.
func Knows(kind string) bool { return kind == Acquire || kind == Release }

// Limits of what a command may say.
const (
	LocksMax   = 1000 // of a node
	idBytesMax = 64
	IDsMax     = 1000           // of a Release
	timeMax    = int64(1) << 53 // microseconds: some 285 years
)

// Command is one entry of the consensus log, stored as JSON.
type Command struct {
	Kind string `json:"kind"`
	Node uint32 `json:"node"`
	Time int64  `json:"time"` // there, in microseconds since 1970

	// Acquire
	ID           string `json:"id,omitzero"`
	Type         string `json:"type,omitzero"`
	Key1         int32  `json:"key1,omitzero"`
	Key2         int32  `json:"key2,omitzero"`
	Bigint       bool   `json:"bigint,omitzero"`
	PID          int64  `json:"pid,omitzero"`
	LocalRequest int64  `json:"local_request,omitzero"`

	// Release
	IDs      []string `json:"ids,omitempty"`
	Position lsn.LSN  `json:"position,omitzero"` // of Node's WAL: what was done under its locks is before it
}

// Encode returns the form in the log.
func (cmd Command) Encode() []byte { return cluster.Entry(cmd) }

// Check refuses a command that nobody may propose: what does not fit into the tables
// would have the log stop on every node.
func (cmd Command) Check() *pgerr.Error {
	valid := cmd.Time >= 0 && cmd.Time <= timeMax
	switch cmd.Kind {
	case Acquire:
		valid = valid && validID(cmd.ID) && validKey(cmd.Key()) && cmd.PID > 0 && cmd.PID < 1<<31 &&
			cmd.LocalRequest >= 0 && cmd.LocalRequest <= timeMax
	case Release:
		valid = valid && len(cmd.IDs) <= IDsMax && !slices.ContainsFunc(cmd.IDs, func(id string) bool { return !validID(id) })
	default:
		return cluster.UnknownCommand(cmd.Kind)
	}
	if !valid {
		return pgerr.New(pgerr.InvalidParameter, "invalid command %q of consensus", cmd.Kind)
	}
	return nil
}

// Key returns what an Acquire is about.
func (cmd Command) Key() catalog.GlobalLockKey {
	return catalog.GlobalLockKey{Type: cmd.Type, Key1: cmd.Key1, Key2: cmd.Key2, Bigint: cmd.Bigint}
}

// validKey allows any advisory lock, and the one of the schema.
func validKey(key catalog.GlobalLockKey) bool {
	return key.Type == catalog.GlobalLockAdvisory || key == catalog.GlobalLockKey{Type: catalog.GlobalLockDDL}
}

// validID allows what managers make.
func validID(id string) bool {
	return id != "" && len(id) <= idBytesMax && strings.Trim(id, "0123456789abcdef-") == ""
}

// State is all that is agreed. It is a value: Apply never changes the one that it
// was given.
type State struct {
	Last      int64                        // the place that was given last
	Locks     []catalog.GlobalLock         `json:",omitempty"` // by place
	Positions []catalog.GlobalLockPosition `json:",omitempty"` // of nodes that have given the DDL lock back
}

// Empty says whether nothing was ever agreed on.
func (s State) Empty() bool { return s.Last == 0 }

// Holder returns who has the lock.
func (s State) Holder(key catalog.GlobalLockKey) (catalog.GlobalLock, bool) {
	i := slices.IndexFunc(s.Locks, func(l catalog.GlobalLock) bool { return l.GlobalLockKey == key })
	if i < 0 {
		return catalog.GlobalLock{}, false
	}
	return s.Locks[i], true
}

// Find returns the lock, or the wait, with this id.
func (s State) Find(id string) (catalog.GlobalLock, bool) {
	i := slices.IndexFunc(s.Locks, func(l catalog.GlobalLock) bool { return l.ID == id })
	if i < 0 {
		return catalog.GlobalLock{}, false
	}
	return s.Locks[i], true
}

// Elsewhere leaves out the positions of a node itself, which has what it wrote, and of those
// that are gone, of which nothing comes any more.
func Elsewhere(list []catalog.GlobalLockPosition, local uint32, members cluster.Cluster) []catalog.GlobalLockPosition {
	return slices.DeleteFunc(slices.Clone(list), func(p catalog.GlobalLockPosition) bool { return p.Node == local || members.Gone(p.Node) })
}

// EncodePositions is the form in which positions travel with a statement.
func EncodePositions(list []catalog.GlobalLockPosition) string {
	var parts []string
	for _, p := range list {
		parts = append(parts, strconv.FormatUint(uint64(p.Node), 10)+" "+p.Position.String())
	}
	return strings.Join(parts, ",")
}

// DecodePositions reads it.
func DecodePositions(text string) ([]catalog.GlobalLockPosition, error) {
	var list []catalog.GlobalLockPosition
	for part := range strings.SplitSeq(text, ",") {
		node, position, _ := strings.Cut(part, " ")
		id, err := strconv.ParseUint(node, 10, 32)
		if err != nil {
			return nil, pgerr.New(pgerr.InvalidParameter, "invalid positions %q", text)
		}
		at, err := lsn.Parse(position)
		if err != nil {
			return nil, err
		}
		list = append(list, catalog.GlobalLockPosition{Node: uint32(id), Position: at})
	}
	return list, nil
}

// Title is a lock in messages.
func Title(key catalog.GlobalLockKey) string {
	switch {
	case key.Type == catalog.GlobalLockDDL:
		return "the global DDL lock"
	case key.Bigint:
		return "global advisory lock " + strconv.FormatInt(int64(key.Key1)<<32|int64(uint32(key.Key2)), 10)
	}
	return "global advisory lock (" + strconv.Itoa(int(key.Key1)) + ", " + strconv.Itoa(int(key.Key2)) + ")"
}
