package sequence

import (
	"math"
	"slices"
	"strconv"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/pgerr"
)

// ChunksMax is how many chunks a node has of a key: the one in use and two more.
const ChunksMax = 3

// memory is for how long a change of a kind that is done is remembered, in
// microseconds: a session may wait for it.
const memory = 10 * 60 * 1_000_000

// AnswerDone is what a Cancel answers that came too late.
const AnswerDone = "done"

// Apply says what the state is after the command. It reads only its arguments, so
// that every node reaches the same answer. A refused command changes nothing and
// returns an error for the proposer. A command that was carried out before succeeds
// again: a proposer may not have got its answer.
func Apply(s State, members cluster.Cluster, cmd Command) (State, Changes, string, *pgerr.Error) {
	if fault := cmd.Check(); fault != nil {
		return s, Changes{}, "", fault
	}
	apply := map[string]func(State, cluster.Cluster, Command) (State, Changes, string, *pgerr.Error){
		Allocate: applyAllocate, Advance: applyAdvance, Begin: applyBegin, Switch: applySwitch, Cancel: applyCancel,
	}[cmd.Kind]
	next, changes, answer, fault := apply(s, members, cmd)
	if fault != nil {
		return s, Changes{}, "", fault
	}
	return next, changes, answer, nil
}

// applyAllocate gives a node chunks until it has three with values that it has not
// used, or there are no more. It answers the last value.
func applyAllocate(s State, members cluster.Cluster, cmd Command) (State, Changes, string, *pgerr.Error) {
	if members.Gone(cmd.Node) {
		return s, Changes{}, "", pgerr.New(pgerr.WrongState, "the node with id %d is not a member of the group", cmd.Node)
	}
	old, known := s.Key(cmd.Key)
	next := old
	if !known {
		next = newKey(cmd)
		next.UpTo = max(next.UpTo, cmd.Position)
	}
	if cmd.Position > next.UpTo {
		return s, Changes{}, "", pgerr.New(pgerr.DataCorrupted, "sequence %s is at a value that was given to nobody: %d", cmd.Key, cmd.Position).
			WithDetail("Values up to %d have been given to nodes.", next.UpTo).
			WithHint("Set the kind of the sequence again with bdr.alter_sequence_set_kind().")
	}
	next.Chunks = slices.DeleteFunc(slices.Clone(old.Chunks), func(c catalog.SequenceChunk) bool {
		return members.Gone(c.Node) || c.Node == cmd.Node && c.Last <= cmd.Position
	})
	for limit := min(cmd.Max, ValueMax); next.UpTo < limit && next.Ahead(cmd.Node, cmd.Position) < ChunksMax; {
		next.give(cmd, limit)
	}
	if next.Ahead(cmd.Node, cmd.Position) == 0 {
		return s, Changes{}, "", Exhausted(cmd.Key, cmd.Max)
	}
	s, changes := s.replaced(old, next, known)
	return s, changes, strconv.FormatInt(next.last(cmd.Node), 10), nil
}

func newKey(cmd Command) Key {
	return Key{SequenceAllocation: catalog.SequenceAllocation{Key: cmd.Key, ChunkSize: cmd.Size, UpTo: cmd.Start - 1}}
}

// give appends the next chunk.
func (k *Key) give(cmd Command, limit int64) {
	chunk := catalog.SequenceChunk{Key: k.Key, First: k.UpTo + 1, Last: min(k.UpTo+cmd.Size, limit), Node: cmd.Node}
	k.Chunks = append(k.Chunks, chunk)
	k.UpTo, k.ChunkSize, k.LastAlloc = chunk.Last, cmd.Size, cmd.Time
	k.Allocs++
}

// last returns the last value that a node was given.
func (k Key) last(node uint32) int64 {
	last := int64(0)
	for _, c := range k.Chunks {
		if c.Node == node {
			last = c.Last
		}
	}
	return last
}

// Exhausted is the error of PostgreSQL's nextval.
func Exhausted(key string, limit int64) *pgerr.Error {
	return pgerr.New(pgerr.SequenceLimit, "nextval: reached maximum value of sequence %s (%d)", key, min(limit, ValueMax))
}

// replaced writes a key, and says what differs.
func (s State) replaced(old, next Key, known bool) (State, Changes) {
	var changes Changes
	if !known || old.SequenceAllocation != next.SequenceAllocation {
		changes.Allocations = []catalog.SequenceAllocation{next.SequenceAllocation}
	}
	for _, c := range old.Chunks {
		if !slices.Contains(next.Chunks, c) {
			changes.RemovedChunks = append(changes.RemovedChunks, c)
		}
	}
	for _, c := range next.Chunks {
		if !slices.Contains(old.Chunks, c) {
			changes.Chunks = append(changes.Chunks, c)
		}
	}
	if len(next.Chunks) == 0 {
		next.Chunks = nil
	}
	return s.withKey(next), changes
}

// applyAdvance takes values up to one from everybody who has them.
func applyAdvance(s State, _ cluster.Cluster, cmd Command) (State, Changes, string, *pgerr.Error) {
	if fault := checkRange("value of a galloc sequence", cmd.To, 0, min(cmd.Max, ValueMax)); fault != nil {
		return s, Changes{}, "", fault
	}
	old, known := s.Key(cmd.Key)
	next := old
	if !known {
		next = newKey(cmd)
	}
	next.UpTo, next.Chunks = max(next.UpTo, cmd.To), nil
	for _, c := range old.Chunks {
		if c.First = max(c.First, cmd.To+1); c.First <= c.Last {
			next.Chunks = append(next.Chunks, c)
		}
	}
	s, changes := s.replaced(old, next, known)
	changes.ChangedKey = cmd.Key
	return s, changes, "", nil
}

// applyBegin notes that the kind of a sequence is about to change. All nodes must be
// there to take part.
func applyBegin(s State, members cluster.Cluster, cmd Command) (State, Changes, string, *pgerr.Error) {
	if _, known := s.Switch(cmd.ID); known {
		return s, Changes{}, "", nil
	}
	if fault := CheckMembers(members, cmd.Node); fault != nil {
		return s, Changes{}, "", fault
	}
	var changes Changes
	for _, w := range s.Switches {
		switch {
		case !w.Done && w.Schema == cmd.Schema && w.Name == cmd.Name:
			return s, Changes{}, "", errUnderWay(members, w)
		case w.Done && w.Started < cmd.Time-memory:
			changes.RemovedSwitches = append(changes.RemovedSwitches, w.ID)
		}
	}
	for _, id := range changes.RemovedSwitches {
		s = s.withoutSwitch(id)
	}
	begun := catalog.SequenceSwitch{ID: cmd.ID, Schema: cmd.Schema, Name: cmd.Name, Kind: cmd.NewKind, Node: cmd.Node, Started: cmd.Time}
	changes.Switches = []catalog.SequenceSwitch{begun}
	return s.withSwitch(begun), changes, "", nil
}

func errUnderWay(members cluster.Cluster, w catalog.SequenceSwitch) *pgerr.Error {
	n, _ := members.Node(w.Node)
	return pgerr.New(pgerr.ObjectInUse, "the kind of sequence %q is being changed already", w.Title()).
		WithDetail("Node %q changes it to %s.", n.Name, KindName(w.Kind)).
		WithHint("Try again when that is done.")
}

// CheckMembers refuses to change a kind while nodes come or go: a copy could have
// the old kind.
func CheckMembers(members cluster.Cluster, proposer uint32) *pgerr.Error {
	if n, known := members.Node(proposer); !known || n.State != cluster.Active {
		return pgerr.New(pgerr.WrongState, "cannot change the kind of a sequence").
			WithDetail("The node %s.", cluster.Phrase(n.State)).
			WithHint("Call bdr.alter_sequence_set_kind() on an active node.")
	}
	settled := func(s cluster.State) bool { return s == cluster.Active || s == cluster.Parted }
	if n, found := members.First(0, func(s cluster.State) bool { return !settled(s) }); found {
		return pgerr.New(pgerr.WrongState, "cannot change the kind of a sequence").
			WithDetail("Node %q %s.", n.Name, cluster.Phrase(n.State)).
			WithHint("Wait until that is complete.")
	}
	return nil
}

// applySwitch carries a change of a kind out. It is refused when somebody has come
// meanwhile who has not stopped.
func applySwitch(s State, members cluster.Cluster, cmd Command) (State, Changes, string, *pgerr.Error) {
	w, known := s.Switch(cmd.ID)
	switch {
	case !known:
		return s, Changes{}, "", pgerr.New(pgerr.WrongState, "the change of the kind of a sequence was called off").WithHint("Try again.")
	case w.Done:
		return s, Changes{}, AnswerDone, nil
	}
	for _, n := range members.Nodes {
		if n.State != cluster.Parted && !slices.Contains(cmd.Nodes, n.ID) {
			return s, Changes{}, "", pgerr.New(pgerr.WrongState, "cannot change the kind of sequence %q", w.Title()).
				WithDetail("Node %q has begun to join.", n.Name).
				WithHint("Wait until that is complete.")
		}
	}
	start := cmd.Start
	for _, key := range cmd.OldKeys {
		if old, known := s.Key(key); known {
			start = max(start, old.UpTo+1)
		}
	}
	if w.Kind == Galloc && (start < 1 || start > ValueMax) {
		return s, Changes{}, "", errGallocStart(w, start)
	}
	return carryOut(s, cmd, w, start)
}

func errGallocStart(w catalog.SequenceSwitch, start int64) *pgerr.Error {
	return pgerr.New(pgerr.WrongState, "cannot change the kind of sequence %q to galloc", w.Title()).
		WithDetail("Its next value would be %d; those of galloc are between 1 and %d.", start, ValueMax)
}

// carryOut makes the change: chunks of an old key are nobody's any more, a new key
// begins anew.
func carryOut(s State, cmd Command, w catalog.SequenceSwitch, start int64) (State, Changes, string, *pgerr.Error) {
	var changes Changes
	var emptied []string
	forget := func(key string) {
		if k, known := s.Key(key); known && !slices.Contains(emptied, key) {
			changes.RemovedChunks = append(changes.RemovedChunks, k.Chunks...)
			emptied = append(emptied, key)
			k.Chunks = nil
			s = s.withKey(k)
		}
	}
	for _, key := range cmd.OldKeys {
		forget(key)
	}
	if w.Kind == Galloc {
		forget(cmd.Key)
		before, _ := s.Key(cmd.Key) // the size of chunks comes with the first request for one
		k := Key{SequenceAllocation: catalog.SequenceAllocation{Key: cmd.Key, ChunkSize: before.ChunkSize, UpTo: start - 1}}
		s = s.withKey(k)
		changes.Allocations = []catalog.SequenceAllocation{k.SequenceAllocation}
	}
	w.Done = true
	changes.Switches = []catalog.SequenceSwitch{w}
	changes.Switched = &catalog.SwitchedSequence{Switch: w, Key: cmd.Key, Start: start, Clock: cmd.Clock}
	return s.withSwitch(w), changes, AnswerDone, nil
}

// applyCancel calls a change of a kind off, unless it is done.
func applyCancel(s State, _ cluster.Cluster, cmd Command) (State, Changes, string, *pgerr.Error) {
	w, known := s.Switch(cmd.ID)
	switch {
	case !known:
		return s, Changes{}, "", nil
	case w.Done:
		return s, Changes{}, AnswerDone, nil
	}
	return s.withoutSwitch(cmd.ID), Changes{RemovedSwitches: []string{cmd.ID}}, "", nil
}

// After returns the value behind one.
func After(value int64) int64 {
	if value == math.MaxInt64 {
		return value
	}
	return value + 1
}
