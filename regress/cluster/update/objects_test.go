package update

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
)

// TestUpdatedObjects exists because a database that was updated must have what a
// new one has, for ever after: the next update script counts on it. It shows each
// difference; what sql/update.awk cannot derive goes into sql/updates/.
func TestUpdatedObjects(t *testing.T) {
	n := pgtest.StartPlain(t, "objects", nil)
	n.Exec("CREATE DATABASE fresh", "CREATE DATABASE updated")
	run(t, n, "fresh", "CREATE EXTENSION bdr")
	fresh := objects(t, n, "fresh")
	if len(fresh) < 500 {
		t.Fatalf("only %d facts about the extension", len(fresh))
	}
	for _, r := range releases(t) {
		t.Run(r.version, func(t *testing.T) {
			run(t, n, "updated", "CREATE EXTENSION bdr VERSION '"+r.version+"'; ALTER EXTENSION bdr UPDATE")
			updated := objects(t, n, "updated")
			for _, fact := range slices.Sorted(maps.Keys(fresh)) {
				if !updated[fact] {
					t.Errorf("not after the update: %s", fact)
				}
			}
			for _, fact := range slices.Sorted(maps.Keys(updated)) {
				if !fresh[fact] {
					t.Errorf("only after the update: %s", fact)
				}
			}
			run(t, n, "updated", "DROP EXTENSION bdr")
		})
	}
}

// A release is a version that an update may start from.
type release struct{ version, commit string }

func releases(t *testing.T) []release {
	t.Helper()
	list, err := os.ReadFile("../../../sql/released/versions")
	if err != nil {
		t.Fatal(err)
	}
	var out []release
	for line := range strings.Lines(string(list)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] != "#" {
			out = append(out, release{fields[0], fields[1]})
		}
	}
	if len(out) == 0 {
		t.Fatal("no released version")
	}
	return out
}

func run(t *testing.T, n *pgtest.Node, database, sql string) [][]string {
	t.Helper()
	rows, err := n.Run(database, sql)
	if err != nil {
		t.Fatalf("database %q: %s\n%s", database, pgtest.Explain(err), sql)
	}
	return rows
}

// objects are facts about all that belongs to the extension, and the rows of its tables.
func objects(t *testing.T, n *pgtest.Node, database string) map[string]bool {
	t.Helper()
	query, err := os.ReadFile("objects.sql")
	if err != nil {
		t.Fatal(err)
	}
	facts := map[string]bool{}
	for _, row := range run(t, n, database, string(query)) {
		facts[row[0]] = true
	}
	for _, table := range run(t, n, database, `SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'bdr'::regnamespace AND relkind = 'r'`) {
		for _, row := range run(t, n, database, "SELECT t::text FROM "+table[0]+" t") {
			facts["row of "+table[0]+": "+row[0]] = true
		}
	}
	return facts
}
