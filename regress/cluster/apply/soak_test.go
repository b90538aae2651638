//go:build soak

package apply

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// soakRows is the size of the large transaction, of 430 bytes each.
var soakRows = clustertest.FromEnvironment("BDR_SOAK_ROWS", 5_000_000)

// soakLimit bounds each wait for a large transaction.
const soakLimit = time.Hour

// Bounds of the private memory of one process under a transaction of any size.
// A walsender keeps up to bdr.logical_decoding_work_mem (256 MB) of changes
// before it spills them; what the allocator and the rest need comes on top.
var soakBounds = map[string]int{ // KB, by title
	clustertest.WalsenderTitle: 360 * 1024,
	clustertest.WriterTitle:    30 * 1024,
	clustertest.ManagerTitle:   100 * 1024,
}

// otherStreamLagMax is how late another peer's row may be while a large
// transaction is applied, on a machine where everything runs at once.
const otherStreamLagMax = 10 * time.Second

// twoGigabytes is one transaction of ids first..last.
func twoGigabytes(first, last int) string {
	return fmt.Sprintf(`INSERT INTO bulk SELECT g, md5(g::text), repeat(md5((g * 7)::text), 12) FROM generate_series(%d, %d) g`, first, last)
}

// TestSoakLargeTransaction exists because what holds for a million rows need
// not hold for five: two gigabytes of changes in one transaction must need no
// more memory than a few megabytes do, must not hold up the stream of another
// peer, and must be applied once and whole, whoever dies meanwhile.
func TestSoakLargeTransaction(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithSettings(map[string]string{"max_wal_size": "4GB", "shared_buffers": "256MB"}))
	c.ExecAll("CREATE TABLE bulk (id bigint PRIMARY KEY, a text, b text)", "CREATE TABLE pulse (n bigint PRIMARY KEY, at timestamptz)")
	c.RequireConverged()

	t.Run("undisturbed", func(t *testing.T) {
		c := c.For(t)
		a, b := c.Nodes[0], c.Nodes[1]
		memory, pulse := watchMemory(c), startPulse(c, b)
		inserted := insertLarge(t, a, 1, soakRows)
		began := time.Now()
		seen := progressUntilVisible(t, b, soakRows, nil)
		t.Logf("%d rows: inserted in %v, visible %v later", soakRows, inserted, time.Since(began).Round(time.Second))
		requireProgress(t, seen)
		if lag := pulse.end(); lag > otherStreamLagMax {
			t.Errorf("meanwhile rows of %s came up to %v late on %s", c.Nodes[2].Name, lag, b.Name)
		} else {
			t.Logf("meanwhile rows of %s came at most %v late", c.Nodes[2].Name, lag)
		}
		memory.require(t)
		requireLarge(t, c)
	})

	t.Run("receiver and sender killed in the middle", func(t *testing.T) {
		c := c.For(t)
		a, b := c.Nodes[0], c.Nodes[1]
		memory := watchMemory(c)
		insertLarge(t, a, soakRows+1, 2*soakRows)
		victims := []*pgtest.Node{b, a}
		began := time.Now()
		progressUntilVisible(t, b, 2*soakRows, func(applied int) {
			if len(victims) > 0 && applied > soakRows/3 {
				t.Logf("kill -9 of %s after %d rows", victims[0].Name, applied)
				b.Must(victims[0].Kill9())
				b.Must(victims[0].Start())
				victims = victims[1:]
			}
		})
		if len(victims) > 0 {
			t.Errorf("the transaction was visible before %s was killed", victims[0].Name)
		}
		t.Logf("visible after %v", time.Since(began).Round(time.Second))
		memory.require(t)
		requireLarge(t, c)
	})
}

func insertLarge(t *testing.T, n *pgtest.Node, first, last int) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := n.RunTimeout(n.Database, twoGigabytes(first, last), soakLimit); err != nil {
		t.Fatal(pgtest.Explain(err))
	}
	return time.Since(began).Round(time.Second)
}

// progressUntilVisible returns the numbers of applied changes that the view of
// writers showed until the row with the last id was visible.
func progressUntilVisible(t *testing.T, n *pgtest.Node, last int, each func(applied int)) []int {
	t.Helper()
	var seen []int
	query := fmt.Sprintf("SELECT (SELECT count(*) FROM bulk WHERE id = %d), coalesce((SELECT max(xact_nchanges) FROM bdr.stat_writer), 0)", last)
	pgtest.Eventually(t, soakLimit, "the large transaction is visible", func() (bool, string) {
		rows, err := n.Run(n.Database, query)
		if err != nil {
			return false, pgtest.Explain(err) // killed
		}
		applied, _ := strconv.Atoi(rows[0][1])
		if len(seen) == 0 || seen[len(seen)-1] != applied {
			seen = append(seen, applied)
		}
		if rows[0][0] == "1" {
			return true, ""
		}
		if each != nil {
			each(applied)
		}
		return false, fmt.Sprintf("%d rows applied", applied)
	})
	return seen
}

// requireProgress: somebody who looks sees the transaction grow.
func requireProgress(t *testing.T, seen []int) {
	t.Helper()
	tenths := map[int]bool{}
	for _, applied := range seen {
		tenths[applied*10/soakRows] = true
	}
	if len(tenths) < 8 {
		t.Errorf("bdr.stat_writer showed too little of the progress: %v", slices.Sorted(maps.Keys(tenths)))
	}
}

// requireLarge compares every row, once the slower node has them, too.
func requireLarge(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	position := c.Nodes[0].Value("SELECT pg_current_wal_insert_lsn()")
	c.Nodes[0].Wait(soakLimit, fmt.Sprintf(`SELECT bool_and(confirmed_flush_lsn >= '%s') FROM pg_replication_slots WHERE plugin = 'bdr_output'`,
		position), "t")
	c.RequireConverged()
}

// A pulse is a third node's small transactions, and how late they are.
type pulse struct {
	stop  chan struct{}
	ended chan time.Duration
}

const pulseInterval = 50 * time.Millisecond

// startPulse writes on the third node and looks on the given one.
func startPulse(c *pgtest.Cluster, to *pgtest.Node) *pulse {
	p := &pulse{stop: make(chan struct{}), ended: make(chan time.Duration, 1)}
	from, write, look := c.Nodes[2], c.Nodes[2].Session(), to.Session()
	first := 1
	_, err := pgtest.RunOn(write, "INSERT INTO pulse VALUES (0, clock_timestamp())", time.Minute)
	from.Must(err)
	to.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM pulse", "1")
	go func() {
		late := time.Duration(0)
		ticker := time.NewTicker(pulseInterval)
		defer ticker.Stop()
		for n := first; ; n++ {
			_, err := pgtest.RunOn(write, fmt.Sprintf("INSERT INTO pulse VALUES (%d, clock_timestamp())", n), time.Minute)
			rows, lookErr := pgtest.RunOn(look, "SELECT extract(epoch FROM clock_timestamp() - max(at)) FROM pulse", time.Minute)
			if err = cmp.Or(err, lookErr); err != nil {
				late = soakLimit // a stream that nobody can look at does not go on
			} else if seconds, _ := strconv.ParseFloat(rows[0][0], 64); true {
				late = max(late, time.Duration(seconds*float64(time.Second)))
			}
			select {
			case <-p.stop:
				p.ended <- late.Round(time.Millisecond)
				return
			case <-ticker.C:
			}
		}
	}()
	return p
}

// end returns by how much the latest row was late.
func (p *pulse) end() time.Duration {
	close(p.stop)
	return <-p.ended
}

// memory is the peak of each kind of process on each node.
type memory struct {
	stop  chan struct{}
	ended chan map[string]int // KB, by node and title
}

func watchMemory(c *pgtest.Cluster) *memory {
	m := &memory{stop: make(chan struct{}), ended: make(chan map[string]int, 1)}
	go func() {
		peaks := map[string]int{}
		ticker := time.NewTicker(500 * time.Millisecond)
		defer ticker.Stop()
		for {
			for _, n := range c.Nodes {
				for title := range soakBounds {
					for _, p := range n.ProcessesTitled(title) {
						key := n.Name + " " + title
						peaks[key] = max(peaks[key], p.AnonymousNowKilobytes())
					}
				}
			}
			select {
			case <-m.stop:
				m.ended <- peaks
				return
			case <-ticker.C:
			}
		}
	}()
	return m
}

// require prints the peaks and compares them with the bounds.
func (m *memory) require(t *testing.T) {
	t.Helper()
	close(m.stop)
	peaks := <-m.ended
	for _, key := range slices.Sorted(maps.Keys(peaks)) {
		_, title, _ := strings.Cut(key, " ")
		t.Logf("%s: at most %d MB, the bound is %d MB", key, peaks[key]/1024, soakBounds[title]/1024)
		if peaks[key] > soakBounds[title] {
			t.Errorf("%s has had %d KB, the bound is %d KB", key, peaks[key], soakBounds[title])
		}
	}
}
