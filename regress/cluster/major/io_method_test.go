package major

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestIOMethods exists because from PostgreSQL 18 every process may read with the
// help of I/O workers or of io_uring, whose rings the postmaster makes and every
// child inherits, the one with Go's threads too. Copies, changes in both
// directions, deaths and an orderly stop must go as ever. The pages must be read
// from files for that: shared buffers hold little.
func TestIOMethods(t *testing.T) {
	pgtest.Since(t, 18, "io_method")
	for _, method := range []string{"worker", "io_uring", "sync"} {
		t.Run(method, func(t *testing.T) { ioMethod(t, method) })
	}
}

func ioMethod(t *testing.T, method string) {
	settings := map[string]string{"io_method": method, "shared_buffers": "2MB", "effective_io_concurrency": "32"}
	maps.Copy(settings, clustertest.QuickRetries)
	if method == "io_uring" {
		requireRings(t)
	}
	c := pgtest.NewCluster(t, 2, pgtest.WithMembers(1), pgtest.WithSettings(settings))
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 20000) g")
	a.Must(a.Restart()) // what the copy reads is not in shared buffers
	b.Exec("CREATE TABLE warm (id int)")
	b.Exec("DROP TABLE warm")
	c.Member(1)
	c.WaitMesh(a, b)
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf("UPDATE t SET v = v || '%s' WHERE id %% 10 = %d", n.Name, i), fmt.Sprintf("DELETE FROM t WHERE id %% 100 = %d", 50+i))
	}
	c.RequireConverged()

	for _, title := range []string{clustertest.ManagerTitle, clustertest.WriterTitle} {
		before := b.PID()
		b.KillProcess(clustertest.OnlyProcess(t, b, title))
		a.Exec("UPDATE t SET v = 'after " + title + "' WHERE id % 7 = 1")
		b.Wait(time.Minute, "SELECT count(*) > 0 FROM t WHERE v = 'after "+title+"'", "t")
		if b.PID() != before {
			t.Errorf("the postmaster is another one after the death of a %s", title)
		}
		c.WaitMesh(a, b)
		c.RequireConverged()
	}
	b.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'bdr manager'")
	c.WaitMesh(a, b)
	for _, mode := range []pgtest.StopMode{pgtest.Fast, pgtest.Immediate} {
		took, err := b.Stop(mode)
		b.Must(err)
		if took > 5*time.Second {
			t.Errorf("the stop took %s", took)
		}
		a.Exec(fmt.Sprintf("INSERT INTO t VALUES (%d, 'while it was down')", 100000+int(mode)))
		b.Must(b.Start())
		c.WaitMesh(a, b)
	}
	c.RequireConverged()
	if got := b.Value("SHOW io_method"); got != method {
		t.Errorf("io_method is %s", got)
	}
}

// requireRings skips the test where the server was built without io_uring, or the
// kernel does not let it have any.
func requireRings(t *testing.T) {
	t.Helper()
	n := pgtest.StartPlain(t, "probe", map[string]string{"shared_preload_libraries": ""})
	if !strings.Contains(n.Value("SELECT enumvals::text FROM pg_settings WHERE name = 'io_method'"), "io_uring") {
		t.Skip("this server was built without io_uring")
	}
	n.Must(n.Configure(map[string]string{"io_method": "io_uring"}))
	if err := n.Restart(); err != nil {
		t.Skipf("the kernel does not let this server have io_uring: %v", err)
	}
}
