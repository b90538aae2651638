package mixed

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// A meeting is two changes that do not know of each other, on a table of its own:
// the second one is later. Rows have the id {id}, and {id} + 1.
type meeting struct {
	name          string
	prepare       string
	first, second string
	types         []string // of conflicts, of which the two nodes and the third must have met one
}

var meetings = []meeting{
	{"insert_insert", "", "INSERT INTO %[1]s VALUES ({id}, {id}, 'earlier')", "INSERT INTO %[1]s VALUES ({id}, {id}, 'later')", []string{"insert_exists"}},
	{"update_update", "INSERT INTO %[1]s VALUES ({id}, {id}, 'old')", "UPDATE %[1]s SET v = 'earlier' WHERE id = {id}",
		"UPDATE %[1]s SET v = 'later' WHERE id = {id}", []string{"update_origin_change"}},
	{"delete_update", "INSERT INTO %[1]s VALUES ({id}, {id}, 'old')", "DELETE FROM %[1]s WHERE id = {id}",
		"UPDATE %[1]s SET v = 'later' WHERE id = {id}", []string{"update_recently_deleted", "delete_recently_updated"}},
	{"update_delete", "INSERT INTO %[1]s VALUES ({id}, {id}, 'old')", "UPDATE %[1]s SET v = 'earlier' WHERE id = {id}",
		"DELETE FROM %[1]s WHERE id = {id}", []string{"update_recently_deleted", "delete_recently_updated"}},
	{"delete_delete", "INSERT INTO %[1]s VALUES ({id}, {id}, 'old')", "DELETE FROM %[1]s WHERE id = {id}", "DELETE FROM %[1]s WHERE id = {id}",
		[]string{"delete_missing"}},
	{"second_key", "", "INSERT INTO %[1]s VALUES ({id}, {id}, 'earlier')", "INSERT INTO %[1]s VALUES ({id} + 1, {id}, 'later')", []string{"insert_exists"}},
	{"both_keys", "INSERT INTO %[1]s VALUES ({id}, {id}, 'old')", "INSERT INTO %[1]s VALUES ({id} + 1, {id} + 1, 'earlier')",
		"UPDATE %[1]s SET id = {id} + 1 WHERE id = {id}", []string{"update_pkey_exists"}},
	{"key_and_row", "INSERT INTO %[1]s VALUES ({id}, {id}, 'old')", "UPDATE %[1]s SET id = {id} + 1 WHERE id = {id}",
		"UPDATE %[1]s SET v = 'later' WHERE id = {id}", []string{"update_recently_deleted", "update_origin_change", "update_missing"}},
	{"fetched", "INSERT INTO %[1]s VALUES ({id}, {id}, 'old', (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 500) g))",
		"BEGIN; SET LOCAL bdr.xact_replication = off; DELETE FROM %[1]s WHERE id = {id}; COMMIT",
		"UPDATE %[1]s SET v = 'later' WHERE id = {id}", []string{"update_recently_deleted", "update_missing"}},
}

// TestConflicts exists because each node decides by itself: nodes of different
// major versions must come to the same rows, whichever of them was first, and
// write down what they met.
func TestConflicts(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithMajors(15, 17, 18))
	for _, m := range meetings {
		c.ExecAll(fmt.Sprintf("CREATE TABLE %[1]s (id int PRIMARY KEY, u int UNIQUE, v text, big text); ALTER TABLE %[1]s ALTER big SET STORAGE EXTERNAL", m.name))
	}
	eachMeeting(c, func(m meeting, first, _ *pgtest.Node, sql func(string) string) { first.Exec(sql(m.prepare)) })
	c.RequireConverged()
	resume := clustertest.PauseAll(t, c)
	clustertest.StopWriters(t, c)
	eachMeeting(c, func(m meeting, first, _ *pgtest.Node, sql func(string) string) { first.Exec(sql(m.first)) })
	eachMeeting(c, func(m meeting, _, second *pgtest.Node, sql func(string) string) { second.Exec(sql(m.second)) })
	resume()
	c.RequireConverged()
	for _, m := range meetings {
		t.Run(m.name, func(t *testing.T) { m.requireMet(t, c.For(t)) })
	}
	for _, n := range c.Nodes {
		clustertest.RequireNoErrors(t, n)
	}
}

// eachMeeting has every two nodes meet, in both orders.
func eachMeeting(c *pgtest.Cluster, do func(m meeting, first, second *pgtest.Node, sql func(string) string)) {
	for i, first := range c.Nodes {
		for j, second := range c.Nodes {
			if i == j {
				continue
			}
			for _, m := range meetings {
				do(m, first, second, func(text string) string {
					if text == "" {
						return "SELECT"
					}
					return fmt.Sprintf(strings.ReplaceAll(text, "{id}", fmt.Sprint(100*i+10*j)), m.name)
				})
			}
		}
	}
}

func (m meeting) requireMet(t *testing.T, c *pgtest.Cluster) {
	for _, n := range c.Nodes {
		got := n.Rows(fmt.Sprintf("SELECT conflict_type, conflict_resolution, count(*) FROM bdr.conflict_history WHERE relname = '%s' GROUP BY 1, 2", m.name))
		found := false
		for _, row := range got {
			for _, name := range m.types {
				found = found || row[0] == name
			}
		}
		if !found {
			t.Errorf("%s: history has %v, expected one of %v", n.Name, got, m.types)
		}
	}
}

// TestConflictChaos is the one of regress/cluster/conflict with servers of three
// major versions: writers that meet all the time, accidents meanwhile.
//
// BDR_SEED chooses another order of accidents.
func TestConflictChaos(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithMajors(15, 17, 18), pgtest.WithProxies(), pgtest.WithSettings(clustertest.Impatient))
	clustertest.ConflictChaos(t, c, clustertest.SeedOr(1), time.Minute, 300*time.Millisecond)
}

// TestClashStorm exists because nodes that are far from each other meet all the
// time, without any accident.
func TestClashStorm(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithMajors(15, 17, 18), pgtest.WithProxies())
	c.ExecAll(clustertest.ClashTables...)
	clustertest.ExplainClashes(t, c)
	for _, l := range allLinks(c) {
		l.Delay(50 * time.Millisecond)
	}
	writers := clustertest.StartLoad()
	for i, n := range c.Nodes {
		writers.AddClashes(n, uint64(i))
	}
	writers.WaitCommits(t, 6000)
	writers.End(t)
	for _, l := range allLinks(c) {
		l.Heal()
	}
	c.RequireConverged()
	for _, n := range c.Nodes {
		clustertest.RequireOneEach(t, n)
		clustertest.RequireNoErrors(t, n)
	}
	clustertest.RequireClashes(t, c, 300, clustertest.ClashTypes...)
}
