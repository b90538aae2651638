package conflict

import (
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestSkipUnderDeferrableConstraint exists because skip means that the change
// had never come, and under a deferrable constraint a row that is to be skipped
// has been stored by the time that it collides: an inserted one goes again, an
// updated one must be what it was, and not be lost with the update.
func TestSkipUnderDeferrableConstraint(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	cases := []struct{ name, in, rows, conflicts string }{
		{"inserted", "INSERT INTO inserted VALUES (4, 20, 'in')", "(1,10,old) (3,30,old) (9,20,here)", "update_pkey_exists 1"},
		{"updated", "UPDATE updated SET u = 20, v = 'in' WHERE id = 1", "(1,10,old) (3,30,old) (9,20,here)", "update_pkey_exists 1"},
		{"updated_twice", "BEGIN; UPDATE updated_twice SET u = 20, v = 'in' WHERE id = 1; UPDATE updated_twice SET v = 'again' WHERE id = 1; COMMIT",
			"(1,10,old) (3,30,old) (9,20,here)", "update_pkey_exists 1"},
		{"and_another", "BEGIN; UPDATE and_another SET u = 20 WHERE id = 1; UPDATE and_another SET v = 'in' WHERE id = 3; COMMIT",
			"(1,10,old) (3,30,in) (9,20,here)", "update_pkey_exists 1"},
		{"swapped", "UPDATE swapped SET u = 40 - u, v = 'in'", "(1,30,in) (3,10,in) (9,20,here)", ""},
		// what it was is taken by another row of the transaction
		{"taken", "BEGIN; UPDATE taken SET u = 20 WHERE id = 1; UPDATE taken SET u = 10, v = 'in' WHERE id = 3; COMMIT", "(3,10,in) (9,20,here)", "update_pkey_exists 2"},
		// a change of the key is a deletion and a new row
		{"moved", "UPDATE moved SET id = 5, u = 20 WHERE id = 1", "(3,30,old) (9,20,here)", "update_pkey_exists 1"},
	}
	for _, k := range cases {
		c.ExecAll("CREATE TABLE " + k.name + " (id int PRIMARY KEY, u int UNIQUE DEFERRABLE INITIALLY DEFERRED, v text)")
		a.Exec("INSERT INTO " + k.name + " VALUES (1, 10, 'old'), (3, 30, 'old')")
	}
	c.WaitDrained(c.Nodes...)
	clustertest.StopWriters(t, c)
	for _, k := range cases {
		b.Exec("INSERT INTO " + k.name + " VALUES (9, 20, 'here')")
	}
	for _, k := range cases {
		a.Exec(k.in)
	}
	setResolvers(b, "skip", nil)
	c.ExecAll("SELECT bdr.alter_subscription_enable(immediate := true)")
	c.WaitDrained(c.Nodes...)
	for _, k := range cases {
		if got := b.Value("SELECT string_agg(x::text, ' ' ORDER BY x) FROM " + k.name + " x"); got != k.rows {
			t.Errorf("%s: rows %s, expected %s", k.name, got, k.rows)
		}
		if got := b.Value(`SELECT coalesce(string_agg(concat_ws(' ', conflict_type, n), ', '), '') FROM (SELECT conflict_type, count(*) AS n FROM bdr.conflict_history
			WHERE relname = '` + k.name + `' AND conflict_resolution = 'skip' GROUP BY 1) h`); got != k.conflicts {
			t.Errorf("%s: history %s, expected %s", k.name, got, k.conflicts)
		}
	}
	// the next change of such a row is applied as of any
	b.Exec("DELETE FROM updated WHERE id = 9")
	a.Exec("UPDATE updated SET v = 'later' WHERE id = 1")
	c.WaitDrained(c.Nodes...)
	if got := b.Value("SELECT x::text FROM updated x WHERE id = 1"); got != "(1,20,later)" {
		t.Errorf("the next change left %s", got)
	}
}
