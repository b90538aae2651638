package security

import (
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
)

// payloads are functions of the ordinary role that try to be more, and code
// that calls what a superuser could use, if it is one's.
var payloads = []string{
	`CREATE FUNCTION u.pay() RETURNS void LANGUAGE plpgsql AS $$ DECLARE s text; BEGIN
 FOREACH s IN ARRAY ARRAY['RESET ROLE', 'RESET SESSION AUTHORIZATION', 'SET ROLE postgres', 'SET SESSION AUTHORIZATION postgres',
  'ALTER ROLE u SUPERUSER', 'SELECT set_config(''search_path'', ''u'', false)'] LOOP
  BEGIN EXECUTE s; EXCEPTION WHEN OTHERS THEN NULL; END;
 END LOOP; END $$`,
	"CREATE FUNCTION u.f(int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM u.pay(); RETURN true; END $$",
	"CREATE FUNCTION u.i(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM u.pay(); RETURN $1; END $$",
	"CREATE FUNCTION u.s(int) RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT u.i($1) $$",
	"CREATE FUNCTION u.g(int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql SET search_path = u AS $$ BEGIN PERFORM u.pay(); RETURN true; END $$",
	"CREATE FUNCTION u.definer(int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN PERFORM u.pay(); RETURN true; END $$",
	"CREATE DOMAIN u.d AS int CHECK (u.f(VALUE)) CHECK (u.g(VALUE)) CHECK (u.definer(VALUE))",
	"CREATE DOMAIN u.direct AS int CHECK (" + direct + ")",
}

// direct calls a function of the server itself, so that nothing of the role's
// comes in between: where it is a superuser's, a large object shows it.
const direct = `CASE WHEN pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')
 THEN pg_catalog.lo_from_bytea(0, 'owned') > 0 ELSE true END`

// places are where expressions of a schema are evaluated when it is restored
// and filled.
var places = []string{
	"CREATE TABLE u.checked (id int PRIMARY KEY, CHECK (u.f(id)), CHECK (u.g(id)), CHECK (" + direct + "))",
	"CREATE TABLE u.domains (id int PRIMARY KEY, v u.d, w u.direct, x u.d[] DEFAULT '{1}')",
	"CREATE TABLE u.generated (id int PRIMARY KEY, v int GENERATED ALWAYS AS (u.i(id) + u.s(id)) STORED, w int DEFAULT u.i(1))",
	"CREATE TABLE u.indexed (id int PRIMARY KEY)",
	"CREATE INDEX ON u.indexed (u.i(id), u.s(id)) WHERE u.f(id)",
	"CREATE INDEX ON u.indexed (id) WHERE u.f(1)",
	"CREATE INDEX ON u.indexed (u.g(id), u.definer(id))",
	"CREATE TABLE u.rows (id int PRIMARY KEY)",
	"CREATE FUNCTION u.row_is_good(u.rows) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM u.pay(); RETURN true; END $$",
	"ALTER TABLE u.rows ADD CHECK (u.row_is_good(rows))",
	"ALTER TABLE u.rows ADD CONSTRAINT rows_late CHECK (u.row_is_good(rows) AND " + direct + ")",
	"CREATE TABLE u.parts (id u.direct, v u.d, PRIMARY KEY (id)) PARTITION BY RANGE (id)",
	"CREATE TABLE u.part (id u.direct NOT NULL, v u.d, CHECK (u.f(1)), CHECK (u.i(2) = 2))",
	"ALTER TABLE u.parts ATTACH PARTITION u.part FOR VALUES FROM (1) TO (100)",
	"CREATE TABLE u.parts_of_f (id int, v u.d) PARTITION BY LIST (v)",
	"CREATE TABLE u.part_of_f PARTITION OF u.parts_of_f FOR VALUES IN (1, 2)",
	"CREATE TYPE u.mood AS ENUM ('sad', 'happy')",
	"CREATE FUNCTION u.mood_int(u.mood) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM u.pay(); RETURN 1; END $$",
	"CREATE CAST (u.mood AS int) WITH FUNCTION u.mood_int(u.mood) AS IMPLICIT",
	"CREATE TABLE u.referring (id int PRIMARY KEY, m u.mood REFERENCES u.indexed (id))",
	"CREATE FUNCTION u.add(u.d, int) RETURNS u.d LANGUAGE sql AS $$ SELECT 1::u.d $$",
	"CREATE AGGREGATE u.total(int) (SFUNC = u.add, STYPE = u.d, INITCOND = '1')",
	"CREATE MATERIALIZED VIEW u.seen AS SELECT u.i(1), u.s(2), '{1}'::u.d[] AS a WHERE u.f(1)",
	"CREATE FUNCTION u.fires() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM u.pay(); NEW.id = NEW.id + 1000; RETURN NEW; END $$",
	"CREATE TABLE u.triggered (id int PRIMARY KEY)",
	"CREATE VIEW u.viewed AS SELECT '{1}'::u.d[] AS a, u.i(1)",
	"CREATE STATISTICS u.stats ON (u.i(id)), (u.s(id)) FROM u.indexed",
	"INSERT INTO u.checked SELECT generate_series(1, 3)",
	"INSERT INTO u.domains SELECT g, g, g FROM generate_series(1, 3) g",
	"INSERT INTO u.generated SELECT generate_series(1, 3)",
	"INSERT INTO u.indexed SELECT generate_series(1, 3)",
	"INSERT INTO u.rows SELECT generate_series(1, 3)",
	"INSERT INTO u.parts SELECT g, g FROM generate_series(1, 3) g",
	"INSERT INTO u.parts_of_f SELECT g, g FROM generate_series(1, 2) g",
	"INSERT INTO u.referring VALUES (1, 'sad')",
	"INSERT INTO u.triggered VALUES (1)",
	"CREATE TRIGGER fires BEFORE INSERT ON u.triggered FOR EACH ROW EXECUTE FUNCTION u.fires()",
	"ALTER TABLE u.triggered ENABLE ALWAYS TRIGGER fires",
}

// placesOfAdministrators are tables of a superuser that use what is a user's.
var placesOfAdministrators = []string{
	"CREATE TABLE public.admins (id int PRIMARY KEY, v u.d, w u.d[], CHECK (u.g(id)))",
	"INSERT INTO public.admins VALUES (1, 1, '{1}')",
	"CREATE INDEX ON public.admins (u.i(id), u.g(id)) WHERE u.g(id)",
	"CREATE MATERIALIZED VIEW public.shown AS SELECT u.i(id), u.g(id) FROM public.admins",
	"CREATE TABLE public.part PARTITION OF u.parts_of_f (CHECK (u.g(v))) FOR VALUES IN (100, 200)",
	"INSERT INTO public.part VALUES (1, 100)",
}

// requireNoPayload fails the test if code of the ordinary role has done what
// only a superuser can.
func requireNoPayload(t *testing.T, nodes ...*pgtest.Node) {
	t.Helper()
	requireOrdinary(t, nodes...)
	for _, n := range nodes {
		if count := n.Value("SELECT count(*) FROM pg_largeobject_metadata"); count != "0" {
			t.Errorf("%s: a superuser has run an expression of %s, %s times", n.Name, user, count)
		}
	}
}

// TestJoinRunsNobodysCode joins from a source whose ordinary role has payloads
// wherever a schema can hold an expression.
func TestJoinRunsNobodysCode(t *testing.T) {
	c, a, b := sourceAndJoiner(t)
	role := a.As(user, "")
	role.Exec(payloads...)
	role.Exec(places...)
	requireNoPayload(t, a)
	a.Exec(placesOfAdministrators...) // who does that runs them
	a.Exec("ALTER ROLE u NOSUPERUSER", "SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
	c.Member(1)
	requireNoPayload(t, a, b)
	if ids := b.Value("SELECT string_agg(id::text, ',') FROM u.triggered"); ids != "1" {
		t.Errorf("a trigger fired for copied rows: %s", ids)
	}
	if not := b.Value("SELECT count(*) FROM pg_constraint WHERE NOT convalidated"); not != "0" {
		t.Errorf("%s constraints are not validated", not)
	}
	c.RequireConverged() // reads as a superuser: nothing of the payload counts from here on
}

// TestJoinNamesWhatItRefuses: an expression that would have to run as a
// superuser ends the restore with an error that says which, and nothing has run.
// When it is gone, the join goes on.
func TestJoinNamesWhatItRefuses(t *testing.T) {
	_, a, b := sourceAndJoiner(t)
	role := a.As(user, "")
	role.Exec(payloads...)
	role.Exec("CREATE FUNCTION u.add(u.direct, int) RETURNS u.direct LANGUAGE sql AS $$ SELECT 1::u.direct $$",
		"CREATE AGGREGATE u.total(int) (SFUNC = u.add, STYPE = u.direct, INITCOND = '1')",
		"CREATE TABLE u.t (id int PRIMARY KEY)", "INSERT INTO u.t VALUES (1)")
	a.Exec("CREATE TABLE public.admins (id int PRIMARY KEY, v u.direct)", "INSERT INTO public.admins VALUES (1)",
		"SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
	b.CreateNode()
	b.StartJoin(a)
	refuses := func(where string) {
		t.Helper()
		pgtest.Eventually(t, replicated, "the join names the function in "+where, func() (bool, string) {
			said := b.Value("SELECT coalesce(max(last_error), '') FROM bdr.join_progress")
			return strings.Contains(said, "lo_from_bytea") && strings.Contains(said, where), said
		})
		requireNoPayload(t, a, b)
	}
	refuses("CREATE AGGREGATE u.total")
	role.Exec("DROP AGGREGATE u.total(int)")
	refuses("copy table public.admins")
	a.Exec("DROP TABLE public.admins")
	b.Exec("SELECT bdr.wait_for_join_completion()")
	b.Wait(replicated, "SELECT count(*) FROM u.t", "1")
	requireNoPayload(t, a, b)
}

// TestJoinTellsNoSecrets exists because a function that only reads gives what it
// reads to the function of a user that it is an argument of: table_to_xml, called
// by a domain's CHECK while a superuser's session restored the domain's use.
func TestJoinTellsNoSecrets(t *testing.T) {
	_, a, b := sourceAndJoiner(t)
	a.Exec("CREATE TABLE public.secret (id int PRIMARY KEY, v text)", "INSERT INTO public.secret VALUES (1, 'the secret')",
		"CREATE FUNCTION public.read_secret() RETURNS text STABLE LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT max(v) FROM public.secret); END $$")
	role := a.As(user, "")
	role.Exec("CREATE FUNCTION u.tell(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE LOG 'u was told %', $1; RETURN true; END $$")
	reads := map[string]string{"table_to_xml": "pg_catalog.table_to_xml('public.secret', true, true, '')::text", "read_secret": "public.read_secret()",
		"current_setting": "pg_catalog.current_setting('data_directory')"}
	b.CreateNode()
	b.StartJoin(a)
	for name, read := range reads {
		role.Exec("CREATE DOMAIN u.leaky AS int CHECK (CASE WHEN has_table_privilege('pg_catalog.pg_authid', 'SELECT') THEN u.tell("+read+") ELSE true END)",
			"CREATE FUNCTION u.add(u.leaky, int) RETURNS u.leaky LANGUAGE sql AS $$ SELECT 1::u.leaky $$",
			"CREATE AGGREGATE u.total(int) (SFUNC = u.add, STYPE = u.leaky, INITCOND = '1')")
		pgtest.Eventually(t, replicated, "the join names "+name, func() (bool, string) {
			said := b.Value("SELECT coalesce(max(last_error), '') FROM bdr.join_progress")
			return strings.Contains(said, name), said
		})
		role.Exec("DROP AGGREGATE u.total(int)", "DROP FUNCTION u.add(u.leaky, int)", "DROP DOMAIN u.leaky")
	}
	b.Exec("SELECT bdr.wait_for_join_completion()")
	if b.LogContains("u was told") {
		t.Error("a function of u was given what only a superuser may read")
	}
}

// TestRestoreSettingIsNotForUsers: in a session with the setting, functions are
// as if SECURITY DEFINER.
func TestRestoreSettingIsNotForUsers(t *testing.T) {
	c := pgtest.NewCluster(t, 1)
	a := c.Nodes[0]
	addUser(a)
	if err := a.As(user, "").Try("SET bdr.internal_restore = on"); err == nil {
		t.Error("SET was allowed")
	}
	if err := a.TryLogin(user, "options='-c bdr.internal_restore=on'"); err == nil {
		t.Error("a session was started with it")
	}
	if err := a.As(user, "").Try("ALTER ROLE u SET bdr.internal_restore = on"); err == nil {
		t.Error("ALTER ROLE was allowed")
	}
}

// TestSequenceBecomesAView renames a sequence of the source when a join is about
// to read where sequences stand, and puts a view in its place.
func TestSequenceBecomesAView(t *testing.T) {
	_, a, b := sourceAndJoiner(t)
	role := a.As(user, "")
	role.Exec(payloads...)
	role.Exec("SET bdr.default_sequence_kind = 'local'; CREATE SEQUENCE u.s", "SELECT setval('u.s', 42, false)",
		"CREATE FUNCTION u.waits() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN true; END $$",
		"CREATE TABLE u.t (id int PRIMARY KEY CHECK (u.waits()))", "INSERT INTO u.t VALUES (1)")
	holder := b.Session()
	if _, err := pgtest.RunOn(holder, "SELECT pg_advisory_lock(1)", replicated); err != nil {
		t.Fatal(err)
	}
	b.CreateNode()
	b.StartJoin(a)
	b.Wait(replicated, "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'", "1")
	role.Exec("BEGIN", "ALTER SEQUENCE u.s RENAME TO old",
		"CREATE VIEW u.s AS SELECT u.i(7)::bigint AS last_value, true AS is_called")
	if _, err := pgtest.RunOn(holder, "SELECT pg_advisory_unlock(1)", replicated); err != nil {
		t.Fatal(err)
	}
	a.Wait(replicated, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'u.s'::regclass", "t")
	role.Exec("COMMIT")
	b.Exec("SELECT bdr.wait_for_join_completion()")
	requireNoPayload(t, a, b)
	if at := b.Value("SELECT last_value || ' ' || is_called FROM u.s"); at != "42 false" {
		t.Errorf("the sequence stands at %s", at)
	}
}

// prepare makes the table of the source by hand, for a join without structure.
func prepare(t *testing.T) (a, b *pgtest.Node, onB *pgtest.Role) {
	t.Helper()
	c := pgtest.NewCluster(t, 2, pgtest.WithMembers(1), pgtest.WithSettings(impatient))
	a, b = c.Nodes[0], c.Nodes[1]
	addUser(a, b)
	onA, onB := a.As(user, ""), b.As(user, "")
	onA.Exec("CREATE TABLE u.t (id int PRIMARY KEY)", "INSERT INTO u.t VALUES (1), (2)",
		"SET bdr.default_sequence_kind = 'local'; CREATE SEQUENCE u.numbers", "CREATE SEQUENCE u.others", "SELECT setval('u.numbers', 9), setval('u.others', 9)")
	onB.Exec(payloads...)
	b.CreateNode()
	return a, b, onB
}

func joinPrepared(a, b *pgtest.Node) error {
	return b.Try("SELECT bdr.join_node_group(join_target_dsn := '" + a.NodeDSN + "', synchronize_structure := 'none')")
}

// TestPreparedSchemaIsLookedAt: what stands in a table's place on the joiner is
// refused before it is read.
func TestPreparedSchemaIsLookedAt(t *testing.T) {
	a, b, role := prepare(t)
	role.Exec("CREATE VIEW u.t AS SELECT u.i(1) AS id WHERE u.f(1)")
	if err := joinPrepared(a, b); err == nil || !strings.Contains(err.Error(), "u.t is not an ordinary permanent table here") {
		t.Errorf("a view: %v", err)
	}
	requireNoPayload(t, b)
	role.Exec("DROP VIEW u.t", "CREATE UNLOGGED TABLE u.t (id int PRIMARY KEY)")
	if err := joinPrepared(a, b); err == nil || !strings.Contains(err.Error(), "u.t is not an ordinary permanent table here") {
		t.Errorf("an unlogged table: %v", err)
	}
	b.Exec("DROP TABLE u.t", "CREATE TABLE u.t (id int PRIMARY KEY)")
	if err := joinPrepared(a, b); err == nil || !strings.Contains(pgtest.Explain(err), `belongs to "postgres" here`) {
		t.Errorf("another owner: %v", err)
	}
	b.Exec("ALTER TABLE u.t OWNER TO u")
	role.Exec("CREATE INDEX ON u.t (id) WHERE u.f(1)", "ALTER TABLE u.t ADD CHECK (u.g(id)), ADD CHECK ("+direct+")",
		"CREATE FUNCTION u.fires() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM u.pay(); NEW.id = NEW.id + 1000; RETURN NEW; END $$",
		"CREATE TRIGGER fires BEFORE INSERT ON u.t FOR EACH ROW EXECUTE FUNCTION u.fires()", "ALTER TABLE u.t ENABLE ALWAYS TRIGGER fires")
	role.Exec("SET bdr.default_sequence_kind = 'local'; CREATE SEQUENCE u.numbers")
	b.Exec("SET bdr.default_sequence_kind = 'local'; CREATE SEQUENCE u.others")
	b.Must(joinPrepared(a, b))
	requireNoPayload(t, a, b)
	if at := b.Value("SELECT n.last_value || ' ' || o.last_value FROM u.numbers n, u.others o"); at != "9 1" {
		t.Errorf("sequences, of the same and of another owner, stand at %s", at)
	}
	b.Wait(replicated, "SELECT string_agg(id::text, ',' ORDER BY id) FROM u.t", "1,2")
}

// TestSecondCopyEmptiesOnlyItsTables: a copy that failed is begun again with empty
// tables. Triggers do not see that, and tables that refer to them keep their rows.
func TestSecondCopyEmptiesOnlyItsTables(t *testing.T) {
	a, b, role := prepare(t)
	a.As(user, "").Exec("CREATE TABLE u.late (id int PRIMARY KEY)", "INSERT INTO u.late VALUES (-1)")
	role.Exec("CREATE TABLE u.t (id int PRIMARY KEY)", "CREATE TABLE u.late (id int PRIMARY KEY CONSTRAINT positive CHECK (id > 0))",
		"CREATE FUNCTION u.fires() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM u.pay(); RETURN NULL; END $$",
		"CREATE TRIGGER fires BEFORE TRUNCATE ON u.t EXECUTE FUNCTION u.fires()", "ALTER TABLE u.t ENABLE ALWAYS TRIGGER fires",
		"CREATE TABLE u.local (id int CONSTRAINT refers REFERENCES u.t (id))")
	b.Exec("SET session_replication_role = replica; INSERT INTO u.local VALUES (1)")
	b.Exec("SELECT bdr.join_node_group(join_target_dsn := '" + a.NodeDSN + "', synchronize_structure := 'none', wait_for_completion := false)")
	b.Wait(replicated, "SELECT last_error LIKE '%cannot truncate a table referenced in a foreign key constraint%' FROM bdr.join_progress", "t")
	if kept := b.Value("SELECT count(*) FROM u.local"); kept != "1" {
		t.Errorf("a table that refers to a copied one has %s rows instead of 1", kept)
	}
	role.Exec("ALTER TABLE u.local DROP CONSTRAINT refers", "ALTER TABLE u.late DROP CONSTRAINT positive")
	b.Exec("SELECT bdr.wait_for_join_completion()")
	requireNoPayload(t, a, b)
	b.Wait(replicated, "SELECT count(*) FROM u.t", "2")
}
