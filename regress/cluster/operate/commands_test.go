package operate

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
)

var updateCommands = flag.Bool("update-commands", false, "write the table of docs/ddl.md")

// A command that the table lacks would be let through or refused by accident.
func TestEveryCommandTagIsDecided(t *testing.T) {
	n := pgtest.NewCluster(t, 1).Nodes[0]
	n.LoadTestFunctions()
	if n.Value("SELECT cardinality(bdr_test.command_tags()) > 190") != "t" {
		t.Fatal("the server's list of command tags is not whole")
	}
	missing := n.Value(`SELECT COALESCE(string_agg(tag, ', '), '') FROM unnest(bdr_test.command_tags()) tag
		WHERE tag NOT IN (SELECT command_tag FROM bdr.ddl_commands())`)
	if missing != "" {
		t.Errorf("extension/ddl/command.c lacks %s", missing)
	}
	unfound := n.Value("SELECT COALESCE(string_agg(tag, ', '), '') FROM unnest(bdr_test.command_tags()) tag WHERE bdr_test.command_fate(tag) IS DISTINCT FROM " +
		"(SELECT c.replicated FROM bdr.ddl_commands() c WHERE c.command_tag = tag)")
	if unfound != "" {
		t.Errorf("found by their tag otherwise than listed: %s", unfound)
	}
	undecided := n.Value("SELECT COALESCE(string_agg(command_tag, ', '), '') FROM bdr.ddl_commands() WHERE replicated = 'local' AND reason IS NULL")
	if undecided != "" {
		t.Errorf("local without a reason: %s", undecided)
	}
}

// What needs no lock on the table must not take one, since that needs every node.
func TestLocksOfForms(t *testing.T) {
	n := pgtest.NewCluster(t, 1).Nodes[0]
	n.LoadTestFunctions()
	n.Exec("CREATE DOMAIN made AS int DEFAULT random()")
	for locks, forms := range map[string][]string{
		"ddl": {
			"ALTER TABLE t ADD c int", "ALTER TABLE t ADD c text DEFAULT 'x' NULL", "ALTER TABLE t ADD c int DEFAULT '1'::bigint, ADD d int DEFAULT NULL",
			"ALTER TABLE t ALTER c SET DEFAULT random()", "ALTER TABLE t ALTER c DROP DEFAULT", "ALTER TABLE t ALTER c SET STATISTICS 9",
			"ALTER TABLE t ALTER c SET (n_distinct = 3)", "ALTER TABLE t VALIDATE CONSTRAINT k", "ALTER TABLE t ADD CHECK (c > 0) NOT VALID",
			"ALTER TABLE t ADD FOREIGN KEY (c) REFERENCES u NOT VALID", "ALTER TABLE t ATTACH PARTITION p FOR VALUES IN (1)",
			"ALTER TABLE t DETACH PARTITION p CONCURRENTLY", "ALTER TABLE t DETACH PARTITION p FINALIZE", "ALTER TABLE t ENABLE TRIGGER g",
			"ALTER TABLE t DISABLE TRIGGER ALL", "ALTER TABLE t CLUSTER ON i", "ALTER TABLE t SET WITHOUT CLUSTER", "ALTER TABLE t SET (fillfactor = 50)",
			"ALTER TABLE t RESET (fillfactor)", "ALTER TABLE t OWNER TO CURRENT_USER", "ALTER TABLE t RENAME CONSTRAINT c TO d",
			"ALTER MATERIALIZED VIEW v OWNER TO CURRENT_USER", "ALTER SEQUENCE s RENAME TO z",
			"CREATE TABLE t (c int)", "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()", "ALTER INDEX i SET (fillfactor = 50)",
		},
		"ddl+dml": {
			"ALTER TABLE t ADD c int DEFAULT random()", "ALTER TABLE t ADD c int NOT NULL", "ALTER TABLE t ADD c serial", "ALTER TABLE t ADD c made",
			"ALTER TABLE t ADD c int UNIQUE", "ALTER TABLE t ADD c int GENERATED ALWAYS AS (1) STORED", "ALTER TABLE t ADD c unknown_type",
			"ALTER TABLE t DROP c", "ALTER TABLE t ALTER c TYPE bigint", "ALTER TABLE t ADD CHECK (c > 0)", "ALTER TABLE t ADD UNIQUE (c)",
			"ALTER TABLE t ALTER c SET NOT NULL", "ALTER TABLE t ENABLE ALWAYS TRIGGER g", "ALTER TABLE t ENABLE REPLICA TRIGGER g",
			"ALTER TABLE t REPLICA IDENTITY FULL", "ALTER TABLE t SET UNLOGGED", "ALTER TABLE t SET SCHEMA s", "ALTER TABLE t SET (fillfactor = 50), DROP c",
			"DROP TABLE t", "CREATE INDEX ON t (c)", "ALTER SEQUENCE s RESTART", "ALTER TABLE t RENAME TO u", "ALTER TABLE t RENAME c TO d",
		},
		"dml":  {"TRUNCATE t", "LOCK TABLE t"},
		"none": {"SELECT 1", "INSERT INTO t VALUES (1)", "VACUUM t", "REFRESH MATERIALIZED VIEW v", "SET x.y = 1"},
	} {
		for _, form := range forms {
			if got := n.Value("SELECT bdr_test.command_locks($q$" + form + "$q$)"); got != locks {
				t.Errorf("%s takes %s, expected %s", form, got, locks)
			}
		}
	}
}

// The page is what users read; the table is what the server does.
func TestPageOfCommands(t *testing.T) {
	n := pgtest.NewCluster(t, 1).Nodes[0]
	page := readDoc(t, "ddl.md")
	before, rest, found := strings.Cut(page, commandsBegin)
	_, after, ended := strings.Cut(rest, commandsEnd)
	if !found || !ended {
		t.Fatalf("docs/ddl.md lacks %q or %q", commandsBegin, commandsEnd)
	}
	wanted := before + commandsBegin + commandsTable(n.For(t)) + commandsEnd + after
	if *updateCommands {
		if err := os.WriteFile(docsDir+"/ddl.md", []byte(wanted), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if page != wanted {
		t.Error("docs/ddl.md is not what bdr.ddl_commands() says: run go test ./regress/cluster/operate -run TestPageOfCommands -update-commands")
	}
}

const (
	commandsBegin = "<!-- commands: written by TestPageOfCommands -->\n"
	commandsEnd   = "<!-- end of commands -->\n"
)

// commandsTable puts commands of one kind into one row.
func commandsTable(n *pgtest.Node) string {
	var b strings.Builder
	b.WriteString("\n| Commands | Replicated | Lock | Why, and what else |\n|---|---|---|---|\n")
	for _, row := range n.Rows(`SELECT string_agg(command_tag, ', ' ORDER BY command_tag COLLATE "C"), replicated, lock, COALESCE(reason, '')
		FROM bdr.ddl_commands() GROUP BY replicated, lock, reason
		ORDER BY replicated <> 'replicated', replicated <> 'rows', lock, COALESCE(reason, '') COLLATE "C"`) {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
	}
	b.WriteString("\n")
	return b.String()
}
