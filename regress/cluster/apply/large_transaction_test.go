package apply

import (
	"fmt"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// Bounds of what one process may need on top of what it has when idle. The
// transaction is about 250 MB; decoding keeps 64 MB before it spills
// (bdr.logical_decoding_work_mem as set here), everything else streams.
const (
	senderGrowthMax  = 120 * 1024 // KB
	writerGrowthMax  = 48 * 1024
	managerGrowthMax = 64 * 1024
)

// TestLargeTransactionNeedsLittleMemory exists because the obvious way to
// apply a transaction is to collect it first, and then a bulk load on one node
// ends the others by running out of memory.
func TestLargeTransactionNeedsLittleMemory(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(map[string]string{"bdr.logical_decoding_work_mem": "64MB"}))
	c.ExecAll("CREATE TABLE bulk (id int PRIMARY KEY, a text, b text)", "CREATE TABLE small (id int PRIMARY KEY)")
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("INSERT INTO bulk VALUES (0, '', '')") // warms up the writer: relation, plans, catalogs
	c.RequireConverged()
	watched := []*watch{
		newWatch(t, a, clustertest.WalsenderTitle, senderGrowthMax),
		newWatch(t, b, clustertest.WriterTitle, writerGrowthMax),
		newWatch(t, b, clustertest.ManagerTitle, managerGrowthMax),
	}
	done := make(chan error, 1)
	go func() {
		_, err := a.Run(a.Database, `INSERT INTO bulk SELECT g, md5(g::text) || md5((g + 1)::text) || md5((g + 2)::text),
			repeat('x', 100) FROM generate_series(1, 1000000) g`)
		done <- err
	}()
	a.Must(observe(t, watched, done, b))
	for _, w := range watched {
		t.Logf("%s on %s: %d KB idle, at most %d KB", w.title, w.node.Name, w.idle, w.peak)
		if w.peak-w.idle > w.growthMax {
			t.Errorf("%s on %s grew by %d KB, the bound is %d KB", w.title, w.node.Name, w.peak-w.idle, w.growthMax)
		}
	}
	b.Exec("INSERT INTO small VALUES (1)")
	c.RequireConverged()
}

// watch is the memory of one process.
type watch struct {
	node       *pgtest.Node
	title      string
	process    pgtest.Process
	idle, peak int
	growthMax  int
}

func newWatch(t *testing.T, n *pgtest.Node, title string, growthMax int) *watch {
	t.Helper()
	p := clustertest.OnlyProcess(t, n, title)
	return &watch{node: n, title: title, process: p, idle: p.AnonymousKilobytes(), growthMax: growthMax}
}

// observe measures until the insert has ended and its rows are visible on b.
func observe(t *testing.T, watched []*watch, done chan error, b *pgtest.Node) error {
	t.Helper()
	var result error
	running := true
	pgtest.Eventually(t, 3*time.Minute, "the bulk insert is visible on the other node", func() (bool, string) {
		for _, w := range watched {
			w.peak = max(w.peak, w.process.AnonymousKilobytes())
		}
		select {
		case result = <-done:
			running = false
		default:
		}
		if result != nil {
			return true, ""
		}
		seen := b.Value("SELECT count(*) FROM bulk WHERE id = 1000000")
		return !running && seen == "1", fmt.Sprintf("running %v, seen %s", running, seen)
	})
	return result
}
