package clustertest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
)

// ClashTables are for writers that meet all the time: over the key, and over
// other values, of which there are as few. Large values are not sent with each
// update.
var ClashTables = []string{
	"CREATE TABLE clash (id int PRIMARY KEY, u int UNIQUE, w int UNIQUE, v bigint, big text)",
	"ALTER TABLE clash ALTER big SET STORAGE EXTERNAL",
	"CREATE TABLE overlap (id int PRIMARY KEY, u int4range, w int, v bigint, big text, EXCLUDE USING gist (u WITH &&))",
}

// RequireOneEach requires that a node's rows do not break the constraints, seen
// without the indexes that should have kept them.
func RequireOneEach(t *testing.T, n *pgtest.Node) {
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

// ExplainClashes logs, when a test has failed, the rows that are not the same on
// all nodes: their versions, and the conflicts about their keys.
func ExplainClashes(t *testing.T, c *pgtest.Cluster) {
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

// RequireClashes logs how many conflicts of each type the nodes met, and
// requires so many: a test that met none would show nothing.
func RequireClashes(t *testing.T, c *pgtest.Cluster, least int, types ...string) {
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

// ClashTypes are met wherever the clash tables are written on all nodes.
var ClashTypes = []string{"insert_exists", "update_origin_change", "update_recently_deleted", "update_pkey_exists", "multiple_unique_conflicts",
	"delete_recently_updated", "delete_missing"}

// ConflictChaos has writers on all nodes change the same few rows while servers and
// processes are killed and links are cut. The cluster must have proxies.
func ConflictChaos(t *testing.T, c *pgtest.Cluster, seed uint64, duration, second time.Duration) {
	t.Helper()
	t.Logf("BDR_SEED=%d", seed)
	c.ExecAll(ClashTables...)
	ExplainClashes(t, c)
	writers := StartLoad()
	for _, n := range c.Nodes {
		writers.AddClashes(n, seed)
	}
	chaos := &Chaos{T: t, C: c, Random: rand.New(rand.NewPCG(seed, 0)), Second: second}
	for began := time.Now(); time.Since(began) < duration; {
		chaos.Accident()
	}
	writers.End(t)
	t.Logf("accidents: %v", chaos.Count)
	c.WaitMesh(c.Nodes...)
	c.RequireConverged()
	for _, n := range c.Nodes {
		RequireOneEach(t, n)
	}
	RequireClashes(t, c, 300, ClashTypes...)
}
