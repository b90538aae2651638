package catalog

import (
	"strings"

	"bdr/gosrc/hand"
)

// Table is one table or partition whose rows a join copies.
type Table struct {
	Name    string // quoted, with schema
	Columns string // quoted, separated by commas; generated ones are left out
	Bytes   int64
	Binary  bool // every column's binary form means the same on every node
}

// SelectTables reads the tables to copy, biggest first. Binary form is used
// for built-in types whose bytes hold no OID of this database.
func SelectTables() hand.Stmt {
	return hand.Stmt{SQL: `SELECT pg_catalog.format('%I.%I', s.nspname, c.relname),
 (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''),
 pg_catalog.pg_table_size(c.oid),
 NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
  AND NOT (t.typtype = 'e' OR COALESCE(b.oid, t.oid) < 10000
   AND COALESCE(b.typname, t.typname) NOT LIKE 'reg%' AND COALESCE(b.typname, t.typname) NOT LIKE '\_reg%'))
FROM ` + userRelations + ` AND c.relkind = 'r' AND c.relpersistence = 'p' ORDER BY 3 DESC, 1`}
}

// Tables decodes what SelectTables returned.
func Tables(r hand.Result) ([]Table, error) {
	tables := make([]Table, 0, len(r.Rows))
	for _, row := range r.Rows {
		c := columns{row: row}
		t := Table{Name: c.text(), Columns: c.text(), Bytes: c.integer(), Binary: c.boolean()}
		if err := c.done(); err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// CopyOut and CopyIn are the two ends of copying a table.
func (t Table) CopyOut() string {
	if t.Columns == "" {
		return "COPY " + t.Name + " TO STDOUT" + t.options()
	}
	return "COPY " + t.Name + " (" + t.Columns + ") TO STDOUT" + t.options()
}

// CopyIn takes what CopyOut gives.
func (t Table) CopyIn() string {
	return strings.Replace(t.CopyOut(), " TO STDOUT", " FROM STDIN", 1)
}

func (t Table) options() string {
	if t.Binary {
		return " (FORMAT binary)"
	}
	return ""
}

// Truncate empties the tables; the copy begins again.
func Truncate(tables []Table) hand.Stmt {
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.Name
	}
	return hand.Stmt{SQL: "TRUNCATE ONLY " + strings.Join(names, ", ONLY ") + " CASCADE"}
}

// SelectMissingTables reads which of these tables are not here.
func SelectMissingTables(names []string) hand.Stmt {
	return hand.Stmt{SQL: `SELECT n FROM pg_catalog.unnest($1::text[]) n WHERE pg_catalog.to_regclass(n) IS NULL ORDER BY 1`,
		Args: []any{names}}
}

// SelectHasRows reads whether a table has any row.
func SelectHasRows(table string) hand.Stmt {
	return hand.Stmt{SQL: "SELECT EXISTS (SELECT FROM ONLY " + table + ")"}
}

// DropUserRelations drops what an interrupted copy has restored. The caller
// knows that there was nothing else: it had looked before.
func DropUserRelations() hand.Stmt {
	return hand.Stmt{SQL: `DO $do$ DECLARE r record; BEGIN
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
	Name     string
	Last     int64
	IsCalled bool
}

// SelectSequenceNames reads the user's sequences.
func SelectSequenceNames() hand.Stmt {
	return hand.Stmt{SQL: `SELECT pg_catalog.format('%I.%I', s.nspname, c.relname) FROM ` + userRelations + `
 AND c.relkind = 'S' AND c.relpersistence = 'p' ORDER BY 1`}
}

// SelectSequence reads where one sequence stands.
func SelectSequence(name string) hand.Stmt {
	return hand.Stmt{SQL: "SELECT last_value, is_called FROM " + name}
}

// SequenceOf decodes what SelectSequence returned.
func SequenceOf(name string, r hand.Result) (Sequence, error) {
	if len(r.Rows) == 0 {
		return Sequence{}, (&columns{}).done()
	}
	c := columns{row: r.Rows[0]}
	s := Sequence{Name: name, Last: c.integer(), IsCalled: c.boolean()}
	return s, c.done()
}

// SetSequence gives a sequence the value that it has elsewhere.
func SetSequence(s Sequence) hand.Stmt {
	return hand.Stmt{SQL: `SELECT pg_catalog.setval(pg_catalog.to_regclass($1), $2::bigint, $3::boolean)
 WHERE pg_catalog.to_regclass($1) IS NOT NULL`, Args: []any{s.Name, s.Last, s.IsCalled}}
}
