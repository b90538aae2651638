package sequence

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
)

const notYet = "is not yet defined in this session"

// TestCurrentValues exists because applications ask for the value that they were
// given, with sequences of several kinds in one session.
func TestCurrentValues(t *testing.T) {
	n := newCluster(t, 1).Nodes[0]
	for _, first := range allKinds {
		for _, second := range allKinds {
			t.Run(first+"_and_"+second, func(t *testing.T) {
				n := n.For(t)
				schema := first + "_" + second
				s := open(t, n, first, schema)
				s.exec("CREATE SEQUENCE a", "SET bdr.default_sequence_kind = "+second, "CREATE SEQUENCE b",
					"CREATE TABLE id (id bigint GENERATED ALWAYS AS IDENTITY, v text)")
				requireItsKind(t, n, schema+".a", first)
				requireItsKind(t, n, schema+".b", second)
				currentValues(t, s)
				afterRollback(t, s)
				afterDiscard(t, s)
				afterDrop(t, s)
			})
		}
	}
}

func currentValues(t *testing.T, s *session) {
	t.Helper()
	s.refused("SELECT currval('a')", "55000", notYet)
	s.refused("SELECT lastval()", "55000", notYet)
	for _, name := range []string{"a", "b", "a", "a", "b"} {
		v := s.value("SELECT nextval('" + name + "')")
		if got := s.value("SELECT concat_ws(' ', currval('" + name + "'), lastval(), currval('" + name + "'::text))"); got != v+" "+v+" "+v {
			t.Errorf("nextval of %s is %s; currval, lastval and currval by name are %s", name, v, got)
		}
	}
	a, b := s.value("SELECT currval('a')"), s.value("SELECT currval('b')")
	id := s.value("INSERT INTO id (v) VALUES ('x') RETURNING id")
	if got := s.value("SELECT concat_ws(' ', lastval(), currval('id_id_seq'), currval('a'), currval('b'))"); got != strings.Join([]string{id, id, a, b}, " ") {
		t.Errorf("after an identity column: %s", got)
	}
	if err := s.copyIn("COPY id (v) FROM STDIN", "y\n"); err != nil {
		t.Error(err)
	}
	if got := s.value("SELECT string_agg((id = lastval() AND id = currval('id_id_seq'))::text, '') FROM id WHERE v = 'y'"); got != "true" {
		t.Errorf("lastval and currval are not the value that COPY made")
	}
}

// A value that was given stays given.
func afterRollback(t *testing.T, s *session) {
	t.Helper()
	_, err := s.run("BEGIN; SELECT nextval('a'); SELECT 1/0")
	if err == nil {
		t.Error("1/0")
	}
	s.exec("ROLLBACK")
	v := s.value("SELECT currval('a')")
	if got := s.value("SELECT lastval()"); got != v {
		t.Errorf("lastval is %s after a rollback, currval %s", got, v)
	}
	if next := s.value("SELECT nextval('a')"); next == v {
		t.Errorf("%s twice", v)
	}
}

func afterDiscard(t *testing.T, s *session) {
	t.Helper()
	for _, what := range []string{"SEQUENCES", "ALL"} {
		path := s.value("SHOW search_path")
		s.exec("SELECT nextval('a'), nextval('b')", "DISCARD "+what, "SET search_path = "+path)
		for _, sql := range []string{"SELECT currval('a')", "SELECT currval('b')", "SELECT lastval()"} {
			s.refused(sql, "55000", notYet)
		}
	}
}

func afterDrop(t *testing.T, s *session) {
	t.Helper()
	oid := s.value("SELECT 'a'::regclass::oid")
	b := s.value("SELECT nextval('b')")
	s.exec("SELECT nextval('a')", "DROP SEQUENCE a")
	s.refused("SELECT lastval()", "55000", notYet)
	for _, function := range []string{"currval", "nextval"} {
		if _, err := s.run(fmt.Sprintf("SELECT %s(%s::oid::regclass)", function, oid)); err == nil || !strings.Contains(err.Error(), "relation with OID "+oid) {
			t.Errorf("%s of a sequence that is gone: %v", function, err)
		}
	}
	if got := s.value("SELECT currval('b')"); got != b {
		t.Errorf("currval of another sequence is %s, not %s", got, b)
	}
	s.refused("SELECT nextval('pg_class')", "42809", "pg_class")
	s.refused("SELECT setval('pg_class', 1)", "42809", "pg_class")
	s.refused("SELECT nextval('nobody')", "42P01", "does not exist")
}

// TestSetval exists because restores and migrations call setval, and believe that the
// sequence goes on behind the value.
func TestSetval(t *testing.T) {
	n := newCluster(t, 1).Nodes[0]
	for _, kind := range allKinds {
		t.Run(kind, func(t *testing.T) {
			n := n.For(t)
			s := open(t, n, kind, kind)
			s.exec("CREATE SEQUENCE s", "CREATE SEQUENCE other")
			s.refused("SELECT setval('s', 0)", "22003", "out of bounds")
			s.refused("SELECT setval('s', -5, false)", "22003", "out of bounds")
			switch {
			case slices.Contains(idKinds, kind):
				setvalOfIDs(t, s)
			case kind == galloc:
				setvalOfNumbers(t, s)
				setvalGoesBack(t, s, "1000001", "1000002")
			default:
				setvalOfNumbers(t, s)
				setvalGoesBack(t, s, "5", "6")
			}
			s.refused("BEGIN READ ONLY; SELECT setval('s', 1)", "25006", "read-only")
			s.refused("BEGIN READ ONLY; SELECT nextval('s')", "25006", "read-only")
		})
	}
}

func setvalOfIDs(t *testing.T, s *session) {
	t.Helper()
	s.refused("SELECT setval('s', bdr.timestamp_to_snowflakeid(now() + interval '1 hour'))", "55000", "cannot set sequence")
	before := s.number("SELECT nextval('s')")
	for _, call := range []string{"setval('s', 1)", "setval('s', 500, false)", "setval('s', 500, true)", fmt.Sprintf("setval('s', %d)", before)} {
		if got, want := s.value("SELECT "+call), call[strings.Index(call, ", ")+2:]; !strings.HasPrefix(want, got) {
			t.Errorf("%s returns %s", call, got)
		}
		if v := s.number("SELECT nextval('s')"); v <= before {
			t.Errorf("%d after %d", v, before)
		}
	}
	s.exec("SELECT nextval('s')", "SELECT setval('s', 77)")
	if got := s.value("SELECT currval('s') || ' ' || lastval()"); got != "77 77" {
		t.Errorf("currval and lastval after setval are %s", got)
	}
}

func setvalOfNumbers(t *testing.T, s *session) {
	t.Helper()
	if got := s.value("SELECT setval('s', 1000)"); got != "1000" {
		t.Errorf("setval returns %s", got)
	}
	if got := s.value("SELECT currval('s')"); got != "1000" {
		t.Errorf("currval after setval is %s", got)
	}
	s.refused("SELECT lastval()", "55000", notYet)
	if got := s.value("SELECT nextval('s')"); got != "1001" {
		t.Errorf("1000 and then %s", got)
	}
	s.exec("SELECT setval('s', 2000, false)")
	if got := s.value("SELECT currval('s') || ' ' || nextval('s') || ' ' || nextval('s')"); got != "1001 2000 2001" {
		t.Errorf("2000 that was not called, and then %s", got)
	}
	s.exec("SELECT nextval('other')", "SELECT setval('s', 1000000)")
	if got := s.value("SELECT (lastval() = currval('other')) || ' ' || currval('s') || ' ' || nextval('s')"); got != "true 1000000 1000001" {
		t.Errorf("after setval of another sequence than the last: %s", got)
	}
}

func setvalGoesBack(t *testing.T, s *session, first, second string) {
	t.Helper()
	s.exec("SELECT setval('s', 4)")
	v := s.value("SELECT nextval('s')")
	if s.value("SELECT seqkind FROM bdr.sequences WHERE relname = 's' AND nspname = current_schema") == galloc {
		first, second = "1000002", "1000003"
	}
	if v != first || s.value("SELECT nextval('s')") != second {
		t.Errorf("after setval to 4: %s, expected %s and %s", v, first, second)
	}
}

// looks are ways to see where a sequence stands; each returns last_value.
var looks = []string{
	"SELECT last_value FROM s WHERE is_called",
	"SELECT s.last_value FROM ONLY s",
	"SELECT x.l FROM s AS x(l, c, i)",
	"SELECT last_value FROM (SELECT * FROM s) x",
	"SELECT (SELECT last_value FROM s)",
	"SELECT last_value FROM generate_series(1, 1), LATERAL (SELECT last_value FROM s) x",
	"SELECT max(last_value) FROM s WHERE EXISTS (SELECT FROM s WHERE is_called)",
	"WITH x AS MATERIALIZED (SELECT last_value FROM s) SELECT last_value FROM x",
	"SELECT s.last_value FROM s CROSS JOIN (SELECT count(*) FROM s) x",
	"SELECT a.last_value FROM s a, s b WHERE b.last_value >= a.last_value",
	"SELECT last_value FROM s UNION SELECT last_value FROM s WHERE false",
	"SELECT last_value FROM look",
	"SELECT (SELECT last_value FROM look)",
	"SELECT look_sql()",
	"SELECT look_pl()",
	"SELECT look_twice()",
	"EXECUTE look",
	"SELECT last_value FROM pg_sequences WHERE sequencename = 's' AND schemaname = current_schema",
	"SELECT pg_sequence_last_value('s')",
	"TABLE s",
	"COPY_OUT",
}

// TestLook exists because people, monitoring and pg_dump read where a sequence stands:
// whoever goes on behind that must not meet a value that any node has made.
func TestLook(t *testing.T) {
	n := newCluster(t, 1).Nodes[0]
	for _, kind := range allKinds {
		t.Run(kind, func(t *testing.T) {
			s := open(t, n.For(t), kind, kind)
			s.exec("CREATE SEQUENCE s", "CREATE VIEW look AS SELECT last_value FROM s",
				"CREATE FUNCTION look_sql() RETURNS bigint LANGUAGE sql AS $$ SELECT last_value FROM s $$",
				"CREATE FUNCTION look_pl() RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE v bigint; BEGIN SELECT last_value INTO v FROM s; RETURN v; END $$",
				"CREATE FUNCTION look_twice() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT last_value FROM s) + (SELECT 0 * last_value FROM s); END $$",
				"PREPARE look AS SELECT last_value FROM s")
			if kind == local || kind == galloc {
				if got := s.value("SELECT concat_ws(' ', (SELECT last_value FROM s), (SELECT is_called FROM s), coalesce(pg_sequence_last_value('s')::text, 'nothing'))"); got != "1 f nothing" {
					t.Errorf("a new sequence: %s", got)
				}
			}
			made := s.number("SELECT max(nextval('s')) FROM generate_series(1, 100)")
			for _, sql := range looks {
				lookAt(t, s, kind, sql, made)
			}
			if got := s.value("SELECT tableoid = 's'::regclass FROM s"); got != "t" {
				t.Errorf("tableoid of a sequence: %s", got)
			}
			s.refused("INSERT INTO s VALUES (1)", "42809", "cannot change sequence")
			s.refused("UPDATE s SET last_value = 1", "42809", "cannot change sequence")
		})
	}
}

// The limit of a column that shows its raw page.
const exhausted = 1<<63 - 1

func lookAt(t *testing.T, s *session, kind, sql string, made int64) {
	t.Helper()
	if sql == "COPY_OUT" {
		s.exec("CREATE TABLE out (v bigint)", "INSERT INTO out SELECT last_value FROM s")
		sql = "SELECT v FROM out"
	}
	_, err := s.run(sql)
	if err != nil {
		t.Errorf("%s: %s", sql, pgtest.Explain(err))
		return
	}
	got := s.number(sql)
	if kind == local && got != made || got < made || got == exhausted {
		t.Errorf("%s: %d, after %d", sql, got, made)
	}
}
