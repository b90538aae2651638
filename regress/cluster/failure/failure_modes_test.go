package failure

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// subscriptionTo shows whether a node applies the changes of another one, and
// what went wrong last.
const subscriptionTo = "SELECT subscription_status || ': ' || COALESCE(last_error, '') FROM bdr.subscription_summary WHERE origin_name = '"

// TestAnErrorStopsOneSubscription exists because a change that cannot be
// applied must stop the stream that it came in, and nothing else: it is neither
// skipped nor lost, the other peers go on, and it is applied once when the
// cause is gone.
func TestAnErrorStopsOneSubscription(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithSettings(clustertest.Impatient))
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, n int)", "CREATE TABLE u (id int PRIMARY KEY)")
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	for i, cause := range []struct{ name, make, change, complaint, end string }{
		{"missing_table", "DROP TABLE u", "INSERT INTO u VALUES (1)", `"public.u"`, "CREATE TABLE u (id int PRIMARY KEY)"},
		{"check_constraint", "ALTER TABLE t ADD CONSTRAINT low CHECK (n < 100)", "INSERT INTO t VALUES (-1, 100)", `"low"`, "ALTER TABLE t DROP CONSTRAINT low"},
	} {
		t.Run(cause.name, func(t *testing.T) {
			c, a, b, d := c.For(t), a.For(t), b.For(t), d.For(t)
			b.Exec(cause.make)
			a.Exec(cause.change)
			pgtest.Eventually(t, clustertest.ResumeLimit, "the subscription names the cause", func() (bool, string) {
				got := b.Value(subscriptionTo + a.Name + "'")
				return strings.Contains(got, cause.complaint), got
			})
			d.Exec("INSERT INTO t VALUES (" + strconv.Itoa(i+1) + ", 1)")
			b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM t WHERE id = "+strconv.Itoa(i+1), "1")
			a.Exec("UPDATE t SET n = n + 1 WHERE id > 0")

			b.Exec(cause.end)
			c.RequireConverged()
		})
	}
}

// TestACopiedDirectoryDoesNotAct exists because a base backup or a file copy of
// a node has everything that the node has, its vote included. The copy must not
// take part, must say why, and must not disturb the original.
func TestACopiedDirectoryDoesNotAct(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY)")
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("INSERT INTO t VALUES (1)")
	c.RequireConverged()
	b.Wait(clustertest.ResumeLimit, clustertest.HoldSlots, "1")

	original := b.DataDirectory() + ".original"
	swap := func(step func() error) {
		t.Helper()
		_, err := b.Stop(pgtest.Fast)
		b.Must(err)
		b.Must(step())
		b.Must(b.Start())
	}
	swap(func() error {
		if err := os.Rename(b.DataDirectory(), original); err != nil {
			return err
		}
		return exec.Command("cp", "-a", original, b.DataDirectory()).Run()
	})
	a.Exec("INSERT INTO t VALUES (2)")
	err := b.Try("SELECT * FROM bdr.get_raft_status()")
	if e := pgtest.PgError(err); e == nil || e.Code != "55000" || !strings.Contains(e.Message, "physical copy") || e.Hint == "" {
		t.Errorf("a function of the copy answered %v", err)
	}
	if !b.LogContains("this database is a physical copy of a node") {
		t.Error("the log of the copy does not say why it does not act")
	}
	if got := b.Value("SELECT count(*) FROM t"); got != "1" {
		t.Errorf("the copy has %s rows: it applied changes", got)
	}
	b.Wait(clustertest.ResumeLimit, clustertest.HoldSlots, "0") // nobody would ever move it

	swap(func() error {
		if err := os.RemoveAll(b.DataDirectory()); err != nil {
			return err
		}
		return os.Rename(original, b.DataDirectory())
	})
	b.Exec("INSERT INTO t VALUES (3)")
	c.WaitMesh(a, b)
	c.RequireConverged()
	if got := a.Value("SELECT count(*) FROM t"); got != "3" {
		t.Errorf("%s rows, expected 3", got)
	}
}
