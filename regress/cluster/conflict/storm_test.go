package conflict

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

func stormKey(x *rand.Rand) int { return 1 + x.IntN(stormKeys) }

var storms = []storm{
	{"keys", 3, []string{"CREATE TABLE storm (id int PRIMARY KEY, v bigint)"}, changeKey},
	{"two_nodes", 2, []string{"CREATE TABLE storm (id int PRIMARY KEY, v bigint)"}, changeKey},
	{"unique", 3, []string{"CREATE TABLE storm (id int PRIMARY KEY, v int UNIQUE)"}, func(x *rand.Rand) string {
		if x.IntN(2) == 0 {
			return fmt.Sprintf("DELETE FROM storm WHERE id = %d", stormKey(x))
		}
		return fmt.Sprintf("INSERT INTO storm VALUES (%d, %d) ON CONFLICT DO NOTHING", stormKey(x), stormKey(x))
	}},
	{"moves", 3, []string{"CREATE TABLE storm (id int PRIMARY KEY, v bigint)"}, func(x *rand.Rand) string {
		if x.IntN(2) == 0 {
			return fmt.Sprintf("UPDATE storm SET id = %d WHERE id = %d", stormKey(x), stormKey(x))
		}
		return changeKey(x)
	}},
	{"held_rows", 3, []string{"CREATE TABLE storm (id int PRIMARY KEY, v bigint)"}, func(x *rand.Rand) string {
		if x.IntN(1000) == 0 {
			return "BEGIN; " + changeKey(x) + "; SELECT pg_sleep(1); COMMIT"
		}
		return changeKey(x)
	}},
	{"transactions", 3, []string{"CREATE TABLE storm (id int PRIMARY KEY, v bigint)"}, func(x *rand.Rand) string {
		return "BEGIN; " + changeKey(x) + "; " + changeKey(x) + "; COMMIT"
	}},
}

func changeKey(x *rand.Rand) string {
	if x.IntN(2) == 0 {
		return fmt.Sprintf("DELETE FROM storm WHERE id = %d", stormKey(x))
	}
	return fmt.Sprintf("INSERT INTO storm VALUES (%d, %d) ON CONFLICT DO NOTHING", stormKey(x), x.Int32())
}

// TestStorm exists because two writers of one node that meet on a few keys all
// the time could work on what was left for half a minute and more, at full
// speed, after the last client had gone.
func TestStorm(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	for _, s := range storms {
		t.Run(s.name, func(t *testing.T) { s.blow(t, c.For(t), stormLagBusy) })
	}
}

// A storm is clients that write few keys as fast as they can: rows of the same
// keys come and go on all nodes, so that writers meet all the time.
const (
	stormTime    = 6 * time.Second
	stormClients = 2 // on each node
	stormKeys    = 5
)

// What a storm may cost. Clients that are faster than a small machine leave
// something to do behind, so the time alone counts only where it is long, or
// where the writers worked hard for what they did.
const (
	stormLag       = time.Second
	stormLagBusy   = 10 * time.Second
	stormPerCommit = 400e-6 // seconds of the writers' CPU
)

// A storm's kind: its table, and what a client does once.
type storm struct {
	name   string
	nodes  int
	create []string
	change func(x *rand.Rand) string
}

// blow lets the storm pass over the first nodes of c, once.
func (s storm) blow(t *testing.T, c *pgtest.Cluster, limit time.Duration) {
	c.ExecAll("DROP TABLE IF EXISTS storm, storm_end")
	c.ExecAll(append(s.create, "CREATE TABLE storm_end (node text PRIMARY KEY)")...)
	c.RequireConverged()
	before := stormCost(c)
	l := clustertest.StartLoad()
	for i, n := range c.Nodes[:s.nodes] {
		for k := range stormClients {
			s.write(l, n, uint64(i*stormClients+k))
		}
	}
	time.Sleep(stormTime)
	l.End(t)
	lag := stormEnd(c, time.Now())
	cost := stormCost(c).minus(before)
	t.Logf("%s: %d commits of clients, lag %d ms; writers: %s", s.name, l.Committed(), lag.Milliseconds(), cost)
	for _, n := range c.Nodes {
		clustertest.RequireNoErrors(t, n)
	}
	if lag > limit || lag > stormLag && cost.cpu > stormPerCommit*float64(cost.commits) {
		t.Errorf("the nodes are equal %s after the storm", lag)
	}
	c.RequireConverged()
}

// stormEnd returns when every node has all that was written.
func stormEnd(c *pgtest.Cluster, ended time.Time) time.Duration {
	for _, n := range c.Nodes {
		n.Exec("INSERT INTO storm_end VALUES ('" + n.Name + "')")
	}
	for _, n := range c.Nodes {
		n.Wait(5*clustertest.ResumeLimit, "SELECT count(*) FROM storm_end", fmt.Sprint(len(c.Nodes)))
	}
	return time.Since(ended)
}

// write is a client on n.
func (s storm) write(l *clustertest.Load, n *pgtest.Node, seed uint64) {
	x := rand.New(rand.NewPCG(seed, uint64(time.Now().UnixNano())))
	l.Loop(n, func(conn *pgconn.PgConn) error {
		_, err := pgtest.RunOn(conn, s.change(x), time.Minute)
		if e := pgtest.PgError(err); e != nil && !conn.IsClosed() {
			_, err = pgtest.RunOn(conn, "ROLLBACK", time.Minute)
		}
		return err
	})
}

// stormBill is what the writers of a cluster have cost so far.
type stormBill struct {
	cpu                        float64
	commits, aborts, deadlocks int
}

func stormCost(c *pgtest.Cluster) (b stormBill) {
	for _, n := range c.Nodes {
		for _, p := range n.ProcessesTitled(clustertest.WriterTitle) {
			b.cpu += p.CPUSeconds()
		}
		row := n.Rows("SELECT coalesce(sum(ncommit), 0), coalesce(sum(nabort), 0), coalesce(sum(ndeadlocks), 0) FROM bdr.stat_subscription")[0]
		for i, field := range []*int{&b.commits, &b.aborts, &b.deadlocks} {
			_, err := fmt.Sscan(strings.TrimSpace(row[i]), field)
			n.Must(err)
		}
	}
	return b
}

func (b stormBill) minus(o stormBill) stormBill {
	return stormBill{b.cpu - o.cpu, b.commits - o.commits, b.aborts - o.aborts, b.deadlocks - o.deadlocks}
}

func (b stormBill) String() string {
	return fmt.Sprintf("CPU %.1f s, %d commits, %d aborts, %d deadlocks", b.cpu, b.commits, b.aborts, b.deadlocks)
}
