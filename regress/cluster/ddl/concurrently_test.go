package ddl

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// states are the indexes of a table that somebody has made, and whether they are valid.
const states = "SELECT COALESCE(string_agg(indexrelid::regclass || ' ' || indisvalid, ', ' ORDER BY indexrelid::regclass::text), '') FROM pg_index WHERE NOT indisprimary AND indrelid = '%s'::regclass"

// requireStates waits until each node has these indexes.
func requireStates(c *pgtest.Cluster, table, want string) {
	for _, n := range c.Nodes {
		n.Wait(clustertest.ResumeLimit, fmt.Sprintf(states, table), want)
	}
}

// TestFailedIndex exists because CREATE INDEX CONCURRENTLY that fails leaves an index
// that is not valid, and later statements use it: it must be there on all nodes.
func TestFailedIndex(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithSettings(on))
	t.Run("dropped", func(t *testing.T) {
		c := c.For(t)
		a := c.Nodes[0]
		a.Exec("CREATE TABLE t (a int PRIMARY KEY, b int)", "INSERT INTO t VALUES (1, 1), (2, 1)")
		for _, drop := range []string{"DROP INDEX failed", "DROP INDEX CONCURRENTLY public.failed", "DROP TABLE t"} {
			clustertest.RequireRefused(t, a, "CREATE UNIQUE INDEX CONCURRENTLY failed ON t (b)", "23505", "could not create unique index")
			requireStates(c, "t", "failed false")
			a.Exec("INSERT INTO t VALUES (3, 3)", "DELETE FROM t WHERE a = 3") // nodes write to a table with such an index
			a.Exec(drop)
			c.RequireSameSchemas()
		}
	})
	t.Run("attached_and_rebuilt", func(t *testing.T) {
		c := c.For(t)
		a, b := c.Nodes[0], c.Nodes[1]
		a.Exec("CREATE TABLE p (a int, b int) PARTITION BY RANGE (a)", "CREATE TABLE p1 PARTITION OF p DEFAULT", "CREATE INDEX above ON ONLY p ((a / b))", "INSERT INTO p VALUES (1, 0)")
		clustertest.RequireRefused(t, a, "CREATE INDEX CONCURRENTLY ON p1 ((a / b))", "22012", "division by zero")
		a.Exec("ALTER INDEX above ATTACH PARTITION p1_expr_idx", "COMMENT ON INDEX p1_expr_idx IS 'failed'", "ALTER INDEX p1_expr_idx RENAME TO below", "ALTER INDEX below SET (fillfactor = 70)")
		requireStates(c, "p1", "below false")
		requireStates(c, "p", "above false")
		b.Exec("DELETE FROM p WHERE b = 0")
		c.RequireSameSchemas()
		for _, n := range c.Nodes {
			n.Exec("REINDEX INDEX CONCURRENTLY below") // it passes over rows that are dead
		}
		b.Exec("ALTER INDEX above ATTACH PARTITION below")
		requireStates(c, "p1", "below true")
		requireStates(c, "p", "above true")
		c.RequireSameSchemas()
		// an index above takes what is not valid below
		a.Exec("CREATE TABLE q (a int, b int) PARTITION BY RANGE (a)", "CREATE TABLE q1 PARTITION OF q DEFAULT", "INSERT INTO q VALUES (1, 0)")
		clustertest.RequireRefused(t, a, "CREATE INDEX CONCURRENTLY below1 ON q1 ((a / b))", "22012", "division by zero")
		a.Exec("CREATE INDEX above1 ON q ((a / b))")
		requireStates(c, "q1", "below1 false")
		requireStates(c, "q", "above1 false")
		a.Exec("DROP TABLE q")
		c.RequireSameSchemas()
	})
	t.Run("tried_again", func(t *testing.T) {
		c := c.For(t)
		a, b := c.Nodes[0], c.Nodes[1]
		a.Exec("CREATE TABLE again (a int PRIMARY KEY, b int)", "INSERT INTO again VALUES (1, 1), (2, 1)")
		clustertest.RequireRefused(t, a, "CREATE UNIQUE INDEX CONCURRENTLY failed ON again (b)", "23505", "could not create unique index")
		a.Exec("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS failed ON again (b)", "UPDATE again SET b = a", "DROP INDEX failed", "CREATE UNIQUE INDEX CONCURRENTLY failed ON again (b)")
		requireStates(c, "again", "failed true")
		clustertest.RequireRefused(t, b, "INSERT INTO again VALUES (3, 1)", "23505", "duplicate key")
		c.RequireSameSchemas()
	})
}

// TestIndexUnderWrites exists because other nodes make the index first and build it
// later, with rows that come in between. The server builds large ones in parallel, and
// here any.
func TestIndexUnderWrites(t *testing.T) {
	settings := maps.Clone(on)
	settings["min_parallel_table_scan_size"] = "0"
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(settings))
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec(clustertest.LoadTables...)
	c.WaitDrained(a, b)
	load := clustertest.StartLoadAt(100, a, b)
	session := a.Session()
	for _, sql := range []string{"CREATE INDEX CONCURRENTLY longest ON ledger (length(payload))", "CREATE UNIQUE INDEX CONCURRENTLY ON ledger (n, node)", "CREATE INDEX CONCURRENTLY ON shared (v) WHERE id > 10",
		"CREATE INDEX CONCURRENTLY who ON shared USING gist (int8range(v, v, '[]'))"} {
		load.WaitCommits(t, 20)
		_, err := pgtest.RunOn(session, sql, time.Minute)
		a.Must(err)
	}
	load.WaitCommits(t, 20)
	load.End(t)
	c.RequireSameSchemas()
	requireStates(c, "ledger", "ledger_n_node_idx true, longest true")
	requireStates(c, "shared", "shared_v_idx true, who true")
	for _, n := range c.Nodes {
		for _, query := range []string{"SELECT count(*) || ' ' || sum(length(payload)) FROM ledger WHERE length(payload) BETWEEN 0 AND 1000", "SELECT count(*) || ' ' || sum(n) FROM ledger WHERE n > 0",
			"SELECT count(*) || ' ' || sum(id) FROM shared WHERE v >= 0 AND id > 10", "SELECT count(*) || ' ' || sum(id) FROM shared WHERE int8range(v, v, '[]') && '[0,)'"} {
			byTable := n.Value("BEGIN; SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off; " + query + "; COMMIT")
			if byIndex := n.Value("BEGIN; SET LOCAL enable_seqscan = off; " + query + "; COMMIT"); byIndex != byTable {
				t.Errorf("%s: %s is %s by the index, and %s by the table", n.Name, query, byIndex, byTable)
			}
		}
	}
}

// TestReadersOfAnIndexThatIsBuilt exists because CONCURRENTLY means that a table can be
// used meanwhile; on other nodes it can be read.
func TestReadersOfAnIndexThatIsBuilt(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(on))
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec(gate, "CREATE TABLE t (a int PRIMARY KEY, v int)", "INSERT INTO t SELECT g, g FROM generate_series(1, 1000) g")
	c.WaitDrained(a, b)
	open, _ := clustertest.Hold(t, b, "SELECT pg_advisory_xact_lock(1)")
	a.Exec("CREATE INDEX CONCURRENTLY built ON t (gate(v))", "INSERT INTO t VALUES (0, 0)")
	b.Wait(clustertest.ResumeLimit, atTheGate, "1")
	for _, query := range []string{"SELECT count(*) FROM t", "SELECT count(*) FROM t WHERE a BETWEEN 1 AND 1000"} {
		if got := b.Value("BEGIN; SET LOCAL lock_timeout = '30s'; " + query + "; COMMIT"); got != "1000" {
			t.Errorf("%s: %s rows", query, got)
		}
	}
	open()
	requireStates(c, "t", "built true")
	c.RequireSameSchemas()
}

// TestIndexKilled exists because the server may die while an index is built, where it
// was asked for or elsewhere.
func TestIndexKilled(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(on))
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE TABLE t (a int PRIMARY KEY, b int)", "INSERT INTO t SELECT g, g FROM generate_series(1, 1000) g")
	for _, victim := range []*pgtest.Node{a, b} {
		c.RequireSameSchemas()
		release, _ := clustertest.Hold(t, a, "INSERT INTO t VALUES (0, 0)") // the index waits for it
		session := a.Session()
		done := make(chan error, 1)
		go func() {
			_, err := pgtest.RunOn(session, "CREATE INDEX CONCURRENTLY killed ON t (b)", time.Minute)
			done <- err
		}()
		requireStates(c, "t", "killed false")
		victim.Must(victim.Kill9())
		victim.Must(victim.Start())
		if victim == b {
			release()
			b.Must(<-done)
			requireStates(c, "t", "killed true")
		} else if err := <-done; err == nil {
			t.Fatal("the index was made by a server that was killed")
		}
		a.Exec("DROP INDEX killed")
		c.RequireSameSchemas()
	}
}

// TestLeftoverOfReindex exists because REINDEX is local, and so is what it leaves when it
// fails; VACUUM FULL makes that an index like any other, on one node.
func TestLeftoverOfReindex(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(on))
	a := c.Nodes[0]
	a.Exec("CREATE TABLE t (a int PRIMARY KEY, b int)", "CREATE INDEX i ON t (b)", "CREATE INDEX named_ccnew ON t (b)")
	c.RequireSameSchemas()
	for _, steps := range [][]string{{"DROP INDEX i_ccnew"}, {"VACUUM FULL t", "DROP INDEX i_ccnew"}} {
		release, _ := clustertest.Hold(t, a, "LOCK t IN ROW EXCLUSIVE MODE")
		session := a.Session()
		if _, err := pgtest.RunOn(session, "SET lock_timeout = '100ms'", time.Minute); err != nil {
			t.Fatal(err)
		}
		if _, err := pgtest.RunOn(session, "REINDEX INDEX CONCURRENTLY i", time.Minute); err == nil {
			t.Fatal("REINDEX did not wait")
		}
		release()
		for _, refused := range []string{"ALTER INDEX i_ccnew RENAME TO j", "ALTER INDEX i_ccnew SET (fillfactor = 50)", "COMMENT ON INDEX i_ccnew IS 'x'", "ALTER TABLE i_ccnew RENAME TO j"} {
			clustertest.RequireRefused(t, a, refused, "0A000", `index "i_ccnew" is not valid, and on this node only`)
		}
		a.Exec(steps...)
		a.Exec("ALTER INDEX named_ccnew SET (fillfactor = 50)", "COMMENT ON INDEX named_ccnew IS 'ours'")
		c.RequireSameSchemas()
	}
}
