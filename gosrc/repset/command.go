package repset

import (
	"slices"
	"strings"
	"unicode/utf8"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/pgerr"
)

// Prefix is what the kinds of these commands begin with.
const Prefix = "repset"

// The commands of the consensus log. Their names are stored: never reuse one.
const (
	Create = Prefix + "/create"
	Alter  = Prefix + "/alter"
	Drop   = Prefix + "/drop"
	Add    = Prefix + "/add"    // a table
	Remove = Prefix + "/remove" // a table

	AddFilter    = Prefix + "/add_ddl_filter"
	RemoveFilter = Prefix + "/remove_ddl_filter"
)

// Knows says whether a command is one of this version's.
func Knows(kind string) bool {
	return slices.Contains([]string{Create, Alter, Drop, Add, Remove, AddFilter, RemoveFilter}, kind)
}

// Limits of what a command may say. What does not fit into the tables would have the
// log stop on every node: a row there is in one page.
const (
	nameBytesMax    = 63
	idBytesMax      = 64
	FilterBytesMax  = 3000
	ColumnsBytesMax = 3000 // with 8 more for each name
	TablesMax       = 20000
	SetsMax         = 1000

	// DDL filters: each statement is matched with all of them.
	DDLFiltersMax  = 100
	RegexpBytesMax = 1000
)

// Command is one entry of the consensus log, stored as JSON.
type Command struct {
	Kind string `json:"kind"`
	ID   string `json:"id"` // of this call: the log may bring it twice
	Set  string `json:"set,omitzero"`

	// Create has all, Alter what changes.
	Insert   *bool `json:"insert,omitempty"`
	Update   *bool `json:"update,omitempty"`
	Delete   *bool `json:"delete,omitempty"`
	Truncate *bool `json:"truncate,omitempty"`
	AutoAdd  *bool `json:"auto_add,omitempty"`
	// Tables are those that there are, where AutoAdd must change nothing for them.
	Tables []catalog.TableName `json:"tables,omitempty"`

	// Add and Remove.
	Table   catalog.TableName `json:"table,omitzero"`
	Columns []string          `json:"columns,omitempty"` // nil: all
	Filter  string            `json:"filter,omitzero"`
	Outside string            `json:"outside,omitzero"` // a column of the filter that the replica identity has not

	// AddFilter has all of it but the set's id, RemoveFilter the name.
	DDLFilter catalog.DDLFilter `json:"ddl_filter,omitzero"`
}

// Encode returns the form in the log.
func (cmd Command) Encode() []byte { return cluster.Entry(cmd) }

// Check refuses a command that nobody may propose.
func (cmd Command) Check() *pgerr.Error {
	if !Knows(cmd.Kind) {
		return cluster.UnknownCommand(cmd.Kind)
	}
	if cmd.ID == "" || len(cmd.ID) > idBytesMax || !isPlain(cmd.ID) {
		return pgerr.New(pgerr.InvalidParameter, "invalid id %q of a change of a replication set", cmd.ID)
	}
	if fault := CheckName("replication set", cmd.Set); fault != nil {
		return fault
	}
	switch cmd.Kind {
	case Create, Alter:
		return cmd.checkTables()
	case Add, Remove:
		return cmd.checkTable()
	case AddFilter, RemoveFilter:
		return checkDDLFilter(cmd.DDLFilter)
	}
	return nil
}

func checkDDLFilter(f catalog.DDLFilter) *pgerr.Error {
	if fault := CheckName("DDL filter", f.Name); fault != nil {
		return fault
	}
	for _, part := range []struct{ name, regexp string }{{"command_tag", f.Tag}, {"role_name", f.Role}, {"query_match", f.Query}} {
		switch {
		case len(part.regexp) > RegexpBytesMax:
			return pgerr.New(pgerr.ConfigLimit, "%s of DDL filter %q is too long", part.name, f.Name).
				WithDetail("It has %d bytes, and may have %d.", len(part.regexp), RegexpBytesMax)
		case !isPlain(part.regexp):
			return pgerr.New(pgerr.FeatureNotSupported, "%s of DDL filter %q is not valid UTF-8", part.name, f.Name)
		}
	}
	return nil
}

func (cmd Command) checkTables() *pgerr.Error {
	if len(cmd.Tables) > TablesMax {
		return pgerr.New(pgerr.ConfigLimit, "there are too many tables for this change of replication set %q", cmd.Set).
			WithDetail("It would have to name %d tables; it may name %d.", len(cmd.Tables), TablesMax)
	}
	for _, t := range cmd.Tables {
		if fault := checkTableName(t); fault != nil {
			return fault
		}
	}
	return nil
}

func (cmd Command) checkTable() *pgerr.Error {
	if fault := checkTableName(cmd.Table); fault != nil {
		return fault
	}
	if cmd.Outside != "" {
		if fault := CheckName("column", cmd.Outside); fault != nil {
			return fault
		}
	}
	bytes := 0
	for _, column := range cmd.Columns {
		if fault := CheckName("column", column); fault != nil {
			return fault
		}
		bytes += len(column) + 8
	}
	switch {
	case bytes > ColumnsBytesMax:
		return pgerr.New(pgerr.ConfigLimit, "the column list of table %q is too long", cmd.Table.Title()).
			WithHint("Leave the list out, or use shorter names.")
	case len(cmd.Filter) > FilterBytesMax:
		return pgerr.New(pgerr.ConfigLimit, "the row filter of table %q is too long", cmd.Table.Title()).
			WithDetail("It has %d bytes, and may have %d.", len(cmd.Filter), FilterBytesMax)
	case !isPlain(cmd.Filter):
		return pgerr.New(pgerr.FeatureNotSupported, "the row filter of table %q is not valid UTF-8", cmd.Table.Title())
	}
	return nil
}

func checkTableName(t catalog.TableName) *pgerr.Error {
	if fault := CheckName("schema", t.Schema); fault != nil {
		return fault
	}
	return CheckName("table", t.Name)
}

// CheckName refuses a name that the tables cannot hold, or other nodes not read.
func CheckName(what, name string) *pgerr.Error {
	switch {
	case name == "" || len(name) > nameBytesMax:
		return pgerr.New(pgerr.InvalidParameter, "invalid name of a %s: %q", what, name)
	case !isPlain(name):
		return pgerr.New(pgerr.FeatureNotSupported, "the name of %s %q is not valid UTF-8", what, name).
			WithHint("In a database of another encoding names in replication sets must be ASCII.")
	}
	return nil
}

// isPlain says whether a text is the same in the JSON that the tables are written from,
// whatever the encoding of a database: two separators are escaped there.
func isPlain(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsAny(text, "\x00\u2028\u2029")
}

// Changes lists what a command touched, to be written to tables.
type Changes struct {
	RemovedTables []catalog.ReplicationSetTable // to be deleted before the rest is written
	RemovedSets   []uint32                      // with their tables and DDL filters
	RemovedFilter string                        // a DDL filter
	Sets          []catalog.ReplicationSet
	Tables        []catalog.ReplicationSetTable
	DDLFilters    []catalog.DDLFilter
	Calls         *catalog.ReplicationSetCalls // nil: nothing was carried out
}
