package repset

import (
	"slices"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/pgerr"
)

// Apply says what the state is after the command. It reads only its arguments, so
// that every node reaches the same answer. A refused command changes nothing and
// returns an error for the proposer. A call that was carried out before succeeds
// again: a proposer may not have got its answer.
func Apply(s State, members cluster.Cluster, cmd Command) (State, Changes, *pgerr.Error) {
	if fault := cmd.Check(); fault != nil {
		return s, Changes{}, fault
	}
	if s.Carried(cmd.ID) {
		return s, Changes{}, nil
	}
	if cmd.Set == Default(members) {
		return s, Changes{}, errDefault(cmd)
	}
	next, changes, fault := apply(s, cmd)
	if fault != nil {
		return s, Changes{}, fault
	}
	next = next.noted(cmd.ID)
	changes.Calls = &next.ReplicationSetCalls
	return next, changes, nil
}

func apply(s State, cmd Command) (State, Changes, *pgerr.Error) {
	if cmd.Kind == Create {
		return applyCreate(s, cmd)
	}
	t, known := s.Set(cmd.Set)
	if !known {
		return s, Changes{}, ErrUnknown(cmd.Set)
	}
	switch cmd.Kind {
	case Alter:
		return applyAlter(s, t, cmd)
	case Drop:
		return s.without(t.Name), Changes{RemovedSets: []uint32{t.ID}}, nil
	case Add:
		return applyAdd(s, t, cmd)
	case Remove:
		return applyRemove(s, t, cmd)
	case AddFilter:
		return applyAddFilter(s, t, cmd.DDLFilter)
	default:
		return applyRemoveFilter(s, t, cmd.DDLFilter.Name)
	}
}

// errDefault: what a node that has chosen no sets sends and gets is everything.
func errDefault(cmd Command) *pgerr.Error {
	switch cmd.Kind {
	case Create:
		return pgerr.New(pgerr.DuplicateObject, "replication set %q exists already", cmd.Set).
			WithDetail("It is the default set, which has the name of the group.")
	case Add:
		return pgerr.New(pgerr.WrongState, "cannot add a table to replication set %q", cmd.Set).
			WithDetail("It is the default set, and every table is in it.").
			WithHint("Make a set with bdr.create_replication_set() and add the table to it.")
	case AddFilter, RemoveFilter:
		return pgerr.New(pgerr.WrongState, "replication set %q has no DDL filters", cmd.Set).
			WithDetail("It is the default set, and every statement goes with it that no exclusive filter keeps from that.").
			WithHint("Make a set with bdr.create_replication_set() and add the filter to it.")
	}
	return pgerr.New(pgerr.WrongState, "cannot change replication set %q", cmd.Set).
		WithDetail("It is the default set, and every table is in it.").
		WithHint("Make a set with bdr.create_replication_set(), and choose it with bdr.alter_node_replication_sets().")
}

// ErrUnknown is for a set that there is not.
func ErrUnknown(name string) *pgerr.Error {
	return pgerr.New(pgerr.UndefinedObject, "replication set %q does not exist", name).WithHint("bdr.replication_sets lists them.")
}

func applyCreate(s State, cmd Command) (State, Changes, *pgerr.Error) {
	if _, known := s.Set(cmd.Set); known {
		return s, Changes{}, pgerr.New(pgerr.DuplicateObject, "replication set %q exists already", cmd.Set)
	}
	if len(s.Sets) >= SetsMax {
		return s, Changes{}, pgerr.New(pgerr.ConfigLimit, "there are %d replication sets already", len(s.Sets))
	}
	s.LastID++
	t := Set{ReplicationSet: altered(catalog.ReplicationSet{ID: s.LastID, Name: cmd.Set}, cmd)}
	changes := Changes{Sets: []catalog.ReplicationSet{t.ReplicationSet}}
	t, changes.Tables = t.keeping(cmd.Tables, false)
	return s.with(t), changes, nil
}

func applyAlter(s State, t Set, cmd Command) (State, Changes, *pgerr.Error) {
	var changes Changes
	before := t.AutoAdd
	t.ReplicationSet = altered(t.ReplicationSet, cmd)
	for _, row := range t.Tables {
		if fault := t.checkFilter(row); fault != nil {
			return s, Changes{}, fault
		}
	}
	if t.AutoAdd != before {
		t, changes.Tables = t.keeping(cmd.Tables, before)
	}
	changes.Sets = []catalog.ReplicationSet{t.ReplicationSet}
	return s.with(t), changes, nil
}

func altered(t catalog.ReplicationSet, cmd Command) catalog.ReplicationSet {
	for _, change := range []struct {
		to   *bool
		what *bool
	}{{cmd.Insert, &t.Insert}, {cmd.Update, &t.Update}, {cmd.Delete, &t.Delete}, {cmd.Truncate, &t.Truncate}, {cmd.AutoAdd, &t.AutoAdd}} {
		if change.to != nil {
			*change.what = *change.to
		}
	}
	return t
}

// keeping says of tables, of which nothing is said, that they are members or that
// they are not.
func (t Set) keeping(tables []catalog.TableName, member bool) (Set, []catalog.ReplicationSetTable) {
	var rows []catalog.ReplicationSetTable
	for _, name := range tables {
		if _, known := t.Table(name); !known {
			rows = append(rows, catalog.ReplicationSetTable{SetID: t.ID, TableName: name, Member: member})
		}
	}
	slices.SortFunc(rows, byName)
	rows = slices.CompactFunc(rows, func(a, b catalog.ReplicationSetTable) bool { return a.TableName == b.TableName })
	t.Tables = append(slices.Clone(t.Tables), rows...)
	slices.SortFunc(t.Tables, byName)
	return t, rows
}

// applyAdd also takes what a set that adds tables by itself has, to give it a list of
// columns or a filter.
func applyAdd(s State, t Set, cmd Command) (State, Changes, *pgerr.Error) {
	row, known := t.Table(cmd.Table)
	if known && row.Member || !known && t.AutoAdd && cmd.Columns == nil && cmd.Filter == "" {
		return s, Changes{}, pgerr.New(pgerr.DuplicateObject, "table %q is in replication set %q already", cmd.Table.Title(), t.Name).
			WithHint("To change its columns or its filter, remove it from the set and add it again.")
	}
	row = catalog.ReplicationSetTable{SetID: t.ID, TableName: cmd.Table, Member: true, Columns: cmd.Columns, Filter: cmd.Filter, Outside: cmd.Outside}
	if fault := t.checkFilter(row); fault != nil {
		return s, Changes{}, fault
	}
	return s.with(t.with(row)), Changes{Tables: []catalog.ReplicationSetTable{row}}, nil
}

// checkFilter refuses a filter that cannot be told for the old rows of what the set
// replicates.
func (t Set) checkFilter(row catalog.ReplicationSetTable) *pgerr.Error {
	if row.Outside == "" || !t.Update && !t.Delete {
		return nil
	}
	return pgerr.New(pgerr.WrongState, "the row filter of table %q needs columns that its replica identity does not have", row.TableName.Title()).
		WithDetail("Replication set %q replicates updates or deletions, whose old rows have no others. Column %q is none of them.", t.Name, row.Outside).
		WithHint("Use ALTER TABLE ... REPLICA IDENTITY on all nodes and add the table anew, or a set that replicates insertions only.")
}

func applyRemove(s State, t Set, cmd Command) (State, Changes, *pgerr.Error) {
	row, known := t.Table(cmd.Table)
	switch {
	case known && !row.Member || !known && !t.AutoAdd:
		return s, Changes{}, pgerr.New(pgerr.UndefinedObject, "table %q is not in replication set %q", cmd.Table.Title(), t.Name)
	case t.AutoAdd:
		row = catalog.ReplicationSetTable{SetID: t.ID, TableName: cmd.Table}
		return s.with(t.with(row)), Changes{Tables: []catalog.ReplicationSetTable{row}}, nil
	}
	return s.with(t.without(cmd.Table)), Changes{RemovedTables: []catalog.ReplicationSetTable{row}}, nil
}

// applyAddFilter: a name is that of one filter, whatever the set, since an error about
// a filter has no other.
func applyAddFilter(s State, t Set, f catalog.DDLFilter) (State, Changes, *pgerr.Error) {
	if other, has := s.setOfDDLFilter(f.Name); has {
		return s, Changes{}, pgerr.New(pgerr.DuplicateObject, "DDL filter %q exists already", f.Name).
			WithDetail("It is one of replication set %q.", other.Name)
	}
	if s.countDDLFilters() >= DDLFiltersMax {
		return s, Changes{}, pgerr.New(pgerr.ConfigLimit, "there are %d DDL filters already", DDLFiltersMax)
	}
	f.SetID = t.ID
	return s.with(t.withDDLFilter(f)), Changes{DDLFilters: []catalog.DDLFilter{f}}, nil
}

func applyRemoveFilter(s State, t Set, name string) (State, Changes, *pgerr.Error) {
	if _, has := t.findDDLFilter(name); !has {
		return s, Changes{}, pgerr.New(pgerr.UndefinedObject, "replication set %q has no DDL filter %q", t.Name, name).
			WithHint("bdr.ddl_replication lists them.")
	}
	return s.with(t.withoutDDLFilter(name)), Changes{RemovedFilter: name}, nil
}
