package clustertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
)

// A TypeClass is types that are tested together.
type TypeClass struct {
	Name  string
	Types []TypeCase
}

// Without leaves out the values that hold a text.
func (c TypeClass) Without(text string) TypeClass {
	out := TypeClass{Name: c.Name}
	for _, of := range c.Types {
		of.values = slices.DeleteFunc(slices.Clone(of.values), func(v string) bool { return strings.Contains(v, text) })
		out.Types = append(out.Types, of)
	}
	return out
}

// A TypeCase is a type and expressions for values of it, none equal to another:
// they are keys too. A constant is quoted text, without quotes here.
type TypeCase struct {
	name   string
	values []string
	wide   []string // too wide for an index
}

func of(name string, constants ...string) TypeCase {
	c := TypeCase{name: name}
	for _, v := range constants {
		c.values = append(c.values, fmt.Sprintf("'%s'::%s", strings.ReplaceAll(v, "'", "''"), name))
	}
	return c
}

// and adds values that are made by expressions.
func (c TypeCase) and(expressions ...string) TypeCase {
	for _, e := range expressions {
		c.values = append(c.values, fmt.Sprintf("(%s)::%s", e, c.name))
	}
	return c
}

// withWide adds values that are made by expressions and are no keys.
func (c TypeCase) withWide(expressions ...string) TypeCase {
	c.wide = c.and(expressions...).values[len(c.values):]
	return c
}

// BuiltinTypes are all types of the server that take values, but uninsertable.
var BuiltinTypes = []TypeClass{
	{"numbers", []TypeCase{
		of("boolean", "true", "false"),
		of("smallint", "-32768", "0", "32767"),
		of("integer", "-2147483648", "0", "2147483647"),
		of("bigint", "-9223372036854775808", "0", "9223372036854775807"),
		of("real", "-0", "NaN", "Infinity", "-Infinity", "1e-45", "3.4028235e38", "0.1"),
		of("double precision", "-0", "NaN", "Infinity", "-Infinity", "5e-324", "1.7976931348623157e308", "0.1"),
		of("numeric", "NaN", "Infinity", "-Infinity", "0.00", "1.0", "-1.10", "12345678901234567890.0123456789", "1e-16383", "-1e5000").
			and("repeat('123456789', 3000)", "'0.' || repeat('9', 9000)"),
		of("numeric(8,2)", "NaN", "-123456.78", "0", "5.5"),
		of("money", "-92233720368547758.08", "0", "92233720368547758.07"),
		of("oid", "0", "4294967295"),
		of("int2vector", "", "1", "-1 2 3"),
		of("oidvector", "", "1", "4294967295 2 3"),
	}},
	{"dates", []TypeCase{
		of("date", "4713-01-01 BC", "0044-03-15 BC", "infinity", "-infinity", "5874897-12-31", "2000-02-29"),
		of("time", "00:00", "24:00:00", "12:34:56.789012"),
		of("time(3)", "00:00", "12:34:56.789"),
		of("timetz", "00:00+15:59", "24:00:00-15:59", "12:34:56.000001+05:30"),
		of("timestamp", "4713-01-01 00:00:00 BC", "294276-12-31 23:59:59.999999", "infinity", "-infinity", "2026-02-03 04:05:06.7"),
		of("timestamptz", "4713-01-01 00:00:00+00 BC", "294276-12-31 23:59:59.999999+00", "infinity", "-infinity", "2026-02-03 04:05:06.7+09"),
		of("timestamptz(0)", "2026-02-03 04:05:06+09", "infinity"),
		of("interval", "178000000 years", "-178000000 years", "1 year -2 days 3.5 s", "-1 mon +1 day -00:00:00.000001", "0",
			"2147483647 mons 2147483647 days 2562047788:00:54.775807"),
		of("interval day to second(0)", "1 day 02:03:04", "-5 days"),
	}},
	{"texts", []TypeCase{
		of("text", "", "a", "ünï ☃", "two\nlines", `back\slash "quoted"`, "NULL").and("repeat('wide ', 30)"),
		of("varchar(10)", "", "abc", "ü☃"),
		of("char(5)", "", "ab", "ü☃"),
		of("char", "x", " "),
		of(`"char"`, "q", "").and("200 - 256"),
		of("name", "n", "ünï").and("repeat('x', 63)"),
		of("bytea", `\x`, `\x00ff`, `\x5c`).and(`decode(repeat('00ff5c', 300), 'hex')`),
		of("bit(5)", "10101", "00000"),
		of("bit", "1", "0"),
		of("varbit", "", "1", "110", "00000000").and("repeat('10', 1500)"),
		of("varbit(20)", "", "1"),
		of("uuid", "00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
		of("refcursor", "c", "d"),
	}},
	{"documents", []TypeCase{
		of("json", `{"a": 1,  "a": 2}`, "null", `"\u0000"`, "[1e400]"),
		of("jsonb", `{"b": [1, null, {"c": 1e100}], "a": "ü"}`, "1.50", "null", "true", `"x"`, "[]", "{}", `[[],{},[{}],""]`).
			and("(SELECT jsonb_object_agg('key' || g, g * 1.5) FROM generate_series(1, 200) g)", "repeat('[', 200) || repeat(']', 200)",
				"(SELECT jsonb_agg(CASE g % 4 WHEN 0 THEN to_jsonb(g) WHEN 1 THEN to_jsonb(repeat('x', g)) WHEN 2 THEN 'true' ELSE '[0.1]' END) FROM generate_series(1, 100) g)"),
		of("jsonpath", "$", `$.a[*] ? (@.b > 1.5 && @.c like_regex "^x" flag "i")`, `strict $."ü".size()`),
		of("xml", "<a>b</a>", "no element", "<!DOCTYPE a><a/>", `<?xml version="1.0"?><ü>☃</ü>`, "<a/><b/>"),
		of("tsvector", "a fat cat", "a:1A cat:2,3B,16383", "", "'it''s' 'two words':7").withWide(
			"(SELECT string_agg('w' || g || ':' || g, ' ') FROM generate_series(1, 400) g)"),
		of("tsquery", "a & (b | !c:*A) <-> d", "", "'two words' <3> x"),
	}},
	{"shapes_and_addresses", []TypeCase{
		of("point", "(1,2)", "(NaN,-Infinity)", "(-0,1e-300)"),
		of("line", "{1,2,3}", "{0,-1,0.1}"),
		of("lseg", "[(0,0),(1,1)]", "[(1,0),(-1,1)]"),
		of("box", "((0,0),(1,1))", "((-5,3),(7,Infinity))"),
		of("path", "[(0,0),(1,1),(2,0)]", "((0,0),(1,1),(2,0))", "[(1,1)]"),
		of("polygon", "((0,0),(1,1),(2,0))", "((5,5))"),
		of("circle", "<(0,0),1>", "<(1,2),0>"),
		of("inet", "10.1.2.3/8", "::1", "::ffff:1.2.3.4/96", "0.0.0.0/0", "255.255.255.255"),
		of("cidr", "10.0.0.0/8", "::/0", "2001:db8::/32"),
		of("macaddr", "08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff"),
		of("macaddr8", "08:00:2b:01:02:03:04:05", "00:00:00:00:00:00:00:00"),
	}},
	{"ranges", []TypeCase{
		of("int4range", "empty", "[1,5)", "(,)", "[3,)", "(,-7]"),
		of("int8range", "empty", "[1,9223372036854775807)", "(,3)"),
		of("numrange", "empty", "[1.5,2.50]", "(,NaN]", "[-Infinity,0)", "(0.001,)").and("numrange(0, repeat('9', 400)::numeric)"),
		of("daterange", "empty", "[2000-01-01,infinity]", "(,0001-01-01 BC)"),
		of("tsrange", "empty", "[2000-01-01 00:00:00.5,infinity)", "(-infinity,)"),
		of("tstzrange", "empty", "[2000-01-01 00:00:00+05,infinity)", "(-infinity,)"),
		of("int4multirange", "{}", "{[1,2),[5,9)}", "{(,1),[3,)}").and("(SELECT range_agg(int4range(g * 3, g * 3 + 2)) FROM generate_series(1, 100) g)"),
		of("int8multirange", "{}", "{[1,2),[5,9)}", "{(,)}"),
		of("nummultirange", "{}", "{[1.5,2),[3,)}").and("(SELECT range_agg(numrange(g, g + 0.50)) FROM generate_series(1, 100) g)"),
		of("datemultirange", "{}", "{[2000-01-01,2000-02-01),[2001-01-01,infinity]}"),
		of("tsmultirange", "{}", "{[2000-01-01,2000-02-01),(2001-01-01,)}"),
		of("tstzmultirange", "{}", "{[2000-01-01 00:00+05,2000-02-01 00:00-05),(2001-01-01 00:00+00,)}"),
	}},
	{"of_the_server", []TypeCase{
		of("pg_lsn", "0/0", "FFFFFFFF/FFFFFFFF", "16/B374D848"),
		of("xid", "0", "4294967295"),
		of("xid8", "0", "18446744073709551615"),
		of("cid", "0", "4294967295"),
		of("tid", "(0,0)", "(4294967295,65535)"),
		of("pg_snapshot", "10:20:10,14,15", "1:1:"),
		of("txid_snapshot", "10:20:10,14,15", "1:1:"),
		of("regproc", "now", "-"),
		of("regprocedure", "abs(integer)", "-"),
		of("regoper", "||/", "0"),
		of("regoperator", "+(integer,integer)", "0"),
		of("regclass", "pg_class", `"Odd Table"`, "-", "4000000000"),
		of("regcollation", "\"C\"", "-"),
		of("regtype", "integer[]", "time with time zone", "-"),
		of("regrole", "postgres", "-"),
		of("regnamespace", "public", "bdr"),
		of("regconfig", "english", "simple"),
		of("regdictionary", "english_stem", "simple"),
		of("aclitem", "=r/postgres", "postgres=arwdDxt/postgres"),
	}},
}

// ValuesSince17 are values of older types that 15 does not have.
var ValuesSince17 = TypeClass{"values_since_17", []TypeCase{
	of("interval", "infinity", "-infinity", "1 day"),
	of("interval hour to minute", "infinity", "-infinity", "01:02"),
	of("jsonpath", "$.a.bigint()", "$.a.decimal(4,2)", "$.a.time_tz(3).string()", "$.a.boolean()"),
}}

// uninsertable are types that take no values from users.
var uninsertable = []string{"gtsvector", "pg_brin_bloom_summary", "pg_brin_minmax_multi_summary", "pg_dependencies", "pg_mcv_list",
	"pg_ndistinct", "pg_node_tree"}

// TypesTravel has a subtest for each class of types: a table per type with the type
// as a column and in arrays, one with it as key, and one whose whole rows are the
// replica identity. The first node makes the rows, the second one changes them, the
// last one removes some.
func TypesTravel(t *testing.T, c *pgtest.Cluster, classes ...TypeClass) {
	for _, class := range classes {
		t.Run(class.Name, func(t *testing.T) { typesTravel(t, c.For(t), class.Types) })
	}
}

func typesTravel(t *testing.T, c *pgtest.Cluster, types []TypeCase) {
	first, second, last := c.Nodes[0], c.Nodes[1], c.Nodes[len(c.Nodes)-1]
	if len(c.Nodes) == 2 {
		last = first
	}
	var create, insert, change, remove, drop strings.Builder
	var tables []typeTable
	for _, of := range types {
		table := newTypeTable(first, of)
		tables = append(tables, table)
		create.WriteString(table.create())
		insert.WriteString(table.insert())
		change.WriteString(table.change())
		remove.WriteString(table.remove())
		drop.WriteString(table.drop())
	}
	c.ExecAll(create.String())
	first.Exec(insert.String())
	c.RequireConverged()
	second.Exec(change.String())
	c.RequireConverged()
	requireSameBytes(t, c, tables)
	last.Exec(remove.String())
	c.RequireConverged()
	for _, table := range tables {
		if got, want := second.Value(table.count()), table.rowsLeft(); got != want {
			t.Errorf("%s: %s rows are left, expected %s", table.name, got, want)
		}
	}
	c.ExecAll(drop.String())
}

// typeTable writes the SQL about one type.
type typeTable struct {
	TypeCase
	table string
	key   bool // has a btree class
	array bool // has an array type
}

func newTypeTable(n *pgtest.Node, of TypeCase) typeTable {
	table := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, of.name)
	return typeTable{of, table,
		n.Try(fmt.Sprintf("SELECT NULL::%s AS v ORDER BY v", of.name)) == nil,
		n.Value(fmt.Sprintf( // there is no ARRAY[...] of arrays
			"SELECT typarray <> 0 AND (SELECT count(*) FROM pg_type b WHERE b.oid = t.typbasetype AND b.typcategory = 'A') = 0 FROM pg_type t WHERE oid = '%s'::regtype", of.name)) == "t"}
}

func (tt typeTable) create() string {
	array := ""
	if tt.array {
		array = ", a " + tt.name + "[]"
	}
	sql := fmt.Sprintf("CREATE TABLE t_%[1]s (id int PRIMARY KEY, v %[2]s%[3]s);\nCREATE TABLE f_%[1]s (v %[2]s%[3]s, n int);\n"+
		"ALTER TABLE f_%[1]s REPLICA IDENTITY FULL;\n", tt.table, tt.name, array)
	if tt.key {
		sql += fmt.Sprintf("CREATE TABLE k_%s (v %s PRIMARY KEY, n int);\n", tt.table, tt.name)
	}
	if tt.key && tt.array {
		sql += fmt.Sprintf("CREATE TABLE ka_%s (a %s[] PRIMARY KEY, n int);\n", tt.table, tt.name)
	}
	return sql
}

// insert leaves the last value out of the keys: change brings it in.
func (tt typeTable) insert() string {
	var sql strings.Builder
	all := slices.Concat(tt.values, tt.wide)
	for i, v := range all {
		next := all[(i+1)%len(all)]
		row := v
		if tt.array {
			row += ", " + tt.arrayOf(i, v, next)
		}
		fmt.Fprintf(&sql, "INSERT INTO t_%s VALUES (%d, %s);\n", tt.table, i, row)
		fmt.Fprintf(&sql, "INSERT INTO f_%[1]s VALUES (%[2]s, %[3]d), (%[2]s, %[3]d);\n", tt.table, row, i)
		if i >= len(tt.values)-1 {
			continue
		}
		if tt.key {
			fmt.Fprintf(&sql, "INSERT INTO k_%s VALUES (%s, %d);\n", tt.table, v, i)
		}
		if tt.key && tt.array {
			fmt.Fprintf(&sql, "INSERT INTO ka_%[1]s VALUES (ARRAY[%[2]s, NULL], %[3]d), (ARRAY[%[2]s], %[3]d);\n", tt.table, v, i)
		}
	}
	fmt.Fprintf(&sql, "INSERT INTO t_%s VALUES (%d);\nINSERT INTO f_%[1]s (n) VALUES (-1);\n", tt.table, len(all))
	return sql.String()
}

// arrayOf makes arrays of every shape in turn.
func (tt typeTable) arrayOf(i int, v, next string) string {
	switch i % 5 {
	case 0:
		return fmt.Sprintf("ARRAY[%s, NULL, %s]::%s[]", v, next, tt.name)
	case 1:
		return fmt.Sprintf("ARRAY[[%[1]s, %[2]s], [NULL, %[1]s]]::%[3]s[]", v, next, tt.name)
	case 2:
		return fmt.Sprintf("('[-1:0]=' || (ARRAY[%[1]s, %[2]s]::%[3]s[])::text)::%[3]s[]", v, next, tt.name)
	case 3:
		return fmt.Sprintf("ARRAY[]::%s[]", tt.name)
	}
	return fmt.Sprintf("array_fill(%s, ARRAY[2, 1, 3])::%s[]", v, tt.name)
}

func (tt typeTable) change() string {
	n := len(tt.values)
	array := ""
	if tt.array {
		array = ", a = o.a"
	}
	sql := fmt.Sprintf("UPDATE t_%[1]s t SET v = o.v%[3]s FROM t_%[1]s o WHERE o.id = (t.id + 1) %% %[2]d;\n"+
		"UPDATE f_%[1]s SET n = n + 100;\n", tt.table, n+len(tt.wide)+1, array)
	if tt.key {
		sql += fmt.Sprintf("UPDATE k_%[1]s SET n = n + 100;\nUPDATE k_%[1]s SET v = %[2]s WHERE n = 100;\n", tt.table, tt.values[n-1])
	}
	if tt.key && tt.array {
		sql += fmt.Sprintf("UPDATE ka_%[1]s SET n = n + 100;\nUPDATE ka_%[1]s SET a = array_append(a, %[2]s) WHERE n = 100;\n", tt.table, tt.values[n-1])
	}
	return sql
}

// remove takes the rows of the first value, and one of each pair of equal ones.
func (tt typeTable) remove() string {
	sql := fmt.Sprintf("DELETE FROM t_%[1]s WHERE id = 0;\nUPDATE t_%[1]s SET v = NULL WHERE id = 1;\nDELETE FROM f_%[1]s f USING f_%[1]s o WHERE f.n = o.n AND f.ctid < o.ctid;\n"+
		"DELETE FROM f_%[1]s WHERE n = 99;\n", tt.table)
	if tt.key {
		sql += fmt.Sprintf("DELETE FROM k_%s WHERE n = 100;\n", tt.table)
	}
	if tt.key && tt.array {
		sql += fmt.Sprintf("DELETE FROM ka_%s WHERE n = 100;\n", tt.table)
	}
	return sql
}

func (tt typeTable) drop() string {
	sql := fmt.Sprintf("DROP TABLE t_%[1]s, f_%[1]s", tt.table)
	if tt.key {
		sql += ", k_" + tt.table
	}
	if tt.key && tt.array {
		sql += ", ka_" + tt.table
	}
	return sql + ";\n"
}

func (tt typeTable) count() string {
	sql := fmt.Sprintf("SELECT (SELECT count(*) FROM t_%[1]s) || ' ' || (SELECT count(*) FROM f_%[1]s)", tt.table)
	if tt.key {
		sql += fmt.Sprintf(" || ' ' || (SELECT count(*) FROM k_%s)", tt.table)
	}
	return sql
}

func (tt typeTable) rowsLeft() string {
	n := len(tt.values) + len(tt.wide)
	if tt.key {
		return fmt.Sprintf("%d %d %d", n, n, len(tt.values)-2)
	}
	return fmt.Sprintf("%d %d", n, n)
}

// oids is the same on nodes whose objects have the same OIDs.
const oids = `SELECT current_setting('server_version_num')::int / 10000 || ' ' || to_regclass('"Odd Table"')::oid`

// requireSameBytes compares what the send functions make of built-in types: two
// values may look the same in text and differ.
func requireSameBytes(t *testing.T, c *pgtest.Cluster, tables []typeTable) {
	t.Helper()
	for _, table := range tables {
		send := c.Nodes[0].Value(fmt.Sprintf(`SELECT CASE WHEN oid < 12000 AND typname <> 'refcursor' THEN typsend ELSE 0 END
			FROM pg_type WHERE oid = '%s'::regtype`, table.name))
		if send == "-" {
			continue
		}
		query := fmt.Sprintf("SELECT md5(string_agg(coalesce(%s(v)::text, ''), ',' ORDER BY id)) FROM t_%s", send, table.table)
		for _, n := range c.Nodes[1:] {
			if strings.HasPrefix(table.name, "reg") && n.Value(oids) != c.Nodes[0].Value(oids) {
				continue // OIDs, of things that have others there
			}
			if c.Nodes[0].Value(query) != n.Value(query) {
				t.Errorf("%s: values on %s differ in their binary form", table.name, n.Name)
			}
		}
	}
}

// RequireEveryBuiltinType requires that no type of the server was forgotten, and that
// the usual ones were keys.
func RequireEveryBuiltinType(t *testing.T, n *pgtest.Node) {
	var names []string
	keys := 0
	for _, class := range BuiltinTypes {
		for _, of := range class.Types {
			names = append(names, fmt.Sprintf("'%s'::regtype", of.name))
			if newTypeTable(n, of).key {
				keys++
			}
		}
	}
	rows := n.Rows(fmt.Sprintf(`SELECT typname FROM pg_type WHERE oid < 12000 AND typtype IN ('b', 'r', 'm')
		AND typname NOT LIKE '\_%%' AND oid NOT IN (%s) ORDER BY 1`, strings.Join(names, ", ")))
	var missing []string
	for _, row := range rows {
		if !slices.Contains(uninsertable, row[0]) {
			missing = append(missing, row[0])
		}
	}
	if len(missing) > 0 || keys < 50 {
		t.Errorf("not tested: %v; %d types were keys", missing, keys)
	}
}

// ContribTypes are types of extensions, which it makes.
func ContribTypes(t *testing.T, c *pgtest.Cluster) TypeClass {
	var types []TypeCase
	for _, e := range []struct {
		extension string
		types     []TypeCase
	}{
		{"hstore", []TypeCase{of("hstore", `"a"=>"1", "b"=>NULL, "ü"=>"x, y"`, "")}},
		{"citext", []TypeCase{of("citext", "Mixed Case", "ü", "")}},
		{"ltree", []TypeCase{of("ltree", "Top.Science.Astronomy", "a", ""), of("lquery", "*.a|b@.*{1,3}", "x")}},
		{"cube", []TypeCase{of("cube", "(1,2,3),(4,5,6)", "(0.1)")}},
		{"isn", []TypeCase{of("isbn13", "978-0-393-04002-9", "978-3-16-148410-0")}},
		{"seg", []TypeCase{of("seg", "1.50 .. 2", "~7.0")}},
	} {
		if c.Nodes[0].Value("SELECT count(*) FROM pg_available_extensions WHERE name = '"+e.extension+"'") == "0" {
			t.Logf("%s is not installed", e.extension)
			continue
		}
		c.ExecAll("CREATE EXTENSION " + e.extension)
		types = append(types, e.types...)
	}
	return TypeClass{"contrib", types}
}

// MakeUserTypes makes types of the same names on all nodes, in another order
// and with other OIDs on the first one; labels too.
func MakeUserTypes(c *pgtest.Cluster) {
	enums := []string{`CREATE TYPE mood AS ENUM ('bad', 'so so', 'good')`, `CREATE TYPE "Odd Enum" AS ENUM ('a,b', '"', 'NULL', 'ü')`}
	c.Nodes[0].Exec(enums...)
	for _, n := range c.Nodes[1:] {
		n.Exec("CREATE TYPE padding AS ENUM ('x', 'y')", "CREATE TABLE padding_table (id int PRIMARY KEY)", "DROP TABLE padding_table",
			`CREATE TYPE "Odd Enum" AS ENUM ('ü', 'a,b')`, `ALTER TYPE "Odd Enum" ADD VALUE '"' AFTER 'a,b'`, `ALTER TYPE "Odd Enum" ADD VALUE 'NULL'`,
			`CREATE TYPE mood AS ENUM ('bad')`, `ALTER TYPE mood ADD VALUE 'good'`, `ALTER TYPE mood ADD VALUE 'so so' BEFORE 'good'`)
	}
	c.ExecAll("CREATE TYPE pos AS (x int, y text)", "CREATE TYPE nested AS (p pos, ps pos[], m mood, ms mood[], n numeric, j jsonb)",
		"CREATE DOMAIN positive AS numeric(8,2) CHECK (VALUE > 0)", "CREATE DOMAIN small_positive AS positive CHECK (VALUE < 100)",
		"CREATE DOMAIN few AS int[] CHECK (array_length(VALUE, 1) < 4)", "CREATE DOMAIN feeling AS mood CHECK (VALUE <> 'so so')",
		"CREATE DOMAIN place AS pos CHECK ((VALUE).x > 0)", "CREATE DOMAIN short AS varchar(5)", "CREATE DOMAIN doc AS jsonb CHECK (jsonb_typeof(VALUE) = 'object')",
		"CREATE TYPE with_domain AS (d positive, f feeling, ds positive[])",
		"CREATE TYPE moodrange AS RANGE (subtype = mood)", `CREATE TYPE textrange AS RANGE (subtype = text, collation = "C")`,
		`CREATE TYPE my8; CREATE FUNCTION my8in(cstring) RETURNS my8 LANGUAGE internal IMMUTABLE STRICT AS 'int8in';
		CREATE FUNCTION my8out(my8) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int8out';
		CREATE FUNCTION my8send(my8) RETURNS bytea LANGUAGE internal IMMUTABLE STRICT AS 'int8send';
		CREATE FUNCTION my8recv(internal) RETURNS my8 LANGUAGE internal IMMUTABLE STRICT AS 'int8recv';
		CREATE TYPE my8 (INPUT = my8in, OUTPUT = my8out, SEND = my8send, RECEIVE = my8recv, LIKE = int8)`,
		`CREATE TYPE mytext; CREATE FUNCTION mytextin(cstring) RETURNS mytext LANGUAGE internal IMMUTABLE STRICT AS 'textin';
		CREATE FUNCTION mytextout(mytext) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
		CREATE TYPE mytext (INPUT = mytextin, OUTPUT = mytextout, LIKE = text)`)
}

// UserTypes are types that MakeUserTypes makes.
var UserTypes = []TypeClass{
	{"enums", []TypeCase{
		of("mood", "bad", "so so", "good"),
		of(`"Odd Enum"`, "a,b", `"`, "NULL", "ü"),
		of("moodrange", "[bad,good]", "empty", `["so so",)`),
		of("moodmultirange", "{}", `{[bad,"so so"],[good,good]}`),
		of("textrange", "[a,b)", `["x,y",)`, "empty"),
		of("textmultirange", "{}", `{[a,b),["x,y",)}`),
	}},
	{"composites", []TypeCase{
		of("pos", `(1,"x y")`, "(,)", `(2,"")`, `(3,"a,b(""q"")")`),
		of("nested", `("(1,""x y"")","{""(2,z)"",NULL}","so so","{bad,NULL,good}",NaN,"{""a"": [1]}")`, "(,,,,,)", `("(,)","{}",good,"{}",1.50,null)`),
		of("with_domain", `(1.50,good,"{1,2.25}")`, "(2,bad,{})"),
		of("pg_authid", `(10,postgres,t,t,t,t,t,t,t,-1,,)`, `(11,other,f,f,f,f,f,f,f,5,"pass word",infinity)`),
	}},
	{"domains", []TypeCase{
		of("positive", "0.01", "NaN", "999999.99"),
		of("small_positive", "0.01", "99.99"),
		of("few", "{1,NULL,3}", "[5:6]={1,2}"),
		of("few[]", `{"{1,2}",NULL}`, "{}"),
		of("feeling", "bad", "good"),
		of("place", "(1,x)", `(2,"")`),
		of("short", "", "ab", "ü☃"),
		of("doc", "{}", `{"a": [1, {"b": null}]}`),
		of("information_schema.sql_identifier", "a", "b"),
	}},
	{"base_types", []TypeCase{
		of("my8", "1", "-9223372036854775808"),
		of("mytext", "", "x", "ü").and("repeat('x', 3000)"),
	}},
}
