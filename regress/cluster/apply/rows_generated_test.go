package apply

import (
	"fmt"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestStoredGeneratedColumns exists because each node computes them: a value must
// neither be sent nor missed, and a column that is generated on one node only has
// its own value on each.
func TestStoredGeneratedColumns(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithMembers(2), pgtest.WithSettings(clustertest.QuickRetries))
	members := *c
	members.Nodes = c.Nodes[:2]
	t.Run("are_not_missed", func(t *testing.T) { storedNotMissed(t, members.For(t)) })
	t.Run("plain_elsewhere", func(t *testing.T) { storedPlainElsewhere(t, members.For(t)) })
	t.Run("whole_row_is_the_identity", func(t *testing.T) { storedWholeRow(t, members.For(t)) })
	t.Run("are_the_identity", func(t *testing.T) { storedIdentity(t, members.For(t)) })
	t.Run("joined", func(t *testing.T) { storedJoined(t, c.For(t)) })
}

// A function of PostgreSQL's that is immutable only where it is inlined must be
// as good in the session that restores the schema.
func storedJoined(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE ROLE fred")
	for _, n := range c.Nodes[:2] {
		n.Exec("CREATE TABLE gu (id int PRIMARY KEY, a int)", "ALTER TABLE gu OWNER TO fred", "CREATE INDEX ON gu ((a || '/' || id))", "INSERT INTO gu VALUES ("+n.Name[4:]+", 1)")
		n.Exec("CREATE TABLE gj (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a + id) STORED)", "CREATE UNIQUE INDEX ON gj ((a || '/' || id))")
		if pgtest.Major(t) >= 17 {
			n.Exec("ALTER TABLE gj ADD w text GENERATED ALWAYS AS ('w' || id) STORED")
		}
	}
	c.Nodes[0].Exec("INSERT INTO gj SELECT i, i FROM generate_series(1, 10) i")
	c.Member(2)
	c.WaitMesh(c.Nodes...)
	c.RequireConverged()
	c.Nodes[2].Exec("UPDATE gj SET a = 100 WHERE id = 1")
	c.RequireConverged()
	requireAll(t, c, "SELECT g FROM gj WHERE id = 1", "101")
}

// historyOf is what a node's history has about a table.
func historyOf(n *pgtest.Node, table string) string {
	return n.Value(fmt.Sprintf(`SELECT coalesce(string_agg(conflict_type || ' ' || conflict_resolution, ', ' ORDER BY conflict_type), 'none')
		FROM bdr.conflict_history WHERE relname = '%s' AND conflict_type <> 'update_origin_change'`, table))
}

func requireHistory(t *testing.T, c *pgtest.Cluster, table string, want ...string) {
	t.Helper()
	for i, n := range c.Nodes {
		if got := historyOf(n, table); got != want[i%len(want)] {
			t.Errorf("%s: history of %s is %s, expected %s", n.Name, table, got, want[i%len(want)])
		}
	}
}

func storedNotMissed(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE g (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a * 10) STORED NOT NULL UNIQUE)",
		"SELECT bdr.alter_node_set_conflict_resolver((SELECT node_name FROM bdr.local_node_summary), 'source_column_missing', 'error')")
	c.Nodes[0].Exec("INSERT INTO g SELECT i, i FROM generate_series(1, 5) i", "UPDATE g SET a = 7 WHERE id = 1", "DELETE FROM g WHERE id = 2")
	c.RequireConverged()
	c.Nodes[1].Exec("UPDATE g SET a = 8 WHERE id = 3", "UPDATE g SET id = 20 WHERE id = 4")
	c.RequireConverged()
	requireAll(t, c, everyRowOf("g", "id, a, g"), "1/7/70 3/8/80 5/5/50 20/4/40")
	requireHistory(t, c, "g", "none")
	c.ExecAll("DELETE FROM bdr.node_conflict_resolvers")
}

func everyRowOf(table, columns string) string {
	return strings.Replace(everyRow(columns), "FROM d", "FROM "+table, 1)
}

// A plain column of the name of a generated one is a column that the other node
// does not send: it has its default, keeps its value, and is told of once.
func storedPlainElsewhere(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE TABLE gp (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a * 10) STORED)")
	b.Exec("CREATE TABLE gp (id int PRIMARY KEY, a int, g int DEFAULT -5)")
	a.Exec("INSERT INTO gp VALUES (1, 1), (2, 2)")
	c.WaitDrained(c.Nodes...)
	b.Exec("INSERT INTO gp VALUES (3, 3, 33)", "UPDATE gp SET g = 22 WHERE id = 2")
	c.WaitDrained(c.Nodes...)
	a.Exec("UPDATE gp SET a = a + 100", "UPDATE gp SET id = 30 WHERE id = 3")
	c.WaitDrained(c.Nodes...)
	if got := a.Value(everyRowOf("gp", "id, a, g")); got != "1/101/1010 2/102/1020 30/103/1030" {
		t.Errorf("where it is generated: %s", got)
	}
	if got := b.Value(everyRowOf("gp", "id, a, g")); got != "1/101/-5 2/102/22 30/103/33" {
		t.Errorf("where it is not: %s", got)
	}
	requireHistory(t, c, "gp", "none", "source_column_missing apply_remote")
	c.ExecAll("DROP TABLE gp")
}

// A value that is not stored here, or not the same, must not be what a row is
// found by.
func storedWholeRow(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE TABLE gf (id int, a int, g int)")
	b.Exec("CREATE TABLE gf (id int, a int, g int GENERATED ALWAYS AS (a * 10) STORED)")
	c.ExecAll("ALTER TABLE gf REPLICA IDENTITY FULL")
	a.Exec("INSERT INTO gf VALUES (1, 1, 111), (2, 2, 222), (3, 3, 333)", "UPDATE gf SET a = 11 WHERE id = 1", "DELETE FROM gf WHERE id = 2")
	c.WaitDrained(c.Nodes...)
	b.Exec("UPDATE gf SET a = 33 WHERE id = 3")
	c.WaitDrained(c.Nodes...)
	if got := a.Value(everyRowOf("gf", "id, a, g")); got != "1/11/111 3/33/333" {
		t.Errorf("where it is not generated: %s", got)
	}
	if got := b.Value(everyRowOf("gf", "id, a, g")); got != "1/11/110 3/33/330" {
		t.Errorf("where it is: %s", got)
	}
	requireHistory(t, c, "gf", "source_column_missing apply_remote", "none")
	c.ExecAll("DROP TABLE gf")
}

// Its old value is sent to find the row by; the new one is computed here, too.
func storedIdentity(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE gi (id int, a int, g int GENERATED ALWAYS AS (a * 10) STORED NOT NULL)", "CREATE UNIQUE INDEX gi_g ON gi (g)",
		"ALTER TABLE gi REPLICA IDENTITY USING INDEX gi_g")
	c.Nodes[0].Exec("INSERT INTO gi SELECT i, i FROM generate_series(1, 5) i", "UPDATE gi SET a = 7 WHERE id = 1", "DELETE FROM gi WHERE id = 2")
	c.RequireConverged()
	c.Nodes[1].Exec("UPDATE gi SET a = 8 WHERE id = 3", "UPDATE gi SET id = 50 WHERE id = 5")
	c.RequireConverged()
	requireAll(t, c, everyRowOf("gi", "id, a, g"), "1/7/70 3/8/80 4/4/40 50/5/50")
	requireHistory(t, c, "gi", "none")
}

// TestVirtualGeneratedColumns exists because they are not stored: whoever takes a
// row for what its columns say stores, compares or sends a value that is not
// there.
func TestVirtualGeneratedColumns(t *testing.T) {
	pgtest.Since(t, 18, "virtual generated columns")
	c := pgtest.NewCluster(t, 3, pgtest.WithMembers(2), pgtest.WithSettings(clustertest.QuickRetries))
	members := *c
	members.Nodes = c.Nodes[:2]
	for _, part := range []struct {
		name string
		run  func(*testing.T, *pgtest.Cluster)
	}{
		{"rows_travel", virtualTravel},
		{"sent", virtualSent},
		{"kinds_that_differ", virtualKinds},
		{"constraints", virtualConstraints},
		{"triggers", virtualTriggers},
		{"row_versions", virtualRowVersions},
		{"conflicts", virtualConflicts},
		{"values_that_are_fetched", virtualFetched},
		{"altered", virtualAltered},
		{"not_an_identity", virtualNoIdentity},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.run(t, members.For(t)) }) {
			t.FailNow() // a stream that stopped fails all that follow
		}
	}
	t.Run("joined", func(t *testing.T) {
		all := c.For(t)
		all.Member(2)
		all.WaitMesh(all.Nodes...)
		all.RequireConverged()
		all.Nodes[2].Exec("UPDATE v SET a = a + 1 WHERE id = 1", "INSERT INTO vp (id, a) VALUES (15, 15)")
		all.RequireConverged()
	})
}

func virtualTravel(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE v (id int PRIMARY KEY, v int GENERATED ALWAYS AS (a * 10), a int, s int GENERATED ALWAYS AS (a + 1) STORED, w text GENERATED ALWAYS AS ('w' || id), t text)",
		"CREATE TABLE vf (a int, v int GENERATED ALWAYS AS (a * 10), t text)", "ALTER TABLE vf REPLICA IDENTITY FULL",
		"CREATE TABLE vp (id int PRIMARY KEY, a int, v int GENERATED ALWAYS AS (id + a)) PARTITION BY RANGE (id)",
		"CREATE TABLE vp1 PARTITION OF vp FOR VALUES FROM (0) TO (10)", "CREATE TABLE vp2 (v int GENERATED ALWAYS AS (id - a), a int, id int NOT NULL)",
		"ALTER TABLE vp ATTACH PARTITION vp2 FOR VALUES FROM (10) TO (20)")
	a.Exec("INSERT INTO v (id, a, t) SELECT i, i, 't' FROM generate_series(1, 50) i", "INSERT INTO vf (a, t) SELECT i, 't' FROM generate_series(1, 5) i",
		"INSERT INTO vp SELECT i, i FROM generate_series(1, 9) i", "ALTER TABLE v ADD late int GENERATED ALWAYS AS (a % 7) VIRTUAL")
	b.Exec("ALTER TABLE v ADD late int GENERATED ALWAYS AS (a % 7) VIRTUAL")
	c.RequireConverged()
	b.Exec("UPDATE v SET a = a * 2 WHERE id % 3 = 0", "UPDATE v SET t = 'u' WHERE id % 5 = 0", "DELETE FROM v WHERE id % 7 = 0", "UPDATE v SET id = -id WHERE id = 1",
		"UPDATE vf SET a = a + 100 WHERE a < 3", "DELETE FROM vf WHERE a = 4", "UPDATE vp SET id = id + 10 WHERE id < 5", "UPDATE vp SET a = 0 WHERE id > 12")
	c.RequireConverged()
	a.Exec("INSERT INTO v (id, a) VALUES (1000, 1) ON CONFLICT (id) DO UPDATE SET a = 1", "UPDATE v SET a = NULL WHERE id = 10", "DELETE FROM vf WHERE v > 1000")
	c.RequireConverged()
	requireAll(t, c, "SELECT concat_ws(' ', v, s, w, late, t) FROM v WHERE id = 15", "300 31 w15 2 u")
	requireAll(t, c, "SELECT concat_ws(' ', id, a, v) FROM vp WHERE id = 13", "13 0 13")
	for _, table := range []string{"v", "vf", "vp", "vp1", "vp2"} {
		requireHistory(t, c, table, "none")
	}
}

func virtualSent(t *testing.T, c *pgtest.Cluster) {
	a := c.Nodes[0]
	clustertest.RequireLines(t, sentOf(a, "UPDATE v SET a = 3 WHERE id = 2"), `UPDATE public.v n (id=2 a=3 t="t")`)
	clustertest.RequireLines(t, sentOf(a, "UPDATE vf SET a = 6 WHERE a = 5"), `UPDATE public.vf f (a=5 t="t") (a=6 t="t")`)
	c.RequireConverged()
}

// Each pair of kinds: what one node stores, computes or just has.
func virtualKinds(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	kinds := map[string]struct{ column, one, two string }{
		"virtual": {"g int GENERATED ALWAYS AS (a * 2) VIRTUAL", "20", "8"},
		"stored":  {"g int GENERATED ALWAYS AS (a * 3) STORED", "30", "12"},
		"plain":   {"g int DEFAULT 5", "5", "5"},
	}
	for here, ours := range kinds {
		for there, theirs := range kinds {
			if here == there || (here != "virtual" && there != "virtual") {
				continue
			}
			for _, identity := range []string{"DEFAULT", "FULL"} {
				table := "k_" + here + "_" + there + "_" + strings.ToLower(identity)
				a.Exec("CREATE TABLE "+table+" (id int PRIMARY KEY, a int, "+ours.column+")", "ALTER TABLE "+table+" REPLICA IDENTITY "+identity)
				b.Exec("CREATE TABLE "+table+" ("+theirs.column+", a int, id int PRIMARY KEY)", "ALTER TABLE "+table+" REPLICA IDENTITY "+identity)
				a.Exec("INSERT INTO " + table + " (id, a) VALUES (1, 1), (2, 2), (3, 3)")
				c.WaitDrained(c.Nodes...)
				b.Exec("UPDATE "+table+" SET a = 10 WHERE id = 1", "DELETE FROM "+table+" WHERE id = 3")
				c.WaitDrained(c.Nodes...)
				a.Exec("UPDATE " + table + " SET a = 4 WHERE id = 2")
				c.WaitDrained(c.Nodes...)
				for n, kind := range map[*pgtest.Node]struct{ column, one, two string }{a: ours, b: theirs} {
					if got, want := n.Value(everyRowOf(table, "id, a, g")), "1/10/"+kind.one+" 2/4/"+kind.two; got != want {
						t.Errorf("%s of %s: %s, expected %s", table, n.Name, got, want)
					}
				}
				c.ExecAll("DROP TABLE " + table)
			}
		}
	}
}

// A row that breaks a constraint of this node over its virtual column stops the
// subscription, and is not lost.
func virtualConstraints(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE vc (id int PRIMARY KEY, a int, v int GENERATED ALWAYS AS (nullif(a, 9) * 10))")
	for _, k := range []struct{ add, write, err, drop string }{
		{"ALTER TABLE vc ADD CONSTRAINT small CHECK (v < 100)", "INSERT INTO vc VALUES (1, 5), (2, 50)", `violates check constraint "small"`, "ALTER TABLE vc DROP CONSTRAINT small"},
		{"ALTER TABLE vc ADD CONSTRAINT large CHECK (v > 10 OR v IS NULL) NOT VALID", "UPDATE vc SET a = 0 WHERE id = 1", `violates check constraint "large"`, "ALTER TABLE vc DROP CONSTRAINT large"},
		{"ALTER TABLE vc ALTER v SET NOT NULL", "UPDATE vc SET a = 9 WHERE id = 1", `null value in column "v"`, "ALTER TABLE vc ALTER v DROP NOT NULL"},
		{"ALTER TABLE vc ALTER v SET NOT NULL", "INSERT INTO vc VALUES (3, 1); INSERT INTO vc VALUES (4, NULL)", `null value in column "v"`, "ALTER TABLE vc ALTER v DROP NOT NULL"},
	} {
		if strings.Contains(k.add, "SET NOT NULL") {
			c.ExecAll("UPDATE vc SET a = 1 WHERE v IS NULL")
			c.RequireConverged()
		}
		b.Exec(k.add)
		a.Exec(k.write)
		b.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT last_error LIKE '%%%s%%' FROM bdr.subscription_summary", k.err), "t")
		b.Exec(k.drop)
		c.RequireConverged()
	}
	// one transaction after the other, with constraints that all keep
	c.ExecAll("UPDATE vc SET a = 1 WHERE v IS NULL OR v < 1")
	c.RequireConverged()
	c.ExecAll("ALTER TABLE vc ALTER v SET NOT NULL", "ALTER TABLE vc ADD CHECK (v > 0)")
	for i := range 20 {
		a.Exec(fmt.Sprintf("INSERT INTO vc VALUES (%d, 3)", 100+i), fmt.Sprintf("UPDATE vc SET a = %d WHERE id = %d", 10+i, 100+i))
	}
	c.RequireConverged()
}

func virtualTriggers(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE vt (id int PRIMARY KEY, a int, b int, v int GENERATED ALWAYS AS (a * 10), s int GENERATED ALWAYS AS (b * 10) STORED)")
	b.Exec("CREATE UNLOGGED TABLE vt_seen (n serial, what text)",
		`CREATE FUNCTION vt_note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.vt_seen (what) VALUES (TG_NAME); RETURN NEW; END$$`,
		"CREATE TRIGGER of_v AFTER UPDATE OF v ON vt FOR EACH ROW EXECUTE FUNCTION vt_note()",
		"CREATE TRIGGER of_b AFTER UPDATE OF b ON vt FOR EACH ROW EXECUTE FUNCTION vt_note()",
		"CREATE TRIGGER v_is_large AFTER INSERT OR UPDATE ON vt FOR EACH ROW WHEN (NEW.v > 100) EXECUTE FUNCTION vt_note()",
		"ALTER TABLE vt ENABLE ALWAYS TRIGGER of_v, ENABLE ALWAYS TRIGGER of_b, ENABLE ALWAYS TRIGGER v_is_large")
	expect := func(statement, want string) {
		t.Helper()
		b.Exec("TRUNCATE vt_seen")
		a.Exec(statement)
		c.WaitDrained(c.Nodes...)
		if got := b.Value("SELECT coalesce(string_agg(what, ' ' ORDER BY n), '') FROM vt_seen"); got != want {
			t.Errorf("%s: %s", statement, got)
		}
	}
	expect("INSERT INTO vt VALUES (1, 1, 1), (2, 20, 2)", "v_is_large")
	// as a stored one, it counts as changed by each update
	expect("UPDATE vt SET b = 5 WHERE id = 1", "of_b of_v")
	expect("BEGIN; UPDATE vt SET b = 6 WHERE id = 1; UPDATE vt SET a = 30 WHERE id = 1; COMMIT", "of_b of_v of_v v_is_large")
	expect("UPDATE vt SET a = 2 WHERE id = 1", "of_v")
	c.RequireConverged()
	b.Exec("DROP FUNCTION vt_note CASCADE", "DROP TABLE vt_seen")
}

func virtualRowVersions(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE vr (id int PRIMARY KEY, a int, v int GENERATED ALWAYS AS (a * 10))")
	err := pgtest.PgError(a.Try("SELECT bdr.alter_table_conflict_detection('vr', 'row_version', 'v')"))
	if err == nil || err.Code != "42804" {
		t.Errorf("row versions in a virtual column: %v", err)
	}
	c.ExecAll("SELECT bdr.alter_table_conflict_detection('vr', 'row_version', 'rv')")
	a.Exec("INSERT INTO vr (id, a) VALUES (1, 1)", "UPDATE vr SET a = 2")
	c.RequireConverged()
	b.Exec("UPDATE vr SET a = 3")
	c.RequireConverged()
	requireAll(t, c, "SELECT concat_ws(' ', a, v, rv) FROM vr", "3 30 3")
	requireHistory(t, c, "vr", "none")
}

// A virtual column that cannot be computed must not keep a conflict from being
// resolved, and is in no image of a row.
func virtualConflicts(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE vx (id int PRIMARY KEY, a int, u int UNIQUE, v int GENERATED ALWAYS AS (100 / a), s int GENERATED ALWAYS AS (u * 2) STORED)")
	a.Exec("INSERT INTO vx (id, a, u) VALUES (1, 1, 1), (2, 2, 2)")
	c.RequireConverged()
	apart(c, func() {
		a.Exec("UPDATE vx SET a = 0 WHERE id = 1", "INSERT INTO vx (id, a, u) VALUES (3, 3, 3), (4, 4, 44)", "UPDATE vx SET a = 5 WHERE id = 2")
		b.Exec("UPDATE vx SET a = 20 WHERE id = 1", "INSERT INTO vx (id, a, u) VALUES (3, 0, 33), (5, 5, 44)", "DELETE FROM vx WHERE id = 2")
	})
	c.WaitDrained(c.Nodes...)
	requireAll(t, c, everyRowOf("vx", "id, a, u, s"), "1/20/1/2 3/0/33/66 5/5/44/88")
	for _, n := range c.Nodes {
		if got := n.Value("SELECT count(*) FROM bdr.conflict_history WHERE relname = 'vx'"); got == "0" {
			t.Errorf("%s: no conflicts are told", n.Name)
		}
		if got := n.Value("SELECT count(*) FROM bdr.conflict_history h WHERE relname = 'vx' AND (h.remote_tuple::jsonb ? 'v' OR h.local_tuple::jsonb ? 'v' OR NOT h.remote_tuple::jsonb ? 's')"); got != "0" {
			t.Errorf("%s: images have a virtual column: %v", n.Name, n.Rows("SELECT remote_tuple, local_tuple FROM bdr.conflict_history WHERE relname = 'vx'"))
		}
	}
	a.Exec("DELETE FROM vx WHERE a = 0")
	c.RequireConverged()
}

// Values that an update leaves out are had from the origin, by a key that is
// beside a virtual column.
func virtualFetched(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE vl (id int PRIMARY KEY, size int GENERATED ALWAYS AS (length(big)), n int, big text)", "ALTER TABLE vl ALTER big SET STORAGE EXTERNAL")
	a.Exec("INSERT INTO vl (id, n, big) SELECT i, 1, repeat('b', 10000 + i) FROM generate_series(1, 3) i")
	c.RequireConverged()
	apart(c, func() {
		b.Exec("DELETE FROM vl WHERE id < 3", "UPDATE vl SET n = 2 WHERE id = 3")
		a.Exec("UPDATE vl SET n = 3")
	})
	c.RequireConverged()
	requireAll(t, c, everyRowOf("vl", "id, n, size"), "1/3/10001 2/3/10002 3/3/10003")
}

// Tables with virtual columns are altered and rewritten while changes are on
// their way.
func virtualAltered(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE va (id int PRIMARY KEY, a int, n int, v int GENERATED ALWAYS AS (a * 10), s int GENERATED ALWAYS AS (a * 10) STORED)")
	a.Exec("INSERT INTO va (id, a, n) SELECT i, i, i FROM generate_series(1, 9) i", "DELETE FROM va WHERE id = 9")
	c.RequireConverged()
	for i, alter := range []string{"ALTER v SET EXPRESSION AS (a * 20)", "ALTER s SET EXPRESSION AS (a * 30)", "ALTER n TYPE bigint", "ALTER id TYPE bigint", "DROP v",
		"ADD v text GENERATED ALWAYS AS ('v' || n)", "ALTER v SET EXPRESSION AS ('w' || n), ADD CHECK (v LIKE 'w%')"} {
		apart(c, func() {
			b.Exec(fmt.Sprintf("UPDATE va SET n = n + 100 WHERE id = %d", i+1), "ALTER TABLE va "+alter)
			a.Exec(fmt.Sprintf("UPDATE va SET n = n + 1000, a = a + 1 WHERE id = %d", (i+1)%8+1), "ALTER TABLE va "+alter)
		})
		c.RequireConverged()
	}
	requireAll(t, c, "SELECT concat_ws(' ', a, s, v) FROM va WHERE id = 8", "9 270 w1008")
}

// No index has a virtual column, so it is no identity; one that is an identity
// elsewhere does not find rows here, and the error says so.
func virtualNoIdentity(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE TABLE vi (id int, a int, g int GENERATED ALWAYS AS (a * 2) STORED NOT NULL)", "CREATE UNIQUE INDEX vi_g ON vi (g)", "ALTER TABLE vi REPLICA IDENTITY USING INDEX vi_g")
	b.Exec("CREATE TABLE vi (id int, a int, g int GENERATED ALWAYS AS (a * 2) VIRTUAL)", "ALTER TABLE vi REPLICA IDENTITY FULL")
	a.Exec("INSERT INTO vi VALUES (1, 1), (2, 2)")
	c.RequireConverged()
	a.Exec("UPDATE vi SET a = 3 WHERE id = 1")
	b.Wait(clustertest.ResumeLimit, "SELECT last_error LIKE '%cannot find rows of table \"public.vi\" by the replica identity%' FROM bdr.subscription_summary", "t")
	b.Exec("ALTER TABLE vi DROP g", "ALTER TABLE vi ADD g int GENERATED ALWAYS AS (a * 2) STORED")
	c.RequireConverged()
	requireAll(t, c, everyRowOf("vi", "id, a, g"), "1/3/6 2/2/4")
}
