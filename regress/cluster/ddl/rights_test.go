package ddl

import (
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
)

// TestRoles exists because a statement must have the rights on a peer that it had
// where it ran, and its objects the same owners.
func TestRoles(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(on))
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE ROLE owner LOGIN PASSWORD 'it''s secret'", "CREATE ROLE user1 LOGIN IN ROLE owner", "ALTER ROLE user1 ENCRYPTED PASSWORD $$two$$ VALID UNTIL '2100-01-01'", "CREATE SCHEMA own AUTHORIZATION owner",
		"ALTER ROLE owner SET search_path = own", "CREATE ROLE gone", "ALTER ROLE gone RENAME TO renamed", "DROP ROLE renamed", "GRANT CREATE ON SCHEMA public TO owner",
		"CREATE USER nopassword PASSWORD NULL", "COMMENT ON ROLE owner IS 'owns'")
	as := a.As("owner", "")
	as.Exec("CREATE TABLE t (a int PRIMARY KEY)", "CREATE FUNCTION definer() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = own AS $$BEGIN CREATE TABLE made (a int PRIMARY KEY); END$$",
		"CREATE TABLE public.p (a int)")
	user := a.As("user1", "")
	user.Exec("SELECT own.definer()", "SET ROLE owner", "CREATE VIEW own.v AS SELECT current_user AS u", "RESET ROLE", "CREATE TABLE own.no (a int)")
	if err := user.Try("CREATE ROLE bad"); err == nil {
		t.Error("an ordinary role made a role")
	}
	c.RequireSameSchemas()
	const roles = `SELECT string_agg(concat_ws(' ', rolname, rolsuper, rolcanlogin, rolpassword, rolvaliduntil, shobj_description(oid, 'pg_authid')), ', ' ORDER BY rolname)
		FROM pg_authid WHERE rolname !~ '^(pg|bdr)_'`
	if here, there := a.Value(roles), b.Value(roles); here != there || strings.Count(here, "SCRAM-SHA-256") != 2 {
		t.Errorf("roles of node1 are %s\nthose of node2 %s", here, there)
	}
	if members := b.Value("SELECT count(*) FROM pg_auth_members WHERE roleid = 'owner'::regrole AND member = 'user1'::regrole"); members != "1" {
		t.Errorf("%s memberships", members)
	}
	if wal := a.Value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%secret%' AND pid <> pg_backend_pid()"); wal != "0" {
		t.Errorf("the password is in %s queries", wal)
	}
}

// TestCodeCannotBecomeAnother exists because a statement runs in a process that is
// a superuser's. What an ordinary role makes it call tries to become one there.
func TestCodeCannotBecomeAnother(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(on))
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE ROLE mallory LOGIN", "CREATE SCHEMA m AUTHORIZATION mallory", "CREATE TABLE loot (a text)")
	mallory := a.As("mallory", "")
	mallory.Exec(`CREATE FUNCTION m.tries() RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE said text := current_user; what text;
BEGIN
	FOREACH what IN ARRAY ARRAY['RESET ROLE', 'SET ROLE postgres', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION postgres', 'SET LOCAL role = none'] LOOP
		BEGIN
			PERFORM set_config('search_path', 'm', false);
			EXECUTE what;
			said := said || ' ' || current_user;
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
	END LOOP;
	IF current_user <> 'mallory' THEN
		said := said || '!';
	END IF;
	RETURN said;
END$$`, "CREATE TABLE m.t (a int PRIMARY KEY)", "INSERT INTO m.t VALUES (1)")
	c.WaitDrained(a, b)
	mallory.Exec("ALTER TABLE m.t ADD COLUMN b text DEFAULT m.tries()", "CREATE INDEX ON m.t ((m.tries()))",
		"ALTER TABLE m.t ADD CHECK (m.tries() <> '')", "ALTER TABLE m.t ALTER COLUMN b TYPE text USING m.tries()", "CREATE MATERIALIZED VIEW m.mv AS SELECT m.tries()")
	// a superuser's statement runs code of the owner as the owner, wherever it is done
	mallory.Exec("CREATE FUNCTION m.who(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$BEGIN IF current_user <> 'mallory' THEN RAISE 'I am %', current_user; END IF; RETURN a; END$$")
	session := a.Session()
	if _, err := pgtest.RunOn(session, "CREATE INDEX CONCURRENTLY who ON m.t ((m.who(a) + m.who(0))) WHERE m.who(a) > m.who(0)", time.Minute); err != nil {
		t.Fatal(pgtest.Explain(err))
	}
	c.WaitDrained(a, b)
	if state := b.Value("SELECT indisvalid FROM pg_index WHERE indexrelid = 'm.who'::regclass"); state != "t" {
		t.Errorf("node2 has not built the index: %s", state)
	}
	mallory.Exec("DROP INDEX m.who")
	c.RequireSameSchemas()
	for _, n := range c.Nodes {
		if said := n.Value("SELECT b FROM m.t") + " " + n.Value("SELECT * FROM m.mv"); strings.Contains(said, "postgres") || strings.Contains(said, "!") {
			t.Errorf("%s: the code became %q", n.Name, said)
		}
	}
	// a peer's role of the name may do more
	b.Exec("SET bdr.role_replication = off; ALTER ROLE mallory SUPERUSER; RESET bdr.role_replication")
	mallory.Exec("CREATE TABLE m.more (a int)")
	b.Wait(60*time.Second, "SELECT count(*) > 0 FROM bdr.worker_errors WHERE error_message LIKE '%is a superuser here and was none there'", "t")
	b.Exec("SET bdr.role_replication = off; ALTER ROLE mallory NOSUPERUSER; RESET bdr.role_replication")
	c.RequireSameSchemas()
}

// TestQueueIsClosed exists because what is in bdr.queue runs as anybody.
func TestQueueIsClosed(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(on))
	a := c.Nodes[0]
	a.Exec("CREATE ROLE forger LOGIN", "GRANT ALL ON bdr.queue TO forger")
	forged := `INSERT INTO bdr.queue VALUES (now(), 'postgres', NULL, 'D', 'CREATE TABLE public.forged (a int)', '{}', true)`
	if e := pgtest.PgError(a.As("forger", "").Try(forged)); e == nil || e.Code != "42501" {
		t.Errorf("forged by a role: %v", e)
	}
	if e := pgtest.PgError(a.Try("SET session_replication_role = replica; " + forged)); e == nil || e.Code != "42501" {
		t.Errorf("forged by a superuser: %v", e)
	}
	a.Exec("RESET session_replication_role", "SELECT pg_logical_emit_message(true, 'bdr', 'CREATE TABLE public.forged (a int)')")
	c.RequireSameSchemas()
	if e := pgtest.PgError(a.As("forger", "").Try("SELECT bdr.replicate_ddl_command('CREATE TABLE x (a int)')")); e == nil || e.Code != "42501" {
		t.Errorf("replicate_ddl_command: %v", e)
	}
}
