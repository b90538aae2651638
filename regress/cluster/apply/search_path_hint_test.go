package apply

import (
	"fmt"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestErrorsHintAtSearchPath exists because a function that works in every
// session fails where its table's changes are applied if it names things
// without their schema: PostgreSQL's own hint, to add type casts, sends users
// the wrong way. Ours says what to do, and doing it is enough.
func TestErrorsHintAtSearchPath(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(clustertest.Impatient))
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE FUNCTION helper(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1'", "CREATE TABLE list (id int)",
		"CREATE TYPE mood AS ENUM ('sad', 'happy')")
	for i, k := range []struct{ name, code, function, use string }{
		{"plpgsql in an index", "42883", "(x int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN helper(x); END'", "CREATE INDEX ON %[1]s (%[2]s(v))"},
		{"sql in a check", "42883", "(x int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT helper($1) > 0'", "ALTER TABLE %[1]s ADD CHECK (%[2]s(v))"},
		{"type in a check", "42704", "(x int) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RETURN 'sad'::mood IS NOT NULL; END$$", "ALTER TABLE %[1]s ADD CHECK (%[2]s(v))"},
		{"table in a trigger", "42P01", "() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM FROM list; RETURN NEW; END'",
			"CREATE TRIGGER f BEFORE INSERT ON %[1]s FOR EACH ROW EXECUTE FUNCTION %[2]s(); ALTER TABLE %[1]s ENABLE ALWAYS TRIGGER f"},
	} {
		table, function := fmt.Sprint("t", i), fmt.Sprint("f", i)
		c.ExecAll("CREATE FUNCTION "+function+k.function, "CREATE TABLE "+table+" (id int PRIMARY KEY, v int)")
		for _, n := range c.Nodes {
			n.Exec(fmt.Sprintf(k.use, table, function))
		}
		a.Exec("INSERT INTO " + table + " VALUES (1, 1)")
		b.Wait(clustertest.ResumeLimit, `SELECT error_sqlstate || CASE WHEN error_hint LIKE '%search\_path%schema%ALTER FUNCTION ... SET search\_path%' THEN ' with hint' ELSE ' ' || coalesce(error_hint, 'no hint') END
			FROM bdr.worker_errors`, k.code+" with hint")
		b.Exec(fmt.Sprintf("DO $$ BEGIN EXECUTE 'ALTER FUNCTION ' || 'public.%s'::regproc::regprocedure || ' SET search_path = pg_catalog, public'; END $$", function))
		c.RequireConverged()
	}
	// what has nothing to do with it keeps its own hint
	c.ExecAll("CREATE TABLE other (id int PRIMARY KEY)")
	b.Exec("ALTER TABLE other RENAME TO another")
	a.Exec("INSERT INTO other VALUES (1)")
	b.Wait(clustertest.ResumeLimit, "SELECT error_sqlstate || ' ' || left(error_hint, 25) FROM bdr.worker_errors", "42P01 Create the table here too")
	b.Exec("ALTER TABLE another RENAME TO other")
	c.RequireConverged()
}
