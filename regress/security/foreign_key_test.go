package security

import (
	"testing"

	"bdr/gosrc/pgtest"
)

// TestForeignKeyTriggersActAsOwners exists because the triggers that keep foreign
// keys whole read and write other tables than the one that changed: those of
// whoever refers to it, or is referred to, with all the code that he put on them.
func TestForeignKeyTriggersActAsOwners(t *testing.T) {
	c, a, b := pairWithUser(t)
	for _, n := range c.Nodes {
		u := n.As(user, "")
		n.Exec("CREATE TABLE ours (id int PRIMARY KEY)", "GRANT REFERENCES, SELECT ON ours TO u")
		u.Exec(attack, "CREATE TABLE u.refers (id int PRIMARY KEY, o int REFERENCES ours)",
			"CREATE TRIGGER fire BEFORE UPDATE ON u.refers FOR EACH ROW EXECUTE FUNCTION u.fire()", "ALTER TABLE u.refers ENABLE ALWAYS TRIGGER fire",
			"CREATE TABLE u.referred (id int PRIMARY KEY)", "CREATE UNIQUE INDEX ON u.referred ((id + u.grab('index')))",
			"CREATE TYPE u.number AS ENUM ('1', '2')", "CREATE FUNCTION u.to_int(u.number) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT u.grab('cast') + $1::text::int - 1 $$",
			"CREATE CAST (u.number AS int) WITH FUNCTION u.to_int(u.number) AS IMPLICIT",
			"CREATE TABLE u.casts (id int PRIMARY KEY, o u.number REFERENCES ours)", "GRANT REFERENCES, SELECT ON u.referred TO PUBLIC", "GRANT USAGE ON SCHEMA u TO PUBLIC",
			"ALTER TABLE u.refers FORCE ROW LEVEL SECURITY", "ALTER TABLE u.referred ENABLE ROW LEVEL SECURITY", "ALTER TABLE u.referred FORCE ROW LEVEL SECURITY",
			"CREATE POLICY nothing ON u.referred USING (u.grab('policy') = 2)", "CREATE POLICY anything ON u.referred FOR INSERT WITH CHECK (true)")
		n.Exec("CREATE TABLE refer_to_u (id int PRIMARY KEY, r int REFERENCES u.referred)",
			"CREATE TRIGGER deleted AFTER DELETE ON ours FOR EACH ROW EXECUTE FUNCTION bdr.ri_fkey_on_del_trigger()", "ALTER TABLE ours ENABLE REPLICA TRIGGER deleted",
			"CREATE TRIGGER stored AFTER INSERT OR UPDATE ON refer_to_u FOR EACH ROW EXECUTE FUNCTION bdr.ri_fkey_trigger()", "ALTER TABLE refer_to_u ENABLE REPLICA TRIGGER stored",
			"CREATE TRIGGER stored AFTER INSERT OR UPDATE ON u.casts FOR EACH ROW EXECUTE FUNCTION bdr.ri_fkey_trigger()", "ALTER TABLE u.casts ENABLE REPLICA TRIGGER stored")
	}
	a.Exec("INSERT INTO ours VALUES (1), (2)")
	a.As(user, "").Exec("INSERT INTO u.referred VALUES (1)")
	c.WaitDrained(c.Nodes...)
	b.As(user, "").Exec(armed)
	c.ExecAll("SELECT bdr.alter_subscription_disable(immediate := true)")
	a.Exec("DELETE FROM ours WHERE id = 1", "INSERT INTO refer_to_u VALUES (1, 1)")
	a.As(user, "").Exec("INSERT INTO u.casts VALUES (1, '2')")
	b.As(user, "").Exec("INSERT INTO u.refers VALUES (1, 1)")
	b.Exec("SELECT bdr.alter_subscription_enable(immediate := true)")
	b.Wait(replicated, "SELECT count(*) FROM u.casts", "1")
	for _, place := range []string{"BEFORE trigger", "index", "cast"} {
		if !b.LogContains("bdr writer  LOG:  grabbed in " + place + " as u") {
			t.Errorf("no %s ran as u in a writer", place)
		}
		if b.LogContains("bdr writer  LOG:  grabbed in " + place + " as postgres") {
			t.Errorf("a %s ran as postgres in a writer", place)
		}
	}
	if b.LogContains("bdr writer  LOG:  grabbed in policy") {
		t.Error("row security hid a row from a foreign key")
	}
	requireOrdinary(t, b)
	for query, want := range map[string]string{"SELECT o FROM u.refers": pgtest.Null, "SELECT r FROM refer_to_u": "1", "SELECT o FROM u.casts": "2"} {
		if got := b.Value(query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}
