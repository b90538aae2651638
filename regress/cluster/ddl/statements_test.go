package ddl

import (
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
)

// groups are statements that belong together, by what they are about. Each runs
// on one node; afterwards all nodes have the same definitions and rows.
var groups = []struct {
	name       string
	statements []string
}{
	{"table", []string{
		"CREATE TABLE t (a int PRIMARY KEY, b text DEFAULT 'x' COLLATE \"C\" CHECK (b <> ''))", "INSERT INTO t VALUES (1), (2)",
		"ALTER TABLE t ADD COLUMN c int DEFAULT 7, ALTER COLUMN b SET NOT NULL", "INSERT INTO t VALUES (3)",
		"ALTER TABLE t ALTER COLUMN a TYPE bigint, ALTER COLUMN c TYPE text USING 'c' || c", "INSERT INTO t VALUES (4)",
		"ALTER TABLE t RENAME COLUMN c TO d", "ALTER TABLE t RENAME TO renamed", "UPDATE renamed SET d = 'x' WHERE a < 3",
		"ALTER TABLE renamed DROP COLUMN b", "INSERT INTO renamed VALUES (5)", "ALTER TABLE renamed ADD CONSTRAINT u UNIQUE (d, a)"}},
	{"values of new columns", []string{
		"CREATE TABLE vals (a int PRIMARY KEY)", "INSERT INTO vals SELECT generate_series(1, 1000)", "CREATE FUNCTION later() RETURNS timestamptz STABLE LANGUAGE sql AS 'SELECT now() + interval ''1 day'' '",
		"ALTER TABLE vals ADD b timestamptz NOT NULL DEFAULT now(), ADD c date DEFAULT current_date, ADD d text DEFAULT 'at ''' || localtimestamp(0)",
		"SET TimeZone = 'Asia/Tokyo'; ALTER TABLE vals ADD e timestamptz DEFAULT later(), ADD f text DEFAULT current_setting('no.such', true), ADD g int DEFAULT 7; RESET TimeZone",
		"BEGIN; ALTER TABLE vals ADD h float8 DEFAULT extract(epoch FROM now()); INSERT INTO vals (a) VALUES (1001); ALTER TABLE vals ALTER g TYPE bigint, ADD i timestamp[] DEFAULT ARRAY[localtimestamp]; COMMIT",
		"ALTER TABLE vals ADD COLUMN IF NOT EXISTS g timestamptz DEFAULT now()", "INSERT INTO vals (a) VALUES (1002)"}},
	{"foreign keys", []string{
		"CREATE TABLE parents (a int PRIMARY KEY)", "CREATE TABLE children (a int PRIMARY KEY, p int)",
		"INSERT INTO parents VALUES (1)", "INSERT INTO children VALUES (1, 1)",
		"ALTER TABLE children ADD CONSTRAINT f FOREIGN KEY (p) REFERENCES parents NOT VALID", "ALTER TABLE children VALIDATE CONSTRAINT f"}},
	{"CREATE TABLE AS", []string{
		"CREATE TABLE as1 (a, \"B c\") WITH (fillfactor = 50) AS SELECT g, 'x'::varchar(7) COLLATE \"C\" FROM generate_series(1, 100) g",
		"SELECT a * 2 AS a, random() AS r INTO as2 FROM as1", "CREATE TABLE IF NOT EXISTS as2 AS SELECT 1 AS other",
		"CREATE TABLE as3 AS SELECT 1 AS one, NULL AS n, ARRAY[1.5] AS m WITH NO DATA", "CREATE UNLOGGED TABLE as4 AS SELECT 1 AS one",
		"EXPLAIN (ANALYZE, COSTS off) CREATE TABLE as5 AS SELECT g, clock_timestamp() FROM generate_series(1, 3) g", "CREATE TABLE as6 AS SELECT",
		"PREPARE p AS SELECT $1::int AS one", "CREATE TABLE as7 AS EXECUTE p (7)", "CREATE TABLE as8 AS TABLE as1",
		"DO $$DECLARE v int := 5; BEGIN CREATE TABLE as9 AS SELECT v + 1 AS six; END$$"}},
	{"schema", []string{
		"CREATE SCHEMA s CREATE TABLE t (a int PRIMARY KEY, b serial) CREATE VIEW v AS SELECT a FROM t CREATE INDEX ON t (b)",
		"INSERT INTO s.t VALUES (1, 1)", "ALTER SCHEMA s RENAME TO s2", "CREATE SCHEMA s3", "ALTER TABLE s2.t SET SCHEMA s3", "INSERT INTO s3.t VALUES (2, 2)"}},
	{"search_path", []string{
		"CREATE SCHEMA here", "SET search_path = here, public; CREATE TABLE found (a int PRIMARY KEY); INSERT INTO found VALUES (1); CREATE VIEW foundv AS SELECT * FROM found; RESET search_path",
		"CREATE TABLE public.found (b int)", "SET search_path = here" + strings.Repeat(", public", 100) + "; CREATE TABLE found2 (a int PRIMARY KEY); RESET search_path",
		"CREATE TABLE here.long (a int)", "INSERT INTO here.long VALUES (1)", "ALTER TABLE here.long ADD " + strings.Repeat("n", 63) + " timestamptz DEFAULT now(), ADD b text DEFAULT repeat('x', 1000) || now()"}},
	{"indexes", []string{
		"CREATE TABLE i (a int PRIMARY KEY, b text)", "INSERT INTO i SELECT g, g FROM generate_series(1, 50) g", "CREATE INDEX i1 ON i (b)",
		"CREATE UNIQUE INDEX CONCURRENTLY i2 ON i (b, a)", "CREATE INDEX CONCURRENTLY i3 ON i (upper(b)) WHERE a > 3", "DROP INDEX CONCURRENTLY i1",
		"ALTER INDEX i3 RENAME TO i4", "REINDEX INDEX i4", "DROP INDEX i4", "INSERT INTO i VALUES (51, 'x'), (52, 'x')"}},
	{"partitions", []string{
		"CREATE TABLE parts (a int, b text, PRIMARY KEY (a)) PARTITION BY RANGE (a)", "CREATE TABLE p1 PARTITION OF parts FOR VALUES FROM (0) TO (10)",
		"CREATE TABLE p2 (a int PRIMARY KEY, b text)", "INSERT INTO p2 VALUES (11, 'x')", "ALTER TABLE parts ATTACH PARTITION p2 FOR VALUES FROM (10) TO (20)",
		"INSERT INTO parts VALUES (1, 'x'), (12, 'y')", "ALTER TABLE parts DETACH PARTITION p1", "INSERT INTO p1 VALUES (100, 'free')",
		"ALTER TABLE parts DETACH PARTITION p2 CONCURRENTLY", "INSERT INTO p2 VALUES (19, 'free')", "DROP TABLE p1",
		"CREATE TABLE hashed (a int PRIMARY KEY) PARTITION BY HASH (a)", "CREATE TABLE h1 PARTITION OF hashed FOR VALUES WITH (MODULUS 1, REMAINDER 0)", "ALTER TABLE hashed DETACH PARTITION h1 CONCURRENTLY"}},
	{"partition with a column of less", []string{
		"CREATE TABLE whole (a int, b int NOT NULL DEFAULT 1) PARTITION BY RANGE (a)", "CREATE TABLE less (a int)", "ALTER TABLE less REPLICA IDENTITY FULL", "INSERT INTO less VALUES (1)",
		"ALTER TABLE less ADD COLUMN b int NOT NULL DEFAULT 1", "ALTER TABLE whole ATTACH PARTITION less DEFAULT", "UPDATE whole SET a = a + 1"}},
	{"beside temporary ones", []string{
		"CREATE TEMP TABLE tmp (a int, b text COLLATE \"C\" NOT NULL)", "CREATE TABLE like_tmp (x int, LIKE tmp, y text)", "CREATE TEMP TABLE tmp2 (c int)", "CREATE TABLE like_more (like tmp , LIKE pg_temp . \"tmp2\")", "INSERT INTO like_tmp VALUES (1, 2, 'b', 'y')",
		"CREATE TABLE dropped1 (a int)", "CREATE TABLE dropped2 (a int)", "DROP TABLE dropped1, tmp, dropped2",
		"CREATE TABLE parent (a int PRIMARY KEY)", "CREATE TEMP TABLE child () INHERITS (parent)", "ALTER TABLE parent ADD COLUMN b int", "ALTER TABLE parent RENAME COLUMN b TO c", "INSERT INTO parent VALUES (1, 1)",
		"CREATE FUNCTION names_tmp() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM child'", "CREATE FUNCTION of_tmp() RETURNS SETOF child LANGUAGE sql AS 'SELECT * FROM child'", "DROP FUNCTION of_tmp()",
		"CREATE DOMAIN of_tmps AS child[]", "DROP DOMAIN of_tmps", "CREATE SCHEMA with_child CREATE TABLE p (a int)", "CREATE TEMP TABLE child2 () INHERITS (with_child.p)", "DROP SCHEMA with_child CASCADE", "DISCARD TEMP"}},
	{"types", []string{
		"CREATE TYPE mood AS ENUM ('sad', 'ok')", "CREATE TABLE person (a int PRIMARY KEY, m mood)", "INSERT INTO person VALUES (1, 'ok')",
		"ALTER TYPE mood ADD VALUE 'happy' AFTER 'ok'", "INSERT INTO person VALUES (2, 'happy')", "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'",
		"CREATE TYPE pair AS (a int, b text)", "ALTER TYPE pair ADD ATTRIBUTE c int", "CREATE DOMAIN small AS int CHECK (VALUE < 10)",
		"ALTER DOMAIN small ADD CONSTRAINT positive CHECK (VALUE > 0)", "CREATE TYPE floats AS RANGE (subtype = float8)",
		"CREATE TABLE typed (a small PRIMARY KEY, p pair, f floats)", "INSERT INTO typed VALUES (1, (1, 'x', 2), '[1,2]')"}},
	{"functions", []string{
		"CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + 1'", "CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + 2'",
		"SET check_function_bodies = off; CREATE FUNCTION broken() RETURNS int LANGUAGE sql AS 'SELECT not_there()'; RESET check_function_bodies",
		"CREATE PROCEDURE pr() LANGUAGE plpgsql AS $$BEGIN NULL; END$$", "CREATE AGGREGATE agg (int) (SFUNC = int4pl, STYPE = int, INITCOND = 0)",
		"CREATE OPERATOR === (FUNCTION = int4eq, LEFTARG = int, RIGHTARG = int)", "CREATE CAST (bigint AS text) WITH INOUT AS ASSIGNMENT",
		"CREATE ROLE other", "CREATE FUNCTION as_other() RETURNS text LANGUAGE sql SET role = other AS 'SELECT current_user::text'", "ALTER FUNCTION f(int) SET role = other", "ALTER FUNCTION f(int) RESET ALL", "ALTER ROLE other SET role = other",
		"ALTER FUNCTION f(int) RENAME TO f2", "ALTER FUNCTION f2(int) COST 7", "DROP PROCEDURE pr"}},
	{"triggers, rules, policies", []string{
		"CREATE TABLE trg (a int PRIMARY KEY, b text)", "CREATE TABLE log (a int, b text)",
		"CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO log VALUES (NEW.a, 'trigger'); RETURN NEW; END$$",
		"CREATE TRIGGER tr AFTER INSERT ON trg FOR EACH ROW EXECUTE FUNCTION tf()", "INSERT INTO trg VALUES (1)", "ALTER TRIGGER tr ON trg RENAME TO tr2",
		"CREATE RULE r AS ON DELETE TO trg DO ALSO INSERT INTO log VALUES (OLD.a, 'rule')", "DELETE FROM trg", "ALTER TABLE trg ENABLE ROW LEVEL SECURITY",
		"CREATE POLICY po ON trg USING (a > 0)", "ALTER POLICY po ON trg USING (a > 1)", "ALTER TABLE trg DISABLE TRIGGER tr2", "DROP RULE r ON trg"}},
	{"views", []string{
		"CREATE TABLE base (a int PRIMARY KEY)", "INSERT INTO base VALUES (1)", "CREATE VIEW v AS SELECT * FROM base", "CREATE OR REPLACE VIEW v AS SELECT a, 1 AS b FROM base",
		"CREATE MATERIALIZED VIEW m AS SELECT a FROM base", "CREATE UNIQUE INDEX ON m (a)", "REFRESH MATERIALIZED VIEW m", "REFRESH MATERIALIZED VIEW CONCURRENTLY m",
		"CREATE MATERIALIZED VIEW m2 AS SELECT a FROM base WITH NO DATA",
		"SELECT 1; EXPLAIN (ANALYZE, COSTS off) CREATE MATERIALIZED VIEW m3 AS SELECT a FROM base; SELECT 2", "EXPLAIN ANALYZE VERBOSE CREATE MATERIALIZED VIEW m4 AS SELECT a FROM base WITH NO DATA", "COMMENT ON VIEW v IS 'a view'", "DROP VIEW v"}},
	{"sequences", []string{
		"CREATE SEQUENCE sq", "ALTER SEQUENCE sq OWNED BY NONE", "CREATE TABLE ids (a bigserial PRIMARY KEY, b int GENERATED BY DEFAULT AS IDENTITY)", "INSERT INTO ids DEFAULT VALUES",
		"SET bdr.default_sequence_kind = 'local'; CREATE SEQUENCE sl; RESET bdr.default_sequence_kind", "DROP SEQUENCE sq"}},
	{"extensions", []string{
		"CREATE EXTENSION hstore", "CREATE TABLE hs (a int PRIMARY KEY, h hstore)", "INSERT INTO hs VALUES (1, 'a=>1')", "ALTER EXTENSION hstore ADD TABLE hs",
		"ALTER EXTENSION hstore DROP TABLE hs", "DROP EXTENSION hstore CASCADE"}},
	{"rights", []string{
		"CREATE ROLE reader", "CREATE TABLE granted (a int PRIMARY KEY)", "GRANT SELECT ON granted TO reader", "REVOKE SELECT ON granted FROM reader", "GRANT ALL ON ALL TABLES IN SCHEMA public TO reader",
		"GRANT CREATE ON DATABASE app TO reader", "SET ROLE reader; CREATE SCHEMA of_reader; RESET ROLE", "REVOKE CREATE ON DATABASE app FROM reader",
		"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader", "CREATE TABLE granted2 (a int)", "ALTER TABLE granted OWNER TO reader", "INSERT INTO granted VALUES (1)",
		"CREATE ROLE writer IN ROLE reader", "REASSIGN OWNED BY reader TO writer", "INSERT INTO granted VALUES (2)", "ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM reader",
		"DROP OWNED BY reader", "REVOKE reader FROM writer", "DROP ROLE reader"}},
	{"the rest", []string{
		"CREATE STATISTICS st ON a, b FROM i", "CREATE COLLATION co (locale = 'C')", "CREATE TEXT SEARCH CONFIGURATION ts (COPY = simple)", "CREATE PUBLICATION pu FOR TABLE i",
		"CREATE FOREIGN DATA WRAPPER fw", "CREATE SERVER fs FOREIGN DATA WRAPPER fw", "CREATE USER MAPPING FOR CURRENT_USER SERVER fs", "CREATE FOREIGN TABLE ft (a int) SERVER fs",
		"CREATE FUNCTION ef() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN NULL; END$$", "CREATE EVENT TRIGGER et ON ddl_command_end EXECUTE FUNCTION ef()",
		"CREATE SUBSCRIPTION sub CONNECTION 'dbname=none' PUBLICATION none WITH (connect = false)", "COMMENT ON SUBSCRIPTION sub IS 'comment'", "ALTER SUBSCRIPTION sub SET (slot_name = NONE)", "DROP SUBSCRIPTION sub",
		"COMMENT ON TABLE i IS 'comment'", "COMMENT ON COLUMN i.a IS 'comment'", "CREATE CONVERSION cv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8", "DROP SERVER fs CASCADE", "ALTER TABLE i CLUSTER ON i2"}},
	{"tablespace", []string{
		"CREATE TABLESPACE space LOCATION ''", "CREATE TABLE in_space (a int PRIMARY KEY) TABLESPACE space", "INSERT INTO in_space VALUES (1)", "SET default_tablespace = space; CREATE TABLE in_space2 (a int); RESET default_tablespace",
		"DROP TABLE in_space, in_space2", "DROP TABLESPACE space"}},
}

// TestStatements exists because each command has its own way through the server,
// and a node that misses one differs from then on. The nodes take turns.
func TestStatements(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithSettings(on))
	for i, group := range groups {
		n := c.Nodes[i%len(c.Nodes)]
		if !t.Run(group.name, func(t *testing.T) {
			n.For(t).Exec(group.statements...)
			c.For(t).RequireSameSchemas()
		}) {
			return // the nodes differ from here on
		}
	}
	for _, n := range c.Nodes {
		if rows := n.Value("SELECT count(*) FROM bdr.queue"); rows != "0" {
			t.Errorf("%s: bdr.queue has %s rows", n.Name, rows)
		}
		if kinds := n.Value("SELECT string_agg(relname || ' ' || seqkind, ', ' ORDER BY relname) FROM bdr.sequences WHERE relname IN ('ids_a_seq', 'sl')"); kinds != "ids_a_seq snowflakeid, sl local" {
			t.Errorf("%s: kinds of sequences: %s", n.Name, kinds)
		}
	}
}

// TestNested exists because DDL comes in many wrappings; what really runs counts.
func TestNested(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(on))
	a := c.Nodes[0]
	a.Exec("CREATE FUNCTION in_function() RETURNS void LANGUAGE plpgsql AS $$BEGIN CREATE TABLE n1 (a int); EXECUTE 'CREATE TABLE n2 (a int)'; INSERT INTO n1 VALUES (1); ALTER TABLE n1 ADD b int; INSERT INTO n1 VALUES (2, 2); END$$",
		"SELECT in_function()", "CREATE FUNCTION in_sql() RETURNS void LANGUAGE sql AS 'CREATE TABLE n3 (a int); CREATE INDEX ON n3 (a)'", "SELECT in_sql()",
		"DO $$BEGIN FOR i IN 1..3 LOOP EXECUTE format('CREATE TABLE loop%s (a int)', i); BEGIN CREATE TABLE gone (a int); RAISE 'no'; EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END$$",
		"CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$BEGIN CREATE TABLE n4 (a int); COMMIT; CREATE TABLE n5 (a int); ROLLBACK; CREATE TABLE n6 (a int); END$$", "CALL commits()",
		"CREATE TABLE n7 (a int); INSERT INTO n7 VALUES (1);  ALTER TABLE n7 ADD b text DEFAULT ';' ; -- comment; \nINSERT INTO n7 VALUES (2)",
		"CREATE FUNCTION makes() RETURNS int LANGUAGE plpgsql AS $$BEGIN CREATE TABLE made (a int); INSERT INTO made VALUES (1); RETURN 1; END$$",
		"CREATE TABLE n8 AS SELECT makes() AS one")
	c.RequireSameSchemas()
}
