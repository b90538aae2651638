package sequence

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// The server logs so many values ahead, and leaves them out after a crash.
const loggedAhead = 32

// TestRestart exists because a server that ends in any way must go on behind what it
// has given, and must not leave out more than PostgreSQL does.
func TestRestart(t *testing.T) {
	n := newCluster(t, 1).Nodes[0]
	makeOfEachKind(n)
	highest := func(kind string) int64 {
		return (&session{n.Session(), t, n}).number(fmt.Sprintf("SELECT max(id) FROM "+everything, kind))
	}
	draw(t, n, allKinds...)
	for _, end := range []struct {
		name string
		stop func() error
		gap  int64
	}{
		{"fast", func() error { _, err := n.Stop(pgtest.Fast); return err }, 0},
		{"immediate", func() error { _, err := n.Stop(pgtest.Immediate); return err }, loggedAhead},
		{"kill -9", n.Kill9, loggedAhead},
		{"kill -9 after a checkpoint", func() error { n.Exec("CHECKPOINT"); draw(t, n, allKinds...); return n.Kill9() }, loggedAhead},
		{"kill -9 again", n.Kill9, loggedAhead},
		{"kill -9 of the postmaster", func() error { _, err := n.KillPostmaster(); return err }, loggedAhead},
	} {
		before := map[string]int64{}
		stop := end.stop
		if !strings.Contains(end.name, "checkpoint") {
			for _, kind := range allKinds {
				before[kind] = highest(kind)
			}
		}
		n.Must(stop())
		n.Must(n.Start())
		n.Wait(time.Minute, "SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'bdr manager'", "t")
		draw(t, n, allKinds...)
		for _, kind := range []string{local, galloc} {
			if got := highest(kind) - before[kind] - 10; before[kind] > 0 && (got < 0 || got > end.gap) {
				t.Errorf("%s, %s: %d values are left out", end.name, kind, got)
			}
		}
	}
	for _, kind := range allKinds {
		requireItsKind(t, n, fmt.Sprintf(everything, kind)+"_s_seq", kind)
	}
}

// TestStandby exists because a standby shows where sequences stand, and makes no values;
// one that is promoted goes on behind what the primary has given.
func TestStandby(t *testing.T) {
	c := newCluster(t, 1)
	n := c.Nodes[0]
	makeOfEachKind(n)
	draw(t, n, allKinds...)
	s := c.Standby(n, "standby", nil)
	draw(t, n, allKinds...)
	s.Wait(time.Minute, fmt.Sprintf("SELECT pg_last_wal_replay_lsn() >= '%s'", n.Value("SELECT pg_current_wal_insert_lsn()")), "t")
	for _, kind := range allKinds {
		table := fmt.Sprintf(everything, kind)
		for _, sql := range []string{"SELECT nextval('%s_id_seq')", "SELECT nextval('%s_s_seq'::text)", "SELECT setval('%s_s_seq', 5)", "INSERT INTO %s (v) VALUES ('x')", "COPY %s (v) FROM PROGRAM 'echo 1'",
			"SELECT bdr.alter_sequence_set_kind('%s_s_seq', 'local', 7)"} {
			e := pgtest.PgError(s.Try(fmt.Sprintf(sql, table)))
			if e == nil || e.Code != "25006" {
				t.Errorf("on the standby "+sql+": %v", table, e)
			}
		}
		requireItsKind(t, s, table+"_id_seq", kind)
		if got := s.Value(fmt.Sprintf("SELECT (SELECT last_value FROM %[1]s_s_seq) >= max(s) AND pg_sequence_last_value('%[1]s_id_seq') >= max(id) FROM %[1]s", table)); got != "t" {
			t.Errorf("%s on the standby stands below its values", table)
		}
	}
	n.Must(n.Kill9())
	s.Promote()
	files, err := filepath.Glob(filepath.Join(s.DataDirectory(), "bdr", "*", "incarnation"))
	if err == nil && len(files) > 0 {
		err = os.Remove(files[0]) // docs/compatibility.md: it takes the node's place
	}
	n.Must(err)
	draw(t, s, allKinds...)
	s.TakeAddress(n)
	draw(t, s, allKinds...)
}

// TestDump exists because a dump of a node is restored elsewhere, into a database
// without bdr or into a member: the sequences must go on behind the rows.
func TestDump(t *testing.T) {
	n := newCluster(t, 1).Nodes[0]
	open(t, n, local, "app")
	n.Exec("SET search_path = app")
	makeOfEachKind(n)
	draw(t, n, allKinds...)
	n.Exec("RESET search_path")
	for _, form := range []string{"plain", "custom", "directory"} {
		path := filepath.Join(n.Dir, "dump."+form)
		runProgram(t, n, "pg_dump", "-n", "app", "-F", form, "-f", path, "-d", n.DSN(n.Database))
		n.Exec("DROP SCHEMA app CASCADE")
		requireRestored(t, n, n.Database, form, path)
		for _, kind := range allKinds { // all are bigint
			requireItsKind(t, n, fmt.Sprintf("app."+everything+"_s_seq", kind), snowflakeid)
		}
		database := "of_" + form
		_, err := n.Run("postgres", "CREATE DATABASE "+database)
		n.Must(err)
		requireRestored(t, n, database, form, path)
	}
	text, err := os.ReadFile(filepath.Join(n.Dir, "dump.plain"))
	n.Must(err)
	if strings.Contains(string(text), fmt.Sprint(int64(exhausted))) {
		t.Error("the dump shows raw pages")
	}
}

func runProgram(t *testing.T, n *pgtest.Node, program string, arguments ...string) {
	t.Helper()
	if out, err := n.Command(program, arguments...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", program, err, out)
	}
}

func requireRestored(t *testing.T, n *pgtest.Node, database, form, path string) {
	t.Helper()
	if form == "plain" {
		runProgram(t, n, "psql", "-v", "ON_ERROR_STOP=1", "-q", "-f", path, "-d", n.DSN(database))
	} else {
		runProgram(t, n, "pg_restore", "--exit-on-error", "-d", n.DSN(database), path)
	}
	to := *n
	to.Database = database
	for _, kind := range allKinds {
		table := "app." + fmt.Sprintf(everything, kind)
		highest := to.Rows("SELECT max(id), max(s) FROM " + table)[0]
		to.Exec("INSERT INTO " + table + " (v) SELECT 'x' FROM generate_series(1, 10)")
		requireNoneTwice(t, &to, table)
		if got := to.Value(fmt.Sprintf("SELECT count(*) FROM %s WHERE id > %s AND s > %s", table, highest[0], highest[1])); got != "10" {
			t.Errorf("%s in %s: %s of 10 new values are behind those of the dump", table, database, got)
		}
	}
}

const supported = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND prosupport <> 0 AND (proname LIKE '%nextval' OR proname IN ('currval', 'lastval', 'setval', 'pg_sequence_last_value', 'pg_get_sequence_data'))"

// TestLeave exists because a database that is no node any more has ordinary sequences,
// which go on behind all that any node has given, and the server's own nextval.
func TestLeave(t *testing.T) {
	c := newCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	for _, n := range c.Nodes {
		makeOfEachKind(n)
		draw(t, n, globalKinds...)
	}
	c.RequireConverged()
	session := b.Session() // with plans of before
	for _, kind := range globalKinds {
		_, err := pgtest.RunOn(session, fmt.Sprintf("PREPARE %[1]s AS INSERT INTO all_%[1]s (v) VALUES ('late') RETURNING id; EXECUTE %[1]s", kind), time.Minute)
		b.Must(err)
	}
	c.RequireConverged()
	a.Exec("SELECT bdr.part_node('node2')")
	b.Wait(clustertest.ResumeLimit, "SELECT peer_state_name FROM bdr.node_summary WHERE node_name = 'node2'", "PARTED")
	for _, kind := range idKinds {
		e := pgtest.PgError(b.Try(fmt.Sprintf("INSERT INTO all_%s (v) VALUES ('parted')", kind)))
		if e == nil || e.Code != "55000" {
			t.Errorf("a parted node makes values of %s: %v", kind, e)
		}
	}
	a.Exec("SELECT bdr.drop_node('node2')")
	for _, n := range []*pgtest.Node{b, a} {
		n.Exec(fmt.Sprintf("SELECT bdr.drop_node('%s')", n.Name))
		requireOrdinary(t, n, "after drop_node")
		if n == b {
			for _, kind := range globalKinds {
				_, err := pgtest.RunOn(session, "EXECUTE "+kind, time.Minute)
				b.Must(err)
				requireNoneTwice(t, b, fmt.Sprintf(everything, kind))
			}
		}
		n.Exec("DROP EXTENSION bdr")
		if got := n.Value(supported); got != "0" {
			t.Errorf("%s: %s functions are redirected after DROP EXTENSION", n.Name, got)
		}
		requireOrdinary(t, n, "after DROP EXTENSION")
		n.Exec("CREATE TABLE IF NOT EXISTS fresh (id serial, v text)", "INSERT INTO fresh (v) VALUES ('x')")
	}
}

// requireOrdinary requires that every sequence goes on by one, behind what the table has.
func requireOrdinary(t *testing.T, n *pgtest.Node, when string) {
	t.Helper()
	for _, kind := range globalKinds {
		table := fmt.Sprintf(everything, kind)
		highest := n.Rows("SELECT max(id), max(s) FROM " + table)[0]
		got := n.Rows(fmt.Sprintf("INSERT INTO %s (v) VALUES ('x'), ('y') RETURNING id > %s, s > %s", table, highest[0], highest[1]))
		if fmt.Sprint(got) != "[[t t] [t t]]" {
			t.Errorf("%s %s: values of %s are not behind %v", n.Name, when, table, highest)
		}
		if got := n.Value(fmt.Sprintf("SELECT nextval('%[1]s_id_seq') - max(id) = 1 AND nextval('%[1]s_s_seq') - max(s) = 1 FROM %[1]s", table)); got != "t" {
			t.Errorf("%s %s: sequences of %s do not count by one", n.Name, when, table)
		}
		n.Exec(fmt.Sprintf("INSERT INTO %[1]s (id, s, v) OVERRIDING SYSTEM VALUE VALUES (currval('%[1]s_id_seq'), currval('%[1]s_s_seq'), 'noted')", table))
	}
}

// TestDropExtensionOfANode exists because a node that is in no group, or a database
// that never was a node, has nothing that would hold the extension.
func TestDropExtensionOfANode(t *testing.T) {
	n := pgtest.NewCluster(t, 1, pgtest.WithMembers(0)).Nodes[0]
	n.Exec("CREATE TABLE t (id serial, i int GENERATED ALWAYS AS IDENTITY)", "INSERT INTO t DEFAULT VALUES")
	for _, steps := range [][]string{
		{"DROP EXTENSION bdr"},
		{"DROP EXTENSION bdr CASCADE"},
		{"SELECT bdr.create_node('node1', '" + n.NodeDSN + "')", "DROP EXTENSION bdr"},
		{"SELECT bdr.internal_install_sequences()", "INSERT INTO t DEFAULT VALUES", "DROP EXTENSION bdr"},
		{"SELECT bdr.internal_install_sequences()", "BEGIN; DROP EXTENSION bdr; ROLLBACK", "INSERT INTO t DEFAULT VALUES", "DROP EXTENSION bdr"},
		{"SELECT bdr.internal_install_sequences(), bdr.internal_install_sequences()", "SELECT bdr.internal_uninstall_sequences()", "INSERT INTO t DEFAULT VALUES", "DROP EXTENSION bdr"},
	} {
		n.Exec(steps...)
		n.Exec("INSERT INTO t DEFAULT VALUES", "CREATE EXTENSION bdr")
		if got := n.Value(supported); got != "0" {
			t.Errorf("%s functions are redirected after %v", got, steps)
		}
	}
	if got := n.Value("SELECT count(DISTINCT id) + count(DISTINCT i) || ' ' || max(id) + max(i) FROM t"); got != "20 20" {
		t.Errorf("values and their end: %s", got)
	}
}

// TestComeBack exists because a database that has left a group may found or join one
// again: what the old group has given must not come again.
func TestComeBack(t *testing.T) {
	c := newCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	for range 2 {
		for _, n := range c.Nodes {
			if n.Value("SELECT to_regclass('all_galloc') IS NULL") == "t" {
				makeOfEachKind(n)
			}
			draw(t, n, globalKinds...)
		}
		c.RequireConverged()
		a.Exec("SELECT bdr.part_node('node2')", "SELECT bdr.drop_node('node2')")
		b.Wait(clustertest.ResumeLimit, "SELECT peer_state_name FROM bdr.node_summary WHERE node_name = 'node2'", "PARTED")
		b.Exec("SELECT bdr.drop_node('node2')")
		a.Exec("SELECT bdr.drop_node('node1')")
		draw(t, a, globalKinds...)
		b.Exec("DROP TABLE all_local, all_snowflakeid, all_timeshard, all_galloc")
		c.Member(0)
		c.Member(1)
		c.WaitMesh(c.Nodes...)
		waitInstalled(c.Nodes...)
		for _, kind := range globalKinds {
			for _, column := range []string{"id", "s"} {
				requireItsKind(t, a, fmt.Sprintf("all_%s_%s_seq", kind, column), local)
				setKind(a, fmt.Sprintf("all_%s_%s_seq", kind, column), map[bool]string{true: galloc, false: timeshard}[kind == galloc])
			}
		}
	}
	for _, n := range c.Nodes {
		draw(t, n, globalKinds...)
	}
	c.RequireConverged()
	requireSameChunks(t, c.Nodes...)
	for _, kind := range globalKinds {
		requireNoneTwice(t, a, fmt.Sprintf(everything, kind))
	}
}
