package conflict

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestJoinUnderConflict exists because a join copies the rows of one node at one
// moment, and the others' versions of the same rows arrive before and after it
// in any order. The old nodes write the same few rows and values all the time,
// also rows that were deleted just now; the links between them lag. In the end
// the new node has what the others have.
//
// BDR_SEED plays another one.
func TestJoinUnderConflict(t *testing.T) {
	joinUnderConflict(t, clustertest.SeedOr(1))
}

// joinUnderConflict lets a third or a fourth node join.
func joinUnderConflict(t *testing.T, seed uint64) {
	t.Helper()
	t.Logf("BDR_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	old := 2 + int(seed%2)
	c := pgtest.NewCluster(t, old+1, pgtest.WithProxies(), pgtest.WithMembers(old), pgtest.WithSettings(clustertest.Impatient))
	joining := c.Nodes[old]
	for _, n := range c.Nodes[:old] {
		n.Exec(clustertest.ClashTables...)
	}
	c.RequireConvergedAmong(c.Nodes[:old]...)
	clustertest.ExplainClashes(t, c)

	writers := clustertest.StartLoad()
	for _, n := range c.Nodes[:old] {
		writers.AddClashes(n, seed)
	}
	heal := lag(c, old, rand.New(rand.NewPCG(seed, 1)))
	writers.WaitCommits(t, 300)
	joining.CreateNode()
	joining.Join(c.Nodes[random.IntN(old)])
	joining.Wait(clustertest.ResumeLimit, "SELECT peer_state_name FROM bdr.local_node_summary", "ACTIVE")
	writers.AddClashes(joining, seed)
	writers.WaitCommits(t, 700)
	heal()
	writers.End(t)

	c.WaitMesh(c.Nodes...)
	c.RequireConverged()
	for _, n := range c.Nodes {
		clustertest.RequireOneEach(t, n)
	}
	clustertest.RequireClashes(t, c, 100)
	if got := joining.Value("SELECT count(*) > 0 FROM bdr.conflict_history"); got != "t" {
		t.Errorf("%s met no conflict", joining.Name)
	}
}

// lag changes what is wrong with the links between the first nodes, again and
// again, until the returned function heals them: they are late by up to 0.3
// seconds, and at times silent.
func lag(c *pgtest.Cluster, nodes int, random *rand.Rand) (heal func()) {
	var links []*pgtest.Link
	for _, from := range c.Nodes[:nodes] {
		for _, to := range c.Nodes[:nodes] {
			if from != to {
				links = append(links, c.Link(from, to))
			}
		}
	}
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for round := random.IntN(4); ; round++ {
			for i, l := range links {
				l.Heal()
				if round%4 == i%4 {
					l.Cut()
				} else {
					l.Delay(time.Duration(random.IntN(300)) * time.Millisecond)
				}
			}
			select {
			case <-stop:
				for _, l := range links {
					l.Heal()
				}
				return
			case <-time.After(time.Duration(200+random.IntN(500)) * time.Millisecond):
			}
		}
	})
	return func() {
		close(stop)
		running.Wait()
	}
}
