// Package repset is what all nodes agree on about replication sets: what each set
// replicates, which tables are in it, and which statements go with it. Which sets a
// node publishes and subscribes to is that node's own. It is pure, so that every node
// reaches the same answer.
package repset

import (
	"cmp"
	"slices"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
)

// A Set is a replication set and what is said of tables: those that have no row are
// members if the set adds tables by itself. A statement that one of its DDL filters
// matches goes with it.
type Set struct {
	catalog.ReplicationSet
	Tables     []catalog.ReplicationSetTable `json:",omitempty"` // by name
	DDLFilters []catalog.DDLFilter           `json:",omitempty"` // by name
}

// State is all that is agreed. It is a value: Apply never changes the one that it was
// given.
type State struct {
	catalog.ReplicationSetCalls
	Sets []Set `json:",omitempty"` // by name
}

// callsMax is how many calls are kept in mind, for those that the log brings twice.
const callsMax = 100

// Empty says whether nothing was ever agreed on.
func (s State) Empty() bool { return len(s.Calls) == 0 }

// Default is the name of the set that every table is in.
func Default(members cluster.Cluster) string {
	group, _ := members.Group()
	return group.Name
}

// Set returns a set by its name.
func (s State) Set(name string) (Set, bool) {
	i, found := s.find(name)
	if !found {
		return Set{}, false
	}
	return s.Sets[i], true
}

// Table returns what a set says of a table.
func (t Set) Table(name catalog.TableName) (catalog.ReplicationSetTable, bool) {
	i, found := t.find(name)
	if !found {
		return catalog.ReplicationSetTable{}, false
	}
	return t.Tables[i], true
}

// Has says whether a table, which is no partition, is a member.
func (t Set) Has(name catalog.TableName) bool {
	row, known := t.Table(name)
	if !known {
		return t.AutoAdd
	}
	return row.Member
}

// setOfDDLFilter returns the set that has a filter of this name: no two sets have.
func (s State) setOfDDLFilter(name string) (Set, bool) {
	i := slices.IndexFunc(s.Sets, func(t Set) bool { _, has := t.findDDLFilter(name); return has })
	if i < 0 {
		return Set{}, false
	}
	return s.Sets[i], true
}

func (s State) countDDLFilters() int {
	n := 0
	for _, t := range s.Sets {
		n += len(t.DDLFilters)
	}
	return n
}

func (s State) find(name string) (int, bool) {
	return slices.BinarySearchFunc(s.Sets, name, func(t Set, name string) int { return cmp.Compare(t.Name, name) })
}

func (t Set) find(name catalog.TableName) (int, bool) {
	return slices.BinarySearchFunc(t.Tables, name, func(r catalog.ReplicationSetTable, n catalog.TableName) int { return compareNames(r.TableName, n) })
}

func (t Set) findDDLFilter(name string) (int, bool) {
	return slices.BinarySearchFunc(t.DDLFilters, name, func(f catalog.DDLFilter, name string) int { return cmp.Compare(f.Name, name) })
}

func byName(a, b catalog.ReplicationSetTable) int { return compareNames(a.TableName, b.TableName) }

func compareNames(a, b catalog.TableName) int {
	return cmp.Or(cmp.Compare(a.Schema, b.Schema), cmp.Compare(a.Name, b.Name))
}

// Carried says whether a call was among the last ones that were carried out.
func (s State) Carried(id string) bool { return slices.Contains(s.Calls, id) }

// with returns a copy with a set added or replaced.
func (s State) with(t Set) State {
	i, found := s.find(t.Name)
	s.Sets = cluster.With(s.Sets, i, found, t)
	return s
}

// without returns a copy without one.
func (s State) without(name string) State {
	s.Sets = slices.DeleteFunc(slices.Clone(s.Sets), func(t Set) bool { return t.Name == name })
	if len(s.Sets) == 0 {
		s.Sets = nil
	}
	return s
}

// with returns a copy in which a row of a table is added or replaced.
func (t Set) with(row catalog.ReplicationSetTable) Set {
	i, found := t.find(row.TableName)
	t.Tables = cluster.With(t.Tables, i, found, row)
	return t
}

// without returns a copy that says nothing of a table.
func (t Set) without(name catalog.TableName) Set {
	t.Tables = slices.DeleteFunc(slices.Clone(t.Tables), func(r catalog.ReplicationSetTable) bool { return r.TableName == name })
	if len(t.Tables) == 0 {
		t.Tables = nil
	}
	return t
}

// withDDLFilter returns a copy in which a filter is added.
func (t Set) withDDLFilter(f catalog.DDLFilter) Set {
	i, found := t.findDDLFilter(f.Name)
	t.DDLFilters = cluster.With(t.DDLFilters, i, found, f)
	return t
}

// withoutDDLFilter returns a copy without one.
func (t Set) withoutDDLFilter(name string) Set {
	t.DDLFilters = slices.DeleteFunc(slices.Clone(t.DDLFilters), func(f catalog.DDLFilter) bool { return f.Name == name })
	if len(t.DDLFilters) == 0 {
		t.DDLFilters = nil
	}
	return t
}

// noted returns a copy that knows a call as carried out.
func (s State) noted(id string) State {
	s.Calls = append(slices.Clone(s.Calls), id)
	s.Calls = s.Calls[max(0, len(s.Calls)-callsMax):]
	return s
}

// StateOf puts together what the tables have, in whatever order.
func StateOf(rows catalog.ReplicationSetRows) State {
	s := State{ReplicationSetCalls: rows.Calls}
	for _, set := range rows.Sets {
		t := Set{ReplicationSet: set}
		for _, row := range rows.Tables {
			if row.SetID == set.ID {
				t.Tables = append(t.Tables, row)
			}
		}
		for _, row := range rows.DDLFilters {
			if row.SetID == set.ID {
				t = t.withDDLFilter(row)
			}
		}
		slices.SortFunc(t.Tables, byName)
		s.Sets = append(s.Sets, t)
	}
	slices.SortFunc(s.Sets, func(a, b Set) int { return cmp.Compare(a.Name, b.Name) })
	return s
}
