package sequence

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
)

// plans are made, and run, before the kind of the sequence t_id_seq, or that of the
// identity column of i, is another.
var plans = []struct{ name, make, draw string }{
	{"prepared", "PREPARE p1 AS SELECT nextval('t_id_seq')", "EXECUTE p1"},
	{"prepared_of_text", "PREPARE p2(text) AS SELECT nextval($1)", "EXECUTE p2('t_id_seq')"},
	{"prepared_insert", "PREPARE p3 AS INSERT INTO t (k) SELECT generate_series(1, 3) RETURNING id", "EXECUTE p3"},
	{"prepared_identity", "PREPARE p4 AS INSERT INTO i (k) VALUES (1), (2) RETURNING id", "EXECUTE p4"},
	{"plpgsql_expression", "CREATE FUNCTION f1() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN nextval('t_id_seq'); END $$", "SELECT f1()"},
	{"plpgsql_insert", "CREATE FUNCTION f2() RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE v bigint; BEGIN INSERT INTO i (k) VALUES (1) RETURNING id INTO v; RETURN v; END $$", "SELECT f2()"},
	{"plpgsql_default", "CREATE FUNCTION f3() RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE v bigint := nextval('t_id_seq'); BEGIN RETURN v; END $$", "SELECT f3()"},
	{"sql_function", "CREATE FUNCTION f4() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$ INSERT INTO t (k) VALUES (1) RETURNING id $$", "SELECT f4()"},
	{"sql_body", "CREATE FUNCTION f5() RETURNS bigint RETURN nextval('t_id_seq')", "SELECT f5()"},
	{"trigger", "CREATE TABLE log (v bigint); CREATE FUNCTION f6() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := nextval('t_id_seq'); RETURN NEW; END $$; CREATE TRIGGER f6 BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION f6()", "INSERT INTO log VALUES (0) RETURNING v"},
	{"view", "CREATE VIEW v1 AS SELECT nextval('t_id_seq') v; PREPARE p5 AS SELECT v FROM v1", "EXECUTE p5"},
	{"domain", "CREATE DOMAIN d AS bigint CHECK (nextval('t_id_seq') > 0); PREPARE p6 AS SELECT 1::d, currval('t_id_seq')", "WITH x AS MATERIALIZED (SELECT 1::d) SELECT currval('t_id_seq') FROM x"},
	{"column_default", "CREATE TABLE def (v bigint DEFAULT nextval('t_id_seq') + 0, k int); PREPARE p7 AS INSERT INTO def (k) VALUES (1) RETURNING v", "EXECUTE p7"},
}

// planned is a session with all plans, which has drawn values by each.
type planned struct {
	*session
	t     *testing.T
	given map[string]bool
}

func makePlans(t *testing.T, n *pgtest.Node) *planned {
	s := &planned{&session{n.Session(), t, n}, t, map[string]bool{}}
	s.exec("CREATE TABLE t (id bigserial, k int)", "CREATE TABLE i (id bigint GENERATED ALWAYS AS IDENTITY, k int)")
	for _, p := range plans {
		s.exec(p.make)
	}
	_, err := s.Prepare(context.Background(), "extended", "SELECT nextval($1)", nil)
	n.Must(err)
	return s
}

// draw runs every plan so often that a prepared statement has a generic one.
func (s *planned) draw(kind string) {
	s.t.Helper()
	for _, p := range plans {
		for range 7 {
			s.keep(p.name, kind, s.column(p.draw))
		}
	}
	for range 7 {
		result := s.ExecPrepared(context.Background(), "extended", [][]byte{[]byte("t_id_seq")}, nil, nil).Read()
		s.n.Must(result.Err)
		s.keep("extended protocol", kind, []string{string(result.Rows[0][0])})
	}
}

func (s *planned) keep(name, kind string, values []string) {
	s.t.Helper()
	drawn{}.require(s.t, s.n, kind, name, values)
	for _, v := range values {
		sequence := map[bool]string{true: "i ", false: "t "}[name == "prepared_identity" || name == "plpgsql_insert"]
		if s.given[sequence+v] {
			s.t.Errorf("%s: %s has been given before", name, v)
		}
		s.given[sequence+v] = true
	}
}

// TestPlansAreOlder exists because sessions keep plans for days: neither a change of
// kind, nor that the database becomes a node, may leave one that draws the old way.
func TestPlansAreOlder(t *testing.T) {
	c := pgtest.NewCluster(t, 1, pgtest.WithMembers(0))
	n := c.Nodes[0]
	s := makePlans(t, n)
	s.draw(local)
	c.Member(0)
	waitInstalled(n)
	s.draw(local)
	for _, kind := range []string{galloc, snowflakeid, timeshard, snowflakeid, timeshard} {
		for _, sequence := range []string{"t_id_seq", "i_id_seq"} {
			setKind(n, sequence, kind)
			requireItsKind(t, n, sequence, kind)
		}
		s.draw(kind)
	}
	last := map[string]int64{}
	for _, sequence := range []string{"t", "i"} {
		last[sequence] = s.number("SELECT last_value FROM " + sequence + "_id_seq")
	}
	n.Exec("SELECT bdr.drop_node('node1')")
	for sequence, draw := range map[string]string{"t": "EXECUTE p1", "i": "EXECUTE p4"} {
		next, err := strconv.ParseInt(s.column(draw)[0], 10, 64)
		n.Must(err)
		if next <= last[sequence] {
			t.Errorf("%d after %d", next, last[sequence])
		}
	}
}

// TestSwitchAndTransactions exists because a transaction that began before a sequence
// became another draws as all others do, whatever its snapshot is.
func TestSwitchAndTransactions(t *testing.T) {
	n := newCluster(t, 1).Nodes[0]
	for _, level := range []string{"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"} {
		schema := strings.ReplaceAll(strings.ToLower(level), " ", "_")
		open(t, n, local, schema).exec("CREATE TABLE t (id bigserial, k int)", "CREATE TABLE i (id bigint GENERATED ALWAYS AS IDENTITY, k int)")
		for i, kind := range []string{galloc, local, galloc, snowflakeid, timeshard, snowflakeid} { // no numbers behind ids
			t.Run(fmt.Sprintf("%s/%d_%s", schema, i, kind), func(t *testing.T) {
				switchAround(t, n.For(t), level, schema, kind)
			})
		}
	}
}

func switchAround(t *testing.T, n *pgtest.Node, level, schema, kind string) {
	s := open(t, n, local, schema)
	s.exec("BEGIN ISOLATION LEVEL "+level, "SELECT count(*) FROM pg_class", "DECLARE c CURSOR FOR SELECT nextval('t_id_seq') FROM generate_series(1, 4)")
	for _, sequence := range []string{"t_id_seq", "i_id_seq"} {
		setKind(n, schema+"."+sequence, kind)
	}
	seen := drawn{}
	seen.require(t, n, kind, "cursor", s.column("FETCH 2 FROM c"))
	seen.require(t, n, kind, "nextval", s.column("SELECT nextval('t_id_seq')"))
	seen.require(t, n, kind, "cursor again", s.column("FETCH 2 FROM c"))
	drawn{}.require(t, n, kind, "identity", s.column("INSERT INTO i (k) VALUES (1), (2) RETURNING id"))
	s.exec("SAVEPOINT x", "SELECT nextval('t_id_seq')", "ROLLBACK TO x")
	s.refused("SELECT bdr.alter_sequence_set_kind('t_id_seq', 'timeshard', 2)", "55006", "This transaction has used it.")
}

// TestKindInTheTransactionThatCreates exists because a migration creates a table, fills
// it and sets the kind of its sequence, all in one transaction that may be taken back.
func TestKindInTheTransactionThatCreates(t *testing.T) {
	n := newCluster(t, 1).Nodes[0]
	for _, first := range allKinds {
		for _, second := range allKinds {
			t.Run(first+"_to_"+second, func(t *testing.T) {
				n := n.For(t)
				s := open(t, n, first, first+"_"+second)
				for _, end := range []string{"ROLLBACK", "COMMIT"} {
					migrate(s, second)
					s.exec(end)
				}
				s.exec("INSERT INTO t (k) VALUES (1), (2)")
				for _, column := range []string{"id", "s"} {
					drawn{}.require(t, n, first, "before", s.column("SELECT "+column+" FROM t WHERE k = 0"))
					drawn{}.require(t, n, second, "afterwards", s.column("SELECT "+column+" FROM t WHERE k > 0"))
					if got := s.value(fmt.Sprintf("SELECT count(*) - count(DISTINCT %s) FROM t", column)); got != "0" {
						t.Errorf("%s: %s values are there twice", column, got)
					}
				}
				if got := s.number("SELECT min(id) FROM t WHERE k > 0"); got < 100 {
					t.Errorf("it starts with %d", got)
				}
				if got := s.value("SELECT string_agg(DISTINCT seqkind, ' ') || count(*) FROM bdr.sequences WHERE nspname = current_schema"); got != second+"2" {
					t.Errorf("sequences are %s", got)
				}
				requireNoOrphans(t, n)
			})
		}
	}
}

// TestKindIsRolledBack exists because a savepoint takes back a kind but not what is
// written to the page of a sequence.
func TestKindIsRolledBack(t *testing.T) {
	n := newCluster(t, 1).Nodes[0]
	for _, first := range allKinds {
		for _, second := range allKinds {
			s := open(t, n, first, "back_"+first+"_"+second)
			s.exec("BEGIN", "CREATE TABLE t (id bigserial, k int)", "INSERT INTO t (k) VALUES (0)", "SAVEPOINT x",
				fmt.Sprintf("SELECT bdr.alter_sequence_set_kind('t_id_seq', '%s')", second), "INSERT INTO t (k) VALUES (1)", "ROLLBACK TO x",
				"INSERT INTO t (k) VALUES (2)", "COMMIT")
			s.exec("INSERT INTO t (k) VALUES (3)")
			drawn{}.require(t, n, first, "afterwards", s.column("SELECT id FROM t"))
			if got := s.value("SELECT count(DISTINCT id) || ' ' || string_agg(k::text, '' ORDER BY id) FROM t"); got != "3 023" {
				t.Errorf("%s, not %s: %s", first, second, got)
			}
		}
	}
	requireNoOrphans(t, n)
}

// migrate leaves 300 rows of before, and some of the kind.
func migrate(s *session, kind string) {
	s.t.Helper()
	s.exec("BEGIN", "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY, s bigserial, k int)", "SAVEPOINT x", "CREATE SEQUENCE gone", "SELECT nextval('gone')", "ROLLBACK TO x",
		"INSERT INTO t (k) SELECT 0 FROM generate_series(1, 300)")
	s.exec(fmt.Sprintf("SELECT bdr.alter_sequence_set_kind('t_id_seq', '%[1]s', 100), bdr.alter_sequence_set_kind('t_s_seq', '%[1]s')", kind))
	s.exec("INSERT INTO t (k) SELECT generate_series(1, 5)", "SAVEPOINT y", "INSERT INTO t (k) VALUES (1)", "ROLLBACK TO y", "INSERT INTO t (k) VALUES (1)")
}
