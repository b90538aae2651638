package sequence

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
)

// A copy is a COPY FROM into t, which has the columns id, k and v; afterwards it has
// so many rows with values of the sequence, in a row or not. FILE and BINARY are files that the
// server can read, of the rows 1 to 5 in k and v.
type copied struct {
	name  string
	setup string
	sql   string
	input string // of STDIN
	n     int
	since int // major
	own   int // rows whose id was in the input: 1000 and more
}

var copies = []copied{
	{name: "stdin", sql: "COPY t (k) FROM STDIN", input: "1\n2\n3\n", n: 3},
	{name: "stdin_two_columns", sql: "COPY t (v, k) FROM STDIN", input: "a\t1\nb\t2\n", n: 2},
	{name: "many_rows", sql: "COPY t (k) FROM STDIN", input: numbered(5000), n: 5000},
	{name: "no_rows", sql: "COPY t (k) FROM STDIN", n: 0},
	{name: "own_values", sql: "COPY t (id, k, v) FROM STDIN", input: "1001\t1\ta\n1002\t2\tb\n", own: 2},
	{name: "own_values_named", sql: "COPY t (k, id) FROM STDIN", input: "1\t1001\n2\t1002\n", own: 2},
	{name: "file", sql: "COPY t (k, v) FROM 'FILE'", n: 5},
	{name: "program", sql: "COPY t (k, v) FROM PROGRAM 'cat FILE'", n: 5},
	{name: "binary", sql: "COPY t (k, v) FROM 'BINARY' (FORMAT binary)", n: 5},
	{name: "where", sql: "COPY t (k, v) FROM 'FILE' WHERE k > 2", n: 3},
	{name: "where_of_the_value", sql: "COPY t (k, v) FROM 'FILE' WHERE id IS NOT NULL AND v LIKE 'v%'", n: 5},
	{name: "where_with_nextval", sql: "COPY t (k, v) FROM 'FILE' WHERE nextval('other') > 0", n: 5},
	{name: "csv", sql: "COPY t (k, v) FROM STDIN (FORMAT csv, HEADER, QUOTE '''', DELIMITER ';', NULL 'nothing')", input: "k;v\n1;'a;b'\n2;nothing\n", n: 2},
	{name: "header_match", sql: "COPY t (k, v) FROM STDIN (FORMAT csv, HEADER match)", input: "k,v\n1,a\n", n: 1},
	{name: "default_marker", since: 16, sql: "COPY t (id, k, v) FROM STDIN (DEFAULT 'D')", input: "D\t1\ta\n1002\t2\tb\nD\t3\tc\n", n: 2, own: 1},
	{name: "default_marker_csv", since: 16, sql: "COPY t (id, k, v) FROM STDIN (FORMAT csv, DEFAULT 'D')", input: "D,1,a\n1002,2,b\nD,3,c\n", n: 2, own: 1},
	{name: "errors_ignored", since: 17, sql: "COPY t (k, v) FROM STDIN (ON_ERROR ignore, LOG_VERBOSITY verbose)", input: "1\ta\nx\tb\n3\tc\n", n: 2},
	{name: "freeze", sql: "BEGIN; TRUNCATE t; COPY t (k, v) FROM 'FILE' (FREEZE); COMMIT", n: 5},
	{name: "in_a_function", setup: "CREATE FUNCTION take_in() RETURNS void LANGUAGE plpgsql AS $$ BEGIN COPY t (k, v) FROM 'FILE'; EXECUTE 'COPY t (k, v) FROM ''FILE'''; END $$", sql: "SELECT take_in()", n: 10},
	{name: "row_triggers", setup: "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := NEW.id; RETURN NEW; END $$; CREATE TRIGGER look BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION look()", sql: "COPY t (k, v) FROM 'FILE'", n: 5},
	{name: "statement_triggers", setup: "CREATE TABLE log (n bigint); CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log SELECT count(DISTINCT id) FROM fresh; RETURN NULL; END $$; CREATE TRIGGER look AFTER INSERT ON t REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION look()", sql: "COPY t (k, v) FROM 'FILE'", n: 5},
	{name: "volatile_default", setup: "ALTER TABLE t ALTER v SET DEFAULT random()::text", sql: "COPY t (k) FROM STDIN", input: "1\n2\n", n: 2},
	{name: "generated_column", setup: "ALTER TABLE t ADD twice int GENERATED ALWAYS AS (k * 2) STORED", sql: "COPY t (k, v) FROM 'FILE'", n: 5},
	{name: "dropped_columns", setup: "ALTER TABLE t ADD gone int; ALTER TABLE t DROP gone; ALTER TABLE t ADD late int DEFAULT 7", sql: "COPY t (k, v) FROM 'FILE'", n: 5},
	{name: "view", setup: "CREATE VIEW looked AS SELECT id, k, v FROM t; ALTER VIEW looked ALTER id SET DEFAULT nextval('other'); CREATE FUNCTION put() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t (id, k) OVERRIDING SYSTEM VALUE VALUES (NEW.id, NEW.k); RETURN NEW; END $$; CREATE TRIGGER put INSTEAD OF INSERT ON looked FOR EACH ROW EXECUTE FUNCTION put()", sql: "COPY looked (k, v) FROM 'FILE'", n: 5},
	{name: "with_a_foreign_key", setup: "CREATE TABLE referred (k int PRIMARY KEY); INSERT INTO referred SELECT generate_series(1, 5); ALTER TABLE t ADD FOREIGN KEY (k) REFERENCES referred", sql: "COPY t (k, v) FROM 'FILE'", n: 5},
}

func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, i+1)
	}
	return b.String()
}

var copyTables = []struct{ name, definition string }{
	{"plain", "CREATE TABLE t (id COLUMN, k int, v text)"},
	{"partitioned", "CREATE TABLE t (id COLUMN, k int, v text) PARTITION BY RANGE (k); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (3); CREATE TABLE t2 (v text, k int, id BASE NOT NULL); ALTER TABLE t ATTACH PARTITION t2 DEFAULT"},
	{"child", "CREATE TABLE up (id COLUMN, k int, v text); CREATE TABLE t (more int) INHERITS (up)"},
}

// copyColumns are of those that TestColumns has: by nextval and by identity.
var copyColumns = []struct{ name, definition, base string }{
	{"bigserial", "bigserial", "bigint"},
	{"identity_always", "bigint GENERATED ALWAYS AS IDENTITY", "bigint"},
	{"integer_identity", "int GENERATED BY DEFAULT AS IDENTITY", "int"},
	{"smallint_identity", "smallint GENERATED BY DEFAULT AS IDENTITY", "smallint"},
}

// TestCopy exists because COPY FROM is the one statement whose values for identity
// columns no query has: a COPY of ours takes the server's place, and must be as it is.
func TestCopy(t *testing.T) {
	n := newCluster(t, 1).Nodes[0]
	major := pgtest.Major(t)
	file, binary := inputFiles(t, n)
	for _, kind := range allKinds {
		t.Run(kind, func(t *testing.T) {
			n := n.For(t)
			seen := drawn{}
			for i, column := range copyColumns {
				if narrow(column.definition) && slices.Contains(idKinds, kind) {
					continue
				}
				for j, table := range copyTables {
					for k, p := range copies {
						if p.since > major || strings.HasPrefix(column.base, "small") && p.n > 1000 || p.name == "freeze" && table.name == "partitioned" ||
							table.name == "child" && strings.Contains(column.name, "identity") {
							continue // FREEZE is not for partitioned tables; children do not inherit identity
						}
						t.Run(column.name+"/"+table.name+"/"+p.name, func(t *testing.T) {
							definition := strings.NewReplacer("COLUMN", column.definition, "BASE", column.base).Replace(table.definition)
							p.sql = strings.NewReplacer("FILE", file, "BINARY", binary).Replace(p.sql)
							p.setup = strings.ReplaceAll(p.setup, "FILE", file)
							copyInto(t, n.For(t), kind, fmt.Sprintf("%s_%d_%d_%d", kind, i, j, k), definition, p, seen)
						})
					}
				}
			}
		})
	}
}

// inputFiles are five rows as text, and in the binary format.
func inputFiles(t *testing.T, n *pgtest.Node) (text, binary string) {
	t.Helper()
	text, binary = filepath.Join(n.Dir, "five.txt"), filepath.Join(n.Dir, "five.bin")
	n.Must(os.WriteFile(text, []byte("1\tv1\n2\tv2\n3\tv3\n4\tv4\n5\tv5\n"), 0o644))
	n.Exec(fmt.Sprintf("COPY (SELECT g, 'v' || g FROM generate_series(1, 5) g) TO '%s' (FORMAT binary)", binary))
	return text, binary
}

func copyInto(t *testing.T, n *pgtest.Node, kind, schema, definition string, p copied, seen drawn) {
	s := open(t, n, kind, schema)
	s.exec("CREATE SEQUENCE other", definition)
	if p.setup != "" {
		s.exec(p.setup)
	}
	if strings.Contains(p.sql, "STDIN") {
		if err := s.copyIn(p.sql, p.input); err != nil {
			t.Fatalf("%s: %s", p.sql, pgtest.Explain(err))
		}
	} else {
		s.exec(strings.Split(p.sql, "; ")...)
	}
	const isOwn = "(id BETWEEN 1000 AND 1010 AND k < 100)"
	if got := s.value("SELECT count(*) FROM t WHERE " + isOwn); got != fmt.Sprint(p.own) {
		t.Errorf("%s rows with values of the input, expected %d", got, p.own)
	}
	values := s.column("SELECT id FROM t WHERE NOT " + isOwn)
	if len(values) != p.n {
		t.Errorf("%d values, expected %d", len(values), p.n)
	}
	seen.require(t, n, kind, p.name, values)
	if p.name == "row_triggers" && s.value("SELECT count(*) FROM t WHERE v IS DISTINCT FROM id::text") != "0" {
		t.Error("the trigger has seen other values")
	}
	if p.name == "statement_triggers" && s.value("SELECT n FROM log") != fmt.Sprint(p.n) {
		t.Error("the trigger has not seen all values")
	}
	s.exec("DROP SCHEMA " + schema + " CASCADE")
}
