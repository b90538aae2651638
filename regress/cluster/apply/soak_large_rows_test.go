//go:build soak

package apply

import (
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestSoakRowOfMoreThanOneGigabyte exists because the values of a row may have
// 1 GB each, where memory for one thing ends at 1 GB: the sender could not send
// such a row, nor be told to leave it out. It takes 5 GB of memory and as much
// disk.
func TestSoakRowOfMoreThanOneGigabyte(t *testing.T) {
	settings := map[string]string{"shared_buffers": "128MB", "max_wal_size": "8GB"}
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(settings))
	c.ExecAll(largeTable)
	a, b := c.Nodes[0], c.Nodes[1]
	sub := "(SELECT sub_name FROM bdr.subscription_summary)"
	b.Exec("SELECT bdr.alter_subscription_disable(" + sub + ")")
	a.Exec("INSERT INTO large VALUES (1), (2)")
	for _, column := range []string{"a", "b", "c"} {
		a.Exec("UPDATE large SET " + column + " = repeat(md5('" + column + "'), 400 * 1024 * 32)::bytea WHERE id = 1")
	}
	began := time.Now()
	peak := watchPeaks(a, b)
	b.Exec("SELECT bdr.alter_subscription_enable(" + sub + ")")
	a.Exec("INSERT INTO large SELECT 3, a, b, c FROM large WHERE id = 1")
	b.Wait(5*time.Minute, "SELECT count(*) FROM large", "3")
	t.Logf("applied after %s; peaks in MB: %v", time.Since(began).Round(time.Millisecond), peak())
	for _, n := range c.Nodes {
		sums := "SELECT string_agg(concat_ws(' ', id, length(a), length(b), length(c), md5(substr(a, 1, 4096)), md5(substr(c, 419000000, 4096))), ',' ORDER BY id) FROM large"
		t.Logf("%s: %s", n.Name, n.Value(sums))
		if n.Value(sums) != a.Value(sums) {
			t.Errorf("the rows of %s differ", n.Name)
		}
	}
}

// watchPeaks notes the largest sizes of the processes on the way of a row.
func watchPeaks(a, b *pgtest.Node) (peak func() map[string]int) {
	sizes, stop, stopped := map[string]int{}, make(chan struct{}), make(chan struct{})
	note := func(n *pgtest.Node, title string) {
		for _, p := range n.ProcessesTitled(title) {
			sizes[title] = max(sizes[title], p.AnonymousKilobytes()>>10)
		}
	}
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
				note(a, clustertest.WalsenderTitle)
				note(b, clustertest.ManagerTitle)
				note(b, clustertest.WriterTitle)
			}
		}
	}()
	return func() map[string]int {
		close(stop)
		<-stopped
		return sizes
	}
}
