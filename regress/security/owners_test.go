package security

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
)

// The other role of these tests, which u wants something of.
const victim = "w"

// pairWithVictim is a cluster of two with both roles, who may create tables in
// public.
func pairWithVictim(t *testing.T) (c *pgtest.Cluster, a, b *pgtest.Node) {
	t.Helper()
	c, a, b = pairWithUser(t)
	c.ExecAll("CREATE ROLE "+victim+" LOGIN", "GRANT CREATE ON SCHEMA public TO u, w")
	return c, a, b
}

// refused waits until a subscription of the node is stopped by an error that
// says all of the words, and has a hint.
func refused(n *pgtest.Node, sqlstate string, words ...string) {
	for i, w := range words {
		words[i] = "%" + strings.ReplaceAll(w, "'", "''") + "%"
	}
	n.Wait(replicated, "SELECT count(*) FROM bdr.worker_errors WHERE error_sqlstate = '"+sqlstate+"' AND error_hint <> '' AND "+
		"concat_ws(' ', error_message, error_detail, error_hint) LIKE ALL (ARRAY['"+strings.Join(words, "','")+"'])", "1")
}

// TestTablesOfOthers exists because tables were matched by name alone: whoever
// may create a table on one node read and fed the table of that name on the
// others, whoever owned it. It is an error that says who owns what; when the
// administrator has decided, everything is there on both nodes.
func TestTablesOfOthers(t *testing.T) {
	c, a, b := pairWithVictim(t)
	a.As(victim, "").Exec("CREATE TABLE public.work (id int PRIMARY KEY, v text)")
	b.As(user, "").Exec("CREATE TABLE public.work (id int PRIMARY KEY, v text)")

	a.As(victim, "").Exec("INSERT INTO public.work VALUES (1, 'secret')")
	refused(b, "42501", `table "public.work" has another owner`, `"u"`, `"w"`, "ALTER TABLE public.work OWNER TO")
	b.As(user, "").Exec("INSERT INTO public.work VALUES (2, 'forged')")
	refused(a, "42501", `table "public.work" has another owner`)
	if b.Value("SELECT count(*) FROM public.work WHERE v = 'secret'") != "0" || a.Value("SELECT count(*) FROM public.work WHERE v = 'forged'") != "0" {
		t.Error("rows went to a table of another owner")
	}
	b.Exec("ALTER TABLE public.work OWNER TO w")
	c.RequireConverged()
	if got := a.Value("SELECT string_agg(id::text, ',' ORDER BY id) FROM public.work"); got != "1,2" {
		t.Errorf("rows are %s", got)
	}
}

// TestTruncateOfOthers exists because TRUNCATE names tables as rows do, and
// partitioned ones in a way of their own.
func TestTruncateOfOthers(t *testing.T) {
	c, a, b := pairWithVictim(t)
	for _, table := range []string{"plain (id int PRIMARY KEY)", "parted (id int PRIMARY KEY) PARTITION BY RANGE (id)"} {
		name, _, _ := strings.Cut(table, " ")
		give := func(role string) { b.Exec("ALTER TABLE public." + name + " OWNER TO " + role) }
		a.As(victim, "").Exec("CREATE TABLE public." + table)
		b.As(user, "").Exec("CREATE TABLE public." + table)
		if name == "parted" {
			a.As(victim, "").Exec("CREATE TABLE public.part1 PARTITION OF public.parted DEFAULT")
			b.As(user, "").Exec("CREATE TABLE public.other PARTITION OF public.parted DEFAULT")
			give = func(role string) {
				b.Exec("ALTER TABLE public.other OWNER TO "+role, "ALTER TABLE public.parted OWNER TO "+role)
			}
		}
		a.As(victim, "").Exec("INSERT INTO public." + name + " VALUES (1)")
		refused(b, "42501", `table "public.`+name+`" has another owner`)
		give("w")
		c.RequireConverged()
		give("u")
		a.As(victim, "").Exec("TRUNCATE public." + name)
		refused(b, "42501", `table "public.`+name+`" has another owner`)
		if b.Value("SELECT count(*) FROM public."+name) != "1" {
			t.Error("a TRUNCATE emptied the table of another owner")
		}
		give("w")
		c.RequireConverged()
	}
}

// TestPermanenceOfTables exists because rows in an unlogged table are gone after
// a crash, and the sender has long forgotten them.
func TestPermanenceOfTables(t *testing.T) {
	c, a, b := pairWithVictim(t)
	a.As(user, "").Exec("CREATE TABLE u.t (id int PRIMARY KEY)", "CREATE TABLE u.p (id int PRIMARY KEY) PARTITION BY RANGE (id)", "CREATE TABLE u.p1 PARTITION OF u.p DEFAULT")
	b.As(user, "").Exec("CREATE UNLOGGED TABLE u.t (id int PRIMARY KEY)", "CREATE TABLE u.p (id int PRIMARY KEY) PARTITION BY RANGE (id)",
		"CREATE UNLOGGED TABLE u.other PARTITION OF u.p DEFAULT")
	for table, here := range map[string]string{"u.t": "u.t", "u.p": "u.other"} {
		a.As(user, "").Exec("INSERT INTO " + table + " VALUES (1)")
		refused(b, "55000", `unlogged table "`+here+`"`, "ALTER TABLE "+here+" SET LOGGED")
		b.As(user, "").Exec("ALTER TABLE " + here + " SET LOGGED")
		b.Wait(replicated, "SELECT count(*) FROM "+table, "1")
	}
	c.RequireConverged()
}

// TestOwnersThatMatch exists because superusers need not have one name on all
// nodes, roles are renamed, and an administrator may have reasons for several
// owners: what was right goes on.
func TestOwnersThatMatch(t *testing.T) {
	c, a, b := pairWithVictim(t)
	b.Exec("CREATE ROLE admin SUPERUSER")
	c.ExecAll("CREATE TABLE work (id int PRIMARY KEY)")
	b.Exec("ALTER TABLE work OWNER TO admin")
	a.Exec("INSERT INTO work VALUES (1)")
	b.Exec("INSERT INTO work VALUES (2)")
	c.RequireConverged()

	// a superuser that is none any more
	b.Exec("ALTER ROLE admin NOSUPERUSER")
	a.Exec("INSERT INTO work VALUES (3)")
	refused(b, "42501", `superuser "postgres"`, `"admin"`)
	b.Exec("ALTER ROLE admin SUPERUSER")
	c.RequireConverged()

	// the name is what counts, and it may change while rows are on their way
	c.ExecAll("ALTER TABLE work OWNER TO u")
	a.Exec("INSERT INTO work VALUES (4)")
	c.RequireConverged()
	a.Exec("ALTER ROLE u RENAME TO v")
	a.Exec("INSERT INTO work VALUES (5)")
	refused(b, "42501", `"u"`, `"v"`)
	b.Exec("ALTER ROLE u RENAME TO v")
	c.RequireConverged()

	// the administrator's word
	b.Exec("ALTER TABLE work OWNER TO w")
	a.Exec("INSERT INTO work VALUES (6)")
	refused(b, "42501", "bdr.match_table_owner")
	b.Exec("ALTER SYSTEM SET bdr.match_table_owner = off", "SELECT pg_reload_conf()")
	b.Wait(replicated, "SELECT count(*) FROM work", "6")
	a.Exec("INSERT INTO work VALUES (7)")
	b.Wait(replicated, "SELECT count(*) FROM work", "7")
	b.Exec("ALTER SYSTEM RESET bdr.match_table_owner", "SELECT pg_reload_conf()")
	b.Wait(replicated, "SHOW bdr.match_table_owner", "on")
	a.Exec("INSERT INTO work VALUES (8)")
	refused(b, "42501", "bdr.match_table_owner")
	a.Exec("ALTER TABLE work OWNER TO w")
	c.RequireConverged()
	if err := b.As(victim, "").Try("SET bdr.match_table_owner = off"); err == nil {
		t.Error("a user may let rows go to tables of others")
	}
}

// TestOwnerChangesBothWays exists because an owner is changed on one node after
// the other, with rows on their way: whatever the order, replication goes on
// when both are changed, without rows that stay behind for ever.
func TestOwnerChangesBothWays(t *testing.T) {
	c, a, b := pairWithVictim(t)
	c.ExecAll("CREATE TABLE work (id int PRIMARY KEY)", "ALTER TABLE work OWNER TO u")
	a.Exec("INSERT INTO work VALUES (1)")
	c.RequireConverged()

	// the receiver first: rows were written under the owner before
	b.Exec("ALTER TABLE work OWNER TO w")
	a.Exec("INSERT INTO work VALUES (2)")
	refused(b, "42501", `"u"`, `"w"`)
	a.Exec("ALTER TABLE work OWNER TO w", "INSERT INTO work VALUES (3)")
	c.RequireConverged()

	// the sender first
	a.Exec("ALTER TABLE work OWNER TO u", "INSERT INTO work VALUES (4)")
	refused(b, "42501", `"u"`, `"w"`)
	b.Exec("ALTER TABLE work OWNER TO u", "INSERT INTO work VALUES (5)")
	c.RequireConverged()
}

// TestPartitionsOfOthers exists because a row of a partition may be written to
// the partition of that name, or go through the root: it is the owner of what
// was named that must be the same.
func TestPartitionsOfOthers(t *testing.T) {
	c, a, b := pairWithVictim(t)
	for _, n := range c.Nodes {
		n.As(victim, "").Exec("CREATE TABLE public.root (id int PRIMARY KEY) PARTITION BY RANGE (id)")
	}
	// partitions that only one node has go through the root
	a.As(victim, "").Exec("CREATE TABLE public.one PARTITION OF public.root FOR VALUES FROM (0) TO (10)")
	b.As(victim, "").Exec("CREATE TABLE public.two PARTITION OF public.root FOR VALUES FROM (0) TO (10)")
	b.Exec("ALTER TABLE public.root OWNER TO u")
	a.Exec("INSERT INTO public.root VALUES (1)")
	refused(b, "42501", `table "public.root" has another owner`)
	b.Exec("ALTER TABLE public.root OWNER TO w")
	c.RequireConverged()

	// a partition by name
	c.ExecAll("CREATE TABLE public.three PARTITION OF public.root FOR VALUES FROM (20) TO (30)", "ALTER TABLE public.three OWNER TO w")
	b.Exec("ALTER TABLE public.three OWNER TO u")
	a.Exec("INSERT INTO public.root VALUES (21)")
	refused(b, "42501", `table "public.three" has another owner`)
	b.Exec("ALTER TABLE public.three OWNER TO w")
	c.RequireConverged()

	// its root, whose owner has the rights of the other, so that code of both may run
	b.Exec("GRANT w TO u", "ALTER TABLE public.root OWNER TO u")
	a.Exec("INSERT INTO public.root VALUES (22)")
	refused(b, "42501", `table "public.root" has another owner`)
	b.Exec("ALTER TABLE public.root OWNER TO w")
	c.RequireConverged()
}

// TestSystemTablesOfPeers exists because a node that is not what it was could
// name any table: the catalogs of the server, and ours, belong to superusers on
// all nodes. No node sends changes of them, and none applies any.
func TestSystemTablesOfPeers(t *testing.T) {
	n := pgtest.NewCluster(t, 1, pgtest.WithMembers(0)).Nodes[0]
	n.Exec("CREATE TABLE allowed (name text)")
	n.LoadTestFunctions()
	conn := n.Session()
	for _, table := range []struct{ schema, name, column, code string }{
		{"public", "allowed", "name", ""},
		{"bdr", "dropped_table", "relname", "42501"},
		{"pg_catalog", "pg_authid", "rolname", "42501"},
	} {
		messages := slices.Concat(describe(table.schema, table.name, "postgres", table.column), insertText("evil"))
		_, err := pgtest.RunOn(conn, fmt.Sprintf("BEGIN; SELECT bdr_test.apply('\\x%x')", messages), replicated)
		code := ""
		if err != nil && pgtest.PgError(err) != nil {
			code = pgtest.PgError(err).Code
		}
		if code != table.code {
			t.Errorf("%s.%s: %v", table.schema, table.name, err)
		}
		_, err = pgtest.RunOn(conn, "ROLLBACK", replicated)
		n.Must(err)
	}
}

// describe is RELATION, of relation 1 with one column of texts and a superuser
// as its owner.
func describe(schema, name, owner, column string) []byte {
	body := append(binary.BigEndian.AppendUint32(nil, 1), 'd', 4)
	body = appendNames(body, schema, name, "", "", owner, "")
	body = append(body, 0, 1, 0, 't', 0, 0, 0, 25, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	return message('R', appendNames(body, column, "pg_catalog", "text"))
}

// insertText is INSERT of a row into relation 1.
func insertText(value string) []byte {
	body := append(binary.BigEndian.AppendUint32(nil, 1), 0, 1, 'l')
	return message('I', append(binary.BigEndian.AppendUint32(body, uint32(len(value))), value...))
}

func appendNames(b []byte, names ...string) []byte {
	for _, name := range names {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(name))), name...)
	}
	return b
}

func message(kind byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body))), body...)
}

// TestDropsOfOthers exists because the resolver skip_if_recently_dropped leaves
// out changes of a table that was dropped here: u must not have changes of
// others left out by making and dropping a table of that name.
func TestDropsOfOthers(t *testing.T) {
	c, a, b := pairWithVictim(t)
	b.Exec("SELECT bdr.alter_node_set_conflict_resolver('node2', 'target_table_missing', 'skip_if_recently_dropped')")
	a.As(victim, "").Exec("CREATE TABLE public.work (id int PRIMARY KEY)")
	b.As(user, "").Exec("CREATE TABLE public.work (id int PRIMARY KEY)", "DROP TABLE public.work")
	a.As(victim, "").Exec("INSERT INTO public.work VALUES (1)")
	refused(b, "42P01", `table "public.work" does not exist`)
	b.As(victim, "").Exec("CREATE TABLE public.work (id int PRIMARY KEY)")
	c.RequireConverged()
	b.As(victim, "").Exec("DROP TABLE public.work")
	a.As(victim, "").Exec("INSERT INTO public.work VALUES (2)")
	c.WaitDrained(c.Nodes...)
	if got := b.Value("SELECT count(*) FROM bdr.conflict_history WHERE conflict_type = 'target_table_missing' AND conflict_resolution = 'skip'"); got != "1" {
		t.Errorf("%s changes of a dropped table were left out", got)
	}
}
