package conflict

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// A collision makes both nodes insert the same key while neither hears of the
// other: node1 then meets an insert_exists that the incoming row wins, node2
// one that it loses.
func collide(t *testing.T, c *pgtest.Cluster, table string, key int) {
	t.Helper()
	clustertest.Pause(t, c)
	c.Nodes[0].Exec(fmt.Sprintf("INSERT INTO %s VALUES (%d, 'earlier')", table, key))
	c.Nodes[1].Exec(fmt.Sprintf("INSERT INTO %s VALUES (%d, 'later')", table, key))
	c.ExecAll("SELECT bdr.alter_subscription_enable(immediate := true)")
	c.RequireConverged()
}

// logged is what a node's table and server log have about one table.
func logged(t *testing.T, n *pgtest.Node, table string) (rows, lines int) {
	t.Helper()
	text, err := os.ReadFile(n.LogPath())
	n.Must(err)
	lines = strings.Count(string(text), fmt.Sprintf(`LOG:  conflict of type insert_exists on table "public.%s"`, table))
	_, err = fmt.Sscan(n.Value(fmt.Sprintf("SELECT count(*) FROM bdr.conflict_history WHERE relname = '%s'", table)), &rows)
	n.Must(err)
	return rows, lines
}

// TestConflictLog exists because what is logged about conflicts must be what the
// administrator chose, and must not show anybody rows that he may not read.
func TestConflictLog(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	t.Run("config", func(t *testing.T) { conflictLogConfig(t, c.For(t)) })
	t.Run("line_has_all_that_matters", func(t *testing.T) { conflictLogLine(t, c.For(t)) })
	t.Run("config_is_transactional", func(t *testing.T) { conflictLogRollback(t, c.For(t)) })
	t.Run("refusals", func(t *testing.T) { conflictLogRefusals(t, c.For(t)) })
	t.Run("row_security", func(t *testing.T) { conflictLogRights(t, c.For(t)) })
	t.Run("user_code_runs_as_owner", func(t *testing.T) { conflictLogCast(t, c.For(t)) })
	t.Run("retention", func(t *testing.T) { conflictLogRetention(t, c.For(t)) })
	t.Run("large_rows_are_left_out", func(t *testing.T) { conflictLogLargeRow(t, c.For(t)) })
}

// Each choice is followed by writers that run already.
func conflictLogConfig(t *testing.T, c *pgtest.Cluster) {
	for i, k := range []struct {
		name, arguments string
		rows1, lines1   int // on node1, where the incoming row wins
		rows2, lines2   int // on node2, where it is skipped
	}{
		{"default", "", 1, 0, 1, 0},
		{"both", ", log_to_file := true, log_to_table := true", 1, 1, 1, 1},
		{"file", ", log_to_file := true, log_to_table := false", 0, 1, 0, 1},
		{"neither", ", log_to_file := false, log_to_table := false", 0, 0, 0, 0},
		{"other_type", ", conflict_type := '{update_missing,delete_missing}'", 0, 0, 0, 0},
		{"this_type", ", conflict_type := '{update_missing,insert_exists}'", 1, 1, 1, 1},
		{"no_type", ", conflict_type := '{}'", 0, 0, 0, 0},
		{"resolution", ", log_to_file := false, conflict_resolution := '{skip}'", 0, 0, 1, 0},
	} {
		t.Run(k.name, func(t *testing.T) {
			c := c.For(t)
			table := fmt.Sprintf("config_%d", i)
			c.ExecAll(fmt.Sprintf("CREATE TABLE %s (id int PRIMARY KEY, v text)", table))
			for _, n := range c.Nodes {
				if k.arguments != "" {
					n.Exec(fmt.Sprintf("SELECT bdr.alter_node_set_log_config('%s'%s)", n.Name, k.arguments))
				}
			}
			collide(t, c, table, 1)
			rows1, lines1 := logged(t, c.Nodes[0], table)
			rows2, lines2 := logged(t, c.Nodes[1], table)
			got := [4]int{rows1, lines1, rows2, lines2}
			if want := [4]int{k.rows1, k.lines1, k.rows2, k.lines2}; got != want {
				t.Errorf("rows and lines of node1, rows and lines of node2: %v, expected %v", got, want)
			}
		})
	}
}

// The line is for people who have nothing but the server log.
func conflictLogLine(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE spoken (id int PRIMARY KEY, v text)")
	a.Exec("SELECT bdr.alter_node_set_log_config('node1')")
	collide(t, c, "spoken", 7)
	text, err := os.ReadFile(a.LogPath())
	a.Must(err)
	_, rest, _ := strings.Cut(string(text), `conflict of type insert_exists on table "public.spoken", resolution apply_remote`)
	detail, _, _ := strings.Cut(rest[min(1, len(rest)):], "CONTEXT:")
	xid := b.Value("SELECT xmin FROM spoken")
	for _, words := range []string{"DETAIL:", `Key (id)=(7).`, fmt.Sprintf(`The incoming version is transaction %s of node "node2", committed at `, xid),
		`The local version is transaction `, `of node "node1", committed at `, `Index: "spoken_pkey".`, "Rule: later_commit_wins."} {
		if !strings.Contains(detail, words) {
			t.Errorf("the detail lacks %q: %s", words, detail)
		}
	}
}

// A change counts when and if its transaction commits; other nodes keep theirs.
func conflictLogRollback(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("SELECT bdr.alter_node_set_log_config('node1', log_to_file := false)")
	b.Exec("SELECT bdr.alter_node_set_log_config('node2', log_to_file := false, conflict_type := '{insert_exists}', conflict_resolution := '{skip,error}')")
	const row = "SELECT log_name || log_to_file || log_to_table || coalesce(log_conflict_type::text, '-') || coalesce(log_conflict_res::text, '-') FROM bdr.node_log_config"
	a.Exec("BEGIN; SELECT bdr.alter_node_set_log_config('node1', false, false, '{delete_missing}'); ROLLBACK")
	if got := a.Value(row); got != "node1falsetrue--" {
		t.Errorf("node1 after a rollback: %s", got)
	}
	if got := b.Value(row); got != "node2falsetrue{insert_exists}{skip,error}" {
		t.Errorf("node2: %s", got)
	}
	c.ExecAll("CREATE TABLE undone (id int PRIMARY KEY, v text)")
	collide(t, c, "undone", 1)
	if rows, lines := logged(t, a, "undone"); rows != 1 || lines != 0 {
		t.Errorf("after a rollback: %d rows, %d lines, expected one row", rows, lines)
	}
}

func conflictLogRefusals(t *testing.T, c *pgtest.Cluster) {
	a := c.Nodes[0]
	const valid = "Valid names are delete_missing, "
	for _, r := range []clustertest.Refusal{
		clustertest.Refused("type", "SELECT bdr.alter_node_set_log_config('node1', conflict_type := '{insert_exists,insert_exist}')", clustertest.BadArgument, `conflict type "insert_exist"`, valid),
		clustertest.Refused("null_type", "SELECT bdr.alter_node_set_log_config('node1', conflict_type := '{NULL}')", clustertest.BadArgument, "NULL", valid),
		clustertest.Refused("resolution", "SELECT bdr.alter_node_set_log_config('node1', conflict_resolution := '{newest}')", clustertest.BadArgument, "newest", "Valid names are apply_remote, error"),
		clustertest.Refused("other_node", "SELECT bdr.alter_node_set_log_config('node2')", clustertest.WrongState, "not the local node", `Connect to node "node2"`),
		clustertest.Refused("no_node", "SELECT bdr.alter_node_set_log_config('node9')", clustertest.NoSuchObject, "node9", "bdr.node_summary"),
		clustertest.Refused("null", "SELECT bdr.alter_node_set_log_config(NULL)", clustertest.BadArgument, "must not be NULL"),
	} {
		t.Run(r.Name, func(t *testing.T) { clustertest.RequireRefusal(t, a.For(t), r) })
	}
	a.Exec("CREATE ROLE logger LOGIN")
	for name, call := range map[string]string{
		"function": "SELECT bdr.alter_node_set_log_config('node1')",
		"table":    "UPDATE bdr.node_log_config SET log_to_table = false",
		"history":  "DELETE FROM bdr.conflict_history",
	} {
		err := a.Try("SET ROLE logger; " + call)
		if e := pgtest.PgError(err); e == nil || e.Code != clustertest.NotPermitted {
			t.Errorf("%s: an ordinary user got %v", name, err)
		}
	}
	a.Exec("DROP ROLE logger")
}

// Whoever may read a table may read its conflicts, and nobody else may: not when
// row security hides rows of it, and not when it is gone.
func conflictLogRights(t *testing.T, c *pgtest.Cluster) {
	a := c.Nodes[0]
	a.Exec("SELECT bdr.alter_node_set_log_config('node1', log_to_file := false)")
	tables := []string{"granted", "columns_only", "secret", "own_rows", "forced_rows", "dropped"}
	for _, role := range []string{"reader", "owner", "stats", "all_conflicts", "bypass"} {
		c.ExecAll("CREATE ROLE " + role + map[string]string{"bypass": " BYPASSRLS"}[role])
	}
	c.ExecAll("GRANT bdr_read_all_stats TO stats", "GRANT bdr_read_all_conflicts TO all_conflicts")
	for _, table := range tables {
		c.ExecAll(fmt.Sprintf("CREATE TABLE %s (id int PRIMARY KEY, v text)", table))
		collide(t, c, table, 1)
	}
	c.ExecAll("CREATE TABLE whole (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)", "CREATE TABLE piece PARTITION OF whole DEFAULT")
	collide(t, c, "whole", 1)
	a.Exec("GRANT SELECT ON granted, own_rows, forced_rows, dropped TO reader, bypass", "GRANT SELECT ON whole TO reader",
		"GRANT SELECT (id) ON columns_only TO reader",
		"ALTER TABLE own_rows OWNER TO owner", "ALTER TABLE own_rows ENABLE ROW LEVEL SECURITY",
		"ALTER TABLE forced_rows OWNER TO owner", "ALTER TABLE forced_rows ENABLE ROW LEVEL SECURITY", "ALTER TABLE forced_rows FORCE ROW LEVEL SECURITY",
		"DROP TABLE dropped")
	c.Nodes[1].Exec("DROP TABLE dropped")
	for _, k := range []struct{ role, rows, summary string }{
		{"postgres", "columns_only,dropped,forced_rows,granted,own_rows,piece,secret", "columns_only,dropped,forced_rows,granted,own_rows,piece,secret"},
		{"reader", "granted,piece", "granted,piece"},
		{"owner", "own_rows", "own_rows"},
		{"bypass", "columns_only,dropped,forced_rows,granted,own_rows,piece,secret", "forced_rows,granted,own_rows"},
		{"stats", "", "columns_only,dropped,forced_rows,granted,own_rows,piece,secret"},
		{"all_conflicts", "columns_only,dropped,forced_rows,granted,own_rows,piece,secret", "columns_only,dropped,forced_rows,granted,own_rows,piece,secret"},
	} {
		for view, want := range map[string]string{"conflict_history": k.rows, "conflict_history_summary": k.summary} {
			got := a.Value(fmt.Sprintf(`SET LOCAL ROLE %s; SELECT coalesce(string_agg(relname, ',' ORDER BY relname), '')
				FROM bdr.%s WHERE relname = ANY ('{%s,whole,piece}')`, k.role, view, strings.Join(tables, ",")))
			if strings.ReplaceAll(got, "whole", "piece") != want {
				t.Errorf("%s sees in %s: %q, expected %q", k.role, view, got, want)
			}
		}
	}
	for _, query := range []string{"DELETE FROM bdr.conflict_history", "TRUNCATE bdr.conflict_history"} {
		if e := pgtest.PgError(a.Try("SET LOCAL ROLE all_conflicts; " + query)); e == nil || e.Code != clustertest.NotPermitted {
			t.Errorf("%s is open to the role that reads conflicts: %v", query, e)
		}
	}
}

// A cast to json is a function of whoever made the type. It must not get the
// rights of a writer, which is a superuser.
func conflictLogCast(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE ROLE author", "GRANT CREATE ON SCHEMA public TO author",
		`SET ROLE author; CREATE TYPE mood AS ENUM ('good', 'bad');
		CREATE FUNCTION mood_json(mood) RETURNS json LANGUAGE sql AS 'SELECT to_json(current_user::text)';
		CREATE CAST (mood AS json) WITH FUNCTION mood_json(mood);
		CREATE TABLE moods (id int PRIMARY KEY, v text, m mood DEFAULT 'good'); RESET ROLE`)
	collide(t, c, "moods", 1)
	for _, n := range c.Nodes {
		if got := n.Value("SELECT local_tuple->>'m' FROM bdr.conflict_history WHERE relname = 'moods'"); got != "author" {
			t.Errorf("%s: the cast to json ran as %q", n.Name, got)
		}
	}
}

// Json of a very large row would be too large for a value, and apply would stop.
func conflictLogLargeRow(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE large (id int PRIMARY KEY, v text)")
	clustertest.Pause(t, c)
	c.Nodes[0].Exec("INSERT INTO large VALUES (1, 'earlier')")
	c.Nodes[1].Exec("INSERT INTO large VALUES (1, repeat('large', 4 * 1000 * 1000))")
	c.ExecAll("SELECT bdr.alter_subscription_enable(immediate := true)")
	c.RequireConverged()
	for i, want := range []string{"earlier/-", "-/earlier"} {
		got := c.Nodes[i].Value(`SELECT coalesce(local_tuple->>'v', '-') || '/' || coalesce(remote_tuple->>'v', '-')
			FROM bdr.conflict_history WHERE relname = 'large'`)
		if got != want {
			t.Errorf("%s: %q, expected %q", c.Nodes[i].Name, got, want)
		}
	}
}

// Rows go when their time has come and not before. Whoever reads them meanwhile
// is not disturbed, and holds up nobody.
func conflictLogRetention(t *testing.T, c *pgtest.Cluster) {
	const kept = 7 * time.Second
	a := c.Nodes[0]
	c.ExecAll("CREATE TABLE passing (id int PRIMARY KEY, v text)")
	collide(t, c, "passing", 1)
	written := a.Value("SELECT local_time FROM bdr.conflict_history WHERE relname = 'passing'")
	reader := a.Session()
	_, err := pgtest.RunOn(reader, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM bdr.conflict_history", time.Minute)
	a.Must(err)
	a.Must(a.Configure(map[string]string{"bdr.conflict_history_retention": "7s"}))
	a.Must(a.Reload())
	collide(t, c, "passing", 2)
	expired := fmt.Sprintf("SELECT clock_timestamp() - '%s' > '%d s'", written, int(kept/time.Second)+2)
	a.Wait(clustertest.ResumeLimit, expired, "t")
	rows, err := pgtest.RunOn(reader, "SELECT count(*) FROM bdr.conflict_history WHERE relname = 'passing'; COMMIT", time.Minute)
	if err != nil || rows[0][0] != "1" {
		t.Errorf("the reader sees %v, %v", rows, err)
	}
	a.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.conflict_history", "0")
	collide(t, c, "passing", 3)
	if rows, _ := logged(t, a, "passing"); rows != 1 {
		t.Errorf("%d rows of the last conflict, expected one", rows)
	}
	written = a.Value("SELECT local_time FROM bdr.conflict_history WHERE relname = 'passing'")
	a.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.conflict_history", "0")
	if got := a.Value(fmt.Sprintf("SELECT clock_timestamp() - '%s' >= '%d s'", written, int(kept/time.Second))); got != "t" {
		t.Errorf("a row was removed before its time")
	}
	a.Must(a.Configure(map[string]string{"bdr.conflict_history_retention": "30d"}))
	a.Must(a.Reload())
}
