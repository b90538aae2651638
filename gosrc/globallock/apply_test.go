package globallock

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
	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
)

var (
	seven   = catalog.GlobalLockKey{Type: catalog.GlobalLockAdvisory, Key2: 7, Bigint: true}
	members = membersOf(map[uint32]cluster.State{1: cluster.Active, 2: cluster.Active, 3: cluster.Parted, 4: cluster.Catchup, 5: cluster.PartStart})
)

func membersOf(states map[uint32]cluster.State) cluster.Cluster {
	var c cluster.Cluster
	for id, state := range states {
		c = c.WithNode(catalog.Node{ID: id, Name: fmt.Sprint("n", id), State: state})
	}
	return c
}

func acquire(node uint32, id string, at int64) Command {
	return Command{Kind: Acquire, Node: node, Time: at, ID: id, Type: seven.Type, Key2: seven.Key2, Bigint: true, PID: 10, LocalRequest: at}
}

func release(node uint32, at int64, ids ...string) Command {
	return Command{Kind: Release, Node: node, Time: at, IDs: ids}
}

// apply requires that a command is carried out, and that what it writes is what changes.
func apply(t *testing.T, s State, cmd Command) (State, Touched) {
	t.Helper()
	before := slices.Clone(s.Locks)
	next, changes, fault := Apply(s, members, cmd)
	if fault != nil {
		t.Fatal(fault)
	}
	if !reflect.DeepEqual(before, slices.Clone(s.Locks)) {
		t.Fatal("the state that was given was changed")
	}
	rows := map[string]catalog.GlobalLock{}
	for _, l := range s.Locks {
		rows[l.ID] = l
	}
	for _, id := range changes.Removed {
		delete(rows, id)
	}
	for _, l := range changes.Written {
		rows[l.ID] = l
	}
	if len(rows) != len(next.Locks) {
		t.Errorf("%d rows of %d locks", len(rows), len(next.Locks))
	}
	for _, l := range next.Locks {
		if rows[l.ID] != l {
			t.Errorf("row %+v of %+v", rows[l.ID], l)
		}
	}
	if changes.Last != 0 && changes.Last != next.Last || changes.Last == 0 && s.Last != next.Last {
		t.Errorf("place %d of %d", changes.Last, next.Last)
	}
	return next, changes
}

// Whoever comes first has the lock, and the next one gets it, with the time at which
// that was.
func TestTurns(t *testing.T) {
	var s State
	if !s.Empty() {
		t.Error("nothing is not empty")
	}
	s, _ = apply(t, s, acquire(1, "a", 5))
	s, _ = apply(t, s, acquire(2, "b", 6))
	other := acquire(2, "c", 7)
	other.Bigint = false
	s, _ = apply(t, s, other)
	s, _ = apply(t, s, acquire(2, "b", 8)) // once more
	if holder, _ := s.Holder(seven); holder.ID != "a" || holder.Changed != 5 || len(s.Locks) != 3 {
		t.Fatalf("%+v", s)
	}
	if s, changes := apply(t, s, release(2, 9, "a")); len(s.Locks) != 3 || len(changes.Removed) != 0 {
		t.Error("a node gives back what another one has")
	}
	s, _ = apply(t, s, release(1, 9, "a", "f"))
	if holder, _ := s.Holder(seven); holder.ID != "b" || holder.Changed != 9 || holder.Request != 6 {
		t.Errorf("%+v", s)
	}
	s, _ = apply(t, s, release(2, 10, "b", "c"))
	if _, taken := s.Holder(seven); taken || s.Empty() {
		t.Error("the log has commands that older nodes do not know")
	}
	if _, known := s.Find("b"); known {
		t.Error("b is still there")
	}
}

// Nodes that are not active get no locks, and what a parted node has, others may take.
func TestNodes(t *testing.T) {
	for node, want := range map[uint32]string{3: "has been parted", 4: "is joining", 5: "is being parted", 6: "is not a member"} {
		next, changes, fault := Apply(State{}, members, acquire(node, "a", 5))
		if fault == nil || fault.Code != pgerr.WrongState || !strings.Contains(fault.Detail, want) || !next.Empty() || !reflect.DeepEqual(changes, Touched{}) {
			t.Errorf("node %d: %v", node, fault)
		}
	}
	s := State{Last: 3, Locks: []catalog.GlobalLock{{ID: "a", Node: 3, GlobalLockKey: seven}, {ID: "b", Node: 9, GlobalLockKey: seven}, {ID: "c", Node: 5, GlobalLockKey: seven}}}
	s, _ = apply(t, s, release(1, 9, "a", "b", "c"))
	if holder, _ := s.Holder(seven); len(s.Locks) != 1 || holder.ID != "c" {
		t.Errorf("%+v", s)
	}
}

// A node that forgets to give locks back must not fill the memory of all.
func TestLimit(t *testing.T) {
	s := State{Last: LocksMax}
	for i := range LocksMax {
		s.Locks = append(s.Locks, catalog.GlobalLock{ID: fmt.Sprint("f", i), Node: 1})
	}
	if _, _, fault := Apply(s, members, acquire(1, "a", 5)); fault == nil || fault.Code != pgerr.ConfigLimit {
		t.Errorf("one more: %v", fault)
	}
	s, _ = apply(t, s, acquire(2, "a", 5))
	if len(s.Locks) != LocksMax+1 {
		t.Error("another node may have some, too")
	}
}

// What the tables do not take must not get into the log.
func TestCommandsAreChecked(t *testing.T) {
	for name, spoil := range map[string]func(*Command){
		"kind":  func(c *Command) { c.Kind = Prefix + "/other" },
		"id":    func(c *Command) { c.ID = "A'" },
		"no id": func(c *Command) { c.ID = "" },
		"long":  func(c *Command) { c.ID = strings.Repeat("a", idBytesMax+1) },
		"type":  func(c *Command) { c.Type = "other" },
		"pid":   func(c *Command) { c.PID = 1 << 31 },
		"time":  func(c *Command) { c.Time = -1 },
		"late":  func(c *Command) { c.LocalRequest = timeMax + 1 },
		"ids":   func(c *Command) { c.Kind, c.IDs = Release, []string{"a", "b c"} },
		"many":  func(c *Command) { c.Kind, c.IDs = Release, make([]string, IDsMax+1) },
	} {
		cmd := acquire(1, "a1-2", 5)
		spoil(&cmd)
		if cmd.Check() == nil {
			t.Errorf("%s: %+v is taken", name, cmd)
		}
		if _, _, fault := Apply(State{}, members, cmd); fault == nil {
			t.Errorf("%s: %+v is carried out", name, cmd)
		}
	}
	if fault := acquire(1, "a1-2", 5).Check(); fault != nil {
		t.Error(fault)
	}
	var back Command
	cmd := acquire(1, "a1-2", 5)
	if err := json.Unmarshal(cmd.Encode(), &back); err != nil || !reflect.DeepEqual(back, cmd) {
		t.Errorf("%+v is read as %+v: %v", cmd, back, err)
	}
	if !Knows(Acquire) || !Knows(Release) || Knows(Prefix+"/other") {
		t.Error("kinds")
	}
}

// Whatever happens in whatever order, a lock goes to who asked first, and stays until it
// is given back.
func TestRandomOrders(t *testing.T) {
	random := rand.New(rand.NewPCG(15, 17))
	for range 300 {
		var s State
		var queue []string
		for i := range 60 {
			if random.IntN(2) == 0 || len(queue) == 0 {
				id := fmt.Sprintf("%x", i)
				s, _ = apply(t, s, acquire(uint32(1+random.IntN(2)), id, int64(i)))
				queue = append(queue, id)
			} else {
				at := random.IntN(len(queue))
				l, _ := s.Find(queue[at])
				s, _ = apply(t, s, release(l.Node, int64(i), l.ID))
				queue = slices.Delete(queue, at, at+1)
			}
			holder, taken := s.Holder(seven)
			if taken != (len(queue) > 0) || taken && holder.ID != queue[0] {
				t.Fatalf("%+v has the lock, expected of %v", holder, queue)
			}
		}
	}
}

// Who gets the DDL lock learns up to where the others used it. What a node that is
// gone had is up to nobody else.
func TestPositions(t *testing.T) {
	ddl := func(node uint32, id string) Command {
		return Command{Kind: Acquire, Node: node, Time: 5, ID: id, Type: catalog.GlobalLockDDL, PID: 10, LocalRequest: 5}
	}
	giveBack := func(node uint32, position lsn.LSN, ids ...string) Command {
		cmd := release(node, 9, ids...)
		cmd.Position = position
		return cmd
	}
	var s State
	s, _ = apply(t, s, ddl(2, "a"))
	s, _ = apply(t, s, ddl(1, "b"))
	s, _ = apply(t, s, acquire(1, "c", 6))
	s, changes := apply(t, s, giveBack(2, 70, "a"))
	if want := []catalog.GlobalLockPosition{{Node: 2, Position: 70}}; !slices.Equal(s.Positions, want) || !slices.Equal(changes.Positions, want) {
		t.Errorf("%+v, %+v", s.Positions, changes.Positions)
	}
	s, changes = apply(t, s, giveBack(1, 50, "c"))
	if len(s.Positions) != 1 || changes.Positions != nil {
		t.Errorf("an advisory lock has a position: %+v", s.Positions)
	}
	before := s
	s, _ = apply(t, s, giveBack(1, 50, "b"))
	if want := []catalog.GlobalLockPosition{{Node: 1, Position: 50}, {Node: 2, Position: 70}}; !slices.Equal(s.Positions, want) || len(before.Positions) != 1 {
		t.Errorf("%+v, %+v", s.Positions, before.Positions)
	}
	s, _ = apply(t, s, ddl(1, "d"))
	s, changes = apply(t, s, giveBack(1, 40, "d"))
	if s.Positions[0].Position != 50 || changes.Positions != nil {
		t.Errorf("WAL goes back: %+v", s.Positions)
	}
	s.Locks = []catalog.GlobalLock{{ID: "e", Node: 3, GlobalLockKey: catalog.GlobalLockKey{Type: catalog.GlobalLockDDL}}}
	if s, _ = apply(t, s, giveBack(1, 90, "e")); len(s.Locks) != 0 || len(s.Positions) != 2 || s.Positions[0].Position != 50 {
		t.Errorf("%+v", s)
	}
}

// Nodes are ready for a lock as long as it is there, and each says so once.
func TestReadyNodes(t *testing.T) {
	table := Command{Kind: Acquire, Node: 1, Time: 5, ID: "a", Type: catalog.GlobalLockDML, Schema: "s", Table: "t", PID: 10, LocalRequest: 5, Position: 7}
	ready := func(node uint32, id string, position lsn.LSN) Command {
		return Command{Kind: Ready, Node: node, Time: 6, ID: id, Position: position}
	}
	var s State
	s, _ = apply(t, s, table)
	s, _ = apply(t, s, acquire(2, "d", 6))
	if s.Locks[0].Position != 7 || s.Locks[1].Position != 0 {
		t.Errorf("%+v", s.Locks)
	}
	group := membersOf(map[uint32]cluster.State{1: cluster.Active, 2: cluster.Active, 3: cluster.Standby, 4: cluster.Catchup, 5: cluster.Parted})
	missing := func() (ids []uint32) {
		for _, n := range s.Missing("a", group, 1) {
			ids = append(ids, n.ID)
		}
		return ids
	}
	if got := missing(); !slices.Equal(got, []uint32{2, 3}) {
		t.Errorf("%v are waited for", got)
	}
	before := s
	s, changes := apply(t, s, ready(3, "a", 30))
	s, _ = apply(t, s, ready(2, "a", 20))
	if want := []catalog.GlobalLockReady{{ID: "a", Node: 3, Position: 30}}; !slices.Equal(changes.Ready, want) || len(before.Ready) != 0 {
		t.Errorf("%+v", changes)
	}
	for _, cmd := range []Command{ready(2, "a", 99), ready(2, "d", 1), ready(2, "f", 1)} {
		if next, changes := apply(t, s, cmd); len(changes.Ready) != 0 || len(next.Ready) != 2 {
			t.Errorf("%+v: %+v", cmd, changes)
		}
	}
	if r, _ := s.IsReady("a", 2); len(missing()) != 0 || r.Position != 20 {
		t.Errorf("%+v", s.Ready)
	}
	with := s
	s, changes = apply(t, s, Command{Kind: Release, Node: 1, Time: 9, IDs: []string{"a"}, Position: 60})
	if len(s.Ready) != 0 || len(with.Ready) != 2 || len(changes.Positions) != 1 || changes.Positions[0].Position != 60 {
		t.Errorf("%+v, %+v", s, changes)
	}
	for name, spoil := range map[string]func(*Command){"no table": func(c *Command) { c.Table = "" }, "no schema": func(c *Command) { c.Schema = "" },
		"long": func(c *Command) { c.Table = strings.Repeat("a", 64) }, "bytes": func(c *Command) { c.Schema = "\xff" }, "key": func(c *Command) { c.Key1 = 1 },
		"advisory": func(c *Command) { c.Type = catalog.GlobalLockAdvisory }, "zero": func(c *Command) { c.Table = "a\x00" }} {
		cmd := table
		if spoil(&cmd); cmd.Check() == nil {
			t.Errorf("%s: %+v is taken", name, cmd)
		}
	}
	if ready(2, "A'", 1).Check() == nil || !Knows(Ready) {
		t.Error("kinds")
	}
}

func TestTitle(t *testing.T) {
	for want, key := range map[string]catalog.GlobalLockKey{
		"7": seven, "-1": {Key1: -1, Key2: -1, Bigint: true}, "(-1, 2)": {Key1: -1, Key2: 2}, "-9223372036854775808": {Key1: -1 << 31, Bigint: true},
		"4294967295": {Key2: -1, Bigint: true},
	} {
		if got := Title(key); got != "global advisory lock "+want {
			t.Errorf("%+v is %s, expected %s", key, got, want)
		}
	}
}

// Positions travel with statements as text.
func TestEncodePositions(t *testing.T) {
	list := []catalog.GlobalLockPosition{{Node: 1, Position: 5}, {Node: 1<<32 - 1, Position: 1 << 40}}
	text := EncodePositions(list)
	if got, err := DecodePositions(text); err != nil || !slices.Equal(got, list) || text != "1 0/5,4294967295 100/0" {
		t.Errorf("%q: %v, %v", text, got, err)
	}
	for _, bad := range []string{"", "1", "1 0", "x 0/1", "1 0/1,", "4294967296 0/1"} {
		if got, err := DecodePositions(bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
	if EncodePositions(nil) != "" {
		t.Error("nothing is something")
	}
}
