package update

import (
	"fmt"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestNewerObjects exists because somebody will install an older version behind
// ALTER EXTENSION bdr UPDATE: a library that does not know the SQL objects must do
// nothing with them, and go on when it is the right one again.
func TestNewerObjects(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE t (a int PRIMARY KEY)")
	version := b.Value("SELECT extversion FROM pg_extension WHERE extname = 'bdr'")
	pretend := func(version string) {
		b.Exec(fmt.Sprintf("UPDATE pg_extension SET extversion = '%s' WHERE extname = 'bdr'", version))
		b.Must(b.Restart())
	}

	pretend("9.0.0")
	a.Exec("INSERT INTO t VALUES (1)")
	pgtest.Eventually(t, clustertest.ResumeLimit, "the log says what is wrong", func() (bool, string) {
		return b.LogContains("are those of bdr 9.0.0, the server has loaded bdr "+version) && b.LogContains("Install bdr 9.0.0 or later"), b.LogTail(5)
	})
	err := pgtest.PgError(b.Try("SELECT bdr.part_node('node1')"))
	if err == nil || err.Code != "55000" || !strings.Contains(err.Hint, "Install bdr 9.0.0 or later") {
		t.Errorf("a function of the manager: %+v", err)
	}
	b.Wait(clustertest.ResumeLimit, "SELECT status || ': ' || message FROM bdr.monitor_group_versions()",
		"WARNING: the bdr manager of this database does not run, or must not act")
	b.Exec("INSERT INTO t VALUES (2)")
	a.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM t", "2") // the peer reads what it writes
	a.Wait(clustertest.ResumeLimit, "SELECT status FROM bdr.monitor_group_versions()", "WARNING")
	if got := b.Value("SELECT count(*) FROM t"); got != "1" {
		t.Errorf("%s rows: the node applies", got)
	}

	pretend(version)
	c.RequireConverged()
	a.Wait(clustertest.ResumeLimit, "SELECT status FROM bdr.monitor_group_versions()", "OK")
}

// TestGroupVersions exists because the two are what an administrator looks at
// before and after an update; he need not be a superuser.
func TestGroupVersions(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithMembers(1))
	n, alone := c.Nodes[0], c.Nodes[1]
	own := n.Value("SELECT concat_ws(' ', current_setting('server_version'), bdr.bdr_version(), extversion) FROM pg_extension WHERE extname = 'bdr'")
	n.Exec("CREATE ROLE watcher LOGIN", "GRANT bdr_monitor TO watcher", "GRANT USAGE ON SCHEMA bdr TO watcher", "CREATE ROLE nobody")
	n.Exec("SET ROLE watcher")
	got := n.Value(`SELECT concat_ws(' ', postgres_version, bdr_version, extension_version) FROM bdr.group_versions_details
		WHERE node_name = 'node1' AND is_reachable AND protocol_min = 2 AND protocol_max = 3 AND last_seen > now() - interval '1 minute'`)
	if got != own {
		t.Errorf("versions are %q, the node has %q", got, own)
	}
	n.Wait(clustertest.ResumeLimit, "SELECT status || ': ' || message FROM bdr.monitor_group_versions()", "OK: all nodes have the same versions")
	n.Exec("RESET ROLE", "SET ROLE nobody")
	for _, sql := range []string{"SELECT * FROM bdr.group_versions_details", "SELECT * FROM bdr.monitor_group_versions()"} {
		if err := pgtest.PgError(n.Try(sql)); err == nil || err.Code != "42501" {
			t.Errorf("%s by anybody: %+v", sql, err)
		}
	}
	n.Exec("RESET ROLE")
	alone.Wait(clustertest.ResumeLimit, "SELECT status || ': ' || message FROM bdr.monitor_group_versions()",
		"UNKNOWN: this database is not a member of a node group")
}
