package cluster

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgtest"
)

// clashTables are for writers that meet all the time: over the key, and over
// other values, of which there are as few. Large values are not sent with each
// update.
var clashTables = []string{
	"CREATE TABLE clash (id int PRIMARY KEY, u int UNIQUE, w int UNIQUE, v bigint, big text)",
	"ALTER TABLE clash ALTER big SET STORAGE EXTERNAL",
	"CREATE TABLE overlap (id int PRIMARY KEY, u int4range, w int, v bigint, big text, EXCLUDE USING gist (u WITH &&))",
}

// clashValues is how many different keys and values there are.
const clashValues = 25

// clashInterval keeps a writer from committing faster than its row changes can
// be applied on two other nodes of a small machine.
const clashInterval = 4 * time.Millisecond

// impatient servers try again soon, whatever has failed however often.
var impatient = map[string]string{"bdr.max_worker_backoff_delay": "1s"}

// addClashes writes to the clash tables from one node until the load ends.
func (l *load) addClashes(n *pgtest.Node, seed uint64) {
	x := clasher{rand.New(rand.NewPCG(seed, uint64(n.Port)))}
	ticker := time.NewTicker(clashInterval)
	l.loop(n, func(conn *pgconn.PgConn) error {
		<-ticker.C
		_, err := pgtest.RunOn(conn, x.transaction(), time.Minute)
		if e := pgtest.PgError(err); e != nil && !conn.IsClosed() {
			_, otherwise := pgtest.RunOn(conn, "ROLLBACK", time.Minute)
			if slices.Contains(refusals, e.Code) {
				err = otherwise
			}
		}
		return err
	})
}

type clasher struct{ random *rand.Rand }

func (x clasher) value() int { return 1 + x.random.IntN(clashValues) }

// transaction is one to three changes.
func (x clasher) transaction() string {
	statements := []string{"BEGIN"}
	for range 1 + x.random.IntN(3) {
		if x.random.IntN(4) > 0 {
			statements = append(statements, x.change("clash", "%d")...)
		} else {
			statements = append(statements, x.change("overlap", "int4range(%[1]d, %[1]d + 2)")...)
		}
	}
	return strings.Join(append(statements, "COMMIT"), "; ")
}

// change is a change of a table whose column u takes values of a format.
func (x clasher) change(table, format string) []string {
	v := x.random.Int32()
	u := func(n int) string { return fmt.Sprintf(format, n) }
	insert := func(id int) string {
		return fmt.Sprintf("INSERT INTO %s VALUES (%d, %s, %d, %d, repeat('%d', %d))", table, id, u(x.value()), x.value(), v, v%10, x.random.IntN(2)*3000)
	}
	update := func(set string) []string {
		return []string{fmt.Sprintf("UPDATE %s SET v = %d%s WHERE id = %d", table, v, set, x.value())}
	}
	switch roll := x.random.IntN(20); {
	case roll < 6:
		return []string{insert(x.value())}
	case roll < 8:
		return update("")
	case roll < 9:
		return update(fmt.Sprintf(", big = repeat('%d', 3000)", v%10))
	case roll < 11:
		return update(", u = " + u(x.value()))
	case roll < 13:
		return update(fmt.Sprintf(", w = %d", x.value()))
	case roll < 15:
		return update(fmt.Sprintf(", id = %d", x.value()))
	case roll < 17:
		return []string{fmt.Sprintf("DELETE FROM %s WHERE id = %d", table, x.value())}
	case roll < 18:
		id := x.value()
		return []string{fmt.Sprintf("DELETE FROM %s WHERE id = %d", table, id), insert(id)}
	default:
		value := u(x.value()) // another row gets it
		return append([]string{fmt.Sprintf("UPDATE %s SET u = NULL WHERE u = %s", table, value)}, update(", u = "+value)...)
	}
}

// requireOneEach requires that a node's rows do not break the constraints, seen
// without the indexes that should have kept them.
func requireOneEach(t *testing.T, n *pgtest.Node) {
	t.Helper()
	for _, query := range []string{
		"SELECT count(*) - count(DISTINCT id) FROM clash", "SELECT count(u) - count(DISTINCT u) FROM clash",
		"SELECT count(w) - count(DISTINCT w) FROM clash", "SELECT count(*) - count(DISTINCT id) FROM overlap",
		"SELECT count(*) FROM overlap a, overlap b WHERE a.id <> b.id AND NOT (a.u << b.u OR a.u >> b.u)",
	} {
		if got := n.Value("SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off; " + query); got != "0" {
			t.Errorf("%s: %s is %s", n.Name, query, got)
		}
	}
}

// explainClashes logs, when a test has failed, the rows that are not the same on
// all nodes: their versions, and the conflicts about their keys.
func explainClashes(t *testing.T, c *pgtest.Cluster) {
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, table := range []string{"clash", "overlap"} {
			explainTable(t, c, table)
		}
	})
}

func explainTable(t *testing.T, c *pgtest.Cluster, table string) {
	rows := map[string]map[string]string{} // by key, by node
	for _, n := range c.Nodes {
		versions, err := pgtest.RunOn(n.Session(), "SELECT id, concat_ws(' ', u, w, v, left(big, 1), length(big)), pg_xact_commit_timestamp_origin(xmin) FROM "+table, time.Minute)
		if err != nil {
			continue
		}
		for _, row := range versions {
			if rows[row[0]] == nil {
				rows[row[0]] = map[string]string{}
			}
			rows[row[0]][n.Name] = row[1] + " of " + row[2]
		}
	}
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		values := map[string]bool{}
		for _, n := range c.Nodes {
			values[strings.Split(rows[id][n.Name], " of ")[0]] = true
		}
		if len(values) > 1 {
			t.Logf("%s %s: %v", table, id, rows[id])
			explainRow(t, c, table, id)
		}
	}
}

func explainRow(t *testing.T, c *pgtest.Cluster, table, id string) {
	for _, n := range c.Nodes {
		history, _ := pgtest.RunOn(n.Session(), fmt.Sprintf(`SELECT conflict_type, conflict_resolution, conflict_rule, conflict_index::regclass, origin_node_id,
			remote_commit_time, remote_tuple->>'id', remote_tuple->>'u', remote_tuple->>'w', remote_tuple->>'v', local_tuple_node_id, local_tuple_commit_time,
			local_tuple->>'id', local_tuple->>'u', local_tuple->>'w', local_tuple->>'v', key_tuple->>'id' FROM bdr.conflict_history
			WHERE relname = '%s' AND '%s' IN (remote_tuple->>'id', local_tuple->>'id', key_tuple->>'id') ORDER BY local_time DESC LIMIT 12`, table, id), time.Minute)
		for _, row := range history {
			t.Logf("  %s: %q", n.Name, row)
		}
		remembered, _ := pgtest.RunOn(n.Session(), fmt.Sprintf("SELECT index_name, key_values, commit_time, node_id FROM bdr.remembered_version WHERE relation = '%s'::regclass AND key_values = '{%s}'", table, id), time.Minute)
		t.Logf("  %s remembers %q", n.Name, remembered)
	}
}

// requireClashes logs how many conflicts of each type the nodes met, and
// requires so many: a test that met none would show nothing.
func requireClashes(t *testing.T, c *pgtest.Cluster, least int, types ...string) {
	t.Helper()
	met, total := map[string]int{}, 0
	for _, n := range c.Nodes {
		for _, row := range n.Rows("SELECT conflict_type, conflict_resolution, count(*) FROM bdr.conflict_history GROUP BY 1, 2") {
			count, _ := strconv.Atoi(row[2])
			met[row[0]] += count
			total += count
		}
	}
	for _, name := range slices.Sorted(maps.Keys(met)) {
		t.Logf("%s: %d", name, met[name])
	}
	for _, name := range types {
		if met[name] == 0 {
			t.Errorf("no node met the conflict %s", name)
		}
	}
	if total < least {
		t.Errorf("the nodes met %d conflicts, expected at least %d", total, least)
	}
}

// clashTypes are met wherever the clash tables are written on all nodes.
var clashTypes = []string{"insert_exists", "update_origin_change", "update_recently_deleted", "update_pkey_exists", "multiple_unique_conflicts",
	"delete_recently_updated", "delete_missing"}

// seedOr is a seed of the caller's choice, so that a failure can be looked for
// again; what happens when is not in its hands.
func seedOr(otherwise uint64) uint64 {
	if n, err := strconv.ParseUint(os.Getenv("BDR_SEED"), 10, 64); err == nil {
		return n
	}
	return otherwise
}

// TestConflictChaos exists because the schedules that somebody thinks of are not
// those that break. Writers on all nodes insert, update, delete and insert again,
// on the same few keys and the same few unique values, while servers and
// processes are killed and links are cut. In the end all nodes are equal.
//
// BDR_SEED chooses another order of accidents.
func TestConflictChaos(t *testing.T) {
	conflictChaos(t, seedOr(1), 15*time.Second, 300*time.Millisecond)
}

func conflictChaos(t *testing.T, seed uint64, duration, second time.Duration) {
	t.Helper()
	t.Logf("BDR_SEED=%d", seed)
	c := pgtest.NewCluster(t, 3, pgtest.WithProxies(), pgtest.WithSettings(impatient))
	c.ExecAll(clashTables...)
	explainClashes(t, c)
	writers := startLoad()
	for _, n := range c.Nodes {
		writers.addClashes(n, seed)
	}
	chaos := &chaos{t: t, c: c, random: rand.New(rand.NewPCG(seed, 0)), second: second}
	for began := time.Now(); time.Since(began) < duration; {
		chaos.accident()
	}
	writers.end(t)
	t.Logf("accidents: %v", chaos.count)
	c.WaitMesh(c.Nodes...)
	c.RequireConverged()
	for _, n := range c.Nodes {
		requireOneEach(t, n)
	}
	requireClashes(t, c, 300, clashTypes...)
}
