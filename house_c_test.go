package bdr_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// layers are the folders of extension/ and what each may include and call, from
// the bottom up. The files beside them ("") start everything.
var layers = map[string][]string{
	"base":     {},
	"version":  {"base"},
	"row":      {"version", "base"},
	"conflict": {"row", "version", "base"},
	"ddl":      {"base"}, // what who captures commands and who applies them share
	"apply":    {"ddl", "conflict", "row", "version", "base"},
	"rebuild":  {"conflict", "row", "version", "base"},
	"session":  {"version", "base"},
	"manager":  {"version", "base"},
	// what session starts, and what its other files know nothing of
	"session/sequence": {"session", "base"},
	"session/ddl":      {"session/lock", "session", "ddl", "base"},
	"session/lock":     {"session", "base"},
	"output":           {"base"},
	"test":             {"apply", "ddl", "session", "conflict", "row", "version", "base"},
	"":                 {"test", "apply", "rebuild", "conflict", "row", "session/sequence", "session/ddl", "session/lock", "session", "manager", "ddl", "version", "base"},
}

// mutable lists what may change and is seen by more than one file, by object: all
// settings of base/settings.c, and these. The list may only shrink.
var mutable = map[string][]string{
	"apply/activity":       {"bdr_activity"},
	"apply/state":          {"bdr_apply"},
	"base/shmem":           {"bdr_shmem"},
	"row/statistics":       {"bdr_stats_epoch"},
	"session/local_only":   {"bdr_xact_replication"},
	"session/restore":      {"bdr_internal_restore"},
	"session/restore_code": {"bdr_restore_code"},
}

var (
	ourInclude = regexp.MustCompile(`(?m)^#include "(([\w/]+)/\w+\.h|settings\.h)"$`)
	externInC  = regexp.MustCompile(`(?m)^extern (?:.*\n)*?.*;`)
)

func layerOf(path string) string {
	return strings.TrimPrefix(filepath.ToSlash(filepath.Dir(strings.TrimPrefix(path, "extension/"))), ".")
}

// A stage of the pipeline that includes what lies above it cannot be read, or
// changed, without that.
func TestIncludesPointDown(t *testing.T) {
	for _, path := range append(paths(t, ".c"), paths(t, ".h")...) {
		if !strings.HasPrefix(path, "extension/") {
			continue
		}
		layer := layerOf(path)
		allowed, known := layers[layer]
		if !known {
			t.Errorf("%s: folder %q is no layer", path, layer)
			continue
		}
		for _, m := range ourInclude.FindAllStringSubmatch(read(t, path), -1) {
			if _, ours := layers[m[2]]; ours && m[2] != layer && !slices.Contains(allowed, m[2]) {
				t.Errorf("%s includes %s: not an arrow of the house", path, m[1])
			}
		}
	}
}

// What a file offers stands in its header, or nothing checks that both agree.
// The server looks _PG_init and the like up by name.
func TestFilesExportByTheirHeader(t *testing.T) {
	for _, path := range paths(t, ".c") {
		for _, declaration := range externInC.FindAllString(read(t, path), -1) {
			if !strings.Contains(declaration, "_PG_") {
				t.Errorf("%s declares %q: include the header that does", path, declaration)
			}
		}
	}
}

// object is what nm says of one.
type object struct {
	name    string // folder/file
	defines []string
	data    []string // of that, what can change
	needs   []string
}

// objects reads what the last build has left; none: there was no build.
func objects(t *testing.T) []object {
	t.Helper()
	var all []object
	for _, path := range paths(t, ".o") {
		if _, err := os.Stat(strings.TrimSuffix(path, ".o") + ".c"); err != nil {
			continue // of a file that is gone
		}
		out, err := exec.Command("nm", path).Output()
		if err != nil {
			t.Fatalf("nm %s: %v", path, err)
		}
		o := object{name: strings.TrimSuffix(strings.TrimPrefix(path, "extension/"), ".o")}
		for line := range strings.Lines(string(out)) {
			fields := strings.Fields(line)
			kind, symbol := fields[len(fields)-2], fields[len(fields)-1]
			switch {
			case kind == "U":
				o.needs = append(o.needs, symbol)
			case strings.Contains("TRDBC", kind):
				o.defines = append(o.defines, symbol)
				if strings.Contains("DBC", kind) && !strings.HasSuffix(symbol, "_method") { // const, but for the loader
					o.data = append(o.data, symbol)
				}
			}
		}
		all = append(all, o)
	}
	return all
}

// What the compiler has made of it is the truth: no call goes up, files form no
// ring with more than one other, what can change is on the list, and the output
// plugin needs nothing of bdr.so.
func TestObjectsKeepTheLayers(t *testing.T) {
	all := objects(t)
	if len(all) == 0 {
		t.Skip("nothing is built: make does that")
	}
	owner := map[string]string{}
	for _, o := range all {
		for _, symbol := range o.defines {
			if other := owner[symbol]; other != "" && !strings.HasPrefix(symbol, "Pg_") {
				t.Errorf("%s is defined in %s and in %s", symbol, other, o.name)
			}
			owner[symbol] = o.name
		}
		for _, symbol := range o.data {
			if o.name != "base/settings" && !slices.Contains(mutable[o.name], symbol) {
				t.Errorf("%s: %s can be changed from everywhere", o.name, symbol)
			}
		}
	}
	calls := map[string][]string{}
	for _, o := range all {
		layer := layerOf(o.name)
		for _, symbol := range o.needs {
			callee, ours := owner[symbol]
			if !ours {
				if strings.HasPrefix(symbol, "bdr_") {
					t.Errorf("%s needs %s, which nobody defines", o.name, symbol)
				}
				continue
			}
			if to := layerOf(callee); to != layer && !slices.Contains(layers[layer], to) {
				t.Errorf("%s uses %s of %s: not an arrow of the house", o.name, symbol, callee)
			}
			calls[o.name] = append(calls[o.name], callee)
		}
	}
	for _, ring := range rings(calls) {
		if len(ring) > 2 {
			t.Errorf("%d files call each other in a ring: %s", len(ring), strings.Join(ring, " "))
		}
	}
}

// rings returns the strongly connected parts of a graph (Tarjan).
func rings(graph map[string][]string) [][]string {
	var found [][]string
	var stack []string
	index, low, onStack := map[string]int{}, map[string]int{}, map[string]bool{}
	var visit func(v string)
	visit = func(v string) {
		index[v] = len(index) + 1
		low[v] = index[v]
		stack, onStack[v] = append(stack, v), true
		for _, w := range graph[v] {
			if index[w] == 0 {
				visit(w)
				low[v] = min(low[v], low[w])
			} else if onStack[w] {
				low[v] = min(low[v], index[w])
			}
		}
		if low[v] != index[v] {
			return
		}
		at := slices.Index(stack, v)
		ring := slices.Clone(stack[at:])
		stack = stack[:at]
		for _, w := range ring {
			onStack[w] = false
		}
		slices.Sort(ring)
		found = append(found, ring)
	}
	for _, v := range slices.Sorted(maps.Keys(graph)) {
		if index[v] == 0 {
			visit(v)
		}
	}
	return found
}

// The rule itself must notice a ring.
func TestRings(t *testing.T) {
	got := rings(map[string][]string{"a": {"b"}, "b": {"c"}, "c": {"b", "d"}})
	if want := "[[d] [b c] [a]]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}
