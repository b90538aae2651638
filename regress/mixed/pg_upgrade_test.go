package mixed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

const (
	// versions are the time and the origin of the versions of rows that nobody
	// changes any more; they decide conflicts.
	versions = `SELECT string_agg(concat_ws(' ', k.who, c.timestamp, c.roident), ',' ORDER BY k.who)
 FROM kept k, pg_xact_commit_timestamp_origin(k.xmin) c`
	kinds   = "SELECT string_agg(relname || ' ' || seqkind, ', ' ORDER BY relname) FROM bdr.sequences"
	origins = `SELECT string_agg(roident || ' ' || roname, ', ' ORDER BY roident) FROM pg_replication_origin`
)

// TestUpgradeInPlace exists because most users upgrade a server with pg_upgrade: each
// of three nodes goes from 15 to 18 in place, and stays the node that it is, with its
// sequences. The others take changes all the time, and nothing that was acknowledged
// is lost.
func TestUpgradeInPlace(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithMajors(15, 15, 15))
	makeTables(c)
	load := clustertest.StartLoad(c.Nodes...)
	load.WaitCommits(t, 500)
	for i := range c.Nodes {
		upgradeInPlace(t, c, i)
		load.WaitCommits(t, 500)
	}
	load.End(t)
	c.RequireConverged()
	load.RequireAcknowledged(t, c.Nodes...)
	requireNoValueTwice(t, c)
	for _, n := range c.Nodes {
		if got := n.Value("SELECT current_setting('server_version_num')::int / 10000"); got != "18" {
			t.Errorf("%s runs PostgreSQL %s", n.Name, got)
		}
		n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.subscription_summary WHERE subscription_status = 'replicating'", "2")
		n.Wait(clustertest.ResumeLimit, "SELECT raft_stat <> '' AND leader_name <> '' FROM bdr.get_raft_status()", "t")
	}
}

func makeTables(c *pgtest.Cluster) {
	c.ExecAll(clustertest.LoadTables...)
	c.ExecAll("CREATE TABLE bench (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), who text)", "CREATE TABLE kept (who text PRIMARY KEY)")
	for _, kind := range []string{"snowflakeid", "timeshard", "galloc"} {
		c.ExecAll(fmt.Sprintf("SET bdr.default_sequence_kind = %[1]s; CREATE TABLE by_%[1]s (id bigint GENERATED ALWAYS AS IDENTITY, s bigserial, who text)", kind))
	}
	for _, n := range c.Nodes {
		n.Exec("INSERT INTO kept VALUES ('" + n.Name + "')")
		drawValues(n)
	}
	c.RequireConverged()
}

func drawValues(n *pgtest.Node) {
	for _, kind := range []string{"snowflakeid", "timeshard", "galloc"} {
		n.Exec(fmt.Sprintf("INSERT INTO by_%s (who) SELECT '%s' FROM generate_series(1, 100)", kind, n.Name))
	}
}

func requireNoValueTwice(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	for _, kind := range []string{"snowflakeid", "timeshard", "galloc"} {
		const query = "SELECT count(*) > 0 AND count(*) = count(DISTINCT id) AND count(*) = count(DISTINCT s) FROM by_%s"
		if got := c.Nodes[0].Value(fmt.Sprintf(query, kind)); got != "t" {
			t.Errorf("values of %s are there twice", kind)
		}
	}
}

// upgradeInPlace is docs/upgrade.md, while clients of the other nodes see nothing
// of it.
func upgradeInPlace(t *testing.T, c *pgtest.Cluster, i int, options ...string) {
	t.Helper()
	n := c.Nodes[i]
	var clients []*pgtest.Pgbench
	for j, other := range c.Nodes {
		if j != i {
			script := other.Script(fmt.Sprintf("INSERT INTO bench (who) VALUES ('%s');", other.Name))
			clients = append(clients, other.StartPgbench("-c", "2", "-R", "100", "-T", "600", "-f", script))
		}
	}
	drawValues(n)
	n.Exec("SELECT bdr.prepare_pg_upgrade()")
	requireFenced(t, n)
	before, originsBefore, kindsBefore := n.Value(versions), n.Value(origins), n.Value(kinds)
	_, err := n.Stop(pgtest.Fast)
	n.Must(err)
	said, err := n.UpgradeTo(18, options...)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	n.Must(n.Start())
	requireFenced(t, n)
	n.Exec("SELECT bdr.finish_pg_upgrade()")
	if after := n.Value(kinds); after != kindsBefore {
		t.Errorf("%s: sequences are %s after the upgrade, instead of %s", n.Name, after, kindsBefore)
	}
	drawValues(n)
	n.Must(n.Kill9()) // what was restored must last
	n.Must(n.Start())
	if after := n.Value(versions); after != before {
		t.Errorf("%s: versions of rows are others after the upgrade: %s instead of %s", n.Name, after, before)
	}
	if after := n.Value(origins); after != originsBefore {
		t.Errorf("%s: origins are %s after the upgrade, instead of %s", n.Name, after, originsBefore)
	}
	c.WaitMesh(c.Nodes...)
	drawValues(n)
	for _, b := range clients {
		b.Stop()
	}
}

// requireFenced requires that the node takes no changes, and says what to do.
func requireFenced(t *testing.T, n *pgtest.Node) {
	t.Helper()
	e := pgtest.PgError(n.Try("INSERT INTO bench (who) VALUES ('nobody')"))
	if e == nil || e.Code != "25006" || e.Hint == "" {
		t.Errorf("%s takes changes while it is being upgraded: %v", n.Name, e)
	}
}

// TestUpgradeFrom17 exists because from 17 on pg_upgrade takes logical slots along,
// and refuses to run while they have anything to send.
func TestUpgradeFrom17(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithMajors(17, 17))
	makeTables(c)
	load := clustertest.StartLoad(c.Nodes...)
	load.WaitCommits(t, 500)
	upgradeInPlace(t, c, 0, "--link")
	load.WaitCommits(t, 500)
	load.End(t)
	c.RequireConverged()
	load.RequireAcknowledged(t, c.Nodes...)
	requireNoValueTwice(t, c)
}

// TestUpgradeGivenUp exists because an upgrade may be put off at every step: the
// node goes on as it was, and what fails says what to type.
func TestUpgradeGivenUp(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithMajors(15, 15))
	n, peer := c.Nodes[0], c.Nodes[1]
	makeTables(c)
	refused := func(sql, text string) {
		t.Helper()
		if e := pgtest.PgError(n.Try(sql)); e == nil || e.Code != "55000" || !strings.Contains(e.Message+e.Detail, text) || e.Hint == "" {
			t.Errorf("%s: %v, expected a refusal with %q and a hint", sql, e, text)
		}
	}
	refused("SELECT bdr.finish_pg_upgrade()", "no upgrade of this node is under way")
	refused("SELECT bdr.cancel_pg_upgrade()", "no upgrade of this node is under way")

	// A peer that is away would never get what it has not read.
	_, err := peer.Stop(pgtest.Fast)
	n.Must(err)
	n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM pg_replication_slots WHERE active AND plugin = 'bdr_output'", "0")
	refused("SELECT bdr.prepare_pg_upgrade()", "not all peers are connected")
	n.Exec("INSERT INTO bench (who) VALUES ('node1')")
	n.Must(peer.Start())
	c.WaitMesh(c.Nodes...)

	// A transaction that has written is waited for; a cancelled call changes nothing.
	release, _ := clustertest.Hold(t, n, "INSERT INTO bench (who) VALUES ('late')")
	n.Exec("SET statement_timeout = '2s'")
	if e := pgtest.PgError(n.Try("SELECT bdr.prepare_pg_upgrade()")); e == nil || e.Code != "57014" {
		t.Errorf("preparing the node did not wait for a transaction: %v", e)
	}
	n.Exec("RESET statement_timeout")
	pgtest.Eventually(t, clustertest.ResumeLimit, "the node takes changes again", func() (bool, string) {
		err := n.Try("INSERT INTO bench (who) VALUES ('node1')")
		return err == nil, fmt.Sprint(err)
	})
	release()
	c.WaitMesh(c.Nodes...)

	// Prepared, it stays so over a restart, and says why.
	n.Exec("SELECT bdr.prepare_pg_upgrade()")
	refused("SELECT bdr.prepare_pg_upgrade()", "being upgraded")
	refused("SELECT bdr.part_node('node2')", "being upgraded")
	n.Must(n.Restart())
	requireFenced(t, n)
	refused("SELECT bdr.finish_pg_upgrade()", "this server has not been upgraded")
	n.Exec("SELECT bdr.cancel_pg_upgrade()", "INSERT INTO bench (who) VALUES ('node1')")
	c.WaitMesh(c.Nodes...)
	peer.Exec("INSERT INTO bench (who) VALUES ('node2')")
	c.RequireConverged()

	// Without its files a node does not act.
	n.Must(n.Kill9())
	n.Must(os.RemoveAll(filepath.Join(n.DataDirectory(), "bdr")))
	n.Must(n.Start())
	refused("SELECT bdr.part_node('node2')", "has lost its files")
}

// TestPgUpgradeOfUnpreparedNode exists because a node that has not been prepared loses
// what its peers have not read: the program refuses before it changes anything. To
// check is allowed at any time.
func TestPgUpgradeOfUnpreparedNode(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithMajors(15, 15))
	n := c.Nodes[0]
	_, err := n.Stop(pgtest.Fast)
	n.Must(err)
	if said, err := n.UpgradeTo(18); err == nil || !strings.Contains(said, "is not prepared") || !strings.Contains(said, "bdr.prepare_pg_upgrade()") {
		t.Errorf("bdr_pg_upgrade: %v: %s", err, said)
	}
	peer := c.Nodes[1]
	_, err = peer.Stop(pgtest.Fast)
	peer.Must(err)
	if said, err := peer.UpgradeTo(18, "--check"); err != nil || !strings.Contains(said, "Clusters are compatible") {
		t.Errorf("bdr_pg_upgrade --check: %v: %s", err, said)
	}
}
