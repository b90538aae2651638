package conflict

import (
	"fmt"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestRewrite exists because a rewritten table is not a changed one. ALTER TABLE
// gives all rows its own transaction and drops the dead ones, and so made every
// row newer than what was on its way, and forgot deletions.
func TestRewrite(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithSettings(map[string]string{
		"bdr.watermark_interval": "100ms", "autovacuum": "off", "shared_buffers": "8MB", "max_prepared_transactions": "5"}))
	t.Run("open_while_others_write", func(t *testing.T) { testRewriteOpen(t, c.For(t)) })
	for i, r := range rewrites {
		t.Run("late_changes/"+r.name, func(t *testing.T) { testRewriteLate(t, c.For(t), fmt.Sprintf("late%d", i), r) })
	}
	for major, newer := range newerRewrites {
		for i, r := range newer {
			t.Run("late_changes/"+r.name, func(t *testing.T) {
				pgtest.Since(t, major, r.name)
				testRewriteLate(t, c.For(t), fmt.Sprintf("late%d_%d", major, i), r)
			})
		}
	}
	for i, d := range lateDefeats {
		for k, r := range forgetful {
			if d.own != "" && !r.transactional {
				continue
			}
			t.Run("late_change_loses/"+d.name+"/"+r.name, func(t *testing.T) {
				testRewriteDefeat(t, c.For(t), fmt.Sprintf("defeat%d_%d", i, k), strings.ReplaceAll(r.sql, "%[1]s", fmt.Sprintf("defeat%d_%d", i, k)), d)
			})
		}
	}
	t.Run("remembered_before", func(t *testing.T) { testRewriteRemembered(t, c.For(t)) })
	t.Run("prepared", func(t *testing.T) { testRewritePrepared(t, c.For(t)) })
	t.Run("scans_are_synchronized", func(t *testing.T) { testRewriteSynchronized(t, c.For(t)) })
	t.Run("horizon", func(t *testing.T) { testRewriteHorizon(t, c.For(t)) })
}

// testRewriteOpen is the case from the field.
func testRewriteOpen(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, v text, n int)")
	dropAfter(t, c, "t")
	a.Exec("INSERT INTO t SELECT i, 'old', i FROM generate_series(1, 20) i")
	c.RequireConverged()
	user := b.Session()
	for _, sql := range []string{"BEGIN", "ALTER TABLE t ALTER n TYPE bigint"} {
		_, err := results(user, sql)
		b.Must(err)
	}
	a.Exec("UPDATE t SET v = 'new' WHERE id <= 5", "DELETE FROM t WHERE id = 6")
	_, err := results(user, "COMMIT")
	b.Must(err)
	a.Exec("ALTER TABLE t ALTER n TYPE bigint")
	c.Nodes[2].Exec("ALTER TABLE t ALTER n TYPE bigint")
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FILTER (WHERE v = 'new') || ' of ' || count(*) FROM t", "5 of 19")
	c.RequireConverged()
}

// dropAfter takes tables away at the end of a test, so that one that fails leaves
// the others alone.
func dropAfter(t *testing.T, c *pgtest.Cluster, table string) {
	t.Cleanup(func() { c.ExecAll("DROP TABLE " + table) })
}

type rewrite struct {
	name   string
	create string   // of table %[1]s
	sql    []string // run as one transaction
}

const (
	keyed       = "CREATE TABLE %[1]s (id int PRIMARY KEY, u int UNIQUE, v text, n int)"
	partitioned = "CREATE TABLE %[1]s (id int PRIMARY KEY, u int, v text, n int) PARTITION BY RANGE (id); " +
		"CREATE TABLE %[1]s_1 PARTITION OF %[1]s FOR VALUES FROM (0) TO (10); CREATE TABLE %[1]s_2 PARTITION OF %[1]s FOR VALUES FROM (10) TO (1000)"
)

var rewrites = []rewrite{
	{"type", keyed, []string{"ALTER TABLE %[1]s ALTER n TYPE bigint"}},
	{"type_of_the_key", keyed, []string{"ALTER TABLE %[1]s ALTER id TYPE bigint"}},
	{"type_of_a_large_value", keyed, []string{"ALTER TABLE %[1]s ALTER v TYPE bytea USING v::bytea", "ALTER TABLE %[1]s ALTER v TYPE text USING encode(v, 'escape')"}},
	{"volatile_default", keyed, []string{"ALTER TABLE %[1]s ADD x int DEFAULT (random() * 0)::int"}},
	{"generated_column", keyed, []string{"ALTER TABLE %[1]s ADD x int GENERATED ALWAYS AS (n * 2) STORED"}},
	{"logged", keyed, []string{"ALTER TABLE %[1]s SET UNLOGGED", "ALTER TABLE %[1]s SET LOGGED"}},
	{"again_and_again", keyed, []string{"ALTER TABLE %[1]s ALTER n TYPE bigint", "ALTER TABLE %[1]s ALTER n TYPE numeric", "ALTER TABLE %[1]s ALTER n TYPE int"}},
	{"savepoints", keyed, []string{
		"SAVEPOINT s", "ALTER TABLE %[1]s ALTER n TYPE bigint", "ROLLBACK TO s", "ALTER TABLE %[1]s ALTER n TYPE numeric", "RELEASE s",
		"SAVEPOINT s", "ALTER TABLE %[1]s ALTER n TYPE bigint", "ROLLBACK TO s"}},
	{"partitions", partitioned, []string{"ALTER TABLE %[1]s ALTER n TYPE bigint"}},
	{"one_partition", partitioned, []string{"ALTER TABLE %[1]s_1 SET UNLOGGED", "ALTER TABLE %[1]s_1 SET LOGGED"}},
	{"no_key", "CREATE TABLE %[1]s (id int, u int, v text, n int); ALTER TABLE %[1]s REPLICA IDENTITY FULL",
		[]string{"ALTER TABLE %[1]s SET UNLOGGED", "ALTER TABLE %[1]s SET LOGGED"}},
	{"cluster", keyed, []string{"CLUSTER %[1]s USING %[1]s_u_key"}},
	{"detached_and_attached", partitioned, []string{"ALTER TABLE %[1]s DETACH PARTITION %[1]s_1",
		"ALTER TABLE %[1]s ATTACH PARTITION %[1]s_1 FOR VALUES FROM (0) TO (10)"}},
}

// newerRewrites are of what newer majors have.
var newerRewrites = map[int][]rewrite{
	17: {
		{"expression_of_a_generated_column", strings.Replace(keyed, "n int", "n int, x int GENERATED ALWAYS AS (n * 2) STORED UNIQUE", 1),
			[]string{"ALTER TABLE %[1]s ALTER x SET EXPRESSION AS (n * 3)"}},
		{"access_method_default", partitioned, []string{"ALTER TABLE %[1]s SET ACCESS METHOD heap", "ALTER TABLE %[1]s ALTER n TYPE bigint"}},
	},
	18: {
		{"virtual_column", strings.Replace(keyed, "v text", "v text, w int GENERATED ALWAYS AS (length(v))", 1),
			[]string{"ALTER TABLE %[1]s ALTER n TYPE bigint", "ALTER TABLE %[1]s ALTER w SET EXPRESSION AS (n * 2)", "ALTER TABLE %[1]s ADD x int DEFAULT (random() * 0)::int"}},
		{"key_without_overlaps", without, []string{"ALTER TABLE %[1]s ALTER n TYPE bigint"}},
		{"type_of_a_key_without_overlaps", without, []string{"ALTER TABLE %[1]s ALTER id TYPE bigint, ALTER during DROP DEFAULT", "ALTER TABLE %[1]s ALTER during TYPE int8range USING during::text::int8range"}},
	},
}

const without = "CREATE EXTENSION IF NOT EXISTS btree_gist; " +
	"CREATE TABLE %[1]s (id int, u int UNIQUE, v text, n int, during int4range DEFAULT '[1,2)', PRIMARY KEY (id, during WITHOUT OVERLAPS))"

// want is what the nodes have at the end. Without a key, two updates of one row
// at the same time leave two.
func (r *rewrite) want() string {
	news := 8
	if r.name == "no_key" {
		news = 12
	}
	return fmt.Sprintf("%d new, 8 of b, 0 deleted, 4 moved", news)
}

// transaction runs statements about a table as one.
func transaction(n *pgtest.Node, table string, statements ...string) {
	user := n.Session()
	for _, sql := range append(append([]string{"BEGIN"}, statements...), "COMMIT") {
		_, err := results(user, strings.ReplaceAll(sql, "%[1]s", table))
		n.Must(err)
	}
}

// What was written before a rewrite elsewhere, and comes after it, still wins
// over what is older than it.
func testRewriteLate(t *testing.T, c *pgtest.Cluster, table string, r rewrite) {
	a, b := c.Nodes[0], c.Nodes[1]
	for _, sql := range strings.Split(strings.ReplaceAll(r.create, "%[1]s", table), "; ") {
		c.ExecAll(sql)
	}
	dropAfter(t, c, table)
	a.Exec(fmt.Sprintf("INSERT INTO %s (id, u, v, n) SELECT i, 100 - i, repeat('v', i * 300), i FROM generate_series(1, 40) i", table))
	c.RequireConverged()
	heal := cut(t, b, a)
	a.Exec(fmt.Sprintf("UPDATE %s SET v = 'new' WHERE id %% 10 <= 2", table), fmt.Sprintf("DELETE FROM %s WHERE id %% 10 = 3", table),
		fmt.Sprintf("UPDATE %s SET id = id + 100 WHERE id %% 10 = 4", table))
	b.Exec(fmt.Sprintf("UPDATE %s SET v = 'b' WHERE id %% 10 IN (2, 5)", table))
	transaction(b, table, r.sql...)
	heal()
	transaction(a, table, r.sql...)
	transaction(c.Nodes[2], table, r.sql...)
	c.RequireConverged()
	b.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT count(*) FILTER (WHERE v = 'new') || ' new, ' || count(*) FILTER (WHERE v = 'b') || ' of b, ' ||"+
		" count(*) FILTER (WHERE id %% 10 = 3) || ' deleted, ' || count(*) FILTER (WHERE id > 100) || ' moved' FROM %s", table), r.want())
}

// forgetful are statements that may leave dead rows behind.
var forgetful = []struct {
	name, sql     string
	transactional bool
}{
	{"type", "ALTER TABLE %[1]s ALTER n TYPE bigint", true},
	{"type_of_the_key", "ALTER TABLE %[1]s ALTER id TYPE bigint, ALTER u TYPE text", true},
	{"cluster", "CLUSTER %[1]s USING %[1]s_pkey", true},
	{"vacuum_full", "VACUUM FULL %[1]s", false},
	{"reindex", "REINDEX TABLE %[1]s", true},
	{"reindex_concurrently", "REINDEX TABLE CONCURRENTLY %[1]s", false},
	{"another_primary_key", "CREATE UNIQUE INDEX CONCURRENTLY %[1]s_other ON %[1]s (id); " +
		"ALTER TABLE %[1]s DROP CONSTRAINT %[1]s_pkey, ADD PRIMARY KEY USING INDEX %[1]s_other", false},
}

// lateDefeats are changes on the first node that lose to what the others have
// seen, of which no row is left to tell when they arrive.
type lateDefeat struct {
	name  string
	late  string // on the first node, which the others do not hear
	newer string // on the third, from where it comes to the second
	own   string // on the second, in the transaction that rewrites
}

var lateDefeats = []lateDefeat{
	{"deleted", "UPDATE %[1]s SET v = 'late' WHERE id = 1", "DELETE FROM %[1]s WHERE id = 1", ""},
	{"deleted_by_the_same_transaction", "UPDATE %[1]s SET v = 'late' WHERE id = 1", "", "DELETE FROM %[1]s WHERE id = 1"},
	{"moved_by_the_same_transaction", "UPDATE %[1]s SET v = 'late' WHERE id = 1", "", "UPDATE %[1]s SET id = 100 WHERE id = 1"},
	{"inserted_and_deleted", "INSERT INTO %[1]s VALUES (50, 50, 'late')", "INSERT INTO %[1]s VALUES (50, 51, 'c'); DELETE FROM %[1]s WHERE id = 50", ""},
	{"deleted_twice", "INSERT INTO %[1]s VALUES (50, 50, 'late')",
		"INSERT INTO %[1]s VALUES (50, 51, 'c'); DELETE FROM %[1]s WHERE id = 50; INSERT INTO %[1]s VALUES (50, 52, 'c'); DELETE FROM %[1]s WHERE id = 50", ""},
	{"unique_value_was_taken", "INSERT INTO %[1]s VALUES (50, 70, 'late')", "UPDATE %[1]s SET u = 70 WHERE id = 2; UPDATE %[1]s SET u = 71 WHERE id = 2", ""},
	{"unique_value_was_taken_and_deleted", "INSERT INTO %[1]s VALUES (50, 70, 'late')", "INSERT INTO %[1]s VALUES (60, 70, 'c'); DELETE FROM %[1]s WHERE id = 60", ""},
	{"key_was_taken", "INSERT INTO %[1]s VALUES (50, 70, 'late')", "UPDATE %[1]s SET id = 50 WHERE id = 2; UPDATE %[1]s SET id = 51 WHERE id = 50", ""},
}

func testRewriteDefeat(t *testing.T, c *pgtest.Cluster, table, rewrite string, d lateDefeat) {
	a, b, third := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	c.ExecAll(fmt.Sprintf(keyed, table))
	dropAfter(t, c, table)
	a.Exec(fmt.Sprintf("INSERT INTO %s SELECT i, i, 'old', i FROM generate_series(1, 9) i", table))
	c.RequireConverged()
	heal, healThird := cut(t, b, a), cut(t, third, a)
	in := func(sql string) string { return strings.ReplaceAll(sql, "%[1]s", table) }
	a.Exec(in(d.late))
	if d.newer != "" {
		for _, sql := range strings.Split(in(d.newer), "; ") {
			third.Exec(sql)
		}
		third.Exec(in("INSERT INTO %[1]s VALUES (200, 200, 'done')"))
		b.Wait(clustertest.ResumeLimit, in("SELECT count(*) FROM %[1]s WHERE id = 200"), "1")
	}
	if d.own == "" {
		b.Exec(strings.Split(rewrite, "; ")...)
	} else {
		transaction(b, table, d.own, rewrite)
	}
	heal()
	healThird()
	a.Exec(strings.Split(rewrite, "; ")...)
	third.Exec(strings.Split(rewrite, "; ")...)
	c.RequireConverged()
	b.Wait(clustertest.ResumeLimit, in("SELECT count(*) FROM %[1]s WHERE v = 'late'"), "0")
	requireForgotten(c)
}

// A deletion that came before its row is in the memory, under a value of the type
// that the key had.
func testRewriteRemembered(t *testing.T, c *pgtest.Cluster) {
	a, b, third := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	c.ExecAll("CREATE TABLE r (id int PRIMARY KEY, u int UNIQUE, v text)")
	dropAfter(t, c, "r")
	heal := cut(t, b, a)
	a.Exec("INSERT INTO r VALUES (1, 1, 'late'), (2, 70, 'late')")
	third.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM r", "2")
	third.Exec("DELETE FROM r WHERE id = 1", "UPDATE r SET u = 71 WHERE id = 2", "DELETE FROM r WHERE id = 2")
	b.Wait(clustertest.ResumeLimit, "SELECT string_agg(key_values::text, '') FROM bdr.remembered_version WHERE relation = 'r'::regclass AND index_name = ''", "{1}")
	third.Exec("INSERT INTO r VALUES (3, 3, 'done')")
	b.Wait(clustertest.ResumeLimit, "SELECT string_agg(id || v, ' ') FROM r", "3done")
	for _, n := range []*pgtest.Node{b, a, third} {
		n.Exec("ALTER TABLE r ALTER id TYPE text, ALTER u TYPE numeric", "ALTER TABLE r ALTER id TYPE varchar(20)")
	}
	heal()
	c.RequireConverged()
	b.Wait(clustertest.ResumeLimit, "SELECT string_agg(id || v, ' ') FROM r", "3done")
	requireForgotten(c)
}

// A prepared transaction has no commit time until it is committed, and dead rows
// may be older than a column of the key.
func testRewritePrepared(t *testing.T, c *pgtest.Cluster) {
	a, b, third := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	c.ExecAll("CREATE TABLE p (id int, v text, n int)")
	dropAfter(t, c, "p")
	a.Exec("INSERT INTO p SELECT i, 'old', i FROM generate_series(1, 9) i")
	c.RequireConverged()
	c.ExecAll("ALTER TABLE p ADD part int NOT NULL DEFAULT 7", "ALTER TABLE p ADD PRIMARY KEY (id, part)")
	heal, healThird := cut(t, b, a), cut(t, third, a)
	a.Exec("UPDATE p SET v = 'late' WHERE id <= 3")
	third.Exec("DELETE FROM p WHERE id = 1", "INSERT INTO p VALUES (10, 'done', 1)")
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM p WHERE id = 10", "1")
	user := b.Session()
	for _, sql := range []string{"BEGIN", "DELETE FROM p WHERE id = 2", "ALTER TABLE p ALTER n TYPE bigint", "PREPARE TRANSACTION 'p'", "COMMIT PREPARED 'p'"} {
		_, err := results(user, sql)
		b.Must(err)
	}
	heal()
	healThird()
	a.Exec("ALTER TABLE p ALTER n TYPE bigint")
	third.Exec("ALTER TABLE p ALTER n TYPE bigint")
	c.RequireConverged()
	b.Wait(clustertest.ResumeLimit, "SELECT string_agg(id::text, ' ' ORDER BY id) || ', late ' || string_agg(id::text, ' ') FILTER (WHERE v = 'late') FROM p", "3 4 5 6 7 8 9 10, late 3")
	requireForgotten(c)
}

// The server begins to read a large table where another scan is, but the rows of
// the old file and the new one must come in the same order.
func testRewriteSynchronized(t *testing.T, c *pgtest.Cluster) {
	b := c.Nodes[1]
	c.ExecAll("CREATE EXTENSION IF NOT EXISTS amcheck", "CREATE TABLE s (id int PRIMARY KEY, n int)")
	dropAfter(t, c, "s")
	for i := range 10 {
		b.Exec(fmt.Sprintf("INSERT INTO s SELECT %d * 10000 + i, i FROM generate_series(1, 10000) i", i))
	}
	const writers = "SELECT string_agg(xmin || ': ' || id / 10000 || ' ' || n, ', ' ORDER BY id) FROM s WHERE id % 1000 = 1"
	before := b.Value(writers)
	user := b.Session()
	for _, sql := range []string{"BEGIN", "DECLARE c CURSOR FOR SELECT * FROM s", "FETCH 50000 FROM c", "COMMIT"} {
		_, err := results(user, sql)
		b.Must(err)
	}
	if first := b.Value("SELECT id > 10000 FROM s LIMIT 1"); first != "t" {
		t.Fatal("scans are not synchronized")
	}
	b.Exec("ALTER TABLE s ALTER n TYPE bigint")
	if after := b.Value(writers); after != before {
		t.Errorf("rows have other writers: %.200s..., before %.200s...", after, before)
	}
	if b.Value("SHOW synchronize_seqscans") != "on" {
		t.Error("scans are not synchronized any more")
	}
	b.Must(b.Kill9())
	b.Must(b.Start())
	if after := b.Value(writers); after != before {
		t.Errorf("after a crash rows have other writers: %.200s..., before %.200s...", after, before)
	}
	if got := b.Value("SELECT count(*) FROM verify_heapam('s')"); got != "0" {
		t.Errorf("after a crash verify_heapam finds %s faults", got)
	}
}

// Rows keep transactions that are older than the rewrite, and VACUUM and the
// server's bookkeeping have to know.
func testRewriteHorizon(t *testing.T, c *pgtest.Cluster) {
	b := c.Nodes[1]
	c.ExecAll("CREATE EXTENSION IF NOT EXISTS amcheck", "CREATE TABLE h (id int PRIMARY KEY, n int)")
	dropAfter(t, c, "h")
	b.Exec("INSERT INTO h SELECT i, i FROM generate_series(1, 500) i", "VACUUM FREEZE h")
	for i := range 20 {
		b.Exec(fmt.Sprintf("UPDATE h SET n = n + 1 WHERE id = %d", i+1))
	}
	b.Exec("CREATE UNLOGGED TABLE before AS SELECT id, xmin AS writer FROM h", "ALTER TABLE h ALTER n TYPE bigint")
	for sql, want := range map[string]string{
		"SELECT count(*) FROM h JOIN before b USING (id) WHERE h.xmin = b.writer":                                           "500",
		"SELECT count(*) FROM h, pg_class c WHERE c.oid = 'h'::regclass AND age(h.xmin) > age(c.relfrozenxid) AND id <= 20": "0",
		"SELECT count(*) FROM verify_heapam('h')":                                                                           "0",
	} {
		if got := b.Value(sql); got != want {
			t.Errorf("%s: %s, expected %s", sql, got, want)
		}
	}
	b.Exec("VACUUM FREEZE h", "DROP TABLE before")
	if got := b.Value("SELECT count(*) FROM verify_heapam('h')"); got != "0" {
		t.Errorf("VACUUM FREEZE left %s faults", got)
	}
	c.Nodes[0].Exec("ALTER TABLE h ALTER n TYPE bigint")
	c.Nodes[2].Exec("ALTER TABLE h ALTER n TYPE bigint")
	c.RequireConverged()
}
