package catalog

import (
	"cmp"
	"strings"

	"bdr/gosrc/ipc"
)

// Table is one table or partition whose rows a join copies.
type Table struct {
	OID       uint32
	Name      string // quoted, with schema
	Owner     string
	Columns   string // quoted, separated by commas; generated ones are left out
	Read      string // the same as they are read; empty: as they are
	Bytes     int64
	Binary    bool   // every column's binary form means the same on every node
	Extension string // whose configuration it is, or empty
	Condition string // WHERE ..., as that extension says; empty for all rows

	Filters []string // conditions one of which lets a row pass; nil: every row
}

// configurations are the tables that extensions have named as theirs with rows
// of users, by pg_extension_config_dump().
const configurations = `(SELECT e.extname, u.oid, u.condition FROM pg_catalog.pg_extension e,
 ROWS FROM (pg_catalog.unnest(e.extconfig), pg_catalog.unnest(e.extcondition)) u(oid, condition)
 WHERE e.extname <> 'bdr')`

// refuseNewInfinity reads a column of intervals, or arrays of them, for a server to
// which the two ends of those that are finite here are infinite: with an error
// where it has one (row/decode.c).
const refuseNewInfinity = `CASE WHEN pg_catalog.strpos(%1$I::pg_catalog.text, '178956970 years 7 mons 2147483647 days 2562047788:00:54.775807') > 0
 OR pg_catalog.strpos(%1$I::pg_catalog.text, '-178956970 years -8 mons -2147483648 days -2562047788:00:54.775808') > 0
 THEN ('interval out of range: ' || %1$I::pg_catalog.text)::%2$s ELSE %1$I END`

// copied are the columns of a table that are copied; $3 lists some of some tables.
const copied = `a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
  AND ($3::json -> c.oid::text IS NULL OR EXISTS (SELECT FROM pg_catalog.json_array_elements_text($3::json -> c.oid::text) l WHERE l.value = a.attname))`

// SelectTables reads the tables to copy to a server of a version, biggest first, and
// of those that listed has the columns that are in the list.
// Binary form is used for built-in types that can be sent and received and whose
// bytes hold no OID of this database; the two vectors refuse to receive an empty
// one. Between servers of which one knows infinite intervals, which are some large
// interval to the other, intervals go as text. XML is read as the text that it is
// stored as: its own functions leave out the XML declaration.
func SelectTables(joiner int, listed map[uint32][]string) ipc.Stmt {
	const refused = `CASE WHEN $1::integer >= 170000 AND current_setting('server_version_num')::integer < 170000 THEN $2 END`
	return ipc.Stmt{SQL: `SELECT c.oid, pg_catalog.format('%I.%I', s.nspname, c.relname), pg_catalog.pg_get_userbyid(c.relowner),
 (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
  WHERE ` + copied + `),
 (SELECT pg_catalog.string_agg(COALESCE(r.text, pg_catalog.quote_ident(a.attname)), ', ' ORDER BY a.attnum)
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type d ON d.oid = a.atttypid,
  LATERAL (SELECT CASE pg_catalog.format_type(COALESCE(NULLIF(d.typbasetype, 0), d.oid), NULL)
   WHEN 'xml' THEN pg_catalog.format('%I::pg_catalog.text', a.attname)
   WHEN 'xml[]' THEN pg_catalog.format('%I::pg_catalog.text[]', a.attname)
   WHEN 'interval' THEN pg_catalog.format(` + refused + `, a.attname, 'pg_catalog.interval')
   WHEN 'interval[]' THEN pg_catalog.format(` + refused + `, a.attname, 'pg_catalog.interval[]') END) r(text)
  WHERE ` + copied + `
  HAVING pg_catalog.bool_or(r.text IS NOT NULL)),
 pg_catalog.pg_table_size(c.oid),
 NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type d ON d.oid = a.atttypid
  JOIN pg_catalog.pg_type t ON t.oid = COALESCE(NULLIF(d.typbasetype, 0), d.oid)
  LEFT JOIN pg_catalog.pg_type e ON e.typarray = t.oid
  WHERE ` + copied + `
  AND (t.typtype <> 'e' OR d.oid <> t.oid) AND (t.oid >= 10000 OR t.typsend = 0 OR t.typreceive = 0
   OR e.typsend = 0 OR e.typreceive = 0 OR COALESCE(e.typname, t.typname) LIKE 'reg%' OR COALESCE(e.typname, t.typname) IN ('int2vector', 'oidvector', 'xml')
   OR COALESCE(e.typname, t.typname) = 'interval' AND ($1::integer >= 170000) <> (current_setting('server_version_num')::integer >= 170000))),
 x.extname, x.condition
FROM ` + relations + ` LEFT JOIN ` + configurations + ` x ON x.oid = c.oid
WHERE (x.oid IS NOT NULL OR ` + isUsers + `) AND c.relkind = 'r' AND c.relpersistence = 'p' ORDER BY 6 DESC, 2`, Args: []any{joiner, refuseNewInfinity, jsonOf(listed)}}
}

// Tables decodes what SelectTables returned.
func Tables(r ipc.Result) ([]Table, error) {
	return each(r, func(c *columns) Table {
		return Table{OID: c.oid(), Name: c.text(), Owner: c.text(), Columns: c.text(), Read: c.text(), Bytes: c.integer(), Binary: c.boolean(),
			Extension: c.text(), Condition: c.text()}
	})
}

// CopyOut and CopyIn are the two ends of copying a table.
func (t Table) CopyOut() string {
	if t.Condition != "" || t.Filters != nil || t.Read != "" {
		return "COPY (SELECT " + cmp.Or(t.Read, t.Columns) + " FROM " + t.rows() + ") TO STDOUT" + t.options()
	}
	return "COPY " + t.target() + " TO STDOUT" + t.options()
}

// rows are those to copy. What an extension says may be more than a condition.
func (t Table) rows() string {
	rows := strings.TrimSpace("ONLY " + t.Name + " " + t.Condition)
	if t.Filters == nil {
		return rows
	}
	if t.Condition != "" {
		rows = "(SELECT * FROM " + rows + ") named"
	}
	return rows + " WHERE (" + strings.Join(t.Filters, ") IS NOT FALSE OR (") + ") IS NOT FALSE"
}

// CopyIn takes what CopyOut gives.
func (t Table) CopyIn() string {
	return "COPY " + t.target() + " FROM STDIN" + t.options()
}

func (t Table) target() string {
	if t.Columns == "" {
		return t.Name
	}
	return t.Name + " (" + t.Columns + ")"
}

func (t Table) options() string {
	if t.Binary {
		return " (FORMAT binary)"
	}
	return ""
}

// Lock keeps what has the table's name now from becoming something else until the
// end of the transaction; mode is one of LOCK TABLE.
func (t Table) Lock(mode string) ipc.Stmt {
	return ipc.Stmt{SQL: "LOCK TABLE ONLY " + t.Name + " IN " + mode + " MODE"}
}

// A Place is what has a table's name.
type Place struct {
	OID      uint32
	Ordinary bool // a permanent table, which is no view, foreign or partitioned
	Owner    string
	Matching bool // its owner must be the same as on the source
}

// SelectPlace reads what has the table's name: no row or one.
func (t Table) SelectPlace() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT oid, relkind = 'r' AND relpersistence = 'p', pg_catalog.pg_get_userbyid(relowner),
 COALESCE(pg_catalog.current_setting('bdr.match_table_owner', true), 'on')
 FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass($1)`, Args: []any{t.Name}}
}

// PlaceOf decodes what SelectPlace returned.
func PlaceOf(r ipc.Result) (Place, error) {
	if len(r.Rows) == 0 {
		return Place{}, nil
	}
	c := columns{row: r.Rows[0]}
	p := Place{OID: c.oid(), Ordinary: c.boolean(), Owner: c.text(), Matching: c.boolean()}
	return p, c.done()
}

// Clear removes what the copy will bring, and what an earlier try has brought, of
// an extension's configuration.
func (t Table) Clear() ipc.Stmt {
	return ipc.Stmt{SQL: "DELETE FROM ONLY " + t.Name + " " + t.Condition}
}

// Truncate empties the tables; the copy begins again.
func Truncate(tables []Table) ipc.Stmt {
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.Name
	}
	return ipc.Stmt{SQL: "TRUNCATE ONLY " + strings.Join(names, ", ONLY ")}
}

// SelectMissingTables reads which of these tables are not here.
func SelectMissingTables(names []string) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT n FROM pg_catalog.unnest($1::text[]) n WHERE pg_catalog.to_regclass(n) IS NULL ORDER BY 1`,
		Args: []any{names}}
}

// SelectHasRows reads whether the table has any row that would be copied.
func (t Table) SelectHasRows() ipc.Stmt {
	return ipc.Stmt{SQL: "SELECT EXISTS (SELECT FROM ONLY " + t.Name + " " + t.Condition + ")"}
}

// DropUserRelations drops what an interrupted copy has restored. The caller
// knows that there was nothing else: it had looked before.
func DropUserRelations() ipc.Stmt {
	return ipc.Stmt{SQL: `DO $do$ DECLARE r record; BEGIN
 FOR r IN SELECT pg_catalog.format('DROP %s IF EXISTS %I.%I CASCADE', CASE c.relkind WHEN 'v' THEN 'VIEW'
   WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
   s.nspname, c.relname) AS command FROM ` + userRelations + `
  AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  AND NOT (c.relkind = 'S' AND EXISTS (SELECT FROM pg_catalog.pg_depend o WHERE o.objid = c.oid AND o.deptype IN ('a', 'i')
   AND o.refclassid = 'pg_catalog.pg_class'::regclass AND o.classid = 'pg_catalog.pg_class'::regclass))
 LOOP EXECUTE r.command; END LOOP; END $do$`}
}

// Sequence is a sequence and where it stands.
type Sequence struct {
	Name      string // quoted, with the schema
	Owner     string
	Last      int64
	IsCalled  bool
	Schema    string
	Unquoted  string // the name without the schema
	Kind, Key string // "" for one that is local
}

// SelectSequences reads where the sequences of users and of the configuration of
// extensions stand. They are read by oid: what has a sequence's name may be
// something else by now. Older SQL objects have no kinds.
func SelectSequences(kinds bool) ipc.Stmt {
	kind, from := `NULL, NULL`, ``
	if kinds {
		kind, from = `k.seqkind, k.seq_key`, ` LEFT JOIN bdr.sequence_kind k ON k.seqid = c.oid AND k.seqkind <> 'l'`
	}
	return ipc.Stmt{SQL: `SELECT pg_catalog.format('%I.%I', s.nspname, c.relname), pg_catalog.pg_get_userbyid(c.relowner), p.last_value, p.is_called,
 s.nspname, c.relname, ` + kind + `
FROM ` + relations + ` LEFT JOIN ` + configurations + ` x ON x.oid = c.oid` + from + `, bdr.internal_sequence(c.oid) p
WHERE (x.oid IS NOT NULL OR ` + isUsers + `) AND c.relkind = 'S' AND c.relpersistence = 'p'
 AND p.last_value IS NOT NULL ORDER BY 1`}
}

// Sequences decodes what SelectSequences returned.
func Sequences(r ipc.Result) ([]Sequence, error) {
	return each(r, func(c *columns) Sequence {
		return Sequence{Name: c.text(), Owner: c.text(), Last: c.integer(), IsCalled: c.boolean(),
			Schema: c.text(), Unquoted: c.text(), Kind: c.text(), Key: c.text()}
	})
}

// SetSequence gives a sequence of the same name and owner the value that it has
// elsewhere: no row if there is none here.
func SetSequence(s Sequence) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pg_catalog.setval(oid, $2::bigint, $3::boolean) FROM pg_catalog.pg_class
 WHERE oid = pg_catalog.to_regclass($1) AND relkind = 'S' AND (pg_catalog.pg_get_userbyid(relowner) = $4
  OR pg_catalog.current_setting('bdr.match_table_owner', true) = 'off')`, Args: []any{s.Name, s.Last, s.IsCalled, s.Owner}}
}

// CopySequenceKind gives a sequence of the same name and owner the kind that it has
// elsewhere: one row, which is false if there is none here.
func CopySequenceKind(s Sequence) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT bdr.internal_copy_sequence_kind($1::name, $2::name, $3::name, $4::"char", $5)`,
		Args: []any{s.Schema, s.Unquoted, s.Owner, s.Kind, s.Key}}
}

// SelectKindsRest reads, on the source of a join, whether it knows that a node joins,
// and no change of a sequence's kind is under way any more that began before.
func SelectKindsRest(joiner uint32, joining State) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT EXISTS (SELECT FROM bdr.node WHERE node_id = $1::oid AND node_state >= $2::oid)
 AND NOT EXISTS (SELECT FROM bdr.sequence_switch WHERE NOT done)`, Args: []any{joiner, uint32(joining)}}
}
