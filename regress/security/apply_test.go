package security

import (
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
)

// requireUninterrupted fails the test if a process of a server has crashed.
func requireUninterrupted(t *testing.T, nodes ...*pgtest.Node) {
	t.Helper()
	for _, n := range nodes {
		if n.LogContains("was terminated by signal") {
			t.Errorf("%s: a process of the server crashed", n.Name)
		}
	}
}

// enableAlways has all triggers of u's tables fire when changes are applied.
const enableAlways = `DO $$ DECLARE t record; BEGIN
	FOR t IN SELECT tgrelid::regclass AS rel, tgname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
		WHERE NOT tgisinternal AND relnamespace = 'u'::regnamespace LOOP
		EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', t.rel, t.tgname);
	END LOOP; END $$`

// TestTriggersThatPostgresRemembers exists because PostgreSQL keeps what it finds
// out about a trigger's function next to the trigger, for as long as the table is
// open. Memory that goes with each change is not good enough for that: a SET
// clause or SECURITY DEFINER crashed every peer, again and again.
func TestTriggersThatPostgresRemembers(t *testing.T) {
	c, a, b := pairWithUser(t)
	for _, n := range c.Nodes {
		u := n.As(user, "")
		u.Exec("CREATE TABLE u.t (id int PRIMARY KEY, v text, n int)", "CREATE TABLE u.seen (what text)",
			"CREATE TABLE u.parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
			"CREATE TABLE u.low PARTITION OF u.parts FOR VALUES FROM (0) TO (100)", "CREATE TABLE u.high PARTITION OF u.parts FOR VALUES FROM (100) TO (200)")
	}
	u := b.As(user, "")
	for name, how := range map[string]string{"plain": "", "set": "SET work_mem = '1MB'", "definer": "SECURITY DEFINER", "both": "SECURITY DEFINER SET search_path = u"} {
		u.Exec(`CREATE FUNCTION u.` + name + `() RETURNS trigger LANGUAGE plpgsql ` + how + ` AS $$
			BEGIN INSERT INTO u.seen VALUES ('` + name + ` ' || TG_WHEN || TG_OP); IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END$$`)
		for _, table := range []string{"t", "parts"} {
			for _, when := range []string{"BEFORE", "AFTER"} {
				trigger := strings.ToLower(name + when)
				u.Exec("CREATE TRIGGER " + trigger + " " + when + " INSERT OR UPDATE OR DELETE ON u." + table + " FOR EACH ROW EXECUTE FUNCTION u." + name + "()")
			}
		}
	}
	u.Exec("CREATE FUNCTION u.odd(int) RETURNS bool LANGUAGE sql IMMUTABLE SET work_mem = '1MB' AS 'SELECT $1 % 2 = 1'",
		"CREATE TRIGGER condition AFTER INSERT OR UPDATE ON u.t FOR EACH ROW WHEN (u.odd(NEW.id)) EXECUTE FUNCTION u.set()",
		"CREATE CONSTRAINT TRIGGER soon AFTER INSERT OR UPDATE ON u.t FOR EACH ROW EXECUTE FUNCTION u.both()",
		"ALTER TABLE u.t ADD CHECK (u.odd(2 * id + 1))", "CREATE UNIQUE INDEX ON u.t ((CASE WHEN u.odd(2 * id + 1) THEN id END))",
		"CREATE TRIGGER emptied AFTER TRUNCATE ON u.t FOR EACH STATEMENT EXECUTE FUNCTION u.both()")
	u.Exec(enableAlways)
	c.ExecAll("CREATE TABLE ours (id int PRIMARY KEY)")
	b.Exec("CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE ON ours DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION u.definer()",
		"ALTER TABLE ours ENABLE ALWAYS TRIGGER late")
	w := a.As(user, "")
	for range 3 {
		w.Exec("BEGIN", "INSERT INTO u.t SELECT g, 'v', g FROM generate_series(1, 5) g", "UPDATE u.t SET v = 'w'", "UPDATE u.t SET id = id + 10 WHERE id < 3",
			"INSERT INTO u.parts SELECT 50 * g, 'v' FROM generate_series(0, 3) g", "UPDATE u.parts SET v = 'w'", "UPDATE u.parts SET id = id + 100 WHERE id = 0 AND false",
			"DELETE FROM u.t WHERE id = 5", "INSERT INTO u.t VALUES (6, 'x', 6)", "DELETE FROM u.parts", "COMMIT")
		w.Exec("UPDATE u.t SET v = 'x'", "TRUNCATE u.t")
		a.Exec("BEGIN; INSERT INTO ours VALUES (1); UPDATE ours SET id = 2; INSERT INTO ours VALUES (3); DELETE FROM ours; COMMIT")
	}
	c.WaitDrained(c.Nodes...)
	requireUninterrupted(t, a, b)
	if got := b.Value("SELECT count(*) FROM u.seen WHERE what LIKE 'definer%'"); got == "0" {
		t.Error("no trigger fired")
	}
	requireOrdinary(t, a, b)
}

// TestTriggersWaitForRows exists because a trigger before a change locks the row,
// and PostgreSQL looks for the row's next version in ways that a writer is not
// made for. A slow trigger gave everybody the time to make one: the server crashed.
func TestTriggersWaitForRows(t *testing.T) {
	c, a, b := pairWithUser(t)
	for _, n := range c.Nodes {
		n.As(user, "").Exec("CREATE TABLE u.t (id int PRIMARY KEY, x int UNIQUE, y int UNIQUE, n int)")
	}
	u := b.As(user, "")
	u.Exec(`CREATE FUNCTION u.slow() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN PERFORM pg_advisory_xact_lock_shared(OLD.id); RETURN OLD; END$$`,
		"CREATE TRIGGER slow BEFORE DELETE ON u.t FOR EACH ROW EXECUTE FUNCTION u.slow()", "ALTER TABLE u.t ENABLE ALWAYS TRIGGER slow")
	a.As(user, "").Exec("INSERT INTO u.t VALUES (1, 1, 1, 0), (2, 2, 2, 0)")
	c.RequireConverged()
	// a row that evicts both, for b to find both and delete one after the other
	b.Exec("SELECT bdr.alter_subscription_disable(immediate := true)")
	a.Exec("SELECT bdr.alter_subscription_disable(immediate := true)")
	b.Exec("UPDATE u.t SET x = x + 10, y = y + 10")
	a.Exec("INSERT INTO u.t VALUES (3, 11, 12, 0)")
	gate := b.Session()
	run := func(sql string) {
		t.Helper()
		if _, err := pgtest.RunOn(gate, sql, replicated); err != nil {
			t.Fatal(err)
		}
	}
	run("SELECT pg_advisory_lock(1)")
	b.Exec("SELECT bdr.alter_subscription_enable(immediate := true)")
	b.Wait(replicated, "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted", "t")
	b.Exec("UPDATE u.t SET n = n + 1 WHERE id = 2")
	run("SELECT pg_advisory_unlock(1)")
	a.Exec("SELECT bdr.alter_subscription_enable(immediate := true)")
	c.RequireConverged()
	requireUninterrupted(t, a, b)
}

// attack is functions of u's for expressions and triggers, which note as whom they
// run. An administrator's own statements call them, too, so that they do no harm
// before armed has replaced one of them.
const attack = `
	CREATE FUNCTION u.take() RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$;
	CREATE FUNCTION u.grab(place text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
	BEGIN
		RAISE LOG 'grabbed in % as %', place, current_user;
		PERFORM u.take();
		RETURN 1;
	END$$;
	CREATE FUNCTION u.fire() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN PERFORM u.grab(TG_WHEN || ' trigger'); IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END$$`

// armed tries to make u a superuser in whatever way works for who runs it.
const armed = `
	CREATE OR REPLACE FUNCTION u.take() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE payload text;
	BEGIN
		FOREACH payload IN ARRAY ARRAY['RESET ROLE', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION postgres', 'SET ROLE postgres'] LOOP
			BEGIN EXECUTE payload; EXCEPTION WHEN OTHERS THEN NULL; END;
			BEGIN EXECUTE 'ALTER ROLE u SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END;
		END LOOP;
		BEGIN PERFORM query_to_xml('ALTER ROLE u SUPERUSER', true, false, ''); EXCEPTION WHEN OTHERS THEN NULL; END;
	END$$`

// TestTablesBelowThoseOfUsers exists because a partition that an administrator
// makes for a user's table is the administrator's, and so is a table of his that
// inherits from it; their triggers, checks and columns are the user's code.
func TestTablesBelowThoseOfUsers(t *testing.T) {
	c, a, b := pairWithUser(t)
	for _, n := range c.Nodes {
		u := n.As(user, "")
		u.Exec(attack, "CREATE DOMAIN u.positive AS int CHECK (u.grab('domain') = 1)",
			`CREATE TABLE u.p (id int, v int, d u.positive, g int GENERATED ALWAYS AS (v + u.grab('generated')) STORED,
				PRIMARY KEY (id), CHECK (v <> 7 OR u.grab('check') = 1)) PARTITION BY RANGE (id)`,
			"CREATE INDEX ON u.p ((v + u.grab('index')))",
			"CREATE TRIGGER fire BEFORE INSERT OR UPDATE OR DELETE ON u.p FOR EACH ROW EXECUTE FUNCTION u.fire()",
			"CREATE TRIGGER fired AFTER INSERT OR UPDATE OR DELETE ON u.p FOR EACH ROW EXECUTE FUNCTION u.fire()",
			"CREATE TABLE u.parent (id int, v int, CHECK (v <> 7 OR u.grab('inherited check') = 1))")
		n.Exec("CREATE TABLE public.low PARTITION OF u.p FOR VALUES FROM (0) TO (100)", "CREATE TABLE public.child (PRIMARY KEY (id)) INHERITS (u.parent)",
			// a table of the administrator's, with a partition of the user's that he has attached
			"CREATE TABLE public.root (id int, k int, v int) PARTITION BY RANGE (id)")
		u.Exec("CREATE TABLE u.mid (id int NOT NULL, k int, v int) PARTITION BY LIST ((k + u.grab('partition key') - 1))", "CREATE TABLE u.leaf PARTITION OF u.mid DEFAULT")
		n.Exec("ALTER TABLE root ATTACH PARTITION u.mid FOR VALUES FROM (0) TO (100)", "ALTER TABLE low ENABLE ALWAYS TRIGGER fire", "ALTER TABLE low ENABLE ALWAYS TRIGGER fired")
	}
	b.As(user, "").Exec("ALTER TABLE u.leaf RENAME TO leaf_b", armed)
	a.As(user, "").Exec("INSERT INTO u.p VALUES (1, 7, 1), (2, 8, 1)", "UPDATE u.p SET v = 9 WHERE id = 1", "DELETE FROM u.p WHERE id = 2")
	a.Exec("INSERT INTO child VALUES (1, 7), (2, 7)")
	a.As(user, "").Exec("INSERT INTO u.leaf VALUES (1, 1, 1), (2, 2, 2)")
	c.WaitDrained(c.Nodes...)
	for _, place := range []string{"domain", "generated", "check", "index", "BEFORE trigger", "AFTER trigger", "inherited check", "partition key"} {
		if !b.LogContains("bdr writer  LOG:  grabbed in " + place + " as u") {
			t.Errorf("no %s ran as u in a writer", place)
		}
		if b.LogContains("bdr writer  LOG:  grabbed in " + place + " as postgres") {
			t.Errorf("a %s ran as postgres in a writer", place)
		}
	}
	requireOrdinary(t, b)
	if got := b.Value("SELECT count(*) FROM u.leaf_b"); got != "2" {
		t.Errorf("%s rows came", got)
	}
}

// TestDomainsOfUsers exists because a table may use a domain of somebody else, who
// may give it checks and a default later, for rows of whoever writes that table.
func TestDomainsOfUsers(t *testing.T) {
	c, a, b := pairWithUser(t)
	c.ExecAll("GRANT USAGE ON SCHEMA u TO PUBLIC", "CREATE ROLE other")
	for _, n := range c.Nodes {
		u := n.As(user, "")
		u.Exec(attack, "CREATE DOMAIN u.small AS int", "CREATE DOMAIN u.number AS int")
		n.Exec("CREATE TABLE ours (id int PRIMARY KEY, d u.small)", "CREATE TABLE theirs (id int PRIMARY KEY, d u.small)", "ALTER TABLE theirs OWNER TO other")
	}
	b.Exec("ALTER TABLE ours ADD n u.number")
	b.As(user, "").Exec("ALTER DOMAIN u.small ADD CHECK (u.grab('check') = 1) NOT VALID", "ALTER DOMAIN u.number SET DEFAULT u.grab('default')", armed)
	a.Exec("BEGIN; INSERT INTO ours VALUES (1, 1); INSERT INTO theirs VALUES (1, 1); UPDATE ours SET d = 2; COMMIT")
	c.WaitDrained(c.Nodes...)
	for _, place := range []string{"check", "default"} {
		if !b.LogContains("bdr writer  LOG:  grabbed in " + place + " as u") {
			t.Errorf("no %s ran as u in a writer", place)
		}
		for _, role := range []string{"postgres", "other"} {
			if b.LogContains("bdr writer  LOG:  grabbed in " + place + " as " + role) {
				t.Errorf("a %s ran as %s in a writer", place, role)
			}
		}
	}
	requireOrdinary(t, b)
}

// TestTablesOfSeveralUsers exists because code of two users meets where a table
// of one is below a table of the other, and neither may get the other's rights.
func TestTablesOfSeveralUsers(t *testing.T) {
	c, a, b := pairWithUser(t)
	for _, n := range c.Nodes {
		n.Exec("CREATE ROLE team", "CREATE ROLE other", "GRANT team TO other")
		n.As(user, "").Exec(attack, "CREATE TABLE u.p (id int PRIMARY KEY, v int CHECK (u.grab('check') = 1)) PARTITION BY RANGE (id)",
			"CREATE TABLE u.low PARTITION OF u.p FOR VALUES FROM (0) TO (100)")
		n.Exec("GRANT ALL ON SCHEMA u TO team, other", "ALTER TABLE u.p OWNER TO team", "ALTER TABLE u.low OWNER TO other")
	}
	a.Exec("INSERT INTO u.p VALUES (1, 1)")
	b.Wait(replicated, "SELECT count(*) FROM u.p", "1")
	if !b.LogContains("bdr writer  LOG:  grabbed in check as team") {
		t.Error("the check did not run as the role whose rights both have")
	}
	b.Exec("ALTER TABLE u.p OWNER TO u")
	a.Exec("INSERT INTO u.p VALUES (2, 2)")
	b.Wait(replicated, "SELECT count(*) FROM bdr.worker_errors WHERE error_message LIKE 'cannot tell whose rights the code of table%'", "1")
	a.Exec("ALTER TABLE u.p OWNER TO u")
	c.ExecAll("ALTER TABLE u.low OWNER TO u")
	b.Wait(replicated, "SELECT count(*) FROM u.p", "2")
	requireOrdinary(t, b)
}
