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
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(impatient))
	a, b := c.Nodes[0], c.Nodes[1]
	addUser(a, b)
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
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(impatient))
	a, b := c.Nodes[0], c.Nodes[1]
	addUser(a, b)
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
