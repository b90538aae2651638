package ddl

import (
	"fmt"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
)

const hereOnly = "SET bdr.ddl_replication = off; %s; RESET bdr.ddl_replication"

// TestErrors exists because a statement that a node cannot run must stop what
// comes behind it, visibly, until somebody has made that possible.
func TestErrors(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(on))
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec(fmt.Sprintf(hereOnly, "CREATE ROLE lonely LOGIN; GRANT CREATE ON SCHEMA public TO lonely"))
	lonely := a.As("lonely", "")
	for _, step := range []struct {
		run         func()
		message     string
		statement   string
		remedy      string
		description string
	}{
		{func() { lonely.Exec("CREATE TABLE of_lonely (a int PRIMARY KEY)", "INSERT INTO of_lonely VALUES (1)") }, `role "lonely", which ran a statement on node "node1", does not exist here`,
			"CREATE TABLE of_lonely", "CREATE ROLE lonely LOGIN; GRANT CREATE ON SCHEMA public TO lonely", "a role is missing"},
		{func() {
			b.Exec(fmt.Sprintf(hereOnly, "CREATE TABLE there (b text)"))
			a.Exec("BEGIN; CREATE TABLE there (a int PRIMARY KEY); INSERT INTO there VALUES (1); COMMIT")
		}, `relation "there" already exists`, "CREATE TABLE there", "DROP TABLE there", "a table is there"},
		{func() {
			b.Exec(fmt.Sprintf(hereOnly, "ALTER TABLE there ADD CONSTRAINT k CHECK (a < 100)"))
			a.Exec("ALTER TABLE there ADD CONSTRAINT k CHECK (a < 1000)")
		}, `constraint "k" for relation "there" already exists`, "ADD CONSTRAINT k", "ALTER TABLE there DROP CONSTRAINT k", "a constraint is there"},
	} {
		step.run()
		b.Wait(60*time.Second, fmt.Sprintf("SELECT count(*) > 0 FROM bdr.worker_errors WHERE error_message = '%s' AND error_context LIKE '%%%s%%'", step.message, step.statement), "t")
		b.Exec(fmt.Sprintf(hereOnly, step.remedy))
		c.RequireSameSchemas()
	}
}

// TestSkipped exists because a statement that can never run must not stop a node for
// ever: what is skipped is one transaction, also where it has no rows.
func TestSkipped(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(on))
	a, b := c.Nodes[0], c.Nodes[1]
	b.Exec(fmt.Sprintf(hereOnly, "CREATE TABLE there (a int PRIMARY KEY)"))
	a.Exec("CREATE TABLE there (a int PRIMARY KEY)", "INSERT INTO there VALUES (1)", "ALTER TABLE there ADD b int DEFAULT 2")
	b.Wait(60*time.Second, "SELECT count(*) FROM bdr.worker_errors WHERE error_message LIKE '%already exists' AND remote_end_lsn IS NOT NULL", "1")
	b.Exec("SELECT bdr.alter_subscription_disable(sub_name) FROM bdr.worker_errors")
	b.Exec("SELECT bdr.alter_subscription_skip_changes_upto(sub_name, remote_end_lsn) FROM bdr.worker_errors")
	b.Exec("SELECT bdr.alter_subscription_enable()")
	c.RequireSameSchemas()
}

// TestLateJoin exists because tables come and go on all nodes while another one is
// made of one of them, which must have each once, and right.
func TestLateJoin(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithMembers(2), pgtest.WithSettings(on))
	a, b, joiner := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	a.Exec("CREATE TABLE t (a int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 1000)")
	stop := make(chan struct{})
	done := make(chan error)
	for _, n := range []*pgtest.Node{a, b} {
		go func() {
			ticker := time.NewTicker(20 * time.Millisecond) // of a small machine, which has to apply it twice
			defer ticker.Stop()
			for i := 0; ; i++ {
				select {
				case <-stop:
					done <- nil
					return
				case <-ticker.C:
				}
				table, old := fmt.Sprintf("%s_%d", n.Name, i), fmt.Sprintf("%s_%d", n.Name, i/25*25-1)
				for _, sql := range []string{fmt.Sprintf("BEGIN; CREATE TABLE %[1]s (a int PRIMARY KEY); INSERT INTO %[1]s VALUES (1); ALTER TABLE %[1]s ADD b int DEFAULT %[2]d; COMMIT", table, i),
					fmt.Sprintf("CREATE TABLE as_%s AS SELECT 1 AS one", table), fmt.Sprintf(`DROP TABLE IF EXISTS "%[1]s", "as_%[1]s"`, old)} {
					if err := n.Try(sql); err != nil {
						done <- err
						return
					}
				}
			}
		}()
	}
	joiner.CreateNode()
	joiner.Join(a)
	close(stop)
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(pgtest.Explain(err))
		}
	}
	c.WaitMesh(c.Nodes...)
	joiner.Exec("CREATE TABLE by_joiner (a int PRIMARY KEY)", "INSERT INTO by_joiner VALUES (1)")
	c.RequireSameSchemas()
}

// TestKilled exists because a transaction with DDL must be whole or not at all,
// on each node, whoever dies while it is written, sent or applied.
func TestKilled(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(on))
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE TABLE gate (a int PRIMARY KEY)")
	for i, victim := range []*pgtest.Node{a, b, a, b} {
		c.WaitDrained(a, b)
		blocker := b.Session()
		if _, err := pgtest.RunOn(blocker, "BEGIN; LOCK TABLE gate", time.Minute); err != nil {
			t.Fatal(err)
		}
		a.Exec(fmt.Sprintf("BEGIN; CREATE TABLE k%[1]d (a int PRIMARY KEY); INSERT INTO k%[1]d SELECT generate_series(1, 100); CREATE INDEX ON k%[1]d (a); INSERT INTO gate VALUES (%[1]d); ALTER TABLE k%[1]d ADD b int DEFAULT 3; COMMIT", i),
			fmt.Sprintf("CREATE TABLE kas%[1]d AS SELECT g, random() AS r FROM generate_series(1, 100) g", i))
		b.Wait(60*time.Second, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'gate'::regclass", "t")
		open := a.Session()
		if _, err := pgtest.RunOn(open, fmt.Sprintf("BEGIN; CREATE TABLE open%d (a int)", i), time.Minute); err != nil {
			t.Fatal(err)
		}
		victim.Must(victim.Kill9())
		victim.Must(victim.Start())
		if victim != b {
			if _, err := pgtest.RunOn(blocker, "COMMIT", time.Minute); err != nil {
				t.Fatal(err)
			}
		} else if _, err := pgtest.RunOn(open, "ROLLBACK", time.Minute); err != nil {
			t.Fatal(err)
		}
		c.RequireSameSchemas()
	}
}
