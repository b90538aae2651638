package repset

import (
	"fmt"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
)

// change runs statements of which each goes to other nodes.
func change(n *pgtest.Node, statements ...string) {
	for _, sql := range statements {
		n.Exec("SET bdr.ddl_replication = on; " + sql + "; RESET ROLE; RESET bdr.ddl_replication")
	}
}

// requireRelations compares the tables and views of a node, but for "mark", with a list.
func requireRelations(t *testing.T, n *pgtest.Node, want string) {
	t.Helper()
	got := n.Value(`SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class
 WHERE relkind IN ('r', 'v') AND relnamespace = 'public'::regnamespace AND relname <> 'mark'`)
	if got != want {
		t.Errorf("%s has %s, expected %s", n.Name, got, want)
	}
}

func requireNoErrors(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	for _, n := range c.Nodes {
		if got := n.Value("SELECT coalesce(string_agg(error_message, '; '), '') FROM bdr.worker_errors"); got != "" {
			t.Errorf("%s: %s", n.Name, got)
		}
	}
}

// filtering makes two nodes that have everything and the set "part", and one that has
// that set only.
func filtering(t *testing.T, more ...string) (c *pgtest.Cluster, a, b, part *pgtest.Node) {
	t.Helper()
	c = pgtest.NewCluster(t, 3)
	a, b, part = c.Nodes[0], c.Nodes[1], c.Nodes[2]
	a.Exec("SELECT bdr.create_replication_set('part')")
	a.Exec(more...)
	withMark(c, "part")
	choose(a, "app_group", "part")
	choose(b, "app_group", "part")
	choose(part, "part")
	return c, a, b, part
}

// TestDDLFilters exists because a node with a part of the tables needs the statements
// about these, each once, and no others.
func TestDDLFilters(t *testing.T) {
	c, a, b, part := filtering(t)
	c.ExecAll("CREATE ROLE builder", "GRANT CREATE ON SCHEMA public TO builder")
	change(a, "CREATE TABLE before (id int PRIMARY KEY)")
	a.Exec("SELECT bdr.replication_set_add_ddl_filter('part', 'tables', '^(CREATE|DROP) TABLE$')",
		"SELECT bdr.replication_set_add_ddl_filter('part', 'builders', NULL, role_name := '^build')",
		"SELECT bdr.replication_set_add_ddl_filter('part', 'said', 'VIEW|AS', query_match := 'for +part')")
	arrived(t, c)
	const filters = "SELECT string_agg(concat_ws(' ', set_name, set_ddl_name, set_ddl_tag, set_ddl_role, set_ddl_query, set_ddl_exclusive), ', ' ORDER BY set_ddl_name) FROM bdr.ddl_replication"
	if got := part.Value(filters); got != "part builders ^build f, part said VIEW|AS for +part f, part tables ^(CREATE|DROP) TABLE$ f" {
		t.Errorf("bdr.ddl_replication has %s", got)
	}
	change(a, "CREATE TABLE by_tag (id int PRIMARY KEY)", "CREATE VIEW unsaid AS SELECT 1 AS one", "CREATE VIEW said AS SELECT 1 AS one /* for  part */",
		"SET ROLE builder; CREATE VIEW built AS SELECT 1 AS one", "SET ROLE builder; CREATE TABLE thrice (id int PRIMARY KEY); ALTER TABLE thrice ADD v int",
		"CREATE TABLE filled AS /* for part */ SELECT 1 AS one", "EXPLAIN ANALYZE CREATE TABLE explained AS SELECT 1 AS one WHERE false /* for part */",
		"DO $$BEGIN /* for part */ EXECUTE 'CREATE VIEW done AS SELECT 1 AS one'; END$$", "CREATE TABLE gone (id int PRIMARY KEY)", "DROP TABLE gone")
	change(part, "CREATE TABLE of_part (id int PRIMARY KEY)", "CREATE VIEW own AS SELECT 1 AS one")
	arrived(t, c)
	const everything = "before built by_tag done explained filled of_part said thrice unsaid"
	requireRelations(t, a, everything)
	requireRelations(t, b, everything)
	requireRelations(t, part, "built by_tag explained filled of_part own said thrice")
	if got := part.Value("SELECT count(*) FROM pg_attribute WHERE attrelid = 'thrice'::regclass AND attname = 'v'"); got != "1" {
		t.Error("a statement of the role has not come")
	}
	requireRows(t, b, "filled", "(1)")
	requireRows(t, part, "filled", "") // the table is in no set of this node
	requireNoErrors(t, c)

	// They are there when the node comes back, and gone when they are removed.
	a.Must(a.Restart())
	a.Exec("SELECT bdr.replication_set_remove_ddl_filter('part', 'tables')")
	change(a, "CREATE TABLE untold (id int PRIMARY KEY)", "CREATE VIEW told AS SELECT 1 AS one /* for part */")
	arrived(t, c)
	requireRelations(t, b, strings.Replace(everything, "unsaid", "told unsaid untold", 1))
	requireRelations(t, part, "built by_tag explained filled of_part own said thrice told")
	b.Exec("SELECT bdr.alter_node_replication_sets('node2', '{app_group}')")
	part.Exec("SELECT bdr.alter_node_replication_sets('node3', '{app_group}')")
	a.Exec("SELECT bdr.alter_node_replication_sets('node1', '{app_group}')", "SELECT bdr.drop_replication_set('part')")
	agreed(c)
	if got := b.Value("SELECT count(*) FROM bdr.replication_set_ddl"); got != "0" {
		t.Errorf("%s filters outlive their set", got)
	}
}

// TestExclusiveDDLFilters exists because an exclusive filter keeps a statement from nodes
// that would have got it, and two of them cannot both be right.
func TestExclusiveDDLFilters(t *testing.T) {
	c, a, b, part := filtering(t, "SELECT bdr.create_replication_set('reports')", "SELECT bdr.create_replication_set('rest')",
		"SELECT bdr.replication_set_add_ddl_filter('part', 'tables', 'TABLE')",
		"SELECT bdr.replication_set_add_ddl_filter('reports', 'reports', NULL, query_match := 'report', exclusive := true)")
	change(a, "CREATE TABLE report1 (id int PRIMARY KEY)", "CREATE TABLE other (id int PRIMARY KEY)")
	arrived(t, c)
	requireRelations(t, a, "other report1")
	requireRelations(t, b, "other")
	requireRelations(t, part, "other")

	choose(a, "app_group", "part", "reports")
	choose(b, "app_group", "part", "reports")
	change(a, "CREATE TABLE report2 (id int PRIMARY KEY)")
	arrived(t, c)
	requireRelations(t, b, "other report2")
	requireRelations(t, part, "other")

	a.Exec("SELECT bdr.replication_set_add_ddl_filter('rest', 'numbered', '.*', query_match := 'report[0-9]', exclusive := true)")
	for _, sql := range []string{"CREATE TABLE report3 (id int)", "CREATE TABLE report3 AS SELECT 1 AS one", "CREATE INDEX CONCURRENTLY report3 ON other (id)"} {
		session := a.Session()
		_, err := pgtest.RunOn(session, "SET bdr.ddl_replication = on", limit)
		a.Must(err)
		_, err = pgtest.RunOn(session, sql, limit) // by itself: CONCURRENTLY
		fault := pgtest.PgError(err)
		if fault == nil || fault.Code != "55000" || !strings.Contains(fault.Message, "two exclusive DDL filters") ||
			!strings.Contains(fault.Detail, `"reports" of replication set "reports"`) || !strings.Contains(fault.Detail, `"numbered" of replication set "rest"`) || fault.Hint == "" {
			t.Errorf("%s: %+v", sql, fault)
		}
	}
	change(a, "CREATE TEMP TABLE report3 (id int); CREATE TEMP TABLE report4 AS SELECT 1 AS one; CREATE TEMP VIEW report5 AS SELECT 1; ALTER TABLE report3 ADD v int; DROP TABLE report3")
	a.Exec("SELECT bdr.replication_set_remove_ddl_filter('reports', 'reports')")
	change(a, "CREATE TABLE report6 (id int PRIMARY KEY)", "CREATE TABLE report (id int PRIMARY KEY)")
	arrived(t, c)
	requireRelations(t, a, "other report report1 report2 report6")
	requireRelations(t, b, "other report report2")
	requireRelations(t, part, "other report")
	if got := a.Value("SELECT count(*) FROM pg_indexes WHERE tablename = 'other'"); got != "1" {
		t.Errorf("an index was made by a statement that failed")
	}
	requireNoErrors(t, c)
}

// TestReplicateToSets exists because bdr.replicate_ddl_command() says itself where a
// statement goes.
func TestReplicateToSets(t *testing.T) {
	c, a, b, part := filtering(t, "SELECT bdr.create_replication_set('nobody')", "SELECT bdr.replication_set_add_ddl_filter('part', 'all', NULL)")
	arrived(t, c)
	send := func(sql, more string) { a.Exec(fmt.Sprintf("SELECT bdr.replicate_ddl_command('%s'%s)", sql, more)) }
	send("CREATE TABLE public.by_default (id int)", "")
	send("CREATE TABLE public.by_name (id int)", ", '{app_group}'")
	send("CREATE TABLE public.to_part (id int)", ", '{part}'")
	send("CREATE TABLE public.filled AS SELECT 1 AS one", ", '{part,part,nobody}'")
	send("CREATE TABLE public.to_none (id int)", ", '{nobody}'")
	send("CREATE TABLE public.to_all (id int)", ", '{nobody,part,app_group}'")
	send("CREATE TABLE public.elsewhere (id int)", ", '{part}', execute_locally := false")
	arrived(t, c)
	requireRelations(t, a, "by_default by_name filled to_all to_none to_part")
	requireRelations(t, b, "by_default by_name elsewhere filled to_all to_part")
	requireRelations(t, part, "elsewhere filled to_all to_part")
	requireNoErrors(t, c)
	for sets, code := range map[string]string{"'{none}'": "42704", "'{part,NULL}'": "42704", "'{}'": "22023"} {
		for _, here := range []string{"true", "false"} {
			fault := pgtest.PgError(a.Try("SELECT bdr.replicate_ddl_command('CREATE TABLE refused (id int)', " + sets + ", execute_locally := " + here + ")"))
			if fault == nil || fault.Code != code || fault.Hint == "" {
				t.Errorf("sets %s: %+v", sets, fault)
			}
		}
	}
}

// TestJoinWithDDLFilters exists because a node that is being made gets the statements of
// others from the node that it is made of, which must know where they belong. Those of
// node2 are not there before the new node has begun to follow.
func TestJoinWithDDLFilters(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithMembers(2))
	a, b, joiner := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	for _, n := range []*pgtest.Node{a, b} {
		n.Exec("CREATE TABLE gate (id int PRIMARY KEY)")
	}
	a.Exec("SELECT bdr.create_replication_set('part')", "SELECT bdr.replication_set_add_ddl_filter('part', 'tables', 'TABLE')",
		"SELECT bdr.replication_set_add_ddl_filter('part', 'said', NULL, query_match := 'for part')")
	b.Wait(limit, "SELECT count(*) FROM bdr.ddl_replication", "2")
	choose(a, "app_group", "part")
	choose(b, "app_group", "part")
	held := a.Session()
	hold := func(sql string) {
		_, err := pgtest.RunOn(held, sql, limit)
		a.Must(err)
	}
	hold("BEGIN; LOCK TABLE gate IN EXCLUSIVE MODE")
	b.Exec("INSERT INTO gate VALUES (1)")
	a.Wait(limit, "SELECT count(*) FROM pg_locks WHERE relation = 'gate'::regclass AND NOT granted", "1")
	types := func(n *pgtest.Node) {
		change(n, fmt.Sprintf("CREATE TABLE late_%s (id int PRIMARY KEY)", n.Name), fmt.Sprintf("CREATE VIEW unsaid_%s AS SELECT 1 AS one", n.Name),
			fmt.Sprintf("CREATE VIEW said_%s AS SELECT 1 AS one /* for part */", n.Name))
	}
	types(b)
	joiner.CreateNode()
	choose(joiner, "part")
	joiner.StartJoin(a)
	a.Wait(limit, fmt.Sprintf(`SELECT count(*) FROM pg_stat_replication r JOIN pg_replication_slots s ON s.active_pid = r.pid
 WHERE r.state = 'streaming' AND s.slot_name LIKE '%%\_%s'`, joiner.Value("SELECT node_id FROM bdr.local_node")), "1")
	hold("ROLLBACK")
	types(a) // which has to have those of node2 first
	joiner.Exec("SELECT bdr.wait_for_join_completion()")
	c.WaitMesh(c.Nodes...)
	if got := joiner.Value("SELECT string_agg(set_ddl_name, ' ' ORDER BY set_ddl_name) FROM bdr.ddl_replication"); got != "said tables" {
		t.Errorf("the new node has the filters %s", got)
	}
	types(joiner)
	change(b, "CREATE VIEW unsaid AS SELECT 1 AS one", "CREATE TABLE last (id int PRIMARY KEY)")
	joiner.Wait(limit, "SELECT count(*) FROM pg_class WHERE relname = 'last'", "1")
	a.Wait(limit, "SELECT count(*) FROM pg_class WHERE relname IN ('said_node3', 'last')", "2")
	requireRelations(t, joiner, "gate last late_node1 late_node2 late_node3 said_node1 said_node2 said_node3 unsaid_node3")
	requireRelations(t, a, "gate last late_node1 late_node2 late_node3 said_node1 said_node2 said_node3 unsaid unsaid_node1 unsaid_node2")
	requireNoErrors(t, c)
}

var filterRefusals = []struct{ arguments, state, says string }{
	{"'s', 'there', 'x'", "42710", "exists already"},
	{"'other', 'there', 'x'", "42710", `one of replication set "s"`},
	{"'none', 'f', 'x'", "42704", "does not exist"},
	{"'app_group', 'f', 'x'", "55000", "default set"},
	{"NULL, 'f', 'x'", "22023", "invalid name of a replication set"},
	{"'s', NULL, 'x'", "22023", "invalid name of a DDL filter"},
	{"'s', '', 'x'", "22023", "invalid name of a DDL filter"},
	{"'s', repeat('f', 64), 'x'", "22023", "invalid name of a DDL filter"},
	{"'s', 'f', '('", "2201B", "invalid regular expression"},
	{"'s', 'f', NULL, '['", "2201B", "invalid regular expression"},
	{"'s', 'f', NULL, query_match := 'a**'", "2201B", "invalid regular expression"},
	{`'s', 'f', '(.)\1'`, "0A000", "command_tag has a back reference"},
	{`'s', 'f', NULL, '(.)\1'`, "0A000", "role_name has a back reference"},
	{`'s', 'f', NULL, query_match := '(.+)\1'`, "0A000", "query_match has a back reference"},
	{"'s', 'f', repeat('x', 1001)", "53400", "command_tag of DDL filter"},
	{"'s', 'f', NULL, query_match := repeat('x', 1001)", "53400", "may have 1000"},
	{"'s', 'f', NULL, base_relation_name := 't'", "0A000", "base_relation_name"},
	{"'s', 'f', NULL, exclusive := NULL", "22004", "exclusive must not be NULL"},
}

// TestWhatDDLFiltersRefuse exists because a filter that is agreed on is used in everybody's
// sessions.
func TestWhatDDLFiltersRefuse(t *testing.T) {
	n := pgtest.NewCluster(t, 1).Nodes[0]
	n.Exec("SELECT bdr.create_replication_set('s')", "SELECT bdr.create_replication_set('other')", "SELECT bdr.replication_set_add_ddl_filter('s', 'there', 'x')",
		"CREATE ROLE nobody_here", "GRANT EXECUTE ON FUNCTION bdr.replication_set_add_ddl_filter, bdr.replication_set_remove_ddl_filter TO nobody_here")
	refused := func(sql, state, says string) {
		t.Helper()
		fault := pgtest.PgError(n.Try(sql))
		if fault == nil || fault.Code != state || !strings.Contains(fault.Message+fault.Detail+fault.Hint, says) {
			t.Errorf("%s: %+v; expected %s, %q", sql, fault, state, says)
		}
	}
	for _, r := range filterRefusals {
		refused("SELECT bdr.replication_set_add_ddl_filter("+r.arguments+")", r.state, r.says)
	}
	refused("SELECT bdr.replication_set_remove_ddl_filter('s', 'none')", "42704", "has no DDL filter")
	refused("SELECT bdr.replication_set_remove_ddl_filter('other', 'there')", "42704", "has no DDL filter")
	refused("SELECT bdr.replication_set_remove_ddl_filter('none', 'there')", "42704", "does not exist")
	refused("SELECT bdr.replication_set_remove_ddl_filter('app_group', 'there')", "55000", "default set")
	refused("SELECT bdr.replication_set_remove_ddl_filter('s', NULL)", "22023", "invalid name")
	refused("SET ROLE nobody_here; SELECT bdr.replication_set_add_ddl_filter('s', 'f', 'x')", "42501", "Only superusers")
	refused("SET ROLE nobody_here; SELECT bdr.replication_set_remove_ddl_filter('s', 'there')", "42501", "Only superusers")
	if got := n.Value("SELECT string_agg(set_ddl_name, ' ') FROM bdr.ddl_replication"); got != "there" {
		t.Errorf("the filters are %s", got)
	}
}

// TestCostOfDDLFilters exists because whoever types a long statement pays for what
// somebody else wants to know of it.
func TestCostOfDDLFilters(t *testing.T) {
	n := pgtest.NewCluster(t, 1).Nodes[0]
	n.Exec("SELECT bdr.create_replication_set('s')")
	for i := range 10 {
		n.Exec(fmt.Sprintf("SELECT bdr.replication_set_add_ddl_filter('s', 'f%d', NULL, query_match := '(?=.*b%d)c')", i, i),
			fmt.Sprintf("SELECT bdr.replication_set_add_ddl_filter('s', 'g%d', NULL, query_match := '(x|xx|xxx)*y%d')", i, i))
	}
	n.Exec("SELECT bdr.replication_set_add_ddl_filter('s', 'far', NULL, query_match := 'far', exclusive := true)",
		"SELECT bdr.replication_set_add_ddl_filter('s', 'away', NULL, query_match := 'away', exclusive := true)")
	session := n.Session()
	for _, sql := range []string{"SET bdr.ddl_replication = on; SET statement_timeout = '20s'", "COMMENT ON SCHEMA public IS '" + strings.Repeat("x", 10_000_000) + " far away'"} {
		_, err := pgtest.RunOn(session, sql, limit)
		n.Must(err)
	}
}
