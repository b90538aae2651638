package join

import (
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
)

// identityCase is one way to say which row a change is about: tables on both
// nodes, rows from node1, changes by node2.
type identityCase struct {
	name    string
	tables  []string // on every node
	rows    []string // on node1
	changes []string // on node2, once the rows are there
	query   string   // of both nodes afterwards ...
	want    string   // ... which shows that the changes did what they say
}

// TestReplicaIdentity exists because a change names its row by values: whatever
// the table offers for that, every node must change the very row that was
// changed, or, where several rows are the same, as many of them.
func TestReplicaIdentity(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(map[string]string{"bdr.min_worker_backoff_delay": "100ms", "bdr.max_worker_backoff_delay": "1s", "bdr.default_replica_identity": "default"}))
	for _, group := range [][]identityCase{identityKinds, identityFull, identityKeyChanges} {
		for _, k := range group {
			if !t.Run(k.name, func(t *testing.T) { requireIdentity(t, c.For(t), k) }) {
				t.FailNow() // a stream that stopped fails all that follow
			}
		}
	}
	t.Run("no_identity_inserts_and_truncates", func(t *testing.T) { keylessInserts(t, c.For(t)) })
	t.Run("no_identity_refuses_changes", func(t *testing.T) { keylessRefuses(t, c.For(t)) })
	t.Run("no_identity_where_nothing_is_sent", func(t *testing.T) { keylessLocal(t, c.For(t)) })
	t.Run("full_leaves_newer_rows_alone", func(t *testing.T) { fullLeavesNewerRows(t, c.For(t)) })
	t.Run("collision_under_a_deferrable_key", func(t *testing.T) { deferrableCollision(t, c.For(t)) })
}

func requireIdentity(t *testing.T, c *pgtest.Cluster, k identityCase) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll(k.tables...)
	a.Exec(k.rows...)
	c.RequireConverged()
	b.Exec(k.changes...)
	c.RequireConverged()
	for _, n := range c.Nodes {
		if got := n.Value(k.query); got != k.want {
			t.Errorf("%s: %s gives %q, expected %q", n.Name, k.query, got, k.want)
		}
		if lost := n.Value("SELECT count(*) FROM bdr.conflict_history WHERE conflict_type <> 'update_origin_change'"); lost != "0" {
			t.Errorf("%s took ordinary changes for conflicts: %v", n.Name,
				n.Rows("SELECT conflict_type, conflict_rule, relname, remote_tuple FROM bdr.conflict_history"))
		}
	}
}

// identityKinds are the kinds of replica identity that name one row.
var identityKinds = []identityCase{
	{"default_is_the_primary_key",
		[]string{"CREATE TABLE k_default (a int, b text, c numeric, PRIMARY KEY (b, a))"},
		[]string{"INSERT INTO k_default SELECT g % 7, 'b' || g, g FROM generate_series(1, 50) g"},
		[]string{"UPDATE k_default SET c = -c WHERE a = 3", "DELETE FROM k_default WHERE a = 4", "UPDATE k_default SET a = 100 WHERE a = 5"},
		"SELECT count(*) || ' ' || count(*) FILTER (WHERE c < 0) || ' ' || count(*) FILTER (WHERE a = 100) FROM k_default", "43 7 7"},
	{"using_index",
		[]string{"CREATE TABLE k_index (id int PRIMARY KEY, a int NOT NULL, b text NOT NULL, c text)",
			"CREATE UNIQUE INDEX k_index_key ON k_index (b, a)", "ALTER TABLE k_index REPLICA IDENTITY USING INDEX k_index_key"},
		[]string{"INSERT INTO k_index SELECT g, g, 'b' || g, 'c' FROM generate_series(1, 20) g"},
		[]string{"UPDATE k_index SET id = id + 100 WHERE a <= 5", "UPDATE k_index SET b = 'moved', c = NULL WHERE a = 6",
			"DELETE FROM k_index WHERE a > 15"},
		"SELECT count(*) || ' ' || sum(id) || ' ' || count(*) FILTER (WHERE b = 'moved') FROM k_index", "15 620 1"},
	{"numeric_key_with_another_scale",
		[]string{"CREATE TABLE k_scale (n numeric PRIMARY KEY, v int)"},
		[]string{"INSERT INTO k_scale VALUES (1.0, 1), (2.00, 2), ('NaN', 3)"},
		[]string{"UPDATE k_scale SET n = 1.000", "UPDATE k_scale SET n = 1.00, v = 9 WHERE v = 1", "UPDATE k_scale SET v = 8 WHERE n = 'NaN'"}[1:],
		"SELECT string_agg(n || '=' || v, ' ' ORDER BY v) FROM k_scale", "2.00=2 NaN=8 1.00=9"},
	{"case_insensitive_key",
		[]string{"CREATE COLLATION IF NOT EXISTS ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
			"CREATE TABLE k_ci (name text COLLATE ci PRIMARY KEY, v int)"},
		[]string{"INSERT INTO k_ci VALUES ('Anna', 1), ('Bob', 2)"},
		[]string{"UPDATE k_ci SET name = 'ANNA'", "UPDATE k_ci SET v = 7 WHERE name = 'bob'", "UPDATE k_ci SET name = 'ANNA' WHERE name = 'anna'"}[1:],
		"SELECT string_agg(name || v, ' ' ORDER BY v) FROM k_ci", "ANNA1 Bob7"},
	{"key_with_a_generated_column",
		[]string{"CREATE TABLE k_gen (a int, g text GENERATED ALWAYS AS ('g' || a % 10) STORED, v int, b int, PRIMARY KEY (g, b))"},
		[]string{"INSERT INTO k_gen (a, b, v) SELECT g, g / 10, 0 FROM generate_series(1, 30) g"},
		[]string{"UPDATE k_gen SET v = 1 WHERE a = 23", "DELETE FROM k_gen WHERE a IN (5, 15)", "UPDATE k_gen SET a = 99, b = 50 WHERE a = 24"},
		"SELECT count(*) || ' ' || string_agg(a || g, ' ' ORDER BY a) FILTER (WHERE v = 1 OR a > 30) || ' ' || count(*) FILTER (WHERE a = 4) FROM k_gen",
		"28 23g3 99g9 1"},
	{"large_key",
		[]string{"CREATE TABLE k_large (k text PRIMARY KEY, v int)"},
		[]string{"INSERT INTO k_large SELECT repeat(chr(64 + g), 100000), 0 FROM generate_series(1, 5) g"},
		[]string{"UPDATE k_large SET v = 1 WHERE k LIKE 'A%'", "UPDATE k_large SET k = k || 'tail' WHERE k LIKE 'B%'", "DELETE FROM k_large WHERE k LIKE 'C%'"},
		"SELECT string_agg(left(k, 1) || length(k) || ' ' || v, ', ' ORDER BY k) FROM k_large", "A100000 1, B100004 0, D100000 0, E100000 0"},
}

// identityFull are tables whose rows are found by all of their columns, or by
// an index that happens to be there.
var identityFull = []identityCase{
	{"full_duplicates",
		[]string{"CREATE TABLE f_dup (a int, b text)", "ALTER TABLE f_dup REPLICA IDENTITY FULL"},
		[]string{"INSERT INTO f_dup SELECT g % 3, 'same' FROM generate_series(1, 30) g"},
		[]string{"DELETE FROM f_dup WHERE ctid IN (SELECT ctid FROM f_dup WHERE a = 0 LIMIT 4)",
			"UPDATE f_dup SET b = 'other' WHERE ctid IN (SELECT ctid FROM f_dup WHERE a = 1 LIMIT 3)", "UPDATE f_dup SET a = a + 1"},
		"SELECT string_agg(a || b || n, ' ' ORDER BY a, b) FROM (SELECT a, b, count(*) n FROM f_dup GROUP BY 1, 2) x", "1same6 2other3 2same7 3same10"},
	{"full_nulls",
		[]string{"CREATE TABLE f_null (a int, b text, c date)", "ALTER TABLE f_null REPLICA IDENTITY FULL"},
		[]string{"INSERT INTO f_null VALUES (NULL, NULL, NULL), (NULL, NULL, NULL), (1, NULL, NULL), (NULL, '', NULL), (NULL, NULL, '2026-01-01')"},
		[]string{"DELETE FROM f_null WHERE ctid = (SELECT min(ctid) FROM f_null WHERE a IS NULL AND b IS NULL AND c IS NULL)",
			"UPDATE f_null SET c = '2026-02-02' WHERE b = ''", "UPDATE f_null SET a = NULL, b = 'was 1' WHERE a = 1"},
		"SELECT string_agg(coalesce(a::text, '-') || coalesce(b, '-') || coalesce(c::text, '-'), ' ' ORDER BY b, c) FROM f_null",
		"-2026-02-02 -was 1- --2026-01-01 ---"},
	{"full_nullable_unique_index",
		[]string{"CREATE TABLE f_uniq (a int, b int, v text)", "CREATE UNIQUE INDEX ON f_uniq (a, b)", "ALTER TABLE f_uniq REPLICA IDENTITY FULL"},
		[]string{"INSERT INTO f_uniq VALUES (1, 1, 'x'), (1, NULL, 'x'), (1, NULL, 'y'), (NULL, NULL, 'x'), (NULL, NULL, 'x'), (2, NULL, 'z')"},
		[]string{"UPDATE f_uniq SET v = 'changed' WHERE a = 1 AND v = 'y'", "DELETE FROM f_uniq WHERE ctid = (SELECT min(ctid) FROM f_uniq WHERE a IS NULL)",
			"UPDATE f_uniq SET a = NULL WHERE a = 1 AND b = 1", "UPDATE f_uniq SET b = 5 WHERE a = 2"},
		"SELECT string_agg(concat_ws('/', coalesce(a, -1), coalesce(b, -1), v), ' ' ORDER BY a, b, v) FROM f_uniq",
		"1/-1/changed 1/-1/x 2/5/z -1/1/x -1/-1/x"},
	{"full_nulls_not_distinct",
		[]string{"CREATE TABLE f_nnd (a int, v text, UNIQUE NULLS NOT DISTINCT (a))", "ALTER TABLE f_nnd REPLICA IDENTITY FULL"},
		[]string{"INSERT INTO f_nnd VALUES (NULL, 'null'), (1, 'one')"},
		[]string{"UPDATE f_nnd SET v = 'changed' WHERE a IS NULL", "UPDATE f_nnd SET a = 2 WHERE a = 1"},
		"SELECT string_agg(coalesce(a, -1) || v, ' ' ORDER BY a) FROM f_nnd", "2one -1changed"},
	{"full_toasted",
		[]string{"CREATE TABLE f_toast (id int, a text, b text)", "ALTER TABLE f_toast ALTER a SET STORAGE EXTERNAL, REPLICA IDENTITY FULL"},
		[]string{"INSERT INTO f_toast SELECT g % 2, repeat(md5((g % 2)::text), 500), repeat('b', 20000) FROM generate_series(1, 6) g"},
		[]string{"UPDATE f_toast SET id = 7 WHERE ctid = (SELECT max(ctid) FROM f_toast WHERE id = 1)",
			"DELETE FROM f_toast WHERE ctid = (SELECT max(ctid) FROM f_toast WHERE id = 0)", "UPDATE f_toast SET a = a || 'x' WHERE id = 0"},
		"SELECT string_agg(id || ' ' || length(a) || ' ' || length(b), ', ' ORDER BY id, 1) FROM (SELECT * FROM f_toast ORDER BY id) x",
		"0 16001 20000, 0 16001 20000, 1 16000 20000, 1 16000 20000, 7 16000 20000"},
	{"full_equal_numbers",
		[]string{"CREATE TABLE f_num (n numeric, f float8, r float4)", "ALTER TABLE f_num REPLICA IDENTITY FULL"},
		[]string{"INSERT INTO f_num VALUES (1.0, '0', '0'), (1.00, '0', '0'), (1, '0', '0'), (1, '-0', '0'), (1, '0', '-0'), (1, 'NaN', '-0')"},
		[]string{"UPDATE f_num SET r = 5 WHERE n::text = '1.00'", "DELETE FROM f_num WHERE n::text = '1' AND f::text = '-0'",
			"UPDATE f_num SET n = 2.0 WHERE r::text = '-0' AND f = 0"},
		"SELECT string_agg(concat_ws('/', n, f, r), ' ' ORDER BY n::text, f, r) FROM f_num", "1/0/0 1/NaN/-0 1.0/0/0 1.00/0/5 2.0/0/-0"},
	{"full_equal_texts",
		[]string{"CREATE COLLATION IF NOT EXISTS ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
			"CREATE TABLE f_ci (name text COLLATE ci, v int)", "ALTER TABLE f_ci REPLICA IDENTITY FULL"},
		[]string{"INSERT INTO f_ci VALUES ('anna', 1), ('Anna', 1), ('ANNA', 1), ('aNNa', 1)"},
		[]string{`UPDATE f_ci SET v = 2 WHERE name COLLATE "C" = 'ANNA'`, `DELETE FROM f_ci WHERE name COLLATE "C" = 'Anna'`,
			`UPDATE f_ci SET name = 'bob' WHERE name COLLATE "C" = 'aNNa'`},
		`SELECT string_agg(name || v, ' ' ORDER BY name COLLATE "C") FROM f_ci`, "ANNA2 anna1 bob1"},
	{"full_json",
		[]string{"CREATE TABLE f_json (j jsonb, t json, x xml, p point)", "ALTER TABLE f_json REPLICA IDENTITY FULL"},
		[]string{`INSERT INTO f_json VALUES ('{"a": 1.0}', '{"a":1}', '<a/>', '(1,2)'), ('{"a": 1.00}', '{"a":1}', '<a/>', '(1,2)'),
			('{"a": 1.00}', '{"a": 1}', '<a></a>', '(1,2)'), ('{"a": 1}', NULL, NULL, NULL)`},
		[]string{`UPDATE f_json SET p = '(9,9)' WHERE j::text = '{"a": 1.00}' AND t::text = '{"a":1}'`, `DELETE FROM f_json WHERE t::text = '{"a": 1}'`,
			`UPDATE f_json SET j = '{"b": 1}' WHERE j::text = '{"a": 1}'`},
		"SELECT string_agg(concat_ws(' ', j, t, x, p), ', ' ORDER BY j, p::text) FROM f_json",
		`{"a": 1.0} {"a":1} <a/> (1,2), {"a": 1.00} {"a":1} <a/> (9,9), {"b": 1}`},
	{"full_without_columns",
		[]string{"CREATE TABLE f_none ()", "ALTER TABLE f_none REPLICA IDENTITY FULL"},
		[]string{"INSERT INTO f_none DEFAULT VALUES", "INSERT INTO f_none DEFAULT VALUES", "INSERT INTO f_none DEFAULT VALUES"},
		[]string{"DELETE FROM f_none WHERE ctid = (SELECT min(ctid) FROM f_none)"},
		"SELECT count(*) FROM f_none", "2"},
}

// identityKeyChanges are changes of keys: what matters is the way from one state
// to the next, not only the ends.
var identityKeyChanges = []identityCase{
	{"shift_of_a_whole_table",
		[]string{"CREATE TABLE s_up (id int PRIMARY KEY, v int)", "CREATE TABLE s_down (id int PRIMARY KEY, v int)"},
		[]string{"INSERT INTO s_up SELECT g, g FROM generate_series(3000, 1, -1) g", "INSERT INTO s_down SELECT g, g FROM generate_series(1, 3000) g"},
		[]string{"UPDATE s_up SET id = id + 1", "UPDATE s_down SET id = id - 1"},
		"SELECT (SELECT count(*) FROM s_up WHERE id = v + 1) || ' ' || (SELECT count(*) FROM s_down WHERE id = v - 1)", "3000 3000"},
	{"shift_under_a_deferrable_key",
		[]string{"CREATE TABLE s_defer (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v int)", "ALTER TABLE s_defer REPLICA IDENTITY FULL",
			"CREATE TABLE s_immed (id int UNIQUE DEFERRABLE INITIALLY IMMEDIATE, v int)", "ALTER TABLE s_immed REPLICA IDENTITY FULL"},
		[]string{"INSERT INTO s_defer SELECT g, g FROM generate_series(1, 300) g", "INSERT INTO s_immed SELECT g, g FROM generate_series(1, 300) g"},
		[]string{"UPDATE s_defer SET id = id + 1", "UPDATE s_immed SET id = id + 1"},
		"SELECT (SELECT count(*) FROM s_defer WHERE id = v + 1) || ' ' || (SELECT count(*) FROM s_immed WHERE id = v + 1)", "300 300"},
	{"swap_under_a_deferrable_key",
		[]string{"CREATE TABLE w_defer (id int UNIQUE DEFERRABLE INITIALLY DEFERRED, k int PRIMARY KEY)",
			"CREATE TABLE w_immed (id int UNIQUE DEFERRABLE INITIALLY IMMEDIATE, k int PRIMARY KEY)"},
		[]string{"INSERT INTO w_defer VALUES (1, 1), (2, 2), (3, 3)", "INSERT INTO w_immed VALUES (1, 1), (2, 2), (3, 3)"},
		[]string{"UPDATE w_immed SET id = CASE id WHEN 1 THEN 2 WHEN 2 THEN 1 ELSE 3 END",
			"BEGIN; UPDATE w_defer SET id = 2 WHERE k = 1; INSERT INTO w_defer VALUES (3, 4); UPDATE w_defer SET id = 1 WHERE k = 2; DELETE FROM w_defer WHERE k = 3; COMMIT"},
		"SELECT (SELECT string_agg(k || '>' || id, ' ' ORDER BY k) FROM w_defer) || ', ' || (SELECT string_agg(k || '>' || id, ' ' ORDER BY k) FROM w_immed)",
		"1>2 2>1 4>3, 1>2 2>1 3>3"},
	{"one_transaction_reuses_keys",
		[]string{"CREATE TABLE r_keys (id int PRIMARY KEY, v text)"},
		[]string{"INSERT INTO r_keys SELECT g, 'old' FROM generate_series(1, 5) g"},
		[]string{"BEGIN; UPDATE r_keys SET id = 10 WHERE id = 1; UPDATE r_keys SET id = 1 WHERE id = 2; INSERT INTO r_keys VALUES (2, 'new'); COMMIT",
			"BEGIN; DELETE FROM r_keys WHERE id = 3; INSERT INTO r_keys VALUES (3, 'again'); DELETE FROM r_keys WHERE id = 3; INSERT INTO r_keys VALUES (3, 'and again'); COMMIT",
			"DO $$ BEGIN FOR i IN 1..200 LOOP UPDATE r_keys SET v = 'round ' || i WHERE id = 4; END LOOP; END $$",
			"BEGIN; INSERT INTO r_keys VALUES (6, 'short'); UPDATE r_keys SET id = 7 WHERE id = 6; DELETE FROM r_keys WHERE id = 7; COMMIT"},
		"SELECT string_agg(id || v, ' ' ORDER BY id) FROM r_keys", "1old 2new 3and again 4round 200 5old 10old"},
	{"exclusion_moves",
		[]string{"CREATE TABLE x_move (id int PRIMARY KEY, r int4range, EXCLUDE USING gist (r WITH &&) DEFERRABLE INITIALLY DEFERRED)"},
		[]string{"INSERT INTO x_move SELECT g, int4range(g * 10, g * 10 + 10) FROM generate_series(1, 20) g"},
		[]string{"UPDATE x_move SET r = int4range(lower(r) + 5, upper(r) + 5)"},
		"SELECT count(*) FROM x_move WHERE lower(r) = id * 10 + 5", "20"},
}

// keylessTables have nothing to find a row by.
var keylessTables = []string{
	"CREATE TABLE kl_plain (a int, b text)",
	"CREATE TABLE kl_nothing (a int PRIMARY KEY, b text)", "ALTER TABLE kl_nothing REPLICA IDENTITY NOTHING",
	"CREATE TABLE kl_unique (a int UNIQUE, b text)",
	"CREATE TABLE kl_part (a int, b text, UNIQUE (a)) PARTITION BY RANGE (a)",
	"CREATE TABLE kl_part_1 PARTITION OF kl_part FOR VALUES FROM (0) TO (100)",
	"CREATE TABLE kl_part_2 PARTITION OF kl_part FOR VALUES FROM (100) TO (200)",
	"ALTER TABLE kl_part_2 REPLICA IDENTITY FULL",
	"CREATE TABLE kl_parent (a int PRIMARY KEY)",
	"CREATE TABLE kl_child (a int REFERENCES kl_parent ON DELETE CASCADE)",
	"CREATE VIEW kl_view AS SELECT a, b FROM kl_plain",
}

func keylessInserts(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll(keylessTables...)
	for _, n := range c.Nodes {
		n.Exec("INSERT INTO kl_plain VALUES (1, 'same'), (2, '"+n.Name+"')", "INSERT INTO kl_unique VALUES (1, 'x') ON CONFLICT DO NOTHING")
		c.RequireConverged()
	}
	c.Nodes[0].Exec("INSERT INTO kl_nothing VALUES (1, 'x')", "INSERT INTO kl_part VALUES (1, 'x'), (101, 'x')",
		"INSERT INTO kl_parent VALUES (1)", "INSERT INTO kl_child VALUES (1)")
	c.RequireConverged()
	c.Nodes[1].Exec("TRUNCATE kl_unique", "INSERT INTO kl_unique VALUES (1, 'after')")
	c.RequireConverged()
	if got := c.Nodes[0].Value("SELECT (SELECT count(*) FROM kl_plain) || ' ' || (SELECT string_agg(b, ' ') FROM kl_unique)"); got != "4 after" {
		t.Errorf("rows of tables without identity: %s", got)
	}
}

// Every way to change a row of such a table is refused, and leaves nothing
// behind; whatever does not change one is not in the way.
func keylessRefuses(t *testing.T, c *pgtest.Cluster) {
	n := c.Nodes[0]
	for _, sql := range []string{
		"UPDATE kl_plain SET b = 'y'",
		"UPDATE kl_plain SET b = 'y' WHERE false",
		"DELETE FROM kl_plain",
		"UPDATE kl_nothing SET b = 'y'",
		"DELETE FROM kl_nothing",
		"WITH x AS (DELETE FROM kl_plain RETURNING a) SELECT count(*) FROM x",
		"WITH x AS (UPDATE kl_plain SET a = 1 RETURNING a) INSERT INTO kl_unique SELECT a + 100, '' FROM x",
		"INSERT INTO kl_unique VALUES (1, 'y') ON CONFLICT (a) DO UPDATE SET b = 'y'",
		"MERGE INTO kl_plain USING (VALUES (1)) s (a) ON kl_plain.a = s.a WHEN MATCHED THEN DELETE",
		"MERGE INTO kl_plain USING (VALUES (1)) s (a) ON kl_plain.a = s.a WHEN NOT MATCHED THEN INSERT VALUES (5, '') WHEN MATCHED THEN UPDATE SET b = 'y'",
		"UPDATE kl_part SET b = 'y' WHERE a = 1",
		"UPDATE kl_part SET a = 150 WHERE a = 1",
		"INSERT INTO kl_part VALUES (1, 'y') ON CONFLICT (a) DO UPDATE SET b = 'y'",
		"DELETE FROM kl_parent",
		"UPDATE kl_view SET b = 'y'",
		"DO $$ BEGIN UPDATE kl_plain SET b = 'y'; END $$",
		"SET session_replication_role = replica; UPDATE kl_plain SET b = 'y'",
		"PREPARE p AS UPDATE kl_plain SET b = 'y'; EXECUTE p",
		"EXPLAIN (ANALYZE) DELETE FROM kl_plain",
	} {
		requireKeylessRefusal(t, n, "RESET ALL; DEALLOCATE ALL; "+sql)
	}
	n.Exec("RESET ALL; DEALLOCATE ALL; SET session_replication_role = origin",
		"EXPLAIN DELETE FROM kl_plain",
		"SELECT * FROM kl_plain FOR UPDATE",
		"MERGE INTO kl_plain USING (VALUES (77)) s (a) ON kl_plain.a = s.a WHEN NOT MATCHED THEN INSERT VALUES (s.a, 'merged')",
		"UPDATE kl_part SET b = 'full' WHERE a = 101",
		"INSERT INTO kl_part VALUES (101, 'y') ON CONFLICT (a) DO UPDATE SET b = 'on conflict'",
		"ALTER TABLE kl_plain REPLICA IDENTITY FULL")
	c.Nodes[1].Exec("ALTER TABLE kl_plain REPLICA IDENTITY FULL", "UPDATE kl_plain SET b = 'now it can' WHERE a = 1")
	c.RequireConverged()
	const summary = "SELECT (SELECT count(*) FROM kl_plain WHERE b = 'now it can') || ' ' || (SELECT string_agg(b, ' ' ORDER BY a) FROM kl_part) || ' ' || (SELECT count(*) FROM kl_child)"
	if got := n.Value(summary); got != "2 x on conflict 1" {
		t.Errorf("after the refusals: %s", got)
	}
}

func requireKeylessRefusal(t *testing.T, n *pgtest.Node, sql string) {
	t.Helper()
	e := pgtest.PgError(n.Try(sql))
	switch {
	case e == nil:
		t.Errorf("not refused: %s", sql)
	case e.Code != "55000" || !strings.Contains(e.Message, "because it does not have a replica identity") || !strings.Contains(e.Hint, "REPLICA IDENTITY"):
		t.Errorf("refused in another way: %s\n%s", sql, pgtest.Explain(e))
	}
}

// Where nothing is sent nothing is lost: temporary and unlogged tables, our own
// tables, other databases of the same server, and a session that keeps its
// changes back.
func keylessLocal(t *testing.T, c *pgtest.Cluster) {
	n := c.Nodes[0]
	n.Exec("CREATE TEMP TABLE kl_temp AS SELECT 1 a; UPDATE kl_temp SET a = 2; DELETE FROM kl_temp",
		"CREATE UNLOGGED TABLE kl_unlogged (a int)", "INSERT INTO kl_unlogged VALUES (1)", "UPDATE kl_unlogged SET a = 2", "DROP TABLE kl_unlogged",
		"CREATE MATERIALIZED VIEW kl_matview AS SELECT 1 AS a", "CREATE UNIQUE INDEX ON kl_matview (a)",
		"REFRESH MATERIALIZED VIEW CONCURRENTLY kl_matview", "DROP MATERIALIZED VIEW kl_matview",
		"DELETE FROM bdr.conflict_history")
	for _, sql := range []string{"CREATE TABLE plain (a int)", "INSERT INTO plain VALUES (1)", "UPDATE plain SET a = 2", "DELETE FROM plain"} {
		if _, err := n.Run("postgres", sql); err != nil {
			t.Errorf("a database that is not a node: %s: %v", sql, err)
		}
	}
	c.RequireConverged()
}

// A row that a node wrote after a change was made elsewhere is not the row that
// the change is about, even if it looks the same.
func fullLeavesNewerRows(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE f_newer (v text)", "ALTER TABLE f_newer REPLICA IDENTITY FULL")
	a.Exec("INSERT INTO f_newer VALUES ('first')")
	b.Exec("INSERT INTO f_newer VALUES ('x')")
	c.RequireConverged()
	c.ExecAll("SELECT bdr.alter_subscription_disable(immediate := true)")
	a.Exec("UPDATE f_newer SET v = 'changed' WHERE v = 'first'", "UPDATE f_newer SET v = 'y' WHERE v = 'x'")
	// on b the first row of the table is now a later one that looks like the old one
	b.Exec("DELETE FROM f_newer WHERE v = 'first'", "VACUUM f_newer", "INSERT INTO f_newer VALUES ('x')")
	c.ExecAll("SELECT bdr.alter_subscription_enable(immediate := true)")
	c.RequireConverged()
	if got := a.Value("SELECT string_agg(v, ' ' ORDER BY v) FROM f_newer"); !strings.Contains(got, "x y") {
		t.Errorf("rows in the end: %s", got)
	}
}

// Two nodes that give one deferrable key to two rows must not both end with two
// rows of that key, nor stop: the newer one stays.
func deferrableCollision(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE d_key (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text)", "ALTER TABLE d_key REPLICA IDENTITY FULL",
		"SELECT bdr.alter_subscription_disable(immediate := true)")
	for _, n := range c.Nodes {
		n.Exec("INSERT INTO d_key VALUES (1, '" + n.Name + "')")
	}
	c.ExecAll("SELECT bdr.alter_subscription_enable(immediate := true)")
	c.RequireConverged()
	if got := c.Nodes[0].Value("SELECT string_agg(v, ' ') FROM d_key"); got != c.Nodes[1].Name {
		t.Errorf("the rows are %s", got)
	}
}
