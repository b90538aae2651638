package core

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
)

// A difference is one place of a result, one object or one table that is not the
// same, or one transaction that was not applied.
type difference struct {
	kind  string // result, schema, rows, stop
	name  string // of a test, an object or a table
	lines []string
}

func (d difference) String() string {
	return d.kind + " " + d.name + "\n" + strings.Join(d.lines, "\n") + "\n"
}

// differingResults compares the output of each test.
func differingResults(t *testing.T, plain, replicated string) []difference {
	t.Helper()
	var out []difference
	files, err := filepath.Glob(filepath.Join(plain, "*.out"))
	must(t, err)
	for _, file := range files {
		name := filepath.Base(file)
		diff, err := exec.Command("diff", "-U0", withoutIdentity(t, file), withoutIdentity(t, filepath.Join(replicated, name))).Output()
		var exit *exec.ExitError
		if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
			t.Fatalf("diff of %s: %v", name, err)
		}
		out = append(out, hunks(strings.TrimSuffix(name, ".out"), diff)...)
	}
	return out
}

// withoutIdentity is a copy of a result without what psql says of tables that got
// their identity by the setting.
func withoutIdentity(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	copied := filepath.Join(t.TempDir(), filepath.Base(file))
	must(t, os.WriteFile(copied, bytes.ReplaceAll(text, []byte("Replica Identity: FULL\n"), nil), 0o644))
	return copied
}

func hunks(test string, diff []byte) []difference {
	var out []difference
	for i, part := range bytes.Split(diff, []byte("\n@@ ")) {
		if i == 0 {
			continue // the names of the files
		}
		lines := strings.Split(strings.TrimSuffix(string(part), "\n"), "\n")
		out = append(out, difference{"result", test, lines[1:]})
	}
	return out
}

// differingSchemas compares what pg_dump writes of each object, and of what the
// servers have in common.
func differingSchemas(t *testing.T, node1, node2 *pgtest.Node) []difference {
	t.Helper()
	left, right := objects(t, node1), objects(t, node2)
	t.Logf("%d objects on node 1, %d on node 2", len(left), len(right))
	var out []difference
	for _, name := range names(left, right) {
		if left[name] != right[name] {
			out = append(out, difference{"schema", name, changed(left[name], right[name])})
		}
	}
	return out
}

func names[V any](left, right map[string]V) []string {
	all := maps.Clone(left)
	maps.Copy(all, right)
	return slices.Sorted(maps.Keys(all))
}

// objects are the entries of a dump by the line that pg_dump writes above each. Their
// order follows oids in part, so it does not count.
func objects(t *testing.T, n *pgtest.Node) map[string]string {
	t.Helper()
	dump := output(t, n, "pg_dump", "--schema-only", "--exclude-schema=bdr", n.DSN(n.Database)) +
		"-- Name: globals; Type: GLOBALS\n" + output(t, n, "pg_dumpall", "--globals-only", "--dbname="+n.DSN(n.Database))
	parts := map[string][]string{}
	name := "settings"
	for line := range strings.Lines(dump) {
		line = strings.TrimSuffix(line, "\n")
		if entry, ok := strings.CutPrefix(line, "-- Name: "); ok {
			name = entry
		} else if line != "" && line != "--" && !strings.HasPrefix(line, `\`) {
			parts[name] = append(parts[name], line)
		}
	}
	out := map[string]string{}
	for name, lines := range parts {
		if strings.HasPrefix(name, "globals") {
			slices.Sort(lines)
		}
		out[name] = strings.Join(lines, "\n")
	}
	return out
}

func output(t *testing.T, n *pgtest.Node, program string, arguments ...string) string {
	t.Helper()
	cmd := n.Command(program, arguments...)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s on %s: %v: %s", program, n.Name, err, errors.String())
	}
	return string(out)
}

// changed are the lines that only one side has.
func changed(left, right string) []string {
	count := map[string]int{}
	for line := range strings.Lines(left) {
		count[strings.TrimSuffix(line, "\n")]--
	}
	for line := range strings.Lines(right) {
		count[strings.TrimSuffix(line, "\n")]++
	}
	var out []string
	for _, line := range slices.Sorted(maps.Keys(count)) {
		if count[line] < 0 {
			out = append(out, "-"+line)
		} else if count[line] > 0 {
			out = append(out, "+"+line)
		}
	}
	return out
}

// differingRows compares tables and materialised views.
func differingRows(t *testing.T, node1, node2 *pgtest.Node) []difference {
	t.Helper()
	left, right := contents(t, node1), contents(t, node2)
	t.Logf("%d tables on node 1, %d on node 2", len(left), len(right))
	var out []difference
	for _, table := range names(left, right) {
		l, r := left[table], right[table]
		if l != r {
			out = append(out, difference{"rows", table, []string{fmt.Sprintf("-%s rows", l.Rows), fmt.Sprintf("+%s rows", r.Rows)}})
		}
	}
	return out
}

func contents(t *testing.T, n *pgtest.Node) map[string]pgtest.Content {
	t.Helper()
	out, err := n.Contents(n.Database)
	must(t, err)
	return out
}

// report compares what was found with what is known, and writes all of it in the form
// of the list.
func report(t *testing.T, folder string, known []entry, found []difference) {
	t.Helper()
	var all strings.Builder
	count := map[string]int{}
	for _, d := range found {
		fmt.Fprintf(&all, "%s\n", d)
		count[d.kind]++
	}
	path := filepath.Join(folder, "found.txt")
	must(t, os.WriteFile(path, []byte(all.String()), 0o644))
	t.Logf("%d differing places in results, %d objects, %d tables, %d transactions that were not applied: %s",
		count["result"], count["schema"], count["rows"], count["stop"], path)
	left := map[string]int{}
	for _, d := range found {
		left[d.String()]++
	}
	for _, e := range known {
		text := e.difference.String()
		if left[text] == 0 && !e.sometimes {
			t.Errorf("known, but not found any more; delete its entry:\n%s", text)
		} else if left[text] > 0 {
			left[text]--
		}
	}
	for _, d := range found {
		if text := d.String(); left[text] > 0 {
			left[text]--
			t.Errorf("not known:\n%s", text)
		}
	}
}
