package apply

import (
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestFullIdentityUsesIndexes exists because a table without a key is searched
// for every row that is changed: 5,000 updates of 20,000 rows took a writer 13
// seconds although an index leads to each. Any index will do, and what is found
// by it is still compared as a whole.
func TestFullIdentityUsesIndexes(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE big (id int, flag boolean, v text)", "ALTER TABLE big REPLICA IDENTITY FULL", "CREATE INDEX big_flag ON big (flag)", "CREATE INDEX big_id ON big (id)")
	a.Exec("INSERT INTO big SELECT g, true, 'v' FROM generate_series(1, 20000) g")
	c.RequireConverged()
	c.ExecAll("ANALYZE big")
	scans := func() string {
		return b.Value("SELECT coalesce(seq_scan, 0) FROM pg_stat_user_tables WHERE relname = 'big'")
	}
	before := scans()
	start := time.Now()
	a.Exec("DO $$ BEGIN FOR i IN 1..5000 LOOP UPDATE big SET v = 'w' WHERE id = i * 4; END LOOP; END $$")
	c.WaitDrained(c.Nodes...)
	t.Logf("5,000 updates of 20,000 rows: %.1f s", time.Since(start).Seconds())
	a.Exec("DELETE FROM big WHERE id <= 100", "UPDATE big SET id = NULL WHERE id = 200", "UPDATE big SET v = 'x' WHERE id IS NULL")
	c.RequireConverged()
	b.Wait(clustertest.ResumeLimit, "SELECT n_tup_upd + n_tup_del >= 5002 FROM pg_stat_user_tables WHERE relname = 'big'", "t")
	// reading it to compare is one, too
	if got := scans(); b.Value("SELECT "+got+" - "+before+" < 10") != "t" {
		t.Errorf("sequential scans: %s, then %s", before, got)
	}
}

// TestFullIdentityFindsTheSameRow exists because an index finds what is equal
// by its operators, and that is more, or less, than what is meant: the row with
// the same image goes first, and one that is equal by the column's own operator
// is found however the index is made.
func TestFullIdentityFindsTheSameRow(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
		"CREATE TABLE n (x numeric, v text)", "ALTER TABLE n REPLICA IDENTITY FULL", "CREATE INDEX ON n (x)",
		"CREATE TABLE s (x text COLLATE nocase, v text)", "ALTER TABLE s REPLICA IDENTITY FULL", `CREATE INDEX ON s (x COLLATE "C")`,
		"CREATE TABLE p (x int, y int, v text)", "ALTER TABLE p REPLICA IDENTITY FULL", "CREATE INDEX ON p (y, x) WHERE v = 'none'", "CREATE INDEX ON p ((x + 1))", "CREATE INDEX ON p (x, (y + 1))",
		"CREATE TABLE u (x int UNIQUE, v text)", "ALTER TABLE u REPLICA IDENTITY FULL")
	a.Exec("INSERT INTO n VALUES (1.0, 'a'), (1.00, 'a'), (1.000, 'a'), (2, 'b'), (2, 'b'), (NULL, 'c')", "INSERT INTO s VALUES ('Word', 'a'), ('other', 'b')",
		"INSERT INTO p SELECT g % 3, g % 2, 'v' FROM generate_series(1, 30) g", "INSERT INTO u VALUES (1, 'a'), (NULL, 'b'), (NULL, 'b'), (NULL, 'c')")
	c.RequireConverged()
	a.Exec("DELETE FROM n WHERE x::text = '1.00'", "UPDATE n SET v = 'd' WHERE ctid = (SELECT min(ctid) FROM n WHERE x = 2)", "UPDATE n SET v = 'e' WHERE x IS NULL",
		"UPDATE p SET v = 'w' WHERE x = 1 AND y = 1", "UPDATE u SET v = 'd' WHERE ctid = (SELECT min(ctid) FROM u WHERE x IS NULL)", "UPDATE u SET x = 5 WHERE v = 'c'", "DELETE FROM u WHERE x = 1")
	c.RequireConverged()
	b.Exec(clustertest.Local + "UPDATE s SET x = 'WORD' WHERE v = 'a'; UPDATE n SET x = 1.0 WHERE x::text = '1.000'; COMMIT")
	a.Exec("UPDATE s SET v = 'c' WHERE x = 'word'", "DELETE FROM n WHERE x::text = '1.000'")
	c.WaitDrained(c.Nodes...)
	if got := b.Value("SELECT count(*) FROM s WHERE v = 'c'") + b.Value("SELECT count(*) FROM n WHERE x = 1"); got != "11" {
		t.Errorf("rows that are equal were not found: %s", got)
	}
}
