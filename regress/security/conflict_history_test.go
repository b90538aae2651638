package security

import "testing"

// TestHistoryOfADroppedTable exists because oids are used again, and whoever
// drops and creates tables, or stores large values, uses them up. The conflicts of
// a table that is gone must not be shown to who owns the next one of its oid.
func TestHistoryOfADroppedTable(t *testing.T) {
	c, _, b := pairWithUser(t)
	c.ExecAll("GRANT USAGE ON SCHEMA bdr TO u", "CREATE TABLE secret (id int PRIMARY KEY, v text)")
	for _, n := range c.Nodes {
		n.As(user, "").Exec("CREATE TABLE u.mine (id int PRIMARY KEY, v text)")
	}
	collide := func(table string) {
		t.Helper()
		c.ExecAll("SELECT bdr.alter_subscription_disable(immediate := true)")
		c.ExecAll("INSERT INTO " + table + " VALUES (1, 'secret')")
		c.ExecAll("SELECT bdr.alter_subscription_enable(immediate := true)")
		c.RequireConverged()
	}
	collide("secret")
	collide("u.mine")
	reader := b.As(user, "")
	sees := func(want string) {
		t.Helper()
		for _, view := range []string{"conflict_history", "conflict_history_summary"} {
			rows, err := reader.Run("SELECT coalesce(string_agg(relname, ', ' ORDER BY relname), 'nothing') FROM bdr." + view)
			b.Must(err)
			if rows[0][0] != want {
				t.Errorf("u sees in %s: %s, want %s", view, rows[0][0], want)
			}
		}
	}
	sees("mine")
	// what the history has of a dropped table once u's got its oid
	c.ExecAll("DROP TABLE secret")
	b.Exec("UPDATE bdr.conflict_history SET reloid = 'u.mine'::regclass WHERE relname = 'secret'")
	sees("mine")
	// the table stays the same, whatever is done to it
	reader.Exec("ALTER TABLE u.mine ADD w int DEFAULT 1", "ALTER TABLE u.mine ALTER w TYPE text", "ALTER TABLE u.mine RENAME TO renamed", "VACUUM FULL u.renamed",
		"TRUNCATE u.renamed", "ALTER TABLE u.renamed SET UNLOGGED", "ALTER TABLE u.renamed SET LOGGED")
	b.Exec("VACUUM FREEZE pg_attribute", "VACUUM FULL pg_attribute")
	sees("mine")
	reader.Exec("DROP TABLE u.renamed")
	sees("nothing")
}
