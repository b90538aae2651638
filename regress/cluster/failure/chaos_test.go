package failure

import (
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// chaosDuration is how long the writers write; the events lie inside it.
const chaosDuration = 30 * time.Second

// TestChaos exists because servers die and links break while users write.
// Three nodes, writers on all three on shared and own keys; one node is killed
// with all its processes and comes back, then a link is cut both ways and
// heals. Afterwards all nodes are equal, and every commit that was acknowledged
// for a key of the node's own is everywhere.
func TestChaos(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithProxies())
	c.ExecAll(clustertest.LoadTables...)
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	began := time.Now()
	at := func(moment time.Duration) { <-time.After(time.Until(began.Add(moment))) }

	writers := clustertest.StartLoad(c.Nodes...)
	at(6 * time.Second)
	b.Must(b.Kill9())
	at(11 * time.Second)
	b.Must(b.Start())
	at(16 * time.Second)
	c.Link(a, d).Cut()
	c.Link(d, a).Cut()
	at(22 * time.Second)
	c.Link(a, d).Heal()
	c.Link(d, a).Heal()
	at(25 * time.Second)
	c.Link(b, a).Refuse()
	c.Link(b, a).Heal()
	at(chaosDuration)
	writers.End(t)

	c.WaitMesh(c.Nodes...)
	c.RequireConverged()
	writers.RequireAcknowledged(t, c.Nodes...)
}
