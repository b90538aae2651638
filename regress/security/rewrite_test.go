package security

import (
	"fmt"
	"testing"
)

// TestRewriteRunsAsOwner exists because a rewrite of a table by a superuser looks
// at dead rows, and for that at the expressions of its owner's indexes.
func TestRewriteRunsAsOwner(t *testing.T) {
	c, _, _ := pairWithUser(t)
	for _, n := range c.Nodes {
		n.As(user, "").Exec(`CREATE FUNCTION u.f(i bigint) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
		ALTER ROLE u SUPERUSER;
	END IF;
	BEGIN
		RESET ROLE;
		RESET SESSION AUTHORIZATION;
		ALTER ROLE u SUPERUSER;
	EXCEPTION WHEN OTHERS THEN
		NULL;
	END;
	RETURN i;
END $$`,
			"CREATE TABLE u.t (id int PRIMARY KEY, n int, v int)",
			"CREATE UNIQUE INDEX ON u.t (u.f(n))", "CREATE UNIQUE INDEX ON u.t (v) WHERE u.f(v) > 0")
	}
	a := c.Nodes[0]
	a.As(user, "").Exec("INSERT INTO u.t SELECT i, i, i FROM generate_series(1, 20) i")
	for i, sql := range []string{"ALTER TABLE u.t ALTER n TYPE bigint", "ALTER TABLE u.t ALTER id TYPE bigint",
		"ALTER TABLE u.t ADD x int DEFAULT (random() * 0)::int", "REINDEX TABLE CONCURRENTLY u.t"} {
		a.As(user, "").Exec(fmt.Sprintf("UPDATE u.t SET n = n + 100, v = v + 100 WHERE id > %d", 2*i), fmt.Sprintf("DELETE FROM u.t WHERE id <= %d", 2*i+2))
		a.Exec(sql)
		if a.Value("SELECT count(*) > 0 FROM bdr.remembered_version WHERE relation = 'u.t'::regclass") != "t" {
			t.Errorf("%s: remembered nothing, so this proves nothing", sql)
		}
		requireOrdinary(t, a)
	}
	for _, sql := range []string{"ALTER TABLE u.t ALTER n TYPE bigint", "ALTER TABLE u.t ALTER id TYPE bigint", "ALTER TABLE u.t ADD x int DEFAULT 0"} {
		c.Nodes[1].Exec(sql)
	}
	c.RequireConverged()
	requireOrdinary(t, c.Nodes...)
}

// TestRewriteOfOneself exists because the expressions that an ALTER TABLE computes
// are code of its owner, which may do anything to the table meanwhile: an error
// is fine, a crash is not.
func TestRewriteOfOneself(t *testing.T) {
	_, a, _ := pairWithUser(t)
	u := a.As(user, "")
	started := a.Value("SELECT pg_postmaster_start_time()")
	for i, body := range []string{
		"INSERT INTO u.w VALUES (1000 + i, 1)",
		"DELETE FROM u.w WHERE id = i",
		"UPDATE u.w SET id = id + 100 WHERE id = i",
		"SET LOCAL synchronize_seqscans = on",
		"CREATE TABLE u.other (a int, b int)",
		"ALTER TABLE u.second ALTER n TYPE bigint",
		"CLUSTER u.second USING second_pkey",
		"CREATE TABLE IF NOT EXISTS u.third (a int); ALTER TABLE u.third ADD b int DEFAULT (random() * 0)::int; DROP TABLE u.third",
	} {
		u.Exec("CREATE TABLE u.w (id int PRIMARY KEY, n int)", "CREATE TABLE u.second (id int PRIMARY KEY, n int)",
			"INSERT INTO u.w SELECT i, i FROM generate_series(1, 20) i", "INSERT INTO u.w SELECT i, i FROM generate_series(21, 50) i", "INSERT INTO u.second SELECT i, i FROM generate_series(1, 50) i",
			"DELETE FROM u.w WHERE id > 40", "DELETE FROM u.second WHERE id > 40",
			"CREATE OR REPLACE FUNCTION u.g(i int) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN IF i < 3 THEN "+body+"; END IF; RETURN i; END $$")
		const writers = "SELECT string_agg(DISTINCT xmin::text, ' ') || ' and ' || string_agg(DISTINCT xmin::text, ' ') FILTER (WHERE id > 20) FROM u.w"
		before := a.Value(writers)
		err := u.Try("ALTER TABLE u.w ALTER n TYPE bigint USING u.g(n)")
		t.Logf("%d, %s: %v", i, body, err)
		if after := a.Value(writers); after != before {
			t.Errorf("%s: the rows were written by %s, and are now by %s", body, before, after)
		}
		u.Exec("DROP TABLE u.w, u.second")
		a.Exec("DROP TABLE IF EXISTS u.other")
		if a.Value("SHOW synchronize_seqscans") != "on" {
			t.Error("synchronize_seqscans stayed off")
		}
	}
	if a.LogContains("all server processes terminated") || a.Value("SELECT pg_postmaster_start_time()") != started {
		t.Error("the server was restarted")
	}
	requireOrdinary(t, a)
}
