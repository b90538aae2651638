package ddl

import (
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestStaysHere exists because nobody else may hear of what is local: objects of a
// session, commands about this server, and all DDL while it is not replicated.
func TestStaysHere(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(on))
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE TABLE kept (a int PRIMARY KEY)",
		"CREATE TEMP TABLE tt (a serial PRIMARY KEY, b text)", "ALTER TABLE tt ADD c int DEFAULT 1", "CREATE INDEX ON tt (b)", "CREATE TEMP VIEW tv AS SELECT * FROM tt",
		"COMMENT ON TABLE tt IS 'x'", "COMMENT ON COLUMN tt.a IS 'x'", "GRANT SELECT ON tt TO PUBLIC", "CREATE RULE r AS ON DELETE TO tt DO NOTHING",
		"CREATE TEMP TABLE ta AS SELECT * FROM tt", "SELECT * INTO TEMP ti FROM tt", "CREATE TYPE pg_temp.ty AS ENUM ('a')", "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
		"CREATE TEMP TABLE inherits () INHERITS (kept)", "ALTER TABLE tt RENAME TO tt2", "DROP TABLE tt2 CASCADE", "DROP TABLE inherits",
		"COMMENT ON DATABASE app IS 'x'", "GRANT CREATE ON DATABASE app TO PUBLIC", "ALTER ROLE postgres IN DATABASE app SET work_mem = '5MB'", "VACUUM FULL kept",
		"SET bdr.role_replication = off; CREATE ROLE alone; COMMENT ON ROLE alone IS 'x'; RESET bdr.role_replication",
		"SET bdr.ddl_replication = off; CREATE TABLE alone (a int); CREATE TABLE alone2 AS SELECT 1 AS one WITH NO DATA; DROP TABLE alone, alone2; RESET bdr.ddl_replication",
		"BEGIN; SET LOCAL bdr.xact_replication = off; CREATE TABLE alone (a int); CREATE TABLE alone2 AS SELECT 1 AS one; DROP TABLE alone, alone2; COMMIT", "DROP ROLE IF EXISTS alone2")
	c.RequireSameSchemas()
	if got := b.Value("SELECT count(*) FROM pg_roles WHERE rolname = 'alone'") + b.Value("SELECT count(*) FROM pg_shdescription WHERE objoid = (SELECT oid FROM pg_database WHERE datname = 'app')"); got != "00" {
		t.Errorf("node2 has what is local to node1: %s", got)
	}
}

// TestRefused exists because a statement that would leave the nodes different must
// not run at all.
func TestRefused(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(on))
	a := c.Nodes[0]
	a.Exec("CREATE TABLE t (a int PRIMARY KEY)", "CREATE TABLE empty (a int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)", "CREATE TEMP TABLE temp (a int)")
	for _, refused := range []string{"ALTER TABLE t ADD COLUMN b float8 DEFAULT random()", "ALTER TABLE t ADD COLUMN b uuid DEFAULT gen_random_uuid()", "ALTER TABLE t ALTER a TYPE timestamptz USING now()",
		"ALTER TABLE t ALTER a TYPE text USING a::text || random()", "GRANT SELECT ON t, temp TO PUBLIC", "CREATE TABLE likes (LIKE temp INCLUDING ALL)",
		"SELECT bdr.replicate_ddl_command('SELECT 1')", "BEGIN; CREATE TABLE x (a int); PREPARE TRANSACTION 'p'",
		"SELECT bdr.replicate_ddl_command('CREATE TABLE x AS SELECT 1 AS one', execute_locally := false)"} {
		if e := pgtest.PgError(a.Try(refused)); e == nil || e.Code != "0A000" {
			t.Errorf("%s: %v", refused, e)
		}
	}
	a.Exec("ALTER TABLE empty ADD COLUMN b timestamptz DEFAULT now(), ADD COLUMN c float8 DEFAULT random()", "INSERT INTO empty VALUES (1)",
		"ALTER TABLE t ADD COLUMN b text DEFAULT current_user, ADD COLUMN c timestamptz DEFAULT '2000-01-01'")
	c.RequireSameSchemas()
}

// TestReplicateCommand exists because some statements are sent while DDL is not.
func TestReplicateCommand(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	if setting := a.Value("SHOW bdr.ddl_replication"); setting != "off" {
		t.Fatalf("bdr.ddl_replication is %s", setting)
	}
	a.Exec("CREATE TABLE alone (a int)", "DROP TABLE alone", "SELECT bdr.replicate_ddl_command('CREATE TABLE public.r (a int PRIMARY KEY)')", "INSERT INTO r VALUES (1)",
		"SELECT bdr.replicate_ddl_command('CREATE TABLE public.r2 AS SELECT g FROM generate_series(1, 3) g')", "CREATE TABLE there (a int)",
		"SELECT bdr.replicate_ddl_command('CREATE TABLE public.there (a int)', execute_locally := false)", "INSERT INTO there VALUES (1)",
		"SELECT bdr.replicate_ddl_command('CREATE ROLE r3 PASSWORD ''x''')")
	c.RequireSameSchemas()
	if a.Value("SELECT rolpassword FROM pg_authid WHERE rolname = 'r3'") != b.Value("SELECT rolpassword FROM pg_authid WHERE rolname = 'r3'") {
		t.Error("the passwords differ")
	}
	for _, refused := range []string{"SELECT bdr.replicate_ddl_command('CREATE TABLE x (a int); CREATE TABLE y (a int)')", "SELECT bdr.replicate_ddl_command(NULL)"} {
		if a.Try(refused) == nil {
			t.Errorf("not refused: %s", refused)
		}
	}
}

// TestRefusedTypes exists because a value that no node takes from another one stops
// all others: the server reads pg_node_tree and its like from nobody.
func TestRefusedTypes(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(on))
	a := c.Nodes[0]
	a.Exec("CREATE TABLE t (a text)", "INSERT INTO t VALUES ('x')", "CREATE DOMAIN d AS pg_node_tree", "CREATE TYPE ct AS (a int)", "CREATE TABLE uses (c ct)", "CREATE UNLOGGED TABLE un AS SELECT * FROM pg_class",
		"CREATE TEMP TABLE tmp AS SELECT * FROM pg_class", "CREATE TEMP TABLE tmp2 (a pg_node_tree)", "ALTER TABLE tmp2 ADD b d", "ALTER TABLE un ADD b d", "CREATE VIEW v AS SELECT * FROM pg_class", "CREATE MATERIALIZED VIEW mv AS SELECT * FROM pg_index", "REFRESH MATERIALIZED VIEW mv", "ALTER TABLE un ALTER relpages TYPE bigint",
		"CREATE TABLE texts AS SELECT relname, relpartbound::text, pg_get_expr(relpartbound, oid) AS e FROM pg_class", "CREATE TYPE of_nobody AS (a pg_node_tree)")
	for _, refused := range []string{"CREATE TABLE x AS SELECT * FROM pg_class", "SELECT stxdndistinct INTO x FROM pg_statistic_ext_data", "CREATE TABLE x (a int, b pg_node_tree)", "CREATE TABLE x (LIKE pg_attrdef)", "CREATE TABLE x (a pg_class)", "CREATE TABLE x (a pg_index[])",
		"CREATE TABLE x (a d)", "CREATE TABLE x (a gtsvector) PARTITION BY LIST (a)", "CREATE SCHEMA s CREATE TABLE x (a pg_mcv_list)", "CREATE TABLE x OF of_nobody", "CREATE TABLE x () INHERITS (un)", "ALTER TABLE t ADD COLUMN b pg_ndistinct",
		"ALTER TABLE t ALTER a TYPE pg_dependencies USING NULL", "ALTER TYPE ct ADD ATTRIBUTE b pg_brin_bloom_summary", "ALTER TABLE un SET LOGGED", "DO $$BEGIN EXECUTE 'CREATE TABLE x AS SELECT * FROM pg_index'; END$$"} {
		clustertest.RequireRefused(t, a, refused, "0A000", "cannot replicate column ")
	}
	c.RequireSameSchemas()
}

// TestRefusedFunctions exists because a function that finds its names in a session, and
// not where rows are applied, stops all other nodes with the first row.
func TestRefusedFunctions(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(on))
	a := c.Nodes[0]
	a.Exec("CREATE TABLE t (a int, b text)", "CREATE FUNCTION helper(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1'", "CREATE FUNCTION calls(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT helper($1)'",
		"CREATE TYPE mood AS ENUM ('sad')", "CREATE FUNCTION says(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 IS NULL OR ''sad''::mood IS NOT NULL'",
		"CREATE TABLE has_default (a int DEFAULT calls(1))", "CREATE TEMP TABLE tmp (a int CHECK (calls(a) > 0), b int GENERATED ALWAYS AS (calls(a)) STORED)", "CREATE VIEW v AS SELECT calls(a) FROM t")
	for _, index := range []struct{ sql, since17 string }{{"CREATE INDEX ON t (calls(a))", "42883"}, {"CREATE INDEX CONCURRENTLY ON t ((calls(a) + 1))", "42883"}, {"CREATE INDEX ON t (a) WHERE calls(a) > 1", "42883"}, {"CREATE INDEX ON t (a) WHERE says(b)", "42704"}} {
		if pgtest.Major(t) < 17 {
			clustertest.RequireRefused(t, a, index.sql, "0A000", " cannot be called where rows are applied")
		} else { // the server itself builds indexes with that search_path
			clustertest.RequireRefused(t, a, index.sql, index.since17, "does not exist")
		}
	}
	for _, refused := range []string{"ALTER TABLE t ADD CHECK (calls(a) > 0)", "ALTER TABLE t ADD CHECK (calls(a) > 0) NOT VALID", "ALTER TABLE t ADD c int GENERATED ALWAYS AS (calls(a)) STORED",
		"CREATE TABLE x (a int CHECK (calls(a) > 0))", "CREATE TABLE x (a int, b int GENERATED ALWAYS AS (a + calls(a)) STORED)", "CREATE DOMAIN d AS int CHECK (calls(VALUE) > 0)"} {
		clustertest.RequireRefused(t, a, refused, "0A000", " cannot be called where rows are applied")
	}
	a.Exec("ALTER FUNCTION calls(int) SET search_path = public", "CREATE FUNCTION qualified(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT public.helper($1)'", "CREATE FUNCTION atomic(int) RETURNS int LANGUAGE sql IMMUTABLE RETURN helper($1)",
		"CREATE INDEX ON t (calls(a))", "CREATE INDEX CONCURRENTLY ON t (qualified(a))", "ALTER TABLE t ADD CHECK (atomic(a) > 0), ADD c int GENERATED ALWAYS AS (calls(a)) STORED", "CREATE DOMAIN d AS int CHECK (qualified(VALUE) > 0)",
		"INSERT INTO t VALUES (1, 'x')", "UPDATE t SET a = 2")
	c.RequireSameSchemas()
}
