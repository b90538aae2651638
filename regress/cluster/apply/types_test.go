package apply

import (
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestTypes exists because a value must be the same on every node, whatever
// its type: as a column, inside an array and as the key that a row is found by.
func TestTypes(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(clustertest.QuickRetries))
	c.ExecAll(`CREATE TABLE "Odd Table" (id int PRIMARY KEY)`)
	clustertest.TypesTravel(t, c, clustertest.BuiltinTypes...)
	if pgtest.Major(t) >= 17 {
		clustertest.TypesTravel(t, c, clustertest.ValuesSince17)
	}
	t.Run("every_built_in_type_was_there", func(t *testing.T) { clustertest.RequireEveryBuiltinType(t, c.Nodes[0].For(t)) })
	clustertest.TypesTravel(t, c, clustertest.ContribTypes(t, c))
	clustertest.MakeUserTypes(c)
	clustertest.TypesTravel(t, c, clustertest.UserTypes...)
	t.Run("domains_are_checked", func(t *testing.T) { domainsAreChecked(t, c.For(t)) })
	t.Run("column_of_another_type", func(t *testing.T) { columnOfAnotherType(t, c.For(t)) })
	t.Run("no_row_was_missed", func(t *testing.T) {
		for _, n := range c.Nodes {
			if got := n.For(t).Value("SELECT count(*) FROM bdr.conflict_history WHERE conflict_type::text <> 'update_origin_change'"); got != "0" {
				t.Errorf("%s: %s conflicts, and nobody wrote at the same time", n.Name, got)
			}
		}
	})
}

// A domain that is stricter here than at the origin refuses what the origin
// took, and takes over again when it is put right.
func domainsAreChecked(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE DOMAIN checked AS int")
	b.Exec("CREATE DOMAIN checked AS int CHECK (VALUE < 10)")
	c.ExecAll("CREATE TABLE checks (id int PRIMARY KEY, v checked, note text)", "CREATE DOMAIN never_null AS int NOT NULL",
		"CREATE TABLE nulls (id int PRIMARY KEY, v never_null)")
	a.Exec("INSERT INTO checks SELECT g, g FROM generate_series(1, 9) g")
	c.RequireConverged()
	a.Exec("INSERT INTO checks VALUES (10, 10)", "UPDATE checks SET note = 'x'", "DELETE FROM checks WHERE v = 10")
	pgtest.Eventually(t, clustertest.ResumeLimit, "the subscription names the constraint", func() (bool, string) {
		text := b.Value("SELECT coalesce(string_agg(last_error, ' '), '') FROM bdr.subscription_summary")
		return strings.Contains(text, `violates check constraint "checked_check"`), text
	})
	b.Exec("ALTER DOMAIN checked DROP CONSTRAINT checked_check")
	c.RequireConverged()
	b.Exec("INSERT INTO checks VALUES (20, 20)", "ALTER DOMAIN checked ADD CHECK (VALUE < 10) NOT VALID")
	c.RequireConverged()
	a.Exec("DELETE FROM checks WHERE id = 20", "UPDATE checks SET v = v - 1",
		// a domain that refuses NULL has it all the same
		"INSERT INTO nulls VALUES (1, (SELECT v FROM nulls WHERE false))")
	c.RequireConverged()
}

// A value goes through text where the type of the column differs.
func columnOfAnotherType(t *testing.T, c *pgtest.Cluster) {
	c.Nodes[0].Exec("CREATE TABLE others (id int PRIMARY KEY, a int, b text, c timestamptz, d numeric, e varchar(5), f positive, g mood)")
	c.Nodes[1].Exec("CREATE TABLE others (id bigint PRIMARY KEY, a text, b varchar(20), c text, d float8, e char(8), f numeric, g text)")
	c.Nodes[0].Exec("INSERT INTO others VALUES (1, 5, 'text', '2026-02-03 04:05:06+09', 1.5, 'abc', 2.25, 'so so')")
	c.WaitDrained(c.Nodes...)
	const want = "1|5|text|2026-02-02 19:05:06+00|1.5|abc     |2.25|so so"
	if got := c.Nodes[1].Value("SELECT concat_ws('|', id, a, b, c, d, e, f, g) FROM others"); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	c.Nodes[1].Exec("UPDATE others SET a = '7', c = 'infinity', d = 'NaN'")
	c.WaitDrained(c.Nodes...)
	if got := c.Nodes[0].Value("SELECT concat_ws('|', id, a, c, d, g) FROM others"); got != "1|7|infinity|NaN|so so" {
		t.Errorf("got %s", got)
	}
	c.ExecAll("DROP TABLE others")
}
