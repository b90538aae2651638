package apply

import (
	"fmt"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

const largeTable = "CREATE TABLE large (id int PRIMARY KEY, a bytea, b bytea, c bytea); " +
	"ALTER TABLE large ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL, ALTER c SET STORAGE EXTERNAL"

// largeSums is what a test compares of the rows: it names every byte.
const largeSums = "SELECT string_agg(concat_ws(' ', id, md5(a), md5(b), md5(c)), ',' ORDER BY id) FROM large"

// largeRow is a row with values of so many megabytes.
func largeRow(id, a, b, c int) string {
	value := func(megabytes int) string {
		return fmt.Sprintf("repeat(md5('%d %d'), %d)::bytea", id, megabytes, megabytes<<20/32)
	}
	return fmt.Sprintf("(%d, %s, %s, %s)", id, value(a), value(b), value(c))
}

// changesOfLargeRows are statements of one node, in their order.
var changesOfLargeRows = []struct {
	name string
	sql  []string
}{
	{"insert", []string{"INSERT INTO large VALUES " + largeRow(1, 3, 20, 0)}},
	{"copies", []string{"INSERT INTO large SELECT id + 1, a, b, b FROM large WHERE id = 1"}},
	{"among_others", []string{"BEGIN; INSERT INTO large SELECT g FROM generate_series(10, 20) g; INSERT INTO large VALUES " + largeRow(3, 10, 0, 9) +
		"; UPDATE large SET c = 'y' WHERE id = 10; INSERT INTO large VALUES " + largeRow(4, 0, 8, 0) + ", " + largeRow(5, 8, 8, 8) +
		"; DELETE FROM large WHERE id = 11; COMMIT"}},
	{"update", []string{"UPDATE large SET a = b, b = a WHERE id = 2"}},
	{"full_identity", []string{"ALTER TABLE large REPLICA IDENTITY FULL", "UPDATE large SET c = a WHERE id = 2", "UPDATE large SET id = 6 WHERE id = 5",
		"DELETE FROM large WHERE id = 3", "ALTER TABLE large REPLICA IDENTITY DEFAULT"}},
	{"rolled_back", []string{"BEGIN; INSERT INTO large VALUES " + largeRow(7, 9, 0, 0) + "; SAVEPOINT s; INSERT INTO large VALUES " + largeRow(8, 9, 0, 0) +
		"; ROLLBACK TO s; COMMIT"}},
	{"compressed", []string{"ALTER TABLE large ALTER a SET STORAGE EXTENDED", "INSERT INTO large VALUES " + largeRow(9, 12, 1, 1)}},
}

// TestLargeRows exists because a row may be larger than memory for one thing can
// be, so it travels in pieces; all that can happen to a row must happen to it.
// TestSoakRowOfMoreThanOneGigabyte has one that is as large.
func TestLargeRows(t *testing.T) {
	clustertest.OverTLS(t, func(t *testing.T, options ...pgtest.Option) {
		c := pgtest.NewCluster(t, 2, append(options, pgtest.WithSettings(clustertest.QuickRetries))...)
		c.ExecAll(largeTable)
		changes := changesOfLargeRows
		if len(options) > 0 {
			changes = changes[:1] // the writer does the same with what the manager brings
		}
		for _, change := range changes {
			t.Run(change.name, func(t *testing.T) {
				a, b := c.Nodes[0].For(t), c.Nodes[1].For(t)
				a.Exec(change.sql...)
				c.For(t).RequireConverged()
				if got, want := b.Value(largeSums), a.Value(largeSums); got != want {
					t.Errorf("%s has %s\nexpected %s", b.Name, got, want)
				}
			})
		}
		t.Run("conflict", func(t *testing.T) { requireLargeConflict(t, c.For(t)) })
	})
}

// requireLargeConflict makes a unit with a large row start over, with changes of
// its transaction before and after it.
func requireLargeConflict(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("TRUNCATE large")
	sub := "(SELECT sub_name FROM bdr.subscription_summary)"
	c.ExecAll("SELECT bdr.alter_subscription_disable(" + sub + ")")
	b.Exec("INSERT INTO large VALUES (1, 'of b'), (2, 'of b'), (3, 'of b'), (4, 'of b')")
	a.Exec("BEGIN; INSERT INTO large VALUES (1, 'of a'); INSERT INTO large VALUES "+largeRow(2, 10, 3, 0)+"; INSERT INTO large VALUES (3, 'of a'); INSERT INTO large VALUES "+
		largeRow(4, 10, 4, 0)+"; INSERT INTO large VALUES (5, 'of a'); COMMIT", "INSERT INTO large VALUES "+largeRow(6, 10, 0, 0))
	c.ExecAll("SELECT bdr.alter_subscription_enable(" + sub + ")")
	c.RequireConverged()
	if got := a.Value("SELECT string_agg(concat_ws(' ', id, length(a)), ',' ORDER BY id) FROM large"); got != "1 4,2 10485760,3 4,4 10485760,5 4,6 10485760" {
		t.Errorf("the rows are %s", got)
	}
}
