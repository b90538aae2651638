package repset

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

const stormSets, stormTables = 4, 3

// storm are calls about the same few sets and tables from many sessions.
type storm struct {
	t    *testing.T
	wait sync.WaitGroup
	mu   sync.Mutex
	done map[string]int // that succeeded, by what they do and the set
}

func startStorm(t *testing.T, c *pgtest.Cluster, calls int, refusals []string, nodes ...*pgtest.Node) *storm {
	t.Helper()
	for i := range stormTables {
		c.ExecAll(fmt.Sprintf("CREATE TABLE t%d (id int PRIMARY KEY)", i))
	}
	s := &storm{t: t, done: map[string]int{}}
	const sessions = 3
	for i, n := range nodes {
		for k := range sessions {
			conn := n.Session()
			s.wait.Add(1)
			go func() {
				defer s.wait.Done()
				random := rand.New(rand.NewPCG(uint64(i), uint64(k)))
				for range calls {
					s.call(n, conn, random, refusals)
				}
			}()
		}
	}
	return s
}

func (s *storm) call(n *pgtest.Node, conn *pgconn.PgConn, random *rand.Rand, refusals []string) {
	set, table := random.IntN(stormSets), random.IntN(stormTables)
	what := []string{"create", "drop", "add", "remove"}[random.IntN(4)]
	sql := map[string]string{"create": "create_replication_set('s%[1]d')", "drop": "drop_replication_set('s%[1]d')",
		"add": "replication_set_add_table('t%[2]d', 's%[1]d')", "remove": "replication_set_remove_table('t%[2]d', 's%[1]d')"}[what]
	_, err := pgtest.RunOn(conn, fmt.Sprintf("SELECT bdr."+sql, set, table), limit)
	s.mu.Lock()
	defer s.mu.Unlock()
	var fault *pgconn.PgError
	if err == nil {
		s.done[what+strconv.Itoa(set)]++
	} else if !errors.As(err, &fault) || !slices.Contains(refusals, fault.Code) || fault.Message == "consensus is not available" {
		s.t.Errorf("%s: %s of set %d: %v", n.Name, what, set, err)
	}
}

// requireCounted compares what the callers were told with what is there.
func (s *storm) requireCounted(n *pgtest.Node) {
	s.t.Helper()
	made := 0
	for set := range stormSets {
		created, dropped := s.done["create"+strconv.Itoa(set)], s.done["drop"+strconv.Itoa(set)]
		if there := n.Value(fmt.Sprintf("SELECT count(*) FROM bdr.replication_set WHERE set_name = 's%d'", set)); there != strconv.Itoa(created-dropped) {
			s.t.Errorf("set %d was made and dropped %d and %d times, and there are %s", set, created, dropped, there)
		}
		made += created
	}
	if got := n.Value("SELECT last_set_id FROM bdr.replication_set_call"); got != strconv.Itoa(made) {
		s.t.Errorf("%d sets were made, and the last one has id %s", made, got)
	}
}

// TestSetsFromManyNodes exists because sets are changed on several nodes at once, and a
// node that was restarted must have the same as the others.
func TestSetsFromManyNodes(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	s := startStorm(t, c, 25, []string{"42710", "42704"}, c.Nodes...)
	s.wait.Wait()
	c.Nodes[2].Must(c.Nodes[2].Restart())
	agreed(c)
	s.requireCounted(c.Nodes[2])
}

// TestSetsOutliveTheirLeader exists because a call whose answer is lost with the leader is
// proposed again, and must be carried out once, on nodes that were restarted too.
func TestSetsOutliveTheirLeader(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	a := c.Nodes[0]
	if got := a.Value("SELECT leader_name FROM bdr.get_raft_status()"); got != a.Name {
		t.Fatalf("node %s leads", got)
	}
	s := startStorm(t, c, 300, []string{"42710", "42704", "55000"}, c.Nodes[1:]...)
	c.Nodes[1].Wait(limit, "SELECT last_set_id::int8 > 20 FROM bdr.replication_set_call", "t")
	a.KillProcess(clustertest.OnlyProcess(t, a, clustertest.ManagerTitle))
	a.Wait(limit, "SELECT count(*) > 0 FROM bdr.replication_set_call", "t")
	s.wait.Wait()
	agreed(c)
	s.requireCounted(a)
}

// TestChoicesAtOnce exists because two sessions may choose for one node, and each waits
// until its choice, or a later one, counts.
func TestChoicesAtOnce(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	b := c.Nodes[1]
	c.Nodes[0].Exec("SELECT bdr.create_replication_set('one')", "SELECT bdr.create_replication_set('other')")
	agreed(c)
	var wait sync.WaitGroup
	for _, set := range []string{"one", "other", "one", "other"} {
		wait.Add(1)
		go func() {
			defer wait.Done()
			conn := b.Session()
			for range 5 {
				if _, err := pgtest.RunOn(conn, "SELECT bdr.alter_node_replication_sets('node2', '{app_group,"+set+"}')", limit); err != nil {
					t.Errorf("choose set %s: %v", set, err)
				}
			}
		}()
	}
	wait.Wait()
	choose(b, "one")
	if got := b.Value("SELECT sub_repsets FROM bdr.local_node"); got != "{one}" {
		t.Errorf("the node has chosen %s", got)
	}
	choose(b)
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY)")
	c.Nodes[0].Exec("INSERT INTO t VALUES (1)")
	b.Wait(limit, "SELECT count(*) FROM t", "1")
}
