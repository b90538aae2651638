package repset

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgtest"
)

// TestSetsFromManyNodes exists because sets are changed on several nodes at once, and a
// node that is restarted meanwhile must come to the same as the others.
func TestSetsFromManyNodes(t *testing.T) {
	const sessions, calls, sets, tables = 3, 25, 4, 3
	c := pgtest.NewCluster(t, 3)
	for i := range tables {
		c.ExecAll(fmt.Sprintf("CREATE TABLE t%d (id int PRIMARY KEY)", i))
	}
	var wait sync.WaitGroup
	var mu sync.Mutex
	done := map[string]int{} // calls that succeeded, by function and set
	for i, n := range c.Nodes {
		for k := range sessions {
			wait.Add(1)
			go func() {
				defer wait.Done()
				random := rand.New(rand.NewPCG(uint64(i), uint64(k)))
				conn := n.Session()
				for range calls {
					set, table := random.IntN(sets), random.IntN(tables)
					what := []string{"create", "drop", "add", "remove"}[random.IntN(4)]
					sql := map[string]string{"create": "create_replication_set('s%[1]d')", "drop": "drop_replication_set('s%[1]d')",
						"add": "replication_set_add_table('t%[2]d', 's%[1]d')", "remove": "replication_set_remove_table('t%[2]d', 's%[1]d')"}[what]
					_, err := pgtest.RunOn(conn, fmt.Sprintf("SELECT bdr."+sql, set, table), limit)
					var fault *pgconn.PgError
					mu.Lock()
					switch {
					case err == nil:
						done[fmt.Sprint(what, set)]++
					case !errors.As(err, &fault) || fault.Code != "42710" && fault.Code != "42704":
						t.Errorf("%s: %s of set %d: %v", n.Name, what, set, err)
					}
					mu.Unlock()
				}
			}()
		}
	}
	wait.Wait()
	c.Nodes[2].Must(c.Nodes[2].Restart())
	agreed(c)
	made := 0
	for set := range sets {
		there := c.Nodes[2].Value(fmt.Sprintf("SELECT count(*) FROM bdr.replication_set WHERE set_name = 's%d'", set))
		if got := fmt.Sprint(done[fmt.Sprint("create", set)] - done[fmt.Sprint("drop", set)]); got != there {
			t.Errorf("set %d was made and dropped %d and %d times, and there are %s", set, done[fmt.Sprint("create", set)], done[fmt.Sprint("drop", set)], there)
		}
		made += done[fmt.Sprint("create", set)]
	}
	if got := c.Nodes[2].Value("SELECT last_set_id FROM bdr.replication_set_call"); got != fmt.Sprint(made) {
		t.Errorf("%d sets were made, and the last one has id %s", made, got)
	}
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
