package security

import (
	"testing"

	"bdr/gosrc/pgtest"
)

// TestFetchRunsNoCode exists because the values that an update left out are read
// at its origin over a superuser's connection. Whatever the row's table is by
// then, and whatever code hangs on it, none of it may run with such rights.
func TestFetchRunsNoCode(t *testing.T) {
	c, a, b := pairWithUser(t)
	for _, n := range c.Nodes {
		n.As(user, "").Exec(attack, "CREATE DOMAIN u.key AS int CHECK (u.grab('domain') = 1)", "CREATE TYPE u.pair AS (k u.key, l int)",
			"CREATE TABLE u.t (id int PRIMARY KEY, n int, v text)", "ALTER TABLE u.t ALTER v SET STORAGE EXTERNAL",
			"CREATE TABLE u.keyed (id u.key PRIMARY KEY, n int, v text)", "ALTER TABLE u.keyed ALTER v SET STORAGE EXTERNAL",
			"CREATE TABLE u.paired (id u.pair PRIMARY KEY, n int, v text)", "ALTER TABLE u.paired ALTER v SET STORAGE EXTERNAL",
			"CREATE TABLE u.indexed (id int PRIMARY KEY, n int, v text)", "ALTER TABLE u.indexed ALTER v SET STORAGE EXTERNAL",
			"CREATE UNIQUE INDEX ON u.indexed ((id + u.grab('index')))",
			"CREATE TABLE u.secured (id int PRIMARY KEY, n int, v text)", "ALTER TABLE u.secured ALTER v SET STORAGE EXTERNAL",
			"ALTER TABLE u.secured ENABLE ROW LEVEL SECURITY", "ALTER TABLE u.secured FORCE ROW LEVEL SECURITY", "CREATE POLICY p ON u.secured USING (u.grab('policy') = 1)",
			"CREATE TABLE u.gone (id int PRIMARY KEY, n int, v text)", "ALTER TABLE u.gone ALTER v SET STORAGE EXTERNAL")
	}
	w := a.As(user, "")
	tables := []string{"t", "keyed", "paired", "indexed", "secured", "gone"}
	for _, table := range tables {
		id := "1"
		if table == "paired" {
			id = "(1, 2)"
		}
		w.Exec("INSERT INTO u." + table + " VALUES (" + id + ", 0, repeat('v', 9000))")
	}
	c.WaitDrained(c.Nodes...)
	w.Exec(armed)
	c.ExecAll("SELECT bdr.alter_subscription_disable(immediate := true)")
	for _, table := range tables {
		b.As(user, "").Exec("DELETE FROM u." + table)
		w.Exec("UPDATE u." + table + " SET n = n + 1")
	}
	w.Exec("BEGIN; UPDATE u.t SET n = n + 1; ALTER TABLE u.t RENAME TO old; CREATE VIEW u.t AS SELECT id, n, v, xmin FROM u.old WHERE u.grab('view') = 1; COMMIT",
		"DROP TABLE u.gone", "ALTER TABLE u.paired DROP CONSTRAINT paired_pkey")
	b.Exec("SELECT bdr.alter_subscription_enable(immediate := true)")
	for _, table := range tables[:5] {
		b.Wait(replicated, "SELECT n || ' ' || length(v) FROM u."+table, map[bool]string{true: "2 9000", false: "1 9000"}[table == "t"])
	}
	for _, place := range []string{"view", "domain", "index", "policy"} {
		if a.LogContains("grabbed in " + place + " as postgres") {
			t.Errorf("code of a %s ran as postgres at the origin", place)
		}
	}
	requireOrdinary(t, a)
	w.Exec("DROP VIEW u.t", "ALTER TABLE u.paired ADD PRIMARY KEY (id)", "ALTER TABLE u.old RENAME TO t", "CREATE OR REPLACE FUNCTION u.take() RETURNS void LANGUAGE sql AS ''",
		"CREATE TABLE u.gone (id int PRIMARY KEY, n int, v text)")
	b.As(user, "").Exec("DELETE FROM u.gone")
	a.Exec("SELECT bdr.alter_subscription_enable(immediate := true)")
	c.RequireConverged()
}

// TestFetchIsForPeers exists because whoever could call the function that reads
// a row for a peer would read every table.
func TestFetchIsForPeers(t *testing.T) {
	c := pgtest.NewCluster(t, 1, pgtest.WithSettings(impatient))
	a := c.Nodes[0]
	addUser(a)
	a.Exec("CREATE TABLE secret (id int PRIMARY KEY, v text)", "INSERT INTO secret VALUES (1, 'x')", "GRANT USAGE ON SCHEMA bdr TO u")
	statement := "SELECT * FROM bdr.internal_fetch('public.secret'::regclass, '700', now(), ARRAY['id'], ARRAY['1'], ARRAY['v'], ARRAY[false])"
	if err := a.As(user, "").Try(statement); pgtest.PgError(err) == nil || pgtest.PgError(err).Code != "42501" {
		t.Errorf("u read a row for peers: %v", err)
	}
	a.Exec("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA bdr TO u")
	if err := a.As(user, "").Try(statement); pgtest.PgError(err) == nil || pgtest.PgError(err).Code != "42501" {
		t.Errorf("u read a row for peers after a careless GRANT: %v", err)
	}
	// what a careless superuser may ask for is refused or answered, and no crash
	for _, args := range []string{
		"'pg_authid'::regclass, '700', now(), ARRAY['oid'], ARRAY['10'], ARRAY['rolname'], ARRAY[false]",
		"'bdr.node'::regclass, '700', now(), ARRAY['node_id'], ARRAY['1'], ARRAY['node_name'], ARRAY[false]",
		"1::oid, '700', now(), ARRAY['id'], ARRAY['1'], ARRAY['v'], ARRAY[false]",
		"'secret'::regclass, '700', now(), ARRAY['id', NULL], ARRAY['1', '2'], ARRAY['v'], ARRAY[false]",
		"'secret'::regclass, '700', now(), ARRAY['id'], ARRAY['1', '2'], ARRAY['v'], ARRAY[false]",
		"'secret'::regclass, '700', now(), ARRAY['ctid'], ARRAY['(0,1)'], ARRAY['v'], ARRAY[false]",
		"'secret'::regclass, '700', now(), ARRAY['id'], ARRAY['x'], ARRAY['v'], ARRAY[false]",
		"'secret'::regclass, '700', now(), ARRAY[]::text[], ARRAY[]::text[], ARRAY['v'], ARRAY[false]",
		"'secret'::regclass, '700', now(), ARRAY[['id']], ARRAY[['1']], ARRAY[['v']], ARRAY[[false]]",
		"'secret_pkey'::regclass, '700', now(), ARRAY['id'], ARRAY['1'], ARRAY['v'], ARRAY[false]",
	} {
		if err := a.Try("SELECT * FROM bdr.internal_fetch(" + args + ")"); pgtest.PgError(err) == nil {
			t.Errorf("%s: %v", args, err)
		}
	}
	requireUninterrupted(t, a)
}
