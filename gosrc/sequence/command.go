package sequence

import (
	"slices"
	"strings"
	"unicode/utf8"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/pgerr"
)

// Prefix is what the kinds of these commands begin with.
const Prefix = "sequence"

// The commands of the consensus log. Their names are stored: never reuse one.
const (
	Allocate = Prefix + "/allocate" // gives Node what it needs of Key
	Advance  = Prefix + "/advance"  // gives nobody values of Key up to To any more
	Begin    = Prefix + "/begin"    // of a change of a kind
	Switch   = Prefix + "/switch"   // carries it out: all nodes have stopped
	Cancel   = Prefix + "/cancel"   // calls it off
)

// Knows says whether a command is one of this version's.
func Knows(kind string) bool {
	return slices.Contains([]string{Allocate, Advance, Begin, Switch, Cancel}, kind)
}

// Limits of what a command may say. What does not fit into the tables would have
// the log stop on every node.
const (
	ValueMax     = int64(1) << 56 // of galloc
	ChunkSizeMax = 1_000_000_000
	keyBytesMax  = 260 // two quoted names and a dot
	nameBytesMax = 63
	clockMax     = int64(1) << 41 // milliseconds of an id
	timeMax      = int64(1) << 53 // microseconds: some 285 years
)

// Command is one entry of the consensus log, stored as JSON.
type Command struct {
	Kind string `json:"kind"`
	Node uint32 `json:"node,omitzero"` // who asks
	Time int64  `json:"time,omitzero"` // there, in microseconds since 1970

	// Allocate and Advance; Switch has Key and Start, of the kind to be.
	Key      string `json:"key,omitzero"`
	Start    int64  `json:"start,omitzero"`    // the first value, if the key is new
	Max      int64  `json:"max,omitzero"`      // the last one that the sequence has
	Size     int64  `json:"size,omitzero"`     // of a chunk
	Position int64  `json:"position,omitzero"` // the last value that the node has used
	To       int64  `json:"to,omitzero"`

	// Begin, Switch and Cancel.
	ID      string   `json:"id,omitzero"`
	Schema  string   `json:"schema,omitzero"`
	Name    string   `json:"name,omitzero"`
	NewKind string   `json:"new_kind,omitzero"`
	OldKeys []string `json:"old_keys,omitempty"` // keys of galloc that the sequence had
	Nodes   []uint32 `json:"nodes,omitempty"`    // those that have stopped
	Clock   int64    `json:"clock_ms,omitzero"`  // what the clock of ids must have passed
}

// Encode returns the form in the log.
func (cmd Command) Encode() []byte { return cluster.Entry(cmd) }

// Check refuses a command that nobody may propose.
func (cmd Command) Check() *pgerr.Error {
	if cmd.Time < 0 || cmd.Time > timeMax {
		return pgerr.New(pgerr.InvalidParameter, "time %d of a consensus command is out of range", cmd.Time)
	}
	switch cmd.Kind {
	case Allocate, Advance:
		return cmd.checkValues()
	case Begin:
		return firstOf(checkID(cmd.ID), checkText("schema", cmd.Schema, nameBytesMax), checkText("sequence", cmd.Name, nameBytesMax), checkKind(cmd.NewKind))
	case Switch:
		return firstOf(checkID(cmd.ID), checkText("key of a sequence", cmd.Key, keyBytesMax),
			checkRange("clock", cmd.Clock, 0, clockMax))
	case Cancel:
		return checkID(cmd.ID)
	}
	return cluster.UnknownCommand(cmd.Kind)
}

// checkValues looks at what a session has sent.
func (cmd Command) checkValues() *pgerr.Error {
	return firstOf(checkText("key of a sequence", cmd.Key, keyBytesMax),
		checkRange("first value of a galloc sequence", cmd.Start, 1, ValueMax),
		checkRange("maximum of a galloc sequence", cmd.Max, cmd.Start, 1<<63-1),
		checkRange("chunk size", cmd.Size, 1, ChunkSizeMax),
		checkRange("position of a galloc sequence", cmd.Position, 0, 1<<63-1),
		checkRange("value of a galloc sequence", cmd.To, 0, ValueMax))
}

func firstOf(faults ...*pgerr.Error) *pgerr.Error {
	for _, fault := range faults {
		if fault != nil {
			return fault
		}
	}
	return nil
}

func checkRange(what string, value, low, high int64) *pgerr.Error {
	if value >= low && value <= high {
		return nil
	}
	return pgerr.New(pgerr.InvalidParameter, "%s is out of range: %d", what, value).WithDetail("It must be between %d and %d.", low, high)
}

func checkText(what, text string, bytesMax int) *pgerr.Error {
	switch {
	case text == "" || len(text) > bytesMax || strings.IndexByte(text, 0) >= 0:
		return pgerr.New(pgerr.InvalidParameter, "invalid %s %q", what, text)
	case !utf8.ValidString(text):
		return pgerr.New(pgerr.FeatureNotSupported, "%s %q is not valid UTF-8", what, text).
			WithHint("Rename it: in a database of another encoding the names of global sequences must be ASCII.")
	}
	return nil
}

func checkKind(letter string) *pgerr.Error {
	if KindName(letter) == unknownKind {
		return pgerr.New(pgerr.InvalidParameter, "unknown kind %q of a sequence", letter)
	}
	return nil
}

// checkID wants the form in which the server shows a UUID.
func checkID(id string) *pgerr.Error {
	const form = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
	valid := len(id) == len(form)
	for i := 0; valid && i < len(form); i++ {
		if form[i] == '-' {
			valid = id[i] == '-'
		} else {
			valid = strings.IndexByte("0123456789abcdef", id[i]) >= 0
		}
	}
	if !valid {
		return pgerr.New(pgerr.InvalidParameter, "invalid id %q of a change of a sequence's kind", id)
	}
	return nil
}

// Changes lists what a command touched, to be written to tables.
type Changes struct {
	Allocations     []catalog.SequenceAllocation
	RemovedChunks   []catalog.SequenceChunk // to be deleted before the rest is written
	Chunks          []catalog.SequenceChunk
	RemovedSwitches []string
	Switches        []catalog.SequenceSwitch
	Switched        *catalog.SwitchedSequence // what the sequence of this node becomes
	ChangedKey      string                    // sessions must look at its chunks again
}
