package conflict

import (
	"fmt"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestResolvers exists because a resolver is a promise about data: each type of
// conflict must be met as what it is, do what the resolver says, and be told of.
func TestResolvers(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(clustertest.QuickRetries))
	t.Run("default", func(t *testing.T) {
		requireMets(t, c.For(t), "older", false, func(*pgtest.Node) {}, func(m met) outcome { return m.older })
	})
	t.Run("update", func(t *testing.T) {
		requireMets(t, c.For(t), "updated", false, func(n *pgtest.Node) {
			setResolvers(n, "update", map[string]string{"update_missing": "", "update_recently_deleted": "", "delete_missing": ""})
		}, func(m met) outcome {
			if m.updated == (outcome{}) {
				return m.older
			}
			return m.updated
		})
	})
	t.Run("skip", func(t *testing.T) {
		requireMets(t, c.For(t), "skipped", true, func(n *pgtest.Node) { setResolvers(n, "skip", nil) },
			func(m met) outcome { return m.skipped })
	})
	t.Run("error", func(t *testing.T) { requireErrors(t, c.For(t)) })
	t.Run("insert_or_error", func(t *testing.T) { requireInsertOrError(t, c.For(t)) })
	t.Run("recently_dropped", func(t *testing.T) { requireRecentlyDropped(t, c.For(t)) })
}

func on(table, statement string) string {
	return strings.ReplaceAll(statement+" ", " T ", " "+table+" ")
}

// clashAll makes every conflict happen, each in a table of its own; what node1
// wrote then waits to be let in.
func clashAll(t *testing.T, c *pgtest.Cluster, suffix string, newer bool) {
	a, b := c.Nodes[0], c.Nodes[1]
	for _, m := range mets {
		table := m.name + "_" + suffix
		c.ExecAll(fmt.Sprintf("CREATE TABLE %s (id int PRIMARY KEY, u int UNIQUE, w int UNIQUE, v text)", table))
		if m.kind == "update_differing" {
			c.ExecAll(fmt.Sprintf("SELECT bdr.alter_table_conflict_detection('%s', 'row_version')", table))
		}
		if m.start != "" {
			a.Exec(on(table, m.start))
		}
		if m.alone != "" {
			a.Exec(clustertest.Local + on(table, m.alone) + "; COMMIT")
		}
	}
	c.WaitDrained(c.Nodes...)
	clustertest.StopWriters(t, c)
	keepDeadRows(t, b)
	sides := []func(m met) error{
		func(m met) error { return a.Try(on(m.name+"_"+suffix, m.in)) },
		func(m met) error { return b.Try(on(m.name+"_"+suffix, m.here)) }}
	for i := range sides {
		if newer {
			i = 1 - i
		}
		for _, m := range mets {
			if i == 1 && m.here == "" {
				continue
			}
			if err := sides[i](m); err != nil {
				t.Fatalf("%s: %s", m.name, pgtest.Explain(err))
			}
		}
	}
}

// keepDeadRows has a session look at old rows until the test ends.
func keepDeadRows(t *testing.T, n *pgtest.Node) {
	t.Helper()
	if _, err := n.Session().Exec(t.Context(), "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM bdr.node").ReadAll(); err != nil {
		t.Fatal(err)
	}
}

func requireMets(t *testing.T, c *pgtest.Cluster, suffix string, newer bool, choose func(*pgtest.Node), want func(met) outcome) {
	clashAll(t, c, suffix, newer)
	choose(c.Nodes[1])
	before := c.Nodes[1].Value(conflictsCounted)
	c.ExecAll("TRUNCATE bdr.conflict_history", "SELECT bdr.alter_subscription_enable(immediate := true)")
	c.WaitDrained(c.Nodes...)
	requireOutcomes(t, c.Nodes[1], suffix, want)
	c.Nodes[1].Wait(clustertest.ResumeLimit, fmt.Sprintf(`SELECT (%s) - %s = count(DISTINCT (remote_xid::text, remote_change_nr)) FROM bdr.conflict_history`, conflictsCounted, before), "t")
	c.Nodes[1].Exec("DELETE FROM bdr.node_conflict_resolvers")
}

const conflictsCounted = "SELECT coalesce(sum(nconflict), 0) FROM bdr.stat_relation"

func requireOutcomes(t *testing.T, n *pgtest.Node, suffix string, want func(met) outcome) {
	t.Helper()
	for _, m := range mets {
		table := m.name + "_" + suffix
		w := want(m)
		if got := n.Value(fmt.Sprintf("SELECT coalesce(string_agg(x::text, ' ' ORDER BY x), '') FROM %s x", table)); got != w.rows {
			t.Errorf("%s: rows %q, expected %q", table, got, w.rows)
		}
		var history []string
		if w.history != "" {
			for _, h := range strings.Split(w.history, ", ") {
				history = append(history, m.kind+" "+h)
			}
		}
		if got := n.Value(fmt.Sprintf(`SELECT coalesce(string_agg(concat_ws(' ', conflict_type, conflict_resolution, conflict_rule), ', '), '')
			FROM bdr.conflict_history WHERE relname = '%s'`, table)); got != strings.Join(history, ", ") {
			t.Errorf("%s: history %q, expected %q", table, got, strings.Join(history, ", "))
		}
	}
	const incomplete = `SELECT coalesce(string_agg(to_json(h)::text, ' '), '') FROM bdr.conflict_history h WHERE NOT (
		h.reloid = relname::regclass AND remote_commit_time < clock_timestamp() AND coalesce(key_tuple, remote_tuple)->>'id' = '1'
		AND (remote_tuple IS NULL) = (conflict_type LIKE 'delete%') AND (apply_tuple IS NULL) = (conflict_resolution = 'skip' OR conflict_type LIKE 'delete%')
		AND (local_tuple IS NULL) = (conflict_type LIKE '%missing' OR conflict_type LIKE '%deleted')
		AND (local_tuple_commit_time IS NULL) = (conflict_type LIKE '%missing') AND (local_tuple_node_id IS NULL) = (conflict_type LIKE '%missing'))
		AND NOT (conflict_type = 'update_pkey_exists' AND remote_tuple->>'id' = '2' AND local_tuple->>'id' = '2' AND key_tuple->>'id' = '1')`
	if got := n.Value(incomplete); got != "" {
		t.Errorf("these history rows are not complete: %s", got)
	}
}

// requireErrors: every type stops the subscription, says so, and goes on by
// itself when another resolver is chosen, with nothing done twice.
func requireErrors(t *testing.T, c *pgtest.Cluster) {
	clashAll(t, c, "error", false)
	b := c.Nodes[1]
	setResolvers(b, "error", nil)
	c.ExecAll("TRUNCATE bdr.conflict_history", "SELECT bdr.alter_subscription_enable(immediate := true)")
	seen := map[string]bool{}
	for _, m := range mets {
		if seen[m.kind] {
			continue
		}
		seen[m.kind] = true
		b.Wait(clustertest.ResumeLimit, fmt.Sprintf(`SELECT error_message LIKE 'conflict of type %s on table "public.%s_error"%%' FROM bdr.worker_errors`, m.kind, m.name), "t")
		if got := b.Value(fmt.Sprintf("SELECT count(*) FROM bdr.conflict_history WHERE relname = '%s_error'", m.name)); got != "0" {
			t.Errorf("%s: %s conflicts were logged that nothing was decided about", m.name, got)
		}
		b.Exec(fmt.Sprintf("DELETE FROM bdr.node_conflict_resolvers WHERE conflict_type = '%s'", m.kind))
	}
	c.WaitDrained(c.Nodes...)
	requireOutcomes(t, b, "error", func(m met) outcome { return m.older })
	if !b.LogContains(`HINT:  Choose another resolver for conflict type multiple_unique_conflicts`) {
		t.Error("the server log has no hint about multiple_unique_conflicts")
	}
}

// requireInsertOrError: a row of which a part was not sent is not asked for.
func requireInsertOrError(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE part (id int PRIMARY KEY, v text, large text)", "ALTER TABLE part ALTER large SET STORAGE EXTERNAL")
	a.Exec("INSERT INTO part SELECT i, 'old', repeat('x', 5000) FROM generate_series(1, 3) i")
	c.WaitDrained(c.Nodes...)
	keepDeadRows(t, b)
	b.Exec(clustertest.Local+"DELETE FROM part; COMMIT", "SELECT bdr.alter_node_set_conflict_resolver('node2', 'update_recently_deleted', 'insert_or_error')")
	a.Exec("UPDATE part SET v = 'in', large = repeat('y', 5000) WHERE id = 1")
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM part WHERE id = 1 AND v = 'in' AND length(large) = 5000", "1")
	a.Exec("UPDATE part SET v = 'in' WHERE id = 2", "UPDATE part SET id = 4 WHERE id = 3")
	b.Wait(clustertest.ResumeLimit, `SELECT error_message LIKE 'conflict of type update_recently_deleted on table "public.part"%' FROM bdr.worker_errors`, "t")
	if got := b.Value("SELECT string_agg(id::text, ' ') FROM part"); got != "1" {
		t.Errorf("node2 has rows %s, expected 1", got)
	}
	b.Exec("SELECT bdr.alter_node_set_conflict_resolver('node2', 'update_recently_deleted', 'skip')")
	c.WaitDrained(c.Nodes...)
	if got := b.Value("SELECT string_agg(id::text, ' ') FROM part"); got != "1" {
		t.Errorf("node2 has rows %s, expected 1", got)
	}
	b.Exec("DELETE FROM bdr.node_conflict_resolvers")
}

// requireRecentlyDropped: changes of a table that was dropped here are left out,
// those of one that never was stop, and so does the first after a day.
func requireRecentlyDropped(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll(`CREATE TABLE "Gone" (id int PRIMARY KEY)`, "CREATE TABLE other (id int PRIMARY KEY)", "TRUNCATE bdr.conflict_history")
	b.Exec("SELECT bdr.alter_node_set_conflict_resolver('node2', 'target_table_missing', 'skip_if_recently_dropped')",
		`BEGIN; DROP TABLE other; ROLLBACK`, `CREATE TEMP TABLE of_session ()`, `DROP TABLE "Gone"`, `VACUUM FULL other`)
	if got := b.Value("SELECT string_agg(nspname || '.' || relname, ' ') FROM bdr.dropped_table"); got != "public.Gone" {
		t.Errorf("noted as dropped: %s", got)
	}
	a.Exec(`INSERT INTO "Gone" VALUES (1), (2)`, "INSERT INTO other VALUES (1)", `UPDATE "Gone" SET id = 3 WHERE id = 1`)
	c.WaitDrained(c.Nodes...)
	if got := b.Value("SELECT string_agg(concat_ws(' ', conflict_type, conflict_resolution, conflict_rule, relname), ', ') FROM bdr.conflict_history"); got != "target_table_missing skip table_recently_dropped Gone" {
		t.Errorf("history: %s", got)
	}
	b.Exec("UPDATE bdr.dropped_table SET drop_time = drop_time - interval '1 day'")
	a.Exec(`INSERT INTO "Gone" VALUES (4)`)
	b.Wait(clustertest.ResumeLimit, `SELECT error_message LIKE 'table "public.Gone" does not exist%' FROM bdr.worker_errors`, "t")
	b.Exec("UPDATE bdr.dropped_table SET drop_time = clock_timestamp()")
	c.WaitDrained(c.Nodes...)
	a.Exec("CREATE TABLE never (id int PRIMARY KEY)", "INSERT INTO never VALUES (1)")
	b.Wait(clustertest.ResumeLimit, `SELECT error_message LIKE 'table "public.never" does not exist%' FROM bdr.worker_errors`, "t")
	b.Exec("CREATE TABLE never (id int PRIMARY KEY)")
	c.WaitDrained(c.Nodes...)
	b.Exec("UPDATE bdr.dropped_table SET drop_time = drop_time - interval '2 days'", "SELECT pg_reload_conf()")
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.dropped_table", "0")
	b.Exec("DELETE FROM bdr.node_conflict_resolvers")
}

// met is a conflict that node1's change meets on node2. The table is called T;
// its row has the key id, the unique values u and w, and v.
type met struct {
	name  string
	start string // on node1, replicated
	alone string // on node1, and only there
	in    string // on node1
	here  string // on node2
	kind  string // of the conflict

	// the rows of node2 in the end, and resolution and rule of each history row
	// that it wrote
	older   outcome // by default, node1's change being the older one
	updated outcome // the same by resolver update, where there is one
	skipped outcome // by resolver skip, node1's change being the newer one
}

type outcome struct{ rows, history string }

const oneRow = "INSERT INTO T VALUES (1, 1, 1, 'old')"

var mets = []met{
	{name: "insert_exists", in: "INSERT INTO T VALUES (1, 1, 1, 'in')", here: "INSERT INTO T VALUES (1, 2, 2, 'here')", kind: "insert_exists",
		older:   outcome{"(1,2,2,here)", "skip later_commit_wins"},
		updated: outcome{"(1,1,1,in)", "apply_remote resolver_update"},
		skipped: outcome{"(1,2,2,here)", "skip resolver_skip"}},
	{name: "update_origin_change", start: oneRow, in: "UPDATE T SET v = 'in'", here: "UPDATE T SET v = 'here'", kind: "update_origin_change",
		older:   outcome{"(1,1,1,here)", "skip later_commit_wins"},
		updated: outcome{"(1,1,1,in)", "apply_remote resolver_update"},
		skipped: outcome{"(1,1,1,here)", "skip resolver_skip"}},
	{name: "update_differing", start: oneRow, in: "UPDATE T SET v = 'in'", here: "UPDATE T SET v = 'here'", kind: "update_differing",
		older:   outcome{"(1,1,1,here,2)", "skip later_commit_wins"},
		updated: outcome{"(1,1,1,in,2)", "apply_remote resolver_update"},
		skipped: outcome{"(1,1,1,here,2)", "skip resolver_skip"}},
	{name: "update_missing", alone: oneRow, in: "UPDATE T SET v = 'in'", kind: "update_missing",
		older:   outcome{"(1,1,1,in)", "apply_remote missing_row_inserted"},
		skipped: outcome{"", "skip resolver_skip"}},
	{name: "update_recently_deleted", start: oneRow, in: "UPDATE T SET v = 'in'", here: "DELETE FROM T", kind: "update_recently_deleted",
		older:   outcome{"", "skip later_delete_wins"},
		skipped: outcome{"", "skip resolver_skip"}},
	{name: "update_pkey_exists", start: oneRow, in: "UPDATE T SET id = 2, v = 'in'", here: "INSERT INTO T VALUES (2, 5, 5, 'here')", kind: "update_pkey_exists",
		older:   outcome{"(2,5,5,here)", "skip later_commit_wins"},
		updated: outcome{"(2,1,1,in)", "apply_remote resolver_update"},
		skipped: outcome{"(1,1,1,old) (2,5,5,here)", "skip resolver_skip"}},
	{name: "multiple_unique_conflicts", in: "INSERT INTO T VALUES (1, 1, 1, 'in')", here: "INSERT INTO T VALUES (2, 1, 2, 'here'), (3, 3, 1, 'here')",
		kind:    "multiple_unique_conflicts",
		older:   outcome{"(2,1,2,here) (3,3,1,here)", "skip later_commit_wins"},
		updated: outcome{"(1,1,1,in)", "apply_remote resolver_update, apply_remote resolver_update"},
		skipped: outcome{"(2,1,2,here) (3,3,1,here)", "skip resolver_skip"}},
	{name: "delete_recently_updated", start: oneRow, in: "DELETE FROM T", here: "UPDATE T SET v = 'here'", kind: "delete_recently_updated",
		older:   outcome{"(1,1,1,here)", "skip later_commit_wins"},
		updated: outcome{"", "apply_remote resolver_update"},
		skipped: outcome{"", ""}}, // a newer deletion is no conflict
	{name: "delete_missing", alone: oneRow, in: "DELETE FROM T", kind: "delete_missing",
		older:   outcome{"", "skip nothing_to_delete"},
		skipped: outcome{"", "skip nothing_to_delete"}},
	{name: "moved_but_changed", start: oneRow, in: "UPDATE T SET id = 2, u = 9, w = 9, v = 'in'", here: "UPDATE T SET v = 'here'", kind: "update_origin_change",
		older:   outcome{"(1,1,1,here) (2,9,9,in)", "apply_remote moved_row_is_new"},
		updated: outcome{"(2,9,9,in)", "apply_remote resolver_update"},
		skipped: outcome{"(1,1,1,here)", "skip resolver_skip"}},
	{name: "moved_but_missing", alone: oneRow, in: "UPDATE T SET id = 2, v = 'in'", kind: "update_missing",
		older:   outcome{"(2,1,1,in)", "apply_remote missing_row_inserted"},
		skipped: outcome{"", "skip resolver_skip"}},
	{name: "moved_but_deleted", start: oneRow, in: "UPDATE T SET id = 2, v = 'in'", here: "DELETE FROM T", kind: "update_recently_deleted",
		older:   outcome{"(2,1,1,in)", "apply_remote moved_row_is_new"},
		skipped: outcome{"", "skip resolver_skip"}},
}

// setResolvers chooses one resolver for the types that mets has, but for some.
func setResolvers(n *pgtest.Node, resolver string, except map[string]string) {
	n.Exec("DELETE FROM bdr.node_conflict_resolvers")
	set := map[string]bool{}
	for _, m := range mets {
		name, ok := except[m.kind]
		if !ok {
			name = resolver
		}
		if name != "" && !set[m.kind] {
			set[m.kind] = true
			n.Exec(fmt.Sprintf("SELECT bdr.alter_node_set_conflict_resolver('%s', '%s', '%s')", n.Name, m.kind, name))
		}
	}
}
