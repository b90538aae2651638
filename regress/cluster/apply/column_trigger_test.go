package apply

import (
	"testing"

	"bdr/gosrc/pgtest"
)

// TestTriggersOfColumns exists because a row arrives whole, and a trigger FOR
// UPDATE OF a column fired for every update, say a mail for each change of an
// address also when the balance changed. It fires for columns whose value is
// another one than before.
func TestTriggersOfColumns(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY, a int, b int, big text, g int GENERATED ALWAYS AS (a * 10) STORED, h int GENERATED ALWAYS AS (b * 10) STORED)",
		"CREATE TABLE whole (id int, a int, b int)", "ALTER TABLE whole REPLICA IDENTITY FULL",
		"CREATE TABLE p (id int PRIMARY KEY, a int, b int) PARTITION BY RANGE (id)", "CREATE TABLE p1 PARTITION OF p DEFAULT")
	b.Exec("CREATE UNLOGGED TABLE seen (n serial, what text)",
		`CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.seen (what) VALUES (TG_NAME); RETURN NEW; END$$`)
	for _, table := range []string{"t", "whole", "p1"} {
		b.Exec("CREATE TRIGGER after_a AFTER UPDATE OF a ON "+table+" FOR EACH ROW EXECUTE FUNCTION note()",
			"CREATE TRIGGER before_b BEFORE UPDATE OF b ON "+table+" FOR EACH ROW EXECUTE FUNCTION note()",
			"CREATE CONSTRAINT TRIGGER late_b AFTER UPDATE OF b ON "+table+" INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note()",
			"CREATE TRIGGER on_any AFTER UPDATE ON "+table+" FOR EACH ROW EXECUTE FUNCTION note()")
		for _, trigger := range []string{"after_a", "before_b", "late_b", "on_any"} {
			b.Exec("ALTER TABLE " + table + " ENABLE ALWAYS TRIGGER " + trigger)
		}
	}
	b.Exec("CREATE TRIGGER of_big AFTER UPDATE OF big ON t FOR EACH ROW EXECUTE FUNCTION note()", "ALTER TABLE t ENABLE REPLICA TRIGGER of_big")
	big := "(SELECT string_agg(md5(g::text), '') FROM generate_series(1, 200) g)"
	a.Exec("BEGIN; INSERT INTO t VALUES (1, 1, 1, "+big+"); UPDATE t SET a = 2; COMMIT", "INSERT INTO whole VALUES (1, 1, 1)", "INSERT INTO p VALUES (1, 1, 1)")
	c.RequireConverged()
	expect := func(statement, want string) {
		t.Helper()
		b.Exec("TRUNCATE seen")
		a.Exec(statement)
		c.WaitDrained(c.Nodes...)
		if got := b.Value("SELECT coalesce(string_agg(what, ' ' ORDER BY n), '') FROM seen"); got != want {
			t.Errorf("%s: %s", statement, got)
		}
	}
	for _, table := range []string{"t", "whole", "p"} {
		expect("UPDATE "+table+" SET a = a + 1", "after_a on_any")
		expect("UPDATE "+table+" SET b = b + 1", "before_b on_any late_b")
		expect("UPDATE "+table+" SET a = NULL, b = 7", "before_b after_a on_any late_b")
		expect("UPDATE "+table+" SET a = a, b = b", "on_any")
		expect("UPDATE "+table+" SET a = 3", "after_a on_any")
		expect("BEGIN; UPDATE "+table+" SET b = 8; UPDATE "+table+" SET a = 4; COMMIT", "before_b on_any after_a on_any late_b")
	}
	expect("UPDATE t SET big = big || 'x'", "of_big on_any")
	expect("UPDATE t SET big = left(big, -1) || 'x'", "on_any")
	c.RequireConverged()
	if got := b.Value("SELECT concat_ws(' ', a, b, g, h) FROM t"); got != "4 8 40 80" {
		t.Errorf("the row with computed columns is %s", got)
	}
}
