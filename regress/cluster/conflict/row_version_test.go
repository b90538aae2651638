package conflict

import (
	"fmt"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestRowVersions exists because who wrote a row, and when, can be forgotten: by
// VACUUM FREEZE, by a restore, with the origin. A number in the row is not.
func TestRowVersions(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithMembers(2))
	a, b := c.Nodes[0], c.Nodes[1]
	for _, n := range []*pgtest.Node{a, b} {
		n.Exec("CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE TABLE whole (id int PRIMARY KEY, v text)", "ALTER TABLE whole REPLICA IDENTITY FULL",
			"CREATE TABLE parts (id int PRIMARY KEY, v text, number bigint DEFAULT 9223372036854775807) PARTITION BY RANGE (id)",
			"CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10)",
			"SELECT bdr.alter_table_conflict_detection('t', 'row_version')", "SELECT bdr.alter_table_conflict_detection('whole', 'row_version', 'Odd Name')",
			"SELECT bdr.alter_table_conflict_detection('parts', 'row_version', 'number')")
	}
	a.Exec("INSERT INTO t SELECT i, 'old' FROM generate_series(1, 20) i", "INSERT INTO whole SELECT i, 'old' FROM generate_series(1, 20) i",
		"INSERT INTO parts SELECT i, 'old' FROM generate_series(1, 5) i")
	for _, part := range []struct {
		name string
		run  func(*testing.T, *pgtest.Cluster)
	}{
		{"numbers", rowVersionNumbers},
		{"concurrent", rowVersionConcurrent},
		{"lost_origin", rowVersionLostOrigin},
		{"deletions", rowVersionDeletions},
		{"refusals", rowVersionRefusals},
		{"joiner", rowVersionJoiner},
		{"back", rowVersionBack},
	} {
		t.Run(part.name, func(t *testing.T) {
			c := c.For(t)
			for _, n := range c.Nodes {
				n.Exec("TRUNCATE bdr.conflict_history")
			}
			part.run(t, c)
		})
	}
}

func members(c *pgtest.Cluster) *pgtest.Cluster {
	copied := *c
	copied.Nodes = c.Nodes[:2]
	return &copied
}

// Every local update counts one, whatever the user writes there; what is applied
// keeps the number that it came with. That is no conflict on either node.
func rowVersionNumbers(t *testing.T, c *pgtest.Cluster) {
	c = members(c)
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("BEGIN; UPDATE t SET v = 'a' WHERE id = 1; UPDATE t SET v = 'b', row_version = 77 WHERE id = 1; COMMIT",
		"UPDATE whole SET v = 'a' WHERE id = 1", "UPDATE parts SET v = 'a' WHERE id = 1")
	c.RequireConverged()
	b.Exec("UPDATE t SET v = 'c' WHERE id = 1", "UPDATE t SET id = -2 WHERE id = 2", "UPDATE whole SET id = -2, v = 'c' WHERE id = 2", "UPDATE parts SET v = 'c' WHERE id = 1")
	c.RequireConverged()
	for _, n := range c.Nodes {
		if got := n.Value("SELECT string_agg(x::text, ' ' ORDER BY x) FROM t x WHERE id < 2"); got != "(-2,old,2) (1,c,4)" {
			t.Errorf("%s: t has %s", n.Name, got)
		}
		if got := n.Value("SELECT string_agg(x::text, ' ' ORDER BY x) FROM whole x WHERE id < 2"); got != "(-2,c,2) (1,a,2)" {
			t.Errorf("%s: whole has %s", n.Name, got)
		}
		if got := n.Value("SELECT string_agg(x::text, ' ' ORDER BY x) FROM parts x WHERE id < 2"); got != "(1,c,-9223372036854775807)" {
			t.Errorf("%s: parts has %s", n.Name, got)
		}
		if got := n.Value("SELECT string_agg(relname || ' ' || method || coalesce(' ' || column_name, ''), ', ' ORDER BY relname) FROM bdr.conflict_detection"); got !=
			"parts row_version number, parts_1 row_version number, t row_version row_version, whole row_version Odd Name" {
			t.Errorf("%s: methods are %s", n.Name, got)
		}
	}
	requireConflicts(t, c, "", "")
}

// What two nodes do at the same time is update_differing on both, and the newer
// one wins as without row versions; also in a partition, and with a new key.
func rowVersionConcurrent(t *testing.T, c *pgtest.Cluster) {
	c = members(c)
	for _, table := range []string{"t", "whole", "parts"} {
		clustertest.Pause(t, c)
		c.Nodes[0].Exec(fmt.Sprintf("UPDATE %s SET v = 'earlier' WHERE id = 3", table), fmt.Sprintf("UPDATE %s SET v = 'earlier' WHERE id = 3", table))
		c.Nodes[1].Exec(fmt.Sprintf("UPDATE %s SET v = 'later' WHERE id = 3", table))
		c.ExecAll("SELECT bdr.alter_subscription_enable(immediate := true)")
		c.RequireConverged()
		requireConflicts(t, c, "update_differing apply_remote", "update_differing skip, update_differing skip")
		if got := c.Nodes[0].Value(fmt.Sprintf("SELECT v FROM %s WHERE id = 3", table)); got != "later" {
			t.Errorf("%s: row 3 is %s", table, got)
		}
	}
	clustertest.Pause(t, c)
	keepDeadRows(t, c.Nodes[1])
	c.Nodes[0].Exec("UPDATE t SET v = 'earlier' WHERE id = 4")
	c.Nodes[1].Exec("UPDATE t SET id = -4 WHERE id = 4")
	c.ExecAll("SELECT bdr.alter_subscription_enable(immediate := true)")
	c.RequireConverged()
	if got := c.Nodes[0].Value("SELECT conflict_type || ' ' || conflict_resolution || ' ' || (remote_tuple->>'id') || ' ' || (local_tuple->>'v') FROM bdr.conflict_history"); got != "update_differing apply_remote -4 earlier" {
		t.Errorf("a new key: %s", got)
	}
}

// forgetWriters makes a node forget who wrote its rows: what is older than the
// commit timestamps that it keeps.
func forgetWriters(t *testing.T, c *pgtest.Cluster, n *pgtest.Node) {
	t.Helper()
	c.RequireConverged()
	n.Exec("VACUUM FREEZE t")
	restartWith(n, "off")
	restartWith(n, "on")
	c.WaitMesh(c.Nodes...)
	if got := n.Value("SELECT count(pg_xact_commit_timestamp(xmin)) FROM t"); got != "0" {
		t.Fatalf("the writers of %s rows are known", got)
	}
}

func restartWith(n *pgtest.Node, trackCommitTimestamp string) {
	n.Exec("ALTER SYSTEM SET track_commit_timestamp = " + trackCommitTimestamp)
	_, err := n.Stop(pgtest.Fast)
	n.Must(err)
	n.Must(n.Start())
}

// A row whose writer is not known any more was changed at the same time: that is
// seen, and a resolver that was chosen is asked; by default it loses, as ever.
func rowVersionLostOrigin(t *testing.T, c *pgtest.Cluster) {
	c = members(c)
	a, b := c.Nodes[0], c.Nodes[1]
	b.Exec("SELECT bdr.alter_node_set_conflict_resolver('node2', 'update_differing', 'error')")
	forgetWriters(t, c, b)
	a.Exec("UPDATE t SET v = 'one after the other' WHERE id = 5")
	c.RequireConverged()
	b.Exec(clustertest.Local + "UPDATE t SET v = 'here' WHERE id IN (6, 7); COMMIT")
	subscription := b.Value("SELECT sub_name FROM bdr.subscription_summary")
	b.Exec(fmt.Sprintf("SELECT bdr.alter_subscription_disable('%s', immediate := true)", subscription))
	a.Exec("UPDATE t SET v = 'in' WHERE id IN (6, 7)")
	b.Exec("VACUUM FREEZE t")
	restartWith(b, "off")
	restartWith(b, "on")
	b.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT count(*) FROM bdr.alter_subscription_enable('%s', immediate := true)", subscription), "1")
	b.Wait(clustertest.ResumeLimit, `SELECT error_message LIKE 'conflict of type update_differing on table "public.t"%' FROM bdr.worker_errors`, "t")
	if got := b.Value("SELECT count(*) FROM t WHERE v = 'here'"); got != "2" {
		t.Errorf("%s of 2 rows are as before", got)
	}
	b.Exec("SELECT bdr.alter_node_set_conflict_resolver('node2', 'update_differing', 'update_if_newer')")
	c.WaitDrained(c.Nodes...)
	if got := b.Value("SELECT string_agg(concat_ws(' ', conflict_type, conflict_rule, local_tuple->>'v', local_tuple_commit_time), ', ') FROM bdr.conflict_history"); got !=
		"update_differing unknown_version_loses here, update_differing unknown_version_loses here" {
		t.Errorf("history: %s", got)
	}
	c.RequireConverged()
	b.Exec("DELETE FROM bdr.node_conflict_resolvers")
}

// Which row was deleted is known where the old row is sent.
func rowVersionDeletions(t *testing.T, c *pgtest.Cluster) {
	c = members(c)
	clustertest.Pause(t, c)
	keepDeadRows(t, c.Nodes[1])
	c.Nodes[0].Exec("UPDATE whole SET v = 'earlier' WHERE id = 8", "UPDATE t SET v = 'earlier' WHERE id = 8")
	c.Nodes[1].Exec("DELETE FROM whole WHERE id = 8", "DELETE FROM t WHERE id = 8", "DELETE FROM whole WHERE id = 9")
	c.ExecAll("SELECT bdr.alter_subscription_enable(immediate := true)")
	c.RequireConverged()
	if got := c.Nodes[0].Value("SELECT string_agg(concat_ws(' ', relname, conflict_type, conflict_resolution, conflict_rule), ', ') FROM bdr.conflict_history"); got !=
		"whole delete_recently_updated apply_remote later_commit_wins" {
		t.Errorf("history: %s", got)
	}
}

func rowVersionRefusals(t *testing.T, c *pgtest.Cluster) {
	n := c.Nodes[0]
	n.Exec("CREATE ROLE passer_by", "GRANT USAGE ON SCHEMA bdr TO passer_by", "GRANT EXECUTE ON FUNCTION bdr.alter_table_conflict_detection TO passer_by", "CREATE VIEW of_t AS SELECT * FROM t")
	for _, r := range []struct{ call, code, text string }{
		{"'t', 'row_versions'", "22023", `"row_origin" and "row_version"`},
		{"'t', 'column_commit_timestamp'", "0A000", "Supported methods"},
		{"'t', 'row_version', 'other'", "55000", "'row_origin'"},
		{"'whole', 'row_version', 'v'", "55000", "'row_origin'"},
		{"'parts_1', 'row_version'", "42809", "partitioned table"},
		{"'of_t', 'row_version'", "42809", "permanent"},
		{"'bdr.node', 'row_version'", "42809", "permanent"},
		{"'pg_class', 'row_version'", "42809", "permanent"},
		{"NULL, 'row_version'", "22004", ""},
		{"'t', NULL", "22004", ""},
	} {
		e := pgtest.PgError(n.Try("SELECT bdr.alter_table_conflict_detection(" + r.call + ")"))
		if e == nil || e.Code != r.code || !strings.Contains(e.Hint, r.text) {
			t.Errorf("%s: %v", r.call, e)
		}
	}
	if e := pgtest.PgError(n.Try("SET ROLE passer_by; SELECT bdr.alter_table_conflict_detection('t', 'row_origin')")); e == nil || e.Code != "42501" {
		t.Errorf("somebody else: %v", e)
	}
	if e := pgtest.PgError(n.Try("BEGIN; CREATE TABLE bad (id int PRIMARY KEY, v text, s text GENERATED ALWAYS AS (v) STORED); SELECT bdr.alter_table_conflict_detection('bad', 'row_version', 'v')")); e == nil || e.Code != "42804" {
		t.Errorf("a column of another type: %v", e)
	}
	if got := n.Value("SELECT bdr.alter_table_conflict_detection('t', 'row_version')"); got != "f" {
		t.Errorf("the method that it has: %s", got)
	}
	n.Exec("DROP VIEW of_t", "REVOKE ALL ON FUNCTION bdr.alter_table_conflict_detection FROM passer_by", "REVOKE ALL ON SCHEMA bdr FROM passer_by", "DROP ROLE passer_by")
}

// A node that joins gets the tables as they are.
func rowVersionJoiner(t *testing.T, c *pgtest.Cluster) {
	d := c.Nodes[2]
	c.Member(2)
	c.WaitMesh(c.Nodes...)
	c.RequireConverged()
	d.Exec("UPDATE t SET v = 'joined' WHERE id = 10")
	c.RequireConverged()
	if got := c.Nodes[0].Value("SELECT v || row_version FROM t WHERE id = 10"); got != "joined2" {
		t.Errorf("row 10 is %s", got)
	}
	clustertest.Pause(t, c)
	c.Nodes[0].Exec("UPDATE parts SET v = 'earlier' WHERE id = 5")
	d.Exec("UPDATE parts SET v = 'later' WHERE id = 5")
	c.ExecAll("SELECT bdr.alter_subscription_enable(immediate := true)")
	c.RequireConverged()
	if got := d.Value("SELECT string_agg(concat_ws(' ', conflict_type, conflict_resolution), ', ') FROM bdr.conflict_history"); got != "update_differing skip" {
		t.Errorf("history of the joiner: %s", got)
	}
}

// Back to row_origin: what was added goes, what was there stays. A column that is
// dropped takes the trigger along, but not where the table was copied by a join.
func rowVersionBack(t *testing.T, c *pgtest.Cluster) {
	d := c.Nodes[2]
	d.Exec(`ALTER TABLE whole DROP COLUMN "Odd Name"`)
	if e := pgtest.PgError(d.Try("UPDATE whole SET v = 'b' WHERE id = 12")); e == nil || e.Code != "42703" || !strings.Contains(e.Hint, "row_origin") {
		t.Errorf("no column for row versions: %v", e)
	}
	d.Exec("SELECT bdr.alter_table_conflict_detection('whole', 'row_origin')")
	for _, n := range c.Nodes[:2] {
		n.Exec(`ALTER TABLE whole DROP COLUMN "Odd Name"`)
	}
	for _, n := range c.Nodes {
		n.Exec("SELECT bdr.alter_table_conflict_detection('t', 'row_origin')", "SELECT bdr.alter_table_conflict_detection('parts', 'row_origin')")
		if got := n.Value("SELECT string_agg(relname || ' ' || method, ', ' ORDER BY relname) FROM bdr.conflict_detection"); got !=
			"parts row_origin, parts_1 row_origin, t row_origin, whole row_origin" {
			t.Errorf("%s: methods are %s", n.Name, got)
		}
		if got := n.Value("SELECT bdr.alter_table_conflict_detection('t', 'row_origin')"); got != "f" {
			t.Errorf("%s: the method that it has: %s", n.Name, got)
		}
		if got := n.Value("SELECT string_agg(attname, ' ' ORDER BY attrelid::regclass::text, attnum) FROM pg_attribute WHERE attrelid IN ('t'::regclass, 'parts'::regclass) AND attnum > 0 AND NOT attisdropped"); got != "id v number id v" {
			t.Errorf("%s: columns are %s", n.Name, got)
		}
	}
	c.Nodes[1].Exec("UPDATE t SET v = 'b' WHERE id = 11", "UPDATE parts SET v = 'b' WHERE id = 2", "UPDATE whole SET v = 'b' WHERE id = 11")
	c.RequireConverged()
	clustertest.Pause(t, c)
	c.Nodes[0].Exec("UPDATE t SET v = 'earlier' WHERE id = 12")
	c.Nodes[1].Exec("UPDATE t SET v = 'later' WHERE id = 12")
	c.ExecAll("SELECT bdr.alter_subscription_enable(immediate := true)")
	c.RequireConverged()
	if got := c.Nodes[1].Value("SELECT string_agg(conflict_type, ', ') FROM bdr.conflict_history"); got != "update_origin_change" {
		t.Errorf("history: %s", got)
	}
}
