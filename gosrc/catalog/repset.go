package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"bdr/gosrc/ipc"
)

// ReplicationSet is a row of bdr.replication_set.
type ReplicationSet struct {
	ID       uint32
	Name     string
	Insert   bool `json:",omitzero"`
	Update   bool `json:",omitzero"`
	Delete   bool `json:",omitzero"`
	Truncate bool `json:",omitzero"`
	AutoAdd  bool `json:",omitzero"` // tables without a row of their own are members
}

// A TableName is how all nodes know a table.
type TableName struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
}

// Title is the name for messages.
func (n TableName) Title() string { return n.Schema + "." + n.Name }

// ReplicationSetTable is a row of bdr.replication_set_table.
type ReplicationSetTable struct {
	SetID uint32
	TableName
	Member  bool     `json:",omitzero"`
	Columns []string `json:",omitempty"` // nil: all
	Filter  string   `json:",omitzero"`  // "": every row
	Outside string   `json:",omitzero"`  // a column of the filter that the replica identity had not
}

// DDLFilter is a row of bdr.replication_set_ddl. An empty part matches everything, as
// that does as a regular expression.
type DDLFilter struct {
	SetID     uint32 `json:",omitzero"`
	Name      string
	Tag       string `json:",omitzero"`
	Role      string `json:",omitzero"`
	Query     string `json:",omitzero"`
	Exclusive bool   `json:",omitzero"`
}

// ReplicationSetCalls is the row of bdr.replication_set_call.
type ReplicationSetCalls struct {
	LastID uint32   `json:",omitzero"`  // of a set
	Calls  []string `json:",omitempty"` // the last ones that were carried out
}

// ReplicationSetRows is what consensus wrote about replication sets.
type ReplicationSetRows struct {
	Calls      ReplicationSetCalls
	Sets       []ReplicationSet
	Tables     []ReplicationSetTable
	DDLFilters []DDLFilter
}

// SelectReplicationSets reads what consensus wrote about replication sets.
func SelectReplicationSets() []ipc.Stmt {
	return []ipc.Stmt{
		{SQL: `SELECT set_id, set_name, replicate_insert, replicate_update, replicate_delete, replicate_truncate, set_autoadd_tables
 FROM bdr.replication_set ORDER BY set_id`},
		{SQL: `SELECT set_id, nspname, relname, is_member, pg_catalog.to_json(set_att_list), set_row_filter, set_filter_outside
 FROM bdr.replication_set_table ORDER BY set_id, nspname, relname`},
		{SQL: `SELECT last_set_id, pg_catalog.to_json(calls) FROM bdr.replication_set_call`},
		{SQL: `SELECT set_id, set_ddl_name, set_ddl_tag, set_ddl_role, set_ddl_query, set_ddl_exclusive
 FROM bdr.replication_set_ddl ORDER BY set_ddl_name`},
	}
}

// ReplicationSets decodes what SelectReplicationSets returned.
func ReplicationSets(results []ipc.Result) (ReplicationSetRows, error) {
	sets, errSets := each(results[0], func(c *columns) ReplicationSet {
		return ReplicationSet{ID: c.oid(), Name: c.text(), Insert: c.boolean(), Update: c.boolean(), Delete: c.boolean(),
			Truncate: c.boolean(), AutoAdd: c.boolean()}
	})
	tables, errTables := each(results[1], func(c *columns) ReplicationSetTable {
		return ReplicationSetTable{SetID: c.oid(), TableName: tableName(c), Member: c.boolean(), Columns: c.texts(), Filter: c.text(), Outside: c.text()}
	})
	calls, errCalls := each(results[2], func(c *columns) ReplicationSetCalls { return ReplicationSetCalls{LastID: c.oid(), Calls: c.texts()} })
	filters, errFilters := each(results[3], func(c *columns) DDLFilter {
		return DDLFilter{SetID: c.oid(), Name: c.text(), Tag: c.text(), Role: c.text(), Query: c.text(), Exclusive: c.boolean()}
	})
	rows := ReplicationSetRows{Sets: sets, Tables: tables, DDLFilters: filters}
	for _, row := range calls { // there is one, or none
		rows.Calls = row
	}
	return rows, errors.Join(errSets, errTables, errCalls, errFilters)
}

// texts reads a list in JSON, nil for NULL.
func (c *columns) texts() []string {
	text := c.text()
	if text == "" {
		return nil
	}
	var list []string
	c.fail(json.Unmarshal([]byte(text), &list))
	return list
}

// jsonOf is a list, or a map, as a parameter in JSON. The types are ours: it cannot fail.
func jsonOf(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic("encode a parameter: " + err.Error())
	}
	return string(text)
}

// UpsertReplicationSet writes a row. The server has no ON CONFLICT for a table that
// output plugins read; nobody else writes it.
func UpsertReplicationSet(s ReplicationSet) []ipc.Stmt {
	return []ipc.Stmt{
		{SQL: `DELETE FROM bdr.replication_set WHERE set_id = $1::oid`, Args: []any{s.ID}},
		{SQL: `INSERT INTO bdr.replication_set (set_id, set_name, replicate_insert, replicate_update, replicate_delete,
 replicate_truncate, set_autoadd_tables)
 VALUES ($1::oid, $2, $3::boolean, $4::boolean, $5::boolean, $6::boolean, $7::boolean)`,
			Args: []any{s.ID, s.Name, s.Insert, s.Update, s.Delete, s.Truncate, s.AutoAdd}},
	}
}

// DeleteReplicationSet removes a row and those of its tables and DDL filters.
func DeleteReplicationSet(id uint32) []ipc.Stmt {
	return []ipc.Stmt{
		{SQL: `DELETE FROM bdr.replication_set_ddl WHERE set_id = $1::oid`, Args: []any{id}},
		{SQL: `DELETE FROM bdr.replication_set_table WHERE set_id = $1::oid`, Args: []any{id}},
		{SQL: `DELETE FROM bdr.replication_set WHERE set_id = $1::oid`, Args: []any{id}},
	}
}

// UpsertReplicationSetTables writes rows, however many.
func UpsertReplicationSetTables(tables []ReplicationSetTable) []ipc.Stmt {
	rows := jsonOf(tables)
	return []ipc.Stmt{
		{SQL: `DELETE FROM bdr.replication_set_table t USING pg_catalog.json_array_elements($1::json) n
 WHERE t.set_id = (n.value ->> 'SetID')::oid AND t.nspname = (n.value ->> 'schema')::name AND t.relname = (n.value ->> 'name')::name`, Args: []any{rows}},
		{SQL: `INSERT INTO bdr.replication_set_table (set_id, nspname, relname, is_member, set_att_list, set_row_filter,
 set_filter_outside)
 SELECT (n.value ->> 'SetID')::oid, n.value ->> 'schema', n.value ->> 'name', COALESCE((n.value ->> 'Member')::boolean, false),
  CASE WHEN n.value -> 'Columns' IS NOT NULL THEN ARRAY(SELECT c.value FROM pg_catalog.json_array_elements_text(n.value -> 'Columns')
   WITH ORDINALITY c (value, place) ORDER BY c.place) END, n.value ->> 'Filter',
  n.value ->> 'Outside'
 FROM pg_catalog.json_array_elements($1::json) n`, Args: []any{rows}},
	}
}

// DeleteReplicationSetTable removes a row.
func DeleteReplicationSetTable(t ReplicationSetTable) ipc.Stmt {
	return ipc.Stmt{SQL: `DELETE FROM bdr.replication_set_table WHERE set_id = $1::oid AND nspname = $2 AND relname = $3`,
		Args: []any{t.SetID, t.Schema, t.Name}}
}

// InsertDDLFilters writes rows of filters that there are not.
func InsertDDLFilters(filters []DDLFilter) ipc.Stmt {
	return ipc.Stmt{SQL: `INSERT INTO bdr.replication_set_ddl (set_id, set_ddl_name, set_ddl_tag, set_ddl_role, set_ddl_query, set_ddl_exclusive)
 SELECT (n.value ->> 'SetID')::oid, n.value ->> 'Name', n.value ->> 'Tag', n.value ->> 'Role', n.value ->> 'Query',
  COALESCE((n.value ->> 'Exclusive')::boolean, false)
 FROM pg_catalog.json_array_elements($1::json) n`, Args: []any{jsonOf(filters)}}
}

// DeleteDDLFilter removes a row.
func DeleteDDLFilter(name string) ipc.Stmt {
	return ipc.Stmt{SQL: `DELETE FROM bdr.replication_set_ddl WHERE set_ddl_name = $1`, Args: []any{name}}
}

// DeleteReplicationSets removes all that consensus wrote about replication sets.
func DeleteReplicationSets() []ipc.Stmt {
	return []ipc.Stmt{{SQL: `DELETE FROM bdr.replication_set_ddl`}, {SQL: `DELETE FROM bdr.replication_set_table`},
		{SQL: `DELETE FROM bdr.replication_set`}, {SQL: `DELETE FROM bdr.replication_set_call`}}
}

// ForgetReplicationSets does so where there are tables for it.
func ForgetReplicationSets() ipc.Stmt {
	return ipc.Stmt{SQL: `DO $do$ BEGIN IF pg_catalog.to_regclass('bdr.replication_set') IS NOT NULL THEN
 DELETE FROM bdr.replication_set_ddl; DELETE FROM bdr.replication_set_table; DELETE FROM bdr.replication_set;
 DELETE FROM bdr.replication_set_call; END IF; END $do$`}
}

// RecordReplicationSetCalls writes which calls were carried out last.
func RecordReplicationSetCalls(c ReplicationSetCalls) ipc.Stmt {
	return ipc.Stmt{SQL: `INSERT INTO bdr.replication_set_call (last_set_id, calls)
 SELECT $1::oid, ARRAY(SELECT t.value FROM pg_catalog.json_array_elements_text($2::json) WITH ORDINALITY t (value, place) ORDER BY t.place)
 ON CONFLICT (id) DO UPDATE SET last_set_id = excluded.last_set_id, calls = excluded.calls`, Args: []any{c.LastID, jsonOf(c.Calls)}}
}

// SelectSetCandidates reads the tables that a set which adds tables by itself has.
func SelectSetCandidates() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence OPERATOR(pg_catalog.=) 'p' AND NOT c.relispartition
 AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'bdr') ORDER BY 1, 2`}
}

// TableNames decodes what SelectSetCandidates returned.
func TableNames(r ipc.Result) ([]TableName, error) {
	return each(r, tableName)
}

func tableName(c *columns) TableName { return TableName{Schema: c.text(), Name: c.text()} }

// SelectTextArray reads the elements of a value of the type text[], in JSON.
func SelectTextArray(array *string) ipc.Stmt {
	var value any
	if array != nil {
		value = *array
	}
	return ipc.Stmt{SQL: `SELECT pg_catalog.to_json($1::pg_catalog.text[])`, Args: []any{value}}
}

// TextArray decodes what SelectTextArray, or SelectLocalSets, returned.
func TextArray(r ipc.Result) ([]string, error) {
	lists, err := each(r, (*columns).texts)
	return slices.Concat(lists...), err // there is one list, or none
}

// SelectLocalSets reads which sets this node subscribes to; it publishes the same.
func SelectLocalSets() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pg_catalog.to_json(sub_repsets) FROM bdr.local_node`}
}

// ReadLocalSets reads them; none is the default one.
func ReadLocalSets(ctx context.Context, runner Runner) ([]string, error) {
	results, err := runner.Run(ctx, SelectLocalSets())
	if err != nil {
		return nil, err
	}
	return TextArray(results[0])
}

// SetLocalSets has this node publish and subscribe to sets; none is the default one.
func SetLocalSets(names []string) ipc.Stmt {
	return ipc.Stmt{SQL: `UPDATE bdr.local_node SET (pub_repsets, sub_repsets) = (SELECT s.a, s.a FROM (SELECT
 ARRAY(SELECT t.value FROM pg_catalog.json_array_elements_text($1::json) WITH ORDINALITY t (value, place) ORDER BY t.place)) s (a))`,
		Args: []any{jsonOf(append([]string{}, names...))}}
}

// SelectOfferedSets reads, on the source of a join, which sets it publishes. Older SQL
// objects have the column, and none.
func SelectOfferedSets() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pg_catalog.to_json(pub_repsets) FROM bdr.local_node`}
}

// A Share is what of a table is in the sets that a node wants.
type Share struct {
	OID     uint32
	Columns []string // nil: all
	Filters []string // one of them lets a row pass; nil: every row
}

// HoldReplicationSets sees to it that the source of a join keeps its SQL objects until
// the end of the transaction.
func HoldReplicationSets() ipc.Stmt {
	return ipc.Stmt{SQL: `LOCK TABLE bdr.replication_set IN ACCESS SHARE MODE`}
}

// SelectShares reads, on the source of a join, which tables are in one of the sets, as
// far as these replicate insertions.
func SelectShares(sets []string) ipc.Stmt {
	return ipc.Stmt{SQL: `WITH shared AS (SELECT t.relid, t.rel_columns, t.row_filter FROM bdr.internal_tables_of_sets() t
 WHERE t.set_name::text IN (SELECT w.value FROM pg_catalog.json_array_elements_text($1::json) w) AND 'INSERT' = ANY (t.set_ops))
SELECT s.relid,
 CASE WHEN NOT pg_catalog.bool_or(s.rel_columns IS NULL) THEN (SELECT pg_catalog.json_agg(DISTINCT c.name)
  FROM shared o, pg_catalog.unnest(o.rel_columns) c (name) WHERE o.relid = s.relid) END,
 CASE WHEN NOT pg_catalog.bool_or(s.row_filter IS NULL) THEN pg_catalog.json_agg(DISTINCT s.row_filter) END
FROM shared s GROUP BY s.relid`, Args: []any{jsonOf(sets)}}
}

// Shares decodes what SelectShares returned, by table.
func Shares(r ipc.Result) (map[uint32]Share, error) {
	list, err := each(r, func(c *columns) Share { return Share{OID: c.oid(), Columns: c.texts(), Filters: c.texts()} })
	all := map[uint32]Share{}
	for _, s := range list {
		all[s.OID] = s
	}
	return all, err
}

// CheckFilters refuses filters with code of users; the table is locked by now.
func (t Table) CheckFilters() []ipc.Stmt {
	var list []ipc.Stmt
	for _, filter := range t.Filters {
		list = append(list, ipc.Stmt{SQL: `SELECT bdr.internal_check_row_filter($1::oid, $2)`, Args: []any{t.OID, filter}})
	}
	return list
}
