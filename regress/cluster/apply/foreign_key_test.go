package apply

import (
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// foreignKeyTables has a foreign key of each kind that the triggers treat
// differently: plain, of two columns with one to be set to NULL, deferred and
// to itself, between types, and between partitioned tables.
var foreignKeyTables = []string{
	`CREATE TABLE parent (id int PRIMARY KEY, v text)`,
	`CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent, "the v" text)`,
	`CREATE TABLE pair (a int, b int, PRIMARY KEY (a, b))`,
	`CREATE TABLE of_pair (id int PRIMARY KEY, a int NOT NULL, b int, FOREIGN KEY (a, b) REFERENCES pair ON DELETE SET NULL (b))`,
	`CREATE TABLE tree (id int PRIMARY KEY, up int REFERENCES tree DEFERRABLE INITIALLY DEFERRED)`,
	`CREATE TABLE wide (id bigint PRIMARY KEY, name varchar(20) UNIQUE)`,
	`CREATE TABLE of_wide (id int PRIMARY KEY, wide int REFERENCES wide, name text REFERENCES wide (name))`,
	`CREATE TABLE whole (id int PRIMARY KEY) PARTITION BY RANGE (id)`,
	`CREATE TABLE whole_1 PARTITION OF whole FOR VALUES FROM (0) TO (100)`,
	`CREATE TABLE of_whole (id int PRIMARY KEY, whole int REFERENCES whole) PARTITION BY RANGE (id)`,
	`CREATE TABLE of_whole_1 PARTITION OF of_whole FOR VALUES FROM (0) TO (100)`,
	`DO $$
	DECLARE t text;
	BEGIN
		FOREACH t IN ARRAY '{child,of_pair,of_wide,of_whole}'::text[] LOOP
			EXECUTE format('CREATE TRIGGER fkey BEFORE INSERT OR UPDATE ON %I FOR EACH ROW EXECUTE FUNCTION bdr.ri_fkey_trigger()', t);
		END LOOP;
		CREATE CONSTRAINT TRIGGER fkey AFTER INSERT OR UPDATE ON tree DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW EXECUTE FUNCTION bdr.ri_fkey_trigger();
		FOREACH t IN ARRAY '{parent,pair,tree,wide,whole}'::text[] LOOP
			EXECUTE format('CREATE TRIGGER fkey_del AFTER DELETE ON %I FOR EACH ROW EXECUTE FUNCTION bdr.ri_fkey_on_del_trigger()', t);
		END LOOP;
		FOR t IN SELECT format('ALTER TABLE %s ENABLE REPLICA TRIGGER %I', tgrelid::regclass, tgname) FROM pg_trigger WHERE tgname LIKE 'fkey%' LOOP
			EXECUTE t;
		END LOOP;
	END$$`,
}

// TestForeignKeyTriggers exists because a writer does not check foreign keys:
// a row that one node inserts while another deletes what it refers to must not
// point nowhere in the end, and nodes must agree on what it says instead.
func TestForeignKeyTriggers(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	c.ExecAll(foreignKeyTables...)
	for _, k := range []struct {
		name    string
		prepare string // on the first node, replicated
		delete  string // on the first node, while
		insert  string // this happens on the second
		table   string
		want    string // its rows in the end, on both
	}{
		{"plain", "INSERT INTO parent VALUES (1), (2)", "DELETE FROM parent WHERE id = 1",
			"INSERT INTO child VALUES (1, 1, 'x'), (2, 2, 'x'), (3, NULL, 'x')", "child", "(1,,x) (2,2,x) (3,,x)"},
		{"update", "INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (1, 2, 'x'), (2, 2, 'x')", "DELETE FROM parent WHERE id = 1",
			"UPDATE child SET parent = 1 WHERE id = 1", "child", "(1,,x) (2,2,x)"},
		{"not_the_key", "INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (1, 2, 'x')", "DELETE FROM parent WHERE id = 1",
			`UPDATE child SET "the v" = 'y'`, "child", "(1,2,y)"},
		{"two_columns", "INSERT INTO pair VALUES (1, 1), (1, 2)", "DELETE FROM pair WHERE b = 1",
			"INSERT INTO of_pair VALUES (1, 1, 1), (2, 1, 2), (3, 1, NULL)", "of_pair", "(1,1,) (2,1,2) (3,1,)"},
		{"deferred", "INSERT INTO tree VALUES (1)", "DELETE FROM tree",
			"INSERT INTO tree VALUES (5, 6), (6, 6), (7, 5), (8, 1); INSERT INTO tree VALUES (9, 9)", "tree", "(5,6) (6,6) (7,5) (8,) (9,9)"},
		{"types", "INSERT INTO wide VALUES (1, 'a'), (2, 'b')", "DELETE FROM wide WHERE id = 1",
			"INSERT INTO of_wide VALUES (1, 1, 'b'), (2, 2, 'a'), (3, 2, 'b')", "of_wide", "(1,,b) (2,2,) (3,2,b)"},
		{"partitions", "INSERT INTO whole VALUES (1), (2)", "DELETE FROM whole WHERE id = 1",
			"INSERT INTO of_whole VALUES (1, 1), (2, 2)", "of_whole", "(1,) (2,2)"},
		{"renamed", `ALTER TABLE child RENAME parent TO "the parent"; INSERT INTO parent VALUES (1), (2)`, "DELETE FROM parent WHERE id = 1",
			"INSERT INTO child VALUES (1, 1, 'x'), (2, 2, 'x')", "child", "(1,,x) (2,2,x)"},
	} {
		t.Run(k.name, func(t *testing.T) {
			c := c.For(t)
			a, b := c.Nodes[0], c.Nodes[1]
			if k.name == "renamed" {
				b.Exec(`ALTER TABLE child RENAME parent TO "the parent"`)
			}
			a.Exec(k.prepare)
			c.RequireConverged()
			resume := clustertest.PauseAll(t, c)
			a.Exec(k.delete)
			b.Exec(k.insert)
			resume()
			c.RequireConverged()
			if got := a.Value(clustertest.AllRows + k.table + " t"); got != k.want {
				t.Errorf("%s has %q, expected %q", k.table, got, k.want)
			}
			a.Exec("TRUNCATE parent, child, pair, of_pair, tree, wide, of_wide, whole, of_whole")
			c.RequireConverged()
		})
	}
	t.Run("local", func(t *testing.T) { requireForeignKeysLocally(t, c.Nodes[0].For(t)) })
}

// requireForeignKeysLocally: the triggers do nothing for users, even where
// they fire, and can be used for nothing else.
func requireForeignKeysLocally(t *testing.T, n *pgtest.Node) {
	n.Exec("CREATE TABLE p (id int PRIMARY KEY)", "CREATE TABLE f (id int PRIMARY KEY REFERENCES p)",
		"CREATE TRIGGER fkey BEFORE INSERT OR UPDATE ON f FOR EACH ROW EXECUTE FUNCTION bdr.ri_fkey_trigger()",
		"CREATE TRIGGER fkey_del BEFORE DELETE ON p FOR EACH ROW EXECUTE FUNCTION bdr.ri_fkey_on_del_trigger()",
		"INSERT INTO p VALUES (1)", "INSERT INTO f VALUES (1)")
	clustertest.RequireRefused(t, n, "INSERT INTO f VALUES (2)", "23503", "foreign key")
	clustertest.RequireRefused(t, n, "DELETE FROM p", "23503", "foreign key")
	n.Exec("CREATE TRIGGER wrong BEFORE DELETE ON f FOR EACH ROW EXECUTE FUNCTION bdr.ri_fkey_trigger()")
	clustertest.RequireRefused(t, n, "DELETE FROM f", "39P01", "must be fired for each row by INSERT or UPDATE")
	n.Exec("CREATE ROLE jane", "GRANT CREATE ON SCHEMA public TO jane")
	clustertest.RequireRefused(t, n, `SET ROLE jane; CREATE TABLE j (id int);
		CREATE TRIGGER fkey BEFORE INSERT ON j FOR EACH ROW EXECUTE FUNCTION bdr.ri_fkey_trigger()`, "42501", "permission denied")
	n.Exec("DROP TABLE f, p")
}
