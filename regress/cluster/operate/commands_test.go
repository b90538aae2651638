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
