package ddl

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
)

// TestOrder exists because a row fits the table as it was when it was written.
// Definitions and rows come in every order of one transaction, with what was
// rolled back to a savepoint among them.
func TestOrder(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithSettings(on))
	a := c.Nodes[0]
	steps := []string{"ALTER TABLE %[1]s ADD COLUMN c int DEFAULT 5", "INSERT INTO %[1]s (a) SELECT max(a) + 1 FROM %[1]s", "ALTER TABLE %[1]s ALTER b TYPE text",
		"UPDATE %[1]s SET b = b || '1' WHERE a = 1"}
	for i, order := range permutations(steps) {
		table := fmt.Sprintf("o%d", i)
		sql := fmt.Sprintf("CREATE TABLE %[1]s (a int PRIMARY KEY, b varchar(20)); INSERT INTO %[1]s VALUES (1, 'x');", table)
		for j, step := range order {
			sql += fmt.Sprintf("SAVEPOINT s; "+step+"; DROP TABLE %[1]s; ROLLBACK TO s; SAVEPOINT kept; "+step+"; RELEASE kept;", table)
			if j == i%4 {
				sql += fmt.Sprintf("SAVEPOINT s2; TRUNCATE %[1]s; ALTER TABLE %[1]s DROP COLUMN b; ROLLBACK TO s2;", table)
			}
		}
		a.Exec("BEGIN; "+sql+" COMMIT", fmt.Sprintf("BEGIN; DELETE FROM %[1]s; DROP TABLE %[1]s; CREATE TABLE never (a int); ROLLBACK", table))
	}
	c.RequireSameSchemas()
	a.Exec("BEGIN; CREATE TABLE big (a int PRIMARY KEY, b text); INSERT INTO big SELECT g, repeat('x', 500) FROM generate_series(1, 40000) g; ALTER TABLE big ADD c int DEFAULT 1; INSERT INTO big VALUES (0); COMMIT",
		"BEGIN; SET LOCAL bdr.ddl_locking = off; CREATE TABLE prepared (a int PRIMARY KEY); INSERT INTO prepared VALUES (1); PREPARE TRANSACTION 'p'", "COMMIT PREPARED 'p'",
		"COMMENT ON TABLE big IS '"+strings.Repeat("a long comment ", 700000)+"'")
	c.RequireSameSchemas()
}

func permutations(of []string) (all [][]string) {
	if len(of) < 2 {
		return [][]string{of}
	}
	for i := range of {
		for _, rest := range permutations(slices.Delete(slices.Clone(of), i, i+1)) {
			all = append(all, append([]string{of[i]}, rest...))
		}
	}
	return all
}

// TestExtensionsWithRows exists because the script of an extension fills tables on
// each node, so that its rows must not come from another one besides.
func TestExtensionsWithRows(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(on))
	a := c.Nodes[0]
	directory := filepath.Join(a.Value("SELECT setting FROM pg_config WHERE name = 'SHAREDIR'"), "extension")
	for name, text := range map[string]string{"bdr_ddl_test.control": "default_version = '1'\nrelocatable = false\n",
		"bdr_ddl_test--1.sql":    "CREATE TABLE config (a int); INSERT INTO config VALUES (1), (1);",
		"bdr_ddl_test--1--2.sql": "INSERT INTO config VALUES (2); CREATE TABLE more (a int);"} {
		path := filepath.Join(directory, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(path) })
	}
	a.Exec("BEGIN; CREATE TABLE before (a int); INSERT INTO before VALUES (1); CREATE EXTENSION bdr_ddl_test; INSERT INTO before VALUES (2); INSERT INTO config VALUES (3); COMMIT",
		"BEGIN; SAVEPOINT s; ALTER EXTENSION bdr_ddl_test UPDATE TO '2'; ROLLBACK TO s; INSERT INTO before VALUES (3); ALTER EXTENSION bdr_ddl_test UPDATE TO '2'; INSERT INTO before VALUES (4); COMMIT")
	c.RequireSameSchemas()
	for _, n := range c.Nodes {
		if rows := n.Value("SELECT string_agg(a::text, ' ' ORDER BY a) FROM config"); rows != "1 1 2 3" {
			t.Errorf("%s has %s", n.Name, rows)
		}
	}
}

// TestOwnerOfThen exists because rows that wait for a peer may belong to a table
// that has another owner by now, under another name.
func TestOwnerOfThen(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(on))
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE TABLE gate (a int PRIMARY KEY)", "CREATE ROLE one", "CREATE ROLE two", "CREATE TABLE t (a int PRIMARY KEY)", "ALTER TABLE t OWNER TO one",
		"CREATE TABLE p (a int PRIMARY KEY) PARTITION BY RANGE (a)", "CREATE TABLE p1 PARTITION OF p DEFAULT", "ALTER TABLE p OWNER TO one", "ALTER TABLE p1 OWNER TO one")
	c.WaitDrained(a, b)
	lock := b.Session()
	if _, err := pgtest.RunOn(lock, "BEGIN; LOCK TABLE gate", time.Minute); err != nil {
		t.Fatal(err)
	}
	a.Exec("INSERT INTO gate VALUES (1)", "INSERT INTO t VALUES (1)", "INSERT INTO p VALUES (1)", "ALTER ROLE one RENAME TO uno", "INSERT INTO t VALUES (2)", "INSERT INTO p VALUES (2)",
		"ALTER TABLE t OWNER TO two", "ALTER TABLE p OWNER TO two", "ALTER TABLE p1 OWNER TO two", "INSERT INTO p VALUES (3)", "INSERT INTO t VALUES (3)", "INSERT INTO p VALUES (4)", "DROP ROLE uno")
	if _, err := pgtest.RunOn(lock, "COMMIT", time.Minute); err != nil {
		t.Fatal(err)
	}
	c.RequireSameSchemas()
}
