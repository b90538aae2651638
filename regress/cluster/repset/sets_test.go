package repset

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
)

const limit = 60 * time.Second

// choose has a node publish and subscribe to sets; none is the default one.
func choose(n *pgtest.Node, sets ...string) {
	array := "'{}'"
	if len(sets) > 0 {
		array = "ARRAY['" + strings.Join(sets, "', '") + "']"
	}
	n.Exec(fmt.Sprintf("SELECT bdr.alter_node_replication_sets('%s', %s)", n.Name, array))
}

// arrived waits until all that the nodes have written is where it is wanted. A row of
// a table that every set has comes after all else that its node wrote.
func arrived(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	agreed(c)
	mark := fmt.Sprintf("%d", time.Now().UnixNano())
	for _, n := range c.Nodes {
		n.Exec(fmt.Sprintf("INSERT INTO mark VALUES ('%s', '%s')", n.Name, mark))
	}
	for _, n := range c.Nodes {
		n.Wait(limit, fmt.Sprintf("SELECT count(*) FROM mark WHERE said = '%s'", mark), fmt.Sprint(len(c.Nodes)))
	}
}

// agreed waits until all nodes have the same sets: each sends by what it knows.
func agreed(c *pgtest.Cluster) {
	const sets = `SELECT md5(concat((SELECT string_agg(s::text, ' ' ORDER BY s.set_id) FROM bdr.replication_set s),
 (SELECT string_agg(t::text, ' ' ORDER BY t::text) FROM bdr.replication_set_table t),
 (SELECT string_agg(d::text, ' ' ORDER BY d::text) FROM bdr.replication_set_ddl d), (SELECT c::text FROM bdr.replication_set_call c)))`
	want := c.Nodes[0].Value(sets)
	for _, n := range c.Nodes[1:] {
		n.Wait(limit, sets, want)
	}
}

// requireRows compares the rows of a table on a node with a text.
func requireRows(t *testing.T, n *pgtest.Node, table, want string) {
	t.Helper()
	got := n.Value("SELECT coalesce(string_agg(r::text, ' ' ORDER BY r::text), '') FROM " + table + " r")
	if got != want {
		t.Errorf("%s: table %s has %q, expected %q", n.Name, table, got, want)
	}
}

func withMark(c *pgtest.Cluster, sets ...string) {
	c.ExecAll("CREATE TABLE mark (node text, said text, PRIMARY KEY (node, said))")
	for _, set := range sets {
		c.Nodes[0].Exec(fmt.Sprintf("SELECT bdr.replication_set_add_table('mark', '%s')", set))
	}
	agreed(c)
}

// TestReplicationSets exists because a node that wants a part of the tables must get
// that part, all of it, and nothing else; and everybody else everything.
func TestReplicationSets(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	c.ExecAll("CREATE TABLE one (id int PRIMARY KEY, v text)", "CREATE TABLE other (id int PRIMARY KEY, v text)")
	a.Exec("SELECT bdr.create_replication_set('part')", "SELECT bdr.replication_set_add_table('one', 'part')")
	withMark(c, "part")
	const members = "SELECT string_agg(relname || ' ' || set_name, ', ' ORDER BY relname, set_name) FROM bdr.tables"
	for _, n := range c.Nodes {
		n.Wait(limit, members, "mark app_group, mark part, one app_group, one part, other app_group")
	}
	choose(a, "app_group", "part")
	choose(b, "app_group", "part")
	choose(d, "part")
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf("INSERT INTO one VALUES (%d, 'x'); INSERT INTO other VALUES (%d, 'x')", i, i))
	}
	arrived(t, c)
	requireRows(t, a, "one", "(0,x) (1,x) (2,x)")
	requireRows(t, b, "one", "(0,x) (1,x) (2,x)")
	requireRows(t, d, "one", "(0,x) (1,x) (2,x)")
	requireRows(t, a, "other", "(0,x) (1,x)")
	requireRows(t, b, "other", "(0,x) (1,x)")
	requireRows(t, d, "other", "(2,x)")

	// A table that comes into the set: from there on, in the order of WAL.
	a.Exec("INSERT INTO other VALUES (10, 'before')", "SELECT bdr.replication_set_add_table('other', 'part')", "INSERT INTO other VALUES (11, 'after')")
	arrived(t, c)
	requireRows(t, d, "other", "(11,after) (2,x)")
	a.Exec("SELECT bdr.replication_set_remove_table('other', 'part')", "INSERT INTO other VALUES (12, 'gone')", "TRUNCATE one, other")
	arrived(t, c)
	requireRows(t, d, "other", "(11,after) (2,x)")
	requireRows(t, d, "one", "")
	requireRows(t, b, "other", "")
	if got := d.Value("SELECT count(*) FROM bdr.conflict_history"); got != "0" {
		t.Errorf("%s conflicts", got)
	}

	// Everything again.
	choose(d)
	a.Exec("INSERT INTO other VALUES (13, 'all')")
	d.Wait(limit, "SELECT count(*) FROM other WHERE id = 13", "1")
}

// TestTruncateCascade exists because a node that gets everything must truncate what refers
// to a truncated table, whatever other sets it has.
func TestTruncateCascade(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE referenced (id int PRIMARY KEY)")
	b.Exec("CREATE TABLE own (id int PRIMARY KEY REFERENCES referenced)")
	a.Exec("SELECT bdr.create_replication_set('part')", "SELECT bdr.replication_set_add_table('referenced', 'part')")
	withMark(c, "part")
	for _, n := range c.Nodes {
		choose(n, "app_group", "part")
	}
	a.Exec("INSERT INTO referenced VALUES (1)")
	arrived(t, c)
	b.Exec("BEGIN; SET LOCAL bdr.xact_replication = off; INSERT INTO own VALUES (1); COMMIT") // no other node has the table
	a.Exec("TRUNCATE referenced CASCADE")
	arrived(t, c)
	requireRows(t, b, "referenced", "")
	requireRows(t, b, "own", "")
}

// TestActionsOfSets exists because a node that keeps what others delete must not lose it.
func TestActionsOfSets(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE kept (id int PRIMARY KEY, v text)", "CREATE TABLE changed (id int PRIMARY KEY, v text)")
	a.Exec("SELECT bdr.create_replication_set('archive', replicate_delete := false, replicate_truncate := false)",
		"SELECT bdr.replication_set_add_table('kept', 'archive')",
		"SELECT bdr.create_replication_set('updates', false, true, false, false)", "SELECT bdr.create_replication_set('inserts', true, false, false, false)",
		"SELECT bdr.replication_set_add_table('changed', 'updates')", "SELECT bdr.replication_set_add_table('changed', 'inserts')")
	a.Exec("SELECT bdr.create_replication_set('marks')")
	withMark(c, "marks")
	for _, n := range c.Nodes {
		choose(n, "archive", "inserts", "updates", "marks")
	}
	a.Exec("INSERT INTO kept VALUES (1, 'a'), (2, 'b')", "UPDATE kept SET v = 'c' WHERE id = 1", "DELETE FROM kept", "INSERT INTO kept VALUES (3, 'd')", "TRUNCATE kept",
		"INSERT INTO changed VALUES (1, 'a'), (2, 'b')", "UPDATE changed SET v = 'c' WHERE id = 1", "DELETE FROM changed")
	arrived(t, c)
	requireRows(t, a, "kept", "")
	requireRows(t, b, "kept", "(1,c) (2,b) (3,d)")
	requireRows(t, b, "changed", "(1,c) (2,b)")
	a.Exec("SELECT bdr.alter_replication_set('archive', replicate_truncate := true)", "TRUNCATE kept",
		"SELECT bdr.alter_replication_set('archive', replicate_insert := false)", "INSERT INTO kept VALUES (4, 'e')")
	arrived(t, c)
	requireRows(t, b, "kept", "")
}

// TestSetsThatAddTables exists because such a set says nothing of most of its tables.
func TestSetsThatAddTables(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE before (id int PRIMARY KEY)", "CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id)",
		"CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10)", "CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20)")
	a.Exec("SELECT bdr.create_replication_set('future', autoadd_tables := true, autoadd_existing := false)",
		"SELECT bdr.create_replication_set('whole', autoadd_tables := true)", "SELECT bdr.replication_set_remove_table('before', 'whole')",
		"SELECT bdr.create_replication_set('leaf')", "SELECT bdr.replication_set_add_table('parted_2', 'leaf')")
	c.ExecAll("CREATE TABLE later (id int PRIMARY KEY)")
	withMark(c, "leaf")
	const members = `SELECT string_agg(set_name || ': ' || tables, ', ' ORDER BY set_name) FROM (
 SELECT set_name, string_agg(relname, ' ' ORDER BY relname) AS tables FROM bdr.tables WHERE set_name <> 'app_group' GROUP BY set_name) s`
	b.Wait(limit, members, "future: later mark, leaf: mark parted_2, whole: later mark parted parted_1 parted_2")
	write := func(id int) {
		a.Exec(fmt.Sprintf("INSERT INTO before VALUES (%[1]d); INSERT INTO later VALUES (%[1]d); INSERT INTO parted VALUES (%[1]d), (%[1]d + 10)", id))
	}
	for i, set := range []string{"future", "whole", "leaf"} {
		choose(a, set, "leaf")
		choose(b, set, "leaf")
		write(i)
		arrived(t, c)
	}
	requireRows(t, b, "before", "")
	requireRows(t, b, "later", "(0) (1)")
	requireRows(t, b, "parted", "(1) (10) (11) (12)")

	// What is in the set stays when it no longer adds tables, and the other way round.
	a.Exec("SELECT bdr.alter_replication_set('whole', autoadd_tables := false)", "SELECT bdr.alter_replication_set('leaf', autoadd_tables := true)")
	c.ExecAll("CREATE TABLE last (id int PRIMARY KEY)")
	b.Wait(limit, members, "future: last later mark, leaf: last mark parted_2, whole: later mark parted parted_1 parted_2")
	a.Exec("SELECT bdr.drop_replication_set('whole')")
	b.Wait(limit, "SELECT count(*) FROM bdr.replication_set_table t WHERE NOT EXISTS (SELECT FROM bdr.replication_set s WHERE s.set_id = t.set_id)", "0")
}

// TestStatementsGoWithTheDefaultSet exists because a node that gets a part has a schema
// of its own, which must not follow that of the others, nor stop the stream.
func TestStatementsGoWithTheDefaultSet(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	a, b, part := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	group := a.Value("SELECT node_group_name FROM bdr.node_group")
	a.Exec("SELECT bdr.create_replication_set('part')")
	agreed(c)
	withMark(c, "part")
	choose(part, "part")
	choose(a, group, "part")
	choose(b, group, "part")
	a.Exec("SET bdr.ddl_replication = on; CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); ALTER TABLE mark ADD more int DEFAULT 1; RESET bdr.ddl_replication")
	part.Exec("ALTER TABLE mark ADD more int DEFAULT 1", "SET bdr.ddl_replication = on; CREATE TABLE own (id int PRIMARY KEY); RESET bdr.ddl_replication")
	b.Wait(limit, "SELECT count(*) FROM pg_attribute WHERE attrelid = 'mark'::regclass AND attname = 'more'", "1") // before part sends rows with it
	arrived(t, c)
	requireRows(t, b, "t", "(1)")
	for _, test := range []struct {
		n    *pgtest.Node
		want string
	}{{a, "mark t"}, {b, "mark t"}, {part, "mark own"}} {
		if got := test.n.Value("SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"); got != test.want {
			t.Errorf("%s has the tables %s, expected %s", test.n.Name, got, test.want)
		}
	}
	for _, n := range c.Nodes {
		if got := n.Value("SELECT count(*) FROM bdr.worker_errors"); got != "0" {
			t.Errorf("%s: %s subscriptions have errors", n.Name, got)
		}
	}
}
