package join

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestWholePath exists because it is the promise of the product: from empty
// databases, three SQL functions make a cluster in which every node may write
// every kind of change and all nodes hold the same rows.
func TestWholePath(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	for _, part := range []struct {
		name string
		run  func(*testing.T, *pgtest.Cluster)
	}{
		{"views_show_three_active_nodes", viewsShowThreeActiveNodes},
		{"every_kind_of_change_each_way", everyKindOfChange},
		{"truncate_cascade_restart_identity", truncateCascades},
		{"replica_identity_default_index_full", replicaIdentities},
		{"unchanged_toast_stays", unchangedToastStays},
		{"columns_match_by_name", columnsMatchByName},
		{"table_made_by_hand_replicates_at_once", tableMadeByHand},
		{"nothing_is_sent_back_or_on", nothingIsSentBackOrOn},
		{"commit_time_and_order_are_kept", commitTimeIsKept},
		{"only_permanent_tables_travel", onlyPermanentTables},
		{"replica_triggers_fire_alone", replicaTriggersFireAlone},
		{"many_types_travel", manyTypesTravel},
		{"subscription_pauses_and_goes_on", subscriptionPauses},
		{"subtransactions_and_rollbacks", subtransactions},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, c.For(t)) })
	}
}

func viewsShowThreeActiveNodes(t *testing.T, c *pgtest.Cluster) {
	leaders := 0
	for _, n := range c.Nodes {
		want := "app_group:node1:ACTIVE,app_group:node2:ACTIVE,app_group:node3:ACTIVE"
		n.Wait(clustertest.ResumeLimit, `SELECT string_agg(node_group_name || ':' || node_name || ':' || peer_state_name, ',' ORDER BY node_name)
			FROM bdr.node_summary`, want)
		n.Wait(clustertest.ResumeLimit, "SELECT node_name || ' ' || peer_target_state_name FROM bdr.local_node_summary", n.Name+" ACTIVE")
		n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.subscription_summary WHERE subscription_status = 'replicating'", "2")
		n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.stat_subscription WHERE nconnect >= 1", "2")
		n.Wait(clustertest.ResumeLimit, "SELECT count(DISTINCT target_name) FROM bdr.node_slots WHERE active", "2")
		n.Wait(clustertest.ResumeLimit, "SELECT nnodes || ' ' || nvoting_nodes FROM bdr.get_raft_status()", "3 3")
		if n.Value("SELECT bdr.bdr_version()") != "0.2.0" {
			t.Errorf("%s: another version", n.Name)
		}
		leaders += len(n.Rows("SELECT 1 FROM bdr.get_raft_status() WHERE leader_name = '" + n.Name + "'"))
	}
	if leaders != 1 {
		t.Errorf("%d nodes take themselves for the leader", leaders)
	}
	seqs := c.Nodes[0].Value("SELECT count(DISTINCT node_seq_id) FROM bdr.node_summary")
	if seqs != "3" {
		t.Errorf("node_seq_id is not unique: %s different ones", seqs)
	}
}

func everyKindOfChange(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE orders (id int PRIMARY KEY, what text, at timestamptz DEFAULT now())")
	for i, n := range c.Nodes {
		base := i * 1000
		n.Exec(fmt.Sprintf("INSERT INTO orders SELECT g, 'from %s' FROM generate_series(%d, %d) g", n.Name, base+1, base+100))
	}
	c.RequireConverged()
	for i, n := range c.Nodes {
		other := (i + 1) % 3 * 1000 // rows that another node made
		n.Exec(fmt.Sprintf("UPDATE orders SET what = 'changed by %s' WHERE id BETWEEN %d AND %d", n.Name, other+1, other+20),
			fmt.Sprintf("UPDATE orders SET id = id + 500 WHERE id BETWEEN %d AND %d", other+21, other+30),
			fmt.Sprintf("DELETE FROM orders WHERE id BETWEEN %d AND %d", other+31, other+50))
	}
	c.RequireConverged()
	const summary = `SELECT count(*) || ' ' || count(*) FILTER (WHERE what LIKE 'changed%') || ' '
		|| count(*) FILTER (WHERE id % 1000 > 500) FROM orders`
	if got := c.Nodes[0].Value(summary); got != "240 60 30" {
		t.Errorf("rows, changed, moved: %s, expected 240 60 30", got)
	}
	for _, n := range c.Nodes {
		n.Exec("TRUNCATE orders", fmt.Sprintf("INSERT INTO orders VALUES (1, 'after the truncate of %s')", n.Name))
		c.RequireConverged()
	}
}

func truncateCascades(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("SET bdr.default_sequence_kind = 'local'; CREATE TABLE parent (id serial PRIMARY KEY)",
		"CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent)")
	c.Nodes[0].Exec("INSERT INTO parent DEFAULT VALUES", "INSERT INTO child VALUES (1, 1)")
	c.RequireConverged()
	c.Nodes[1].Exec("SELECT setval('parent_id_seq', 77)")
	c.Nodes[2].Exec("TRUNCATE parent RESTART IDENTITY CASCADE")
	c.RequireConverged()
	if got := c.Nodes[1].Value("SELECT (SELECT count(*) FROM child) || ' ' || (SELECT count(*) FROM parent)"); got != "0 0" {
		t.Errorf("rows after TRUNCATE CASCADE: %s", got)
	}
	if got := c.Nodes[1].Value("SELECT nextval('parent_id_seq')"); got != "1" {
		t.Errorf("the sequence was not restarted: %s", got)
	}
}

func replicaIdentities(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE ri_default (a int PRIMARY KEY, b text)",
		"CREATE TABLE ri_index (a int, b text NOT NULL, c int NOT NULL)",
		"CREATE UNIQUE INDEX ri_index_key ON ri_index (c, b)",
		"ALTER TABLE ri_index REPLICA IDENTITY USING INDEX ri_index_key",
		"CREATE TABLE ri_full (a int, b text, c numeric)",
		"ALTER TABLE ri_full REPLICA IDENTITY FULL")
	for _, table := range []string{"ri_default (a, b) SELECT g, 'v' || g", "ri_index SELECT g, 'v' || g, g", "ri_full SELECT g % 10, NULLIF('v' || g % 10, 'v3'), g % 10"} {
		c.Nodes[0].Exec("INSERT INTO " + table + " FROM generate_series(1, 50) g")
	}
	c.RequireConverged()
	for i, table := range []string{"ri_default", "ri_index", "ri_full"} {
		n := c.Nodes[(i+1)%3]
		n.Exec("UPDATE "+table+" SET b = b || ' changed' WHERE a IN (4, 5)",
			"DELETE FROM "+table+" WHERE a = 6",
			"UPDATE "+table+" SET a = a + 100, b = 'moved' WHERE a = 7",
			"DELETE FROM "+table+" WHERE b IS NULL")
	}
	c.RequireConverged()
	if got := c.Nodes[0].Value("SELECT count(*) FROM ri_full WHERE b LIKE '% changed'"); got != "10" {
		t.Errorf("equal rows of a table with identity FULL: %s were changed, expected 10", got)
	}
}

func unchangedToastStays(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE toast (id int PRIMARY KEY, n int, big text)",
		"ALTER TABLE toast ALTER big SET STORAGE EXTERNAL")
	c.Nodes[0].Exec("INSERT INTO toast SELECT g, 0, repeat(md5(g::text), 3000) FROM generate_series(1, 5) g")
	c.RequireConverged()
	c.Nodes[1].Exec("UPDATE toast SET n = n + 1")
	c.RequireConverged()
	c.Nodes[2].Exec("UPDATE toast SET big = big || 'tail' WHERE id = 1", "UPDATE toast SET big = NULL WHERE id = 2")
	c.RequireConverged()
	got := c.Nodes[0].Value("SELECT string_agg(coalesce(length(big)::text, '-'), ' ' ORDER BY id) || ' ' || sum(n) FROM toast")
	if got != "96004 - 96000 96000 96000 5" {
		t.Errorf("lengths of the toasted values: %s", got)
	}
}

func columnsMatchByName(t *testing.T, c *pgtest.Cluster) {
	c.Nodes[0].Exec("CREATE TABLE cols (id int PRIMARY KEY, a text, b int, c date)")
	c.Nodes[1].Exec("CREATE TABLE cols (c date, gone int, b int, a text, id int)",
		"ALTER TABLE cols DROP COLUMN gone, ADD PRIMARY KEY (id)")
	c.Nodes[2].Exec("CREATE TABLE cols (b int, id int PRIMARY KEY, c date, a text)")
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf("INSERT INTO cols (id, a, b, c) VALUES (%d, 'a%d', %d, '2026-01-0%d')", i, i, i*10, i+1))
	}
	c.RequireConverged()
	c.Nodes[1].Exec("UPDATE cols SET b = b + 1, a = a || '!'", "DELETE FROM cols WHERE id = 2")
	c.RequireConverged()
	got := c.Nodes[0].Value("SELECT string_agg(id || a || b || c, ' ' ORDER BY id) FROM cols")
	if got != "0a0!12026-01-01 1a1!112026-01-02" {
		t.Errorf("columns went astray: %s", got)
	}
}

func tableMadeByHand(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll(`CREATE SCHEMA "Odd Name"`, `CREATE TABLE "Odd Name"."My ""Table""" ("Key" int PRIMARY KEY, "select" text)`)
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf(`INSERT INTO "Odd Name"."My ""Table""" VALUES (%d, '%s')`, i, n.Name))
	}
	c.RequireConverged()
	c.ExecAll(`ALTER TABLE "Odd Name"."My ""Table""" ADD COLUMN more int DEFAULT 5`)
	c.Nodes[1].Exec(`UPDATE "Odd Name"."My ""Table""" SET more = 6`)
	c.RequireConverged()
	if got := c.Nodes[2].Value(`SELECT count(*) FROM "Odd Name"."My ""Table""" WHERE more = 6`); got != "3" {
		t.Errorf("a column added later: %s rows changed", got)
	}
}

func nothingIsSentBackOrOn(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE keyless (who text)") // nothing would refuse a second copy
	for _, n := range c.Nodes {
		n.Exec(fmt.Sprintf("INSERT INTO keyless SELECT '%s' FROM generate_series(1, 10)", n.Name))
	}
	c.RequireConverged()
	c.WaitDrained(c.Nodes...)
	for _, n := range c.Nodes {
		if got := n.Value("SELECT count(*) FROM keyless"); got != "30" {
			t.Errorf("%s has %s rows, expected 30", n.Name, got)
		}
	}
}

func commitTimeIsKept(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE times (id int PRIMARY KEY)")
	for i := range 5 {
		c.Nodes[0].Exec(fmt.Sprintf("INSERT INTO times VALUES (%d)", i))
	}
	c.RequireConverged()
	const query = "SELECT string_agg(pg_xact_commit_timestamp(xmin)::text, ' ' ORDER BY id) FROM times"
	want := c.Nodes[0].Value(query)
	for _, n := range c.Nodes[1:] {
		if got := n.Value(query); got != want {
			t.Errorf("%s has other commit times:\n%s\n%s", n.Name, got, want)
		}
		if got := n.Value("SELECT count(DISTINCT xmin::text) FROM times"); got != "5" {
			t.Errorf("%s made %s transactions of five", n.Name, got)
		}
		if got := n.Value(`SELECT count(*) FROM (SELECT id, row_number() OVER (ORDER BY xmin::text::bigint) - 1 AS place FROM times) x
			WHERE id <> place`); got != "0" {
			t.Errorf("%s applied in another order", n.Name)
		}
	}
}

func onlyPermanentTables(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY)", "CREATE TABLE marker (id int PRIMARY KEY)",
		"CREATE MATERIALIZED VIEW mv AS SELECT 1 AS a")
	c.Nodes[0].Exec("INSERT INTO unlogged VALUES (1)",
		"CREATE TEMP TABLE scratch (id int); INSERT INTO scratch VALUES (1); REFRESH MATERIALIZED VIEW mv; INSERT INTO marker VALUES (1)")
	c.RequireConverged()
	if got := c.Nodes[1].Value("SELECT count(*) FROM unlogged"); got != "0" {
		t.Errorf("an unlogged table was replicated")
	}
}

func replicaTriggersFireAlone(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE watched (id int PRIMARY KEY, seen text DEFAULT '')",
		`CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.seen := NEW.seen || TG_ARGV[0]; RETURN NEW; END $$`,
		"CREATE TRIGGER a BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION see('origin ')",
		"CREATE TRIGGER b BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION see('replica ')",
		"ALTER TABLE watched ENABLE REPLICA TRIGGER b")
	c.Nodes[0].Exec("INSERT INTO watched VALUES (1)")
	c.WaitDrained(c.Nodes...)
	if got := c.Nodes[0].Value("SELECT seen FROM watched"); got != "origin " {
		t.Errorf("on the origin: %q", got)
	}
	if got := c.Nodes[1].Value("SELECT seen FROM watched"); got != "origin replica " {
		t.Errorf("on a peer: %q", got)
	}
	c.ExecAll("DROP TABLE watched")
}

func manyTypesTravel(t *testing.T, c *pgtest.Cluster) {
	c.Nodes[0].Exec("CREATE TYPE mood AS ENUM ('bad', 'good')")
	for _, n := range c.Nodes[1:] { // other OIDs than on the first node
		n.Exec("CREATE TYPE padding AS ENUM ('x')", "CREATE TYPE mood AS ENUM ('bad', 'good')")
	}
	c.ExecAll("CREATE TYPE pos AS (x int, y text)", "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
		`CREATE TABLE types (id int PRIMARY KEY, a smallint, b bigint, c real, d float8, e numeric, f text, g varchar(10), h char(5),
		i bytea, j boolean, k date, l time, m timetz, n timestamp, o timestamptz, p interval, q uuid, r json, s jsonb, t int[],
		u text[], v inet, w cidr, x macaddr, y point, z box, aa int4range, ab nummultirange, ac tsvector, ad mood, ae pos, af positive,
		ag mood[], ah "char", ai name, aj bit(5), ak varbit, al money, am xml, an pg_lsn, ao oid)`)
	c.Nodes[1].Exec(`INSERT INTO types VALUES (1, -5, 1234567890123, 1.5, 'NaN', 'Infinity', 'ünï', 'abc', 'de', '\x00ff', true,
		'0044-03-15 BC', '12:34:56.789', '12:34:56+05', '-infinity', '2026-02-03 04:05:06.789+00', '1 year 2 days 3.5 s',
		'00000000-0000-0000-0000-000000000001', '{"a": 1}', '{"b": [1, null]}', '{1,NULL,3}', '{"a,b","","NULL"}', '10.1.2.3/8',
		'10.0.0.0/8', '08:00:2b:01:02:03', '(1,2)', '((0,0),(1,1))', '[1,5)', '{[1.5,2),[3,)}', 'a fat cat', 'good', '(1,"x y")', 7,
		'{good,bad}', 'q', 'nnn', '10101', '110', '12.34', '<a>b</a>', '16/B374D848', 4294967295)`,
		"INSERT INTO types VALUES (2, NULL, NULL, '-0', 'Infinity', '12345678901234567890.0123456789', '')")
	c.RequireConverged()
	c.Nodes[2].Exec("UPDATE types SET ad = 'bad', t = t || 4, ae = ROW(2, 'z')::pos, e = e + 1 WHERE id = 1", "UPDATE types SET e = -e WHERE id = 2")
	c.RequireConverged()
}

func subscriptionPauses(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE pause (id int PRIMARY KEY)")
	a, b := c.Nodes[0], c.Nodes[1]
	if got := b.Value("SELECT bdr.alter_subscription_disable(immediate := true)"); got != "2" {
		t.Errorf("%s subscriptions were disabled, expected 2", got)
	}
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.subscription_summary WHERE subscription_status = 'disabled'", "2")
	pgtest.Eventually(t, clustertest.ResumeLimit, "no writer runs on node2", func() (bool, string) {
		writers := b.ProcessesTitled(clustertest.WriterTitle)
		return len(writers) == 0, fmt.Sprint(writers)
	})
	a.Exec("INSERT INTO pause VALUES (1)")
	c.Nodes[2].Wait(clustertest.ResumeLimit, "SELECT count(*) FROM pause", "1")
	if got := b.Value("SELECT count(*) FROM pause"); got != "0" {
		t.Errorf("a disabled subscription applied %s rows", got)
	}
	name := b.Value("SELECT sub_name FROM bdr.subscription_summary WHERE origin_name = 'node1'")
	b.Exec(fmt.Sprintf("SELECT bdr.alter_subscription_enable('%s')", name))
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM pause", "1")
	b.Exec("SELECT bdr.alter_subscription_enable()")
	c.RequireConverged()
	a.Exec("INSERT INTO pause VALUES (2)", "SELECT bdr.wait_slot_confirm_lsn(NULL, NULL)")
	for _, n := range c.Nodes {
		if got := n.Value("SELECT count(*) FROM pause"); got != "2" {
			t.Errorf("%s has %s rows after wait_slot_confirm_lsn", n.Name, got)
		}
	}
	b.Exec("INSERT INTO pause VALUES (3)", "SELECT bdr.wait_node_confirm_lsn('node3', NULL)")
	if got := c.Nodes[2].Value("SELECT count(*) FROM pause"); got != "3" {
		t.Errorf("node3 has %s rows after wait_node_confirm_lsn", got)
	}
}

func subtransactions(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE sub (id int PRIMARY KEY, v text)")
	var sql strings.Builder
	sql.WriteString("BEGIN; INSERT INTO sub VALUES (0, 'first');")
	for i := 1; i <= 60; i++ {
		fmt.Fprintf(&sql, "SAVEPOINT s%d; INSERT INTO sub VALUES (%d, 'kept');", i, i)
		if i%3 == 0 {
			fmt.Fprintf(&sql, "ROLLBACK TO s%d;", i)
		}
	}
	sql.WriteString("UPDATE sub SET v = v || '!'; COMMIT; BEGIN; INSERT INTO sub VALUES (1000, 'never'); ROLLBACK")
	c.Nodes[0].Exec(sql.String())
	c.RequireConverged()
	if got := c.Nodes[2].Value("SELECT count(*) || ' ' || max(id) FROM sub WHERE v LIKE '%!'"); got != "41 59" {
		t.Errorf("rows and highest: %s", got)
	}
	c.Nodes[1].Wait(10*time.Second, "SELECT count(*) FROM sub", "41")
}
