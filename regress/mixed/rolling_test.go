package mixed

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// What an application does on a node, by pgbench: it changes a row that others
// change too, and adds one of its own.
const applicationScript = `\set id random(1, 1000)
\set change random(-100, 100)
BEGIN;
UPDATE account SET balance = balance + :change WHERE id = :id;
INSERT INTO history VALUES (':node', :client_id, :id, :change, clock_timestamp());
END;
`

// An application works on one node: what pgbench does must not fail, what the
// loader was told to be committed must not be lost.
type application struct {
	bench *pgtest.Pgbench
	load  *clustertest.Load
}

func startApplication(n *pgtest.Node, script string) application {
	a := application{n.StartPgbench("-c", "2", "-T", "1200", "-P", "1", "-D", "node="+n.Name, "-f", script, "--rate", "100"), clustertest.StartLoad()}
	a.load.Pause = 5 * time.Millisecond
	a.load.AddOwn(n)
	a.load.AddShared(n)
	return a
}

func (a application) stop(t *testing.T) {
	t.Helper()
	a.bench.Stop()
	a.bench.RequireNoneFailed()
	a.load.End(t)
}

// waitApplication returns when the application of a node has worked for some seconds.
func waitApplication(t *testing.T, n *pgtest.Node) {
	t.Helper()
	query := fmt.Sprintf("SELECT count(*) FROM history WHERE node = '%s'", n.Name)
	pgtest.Eventually(t, time.Minute, n.Name+": the application has worked", func() (bool, string) {
		count := n.Value(query)
		return len(count) >= 4 || len(count) == 3 && count >= "300", count
	})
}

// TestRollingUpgradeByJoin exists because this is how a cluster moves to a new major
// version while its users write (docs/upgrade.md): each node is parted, and one of
// the new version joins in its place. The applications of the other nodes see no
// error, and nothing that a node has acknowledged is lost.
func TestRollingUpgradeByJoin(t *testing.T) {
	c := pgtest.NewCluster(t, 6, pgtest.WithMajors(15, 15, 15, 18, 18, 18), pgtest.WithMembers(3))
	old, fresh := c.Nodes[:3], c.Nodes[3:]
	for _, n := range old {
		n.Exec(clustertest.LoadTables...)
		n.Exec("CREATE TABLE account (id int PRIMARY KEY, balance bigint)",
			"CREATE TABLE history (node text, client int, id int, change int, at timestamptz)")
	}
	old[0].Exec("INSERT INTO account SELECT g, 0 FROM generate_series(1, 1000) g")
	c.RequireConvergedAmong(old...)
	script := filepath.Join(c.Dir, "application.sql")
	old[0].Must(os.WriteFile(script, []byte(applicationScript), 0o644))

	members, running, all := slices.Clone(old), map[string]application{}, []application{}
	start := func(n *pgtest.Node) {
		running[n.Name] = startApplication(n, script)
		all = append(all, running[n.Name])
	}
	for _, n := range old {
		start(n)
	}
	for i, joining := range fresh {
		waitApplication(t, old[i])
		through := members[(i+1)%3]
		running[old[i].Name].stop(t) // its users work on another node meanwhile
		replaceNode(old[i], joining, through)
		members[i] = joining
		c.WaitMesh(members...)
		start(joining)
	}
	for _, n := range fresh {
		waitApplication(t, n)
		running[n.Name].stop(t)
	}
	c.RequireConvergedAmong(fresh...)
	for _, a := range all {
		a.load.RequireAcknowledged(t, fresh...)
	}
	for _, n := range fresh {
		n.Wait(time.Minute, "SELECT count(*) FROM bdr.worker_errors", "0")
		n.Wait(time.Minute, "SELECT string_agg(node_name || ' ' || peer_state_name, ', ' ORDER BY node_name) FROM bdr.node_summary", "node4 ACTIVE, node5 ACTIVE, node6 ACTIVE")
		n.Wait(time.Minute, "SELECT count(*) FROM pg_replication_slots WHERE plugin = 'bdr_output' AND NOT temporary AND slot_name NOT LIKE '%hold'", "2")
	}
}

// replaceNode is the statements of docs/upgrade.md.
func replaceNode(leaving, joining, through *pgtest.Node) {
	leaving.Exec("SELECT bdr.wait_node_confirm_lsn()")
	through.Exec(fmt.Sprintf("SELECT bdr.part_node('%s')", leaving.Name))
	through.Wait(2*time.Minute, fmt.Sprintf("SELECT peer_state_name FROM bdr.node_summary WHERE node_name = '%s'", leaving.Name), "PARTED")
	through.Exec(fmt.Sprintf("SELECT bdr.drop_node('%s')", leaving.Name))
	_, err := leaving.Stop(pgtest.Fast)
	leaving.Must(err)
	joining.CreateNode()
	joining.Join(through)
}
