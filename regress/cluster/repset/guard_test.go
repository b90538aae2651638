package repset

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgtest"
)

// TestFiltersAreGuarded exists because a filter that cannot be read any more stops the
// streams of a node, and who owns a table, or makes one, is not who put it into a set.
func TestFiltersAreGuarded(t *testing.T) {
	c, a, b := part(t, "CREATE ROLE owner LOGIN", "GRANT CREATE ON DATABASE app TO owner", "CREATE SCHEMA app AUTHORIZATION owner", "CREATE SCHEMA spare AUTHORIZATION owner",
		"CREATE TYPE app.mood AS ENUM ('good')", "CREATE TABLE app.orders (region text, id int, note text, PRIMARY KEY (region, id))", "ALTER TABLE app.orders OWNER TO owner",
		"CREATE TABLE app.free (id int PRIMARY KEY)", "ALTER TABLE app.free OWNER TO owner")
	a.Exec("SELECT bdr.replication_set_add_table('app.orders', 'part', row_filter := $$region = 'north'$$)")
	agreed(c)
	owner := a.As("owner", "")
	const other = "ALTER TABLE app.orders RENAME TO kept; "
	for _, refused := range []struct{ sql, state string }{
		{"ALTER TABLE app.orders DROP COLUMN region", "42703"},
		{"ALTER TABLE app.orders RENAME region TO place", "42703"},
		{"ALTER TABLE app.orders ALTER region TYPE app.mood USING region::app.mood", "42883"},
		{"ALTER TABLE app.orders ALTER region TYPE integer USING 1", "42883"},
		{"DO $$ BEGIN ALTER TABLE app.orders RENAME region TO place; END $$", "42703"},
		{other + "CREATE TABLE app.orders (id int)", "42703"},
		{other + "CREATE TABLE app.orders AS SELECT 1 AS id", "42703"},
		{other + "ALTER TABLE app.free RENAME TO orders", "42703"},
		{"CREATE TABLE spare.orders (id int); DROP TABLE app.orders; ALTER TABLE spare.orders SET SCHEMA app", "42703"},
		{"CREATE TABLE spare.orders (id int); ALTER SCHEMA app RENAME TO old; ALTER SCHEMA spare RENAME TO app", "42703"},
	} {
		var fault *pgconn.PgError
		if !errors.As(owner.Try(refused.sql), &fault) || fault.Code != refused.state || !strings.Contains(fault.Where, `row filter of table "app.orders"`) {
			t.Errorf("%s: %+v; expected %s, and where", refused.sql, fault, refused.state)
		}
	}
	for _, allowed := range []string{
		"ALTER TABLE app.orders DROP COLUMN note, ADD COLUMN more int",
		"ALTER TABLE app.orders ALTER region TYPE varchar(20)",
		"CREATE TEMPORARY TABLE orders (id int)",
		"CREATE UNLOGGED TABLE spare.orders (id int); DROP TABLE spare.orders",
		"DO $$ BEGIN ALTER TABLE app.orders RENAME region TO place; EXCEPTION WHEN undefined_column THEN NULL; END $$",
	} {
		if err := owner.Try(allowed); err != nil {
			t.Errorf("%s: %v", allowed, err)
		}
	}
	b.Exec("ALTER TABLE app.orders DROP COLUMN note, ADD COLUMN more int", "ALTER TABLE app.orders ALTER region TYPE varchar(20)")
	a.Exec("INSERT INTO app.orders VALUES ('north', 1), ('south', 2)")
	arrived(t, c)
	requireRows(t, b, "app.orders", "(north,1,)")

	// A table that is made again is in its sets as before.
	c.ExecAll("DROP TABLE app.orders", "CREATE TABLE app.orders (id int, region text, PRIMARY KEY (id, region))", "ALTER TABLE app.orders OWNER TO owner")
	a.Exec("INSERT INTO app.orders VALUES (3, 'north'), (4, 'south')")
	arrived(t, c)
	requireRows(t, b, "app.orders", "(3,north)")
	a.Exec("SELECT bdr.replication_set_remove_table('app.orders', 'part')")
	owner.Exec("ALTER TABLE app.orders DROP COLUMN region")
}

// TestSetsInUse exists because a node whose set is gone gets nothing more of it, and
// nobody would notice.
func TestSetsInUse(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("SELECT bdr.create_replication_set('used')", "SELECT bdr.create_replication_set('other')")
	agreed(c)
	choose(b, "app_group", "used")
	refused := func(set, state, what string) {
		t.Helper()
		var fault *pgconn.PgError
		if !errors.As(a.Try("SELECT bdr.drop_replication_set('"+set+"')"), &fault) || fault.Code != state || !strings.Contains(fault.Detail, what) {
			t.Errorf("set %s is dropped: %+v; expected %s, %s", set, fault, state, what)
		}
	}
	refused("used", "55006", `"node2"`)
	_, err := b.Stop(pgtest.Fast)
	b.Must(err)
	refused("used", "55006", `"node2"`)
	refused("other", "55000", `"node2"`)
	b.Must(b.Start())
	choose(b, "other")
	a.Exec("SELECT bdr.drop_replication_set('used')")
	choose(b)
	a.Exec("SELECT bdr.drop_replication_set('other')")
	agreed(c)
}
