package mixed

import (
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// A feature is a table that only the newer major version can have, and what stands
// for it on the older one.
type feature struct {
	name         string
	older, newer string // definitions
	onOlder      string // written there
	onNewer      string
	rows         string // query with the same result on both in the end
	want         string
	conflicts    string // types that were met
}

var features = []feature{
	{"virtual_and_stored",
		"CREATE TABLE v (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a * 2) STORED)",
		"CREATE TABLE v (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a * 2))",
		"INSERT INTO v (id, a) VALUES (1, 1), (2, 2); UPDATE v SET a = 5 WHERE id = 1", "INSERT INTO v (id, a) VALUES (3, 3); UPDATE v SET a = 7 WHERE id = 3",
		"SELECT string_agg(v::text, ' ' ORDER BY id) FROM v", "(1,5,10) (2,2,4) (3,7,14)", ""},
	{"virtual_and_missing",
		"CREATE TABLE v (id int PRIMARY KEY, a int); ALTER TABLE v REPLICA IDENTITY FULL",
		"CREATE TABLE v (id int PRIMARY KEY, g int GENERATED ALWAYS AS (1 / a) VIRTUAL, a int); ALTER TABLE v REPLICA IDENTITY FULL",
		"INSERT INTO v (id, a) VALUES (1, 1), (2, 0); UPDATE v SET a = 5 WHERE id = 1", "INSERT INTO v (id, a) VALUES (3, 0); UPDATE v SET a = 7 WHERE id = 3; DELETE FROM v WHERE id = 1",
		"SELECT string_agg(id || ' ' || a, ', ' ORDER BY id) FROM v", "2 0, 3 7", ""},
	{"virtual_and_plain",
		"CREATE TABLE v (id int PRIMARY KEY, a int, g int DEFAULT 4)",
		"CREATE TABLE v (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a * 2) VIRTUAL)",
		"INSERT INTO v (id, a, g) VALUES (1, 1, 100)", "INSERT INTO v (id, a) VALUES (3, 2); UPDATE v SET a = 6 WHERE id = 1",
		"SELECT string_agg(id || ' ' || a, ', ' ORDER BY id) FROM v", "1 6, 3 2", "source_column_missing"},
	{"defaults_that_only_one_has",
		"CREATE TABLE v (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), a int)",
		"CREATE TABLE v (id uuid PRIMARY KEY DEFAULT uuidv7(), a int)",
		"INSERT INTO v (a) VALUES (1)", "INSERT INTO v (a) VALUES (2)",
		"SELECT string_agg(a::text, ' ' ORDER BY a) || CASE WHEN count(DISTINCT id) = 2 THEN '' ELSE ' same' END FROM v", "1 2", ""},
	{"nulls_of_a_constraint_that_is_not_valid",
		"CREATE TABLE v (id int PRIMARY KEY, a int)",
		"CREATE TABLE v (id int PRIMARY KEY, a int); INSERT INTO v VALUES (1, NULL); ALTER TABLE v ADD CONSTRAINT later NOT NULL a NOT VALID",
		"INSERT INTO v VALUES (2, 2)", "INSERT INTO v VALUES (3, 3); UPDATE v SET a = 1 WHERE id = 1",
		"SELECT string_agg(v::text, ' ' ORDER BY id) FROM v", "(1,1) (2,2) (3,3)", ""},
	{"without_overlaps",
		"CREATE TABLE v (id int, at daterange, a int, PRIMARY KEY (id, at), EXCLUDE USING gist (id WITH =, at WITH &&))",
		"CREATE TABLE v (id int, at daterange, a int, PRIMARY KEY (id, at WITHOUT OVERLAPS))",
		"INSERT INTO v VALUES (1, '[2026-01-01,2026-02-01)', 1), (1, '[2026-02-01,2026-03-01)', 2); UPDATE v SET a = 3 WHERE a = 2",
		"INSERT INTO v VALUES (2, '[2026-01-01,2026-02-01)', 5), (2, '[2026-02-01,2026-03-01)', 5); DELETE FROM v WHERE at @> '2026-02-15'::date AND id = 1",
		"SELECT string_agg(v::text, ' ' ORDER BY id, at) FROM v",
		`(1,"[2026-01-01,2026-02-01)",1) (2,"[2026-01-01,2026-02-01)",5) (2,"[2026-02-01,2026-03-01)",5)`, ""},
}

// TestFeaturesOfNewer exists because a table may be defined by what only the newer
// major version has: with a plain counterpart the rows are the same, and where that
// cannot be, the conflict history says so.
func TestFeaturesOfNewer(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithMajors(15, 18), pgtest.WithSettings(clustertest.QuickRetries))
	c.ExecAll("CREATE EXTENSION btree_gist")
	for _, f := range features {
		t.Run(f.name, func(t *testing.T) { f.converges(t, c.For(t)) })
	}
	t.Run("overlaps_of_both", func(t *testing.T) { overlapsConverge(t, c.For(t)) })
}

func (f feature) converges(t *testing.T, c *pgtest.Cluster) {
	older, newer := c.Nodes[0], c.Nodes[1]
	older.Exec(f.older)
	newer.Exec(f.newer)
	c.WaitDrained(c.Nodes...)
	older.Exec(f.onOlder)
	c.WaitDrained(c.Nodes...)
	newer.Exec(f.onNewer)
	c.WaitDrained(c.Nodes...)
	for _, n := range c.Nodes {
		if got := n.Value(f.rows); got != f.want {
			t.Errorf("%s has %s, expected %s", n.Name, got, f.want)
		}
	}
	met := strings.Trim(older.Value(conflictTypes)+" "+newer.Value(conflictTypes), " ")
	if met != f.conflicts {
		t.Errorf("met the conflicts %q, expected %q", met, f.conflicts)
	}
	for _, n := range c.Nodes {
		clustertest.RequireNoErrors(t, n)
	}
	c.ExecAll("DROP TABLE v", "TRUNCATE bdr.conflict_history")
}

const conflictTypes = "SELECT coalesce(string_agg(DISTINCT conflict_type, ' '), '') FROM bdr.conflict_history WHERE relname = 'v' AND conflict_type <> 'update_origin_change'"

// overlapsConverge has both nodes write rows that overlap, which neither knows of:
// one key stands for an exclusion constraint of the other.
func overlapsConverge(t *testing.T, c *pgtest.Cluster) {
	without := features[len(features)-1]
	c.Nodes[0].Exec(without.older)
	c.Nodes[1].Exec(without.newer)
	resume := clustertest.PauseAll(t, c)
	clustertest.StopWriters(t, c)
	c.Nodes[0].Exec("INSERT INTO v VALUES (1, '[2026-01-01,2026-02-01)', 1)", "INSERT INTO v VALUES (3, '[2026-01-01,2026-02-01)', 1)")
	c.Nodes[1].Exec("INSERT INTO v VALUES (1, '[2026-01-15,2026-02-15)', 2)", "INSERT INTO v VALUES (3, '[2026-01-01,2026-02-01)', 2)")
	c.Nodes[0].Exec("INSERT INTO v VALUES (2, '[2026-01-01,2026-02-01)', 3)")
	resume()
	c.RequireConverged()
	if got, want := c.Nodes[1].Value("SELECT string_agg(a::text, ' ' ORDER BY id) FROM v"), "2 3 2"; got != want {
		t.Errorf("rows in the end: %q, expected %q", got, want)
	}
}
