package repset

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
)

var members = cluster.Cluster{Groups: []catalog.Group{{ID: 9, Name: "g"}}}

func flag(b bool) *bool { return &b }

func table(name string) catalog.TableName { return catalog.TableName{Schema: "public", Name: name} }

func create(name string, adds bool, tables ...catalog.TableName) Command {
	return Command{Kind: Create, Set: name, Insert: flag(true), Update: flag(true), Delete: flag(true), Truncate: flag(true), AutoAdd: flag(adds), Tables: tables}
}

// carried carries commands out, each as a call of its own if it has no id, and requires
// that the tables written by the changes are the state: after a restart nothing else is
// left, and nodes of which one was restarted must go on alike.
func carried(t *testing.T, s State, commands ...Command) State {
	t.Helper()
	for i, cmd := range commands {
		if cmd.ID == "" {
			cmd.ID = fmt.Sprintf("%d/%d", len(s.Calls), i)
		}
		sets, tables := rowsOf(s)
		next, changes, fault := Apply(s, members, cmd)
		if fault != nil {
			t.Fatalf("%+v: %v", cmd, fault)
		}
		if changes.Calls == nil {
			t.Fatalf("%+v was carried out before", cmd)
		}
		sets, tables = write(sets, tables, changes)
		if written := StateOf(*changes.Calls, sets, tables); !reflect.DeepEqual(written, next) {
			t.Fatalf("%+v wrote %+v, expected %+v", cmd, written, next)
		}
		s = next
	}
	return s
}

func rowsOf(s State) (sets []catalog.ReplicationSet, tables []catalog.ReplicationSetTable) {
	for _, set := range s.Sets {
		sets, tables = append(sets, set.ReplicationSet), append(tables, set.Tables...)
	}
	return sets, tables
}

// write is what package statemachine does with changes.
func write(sets []catalog.ReplicationSet, tables []catalog.ReplicationSetTable, c Changes) ([]catalog.ReplicationSet, []catalog.ReplicationSetTable) {
	keyed := map[string]catalog.ReplicationSetTable{}
	byID := map[uint32]catalog.ReplicationSet{}
	key := func(r catalog.ReplicationSetTable) string { return fmt.Sprint(r.SetID, r.TableName) }
	for _, s := range append(sets, c.Sets...) {
		byID[s.ID] = s
	}
	for _, r := range tables {
		keyed[key(r)] = r
	}
	for _, r := range c.RemovedTables {
		delete(keyed, key(r))
	}
	for _, r := range c.Tables {
		keyed[key(r)] = r
	}
	for _, id := range c.RemovedSets {
		delete(byID, id)
	}
	sets, tables = nil, nil
	for _, s := range byID {
		sets = append(sets, s)
	}
	for _, r := range keyed {
		if _, has := byID[r.SetID]; has {
			tables = append(tables, r)
		}
	}
	return sets, tables
}

// TestMembership exists because which tables are in a set decides where rows go.
func TestMembership(t *testing.T) {
	s := carried(t, State{}, create("plain", false), create("adds", true), create("future", true, table("old")),
		Command{Kind: Add, Set: "plain", Table: table("a"), Columns: []string{"id"}, Filter: "id > 1"},
		Command{Kind: Remove, Set: "adds", Table: table("out")}, Command{Kind: Add, Set: "future", Table: table("old")})
	has := func(set, name string) bool { x, _ := s.Set(set); return x.Has(table(name)) }
	for _, c := range []struct {
		set, table string
		want       bool
	}{{"plain", "a", true}, {"plain", "b", false}, {"adds", "a", true}, {"adds", "out", false}, {"future", "old", true}, {"future", "new", true}} {
		if got := has(c.set, c.table); got != c.want {
			t.Errorf("table %s in set %s: %v", c.table, c.set, got)
		}
	}
	plain, _ := s.Set("plain")
	if row, _ := plain.Table(table("a")); row.Filter != "id > 1" || !reflect.DeepEqual(row.Columns, []string{"id"}) {
		t.Errorf("table a is %+v", row)
	}

	// A rule that changes is for tables to come.
	s = carried(t, s, Command{Kind: Alter, Set: "plain", AutoAdd: flag(true), Delete: flag(false), Tables: []catalog.TableName{table("a"), table("b")}},
		Command{Kind: Alter, Set: "adds", AutoAdd: flag(false), Tables: []catalog.TableName{table("a"), table("out")}})
	if !has("plain", "a") || has("plain", "b") || !has("plain", "c") || !has("adds", "a") || has("adds", "out") || has("adds", "c") {
		t.Errorf("after the rules have changed: %+v", s)
	}
	if plain, _ := s.Set("plain"); plain.Delete || !plain.Insert {
		t.Errorf("set is %+v", plain.ReplicationSet)
	}

	// One that is there by the rule can be given a filter; ids are never given again.
	s = carried(t, s, Command{Kind: Drop, Set: "future"}, create("again", true), Command{Kind: Add, Set: "again", Table: table("a"), Filter: "true"},
		Command{Kind: Remove, Set: "plain", Table: table("a")}, Command{Kind: Remove, Set: "adds", Table: table("a")})
	if has("plain", "a") || has("adds", "a") || !has("again", "a") {
		t.Errorf("after tables have gone: %+v", s)
	}
	seen := map[uint32]bool{}
	for _, set := range s.Sets {
		if seen[set.ID] {
			t.Errorf("two sets have id %d", set.ID)
		}
		seen[set.ID] = true
	}
}

// TestRefusals exists because what is refused on one node must change nothing on any.
func TestRefusals(t *testing.T) {
	s := carried(t, State{}, create("s", false), Command{Kind: Add, Set: "s", Table: table("a")}, create("adds", true),
		Command{Kind: Create, Set: "once", Insert: flag(true)}, Command{Kind: Add, Set: "once", Table: table("a"), Filter: "v > 1", Outside: "v"})
	long := strings.Repeat("x", nameBytesMax+1)
	for _, cmd := range []Command{
		create("s", true), create("g", false), create("", false), create(long, false), create("\xff", false), create("a\u2028b", false),
		create("t", true, table(long)), create("t", true, make([]catalog.TableName, TablesMax+1)...),
		{Kind: "repset/other", Set: "s"}, {Kind: Alter, Set: "none"}, {Kind: Alter, Set: "g"}, {Kind: Drop, Set: "none"}, {Kind: Drop, Set: "g"},
		{Kind: Add, Set: "s", Table: table("a")}, {Kind: Add, Set: "adds", Table: table("a")}, {Kind: Add, Set: "g", Table: table("a")},
		{Kind: Add, Set: "s", Table: table("")}, {Kind: Add, Set: "s", Table: table("b"), Columns: []string{""}},
		{Kind: Add, Set: "s", Table: table("b"), Columns: strings.Split(strings.Repeat(long[1:]+",", 60)+"x", ",")},
		{Kind: Add, Set: "s", Table: table("b"), Filter: strings.Repeat("x", FilterBytesMax+1)}, {Kind: Add, Set: "s", Table: table("b"), Filter: "\xff"},
		{Kind: Add, Set: "s", Table: table("b"), Filter: "v > 1", Outside: "v"}, {Kind: Add, Set: "s", Table: table("b"), Filter: "v > 1", Outside: long},
		{Kind: Alter, Set: "once", Update: flag(true)}, {Kind: Alter, Set: "once", Delete: flag(true)},
		{Kind: Remove, Set: "s", Table: table("b")}, {Kind: Remove, Set: "none", Table: table("a")}, {Kind: Remove, Set: "g", Table: table("a")},
		{Kind: Drop, Set: "s", ID: long + "xx"}, {Kind: Drop, Set: "s", ID: "\u2028"},
	} {
		if cmd.ID == "" {
			cmd.ID = "refused"
		}
		next, changes, fault := Apply(s, members, cmd)
		if fault == nil || !reflect.DeepEqual(next, s) || !reflect.DeepEqual(changes, Changes{}) {
			t.Errorf("%s of %.20q: fault %v, changes %+v", cmd.Kind, cmd.Set, fault, changes)
		}
	}
	if _, _, fault := Apply(s, members, Command{Kind: Drop, Set: "s"}); fault == nil {
		t.Error("a call without an id is carried out")
	}
	carried(t, s, Command{Kind: Remove, Set: "once", Table: table("a")}, Command{Kind: Alter, Set: "once", Update: flag(true)})
}

// TestTwice exists because the log may bring a call twice, of which the user made one.
func TestTwice(t *testing.T) {
	cmd := create("s", false)
	cmd.ID = "call"
	s := carried(t, State{}, cmd)
	again, changes, fault := Apply(s, members, cmd)
	if fault != nil || !reflect.DeepEqual(again, s) || !reflect.DeepEqual(changes, Changes{}) {
		t.Errorf("the second time: %v, %+v", fault, changes)
	}
	if !s.Carried("call") || s.Carried("other") || s.Carried("") {
		t.Error("a call is not known")
	}
	// The set is dropped by somebody else, and then the log brings the call again, to a
	// node that was restarted and to one that was not.
	s = carried(t, s, Command{Kind: Drop, Set: "s", ID: "other's"})
	sets, tables := rowsOf(s)
	for _, node := range []State{s, StateOf(s.ReplicationSetCalls, sets, tables)} {
		if again, _, fault := Apply(node, members, cmd); fault != nil || len(again.Sets) != 0 {
			t.Errorf("a dropped set is there again: %v, %+v", fault, again)
		}
	}
	if s.Empty() {
		t.Error("nothing was ever agreed on")
	}
	s = carried(t, s, create("s", false))
	for i := range 2 * callsMax {
		s = carried(t, s, Command{Kind: Alter, Set: "s", ID: fmt.Sprint(i)})
	}
	if len(s.Calls) != callsMax {
		t.Errorf("%d calls are kept in mind", len(s.Calls))
	}
	text, err := json.Marshal(s)
	var read State
	if err != nil || json.Unmarshal(text, &read) != nil || !reflect.DeepEqual(read, s) {
		t.Errorf("a snapshot is %s, %v", text, err)
	}
}
