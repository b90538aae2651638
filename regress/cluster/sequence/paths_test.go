package sequence

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
)

// A path is a way to draw values from the sequence s. The last statement that has
// rows returns them, so many.
type path struct {
	name  string
	setup string
	draw  string
	n     int
}

// calls are all places where an expression may stand.
var calls = []path{
	{"constant", "", "SELECT nextval('s') FROM generate_series(1, 50)", 50},
	{"constant_with_schema", "", "SELECT nextval('SCHEMA.s') FROM generate_series(1, 5)", 5},
	{"qualified_function", "", "SELECT pg_catalog.nextval('s'::pg_catalog.regclass) FROM generate_series(1, 5)", 5},
	{"text", "", "SELECT nextval('s'::text) FROM generate_series(1, 5)", 5},
	{"text_of_a_column", "", "SELECT nextval(name) FROM (VALUES ('s'::text), ('SCHEMA.s')) v(name), generate_series(1, 5)", 10},
	{"oid_of_a_column", "", "SELECT nextval(oid) FROM pg_class, generate_series(1, 5) WHERE relname = 's' AND relnamespace = 'SCHEMA'::regnamespace", 5},
	{"named_argument", "CREATE FUNCTION named(a regclass) RETURNS bigint RETURN nextval(a)", "SELECT named(a => 's') FROM generate_series(1, 5)", 5},
	{"function_scan", "", "SELECT * FROM nextval('s'), generate_series(1, 1)", 1},
	{"lateral", "", "SELECT v FROM generate_series(1, 5) g, LATERAL nextval(left('s' || g, 1)::regclass) v", 5},
	{"rows_from", "", "SELECT v FROM ROWS FROM (nextval('s'), generate_series(1, 1)) x(v, g)", 1},
	{"sublink", "", "SELECT (SELECT nextval('s') WHERE g > 0) FROM generate_series(1, 5) g", 5},
	{"materialized_cte", "", "WITH x AS MATERIALIZED (SELECT nextval('s') v FROM generate_series(1, 5)) SELECT v FROM x", 5},
	{"recursive_cte", "", "WITH RECURSIVE x(n, v) AS (SELECT 1, nextval('s') UNION ALL SELECT n + 1, nextval('s') FROM x WHERE n < 5) SELECT v FROM x", 5},
	{"values", "", "VALUES (nextval('s')), (nextval('s'::text)), (nextval('s'))", 3},
	{"coalesce", "", "SELECT coalesce(NULL, CASE WHEN g > 0 THEN nextval('s') END) FROM generate_series(1, 5) g", 5},
	{"arithmetic", "", "SELECT nextval('s') + 0 FROM generate_series(1, 5) g", 5},
	{"casts", "", "SELECT nextval('s')::text::numeric::bigint FROM generate_series(1, 5) g", 5},
	{"aggregate", "", "SELECT unnest(array_agg(nextval('s'))) FROM generate_series(1, 5) g", 5},
	{"window", "", "SELECT lag(nextval('s'), 0) OVER (ORDER BY g) FROM generate_series(1, 5) g", 5},
	{"array", "", "SELECT unnest(ARRAY[nextval('s'), nextval('s')])", 2},
	{"row", "", "SELECT (ROW(nextval('s'), 1)::record)::text::json IS NULL, 1 WHERE false; SELECT (x).a FROM (SELECT nextval('s') a OFFSET 0) x", 1},
	{"json", "", "SELECT (to_jsonb(nextval('s')))::bigint FROM generate_series(1, 5)", 5},
	{"union", "", "SELECT nextval('s') UNION ALL SELECT nextval('s')", 2},
	{"group_by", "", "SELECT nextval('s') FROM generate_series(1, 5) GROUP BY 1", 5},
	{"where", "", "SELECT currval('s') FROM generate_series(1, 5) WHERE nextval('s') > 0", 5},
	{"null", "", "SELECT coalesce(nextval(NULL), nextval('s'))", 1},
	{"operator", "CREATE OPERATOR !+ (FUNCTION = nextval, RIGHTARG = regclass)", "SELECT !+ 's'::regclass FROM generate_series(1, 5)", 5},
	{"inlined_function", "CREATE FUNCTION inlined() RETURNS bigint LANGUAGE sql AS $$ SELECT nextval('s') $$", "SELECT inlined() FROM generate_series(1, 5)", 5},
	{"function_with_a_body", "CREATE FUNCTION body() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT nextval('s'); END", "SELECT body() FROM generate_series(1, 5)", 5},
	{"function_that_is_not_inlined", "CREATE FUNCTION apart() RETURNS SETOF bigint LANGUAGE sql SECURITY DEFINER AS $$ SELECT nextval('s'); SELECT nextval('s') FROM generate_series(1, 5) $$", "SELECT apart()", 5},
	{"set_returning_inlined_function", "CREATE FUNCTION several() RETURNS SETOF bigint LANGUAGE sql AS $$ SELECT nextval('s') FROM generate_series(1, 5) $$", "SELECT * FROM several()", 5},
	{"plpgsql", "CREATE FUNCTION pl() RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE v bigint := nextval('s'); BEGIN v := nextval('s'); RETURN v; END $$", "SELECT pl() FROM generate_series(1, 50)", 50},
	{"plpgsql_query", "CREATE FUNCTION pl_query() RETURNS SETOF bigint LANGUAGE plpgsql AS $$ DECLARE v bigint; BEGIN SELECT nextval('s') INTO v; RETURN NEXT v; PERFORM nextval('s'); EXECUTE 'SELECT nextval(''s'')' INTO v; RETURN NEXT v; EXECUTE 'SELECT $1' INTO v USING nextval('s'); RETURN NEXT v; RETURN QUERY SELECT nextval('s'); RETURN QUERY EXECUTE 'SELECT nextval($1)' USING 's'::regclass; FOR v IN SELECT nextval('s') FROM generate_series(1, 3) LOOP RETURN NEXT v; END LOOP; END $$", "SELECT pl_query()", 8},
	{"do", "CREATE TABLE noted (v bigint)", "DO $$ BEGIN INSERT INTO noted SELECT nextval('s'); EXECUTE 'INSERT INTO noted VALUES (nextval(''s''))'; END $$; SELECT v FROM noted", 2},
	{"procedure", "CREATE TABLE noted (v bigint); CREATE PROCEDURE note(INOUT x bigint) LANGUAGE plpgsql AS $$ BEGIN INSERT INTO noted VALUES (x), (nextval('s')); END $$", "CALL note(nextval('s')); SELECT v FROM noted", 2},
	{"default_argument", "CREATE FUNCTION given(a bigint DEFAULT nextval('s')) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN a; END $$", "SELECT given() FROM generate_series(1, 5)", 5},
	{"execute", "PREPARE p(bigint) AS SELECT $1", "EXECUTE p(nextval('s'))", 1},
	{"cursor", "", "DECLARE c CURSOR FOR SELECT nextval('s') FROM generate_series(1, 5); FETCH ALL FROM c", 5},
	{"create_table_as", "", "CREATE TABLE made AS SELECT nextval('s') v FROM generate_series(1, 5); SELECT v FROM made", 5},
	{"select_into", "", "SELECT nextval('s') v INTO made FROM generate_series(1, 5); SELECT v FROM made", 5},
	{"materialized_view", "", "CREATE MATERIALIZED VIEW made AS SELECT nextval('s') v FROM generate_series(1, 5); REFRESH MATERIALIZED VIEW made; SELECT v FROM made", 5},
	{"view", "CREATE VIEW looked AS SELECT nextval('s') v FROM generate_series(1, 5)", "SELECT v FROM looked", 5},
	{"copy_query", "CREATE TABLE noted (v bigint)", "INSERT INTO noted SELECT nextval('s'); COPY (SELECT nextval('s')) TO PROGRAM 'cat > /dev/null'; SELECT v FROM noted", 1},
	{"domain_default", "CREATE DOMAIN id AS bigint DEFAULT nextval('s'); CREATE TABLE of_domain (v id, k int)", "INSERT INTO of_domain (k) SELECT generate_series(1, 5) RETURNING v", 5},
	{"domain_in_a_row_variable", "CREATE DOMAIN id AS bigint DEFAULT nextval('s'); CREATE TABLE of_domain (v id, k int)", "INSERT INTO of_domain VALUES (DEFAULT, 1), (DEFAULT, 2) RETURNING v", 2},
	{"trigger", "CREATE TABLE t (v bigint, k int); CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := nextval('s'); RETURN NEW; END $$; CREATE TRIGGER fill BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION fill()", "INSERT INTO t (k) SELECT generate_series(1, 50) RETURNING v", 50},
	{"trigger_condition", "CREATE TABLE t (v bigint); CREATE TABLE log (v bigint); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (currval('s')); RETURN NULL; END $$; CREATE TRIGGER note AFTER INSERT ON t FOR EACH ROW WHEN (nextval('s') > 0) EXECUTE FUNCTION note()", "INSERT INTO t VALUES (1); SELECT v FROM log", 1},
	{"check_constraint", "CREATE TABLE t (v bigint CHECK (nextval('s') > 0))", "INSERT INTO t VALUES (1); SELECT currval('s')", 1},
	{"policy_and_returning", "CREATE TABLE t (v int)", "INSERT INTO t VALUES (1), (2) RETURNING nextval('s')", 2},
	{"update_set", "CREATE TABLE t (v bigint); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t SELECT generate_series(1, 50)", "UPDATE t SET v = nextval('s') RETURNING v", 50},
	{"update_set_row", "CREATE TABLE t (v bigint, w bigint); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1, 1)", "UPDATE t SET (v, w) = (SELECT nextval('s'), 1) RETURNING v", 1},
	{"delete_returning", "CREATE TABLE t (v bigint); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1), (2)", "DELETE FROM t RETURNING nextval('s')", 2},
	{"merge_values", "CREATE TABLE t (v bigint, k int); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (0, 1)", "MERGE INTO t USING generate_series(1, 5) g ON k = g WHEN MATCHED THEN UPDATE SET v = nextval('s') WHEN NOT MATCHED THEN INSERT VALUES (nextval('s'), g); SELECT v FROM t", 5},
	{"default_that_is_computed", "CREATE TABLE t (v text DEFAULT 'n' || lpad(nextval('s')::text, 30, '0'), k int)", "INSERT INTO t (k) SELECT generate_series(1, 5); SELECT substr(v, 2)::bigint FROM t", 5},
	{"default_of_several_tables", "CREATE TABLE t (v bigint DEFAULT nextval('s'), k int); CREATE TABLE u (LIKE t INCLUDING ALL)", "INSERT INTO t (k) SELECT generate_series(1, 5); INSERT INTO u (k) SELECT generate_series(1, 5); SELECT v FROM t UNION ALL SELECT v FROM u", 10},
	{"jsonb_column", "CREATE TABLE t (v jsonb DEFAULT jsonb_build_object('id', nextval('s')), k int)", "INSERT INTO t (k) VALUES (1), (2) RETURNING (v ->> 'id')::bigint", 2},
	{"generic_plan", "SET plan_cache_mode = force_generic_plan; PREPARE p AS SELECT nextval('s')", "EXECUTE p", 1},
	{"savepoint", "", "BEGIN; SAVEPOINT x; SELECT nextval('s'); ROLLBACK TO x; SELECT nextval('s'); COMMIT", 1},
	{"limit", "CREATE TABLE noted (v bigint)", "SELECT 1 LIMIT nextval('s'); SELECT currval('s')", 1},
	{"table_sample_free_order", "", "SELECT v FROM (SELECT nextval('s') v FROM generate_series(1, 5) g ORDER BY g DESC) x", 5},
}

// TestCalls exists because nextval is called in every place where PostgreSQL has
// expressions, and each of them must lead to the sequence's own kind.
func TestCalls(t *testing.T) {
	n := newCluster(t, 1).Nodes[0]
	for _, kind := range allKinds {
		t.Run(kind, func(t *testing.T) {
			n := n.For(t)
			seen := drawn{}
			for i, p := range calls {
				t.Run(p.name, func(t *testing.T) {
					schema := fmt.Sprintf("%s_%d", kind, i)
					s := open(t, n.For(t), kind, schema)
					s.exec("CREATE SEQUENCE s")
					if p.setup != "" {
						s.exec(strings.ReplaceAll(p.setup, "SCHEMA", schema))
					}
					requireDrawn(t, n, s, seen, kind, schema+".s", p, schema)
				})
			}
		})
	}
}

func requireDrawn(t *testing.T, n *pgtest.Node, s *session, seen drawn, kind, sequence string, p path, schema string) {
	t.Helper()
	values := s.column(strings.ReplaceAll(p.draw, "SCHEMA", schema))
	if len(values) != p.n {
		t.Errorf("%d values, expected %d", len(values), p.n)
	}
	requireItsKind(t, n, sequence, kind)
	seen.require(t, n, kind, p.name, values)
}

// columns are how a column gets its values of a sequence, and the kinds that its
// type has room for.
var columns = []struct{ name, definition string }{
	{"bigserial", "bigserial"},
	{"serial_primary_key", "bigserial PRIMARY KEY"},
	{"default", "bigint DEFAULT nextval('s')"},
	{"identity_always", "bigint GENERATED ALWAYS AS IDENTITY"},
	{"identity_by_default", "bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"},
	{"domain", "id"},
	{"numeric_default", "numeric DEFAULT nextval('s')"},
	{"text_default", "text DEFAULT nextval('s')::text"},
	{"smallserial", "smallserial"},
	{"serial", "serial"},
	{"smallint_identity_always", "smallint GENERATED ALWAYS AS IDENTITY"},
	{"smallint_identity_by_default", "smallint GENERATED BY DEFAULT AS IDENTITY"},
	{"integer_identity_always", "int GENERATED ALWAYS AS IDENTITY"},
	{"integer_identity_by_default", "int GENERATED BY DEFAULT AS IDENTITY"},
	{"integer_identity_with_options", "int GENERATED ALWAYS AS IDENTITY (START 50 INCREMENT 3 CACHE 4)"},
}

func narrow(definition string) bool {
	return strings.HasPrefix(definition, "smal") || strings.HasPrefix(definition, "serial") || strings.HasPrefix(definition, "int")
}

// tables are t with the column id, and k, which is unique; tt is what is written to.
var tables = []struct{ name, definition string }{
	{"plain", "CREATE TABLE tt (id COLUMN, k int UNIQUE, v text); ALTER TABLE tt REPLICA IDENTITY FULL"},
	{"partitioned", "CREATE TABLE tt (id COLUMN, k int UNIQUE, v text) PARTITION BY RANGE (k); CREATE TABLE tt1 PARTITION OF tt FOR VALUES FROM (0) TO (3); CREATE TABLE tt2 PARTITION OF tt DEFAULT; ALTER TABLE tt1 REPLICA IDENTITY FULL; ALTER TABLE tt2 REPLICA IDENTITY FULL"},
}

// statements fill tt; afterwards it has so many rows.
var statements = []path{
	{"single", "", "INSERT INTO tt (k) VALUES (1)", 1},
	{"no_columns", "", "INSERT INTO tt (k, v) VALUES (1, 'x')", 1},
	{"several_rows", "", "INSERT INTO tt (k) VALUES (1), (2), (3)", 3},
	{"default_keyword", "", "INSERT INTO tt VALUES (DEFAULT, 1, 'x')", 1},
	{"default_keyword_in_several_rows", "", "INSERT INTO tt VALUES (DEFAULT, 1, 'x'), (DEFAULT, 2, 'y')", 2},
	{"default_values", "", "INSERT INTO tt DEFAULT VALUES", 1},
	{"select", "", "INSERT INTO tt (k) SELECT generate_series(1, 50)", 50},
	{"overriding_user_value", "", "INSERT INTO tt (k) OVERRIDING USER VALUE VALUES (1), (2)", 2},
	{"overriding_system_value", "", "INSERT INTO tt (id, k) OVERRIDING SYSTEM VALUE VALUES (DEFAULT, 1)", 1},
	{"cte", "", "WITH x AS (INSERT INTO tt (k) VALUES (1), (2) RETURNING id) SELECT 1 FROM x", 2},
	{"cte_of_select", "", "WITH x AS (INSERT INTO tt (k) SELECT generate_series(1, 5) RETURNING id) SELECT count(DISTINCT id) FROM x", 5},
	{"two_ctes", "", "WITH x AS (INSERT INTO tt (k) VALUES (1) RETURNING id), y AS (INSERT INTO tt (k) VALUES (2) RETURNING id) SELECT 1 FROM x, y", 2},
	{"update", "", "INSERT INTO tt (k) VALUES (1), (2); UPDATE tt SET id = DEFAULT", 2},
	{"update_row", "", "INSERT INTO tt (k) VALUES (1); UPDATE tt SET (id, v) = (DEFAULT, 'x') WHERE k = 1", 1},
	{"on_conflict_update", "", "INSERT INTO tt (k) VALUES (1); INSERT INTO tt (k) VALUES (1), (2) ON CONFLICT (k) DO UPDATE SET id = DEFAULT, v = 'again'", 2},
	{"on_conflict_excluded", "", "INSERT INTO tt (k) VALUES (1); INSERT INTO tt (k) VALUES (1), (2) ON CONFLICT (k) DO UPDATE SET v = EXCLUDED.id::text", 2},
	{"merge", "", "INSERT INTO tt (k) VALUES (1); MERGE INTO tt USING generate_series(1, 5) g ON k = g WHEN MATCHED THEN UPDATE SET id = DEFAULT WHEN NOT MATCHED THEN INSERT (k) VALUES (g)", 5},
	{"merge_default", "", "MERGE INTO tt USING generate_series(1, 5) g ON k = g WHEN NOT MATCHED THEN INSERT VALUES (DEFAULT, g, 'x')", 5},
	{"view", "CREATE VIEW of_tt AS SELECT * FROM tt", "INSERT INTO of_tt (k) VALUES (1), (2); INSERT INTO of_tt VALUES (DEFAULT, 3)", 3},
	{"view_with_check", "CREATE VIEW of_tt AS SELECT * FROM tt WHERE k > 0 WITH CHECK OPTION", "INSERT INTO of_tt (k) SELECT generate_series(1, 5); INSERT INTO of_tt VALUES (DEFAULT, 6)", 6},
	{"instead_rule", "CREATE VIEW of_tt AS SELECT k, v FROM tt; CREATE RULE filled AS ON INSERT TO of_tt DO INSTEAD INSERT INTO tt (k, v) VALUES (NEW.k, NEW.v)", "INSERT INTO of_tt VALUES (1, 'a'), (2, 'b')", 2},
	{"also_rule", "CREATE TABLE other (k int); CREATE RULE filled AS ON INSERT TO other DO ALSO INSERT INTO tt (k) VALUES (NEW.k)", "INSERT INTO other SELECT generate_series(1, 5)", 5},
	{"instead_trigger", "CREATE VIEW of_tt AS SELECT k, v FROM tt; CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO tt (k) VALUES (NEW.k); RETURN NEW; END $$; CREATE TRIGGER fill INSTEAD OF INSERT ON of_tt FOR EACH ROW EXECUTE FUNCTION fill()", "INSERT INTO of_tt SELECT generate_series(1, 5)", 5},
	{"before_trigger", "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := NEW.id; RETURN NEW; END $$; CREATE TRIGGER look BEFORE INSERT ON tt FOR EACH ROW EXECUTE FUNCTION look()", "INSERT INTO tt (k) SELECT generate_series(1, 5)", 5},
	{"sql_function", "CREATE FUNCTION write(a int) RETURNS text LANGUAGE sql AS $$ INSERT INTO tt (k) VALUES (a) RETURNING id::text $$", "SELECT write(g) FROM generate_series(1, 5) g", 5},
	{"plpgsql_function", "CREATE FUNCTION write() RETURNS void LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1..20 LOOP INSERT INTO tt (k) VALUES (i); END LOOP; END $$", "SELECT write()", 20},
	{"procedure", "CREATE PROCEDURE write() LANGUAGE sql BEGIN ATOMIC INSERT INTO tt (k) VALUES (1), (2); END", "CALL write()", 2},
	{"prepared", "PREPARE w AS INSERT INTO tt (k) VALUES ($1)", "EXECUTE w(1); EXECUTE w(2); EXECUTE w(3); EXECUTE w(4); EXECUTE w(5); EXECUTE w(6); EXECUTE w(7)", 7},
	{"explain_analyze", "", "EXPLAIN (ANALYZE, VERBOSE) INSERT INTO tt (k) VALUES (1), (2)", 2},
	{"copy_of_insert", "", "COPY (INSERT INTO tt (k) VALUES (1), (2) RETURNING id) TO PROGRAM 'cat > /dev/null'", 2},
	{"record", "", "INSERT INTO tt (k, v) SELECT * FROM json_to_recordset('[{\"k\": 1}, {\"k\": 2}]') AS x(k int, v text)", 2},
	{"attached_partition_or_child", "CREATE TABLE child (LIKE tt INCLUDING DEFAULTS INCLUDING IDENTITY)", "INSERT INTO child (k) VALUES (1); INSERT INTO tt (k) SELECT k FROM child", 1},
}

// TestColumns exists because serial and identity columns are what most sequences are
// for, and identity columns do not call nextval: every statement that fills a column
// must draw from the sequence's own kind.
func TestColumns(t *testing.T) {
	n := newCluster(t, 1).Nodes[0]
	for _, kind := range allKinds {
		t.Run(kind, func(t *testing.T) {
			n := n.For(t)
			seen := drawn{}
			for i, column := range columns {
				if narrow(column.definition) && slices.Contains(idKinds, kind) {
					continue // TestNarrowSequences
				}
				for j, table := range tables {
					if strings.Contains(column.definition, "PRIMARY KEY") && table.name == "partitioned" {
						continue // a key of a partitioned table has the key of its partitions
					}
					t.Run(column.name+"/"+table.name, func(t *testing.T) {
						fillColumn(t, n.For(t), kind, fmt.Sprintf("%s_%d_%d", kind, i, j), strings.ReplaceAll(table.definition, "COLUMN", column.definition), seen)
					})
				}
			}
		})
	}
}

// fillColumn runs each statement on a table of its own: a galloc sequence that is made
// again would go on behind the one before.
func fillColumn(t *testing.T, n *pgtest.Node, kind, prefix, definition string, seen drawn) {
	s := open(t, n, kind, prefix)
	for i, p := range statements {
		schema := fmt.Sprintf("%s_%d", prefix, i)
		s.exec(fmt.Sprintf("DEALLOCATE ALL; CREATE SCHEMA %[1]s; SET search_path = %[1]s", schema))
		s.exec("CREATE SEQUENCE s; CREATE DOMAIN id AS bigint DEFAULT nextval('s')", definition)
		if p.setup != "" {
			s.exec(p.setup)
		}
		s.exec(strings.Split(p.draw, "; ")...)
		values := s.column("SELECT id FROM tt")
		if len(values) != p.n {
			t.Errorf("%s: %d rows, expected %d", p.name, len(values), p.n)
		}
		seen.require(t, n, kind, p.name, values)
		if others := s.value(fmt.Sprintf("SELECT count(*) FROM bdr.sequences WHERE nspname = '%s' AND seqkind <> '%s'", schema, kind)); others != "0" {
			t.Errorf("%s: %s sequences are not %s", p.name, others, kind)
		}
		s.exec("DROP SCHEMA " + schema + " CASCADE")
	}
}
