package mixed

import (
	"fmt"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// joins are pairs of major versions: the source's and the joiner's.
var joins = [][2]int{{15, 17}, {15, 18}, {17, 18}}

// schemaOf15 is what a newer server takes in another way than 15 keeps it: names of
// NOT NULL constraints, rights on the schema public, compression, forms of values.
var schemaOf15 = []string{
	"CREATE ROLE app_user LOGIN", "GRANT CREATE ON SCHEMA public TO app_user",
	"CREATE TYPE mood AS ENUM ('bad', 'good')", "CREATE DOMAIN positive AS numeric CHECK (VALUE > 0)",
	`SET bdr.default_sequence_kind = 'local'; CREATE TABLE parent (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COMPRESSION pglz NOT NULL, m mood NOT NULL DEFAULT 'bad',
		p positive, twice numeric GENERATED ALWAYS AS (p * 2) STORED, UNIQUE NULLS NOT DISTINCT (p))`,
	"CREATE TABLE child (extra text NOT NULL, PRIMARY KEY (id)) INHERITS (parent)",
	"CREATE TABLE line (n int, parent_id bigint NOT NULL REFERENCES parent, at timestamptz NOT NULL, PRIMARY KEY (parent_id, at)) PARTITION BY RANGE (at)",
	"CREATE TABLE line_2026 PARTITION OF line FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
	"CREATE TABLE line_rest PARTITION OF line DEFAULT",
	"CREATE TABLE odd (id int PRIMARY KEY, i interval, x xml, xs xml[], l aclitem, v int2vector, r regclass, c \"char\", s pg_snapshot, t tsvector, j jsonpath)",
	"CREATE TABLE whole (x xml, i interval, n int)", "ALTER TABLE whole REPLICA IDENTITY FULL",
	"CREATE VIEW lines AS SELECT p.name, l.* FROM parent p JOIN line l ON l.parent_id = p.id",
	"CREATE INDEX ON line (n) INCLUDE (at)", "CREATE STATISTICS both_of_line ON n, parent_id FROM line",
	"CREATE FUNCTION rise() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.n := coalesce(NEW.n, 0) + 1; RETURN NEW; END'",
	"CREATE TRIGGER rise BEFORE INSERT ON line FOR EACH ROW EXECUTE FUNCTION rise()",
}

var rowsOf15 = []string{
	"INSERT INTO parent (name, p) SELECT repeat('name ' || g, 200), g FROM generate_series(1, 500) g",
	"INSERT INTO child (id, name, p, extra) SELECT 1000 + g, 'child ' || g, g, 'x' FROM generate_series(1, 50) g",
	"INSERT INTO line SELECT g, 1 + g % 400, '2026-06-01 00:00+00'::timestamptz + g * interval '1 hour' FROM generate_series(1, 9000) g",
	`INSERT INTO odd VALUES (1, '1 year -2 days 3.5 s', '<?xml version="1.0"?><a>ü</a>', ARRAY['<b/>', '<?xml version="1.0"?><c/>']::xml[], '=r/postgres', '', 'parent',
		(200 - 256)::"char", '10:20:10,14', 'a:1 b:2', '$.a[*]'), (2, NULL, NULL, NULL, NULL, '1 2', NULL, NULL, NULL, NULL, NULL)`,
	`INSERT INTO whole VALUES ('<?xml version="1.0"?><a/>', '1 day', 1), ('<b/>', '-178000000 years', 2), ('<b/>', '-178000000 years', 2)`,
}

// TestJoinThroughOlder exists because a node of a newer major version reads the
// schema of an older one by its own pg_dump, and its rows by COPY: structure and
// rows are the same afterwards, and both sides can write.
func TestJoinThroughOlder(t *testing.T) {
	for _, majors := range joins {
		t.Run(fmt.Sprintf("%d_through_%d", majors[1], majors[0]), func(t *testing.T) {
			t.Parallel()
			c := pgtest.NewCluster(t, 2, pgtest.WithMajors(majors[:]...), pgtest.WithMembers(1))
			old, joiner := c.Nodes[0], c.Nodes[1]
			joiner.Exec("CREATE ROLE app_user LOGIN")
			old.Exec(schemaOf15...)
			old.Exec(rowsOf15...)
			c.Member(1)
			c.WaitMesh(c.Nodes...)
			c.RequireConverged()
			requireSameStructure(t, c)
			requireCopiedRowsAreOld(t, joiner)
			writeBoth(c)
			c.RequireConverged()
			for _, n := range c.Nodes {
				clustertest.RequireNoErrors(t, n)
				if got := n.Value(conflicts); got != "" {
					t.Errorf("%s: conflicts, and nobody wrote at the same time: %s", n.Name, got)
				}
			}
		})
	}
}

const conflicts = "SELECT coalesce(string_agg(conflict_type || ' of ' || relname || ' ' || coalesce(remote_tuple, key_tuple)::text, ', '), '') FROM bdr.conflict_history"

// writeBoth changes rows that were copied, on either side, and makes more.
func writeBoth(c *pgtest.Cluster) {
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf("UPDATE parent SET name = 'of %s', p = p + 100000 WHERE id %% 10 = %d", n.Name, i),
			fmt.Sprintf("UPDATE whole SET n = n + 10 WHERE i %s '0'", []string{">", "<"}[i]),
			fmt.Sprintf("DELETE FROM line WHERE parent_id %% 10 = %d", i),
			fmt.Sprintf("INSERT INTO line VALUES (1, %d, '2028-01-01 00:00+00')", i+1),
			fmt.Sprintf("UPDATE odd SET i = i + '1 day', x = '<new/>' WHERE id = %d", i+1))
		c.WaitDrained(n)
	}
}

// structure is what of the schema must be the same on all majors.
const structure = `SELECT string_agg(what, E'\n' ORDER BY what) FROM (
 SELECT format('column %s.%s %s null %s compression %s default %L', c.relname, attname, format_type(atttypid, atttypmod), NOT attnotnull,
  quote_literal(attcompression::text), pg_get_expr(adbin, adrelid)) AS what
 FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
 WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') AND attnum > 0 AND NOT attisdropped
 UNION ALL SELECT format('constraint %s.%s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint
 WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
 UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indrelid WHERE relnamespace = 'public'::regnamespace
 UNION ALL SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid WHERE relnamespace = 'public'::regnamespace AND NOT tgisinternal
 UNION ALL SELECT format('right of %s on public: %s', grantee::regrole, privilege_type) FROM pg_namespace, aclexplode(nspacl)
 WHERE nspname = 'public' AND grantee > 0) s`

func requireSameStructure(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	want := strings.Split(c.Nodes[0].Value("SET LOCAL search_path = pg_catalog; "+structure), "\n")
	for _, n := range c.Nodes[1:] {
		clustertest.RequireLines(t, strings.Split(n.Value("SET LOCAL search_path = pg_catalog; "+structure), "\n"), strings.Join(want, "\n"))
	}
}

// requireCopiedRowsAreOld: any change that comes wins over a copied row.
func requireCopiedRowsAreOld(t *testing.T, n *pgtest.Node) {
	t.Helper()
	if got := n.Value("SELECT string_agg(DISTINCT pg_xact_commit_timestamp(xmin)::text, ' ') FROM line"); got != "2000-01-01 00:00:01+00" {
		t.Errorf("copied rows are of %s", got)
	}
}

// TestJoinIntoPrepared exists because the schema may have been made by other means,
// by one that both majors know.
func TestJoinIntoPrepared(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithMajors(15, 18), pgtest.WithMembers(1))
	c.ExecAll(schemaOf15...)
	c.Nodes[0].Exec(rowsOf15...)
	c.Nodes[1].CreateNode()
	c.Nodes[1].Exec(fmt.Sprintf("SELECT bdr.join_node_group(join_target_dsn := '%s', wait_for_completion := true, synchronize_structure := 'none')", c.Nodes[0].NodeDSN))
	c.WaitMesh(c.Nodes...)
	c.RequireConverged()
	requireCopiedRowsAreOld(t, c.Nodes[1])
	writeBoth(c)
	c.RequireConverged()
}

// TestJoinThroughNewer exists because pg_dump does not read a newer server: the join
// is refused before anything has been done, and goes through an older member.
func TestJoinThroughNewer(t *testing.T) {
	c := pgtest.NewCluster(t, 4, pgtest.WithMajors(15, 18, 17, 15), pgtest.WithMembers(3))
	c.Nodes[0].Exec("SELECT 1")
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, note text)")
	joiner := c.Nodes[3]
	joiner.Exec("DROP TABLE t")
	for i, n := range c.Nodes[:3] {
		n.Exec(fmt.Sprintf("INSERT INTO t SELECT %d + g, 'of %s' FROM generate_series(1, 1000) g", i*1000, n.Name))
	}
	c.RequireConvergedAmong(c.Nodes[:3]...)
	joiner.CreateNode()
	for _, target := range c.Nodes[1:3] {
		for _, structure := range []string{"all", "none"} {
			clustertest.RequireRefusal(t, joiner, clustertest.Refused("through a newer one", fmt.Sprintf(
				"SELECT bdr.join_node_group(join_target_dsn := '%s', synchronize_structure := '%s')", target.NodeDSN, structure),
				clustertest.WrongState, "newer major version", "whose pg_dump cannot read it", "Join through a node whose major version is not newer"), c.Nodes[:3]...)
		}
	}
	joiner.Join(c.Nodes[0])
	c.WaitMesh(c.Nodes...)
	c.RequireConverged()
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf("UPDATE t SET note = note || ' changed by %s' WHERE id %% 4 = %d", n.Name, i))
	}
	c.RequireConverged()
}

// TestJoinStopsAtRefusedValue exists because what one major version has and another
// one does not must not become something else in a join either: the join says what
// it is about, tries again, and goes on when the source has another value.
func TestJoinStopsAtRefusedValue(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithMajors(15, 18), pgtest.WithMembers(1))
	source, joiner := c.Nodes[0], c.Nodes[1]
	source.Exec("CREATE DOMAIN span AS interval", "CREATE TABLE good (id int PRIMARY KEY, i interval)", "INSERT INTO good VALUES (1, '1 day'), (2, NULL)",
		"CREATE TABLE spans (id int PRIMARY KEY, i span, a interval[])",
		"INSERT INTO spans VALUES (1, '"+largestInterval+"', NULL), (2, NULL, '{1 day,NULL}'), (3, '-5 mons', '{}')")
	joiner.CreateNode()
	joiner.StartJoin(source)
	const said = "SELECT coalesce(max(last_error), '') FROM bdr.join_progress"
	requireSays := func(part string) {
		t.Helper()
		pgtest.Eventually(t, clustertest.ResumeLimit, "the join says what is wrong", func() (bool, string) {
			got := joiner.Value(said)
			return strings.Contains(got, "copy table public.spans") && strings.Contains(got, part), got
		})
	}
	requireSays(`invalid input syntax for type interval: "interval out of range: 178956970 years 7 mons`)
	source.Exec("UPDATE spans SET i = NULL, a = ARRAY['" + largestInterval + "', '1 day']::interval[] WHERE id = 1")
	requireSays(`malformed array literal: "interval out of range: {"178956970 years 7 mons`)
	source.Exec("UPDATE spans SET a = ARRAY['178956970 years']::interval[] WHERE id = 1")
	joiner.Exec("SELECT bdr.wait_for_join_completion()")
	c.WaitMesh(c.Nodes...)
	c.RequireConverged()
}
