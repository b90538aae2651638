package security

import "testing"

// evil is what the owner of a database puts before pg_catalog: what our
// statements call without a schema, with a payload in it.
var evil = []string{
	"CREATE SCHEMA evil",
	`CREATE FUNCTION evil.pay() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
 BEGIN EXECUTE 'ALTER ROLE u SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END; END $$`,
	`CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
 PERFORM evil.pay(); RETURN pg_catalog.current_setting($1); END $$`,
	`CREATE FUNCTION evil.same(oid, regclass) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
 PERFORM evil.pay(); RETURN $1 OPERATOR(pg_catalog.=) $2::oid; END $$`,
	"CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = regclass, FUNCTION = evil.same)",
}

// movable are settings that the owner of a database may give to everybody who
// connects to it.
var movable = map[string]string{
	"role": "u", "session_authorization": "u", "default_transaction_read_only": "on",
	"default_transaction_isolation": "serializable", "default_transaction_deferrable": "on",
	"statement_timeout": "1", "lock_timeout": "1", "idle_in_transaction_session_timeout": "1", "idle_session_timeout": "1",
	"client_encoding": "LATIN1", `"DateStyle"`: "'SQL, DMY'", "row_security": "off", "restrict_nonsystem_relation_kind": "''",
	"standard_conforming_strings": "off", "quote_all_identifiers": "on", "transform_null_equals": "on", "jit_above_cost": "0",
	"exit_on_error": "on", "local_preload_libraries": "missing", "wal_sender_timeout": "'1ms'", "tcp_user_timeout": "1",
	"timezone_abbreviations": "'India'",
}

// TestSearchPathOfTheDatabase has the owner of the source's database lay names
// over those of pg_catalog, for everybody who connects: a join calls them.
func TestSearchPathOfTheDatabase(t *testing.T) {
	c, a, b := sourceAndJoiner(t)
	a.Exec("ALTER DATABASE app OWNER TO u")
	owner := a.As(user, "")
	owner.Exec(evil...)
	owner.Exec("CREATE TABLE u.t (id int PRIMARY KEY, v text)", "INSERT INTO u.t VALUES (1, 'one')",
		"ALTER DATABASE app SET search_path = evil, pg_catalog")
	c.Member(1)
	requireOrdinary(t, a, b)
	b.Wait(replicated, "SELECT v FROM u.t WHERE id = 1", "one")
}

// TestSettingsOfTheDatabase has the owner of a database set whatever may be set
// for it: nothing of ours is moved by that, neither a join nor the streams.
func TestSettingsOfTheDatabase(t *testing.T) {
	c, a, b := sourceAndJoiner(t)
	a.Exec("CREATE TABLE u.t (id int PRIMARY KEY, v text)", "ALTER TABLE u.t OWNER TO u", "INSERT INTO u.t VALUES (1, 'é')")
	for _, n := range c.Nodes {
		n.Exec("ALTER DATABASE app OWNER TO u")
		owner := n.As(user, "")
		for name, value := range movable {
			if err := owner.Try("ALTER DATABASE app SET " + name + " = " + value); err != nil {
				t.Logf("%s = %s is not for the owner: %v", name, value, err)
			}
		}
	}
	clean := "-c role=none -c session_authorization=postgres -c default_transaction_read_only=off -c statement_timeout=0" +
		" -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0 -c client_encoding=UTF8" +
		" -c local_preload_libraries= -c exit_on_error=off"
	for _, n := range c.Nodes {
		n.Options = clean // the test's own sessions
		n.CloseSessions()
		n.Must(n.Restart())
	}
	c.Member(1)
	b.Wait(replicated, "SELECT v FROM u.t WHERE id = 1", "é")
	a.Exec("INSERT INTO u.t VALUES (2, 'from a')")
	b.Exec("INSERT INTO u.t VALUES (3, 'from b')")
	b.Wait(replicated, "SELECT count(*) FROM u.t", "3")
	a.Wait(replicated, "SELECT count(*) FROM u.t", "3")
	requireOrdinary(t, a, b)
}
