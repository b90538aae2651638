package ddl

import (
	"fmt"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestRewriteOfManyRows exists because ALTER TABLE that rewrites a table runs on each
// node for as long as it does on one, and what comes behind it waits; it must neither
// stop there nor be in anybody's way for longer.
func TestRewriteOfManyRows(t *testing.T) { rewriteManyRows(t, 100_000) }

// rewriteManyRows alters a table of so many rows on one node while others write to
// other tables, and read this one.
func rewriteManyRows(t *testing.T, rows int) {
	settings := maps.Clone(on)
	settings["max_wal_size"] = "4GB"
	c := pgtest.NewCluster(t, 3, pgtest.WithSettings(settings))
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec(clustertest.LoadTables...)
	runLong(t, a, "CREATE TABLE big (a int PRIMARY KEY, b int NOT NULL, c text)", fmt.Sprintf("INSERT INTO big SELECT g, g %% 1000, 'row ' || g FROM generate_series(1, %d) g", rows), everywhere)
	c.RequireConverged()
	load := clustertest.StartLoadAt(50, c.Nodes...)
	var reads atomic.Int64
	for _, n := range c.Nodes[1:] {
		load.Loop(n, func(conn *pgconn.PgConn) error {
			got, err := pgtest.RunOn(conn, "SELECT count(*) FROM big", longest)
			if err == nil && got[0][0] != fmt.Sprint(rows) {
				t.Errorf("%s: a reader saw %s rows", n.Name, got[0][0])
			}
			reads.Add(1)
			return err
		})
	}
	for _, sql := range []string{"ALTER TABLE big ALTER b TYPE bigint USING b * 2", "ALTER TABLE big ADD d timestamptz NOT NULL DEFAULT now(), ALTER c TYPE bytea USING convert_to(c, 'UTF8')", "CREATE INDEX CONCURRENTLY ON big (b, a)",
		"ALTER TABLE big ADD e int GENERATED ALWAYS AS (length(c)) STORED", "ALTER TABLE big ALTER b TYPE text"} {
		load.WaitCommits(t, 50)
		began := time.Now()
		runLong(t, a, sql)
		typed := time.Since(began)
		before := reads.Load()
		load.WaitCommits(t, 50) // while others do the same
		runLong(t, a, everywhere)
		t.Logf("%s: %v here, everywhere %v later; %d reads meanwhile", sql, typed.Round(time.Millisecond), (time.Since(began) - typed).Round(time.Millisecond), reads.Load()-before)
	}
	runLong(t, b, "UPDATE big SET c = 'changed' WHERE a % 100 = 0")
	load.WaitCommits(t, 50)
	load.End(t)
	c.RequireSameSchemas()
	load.RequireAcknowledged(t, c.Nodes...)
	for _, n := range c.Nodes {
		clustertest.RequireNoErrors(t, n)
	}
	if reads.Load() == 0 {
		t.Error("nobody has read the table")
	}
}

// everywhere waits until all nodes have what this one has.
const everywhere = "SELECT bdr.wait_slot_confirm_lsn(NULL, NULL)"

// longest is what one statement about many rows may take.
const longest = 20 * time.Minute

// runLong runs statements that may take longer than those of other tests.
func runLong(t *testing.T, n *pgtest.Node, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := n.RunTimeout(n.Database, sql, longest); err != nil {
			t.Fatalf("%s: %s\n%s", n.Name, pgtest.Explain(err), sql)
		}
	}
}

// gate is a function that is called for each row of a rewrite or an index, and waits at one of them
// while somebody has an advisory lock.
const gate = `CREATE FUNCTION gate(v int) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$BEGIN
	IF v = 500 THEN PERFORM pg_advisory_xact_lock_shared(1); END IF;
	RETURN v * 2;
END$$`

// atTheGate counts who waits there.
const atTheGate = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"

// TestKilledInRewrite exists because a rewrite that is half done must be undone, or done
// again, wherever the server died: where it was typed, where it is applied, or there
// while it is applied elsewhere.
func TestKilledInRewrite(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(on))
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec(gate, "CREATE TABLE meanwhile (a int PRIMARY KEY)")
	for i, k := range []struct {
		name   string
		at     *pgtest.Node // where the rewrite waits
		killed *pgtest.Node
		done   bool
	}{{"origin", a, a, false}, {"peer", b, b, true}, {"origin_while_it_is_applied", b, a, true}} {
		t.Run(k.name, func(t *testing.T) {
			c := c.For(t)
			table := fmt.Sprintf("t%d", i)
			a.For(t).Exec(fmt.Sprintf("CREATE TABLE %s (a int PRIMARY KEY, v int)", table), fmt.Sprintf("INSERT INTO %s SELECT g, g FROM generate_series(1, 1000) g", table))
			c.RequireConverged()
			open, _ := clustertest.Hold(t, k.at, "SELECT pg_advisory_xact_lock(1)")
			session := a.Session()
			answer := make(chan error, 1)
			go func() {
				_, err := pgtest.RunOn(session, fmt.Sprintf("BEGIN; INSERT INTO %[1]s VALUES (0, 0); ALTER TABLE %[1]s ALTER v TYPE bigint USING gate(v); INSERT INTO %[1]s VALUES (-1, 5000000000); COMMIT", table), longest)
				answer <- err
			}()
			k.at.For(t).Wait(clustertest.ResumeLimit, atTheGate, "1")
			if k.at == b {
				a.Must(<-answer)
			}
			k.killed.Must(k.killed.Kill9())
			other := c.Nodes[0]
			if k.killed == a {
				other = c.Nodes[1]
			}
			other.Exec(fmt.Sprintf("INSERT INTO meanwhile VALUES (%d)", i))
			k.killed.Must(k.killed.Start())
			if k.killed != k.at {
				open()
			}
			if k.at == a {
				if err := <-answer; err == nil {
					t.Fatal("the answer of a server that was killed")
				}
			}
			c.RequireSameSchemas()
			want := map[bool]string{false: "integer 1000 500500", true: "bigint 1002 5001001000"}[k.done]
			for _, n := range c.Nodes {
				if got := n.Value(fmt.Sprintf("SELECT min(pg_typeof(v)::text) || ' ' || count(*) || ' ' || sum(v) FROM %s", table)); got != want {
					t.Errorf("%s has %s, and not %s", n.Name, got, want)
				}
			}
			a.For(t).Exec(fmt.Sprintf("ALTER TABLE %s ALTER v TYPE numeric", table), fmt.Sprintf("UPDATE %s SET v = v + 1", table))
			c.RequireSameSchemas()
		})
	}
}
