package major

import (
	"fmt"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestOriginsHaveALimitOfTheirOwn exists because from PostgreSQL 18 origins are
// not limited by max_replication_slots any more: who is told to raise that raises
// it in vain.
func TestOriginsHaveALimitOfTheirOwn(t *testing.T) {
	const setting = "max_active_replication_origins"
	pgtest.Since(t, 18, setting)
	c := pgtest.NewCluster(t, 2, pgtest.WithMembers(0), pgtest.WithSettings(clustertest.QuickRetries))
	a, b := c.Nodes[0], c.Nodes[1]
	set := func(n *pgtest.Node, value int) {
		t.Helper()
		n.Must(n.Configure(map[string]string{setting: fmt.Sprint(value)}))
		n.Must(n.Restart())
	}
	requireNamed := func(n *pgtest.Node, call string) {
		t.Helper()
		e := pgtest.PgError(n.Try(call))
		if e == nil || e.Code != clustertest.LacksResource || !strings.HasPrefix(e.Message, setting+" is too small") ||
			!strings.Contains(e.Hint, "Set "+setting+" to at least") {
			t.Errorf("%s is answered with %v", call, e)
		}
	}
	createNode := "SELECT bdr.create_node(node_name := '%s', local_dsn := '%s')"
	set(a, 0)
	requireNamed(a, fmt.Sprintf(createNode, a.Name, a.NodeDSN))
	set(a, 10)
	c.Member(0)
	set(b, 2)
	b.Exec(fmt.Sprintf(createNode, b.Name, b.NodeDSN))
	requireNamed(b, "SELECT bdr.join_node_group(join_target_dsn := '"+a.NodeDSN+"')")
	set(b, 10)
	b.Join(a)
	c.WaitMesh(a, b)

	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY)")
	a.Exec("INSERT INTO t VALUES (1)")
	c.RequireConverged()
	set(b, 0)
	a.Exec("INSERT INTO t VALUES (2)")
	b.Wait(clustertest.ResumeLimit, "SELECT concat_ws(' ', error_message, error_hint) LIKE '%"+setting+"%' AND error_retries > 1 FROM bdr.worker_errors", "t")
	for _, row := range b.Rows("SELECT worker_role, error_sqlstate, error_message, error_hint FROM bdr.worker_errors") {
		t.Log(row)
	}
	if got := b.Value("SELECT count(*) FROM t"); got != "1" {
		t.Errorf("%s rows without an origin", got)
	}
	set(b, 10)
	c.RequireConverged()
}
