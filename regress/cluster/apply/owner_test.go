package apply

import (
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestCodeOfUsersRunsAsThem exists because writers are superusers, and apply
// runs code that table owners wrote: triggers, expressions of indexes, defaults,
// checks. If it ran with the writer's rights, whoever owns a table on one node
// would own all servers.
func TestCodeOfUsersRunsAsThem(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	for _, n := range c.Nodes {
		n.Exec("CREATE ROLE alice LOGIN", "CREATE SCHEMA hers AUTHORIZATION alice",
			"CREATE TABLE hers.seen (place text, who text)", "ALTER TABLE hers.seen OWNER TO alice",
			"CREATE TABLE mine (id int PRIMARY KEY, path text)",
			`CREATE FUNCTION path() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.path := current_setting('search_path'); RETURN NEW; END$$`,
			"CREATE TRIGGER path BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION path()", "ALTER TABLE mine ENABLE ALWAYS TRIGGER path")
		n.Exec(`SET ROLE alice; SET search_path = hers;
			CREATE FUNCTION try(place text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
			BEGIN
				RAISE LOG 'tried in % as %, %', place, current_user, current_setting('session_replication_role');
				RETURN 1;
			END$$;
			CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN
				INSERT INTO hers.seen VALUES (TG_WHEN, current_user);
				BEGIN ALTER ROLE alice SUPERUSER; EXCEPTION WHEN insufficient_privilege THEN NULL; END;
				PERFORM set_config('search_path', 'hers', false), hers.try(TG_WHEN);
				RETURN NEW;
			END$$;
			CREATE DOMAIN positive AS int CHECK (VALUE > 0 AND hers.try('domain') = 1);
			CREATE TABLE t (id int PRIMARY KEY, v int, d positive, CHECK (v IS NULL OR hers.try('check') = 1));
			CREATE UNIQUE INDEX ON t ((v + hers.try('index')));
			CREATE TRIGGER before BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION fire();
			CREATE TRIGGER after AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION fire();
			CREATE TRIGGER truncated AFTER TRUNCATE ON t FOR EACH STATEMENT EXECUTE FUNCTION fire();
			ALTER TABLE t ENABLE REPLICA TRIGGER before; ALTER TABLE t ENABLE REPLICA TRIGGER after; ALTER TABLE t ENABLE REPLICA TRIGGER truncated; RESET ROLE; RESET search_path`)
	}
	b.Exec("ALTER TABLE hers.t ADD mine int DEFAULT hers.try('default')")
	a.Exec("INSERT INTO hers.t VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3)", "UPDATE hers.t SET v = 10 WHERE id = 1", "DELETE FROM hers.t WHERE id = 2",
		"BEGIN; UPDATE hers.t SET v = 11 WHERE id = 3; INSERT INTO mine VALUES (1); UPDATE hers.t SET d = 4 WHERE id = 3; COMMIT",
		"TRUNCATE hers.t", "INSERT INTO mine VALUES (2)")
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM mine", "2")
	if got := b.Value("SELECT string_agg(DISTINCT who, ' ') || ' ' || count(DISTINCT place) || ' ' || count(*) FROM hers.seen"); got != "alice 2 14" {
		t.Errorf("triggers ran as: %s", got)
	}
	for _, n := range c.Nodes {
		if got := n.Value("SELECT rolsuper FROM pg_roles WHERE rolname = 'alice'"); got != "f" {
			t.Errorf("%s: alice is a superuser", n.Name)
		}
		if got := n.Value("SELECT count(*) FROM mine WHERE path LIKE '%hers%'"); got != "0" {
			t.Errorf("%s: code of alice changed the settings of others", n.Name)
		}
	}
	for _, place := range []string{"domain", "check", "index", "default", "BEFORE", "AFTER"} {
		if !b.LogContains("tried in " + place + " as alice, replica") {
			t.Errorf("no %s ran as alice", place)
		}
	}
	if b.LogContains(" as postgres, replica") {
		t.Error("code of alice ran as postgres")
	}
}

// TestTriggersOfSeveralOwners exists because TRUNCATE fires the triggers of all
// its tables at once, as one role: whoever may use two roles must not choose
// which, and above all not get a superuser.
func TestTriggersOfSeveralOwners(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(clustertest.Impatient))
	a, b := c.Nodes[0], c.Nodes[1]
	for _, n := range c.Nodes {
		n.Exec("CREATE ROLE alice", "CREATE ROLE bob", "CREATE TABLE seen (who text)", "GRANT INSERT ON seen TO PUBLIC",
			`CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.seen VALUES (TG_TABLE_NAME || ' as ' || current_user); RETURN NULL; END$$`,
			"CREATE TABLE parent (id int PRIMARY KEY)", "CREATE TABLE child (id int PRIMARY KEY REFERENCES parent, n serial)",
			"ALTER TABLE parent OWNER TO alice", "ALTER TABLE child OWNER TO bob")
	}
	for _, table := range []string{"parent", "child"} {
		b.Exec("CREATE TRIGGER fire AFTER TRUNCATE ON " + table + " FOR EACH STATEMENT EXECUTE FUNCTION fire()")
	}
	expect := func(what, truncate, want string) {
		t.Helper()
		b.Exec("TRUNCATE seen")
		a.Exec(truncate)
		c.WaitDrained(c.Nodes...)
		if got := b.Value("SELECT string_agg(who, ', ' ORDER BY who) FROM seen"); got != want {
			t.Errorf("%s: %s", what, got)
		}
	}
	expect("no trigger fires", "TRUNCATE parent, child RESTART IDENTITY", pgtest.Null)
	b.Exec("ALTER TABLE child ENABLE ALWAYS TRIGGER fire")
	expect("one fires", "TRUNCATE parent CASCADE", "child as bob")

	stops := func(what, truncate string, repair func(), want string) {
		t.Helper()
		b.Exec("TRUNCATE seen")
		a.Exec(truncate)
		b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.worker_errors WHERE error_message LIKE 'cannot fire the TRUNCATE triggers%'", "1")
		if got := b.Value("SELECT count(*) FROM seen"); got != "0" {
			t.Errorf("%s: %s triggers fired", what, got)
		}
		repair()
		c.WaitDrained(c.Nodes...)
		if got := b.Value("SELECT string_agg(who, ', ' ORDER BY who) FROM seen"); got != want {
			t.Errorf("%s: %s", what, got)
		}
	}
	expect("a sequence of another", "TRUNCATE parent, child RESTART IDENTITY", "child as bob")
	b.Exec("ALTER TABLE parent ENABLE ALWAYS TRIGGER fire")
	stops("both fire", "TRUNCATE parent, child", func() { c.ExecAll("ALTER TABLE parent OWNER TO bob") }, "child as bob, parent as bob")
}
