package apply

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestLentStream exists because a writer reads the peer's connection itself
// where it can, and the manager everywhere else: both ways must carry the same
// under all that ends a stream, and it must be known which one was tried.
func TestLentStream(t *testing.T) {
	for _, way := range []struct {
		name    string
		options []pgtest.Option
		tls     string
		lent    bool
	}{
		{"plain", nil, "false", true},
		{"tls", []pgtest.Option{pgtest.WithTLS()}, "true", false},
	} {
		t.Run(way.name, func(t *testing.T) {
			c := pgtest.NewCluster(t, 2, append(way.options, pgtest.WithSettings(clustertest.QuickRetries))...)
			c.ExecAll(clustertest.LoadTables...)
			a, b := c.Nodes[0], c.Nodes[1]
			a.Wait(clustertest.ResumeLimit, "SELECT DISTINCT s.ssl FROM pg_stat_replication JOIN pg_stat_ssl s USING (pid)", way.tls[:1])
			a.Exec("INSERT INTO ledger VALUES ('first', 1, '')")
			c.RequireConverged()
			pgtest.Eventually(t, clustertest.ResumeLimit, fmt.Sprintf("the stream is lent: %v", way.lent), func() (bool, string) {
				return hasServerConnection(waitWriter(t, b)) == way.lent, "it is not so"
			})
			testStreamEnds(t, c)
		})
	}
}

// testStreamEnds ends the stream from a to b in every way while both write.
func testStreamEnds(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	sub := "(SELECT sub_name FROM bdr.subscription_summary WHERE origin_name = 'node1')"
	writers := clustertest.StartLoad(a, b)
	for _, immediate := range []string{"true", "false"} {
		writers.WaitCommits(t, 200)
		b.Exec(fmt.Sprintf("SELECT bdr.alter_subscription_disable(%s, immediate := %s)", sub, immediate))
		applied := b.Value("SELECT max(n) FROM ledger WHERE node = 'node1'")
		writers.WaitCommits(t, 200)
		if now := b.Value("SELECT max(n) FROM ledger WHERE node = 'node1'"); now != applied {
			t.Errorf("%s rows were applied after the subscription was disabled (immediate %s), %s before", now, immediate, applied)
		}
		b.Exec("SELECT bdr.alter_subscription_enable(" + sub + ")")
	}
	for range 3 {
		writers.WaitCommits(t, 200)
		a.Exec("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE plugin = 'bdr_output' AND active")
		writers.WaitCommits(t, 200)
		b.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'bdr writer'")
	}
	writers.WaitCommits(t, 200)
	b.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'bdr manager'")
	writers.WaitCommits(t, 200)
	writers.End(t)

	// a transaction of many frames, which is disturbed once
	const rows = 200000
	a.Exec(fmt.Sprintf("INSERT INTO ledger SELECT 'large', g, repeat('x', 100) FROM generate_series(1, %d) g", rows))
	pgtest.Eventually(t, clustertest.ResumeLimit, "the large transaction is being applied", func() (bool, string) {
		got := b.Value("SELECT count(*) FROM bdr.stat_writer WHERE xact_nchanges > 1000")
		return got != "0" || b.Value("SELECT count(*) FROM ledger WHERE node = 'large'") != "0", got
	})
	a.Exec("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE plugin = 'bdr_output' AND active")
	c.WaitMesh(a, b)
	c.RequireConverged()
	writers.RequireAcknowledged(t, a, b)
}

// hasServerConnection says whether a process has a TCP connection.
func hasServerConnection(p pgtest.Process) bool {
	tcp, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", p.PID))
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.PID))
	for _, link := range links {
		target, _ := os.Readlink(link)
		inode, isSocket := strings.CutPrefix(target, "socket:[")
		if isSocket && strings.Contains(string(tcp), " "+strings.TrimSuffix(inode, "]")+" ") {
			return true
		}
	}
	return false
}
