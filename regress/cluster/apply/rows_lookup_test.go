package apply

import (
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestFullIdentityUsesOtherIndexes exists because an index that leads to a row
// need not be a btree: a hash index will do, which does not find NULL, and since
// PostgreSQL 18 any that says by which operator it finds equal values.
func TestFullIdentityUsesOtherIndexes(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	tables := []string{"of_hash"}
	c.ExecAll("CREATE TABLE of_hash (id int, u text, v text)", "CREATE INDEX ON of_hash USING hash (id)",
		// these do not lead to rows
		"CREATE INDEX ON of_hash USING brin (id)", "CREATE INDEX ON of_hash USING hash (v) WHERE v <> 'w'", "CREATE INDEX ON of_hash USING spgist (u)",
		"CREATE INDEX ON of_hash USING gin (to_tsvector('simple', u))")
	if pgtest.Major(t) >= 18 {
		tables = append(tables, "of_gist")
		c.ExecAll("CREATE EXTENSION btree_gist", "CREATE TABLE of_gist (id int, u text, v text, r int4range DEFAULT '[1,2)')", "CREATE INDEX ON of_gist USING gist (u, id)",
			"CREATE INDEX ON of_gist USING gist (r)")
	}
	for _, table := range tables {
		c.ExecAll("ALTER TABLE " + table + " REPLICA IDENTITY FULL")
		a.Exec("INSERT INTO "+table+" SELECT g, 'u' || g, 'v' FROM generate_series(1, 3000) g", "INSERT INTO "+table+" VALUES (NULL, NULL, 'v'), (NULL, 'u', 'v'), (NULL, 'u', 'v')")
		c.RequireConverged()
		c.ExecAll("ANALYZE " + table)
		scans := func() string {
			return b.Value("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = '" + table + "'")
		}
		before := scans()
		a.Exec("UPDATE "+table+" SET v = 'w' WHERE id % 2 = 0", "DELETE FROM "+table+" WHERE id % 5 = 0")
		c.WaitDrained(c.Nodes...)
		b.Wait(clustertest.ResumeLimit, "SELECT n_tup_upd = 1500 AND n_tup_del = 600 FROM pg_stat_user_tables WHERE relname = '"+table+"'", "t")
		// reading it to compare, and making its indexes, are some
		if after := scans(); b.Value("SELECT "+after+" - "+before+" < 20") != "t" {
			t.Errorf("sequential scans of %s: %s, then %s", table, before, after)
		}
		a.Exec("UPDATE "+table+" SET v = 'x' WHERE u IS NULL", "UPDATE "+table+" SET id = -1 WHERE ctid = (SELECT min(ctid) FROM "+table+" WHERE u = 'u')", "DELETE FROM "+table+" WHERE id IS NULL AND u = 'u'")
		c.RequireConverged()
	}
}
