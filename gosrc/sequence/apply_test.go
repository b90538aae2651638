package sequence

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/pgerr"
)

const (
	idA = "00000000-0000-4000-8000-00000000000a"
	idB = "00000000-0000-4000-8000-00000000000b"
)

// members makes a cluster of nodes with ids from 1, in these states.
func members(states ...cluster.State) cluster.Cluster {
	var c cluster.Cluster
	for i, s := range states {
		c = c.WithNode(catalog.Node{ID: uint32(i + 1), Name: string(rune('a' + i)), State: s})
	}
	return c
}

var three = members(cluster.Active, cluster.Active, cluster.Active)

func must(t *testing.T, s State, c cluster.Cluster, cmd Command) State {
	t.Helper()
	next, _, _, fault := Apply(s, c, cmd)
	if fault != nil {
		t.Fatalf("%s: %v", cmd.Encode(), fault)
	}
	return next
}

func allocate(node uint32, position int64) Command {
	return Command{Kind: Allocate, Node: node, Key: "public.s", Start: 1, Max: 32767, Size: 1000, Position: position, Time: 5}
}

func chunks(s State, node uint32) string {
	k, _ := s.Key("public.s")
	var list []string
	for _, c := range k.Chunks {
		if c.Node == node {
			list = append(list, fmt.Sprintf("%d-%d", c.First, c.Last))
		}
	}
	return strings.Join(list, " ")
}

func TestAllocate(t *testing.T) {
	s := must(t, State{}, three, allocate(1, 0))
	s = must(t, s, three, allocate(2, 0))
	if got := chunks(s, 1) + ", " + chunks(s, 2); got != "1-1000 1001-2000 2001-3000, 3001-4000 4001-5000 5001-6000" {
		t.Fatal(got)
	}
	s = must(t, s, three, allocate(1, 1000))
	if got := chunks(s, 1); got != "1001-2000 2001-3000 6001-7000" {
		t.Fatal(got)
	}
	k, _ := s.Key("public.s")
	want := catalog.SequenceAllocation{Key: "public.s", ChunkSize: 1000, UpTo: 7000, Allocs: 7, LastAlloc: 5}
	if k.SequenceAllocation != want {
		t.Errorf("got %+v", k.SequenceAllocation)
	}
	again, changes, answer, fault := Apply(s, three, allocate(1, 1000))
	if fault != nil || answer != "7000" || !reflect.DeepEqual(again, s) || !reflect.DeepEqual(changes, Changes{}) {
		t.Errorf("the second time: %+v, %v", changes, fault)
	}
	bigger := allocate(1, 2000)
	bigger.Max, bigger.Size = 1<<31-1, 1_000_000
	if s = must(t, s, three, bigger); chunks(s, 1) != "2001-3000 6001-7000 7001-1007000" {
		t.Errorf("after a change of the type: %s", chunks(s, 1))
	}
}

// A sequence that is new to the cluster may have been used by its creator.
func TestAllocateNewKeyStarts(t *testing.T) {
	cmd := allocate(1, 0)
	cmd.Start = 500
	if s := must(t, State{}, three, cmd); chunks(s, 1) != "500-1499 1500-2499 2500-3499" {
		t.Error(chunks(s, 1))
	}
	cmd.Position = 700
	if s := must(t, State{}, three, cmd); chunks(s, 1) != "701-1700 1701-2700 2701-3700" {
		t.Error(chunks(s, 1))
	}
}

// All values up to the maximum are given, none beyond it, and none before another
// node's was used.
func TestAllocateUpToTheMaximum(t *testing.T) {
	cmd := allocate(1, 0)
	cmd.Max = 4500
	s := must(t, State{}, three, cmd)
	cmd.Node = 2
	s = must(t, s, three, cmd)
	if chunks(s, 2) != "3001-4000 4001-4500" {
		t.Fatal(chunks(s, 2))
	}
	cmd.Node, cmd.Position = 1, 2999
	if s = must(t, s, three, cmd); chunks(s, 1) != "2001-3000" {
		t.Fatal(chunks(s, 1))
	}
	for _, position := range []int64{3000, 4500} {
		cmd.Position = position
		_, _, _, fault := Apply(s, three, cmd)
		if fault == nil || fault.Code != pgerr.SequenceLimit || !strings.Contains(fault.Message, "reached maximum value of sequence public.s (4500)") {
			t.Errorf("position %d: %v", position, fault)
		}
	}
	cmd.Position, cmd.Max = 3000, 5000 // ALTER SEQUENCE
	if s = must(t, s, three, cmd); chunks(s, 1) != "4501-5000" {
		t.Error(chunks(s, 1))
	}
	far := Command{Kind: Allocate, Node: 3, Key: "big", Start: ValueMax - 1, Max: 1<<63 - 1, Size: ChunkSizeMax}
	if k, _ := must(t, s, three, far).Key("big"); len(k.Chunks) != 1 || k.Chunks[0].Last != ValueMax {
		t.Errorf("got %+v", k)
	}
}

// What nodes had that have left is nobody's; it is never given again.
func TestAllocateForgetsNodesThatLeft(t *testing.T) {
	s := must(t, must(t, State{}, three, allocate(2, 0)), three, allocate(3, 0))
	left := members(cluster.Active, cluster.Parted)
	s = must(t, s, left, allocate(1, 0))
	if chunks(s, 1) != "6001-7000 7001-8000 8001-9000" || chunks(s, 2) != "" || chunks(s, 3) != "" {
		t.Errorf("%+v", s.Keys)
	}
	if _, _, _, fault := Apply(s, left, allocate(2, 0)); fault == nil || fault.Code != pgerr.WrongState {
		t.Errorf("a parted node gets values: %v", fault)
	}
}

func TestAdvance(t *testing.T) {
	s := must(t, must(t, State{}, three, allocate(1, 0)), three, allocate(2, 0))
	advance := func(to int64) Command {
		cmd := allocate(3, 0)
		cmd.Kind, cmd.To = Advance, to
		return cmd
	}
	next, changes, _, fault := Apply(s, three, advance(3500))
	if fault != nil || chunks(next, 1) != "" || chunks(next, 2) != "3501-4000 4001-5000 5001-6000" || changes.ChangedKey != "public.s" ||
		len(changes.RemovedChunks) != 4 || len(changes.Chunks) != 1 || len(changes.Allocations) != 0 {
		t.Errorf("%+v, %+v, %v", next.Keys, changes, fault)
	}
	if k, _ := next.Key("public.s"); !k.Beyond(3500) || k.Beyond(3501) {
		t.Error("which values are given to nobody any more")
	}
	next = must(t, next, three, advance(9000))
	if k, _ := next.Key("public.s"); k.UpTo != 9000 || len(k.Chunks) != 0 || !k.Beyond(9000) || k.Beyond(9001) {
		t.Errorf("%+v", next.Keys)
	}
	if next = must(t, next, three, advance(20)); chunks(must(t, next, three, allocate(1, 0)), 1) != "9001-10000 10001-11000 11001-12000" {
		t.Error("an older position counts again")
	}
	if k, _ := must(t, State{}, three, advance(42)).Key("public.s"); k.UpTo != 42 {
		t.Errorf("a new key is at %d", k.UpTo)
	}
	_, _, _, fault = Apply(s, three, advance(32768))
	if fault == nil || fault.Code != pgerr.InvalidParameter {
		t.Errorf("beyond the maximum: %v", fault)
	}
}

func begin(id, kind string) Command {
	return Command{Kind: Begin, Node: 1, Time: 1000, ID: id, Schema: "public", Name: "s", NewKind: kind}
}

func carryOutOn(id string, start int64, nodes ...uint32) Command {
	return Command{Kind: Switch, Node: 1, ID: id, Key: "public.s", Start: start, Nodes: nodes}
}

func TestSwitchToGalloc(t *testing.T) {
	s := must(t, State{}, three, begin(idA, Galloc))
	if p := s.Pending(); len(p) != 1 || p[0].Title() != "public.s" || p[0].Node != 1 || p[0].Started != 1000 {
		t.Fatalf("%+v", p)
	}
	next, changes, answer, fault := Apply(s, three, carryOutOn(idA, 71, 1, 2, 3))
	if fault != nil || answer != AnswerDone || len(next.Pending()) != 0 {
		t.Fatalf("%+v, %v", next, fault)
	}
	w, _ := next.Switch(idA)
	if want := (catalog.SwitchedSequence{Switch: w, Key: "public.s", Start: 71}); !w.Done || *changes.Switched != want {
		t.Errorf("%+v", changes.Switched)
	}
	again, changes, answer, fault := Apply(next, three, carryOutOn(idA, 71, 1, 2, 3))
	if fault != nil || answer != AnswerDone || !reflect.DeepEqual(again, next) || !reflect.DeepEqual(changes, Changes{}) {
		t.Errorf("the second time: %+v, %v", changes, fault)
	}
	if next = must(t, next, three, allocate(2, 0)); chunks(next, 2) != "71-1070 1071-2070 2071-3070" {
		t.Error(chunks(next, 2))
	}
	next = must(t, next, three, begin(idB, Galloc)) // once more, to set the start
	restart := carryOutOn(idB, 100, 1, 2, 3)
	restart.OldKeys = []string{"public.s"}
	if next = must(t, next, three, restart); chunks(next, 2) != "" || chunks(must(t, next, three, allocate(1, 0)), 1) != "3071-4070 4071-5070 5071-6070" {
		t.Errorf("%+v", next.Keys)
	}
}

// What a galloc sequence gave out counts as used: a node that has stopped may not
// know what it made.
func TestSwitchFromGalloc(t *testing.T) {
	s := must(t, must(t, State{}, three, allocate(1, 0)), three, begin(idA, Local))
	cmd := carryOutOn(idA, 17, 1, 2, 3)
	cmd.OldKeys, cmd.Key = []string{"public.s", "gone.t"}, "other.name"
	next, changes, _, fault := Apply(s, three, cmd)
	if fault != nil || changes.Switched.Start != 3001 || changes.Switched.Key != "other.name" || len(changes.RemovedChunks) != 3 || chunks(next, 1) != "" {
		t.Errorf("%+v, %v", changes, fault)
	}
	if k, known := next.Key("public.s"); !known || k.UpTo != 3000 {
		t.Error("the old key could be given out once more")
	}
}

func TestCancel(t *testing.T) {
	s := must(t, State{}, three, begin(idA, Galloc))
	next, changes, answer, fault := Apply(s, three, Command{Kind: Cancel, ID: idA})
	if fault != nil || answer != "" || !reflect.DeepEqual(changes, Changes{RemovedSwitches: []string{idA}}) || !next.Empty() {
		t.Errorf("%+v, %+v, %v", next, changes, fault)
	}
	if _, changes, _, fault := Apply(next, three, Command{Kind: Cancel, ID: idA}); fault != nil || !reflect.DeepEqual(changes, Changes{}) {
		t.Errorf("the second time: %v", fault)
	}
	done := must(t, s, three, carryOutOn(idA, 1, 1, 2, 3))
	kept, _, answer, fault := Apply(done, three, Command{Kind: Cancel, ID: idA})
	if fault != nil || answer != AnswerDone || !reflect.DeepEqual(kept, done) {
		t.Errorf("cancelled what is done: %q, %v", answer, fault)
	}
}

// Sessions may wait for a change that is done; later it is of no use to anybody.
func TestBeginForgetsOldSwitches(t *testing.T) {
	s := must(t, must(t, State{}, three, begin(idA, Local)), three, carryOutOn(idA, 1, 1, 2, 3))
	later := begin(idB, SnowflakeID)
	later.Time = 1000 + memory
	if s = must(t, s, three, later); len(s.Switches) != 2 {
		t.Errorf("%+v", s.Switches)
	}
	later.ID, later.Name, later.Time = "00000000-0000-4000-8000-00000000000c", "t", later.Time+1
	next, changes, _, fault := Apply(s, three, later)
	if fault != nil || !slices.Equal(changes.RemovedSwitches, []string{idA}) || len(next.Switches) != 2 {
		t.Errorf("%+v, %v", next.Switches, fault)
	}
}

func TestRefusals(t *testing.T) {
	pending := must(t, State{}, three, begin(idA, Galloc))
	given := must(t, State{}, three, allocate(1, 0))
	with := func(cmd Command, change func(*Command)) Command {
		change(&cmd)
		return cmd
	}
	tests := []struct {
		name    string
		state   State
		members cluster.Cluster
		command Command
		code    string
	}{
		{"unknown_command", State{}, three, Command{Kind: "sequence/future"}, pgerr.FeatureNotSupported},
		{"second_switch", pending, three, begin(idB, Local), pgerr.ObjectInUse},
		{"begin_while_one_joins", State{}, members(cluster.Active, cluster.JoinStart), begin(idA, Local), pgerr.WrongState},
		{"begin_while_one_parts", State{}, members(cluster.Active, cluster.Parting), begin(idA, Local), pgerr.WrongState},
		{"begin_by_a_joining_node", State{}, members(cluster.Joining, cluster.Active), begin(idA, Local), pgerr.WrongState},
		{"begin_by_a_stranger", State{}, members(), begin(idA, Local), pgerr.WrongState},
		{"switch_that_was_called_off", State{}, three, carryOutOn(idA, 1, 1, 2, 3), pgerr.WrongState},
		{"switch_while_one_joins", pending, members(cluster.Active, cluster.Active, cluster.Active, cluster.Joining), carryOutOn(idA, 1, 1, 2, 3), pgerr.WrongState},
		{"switch_after_one_has_joined", pending, members(cluster.Active, cluster.Active, cluster.Active, cluster.Active), carryOutOn(idA, 1, 1, 2, 3), pgerr.WrongState},
		{"switch_without_a_node", pending, three, carryOutOn(idA, 1, 1, 2), pgerr.WrongState},
		{"galloc_behind_its_maximum", pending, three, carryOutOn(idA, ValueMax+1, 1, 2, 3), pgerr.WrongState},
		{"galloc_below_one", pending, three, carryOutOn(idA, 0, 1, 2, 3), pgerr.WrongState},
		{"bad_id", State{}, three, begin("00000000-0000-4000-8000-00000000000A", Local), pgerr.InvalidParameter},
		{"bad_id_to_cancel", State{}, three, Command{Kind: Cancel, ID: "'"}, pgerr.InvalidParameter},
		{"bad_kind", State{}, three, begin(idA, "x"), pgerr.InvalidParameter},
		{"no_name", State{}, three, with(begin(idA, Local), func(c *Command) { c.Name = "" }), pgerr.InvalidParameter},
		{"long_name", State{}, three, with(begin(idA, Local), func(c *Command) { c.Schema = strings.Repeat("x", 64) }), pgerr.InvalidParameter},
		{"name_in_latin1", State{}, three, with(begin(idA, Local), func(c *Command) { c.Name = "\xe9" }), pgerr.FeatureNotSupported},
		{"zero_byte", given, three, with(allocate(1, 0), func(c *Command) { c.Key = "a\x00b" }), pgerr.InvalidParameter},
		{"no_key", given, three, with(allocate(1, 0), func(c *Command) { c.Key = "" }), pgerr.InvalidParameter},
		{"long_key", given, three, with(allocate(1, 0), func(c *Command) { c.Key = strings.Repeat("x", keyBytesMax+1) }), pgerr.InvalidParameter},
		{"no_size", given, three, with(allocate(1, 0), func(c *Command) { c.Size = 0 }), pgerr.InvalidParameter},
		{"large_size", given, three, with(allocate(1, 0), func(c *Command) { c.Size = ChunkSizeMax + 1 }), pgerr.InvalidParameter},
		{"negative_position", given, three, allocate(1, -1), pgerr.InvalidParameter},
		{"start_of_zero", given, three, with(allocate(1, 0), func(c *Command) { c.Start = 0 }), pgerr.InvalidParameter},
		{"maximum_before_start", given, three, with(allocate(1, 0), func(c *Command) { c.Max = 0 }), pgerr.InvalidParameter},
		{"negative_time", given, three, with(allocate(1, 0), func(c *Command) { c.Time = -1 }), pgerr.InvalidParameter},
		{"position_that_nobody_gave", given, three, allocate(2, 3001), pgerr.DataCorrupted},
		{"values_for_a_stranger", given, three, allocate(9, 0), pgerr.WrongState},
		{"advance_backwards", given, three, with(allocate(1, 0), func(c *Command) { c.Kind, c.To = Advance, -1 }), pgerr.InvalidParameter},
		{"clock_beyond_its_bits", pending, three, with(carryOutOn(idA, 1, 1, 2, 3), func(c *Command) { c.Clock = 1 << 42 }), pgerr.InvalidParameter},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, _ := json.Marshal(tt.state)
			next, changes, _, fault := Apply(tt.state, tt.members, tt.command)
			if fault == nil || fault.Code != tt.code {
				t.Fatalf("got %v, want SQLSTATE %s", fault, tt.code)
			}
			after, _ := json.Marshal(next)
			if string(before) != string(after) || !reflect.DeepEqual(changes, Changes{}) {
				t.Error("a refused command changed something")
			}
		})
	}
}

// world is what a random schedule has seen: who was given which values, when a
// key began anew, and what the tables hold that the changes were written to.
type world struct {
	t     *testing.T
	seed  uint64
	given map[string][]catalog.SequenceChunk
	rows  tables
}

type tables struct {
	allocations map[string]catalog.SequenceAllocation
	chunks      map[string]catalog.SequenceChunk
	switches    map[string]catalog.SequenceSwitch
}

func (r tables) write(t *testing.T, c Changes) {
	t.Helper()
	at := func(c catalog.SequenceChunk) string { return fmt.Sprint(c.Key, " ", c.First) }
	for _, c := range c.RemovedChunks {
		if r.chunks[at(c)] != c {
			t.Fatalf("chunk %+v is removed, the table has %+v", c, r.chunks[at(c)])
		}
		delete(r.chunks, at(c))
	}
	for _, id := range c.RemovedSwitches {
		delete(r.switches, id)
	}
	for _, a := range c.Allocations {
		r.allocations[a.Key] = a
	}
	for _, c := range c.Chunks {
		if _, taken := r.chunks[at(c)]; taken {
			t.Fatalf("chunk %+v is there already", c)
		}
		r.chunks[at(c)] = c
	}
	for _, w := range c.Switches {
		r.switches[w.ID] = w
	}
}

func (r tables) state() State {
	var allocations []catalog.SequenceAllocation
	var list []catalog.SequenceChunk
	var switches []catalog.SequenceSwitch
	for _, a := range r.allocations {
		allocations = append(allocations, a)
	}
	for _, c := range r.chunks {
		list = append(list, c)
	}
	for _, w := range r.switches {
		switches = append(switches, w)
	}
	return StateOf(allocations, list, switches)
}

// see checks that no value is given to a second node. Advance cuts chunks, which
// gives nothing to anybody.
func (w *world) see(cmd Command, changes Changes) {
	w.t.Helper()
	if cmd.Kind != Allocate {
		return
	}
	for _, c := range changes.Chunks {
		for _, other := range w.given[c.Key] {
			if c.First <= other.Last && other.First <= c.Last {
				w.t.Fatalf("seed %d: %+v overlaps %+v", w.seed, c, other)
			}
		}
		if c.First > c.Last || c.Last > cmd.Max || c.Node != cmd.Node {
			w.t.Fatalf("seed %d: %+v for %s", w.seed, c, cmd.Encode())
		}
		w.given[c.Key] = append(w.given[c.Key], c)
	}
}

// All nodes apply the same entries, maybe after a snapshot in between, and must end
// equal; the rows written must lead to the same state; and no value may be given to
// two nodes, whatever comes in which order, and twice.
func TestApplyIsDeterministic(t *testing.T) {
	for seed := range uint64(80) {
		random := rand.New(rand.NewPCG(seed, 7))
		w := &world{t: t, seed: seed, given: map[string][]catalog.SequenceChunk{}, rows: tables{
			map[string]catalog.SequenceAllocation{}, map[string]catalog.SequenceChunk{}, map[string]catalog.SequenceSwitch{}}}
		var a, b State
		var late []Command
		for step := range 200 {
			c := randomMembers(random)
			cmd := randomCommand(random, a)
			if len(late) > 0 && random.IntN(4) == 0 {
				cmd = late[random.IntN(len(late))] // a proposer asked twice
			}
			late = append(late, cmd)
			var decoded Command
			if err := json.Unmarshal(cmd.Encode(), &decoded); err != nil {
				t.Fatal(err)
			}
			nextA, changes, answerA, faultA := Apply(a, c, cmd)
			nextB, _, answerB, faultB := Apply(b, c, decoded)
			if answerA != answerB || !reflect.DeepEqual(faultA, faultB) || text(t, nextA) != text(t, nextB) {
				t.Fatalf("seed %d step %d: %s differs", seed, step, cmd.Encode())
			}
			w.see(cmd, changes)
			w.rows.write(t, changes)
			if text(t, w.rows.state()) != text(t, nextA) {
				t.Fatalf("seed %d step %d: %s: rows %s, state %s", seed, step, cmd.Encode(), text(t, w.rows.state()), text(t, nextA))
			}
			a, b = nextA, nextB
			if random.IntN(5) == 0 {
				b = State{}
				if err := json.Unmarshal([]byte(text(t, nextB)), &b); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func text(t *testing.T, s State) string {
	t.Helper()
	packed, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(packed)
}

func randomMembers(random *rand.Rand) cluster.Cluster {
	states := []cluster.State{cluster.Active, cluster.Active, cluster.Active}
	if random.IntN(8) == 0 {
		states[random.IntN(3)] = []cluster.State{cluster.Joining, cluster.Parting, cluster.Parted}[random.IntN(3)]
	}
	return members(states...)
}

// randomCommand is for one sequence that goes through its kinds, and another that
// stays galloc.
func randomCommand(random *rand.Rand, s State) Command {
	key := []string{"public.s", "public.t"}[random.IntN(2)]
	cmd := Command{Node: random.Uint32N(3) + 1, Time: random.Int64N(3*memory) + 1, Key: key, Start: 1, Max: 20_000, Size: random.Int64N(300) + 1}
	id := []string{idA, idB}[random.IntN(2)]
	switch random.IntN(12) {
	case 0:
		return Command{Kind: Begin, Node: cmd.Node, Time: cmd.Time, ID: id, Schema: "public", Name: "s", NewKind: []string{Local, Galloc}[random.IntN(2)]}
	case 1, 2:
		return Command{Kind: Switch, Node: cmd.Node, ID: id, Key: "public.s", Start: random.Int64N(50) + 1, OldKeys: []string{"public.s"}, Nodes: []uint32{1, 2, 3}}
	case 3:
		return Command{Kind: Cancel, ID: id}
	case 4:
		k, _ := s.Key(key)
		cmd.Kind, cmd.To = Advance, k.UpTo+random.Int64N(200)-100
		return cmd
	}
	cmd.Kind = Allocate
	if k, known := s.Key(key); known && len(k.Chunks) > 0 {
		c := k.Chunks[random.IntN(len(k.Chunks))]
		cmd.Node, cmd.Position = c.Node, c.First+random.Int64N(c.Last-c.First+1)
	}
	return cmd
}
