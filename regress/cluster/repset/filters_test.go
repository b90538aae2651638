package repset

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgtest"
)

// part makes two nodes of which each wants the set "part" of the other.
func part(t *testing.T, tables ...string) (c *pgtest.Cluster, a, b *pgtest.Node) {
	t.Helper()
	c = pgtest.NewCluster(t, 2)
	c.ExecAll(tables...)
	c.Nodes[0].Exec("SELECT bdr.create_replication_set('part')")
	withMark(c, "part")
	for _, n := range c.Nodes {
		choose(n, "part")
	}
	return c, c.Nodes[0], c.Nodes[1]
}

// TestColumnLists exists because a column that is not in the list must not leave its
// node, and the others must go on arriving whatever is changed.
func TestColumnLists(t *testing.T) {
	c, a, b := part(t, "CREATE TABLE wide (id int PRIMARY KEY, shown text, secret text DEFAULT 'none', large text)")
	a.Exec("SELECT bdr.replication_set_add_table('wide', 'part', columns := '{large,id,shown}')",
		"INSERT INTO wide VALUES (1, 'a', 'x', repeat('l', 100000)), (2, 'b', 'y', NULL)", "UPDATE wide SET shown = 'c', secret = 'z' WHERE id = 1")
	b.Wait(limit, "SELECT count(*) FROM wide WHERE secret = 'none'", "2")
	b.Exec("UPDATE wide SET secret = 'own'")
	a.Exec("UPDATE wide SET id = 3, secret = 'zz' WHERE id = 2", "UPDATE wide SET shown = 'd'")
	arrived(t, c)
	requireRows(t, b, "(SELECT id, shown, secret, length(large) AS large FROM wide)", "(1,d,own,100000) (3,d,own,)")
	requireRows(t, a, "(SELECT id, shown, secret, length(large) AS large FROM wide)", "(1,d,z,100000) (3,d,zz,)")
}

// TestRowFilters exists because a row that comes into a filter must come, one that leaves
// it must go, and the values of both may be in a TOAST table.
func TestRowFilters(t *testing.T) {
	c, a, b := part(t, "CREATE TABLE regional (id int, region text, large text, v int, PRIMARY KEY (id, region))",
		"CREATE TABLE insertions (id int PRIMARY KEY, n int)")
	c.ExecAll("ALTER TABLE regional ALTER COLUMN large SET STORAGE EXTERNAL")
	a.Exec("SELECT bdr.replication_set_add_table('regional', 'part', row_filter := $$region IN ('eu', 'us') AND id > 0$$)",
		"SELECT bdr.create_replication_set('once', replicate_update := false, replicate_delete := false)",
		"SELECT bdr.replication_set_add_table('insertions', 'once', row_filter := 'n > 10')")
	agreed(c)
	for _, n := range c.Nodes {
		choose(n, "part", "once")
	}
	const shown = "(SELECT id, region, length(large) AS large, v FROM regional)"
	a.Exec("INSERT INTO regional VALUES (1, 'eu', repeat('x', 9000), 1), (2, 'asia', repeat('x', 9000), 1), (-3, 'eu', NULL, 1), (4, 'us', NULL, 1)",
		"UPDATE regional SET v = 2", "INSERT INTO insertions VALUES (1, 5), (2, 50), (3, NULL)", "UPDATE insertions SET n = n + 100")
	arrived(t, c)
	requireRows(t, b, shown, "(1,eu,9000,2) (4,us,,2)")
	requireRows(t, b, "insertions", "(2,50) (3,)") // NULL passes
	a.Exec("UPDATE regional SET region = 'asia' WHERE id = 1", "UPDATE regional SET region = 'us', v = 3 WHERE id = 2", "UPDATE regional SET id = 3 WHERE id = -3",
		"UPDATE regional SET region = 'eu' WHERE id = 4")
	arrived(t, c)
	requireRows(t, b, shown, "(2,us,9000,3) (3,eu,,2) (4,eu,,2)")
	a.Exec("DELETE FROM regional WHERE id IN (1, 2)")
	arrived(t, c)
	requireRows(t, b, shown, "(3,eu,,2) (4,eu,,2)")
	if got := b.Value("SELECT count(*) FROM bdr.conflict_history WHERE conflict_type NOT LIKE 'update_missing'"); got != "0" {
		t.Errorf("%s conflicts", got)
	}
	// what the replica identity no longer says: a row that does not pass goes, whatever it was
	c.ExecAll("ALTER TABLE regional DROP CONSTRAINT regional_pkey, ADD PRIMARY KEY (id)")
	a.Exec("UPDATE regional SET region = 'asia' WHERE id = 3", "DELETE FROM regional WHERE id = 4", "INSERT INTO regional VALUES (5, 'eu'), (6, 'asia')")
	arrived(t, c)
	requireRows(t, b, shown, "(5,eu,,)")
}

// TestFiltersOfPartitionsAndUnions exists because a node gets what any of its sets has.
func TestFiltersOfPartitionsAndUnions(t *testing.T) {
	c, a, b := part(t, "CREATE TABLE parted (id int PRIMARY KEY, a text, b text) PARTITION BY RANGE (id)",
		"CREATE TABLE parted_low (b text, id int NOT NULL, a text)", "ALTER TABLE parted ATTACH PARTITION parted_low FOR VALUES FROM (0) TO (100)",
		"CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (100) TO (200)")
	a.Exec("SELECT bdr.replication_set_add_table('parted', 'part', columns := '{id,a}', row_filter := 'id % 2 = 0')",
		"SELECT bdr.create_replication_set('more')", "SELECT bdr.replication_set_add_table('parted', 'more', columns := '{id,b}', row_filter := 'id % 3 = 0')",
		"INSERT INTO parted SELECT i, 'a', 'b' FROM generate_series(1, 6) i")
	arrived(t, c)
	requireRows(t, b, "parted", "(2,a,) (4,a,) (6,a,)")
	for _, n := range c.Nodes {
		choose(n, "part", "more")
	}
	a.Exec("INSERT INTO parted SELECT i, 'a', 'b' FROM generate_series(101, 106) i")
	arrived(t, c)
	requireRows(t, b, "(SELECT * FROM parted WHERE id > 100)", "(102,a,b) (104,a,b) (105,a,b) (106,a,b)")
	a.Exec("DELETE FROM parted WHERE id IN (101, 102)", "TRUNCATE parted_low")
	arrived(t, c)
	requireRows(t, b, "parted", "(104,a,b) (105,a,b) (106,a,b)")
}

// TestFilterThatFails exists because who may write a row must not be able to stop what
// the node has to send.
func TestFilterThatFails(t *testing.T) {
	c, a, b := part(t, "CREATE TABLE texts (id text PRIMARY KEY, v int)")
	a.Exec("SELECT bdr.replication_set_add_table('texts', 'part', row_filter := 'id::int % 2 = 0')",
		"INSERT INTO texts VALUES ('1', 0), ('2', 0), ('none', 0), ('also none', 0), ('4', 0)", "UPDATE texts SET v = 1", "DELETE FROM texts WHERE id = 'also none'",
		"BEGIN; SAVEPOINT s; INSERT INTO texts VALUES ('x', 2), ('6', 2); RELEASE s; INSERT INTO texts VALUES ('y', 2); COMMIT",
		"UPDATE texts SET id = '7' WHERE id = 'y'", "UPDATE texts SET id = 'z' WHERE id = '1'")
	arrived(t, c)
	requireRows(t, b, "texts", "(2,1) (4,1) (6,2) (none,1) (x,2) (z,1)")
	if !a.LogContains("a row filter of table \"public.texts\" fails for a row") {
		t.Error("the log does not say that a filter fails")
	}
}

func filtered(table, filter string) string {
	return fmt.Sprintf("SELECT bdr.replication_set_add_table('%s', 'once', row_filter := $f$%s$f$)", table, filter)
}

var refusals = []struct{ sql, state, message string }{
	{"SELECT bdr.create_replication_set('s')", "42710", "exists already"},
	{"SELECT bdr.create_replication_set('app_group')", "42710", "default set"},
	{"SELECT bdr.create_replication_set(NULL)", "22023", "invalid name"},
	{"SELECT bdr.alter_replication_set('none')", "42704", "does not exist"},
	{"SELECT bdr.alter_replication_set('app_group', replicate_delete := false)", "55000", "default set"},
	{"SELECT bdr.drop_replication_set('none')", "42704", "does not exist"},
	{"SELECT bdr.replication_set_add_table('t')", "55000", "every table is in it"},
	{"SELECT bdr.replication_set_add_table('t', 's')", "42710", "already"},
	{"SELECT bdr.replication_set_add_table('u', 's')", "42809", "not permanent"},
	{"SELECT bdr.replication_set_add_table('w', 's')", "42809", "is not a table"},
	{"SELECT bdr.replication_set_add_table('bdr.node', 's')", "42809", "system table"},
	{"SELECT bdr.replication_set_add_table('pg_class', 's')", "42809", "system table"},
	{"SELECT bdr.replication_set_add_table(NULL, 's')", "22004", "must not be NULL"},
	{"SELECT bdr.replication_set_remove_table('moody', 's')", "42704", "is not in"},
	{"SELECT bdr.replication_set_add_table('t', 'once', columns := '{v}')", "42P10", "lacks column"},
	{"SELECT bdr.replication_set_add_table('t', 'once', columns := '{id,x}')", "42703", "does not exist"},
	{"SELECT bdr.replication_set_add_table('t', 'once', columns := '{id,xmin}')", "42703", "does not exist"},
	{"SELECT bdr.replication_set_add_table('t', 'once', columns := '{}')", "22023", "empty"},
	{"SELECT bdr.replication_set_add_table('moody', 's', row_filter := $$m IS NULL$$)", "0A000", "type"},
	{"SELECT bdr.replication_set_remove_table('t', 's'); SELECT bdr.replication_set_add_table('t', 's', row_filter := $$v = 'x'$$)", "55000", "replica identity"},
	{"SELECT bdr.replication_set_add_table('t', 'once', columns := '{id,v,id}')", "42701", "twice"},
	{"SELECT bdr.replication_set_add_table('t', 'once', columns := '{{id,v}}')", "2202E", "dimension"},
	{"SELECT bdr.alter_replication_set('once', replicate_update := true)", "55000", "replica identity"},
	{"SELECT bdr.alter_replication_set('once', replicate_delete := true)", "55000", "replica identity"},
	{filtered("t", "1 / 0 > id"), "22012", "division by zero"},
	{filtered("t", "mine(id)"), "0A000", "server's own"},
	{filtered("t", "d < current_date"), "0A000", "not supported"},
	{filtered("t", "random() > 0.5"), "0A000", "not immutable"},
	{filtered("t", "id IN (SELECT 1)"), "0A000", "no subqueries"},
	{filtered("t", "count(*) > 0"), "42803", "aggregate"},
	{filtered("t", "id"), "42804", "boolean"},
	{filtered("t", "xmin IS NULL"), "42703", "not a column"},
	{filtered("t", "g > 1"), "42703", "not a column"},
	{filtered("t", "t.id > 1"), "42703", "not a column"},
	{filtered("t", "x > 1"), "42703", "not a column"},
	{filtered("t", "id > 1 FROM t"), "0A000", "not one expression"},
	{filtered("t", "id > 1, true"), "0A000", "not one expression"},
	{filtered("t", "id > 1 AS x"), "0A000", "not one expression"},
	{filtered("t", "id > 1) OR (true"), "42601", "syntax error"},
	{filtered("t", "v = '"+strings.Repeat("x", 4000)+"'"), "53400", "too long"},
	{"SELECT bdr.alter_node_replication_sets('node2', '{}')", "55000", "not the local node"},
	{"SELECT bdr.alter_node_replication_sets('node1', '{none}')", "42704", "does not exist"},
	{"SELECT bdr.alter_node_replication_sets('node1', NULL)", "22023", "must not be NULL"},
	{"SET ROLE nobody_here; SELECT bdr.create_replication_set('x')", "42501", "permission denied"},
	{"SET ROLE nobody_here; SELECT bdr.replication_set_add_table('t', 's')", "42501", "permission denied"},
}

// TestWhatSetsRefuse exists because what is agreed on cannot be looked at again by each
// node, and a filter runs as a superuser.
func TestWhatSetsRefuse(t *testing.T) {
	c := pgtest.NewCluster(t, 1)
	n := c.Nodes[0]
	n.Exec("CREATE TABLE t (id int PRIMARY KEY, v text, d date, g int GENERATED ALWAYS AS (id) STORED)", "CREATE UNLOGGED TABLE u (id int)", "CREATE VIEW w AS SELECT 1",
		"CREATE FUNCTION mine(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true'", "CREATE TYPE mood AS ENUM ('good')",
		"CREATE TABLE moody (id int PRIMARY KEY, m mood)", "CREATE ROLE nobody_here", "CREATE TABLE keyed (id int PRIMARY KEY, v text)",
		"SELECT bdr.create_replication_set('s')", "SELECT bdr.replication_set_add_table('t', 's')", "SELECT bdr.create_replication_set('once', true, false, false, false)",
		filtered("keyed", "v > 'a'"))
	for _, refused := range refusals {
		var fault *pgconn.PgError
		if !errors.As(n.Try(refused.sql), &fault) || fault.Code != refused.state || !strings.Contains(fault.Message+fault.Detail, refused.message) {
			t.Errorf("%s: %+v; expected %s, %q", refused.sql, fault, refused.state, refused.message)
		}
	}
	n.Exec("SET DateStyle = 'SQL, DMY'; SELECT bdr.replication_set_add_table('t', 'once', row_filter := $$id > 1 AND v LIKE 'a%' AND d > '02/01/2020' AND NOT (v COLLATE \"C\" < 'b')$$)")
	if got := n.Value("SELECT row_filter FROM bdr.tables WHERE set_name = 'once' AND relname = 't'"); !strings.Contains(got, `'2020-01-02'::date`) || !strings.Contains(got, `COLLATE "C"`) {
		t.Errorf("the filter is kept as %s", got)
	}
	n.Exec("CREATE TABLE strict (id int PRIMARY KEY, v text NOT NULL, d int NOT NULL DEFAULT 0, i int GENERATED ALWAYS AS IDENTITY, n int)",
		"SELECT bdr.replication_set_add_table('strict', 's', columns := '{id}')")
	for column, warned := range map[string]bool{"v": true, "d": false, "i": false, "n": false} {
		if n.LogContains(`the column list of table "strict" lacks column "`+column+`"`) != warned {
			t.Errorf("column %s without a value elsewhere: a warning is expected: %v", column, warned)
		}
	}
}

// TestFilterThatIsNotTakenHere exists because a column may have a type of a user where the
// filter was not set: its code must not run, and the stream must be able to go on.
func TestFilterThatIsNotTakenHere(t *testing.T) {
	c, a, b := part(t, "CREATE TYPE mood AS ENUM ('bad', 'good')")
	a.Exec("CREATE TABLE typed (id int PRIMARY KEY, v mood)")
	b.Exec("CREATE TABLE typed (id int PRIMARY KEY, v text)",
		"SELECT bdr.create_replication_set('once', replicate_update := false, replicate_delete := false)",
		"SELECT bdr.replication_set_add_table('typed', 'once', row_filter := $$v = 'good'$$)")
	agreed(c)
	for _, n := range c.Nodes {
		choose(n, "part", "once")
	}
	a.Exec("INSERT INTO typed VALUES (1, 'good')")
	b.Wait(limit, "SELECT count(*) > 0 FROM bdr.worker_errors WHERE error_message LIKE '%operator does not exist: public.mood = text%'", "t")
	a.Exec("SELECT bdr.replication_set_remove_table('typed', 'once')")
	b.Exec("SELECT bdr.alter_subscription_disable(immediate := true)")
	skip := func(lsn string) error {
		return b.Try("SELECT bdr.alter_subscription_skip_changes_upto((SELECT sub_name FROM bdr.subscription), '" + lsn + "')")
	}
	var fault *pgconn.PgError
	if !errors.As(skip(a.Value("SELECT pg_current_wal_flush_lsn()")), &fault) {
		t.Fatal("a transaction ends where none does")
	}
	b.Must(skip(regexp.MustCompile(`[0-9A-F]+/[0-9A-F]+`).FindString(fault.Detail)))
	b.Exec("SELECT bdr.alter_subscription_enable()")
	arrived(t, c)
	requireRows(t, b, "typed", "")
}

// TestJoinWithSets exists because a new node that wants a part must not copy the rest, and
// must miss nothing of what is written while it joins.
func TestJoinWithSets(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithMembers(2))
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	for _, n := range []*pgtest.Node{a, b} {
		n.Exec("CREATE TABLE wanted (id int PRIMARY KEY, v text, secret text DEFAULT 'none')", "CREATE TABLE unwanted (id int PRIMARY KEY)",
			"CREATE TABLE filtered (id int PRIMARY KEY, x xml)")
	}
	a.Exec("SELECT bdr.create_replication_set('part')", "SELECT bdr.replication_set_add_table('wanted', 'part', '{id,v}')",
		"SELECT bdr.replication_set_add_table('filtered', 'part', row_filter := 'id > 10')",
		"INSERT INTO wanted VALUES (1, 'a', 's'), (2, 'b', 's')", "INSERT INTO unwanted VALUES (1)", "INSERT INTO filtered VALUES (1, NULL), (11, '<a/>')")
	c.RequireConvergedAmong(a, b)
	d.CreateNode()
	choose(d, "part")
	if err := d.Try("SELECT bdr.join_node_group('" + a.NodeDSN + "')"); err == nil || !strings.Contains(err.Error(), "does not publish replication set") {
		t.Errorf("a source without the set: %v", err)
	}
	choose(a, "app_group", "part")
	choose(b, "app_group", "part")
	held := a.Session()
	hold := func(sql string) {
		_, err := pgtest.RunOn(held, sql, limit)
		a.Must(err)
	}
	hold("BEGIN; LOCK TABLE wanted")
	d.StartJoin(a)
	d.Wait(limit, "SELECT count(*) FROM bdr.node_summary WHERE node_name = 'node3' AND peer_state_name LIKE 'JOIN%'", "1")
	if err := pgtest.PgError(d.Try("SELECT bdr.alter_node_replication_sets('node3', '{}')")); err == nil || err.Code != "55000" || !strings.Contains(err.Detail, "is joining") {
		t.Errorf("a choice during the join: %+v", err)
	}
	hold("COMMIT")
	for i := 20; i < 40; i++ {
		for k, n := range []*pgtest.Node{a, b} {
			n.Exec(fmt.Sprintf("INSERT INTO wanted VALUES (%[1]d, 'w', 's'); INSERT INTO filtered VALUES (%[1]d), (-%[1]d); INSERT INTO unwanted VALUES (%[1]d)", 2*i+k))
		}
	}
	d.Exec("SELECT bdr.wait_for_join_completion()")
	c.WaitMesh(c.Nodes...)
	a.Exec("UPDATE wanted SET v = 'last'")
	d.Wait(limit, "SELECT count(*) || ' ' || count(*) FILTER (WHERE v = 'last') || ' ' || min(secret) || ' ' || max(secret) FROM wanted", "42 42 none none")
	d.Wait(limit, "SELECT count(*) || ' ' || min(id) FROM filtered", "41 11")
	requireRows(t, d, "unwanted", "")
	if got := d.Value("SELECT string_agg(s, ',') FROM bdr.local_node_summary, unnest(sub_repsets) s"); got != "part" {
		t.Errorf("the node subscribes to %s", got)
	}
}
