package apply

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestTransactionShapes exists because a transaction can be put together in
// many ways, and its rows must arrive whole, in order and once in all of them;
// one that has nothing for others must not hold the stream up.
func TestTransactionShapes(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(clustertest.Impatient))
	for _, part := range []struct {
		name string
		run  func(*testing.T, *pgtest.Cluster)
	}{
		{"copy_text_binary_freeze", copyInto},
		{"create_table_as", createTableAs},
		{"on_conflict", onConflict},
		{"speculation_that_fails", failedSpeculation},
		{"merge", mergeInto},
		{"writes_in_common_table_expressions", cteWrites},
		{"savepoints_nested_100_deep", nestedSavepoints},
		{"subtransactions_70000", manySubtransactions},
		{"rolled_back_subtransactions_with_toast", rolledBackToast},
		{"nothing_to_send", nothingToSend},
		{"prepared", preparedTransactions},
		{"ddl_in_the_middle", ddlInTheMiddle},
		{"same_transaction_table", sameTransactionTable},
		{"cancelled_statement", cancelledStatement},
		{"five_hundred_tables", manyTables},
		{"long_and_short_interleaved", interleaved},
		{"concurrent_updates_of_one_row", concurrentUpdates},
		{"serializable_and_repeatable_read", isolationLevels},
		{"messages_of_users", userMessages},
		{"deferred_swap", deferredSwap},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, c.For(t)) })
	}
}

// atOnce runs statements in one transaction.
func atOnce(n *pgtest.Node, statements ...string) {
	n.Exec("BEGIN;\n" + strings.Join(statements, ";\n") + ";\nCOMMIT")
}

// concurrently has each of some sessions run what sql makes of the session's and
// the turn's number, turn after turn.
func concurrently(n *pgtest.Node, sessions, turns int, sql func(session, turn int) string) {
	var wait sync.WaitGroup
	errs := make(chan error, sessions)
	for s := range sessions {
		conn := n.Session()
		wait.Go(func() {
			for i := range turns {
				if _, err := pgtest.RunOn(conn, sql(s, i), clustertest.ResumeLimit); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wait.Wait()
	close(errs)
	for err := range errs {
		n.Must(err)
	}
}

func copyInto(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE cp (id int PRIMARY KEY, v text, f float8)", "CREATE TABLE cp_freeze (id int PRIMARY KEY, v text)", "CREATE TABLE cp_binary (id int PRIMARY KEY, v text, f float8)")
	a := c.Nodes[0]
	conn := a.Session()
	load := func(sql, data string) {
		t.Helper()
		if _, err := conn.CopyFrom(t.Context(), strings.NewReader(data), sql); err != nil {
			t.Fatal(err)
		}
	}
	var rows strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&rows, "%d\tvalue \\t %d\t%d.5\n", i, i, i)
	}
	load("COPY cp FROM STDIN", rows.String()+"9999\t\\N\tNaN\n")
	load("COPY cp (id, v) FROM STDIN WITH (FORMAT csv)", "10000,\"a,\"\"b\"\"\nline\"\n")
	var binary strings.Builder
	if _, err := conn.CopyTo(t.Context(), &binary, "COPY cp TO STDOUT (FORMAT binary)"); err != nil {
		t.Fatal(err)
	}
	load("COPY cp_binary FROM STDIN (FORMAT binary)", binary.String())
	for _, sql := range []string{"BEGIN", "TRUNCATE cp_freeze"} {
		_, err := pgtest.RunOn(conn, sql, clustertest.ResumeLimit)
		a.Must(err)
	}
	load("COPY cp_freeze FROM STDIN (FREEZE)", "1\tone\n2\ttwo\n")
	_, err := pgtest.RunOn(conn, "COMMIT", clustertest.ResumeLimit)
	a.Must(err)
	a.Exec("UPDATE cp_freeze SET v = v || '!' WHERE id = 2", "UPDATE cp_binary SET v = 'changed' WHERE id % 1000 = 0")
	c.RequireConverged()
	if got := c.Nodes[1].Value("SELECT concat_ws(' ', (SELECT count(*) FROM cp), (SELECT count(*) FROM cp_binary), (SELECT string_agg(v, ' ' ORDER BY id) FROM cp_freeze))"); got != "5002 5002 one two!" {
		t.Errorf("rows: %s", got)
	}
}

func createTableAs(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	b.Exec("CREATE TABLE cta (id int, v text)", "CREATE TABLE sel (id int, v text)")
	a.Exec("CREATE TABLE cta AS SELECT g AS id, 'v' || g AS v FROM generate_series(1, 100) g", "SELECT id, v INTO sel FROM cta WHERE id > 50")
	c.WaitDrained(a)
	c.RequireConverged()
	if got := b.Value("SELECT (SELECT count(*) FROM cta) || ' ' || (SELECT count(*) FROM sel)"); got != "100 50" {
		t.Errorf("rows: %s", got)
	}
}

func onConflict(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE oc (id int PRIMARY KEY, u int UNIQUE, n int DEFAULT 0, big text)")
	c.Nodes[0].Exec("INSERT INTO oc (id, u) SELECT g, g FROM generate_series(1, 50) g")
	c.RequireConverged()
	c.Nodes[1].Exec("INSERT INTO oc (id, u) SELECT g, g FROM generate_series(40, 60) g ON CONFLICT DO NOTHING",
		"INSERT INTO oc (id, u, big) SELECT g, g, repeat('x', 9000) FROM generate_series(55, 65) g ON CONFLICT (id) DO UPDATE SET n = oc.n + 1, big = EXCLUDED.big",
		"INSERT INTO oc (id, u) SELECT 1000 + g, g FROM generate_series(1, 5) g ON CONFLICT (u) DO UPDATE SET n = 7, id = EXCLUDED.id",
		"INSERT INTO oc (id, u) VALUES (6, 6) ON CONFLICT (id) DO UPDATE SET n = 1 WHERE oc.n > 100")
	c.RequireConverged()
	if got := c.Nodes[0].Value("SELECT concat_ws(' ', count(*), sum(n), count(big), max(id)) FROM oc"); got != "65 41 11 1005" {
		t.Errorf("rows: %s", got)
	}
}

// Two sessions insert one key at a time: the loser takes its speculative row
// back, which stands in the WAL.
func failedSpeculation(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE sp (id int PRIMARY KEY, n int, big text)")
	a := c.Nodes[0]
	concurrently(a, 4, 150, func(_, i int) string {
		return fmt.Sprintf("INSERT INTO sp VALUES (%d, 1, repeat('x', 5000)) ON CONFLICT (id) DO UPDATE SET n = sp.n + 1", i)
	})
	c.RequireConverged()
	if got := c.Nodes[1].Value("SELECT count(*) || ' ' || sum(n) FROM sp"); got != "150 600" {
		t.Errorf("rows and their sum: %s", got)
	}
}

func mergeInto(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE mg (id int PRIMARY KEY, n int)")
	c.Nodes[0].Exec("INSERT INTO mg SELECT g, g FROM generate_series(1, 30) g")
	c.RequireConverged()
	c.Nodes[1].Exec(`MERGE INTO mg USING generate_series(1, 45) AS s(id) ON mg.id = s.id
		WHEN MATCHED AND s.id <= 10 THEN DELETE WHEN MATCHED AND s.id <= 20 THEN UPDATE SET n = -mg.n
		WHEN MATCHED THEN DO NOTHING WHEN NOT MATCHED AND s.id > 40 THEN INSERT VALUES (s.id, 0)`)
	c.RequireConverged()
	if got := c.Nodes[0].Value("SELECT count(*) || ' ' || sum(n) FROM mg"); got != "25 100" {
		t.Errorf("rows and sum: %s", got)
	}
}

func cteWrites(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE ct_a (id int PRIMARY KEY, v text)", "CREATE TABLE ct_b (id int PRIMARY KEY, v text)")
	c.Nodes[0].Exec("INSERT INTO ct_a SELECT g, 'v' || g FROM generate_series(1, 20) g")
	c.RequireConverged()
	c.Nodes[1].Exec(`WITH moved AS (DELETE FROM ct_a WHERE id <= 10 RETURNING *), changed AS (UPDATE ct_a SET v = 'w' WHERE id > 15 RETURNING id),
		more AS (INSERT INTO ct_a SELECT 100 + id, 'new' FROM generate_series(1, 5) id RETURNING id)
		INSERT INTO ct_b SELECT id, v FROM moved UNION ALL SELECT id, 'changed' FROM changed UNION ALL SELECT id, 'more' FROM more`)
	c.RequireConverged()
	if got := c.Nodes[0].Value("SELECT (SELECT count(*) FROM ct_a) || ' ' || (SELECT count(*) FROM ct_b)"); got != "15 20" {
		t.Errorf("rows: %s", got)
	}
}

func nestedSavepoints(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE sv (id int PRIMARY KEY, v text)")
	var statements []string
	for i := 1; i <= 100; i++ {
		statements = append(statements, fmt.Sprintf("SAVEPOINT s%d", i), fmt.Sprintf("INSERT INTO sv VALUES (%d, 'deep')", i))
	}
	statements = append(statements, "ROLLBACK TO s91", "INSERT INTO sv VALUES (91, 'again')", "RELEASE s80", "UPDATE sv SET v = 'kept' WHERE id <= 10",
		"ROLLBACK TO s60", "INSERT INTO sv VALUES (60, 'after')", "RELEASE s1", "UPDATE sv SET v = v || '!' WHERE id = 60")
	atOnce(c.Nodes[0], statements...)
	c.RequireConverged()
	if got := c.Nodes[1].Value("SELECT count(*) || ' ' || max(id) || ' ' || (SELECT v FROM sv WHERE id = 60) FROM sv"); got != "60 60 after!" {
		t.Errorf("rows: %s", got)
	}
}

func manySubtransactions(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE ms (id int PRIMARY KEY, v text)")
	c.Nodes[0].Exec(`DO $$ BEGIN FOR i IN 1..70000 LOOP
		BEGIN INSERT INTO ms VALUES (i, 'x'); IF i % 10 = 0 THEN RAISE EXCEPTION 'no'; END IF; EXCEPTION WHEN raise_exception THEN NULL; END;
		END LOOP; END $$`)
	c.RequireConverged()
	if got := c.Nodes[1].Value("SELECT count(*) FROM ms"); got != "63000" {
		t.Errorf("%s rows", got)
	}
}

func rolledBackToast(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE rt (id int PRIMARY KEY, n int, big text)", "ALTER TABLE rt ALTER big SET STORAGE EXTERNAL")
	const large = "repeat(md5('%s'), 2000)"
	value := func(s string) string { return fmt.Sprintf(large, s) }
	atOnce(c.Nodes[0], "INSERT INTO rt VALUES (1, 0, "+value("a")+")",
		"SAVEPOINT s", "UPDATE rt SET big = "+value("b"), "INSERT INTO rt VALUES (2, 0, "+value("c")+")", "ROLLBACK TO s",
		"UPDATE rt SET n = 1", "SAVEPOINT s2", "INSERT INTO rt VALUES (3, 0, "+value("d")+")", "RELEASE s2",
		"SAVEPOINT s3", "DELETE FROM rt WHERE id = 3", "ROLLBACK TO s3", "UPDATE rt SET big = big || 'tail' WHERE id = 3")
	c.RequireConverged()
	c.Nodes[1].Exec(`DO $$ BEGIN FOR i IN 10..40 LOOP
		BEGIN INSERT INTO rt VALUES (i, 0, repeat(md5(i::text), 500)); UPDATE rt SET n = n + 1 WHERE id = i;
		IF i % 2 = 0 THEN PERFORM 1 / 0; END IF; EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$`)
	c.RequireConverged()
	if got := c.Nodes[0].Value("SELECT count(*) || ' ' || sum(n) || ' ' || sum(length(big)) FROM rt"); got != "17 16 368004" {
		t.Errorf("rows, sum, lengths: %s", got)
	}
}

// A transaction without anything for others moves the slot all the same, or
// WAL would be kept for ever.
func nothingToSend(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE ns (id int PRIMARY KEY)", "CREATE UNLOGGED TABLE ns_unlogged (id int)", "CREATE SEQUENCE ns_seq", "CREATE MATERIALIZED VIEW ns_mv AS SELECT * FROM ns")
	a.Exec("INSERT INTO ns VALUES (1)")
	c.RequireConverged()
	const applied = "SELECT ncommit FROM bdr.stat_subscription JOIN bdr.subscription_summary USING (sub_name) WHERE origin_name = 'node1'"
	commits := b.Value(applied)
	for _, sql := range []string{"BEGIN; SELECT * FROM ns FOR UPDATE; COMMIT", "BEGIN; LOCK TABLE ns; SELECT pg_advisory_xact_lock(1); COMMIT", "INSERT INTO ns_unlogged SELECT generate_series(1, 1000)",
		"BEGIN; CREATE TEMP TABLE ns_temp (id int) ON COMMIT DROP; INSERT INTO ns_temp SELECT generate_series(1, 1000); COMMIT", "SELECT nextval('ns_seq')", "SELECT setval('ns_seq', 1000)",
		"BEGIN; SELECT pg_current_xact_id(); COMMIT", "BEGIN; COMMIT", "BEGIN; INSERT INTO ns VALUES (2); ROLLBACK", "BEGIN; SAVEPOINT s; INSERT INTO ns VALUES (3); ROLLBACK TO s; COMMIT",
		"UPDATE bdr.node SET node_name = node_name", "REFRESH MATERIALIZED VIEW ns_mv", "VACUUM ns", "ANALYZE ns", "CHECKPOINT", "UPDATE ns SET id = 1 WHERE false", "NOTIFY ns"} {
		a.Exec(sql)
		position := a.Value("SELECT pg_current_wal_insert_lsn()")
		a.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT count(*) FROM pg_replication_slots WHERE plugin = 'bdr_output' AND confirmed_flush_lsn < '%s'", position), "0")
	}
	if got := b.Value(applied); got != commits {
		t.Errorf("%s transactions were applied instead of %s", got, commits)
	}
	c.RequireConverged()
}

func preparedTransactions(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE pp (id int PRIMARY KEY, v text)")
	a.Exec("BEGIN; INSERT INTO pp VALUES (1, 'kept'); SAVEPOINT s; INSERT INTO pp VALUES (2, 'kept'); PREPARE TRANSACTION 'one'",
		"BEGIN; INSERT INTO pp VALUES (3, 'never'); PREPARE TRANSACTION 'two'", "BEGIN; INSERT INTO pp SELECT g, 'after' FROM generate_series(10, 20) g; PREPARE TRANSACTION 'three'",
		"INSERT INTO pp VALUES (4, 'between')")
	b.Wait(clustertest.ResumeLimit, "SELECT string_agg(id::text, ' ') FROM pp", "4")
	a.Exec("ROLLBACK PREPARED 'two'", "COMMIT PREPARED 'one'")
	c.RequireConverged()
	a.Must(a.Kill9())
	a.Must(a.Start())
	a.Exec("INSERT INTO pp VALUES (5, 'after the crash')")
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM pp", "4")
	a.Exec("COMMIT PREPARED 'three'")
	c.RequireConverged()
	if got := b.Value("SELECT count(*) || ' ' || count(*) FILTER (WHERE v = 'after') FROM pp"); got != "15 11" {
		t.Errorf("rows: %s", got)
	}
}

func ddlInTheMiddle(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE dm (id int PRIMARY KEY, v int, gone text)", "CREATE TABLE dm_other (id int PRIMARY KEY)")
	a.Exec("INSERT INTO dm SELECT g, g, 'x' FROM generate_series(1, 20) g")
	c.RequireConverged()
	// the other side has the columns of both times
	b.Exec("ALTER TABLE dm ADD more text DEFAULT 'there'", "ALTER TABLE dm ALTER v TYPE numeric", "ALTER TABLE dm ALTER gone DROP NOT NULL")
	atOnce(a, "INSERT INTO dm VALUES (30, 30, 'x')", "UPDATE dm SET v = v + 1 WHERE id <= 3", "ALTER TABLE dm ALTER v TYPE numeric USING v + 0.5",
		"UPDATE dm SET v = v + 1 WHERE id = 4", "ALTER TABLE dm ADD more text DEFAULT md5(random()::text)", "INSERT INTO dm VALUES (31, 31, 'x', 'new')",
		"CLUSTER dm USING dm_pkey", "UPDATE dm SET more = 'set' WHERE id = 5", "INSERT INTO dm_other VALUES (1)", "DELETE FROM dm WHERE id = 6")
	c.WaitDrained(a)
	if got := b.Value("SELECT string_agg(concat_ws('/', id, v, more), ' ' ORDER BY id) FROM dm WHERE id IN (1, 4, 5, 6, 30, 31)"); got != "1/2/there 4/5.5/there 5/5.5/set 30/30/there 31/31/new" {
		t.Errorf("rows: %s", got)
	}
	// rows that a rewrite changed are not sent; writing them anew is
	a.Exec("UPDATE dm SET v = v, more = more", "VACUUM FULL dm", "UPDATE dm SET v = -v WHERE id = 31")
	c.RequireConverged()
	atOnce(a, "INSERT INTO dm VALUES (40, 1, NULL, 'lost')", "TRUNCATE dm", "INSERT INTO dm VALUES (41, 1, NULL, 'kept')", "SAVEPOINT s", "TRUNCATE dm", "ROLLBACK TO s",
		"ALTER TABLE dm DROP gone", "UPDATE dm SET v = 2")
	c.WaitDrained(a)
	b.Exec("ALTER TABLE dm DROP gone")
	c.RequireConverged()
	if got := b.Value("SELECT string_agg(id || more || v, ' ') FROM dm"); got != "41kept2" {
		t.Errorf("rows after TRUNCATE: %s", got)
	}
}

func sameTransactionTable(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE old_name (id int PRIMARY KEY)")
	b.Exec("CREATE TABLE st_new (id int PRIMARY KEY, v text)", "CREATE TABLE st_final (id int PRIMARY KEY, v text)")
	atOnce(a, "CREATE TABLE st_new (id int PRIMARY KEY, v text)", "INSERT INTO st_new SELECT g, 'v' FROM generate_series(1, 100) g", "UPDATE st_new SET v = 'w' WHERE id = 1",
		"CREATE INDEX ON st_new (v)", "DELETE FROM st_new WHERE id = 2", "TRUNCATE st_new", "INSERT INTO st_new VALUES (3, repeat('long', 5000))",
		"CREATE TABLE st_swap (id int PRIMARY KEY, v text)", "ALTER TABLE st_swap RENAME TO st_final", "INSERT INTO st_final VALUES (1, 'x')", "DROP TABLE old_name")
	b.Exec("DROP TABLE old_name")
	c.RequireConverged()
	if got := b.Value("SELECT (SELECT count(*) FROM st_new) || ' ' || (SELECT count(*) FROM st_final)"); got != "1 1" {
		t.Errorf("rows: %s", got)
	}
}

func cancelledStatement(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE cs (id int PRIMARY KEY)")
	a := c.Nodes[0]
	conn := a.Session()
	_, err := pgtest.RunOn(conn, "SET statement_timeout = 300", clustertest.ResumeLimit)
	a.Must(err)
	if _, err := pgtest.RunOn(conn, "INSERT INTO cs SELECT g FROM generate_series(1, 100000000) g", clustertest.ResumeLimit); pgtest.PgError(err) == nil || pgtest.PgError(err).Code != "57014" {
		t.Fatalf("the statement was not cancelled: %v", err)
	}
	atOnce(a, "INSERT INTO cs VALUES (1)", "SAVEPOINT s", "SET LOCAL statement_timeout = 0", "INSERT INTO cs VALUES (2)", "ROLLBACK TO s")
	c.RequireConverged()
	if got := c.Nodes[1].Value("SELECT string_agg(id::text, ' ') FROM cs"); got != "1" {
		t.Errorf("rows: %s", got)
	}
}

func manyTables(t *testing.T, c *pgtest.Cluster) {
	const each = "DO $$ BEGIN FOR i IN 1..500 LOOP EXECUTE format('%s', i); END LOOP; END $$"
	run := func(n *pgtest.Node, sql string) { n.Exec(fmt.Sprintf(each, sql)) }
	for _, n := range c.Nodes {
		run(n, "CREATE TABLE many_%1$s (id int PRIMARY KEY, v int)")
	}
	run(c.Nodes[0], "INSERT INTO many_%1$s SELECT g, 0 FROM generate_series(1, 3) g")
	run(c.Nodes[0], "UPDATE many_%1$s SET v = %1$s WHERE id = 2; DELETE FROM many_%1$s WHERE id = 1")
	c.WaitDrained(c.Nodes...)
	const sum = `SELECT sum((xpath('/row/n/text()', query_to_xml(format('SELECT count(*) * 1000 + sum(CASE WHEN id = 2 THEN v ELSE 0 END) AS n FROM %I', relname), false, true, '')))[1]::text::bigint)
		FROM pg_class WHERE relname LIKE 'many\_%' AND relkind = 'r'`
	want := c.Nodes[0].Value(sum)
	if want != "1125250" {
		t.Errorf("sum over all tables: %s", want)
	}
	if got := c.Nodes[1].Value(sum); got != want {
		t.Errorf("sum over all tables on the other node: %s, expected %s", got, want)
	}
	for _, n := range c.Nodes {
		for from := 1; from <= 500; from += 50 { // locks
			n.Exec(fmt.Sprintf("DO $$ BEGIN FOR i IN %d..%d LOOP EXECUTE format('DROP TABLE many_%%s', i); END LOOP; END $$", from, from+49))
		}
	}
}

func interleaved(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE il (id int PRIMARY KEY, v text)", "CREATE TABLE il_order (nr serial PRIMARY KEY, who text)")
	a := c.Nodes[0]
	long := a.Session()
	step := func(sql string) {
		t.Helper()
		_, err := pgtest.RunOn(long, sql, clustertest.ResumeLimit)
		a.Must(err)
	}
	step("BEGIN")
	for i := range 20 {
		step(fmt.Sprintf("INSERT INTO il SELECT g, 'long' FROM generate_series(%d, %d) g", i*100, i*100+49))
		a.Exec(fmt.Sprintf("INSERT INTO il SELECT g, 'short' FROM generate_series(%d, %d) g", i*100+50, i*100+99), fmt.Sprintf("UPDATE il SET v = 'changed' WHERE id = %d", i*100+60))
		if i == 10 {
			c.WaitDrained(a)
			c.Nodes[1].Wait(clustertest.ResumeLimit, "SELECT count(*) || ' ' || count(*) FILTER (WHERE v = 'long') FROM il", "550 0")
		}
	}
	step("UPDATE il SET v = 'long end' WHERE id % 100 = 60")
	step("COMMIT")
	c.RequireConverged()
	if got := c.Nodes[1].Value("SELECT count(*) || ' ' || count(*) FILTER (WHERE v = 'long end') FROM il"); got != "2000 20" {
		t.Errorf("rows: %s", got)
	}
}

func concurrentUpdates(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE cu (id int PRIMARY KEY, n int, who text)")
	a := c.Nodes[0]
	a.Exec("INSERT INTO cu VALUES (1, 0, ''), (2, 0, '')")
	concurrently(a, 4, 50, func(s, i int) string {
		sql := fmt.Sprintf("BEGIN; UPDATE cu SET n = n + 1, who = 's%d' WHERE id = 1; UPDATE cu SET n = n - %d WHERE id = 2; COMMIT", s, i%2)
		if i%10 == 9 {
			sql = strings.Replace(sql, "COMMIT", "ROLLBACK", 1)
		}
		return sql
	})
	c.RequireConverged()
	if got := c.Nodes[1].Value("SELECT string_agg(n::text, ' ' ORDER BY id) FROM cu"); got != "180 -80" {
		t.Errorf("values: %s", got)
	}
}

func isolationLevels(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE so (id int PRIMARY KEY, n int)")
	a := c.Nodes[0]
	a.Exec("INSERT INTO so SELECT g, 0 FROM generate_series(1, 10) g",
		"BEGIN ISOLATION LEVEL SERIALIZABLE; UPDATE so SET n = (SELECT sum(n) + 1 FROM so) WHERE id = 1; INSERT INTO so SELECT 11, count(*) FROM so; COMMIT",
		"BEGIN ISOLATION LEVEL REPEATABLE READ; DELETE FROM so WHERE id = 2; SAVEPOINT s; UPDATE so SET n = 5 WHERE id = 3; COMMIT",
		"BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE; SELECT count(*) FROM so; COMMIT")
	// of two that cannot be put in an order only one arrives
	one, two := a.Session(), a.Session()
	run := func(sql string) {
		t.Helper()
		_, err := pgtest.RunOn(one, sql, clustertest.ResumeLimit)
		a.Must(err)
		if _, err = pgtest.RunOn(two, strings.ReplaceAll(sql, "id = 4", "id = 5"), clustertest.ResumeLimit); sql == "COMMIT" && (pgtest.PgError(err) == nil || pgtest.PgError(err).Code != "40001") {
			t.Errorf("both were committed: %v", err)
		}
	}
	run("BEGIN ISOLATION LEVEL SERIALIZABLE")
	run("SELECT sum(n) FROM so")
	run("UPDATE so SET n = (SELECT sum(n) + 100 FROM so) WHERE id = 4")
	run("COMMIT")
	c.RequireConverged()
	if got := c.Nodes[1].Value("SELECT count(*) || ' ' || sum(n) FROM so"); got != "10 132" {
		t.Errorf("rows and sum: %s", got)
	}
	// the setting of a database must not reach the writer
	c.ExecAll("ALTER DATABASE app SET default_transaction_isolation = 'serializable'", "ALTER DATABASE app SET default_transaction_read_only = on")
	for _, n := range c.Nodes {
		n.CloseSessions()
		for _, p := range n.ProcessesTitled(clustertest.WriterTitle) {
			n.Exec(fmt.Sprintf("SELECT pg_terminate_backend(%d)", p.PID))
		}
	}
	a.Exec("BEGIN READ WRITE; UPDATE so SET n = n + 1; COMMIT")
	c.RequireConverged()
	for _, n := range c.Nodes {
		n.Exec("BEGIN READ WRITE; ALTER DATABASE app RESET ALL; COMMIT")
		n.CloseSessions()
	}
}

func userMessages(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE um (id int PRIMARY KEY)")
	atOnce(c.Nodes[0], "SELECT pg_logical_emit_message(true, 'mine', 'in a transaction')", "INSERT INTO um VALUES (1)", "SELECT pg_logical_emit_message(false, 'mine', 'at once')",
		"SELECT pg_logical_emit_message(true, '', repeat('x', 100000))", "SELECT pg_logical_emit_message(true, 'BDR', '\\x00ff'::bytea)", "INSERT INTO um VALUES (2)")
	c.Nodes[0].Exec("SELECT pg_logical_emit_message(true, 'mine', 'alone')")
	c.RequireConverged()
	if got := c.Nodes[1].Value("SELECT count(*) FROM um"); got != "2" {
		t.Errorf("%s rows", got)
	}
}

func deferredSwap(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE ds (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, k int NOT NULL, CONSTRAINT k UNIQUE (k) DEFERRABLE, v text)",
		"CREATE UNIQUE INDEX ds_ri ON ds (v)", "ALTER TABLE ds ALTER v SET NOT NULL", "ALTER TABLE ds REPLICA IDENTITY USING INDEX ds_ri")
	c.Nodes[0].Exec("INSERT INTO ds SELECT g, g, 'v' || g FROM generate_series(1, 10) g")
	c.RequireConverged()
	atOnce(c.Nodes[0], "SET CONSTRAINTS ALL DEFERRED", "UPDATE ds SET id = 3 - id WHERE id <= 2", "UPDATE ds SET k = k + 1", "UPDATE ds SET id = 13 - id WHERE id > 2")
	c.RequireConverged()
	if got := c.Nodes[1].Value("SELECT string_agg(id || '/' || k, ' ' ORDER BY v) FROM ds WHERE v IN ('v1', 'v2', 'v3')"); got != "2/2 1/3 10/4" {
		t.Errorf("rows: %s", got)
	}
}
