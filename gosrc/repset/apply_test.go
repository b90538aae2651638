package repset

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/pgerr"
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
		rows := rowsOf(s)
		next, changes, fault := Apply(s, members, cmd)
		if fault != nil {
			t.Fatalf("%+v: %v", cmd, fault)
		}
		if changes.Calls == nil {
			t.Fatalf("%+v was carried out before", cmd)
		}
		if written := StateOf(write(rows, changes)); !reflect.DeepEqual(written, next) {
			t.Fatalf("%+v wrote %+v, expected %+v", cmd, written, next)
		}
		s = next
	}
	return s
}

func rowsOf(s State) catalog.ReplicationSetRows {
	rows := catalog.ReplicationSetRows{Calls: s.ReplicationSetCalls}
	for _, set := range s.Sets {
		rows.Sets = append(rows.Sets, set.ReplicationSet)
		rows.Tables = append(rows.Tables, set.Tables...)
		rows.DDLFilters = append(rows.DDLFilters, set.DDLFilters...)
	}
	return rows
}

// write is what package statemachine does with changes.
func write(rows catalog.ReplicationSetRows, c Changes) catalog.ReplicationSetRows {
	keyed := map[string]catalog.ReplicationSetTable{}
	byID := map[uint32]catalog.ReplicationSet{}
	filters := map[string]catalog.DDLFilter{}
	key := func(r catalog.ReplicationSetTable) string { return fmt.Sprint(r.SetID, r.TableName) }
	for _, s := range append(rows.Sets, c.Sets...) {
		byID[s.ID] = s
	}
	for _, r := range rows.Tables {
		keyed[key(r)] = r
	}
	for _, r := range c.RemovedTables {
		delete(keyed, key(r))
	}
	for _, r := range c.Tables {
		keyed[key(r)] = r
	}
	for _, f := range append(rows.DDLFilters, c.DDLFilters...) {
		filters[f.Name] = f
	}
	delete(filters, c.RemovedFilter)
	for _, id := range c.RemovedSets {
		delete(byID, id)
	}
	after := catalog.ReplicationSetRows{Calls: *c.Calls}
	for _, s := range byID {
		after.Sets = append(after.Sets, s)
	}
	for _, r := range keyed {
		if _, has := byID[r.SetID]; has {
			after.Tables = append(after.Tables, r)
		}
	}
	for _, f := range filters {
		if _, has := byID[f.SetID]; has {
			after.DDLFilters = append(after.DDLFilters, f)
		}
	}
	return after
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

func filter(kind, set, name string, exclusive bool) Command {
	return Command{Kind: kind, Set: set, DDLFilter: catalog.DDLFilter{Name: name, Tag: "^CREATE", Query: "x", Exclusive: exclusive}}
}

// TestDDLFilters exists because which statements go with a set decides which schema a
// node has.
func TestDDLFilters(t *testing.T) {
	s := carried(t, State{}, create("one", false), create("other", true), filter(AddFilter, "one", "b", false), filter(AddFilter, "other", "c", true),
		filter(AddFilter, "one", "a", true))
	one, _ := s.Set("one")
	want := []catalog.DDLFilter{{SetID: one.ID, Name: "a", Tag: "^CREATE", Query: "x", Exclusive: true}, {SetID: one.ID, Name: "b", Tag: "^CREATE", Query: "x"}}
	if !reflect.DeepEqual(one.DDLFilters, want) {
		t.Errorf("filters are %+v", one.DDLFilters)
	}
	long := strings.Repeat("x", RegexpBytesMax+1)
	for _, refused := range []struct {
		cmd  Command
		code string
	}{
		{filter(AddFilter, "one", "c", false), pgerr.DuplicateObject}, // the other set's
		{filter(AddFilter, "none", "d", false), pgerr.UndefinedObject}, {filter(AddFilter, "g", "d", false), pgerr.WrongState},
		{filter(RemoveFilter, "one", "c", false), pgerr.UndefinedObject}, {filter(RemoveFilter, "g", "c", false), pgerr.WrongState},
		{filter(AddFilter, "one", "", false), pgerr.InvalidParameter}, {filter(AddFilter, "one", long[:64], false), pgerr.InvalidParameter},
		{filter(AddFilter, "one", "\xff", false), pgerr.FeatureNotSupported},
		{Command{Kind: AddFilter, Set: "one", DDLFilter: catalog.DDLFilter{Name: "d", Tag: long}}, pgerr.ConfigLimit},
		{Command{Kind: AddFilter, Set: "one", DDLFilter: catalog.DDLFilter{Name: "d", Role: long}}, pgerr.ConfigLimit},
		{Command{Kind: AddFilter, Set: "one", DDLFilter: catalog.DDLFilter{Name: "d", Query: "\xff"}}, pgerr.FeatureNotSupported},
	} {
		refused.cmd.ID = "refused"
		next, changes, fault := Apply(s, members, refused.cmd)
		if fault == nil || fault.Code != refused.code || !reflect.DeepEqual(next, s) || !reflect.DeepEqual(changes, Changes{}) {
			t.Errorf("%s of %.20q in %s: fault %v, changes %+v", refused.cmd.Kind, refused.cmd.DDLFilter.Name, refused.cmd.Set, fault, changes)
		}
	}
	s = carried(t, s, Command{Kind: Drop, Set: "other"}, filter(AddFilter, "one", "c", false), filter(RemoveFilter, "one", "a", false), filter(RemoveFilter, "one", "b", false),
		filter(RemoveFilter, "one", "c", false))
	if one, _ := s.Set("one"); one.DDLFilters != nil {
		t.Errorf("filters are left: %+v", one.DDLFilters)
	}
	for i := range DDLFiltersMax {
		cmd := filter(AddFilter, "one", fmt.Sprint(i), false)
		cmd.ID = fmt.Sprintf("filter %d", i)
		s = carried(t, s, cmd)
	}
	many := filter(AddFilter, "one", "many", false)
	many.ID = "many"
	if _, _, fault := Apply(s, members, many); fault == nil || fault.Code != pgerr.ConfigLimit {
		t.Errorf("one filter more: %v", fault)
	}
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
	for _, node := range []State{s, StateOf(rowsOf(s))} {
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
