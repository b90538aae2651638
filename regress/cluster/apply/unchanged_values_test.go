package apply

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestUnchangedValues exists because a large value that an update leaves alone
// is not in the update. Who applies it must have it from the row that was
// updated, and from no other: a wrong one looks like any value.
func TestUnchangedValues(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithProxies(), pgtest.WithSettings(map[string]string{"bdr.min_worker_backoff_delay": "200ms", "bdr.max_worker_backoff_delay": "500ms"}))
	// large is n characters that no method makes shorter by much
	c.ExecAll(`CREATE FUNCTION large(n int, seed int) RETURNS text LANGUAGE sql AS
		$$ SELECT left(string_agg(md5(g::text || seed), ''), n) FROM generate_series(1, n / 32 + 1) g $$`,
		"CREATE TABLE t (id int PRIMARY KEY, n int, v text)", "ALTER TABLE t ALTER v SET STORAGE EXTERNAL")
	for _, part := range []struct {
		name string
		run  func(*testing.T, *pgtest.Cluster)
	}{
		{"sent_by_who_updates_a_row_of_a_peer", unchangedSentAnew},
		{"every_way_to_update", unchangedWays},
		{"every_kind_of_value", unchangedKinds},
		{"fetched_for_a_row_that_is_missing", unchangedFetched},
		{"fetched_into_other_tables", unchangedElsewhere},
		{"gone_at_the_origin", unchangedGone},
		{"sent_before_it_is_shown", unchangedInvisible},
		{"the_origin_cannot_be_asked", unchangedUnreachable},
		{"the_origin_is_locked", unchangedLocked},
		{"of_50_MB", unchangedHuge},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, c.For(t)) })
	}
}

// resume undoes pause and waits until all are equal.
func resume(c *pgtest.Cluster) {
	c.ExecAll("SELECT bdr.alter_subscription_enable(immediate := true)")
	c.RequireConverged()
}

// requireAll wants the same value of a query on every node.
func requireAll(t *testing.T, c *pgtest.Cluster, query, want string) {
	t.Helper()
	for _, n := range c.Nodes {
		if got := n.Value(query); got != want {
			t.Errorf("%s: %s is %s, want %s", n.Name, query, got, want)
		}
	}
}

// sentOf runs statements and returns what of them goes to peers.
func sentOf(n *pgtest.Node, statements ...string) []string {
	watch := watchSent(n)
	defer watch.end()
	n.Exec(statements...)
	return watch.lines()
}

// The first update of a node sends what came from another one, and only that.
func unchangedSentAnew(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("INSERT INTO t SELECT g, 0, repeat('a', 100000) FROM generate_series(1, 3) g", "INSERT INTO t VALUES (4, 0, NULL), (5, 0, 'short')")
	c.RequireConverged()
	clustertest.RequireLines(t, sentOf(b, "UPDATE t SET n = 1 WHERE id IN (1, 4, 5)"), `
UPDATE public.t n (id=1 n=1 v=100000 bytes of "a")
UPDATE public.t n (id=4 n=1 v=null)
UPDATE public.t n (id=5 n=1 v="short")`)
	c.RequireConverged()
	clustertest.RequireLines(t, sentOf(b, "UPDATE t SET n = 2 WHERE id = 1"), `UPDATE public.t n (id=1 n=2 v=unchanged)`)
	clustertest.RequireLines(t, sentOf(b, "BEGIN; UPDATE t SET n = 1 WHERE id = 2; SAVEPOINT s; UPDATE t SET n = 2 WHERE id = 2; COMMIT"), `
UPDATE public.t n (id=2 n=1 v=100000 bytes of "a")
UPDATE public.t n (id=2 n=2 v=unchanged)`)
	clustertest.RequireLines(t, sentOf(b, "SET session_replication_role = replica; UPDATE t SET n = 3 WHERE id = 3; RESET session_replication_role"),
		`UPDATE public.t n (id=3 n=3 v=100000 bytes of "a")`)
	c.RequireConverged()
	a.Exec("UPDATE t SET n = 4 WHERE id = 1") // of b
	c.RequireConverged()
	clustertest.RequireLines(t, sentOf(b, "UPDATE t SET v = 'new' WHERE id = 1", "UPDATE t SET id = 7 WHERE id = 2"), `
UPDATE public.t n (id=1 n=4 v="new")
UPDATE public.t k (id=2 n=null v=null) (id=7 n=2 v=unchanged)`)
	c.RequireConverged()
}

// Whatever statement updates a row, what it leaves alone is sent, and the
// statement works as it does without bdr.
func unchangedWays(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE ways (id int PRIMARY KEY, n int, v text, g int GENERATED ALWAYS AS (n + 1) STORED)", "ALTER TABLE ways ALTER v SET STORAGE EXTERNAL",
		"CREATE VIEW ways_view AS SELECT id, n, v FROM ways",
		"CREATE TABLE parent (id int PRIMARY KEY)", "CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent ON UPDATE CASCADE, v text)", "ALTER TABLE child ALTER v SET STORAGE EXTERNAL",
		"CREATE TABLE parts (id int, n int, v text, PRIMARY KEY (id, n)) PARTITION BY LIST (n)", "CREATE TABLE parts_0 PARTITION OF parts FOR VALUES IN (0)",
		"CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1)", "ALTER TABLE parts_0 ALTER v SET STORAGE EXTERNAL")
	b.Exec("CREATE TABLE local_log (line text)", "ALTER TABLE local_log SET UNLOGGED",
		`CREATE FUNCTION log_ways() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		 INSERT INTO local_log SELECT 'after ' || o.n || ' ' || w.n || ' ' || length(w.v) FROM olds o JOIN news w USING (id); RETURN NULL; END $$`,
		"CREATE TRIGGER after_statement AFTER UPDATE ON ways REFERENCING OLD TABLE AS olds NEW TABLE AS news FOR EACH STATEMENT EXECUTE FUNCTION log_ways()",
		`CREATE FUNCTION touch_ways() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n := NEW.n + 100; RETURN NEW; END $$`,
		"CREATE TRIGGER zz_before BEFORE UPDATE ON ways FOR EACH ROW WHEN (NEW.id = 9) EXECUTE FUNCTION touch_ways()",
		"CREATE FUNCTION fire_replica_log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO local_log VALUES ('row ' || NEW.id || ' ' || length(NEW.v)); RETURN NULL; END $$",
		"CREATE CONSTRAINT TRIGGER deferred AFTER UPDATE ON ways DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.id = 8) EXECUTE FUNCTION fire_replica_log()")
	a.Exec("INSERT INTO ways SELECT g, 0, repeat('v', 9000) FROM generate_series(1, 12) g", "INSERT INTO parent VALUES (1)", "INSERT INTO child VALUES (1, 1, repeat('c', 9000))",
		"INSERT INTO parts SELECT g, 0, repeat('p', 9000) FROM generate_series(1, 3) g")
	c.RequireConverged()
	for _, way := range []struct{ statement, sent string }{
		{"WITH u AS (UPDATE ways SET n = 1 WHERE id = 1 RETURNING v) SELECT length(v) FROM u", "(id=1 n=1 v=9000 bytes"},
		{"INSERT INTO ways VALUES (2, 5, 'x') ON CONFLICT (id) DO UPDATE SET n = excluded.n", "(id=2 n=5 v=9000 bytes"},
		{"MERGE INTO ways w USING (VALUES (3, 1), (13, 1)) s(id, n) ON w.id = s.id WHEN MATCHED AND s.id = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET n = s.n WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.n, 'i')", "(id=3 n=1 v=9000 bytes"},
		{"UPDATE ways_view SET n = 1 WHERE id = 4", "(id=4 n=1 v=9000 bytes"},
		{"BEGIN; DECLARE cur CURSOR FOR SELECT * FROM ways WHERE id = 5 FOR UPDATE; FETCH cur; UPDATE ways SET n = 1 WHERE CURRENT OF cur; COMMIT", "(id=5 n=1 v=9000 bytes"},
		{"PREPARE p(int) AS UPDATE ways SET n = 1 WHERE id = $1; EXECUTE p(6); EXECUTE p(7); DEALLOCATE p", "(id=7 n=1 v=9000 bytes"},
		{"UPDATE ways SET n = 1 WHERE id = 8", "(id=8 n=1 v=9000 bytes"},
		{"UPDATE ways SET n = 1 WHERE id = 9", "(id=9 n=101 v=9000 bytes"},
		{"EXPLAIN (ANALYZE) UPDATE ways SET n = 1 WHERE id = 10", "(id=10 n=1 v=9000 bytes"},
		{"UPDATE ways w SET n = x.n FROM (VALUES (11, 1), (11, 1)) x(id, n) WHERE w.id = x.id", "(id=11 n=1 v=9000 bytes"},
		{"UPDATE parent SET id = 2", `(id=1 p=2 v=9000 bytes`},
		{"UPDATE parts SET id = 11 WHERE id = 1", "(id=11 n=0 v=9000 bytes"},
		{"UPDATE parts SET n = 1 WHERE id = 2", "INSERT public.parts_1 (id=2 n=1 v=9000 bytes"},
	} {
		clustertest.RequireContains(t, strings.Join(sentOf(b, way.statement), "\n"), way.sent)
	}
	if got := b.Value("SELECT count(*) || ' ' || count(*) FILTER (WHERE line LIKE '% 9000') FROM local_log"); got != "12 12" {
		t.Errorf("triggers saw %s", got)
	}
	c.RequireConverged()
	unchangedConcurrently(t, c)
}

// An update that waited for another one works on what that one left.
func unchangedConcurrently(t *testing.T, c *pgtest.Cluster) {
	b := c.Nodes[1]
	first := b.Session()
	_, err := pgtest.RunOn(first, "BEGIN; UPDATE ways SET v = repeat('w', 8000) WHERE id = 12", time.Minute)
	b.Must(err)
	second := make(chan error)
	conn := b.Session()
	go func() {
		_, err := pgtest.RunOn(conn, "UPDATE ways SET n = n + 1 WHERE id = 12", time.Minute)
		second <- err
	}()
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE ways%'", "1")
	_, err = pgtest.RunOn(first, "COMMIT", time.Minute)
	b.Must(err)
	b.Must(<-second)
	c.RequireConverged()
	requireAll(t, c, "SELECT n || ' ' || length(v) FROM ways WHERE id = 12", "1 8000")
}

// manyKinds has a column for each form in which a large value is stored or
// travels.
const manyKinds = `CREATE TYPE pair AS (a int, b text); CREATE TYPE colour AS ENUM ('red', 'blue'); CREATE DOMAIN words AS text CHECK (VALUE <> 'never');
CREATE TABLE kinds (id int PRIMARY KEY, n int, pglz text COMPRESSION pglz, lz4 text COMPRESSION lz4, plain text, bin bytea, num numeric, doc jsonb, raw json,
 x xml, list text[], numbers numeric[], pairs pair[], colours colour[], bits varbit, ts tsvector, poly polygon, ranges int4multirange, dom words, nothing text);
ALTER TABLE kinds ALTER plain SET STORAGE EXTERNAL, ALTER bin SET STORAGE EXTERNAL, ALTER raw SET STORAGE EXTERNAL`

const insertKinds = `INSERT INTO kinds SELECT g, 0, large(20000, g) || repeat('x', 20000), large(20000, g) || repeat('y', 20000), repeat('z', 9000),
 decode(repeat('00ff5c27', 5000), 'hex'), ('1' || repeat('2345', 10000) || '.50')::numeric, jsonb_build_object('k', large(9000, g), 'f', 1.50),
 to_json(large(9000, g)), xmlparse(document '<?xml version="1.0"?><a>' || large(9000, g) || '</a>'), ARRAY[large(9000, g), NULL, '', 'a"\,b'],
 (SELECT array_agg(i * 1.10) FROM generate_series(1, 3000) i), (SELECT array_agg(ROW(i, 'p' || md5(i::text))::pair) FROM generate_series(1, 300) i),
 (SELECT array_agg(CASE WHEN mod(i, 7) < 3 THEN 'red' ELSE 'blue' END::colour) FROM generate_series(1, 90000) i), (SELECT string_agg(CASE WHEN i * mod(i, 7) < 3 THEN '1' ELSE '0' END, '') FROM generate_series(1, 200001) i)::varbit,
 to_tsvector('simple', (SELECT string_agg(md5(i::text), ' ') FROM generate_series(1, 500) i)), (SELECT polygon(path '((0,0))' ) WHERE false),
 (SELECT range_agg(int4range(i * 10, i * 10 + 3)) FROM generate_series(1, 3000) i), large(9000, g) FROM generate_series(%d, %d) g`

// Values go out of the store and back, here by storing them anew and there by
// fetching them, and are the same.
func unchangedKinds(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll(manyKinds)
	a.Exec(fmt.Sprintf(insertKinds, 1, 2))
	c.RequireConverged()
	b.Exec("UPDATE kinds SET n = 1 WHERE id = 1", "UPDATE kinds SET n = 2 WHERE id = 1")
	c.RequireConverged()
	clustertest.Pause(t, c)
	b.Exec("DELETE FROM kinds WHERE id = 2")
	a.Exec("UPDATE kinds SET n = 1, nothing = 'x' WHERE id = 2", "UPDATE kinds SET nothing = NULL WHERE id = 2")
	resume(c)
	requireAll(t, c, "SELECT count(*) || ' ' || count(lz4) || ' ' || max(length(bin)) || ' ' || max(array_length(pairs, 1)) FROM kinds", "2 2 20000 300")
	requireAll(t, c, "SELECT count(*) FROM kinds WHERE x::text LIKE '<?xml%'", "2") // what xmlsend leaves out
}

// A row that a concurrent, older deletion took away comes back whole, and what
// other nodes have is what the origin has.
func unchangedFetched(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("TRUNCATE bdr.conflict_history")
	a.Exec("TRUNCATE t", "INSERT INTO t SELECT g, 0, repeat('a', 100000) FROM generate_series(1, 6) g")
	clustertest.Pause(t, c)
	b.Exec("DELETE FROM t WHERE id < 6")
	a.Exec("UPDATE t SET n = 1 WHERE id = 1",
		"UPDATE t SET id = 12 WHERE id = 2",
		"UPDATE t SET n = 1 WHERE id = 3", "UPDATE t SET n = 2 WHERE id = 3",
		"BEGIN; UPDATE t SET n = 1 WHERE id = 4; UPDATE t SET v = repeat('b', 90000) WHERE id = 4; UPDATE t SET n = 2 WHERE id = 4; COMMIT",
		"BEGIN; UPDATE t SET n = 1 WHERE id = 5; UPDATE t SET v = NULL WHERE id = 5; UPDATE t SET n = 2 WHERE id = 5; COMMIT")
	resume(c)
	requireAll(t, c, "SELECT string_agg(id || ' ' || n || ' ' || coalesce(length(v), 0), ', ' ORDER BY id) FROM t", "1 1 100000, 3 2 100000, 4 2 90000, 5 2 0, 6 0 100000, 12 0 100000")
	if got := b.Value("SELECT count(*) FROM bdr.conflict_history WHERE conflict_type = 'update_recently_deleted' AND conflict_resolution = 'apply_remote'"); got == "0" {
		t.Errorf("no row was inserted: %v", b.Rows("SELECT conflict_type, conflict_resolution, count(*) FROM bdr.conflict_history GROUP BY 1, 2"))
	}
}

// The table is cut up in another way here, and its columns, key and names are
// hard ones.
func unchangedElsewhere(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll(`CREATE SCHEMA "Odd "".Schema"`, "CREATE TYPE key_pair AS (a int, b text)", "CREATE TYPE key_enum AS ENUM ('it''s', 'b')", "CREATE DOMAIN key_domain AS text COLLATE \"C\"", "CREATE EXTENSION citext")
	const odd = `"Odd "".Schema"."Table ""'\%"`
	const key = `k1 key_pair, k2 key_enum, k3 key_domain, k4 citext, k5 timestamptz, k6 float8, k7 bytea, k8 int[], "k ""9" bpchar(5)`
	const pkey = `PRIMARY KEY (k1, k2, k3, k4, k5, k6, k7, k8, "k ""9")`
	c.ExecAll("CREATE TABLE " + odd + " (" + key + `, n int, "V ""'v" text, w text, ` + pkey + ")")
	c.ExecAll("ALTER TABLE " + odd + ` ALTER "V ""'v" SET STORAGE EXTERNAL, ALTER w SET STORAGE EXTERNAL`)
	const whole, cut = "CREATE TABLE %s (id int PRIMARY KEY, n int, v %s)", "CREATE TABLE %s (id int PRIMARY KEY, n int, v %s) PARTITION BY RANGE (id)"
	a.Exec(fmt.Sprintf(whole, "cut", "text"), "ALTER TABLE cut ALTER v SET STORAGE EXTERNAL")
	b.Exec(fmt.Sprintf(cut, "cut", "varchar(9000)"), "CREATE TABLE cut_1 PARTITION OF cut FOR VALUES FROM (0) TO (5)", "CREATE TABLE cut_2 PARTITION OF cut FOR VALUES FROM (5) TO (100)")
	c.Nodes[2].Exec(fmt.Sprintf(whole, "cut", "text"))
	a.Exec(fmt.Sprintf(cut, "tuc", "text"), "CREATE TABLE tuc_1 PARTITION OF tuc FOR VALUES FROM (0) TO (100)", "ALTER TABLE tuc_1 ALTER v SET STORAGE EXTERNAL")
	for _, n := range c.Nodes[1:] {
		n.Exec(fmt.Sprintf(whole, "tuc", "text"))
	}
	a.Exec("INSERT INTO cut SELECT g, 0, repeat('a', 9000) FROM generate_series(1, 9) g", "INSERT INTO tuc SELECT g, 0, repeat('a', 9000) FROM generate_series(1, 9) g",
		"INSERT INTO "+odd+` VALUES ('(1,"x""y\\ ")', 'it''s', 'do\main', 'CiText', '0045-02-28 12:00:00.123456 BC', 0.1::float8 + 0.2, '\x00ff5c', '{1,NULL,-3}', 'b', 0, repeat('v', 9000), NULL)`,
		"INSERT INTO "+odd+` VALUES ('(,)', 'b', '', '', 'infinity', 'NaN', '', '{}', '', 0, repeat('v', 9000), repeat('w', 9000))`)
	clustertest.Pause(t, c)
	b.Exec("DELETE FROM cut", "DELETE FROM tuc", "DELETE FROM "+odd)
	a.Exec("UPDATE cut SET n = 1", "UPDATE cut SET id = id + 50 WHERE id = 2", "UPDATE tuc SET n = 1 WHERE id < 8", "UPDATE "+odd+" SET n = 1")
	resume(c)
	requireAll(t, c, "SELECT count(*) || ' ' || sum(length(v)) FROM cut", "9 81000")
	requireAll(t, c, "SELECT count(*) || ' ' || sum(length(v)) FROM tuc", "7 63000")
	requireAll(t, c, `SELECT count(*) || ' ' || sum(length("V ""'v")) || ' ' || sum(length(w)) FROM `+odd, "2 18000 9000")
}

// onlyHere runs a statement that no other node gets.
func onlyHere(n *pgtest.Node, name, statement string) {
	origin := n.Value("SELECT 'bdr_' || oid || '_" + name + "' FROM pg_database WHERE datname = current_database()")
	n.Exec("SELECT pg_replication_origin_create('" + origin + "')")
	clustertest.InOrigin(n, origin, "0/1", statement)
}

// Where the row is gone, or has a newer version, that is on its way; a table
// that is gone keeps nobody waiting.
func unchangedGone(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE dropped (id int PRIMARY KEY, n int, v text)", "ALTER TABLE dropped ALTER v SET STORAGE EXTERNAL")
	a.Exec("TRUNCATE t", "INSERT INTO t SELECT g, 0, repeat('a', 9000) FROM generate_series(1, 4) g", "INSERT INTO dropped VALUES (1, 0, repeat('a', 9000))")
	clustertest.Pause(t, c)
	b.Exec("DELETE FROM t")
	onlyHere(b, "gone", "DELETE FROM dropped")
	a.Exec("UPDATE t SET n = 1", "DELETE FROM t WHERE id = 1", "UPDATE t SET id = 12, n = 2 WHERE id = 2", "UPDATE t SET v = 'b' WHERE id = 3",
		"BEGIN; UPDATE t SET n = 2 WHERE id = 4; DELETE FROM t WHERE id = 4; COMMIT", "UPDATE dropped SET n = 1", "DROP TABLE dropped")
	c.ExecAll("SELECT bdr.alter_subscription_enable(immediate := true)")
	c.WaitDrained(c.Nodes...)
	if got := b.Value("SELECT count(*) FROM dropped"); got != "0" {
		t.Errorf("%s rows of a table that is gone", got)
	}
	for _, n := range c.Nodes[1:] {
		n.Exec("DROP TABLE dropped")
	}
	c.RequireConverged()
	requireAll(t, c, "SELECT string_agg(id || ' ' || n || ' ' || length(v), ', ' ORDER BY id) FROM t", "3 1 1, 12 2 9000")
}

// A commit that waits for a standby has been sent to peers, and nobody sees it
// at its origin yet.
func unchangedInvisible(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("TRUNCATE t", "INSERT INTO t VALUES (1, 0, repeat('a', 9000))")
	clustertest.Pause(t, c)
	b.Exec("DELETE FROM t")
	a.Exec("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
	a.Wait(clustertest.ResumeLimit, "SHOW synchronous_standby_names", "nobody")
	committed := make(chan error)
	conn := a.Session()
	go func() {
		_, err := pgtest.RunOn(conn, "SET synchronous_commit = on; UPDATE t SET n = 1", time.Minute)
		committed <- err
	}()
	a.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'", "1")
	if got := a.Value("SELECT n FROM t"); got != "0" {
		t.Fatalf("n = %s is shown", got)
	}
	before := a.Value("SELECT clock_timestamp()")
	b.Exec("SELECT bdr.alter_subscription_enable(immediate := true)")
	a.Wait(clustertest.ResumeLimit, "SELECT count(*)"+fetchers+" AND query = 'COMMIT' AND query_start > '"+before+"'", "1") // asked, and had no answer
	if got := b.Value("SELECT count(*) FROM t"); got != "0" {
		t.Errorf("%s rows before the commit is shown", got)
	}
	a.Exec("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
	a.Must(<-committed)
	resume(c)
	requireAll(t, c, "SELECT n || ' ' || length(v) FROM t", "1 9000")
}

// Nothing is decided without the origin, and nothing lost.
func unchangedUnreachable(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("TRUNCATE t", "INSERT INTO t VALUES (1, 0, repeat('a', 9000))")
	c.RequireConverged()
	onlyHere(b, "unreachable", "DELETE FROM t")
	awaitNoFetcher(c, a)
	c.Link(b, a).RefuseNew()
	defer c.Link(b, a).Heal()
	a.Exec("UPDATE t SET n = 1", "UPDATE t SET n = 2", "INSERT INTO t VALUES (2, 0, 'behind')")
	b.Wait(clustertest.ResumeLimit, `SELECT count(*) > 0 FROM bdr.event_summary WHERE event_text LIKE 'could not fetch unchanged values of table "public.t" from node "node1"%'`, "t")
	if got := b.Value("SELECT count(*) FROM t"); got != "0" {
		t.Errorf("%s rows", got)
	}
	c.Link(b, a).Heal()
	c.RequireConverged()
	requireAll(t, c, "SELECT string_agg(id || ' ' || n || ' ' || length(v), ', ' ORDER BY id) FROM t", "1 2 9000, 2 0 6")
}

// fetchers are the connections of peers that fetch from a node.
const fetchers = " FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name LIKE 'bdr\\_app%'"

// awaitNoFetcher returns when the connections that fetched from n are gone.
func awaitNoFetcher(c *pgtest.Cluster, n *pgtest.Node) {
	n.Exec("SELECT pg_terminate_backend(pid)" + fetchers)
	n.Wait(clustertest.ResumeLimit, "SELECT count(*)"+fetchers, "0")
}

// A fetch waits for a lock at the origin, and the change with it. The
// connection that was kept has been ended meanwhile.
func unchangedLocked(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	for round := range 2 {
		a.Exec("TRUNCATE t", "INSERT INTO t VALUES (1, 0, repeat('a', 9000))")
		clustertest.Pause(t, c)
		b.Exec("DELETE FROM t")
		a.Exec("UPDATE t SET n = 1")
		holder := a.Session()
		_, err := pgtest.RunOn(holder, "BEGIN; LOCK TABLE t", time.Minute)
		a.Must(err)
		b.Exec("SELECT bdr.alter_subscription_enable(immediate := true)")
		a.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM pg_stat_activity WHERE query ~ 'bdr.internal_fetch' AND wait_event_type = 'Lock'", "1")
		if round == 1 {
			awaitNoFetcher(c, a)
		}
		_, err = pgtest.RunOn(holder, "COMMIT", time.Minute)
		a.Must(err)
		resume(c)
		requireAll(t, c, "SELECT n || ' ' || length(v) FROM t", "1 9000")
	}
}

// What is large is large on its way too, and nothing of it stays in a writer.
func unchangedHuge(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("TRUNCATE t", "INSERT INTO t VALUES (1, 0, repeat('0123456789', 5 * 1000 * 1000))")
	c.WaitDrained(a)
	began := time.Now()
	b.Exec("UPDATE t SET n = 1")
	t.Logf("stored anew in %s", time.Since(began))
	c.WaitDrained(b)
	onlyHere(c.Nodes[2], "huge", "DELETE FROM t")
	began = time.Now()
	b.Exec("UPDATE t SET n = 2")
	c.WaitDrained(b)
	t.Logf("fetched in %s", time.Since(began))
	requireAll(t, c, "SELECT n || ' ' || length(v) || ' ' || md5(v) FROM t", a.Value("SELECT '2 50000000 ' || md5(repeat('0123456789', 5 * 1000 * 1000))"))
	for _, p := range c.Nodes[2].ProcessesTitled(clustertest.WriterTitle) {
		if p.AnonymousKilobytes() > 30*1024 {
			t.Errorf("a writer keeps %d kB", p.AnonymousKilobytes())
		}
	}
	a.Exec("TRUNCATE t")
	c.RequireConverged()
}
