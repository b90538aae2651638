// Package globallock is what all nodes agree on about global locks: which session
// has which, and who waits for it. It is pure, so that every node reaches the same
// answer.
package globallock

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

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
	Ready   = Prefix + "/ready"   // says that users of Node do not write to the table of a lock
)

// Knows says whether a command is one of this version's.
func Knows(kind string) bool { return kind == Acquire || kind == Release || kind == Ready }

// Limits of what a command may say.
const (
	LocksMax   = 1000 // of a node
	idBytesMax = 64
	IDsMax     = 1000           // of a Release
	timeMax    = int64(1) << 53 // microseconds: some 285 years
	nameBytes  = 63             // NAMEDATALEN, less its end
)

// Command is one entry of the consensus log, stored as JSON.
type Command struct {
	Kind string `json:"kind"`
	Node uint32 `json:"node"`
	Time int64  `json:"time"` // there, in microseconds since 1970

	// Acquire; Ready has the first
	ID           string `json:"id,omitzero"`
	Type         string `json:"type,omitzero"`
	Key1         int32  `json:"key1,omitzero"`
	Key2         int32  `json:"key2,omitzero"`
	Bigint       bool   `json:"bigint,omitzero"`
	Schema       string `json:"schema,omitzero"`
	Table        string `json:"table,omitzero"`
	PID          int64  `json:"pid,omitzero"`
	LocalRequest int64  `json:"local_request,omitzero"`

	// Release
	IDs []string `json:"ids,omitempty"`

	// Position is one of Node's WAL. Before it is what was done under locks (Release), what users
	// wrote to the table (Ready), or what made the table (Acquire of its lock).
	Position lsn.LSN `json:"position,omitzero"`
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
	case Ready:
		valid = valid && validID(cmd.ID)
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
	return catalog.GlobalLockKey{Type: cmd.Type, Key1: cmd.Key1, Key2: cmd.Key2, Bigint: cmd.Bigint, Schema: cmd.Schema, Table: cmd.Table}
}

// validKey allows any advisory lock, that of any table, and the one of the schema.
func validKey(key catalog.GlobalLockKey) bool {
	switch key.Type {
	case catalog.GlobalLockAdvisory:
		return key.Schema == "" && key.Table == ""
	case catalog.GlobalLockDML:
		return key == catalog.GlobalLockKey{Type: key.Type, Schema: key.Schema, Table: key.Table} && validName(key.Schema) && validName(key.Table)
	}
	return key == catalog.GlobalLockKey{Type: catalog.GlobalLockDDL}
}

func validName(name string) bool {
	return name != "" && len(name) <= nameBytes && utf8.ValidString(name) && !strings.ContainsRune(name, 0)
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
	Positions []catalog.GlobalLockPosition `json:",omitempty"` // of nodes that have given locks of the schema, or of tables, back
	Ready     []catalog.GlobalLockReady    `json:",omitempty"` // by lock and node
}

// Changes says whether what is done under locks of this type, other nodes must apply before
// somebody else does something under one.
func Changes(lockType string) bool { return lockType != catalog.GlobalLockAdvisory }

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

// IsReady says whether users of the node do not write to the table of this lock, and up to where
// they did.
func (s State) IsReady(id string, node uint32) (catalog.GlobalLockReady, bool) {
	i, found := s.findReady(id, node)
	if !found {
		return catalog.GlobalLockReady{}, false
	}
	return s.Ready[i], true
}

func (s State) findReady(id string, node uint32) (int, bool) {
	return slices.BinarySearchFunc(s.Ready, catalog.GlobalLockReady{ID: id, Node: node}, func(a, b catalog.GlobalLockReady) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Node, b.Node))
	})
}

// Writers are the nodes, but for one, whose users can write, or soon will: those that a lock
// of a table has to stop.
func Writers(members cluster.Cluster, but uint32) []catalog.Node {
	return members.Peers(but, func(s cluster.State) bool { return s >= cluster.Standby && s <= cluster.Active })
}

// Missing are those of them that have not.
func (s State) Missing(id string, members cluster.Cluster, but uint32) []catalog.Node {
	return slices.DeleteFunc(Writers(members, but), func(n catalog.Node) bool { _, ready := s.IsReady(id, n.ID); return ready })
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
	case key.Type == catalog.GlobalLockDML:
		return "the global lock of table " + strconv.Quote(key.Schema+"."+key.Table)
	case key.Bigint:
		return "global advisory lock " + strconv.FormatInt(int64(key.Key1)<<32|int64(uint32(key.Key2)), 10)
	}
	return "global advisory lock (" + strconv.Itoa(int(key.Key1)) + ", " + strconv.Itoa(int(key.Key2)) + ")"
}
