package operate

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
)

const docsDir = "../../../docs"

// TestReference exists because a reference that was right once is trusted long
// after. The catalog and the pages must say the same; both are lists of
// "heading: entry", where an entry is a signature or the first cells of a row.
func TestReference(t *testing.T) {
	n := pgtest.NewCluster(t, 1).Nodes[0]
	for _, page := range []struct{ file, facts string }{
		{"functions.md", functionFacts}, {"views-and-tables.md", relationFacts}, {"settings.md", settingFacts},
	} {
		t.Run(page.file, func(t *testing.T) {
			described := referenceEntries(readDoc(t, "reference/"+page.file))
			facts := slices.Concat(n.For(t).Rows(page.facts)...)
			requireEach(t, facts, described, "is missing in "+page.file)
			requireEach(t, described, facts, "is described in "+page.file+", but is not so")
		})
	}
}

// TestQueriesOfDocuments exists because whoever types them at night has no time
// to mend them.
func TestQueriesOfDocuments(t *testing.T) {
	n := pgtest.NewCluster(t, 1).Nodes[0]
	for _, file := range []string{"monitoring.md", "upgrade.md"} {
		for _, block := range queryBlock.FindAllStringSubmatch(readDoc(t, file), -1) {
			n.Exec(block[1])
		}
	}
}

var queryBlock = regexp.MustCompile("(?ms)^```sql\n(.*?)^```")

func readDoc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(docsDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func requireEach(t *testing.T, wanted, among []string, complaint string) {
	t.Helper()
	for _, entry := range wanted {
		if !slices.Contains(among, entry) {
			t.Errorf("%s %s", entry, complaint)
		}
	}
}

// comparedCells says, by the first word of a table's header, how many cells of
// its rows are entries. Other tables are for readers only.
var comparedCells = map[string]int{"argument": 1, "column": 2, "function": 1, "setting": 1, "type": 5}

var (
	referenceSection   = regexp.MustCompile(`(?m)^##+ `)
	referenceSignature = regexp.MustCompile("(?s)\n```\n(bdr\\..*?)\n```\n")
	referenceTable     = regexp.MustCompile(`(?m)(^\|.*\n)+`)
)

func referenceEntries(page string) []string {
	var entries []string
	for _, section := range referenceSection.Split(page, -1)[1:] {
		heading, _, _ := strings.Cut(section, "\n")
		before := len(entries)
		for _, signatures := range referenceSignature.FindAllStringSubmatch(section, -1) {
			for signature := range strings.SplitSeq(strings.ReplaceAll(signatures[1], "\n    ", " "), "\n") {
				entries = append(entries, heading+": "+signature)
			}
		}
		for _, table := range referenceTable.FindAllString(section, -1) {
			rows := strings.Split(strings.TrimSpace(table), "\n")
			for _, row := range rows[2:] {
				if cells := tableCells(row, comparedCells[tableCells(rows[0], 1)]); cells != "" {
					entries = append(entries, heading+": "+cells)
				}
			}
		}
		if strings.HasPrefix(heading, "bdr.") && len(entries) == before {
			entries = append(entries, heading+": nothing")
		}
	}
	return entries
}

// tableCells returns the first n cells of a row.
func tableCells(row string, n int) string {
	cells := strings.Split(row, "|")[1 : n+1]
	for i := range cells {
		cells[i] = strings.Trim(cells[i], " `")
	}
	return strings.Join(cells, " | ")
}

const (
	functionFacts = `
SELECT 'bdr.' || proname || ': bdr.' || proname || '(' ||
    regexp_replace(pg_get_function_arguments(oid), '(, )?OUT [^,]*|::[a-z_ ]+(\[\])?', '', 'g') ||
    ') returns ' || pg_get_function_result(oid)
FROM pg_proc WHERE pronamespace = 'bdr'::regnamespace AND proname !~ '^(internal|seq)_'
UNION ALL SELECT 'bdr.' || proname || ': ' || name ||
    CASE WHEN mode IN ('o', 't') THEN ' | ' || replace(type::regtype::text, 'timestamp with time zone', 'timestamptz') ELSE '' END
FROM pg_proc, unnest(proargnames, proargmodes, COALESCE(proallargtypes, proargtypes::oid[])) AS a (name, mode, type)
WHERE pronamespace = 'bdr'::regnamespace AND proname !~ '^(internal|seq)_'
UNION ALL SELECT 'Functions that you do not call: ' || proname
FROM pg_proc WHERE pronamespace = 'bdr'::regnamespace AND proname ~ '^(internal|seq)_'`

	relationFacts = `
SELECT 'bdr.' || relname || ': ' || attname || ' | ' ||
    replace(format_type(atttypid, atttypmod), 'timestamp with time zone', 'timestamptz')
FROM pg_class c JOIN pg_attribute ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
WHERE relnamespace = 'bdr'::regnamespace AND relkind <> 'i' AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid)`

	// The last ones are in no list of the server's.
	settingFacts = `
SELECT concat_ws(' | ', name || ': ' || vartype, boot_val, COALESCE(unit, ''), CASE vartype WHEN 'bool' THEN 'on, off'
    WHEN 'enum' THEN array_to_string(enumvals, ', ') ELSE min_val || ' to ' || max_val END, context)
FROM pg_settings WHERE name ~ '^bdr\.'
UNION ALL SELECT 'Settings that you do not set: ' || name
FROM unnest('{bdr.debug_architecture,bdr.debug_go_library,bdr.debug_id_clock,bdr.debug_trust_peers,bdr.internal_restore}'::text[]) name
WHERE current_setting(name, true) IS NOT NULL`
)
