// Package bdr_test holds the house rules: what docs and design promise about
// the shape of the code, as tests. Each rule says why it exists; a rule that
// turns out wrong is changed here, in the same commit as the code.
package bdr_test

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// arrows are the imports that a package has inside this module, from the top
// down: decisions know nothing of servers, and only manager knows everybody. lsn
// and pgerr are words of the whole house. An arrow that nobody uses goes.
var arrows = map[string][]string{
	"gosrc/bdrgo":          {"gosrc/ipc", "gosrc/manager", "gosrc/release"},
	"gosrc/manager":        {"gosrc/api", "gosrc/catalog", "gosrc/cluster", "gosrc/durable", "gosrc/globallock", "gosrc/ipc", "gosrc/locker", "gosrc/membership", "gosrc/pgerr", "gosrc/release", "gosrc/retention", "gosrc/sequence", "gosrc/sequencer", "gosrc/stream", "gosrc/subscription", "gosrc/upgrade"},
	"gosrc/upgrade":        {"gosrc/catalog", "gosrc/cluster", "gosrc/durable", "gosrc/ipc", "gosrc/lsn", "gosrc/pause", "gosrc/pgerr", "gosrc/stream"},
	"gosrc/api":            {"gosrc/catalog", "gosrc/cluster", "gosrc/conflict", "gosrc/ipc", "gosrc/lsn", "gosrc/pgerr", "gosrc/replicate", "gosrc/stream", "gosrc/subscription", "gosrc/wire"},
	"gosrc/retention":      {"gosrc/catalog", "gosrc/cluster", "gosrc/conflict", "gosrc/ipc", "gosrc/pgerr", "gosrc/stream", "gosrc/wire"},
	"gosrc/subscription":   {"gosrc/catalog", "gosrc/cluster", "gosrc/conflict", "gosrc/control", "gosrc/globallock", "gosrc/ipc", "gosrc/lsn", "gosrc/pause", "gosrc/pgerr", "gosrc/replicate", "gosrc/stream", "gosrc/wire"},
	"gosrc/sequencer":      {"gosrc/catalog", "gosrc/cluster", "gosrc/consensus", "gosrc/ipc", "gosrc/pause", "gosrc/pgerr", "gosrc/sequence"},
	"gosrc/locker":         {"gosrc/catalog", "gosrc/cluster", "gosrc/globallock", "gosrc/ipc", "gosrc/lsn", "gosrc/pause", "gosrc/pgerr"},
	"gosrc/membership":     {"gosrc/catalog", "gosrc/cluster", "gosrc/consensus", "gosrc/control", "gosrc/globallock", "gosrc/ipc", "gosrc/join", "gosrc/lsn", "gosrc/pause", "gosrc/pgerr", "gosrc/release", "gosrc/repset", "gosrc/sequence", "gosrc/statemachine", "gosrc/stream", "gosrc/wire"},
	"gosrc/join":           {"gosrc/catalog", "gosrc/ipc", "gosrc/lsn", "gosrc/pause", "gosrc/pgerr", "gosrc/release", "gosrc/stream"},
	"gosrc/statemachine":   {"gosrc/catalog", "gosrc/cluster", "gosrc/consensus", "gosrc/globallock", "gosrc/ipc", "gosrc/pgerr", "gosrc/repset", "gosrc/sequence"},
	"gosrc/replicate":      {"gosrc/catalog", "gosrc/conflict", "gosrc/control", "gosrc/ipc", "gosrc/lsn", "gosrc/pause", "gosrc/pgerr", "gosrc/stream", "gosrc/wire"},
	"gosrc/control":        {"gosrc/lsn", "gosrc/wire"},
	"gosrc/consensus":      {"gosrc/cluster", "gosrc/pause", "gosrc/pgerr"},
	"gosrc/globallock":     {"gosrc/catalog", "gosrc/cluster", "gosrc/lsn", "gosrc/pgerr"},
	"gosrc/repset":         {"gosrc/catalog", "gosrc/cluster", "gosrc/pgerr"},
	"gosrc/sequence":       {"gosrc/catalog", "gosrc/cluster", "gosrc/pgerr"},
	"gosrc/cluster":        {"gosrc/catalog", "gosrc/pgerr"},
	"gosrc/catalog":        {"gosrc/ipc", "gosrc/lsn", "gosrc/pgerr"},
	"gosrc/stream":         {"gosrc/lsn", "gosrc/pgerr", "gosrc/rawsocket"},
	"gosrc/wire":           {"gosrc/lsn"},
	"gosrc/ipc":            {"gosrc/lsn", "gosrc/pgerr", "gosrc/rawsocket"},
	"gosrc/conflict":       {},
	"gosrc/conflict/model": {"gosrc/conflict"},
	"gosrc/pgerr":          {},
	"gosrc/rawsocket":      {},
	"gosrc/release":        {},
	"gosrc/lsn":            {},
	"gosrc/pause":          {},
	"gosrc/durable":        {},
	"gosrc/pgtest":         {},

	"regress/bench":               {"gosrc/pgtest"},
	"regress/cluster/apply":       {"gosrc/pgtest", "regress/cluster/clustertest"},
	"regress/cluster/clustertest": {"gosrc/lsn", "gosrc/pgtest", "gosrc/stream", "gosrc/wire"},
	"regress/cluster/conflict":    {"gosrc/conflict", "gosrc/conflict/model", "gosrc/pgtest", "regress/cluster/clustertest"},
	"regress/cluster/failure":     {"gosrc/pgtest", "regress/cluster/clustertest"},
	"regress/cluster/join":        {"gosrc/pgtest", "regress/cluster/clustertest"},
	"regress/mixed":               {"gosrc/pgtest", "regress/cluster/clustertest"},
	"regress/cluster/lock":        {"gosrc/pgtest", "regress/cluster/clustertest"},
	"regress/cluster/major":       {"gosrc/pgtest", "regress/cluster/clustertest"},
	"regress/cluster/operate":     {"gosrc/pgtest", "regress/cluster/clustertest"},
	"regress/cluster/output":      {"gosrc/lsn", "gosrc/pgerr", "gosrc/pgtest", "gosrc/stream", "gosrc/wire", "regress/cluster/clustertest"},
	"regress/cluster/ddl":         {"gosrc/pgtest", "regress/cluster/clustertest"},
	"regress/cluster/repset":      {"gosrc/pgtest", "regress/cluster/clustertest"},
	"regress/core":                {"gosrc/pgtest"},
	"regress/cluster/sequence":    {"gosrc/pgtest", "regress/cluster/clustertest"},
	"regress/cluster/update":      {"gosrc/pgtest", "regress/cluster/clustertest"},
	"regress/security":            {"gosrc/pgtest"},
}

// drivers never run inside a server: they may start goroutines, read the
// environment and end their own process.
var drivers = []string{"gosrc/pgtest", "regress/"}

// lengthMax is how long a function may be without being on the list of
// exceptions, testdata/house_exceptions.txt. A screen holds about 60 lines.
const lengthMax = 60

// goFile is one parsed file of the module.
type goFile struct {
	path string
	pkg  string
	set  *token.FileSet
	ast  *ast.File
}

func goFiles(t *testing.T, tests bool) []goFile {
	t.Helper()
	var out []goFile
	for _, path := range paths(t, ".go") {
		if strings.HasSuffix(path, "_test.go") && !tests {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, goFile{path, filepath.ToSlash(filepath.Dir(path)), set, file})
	}
	return out
}

// paths lists the files of the tree with an extension, without hidden folders.
func paths(t *testing.T, extension string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && (len(name) > 1 && name[0] == '.' || name == "tmp_check" || name == "results") {
			return filepath.SkipDir
		}
		if filepath.Ext(name) == extension {
			out = append(out, filepath.ToSlash(path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func isDriver(path string) bool {
	return slices.ContainsFunc(drivers, func(d string) bool { return strings.HasPrefix(path, d) })
}

// A reader looks for a package in the list of docs/architecture.md.
func TestPackagesAreListed(t *testing.T) {
	text := read(t, "docs/architecture.md")
	for pkg := range arrows {
		if name, ours := strings.CutPrefix(pkg, "gosrc/"); ours && !strings.Contains(text, "`"+name+"`") {
			t.Errorf("docs/architecture.md does not say what package %s does", pkg)
		}
	}
}

// Layers stay layers only as long as nobody imports upwards, and the table says
// what is so only as long as it lists nothing else.
func TestImportArrows(t *testing.T) {
	used := map[string]bool{}
	for _, f := range goFiles(t, true) {
		if f.pkg == "." || strings.HasSuffix(f.path, "_test.go") && !strings.HasPrefix(f.pkg, "regress/") {
			continue
		}
		allowed, known := arrows[f.pkg]
		if !known {
			t.Errorf("%s: package %s has no entry in the table of arrows", f.path, f.pkg)
			continue
		}
		used[f.pkg] = true
		for _, spec := range f.ast.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			inside, ours := strings.CutPrefix(path, "bdr/")
			if ours && !slices.Contains(allowed, inside) {
				t.Errorf("%s imports %s: not an arrow of the house", f.path, inside)
			}
			used[f.pkg+" > "+inside] = true
		}
	}
	for pkg, targets := range arrows {
		if !used[pkg] {
			t.Errorf("there is no package %s: delete its arrows", pkg)
		}
		for _, target := range targets {
			if !used[pkg+" > "+target] {
				t.Errorf("%s does not import %s: delete the arrow", pkg, target)
			}
		}
	}
}

// A pure package takes values and returns values, so that a test needs no
// server, no clock and no luck.
func TestPurePackagesHaveNoOutsideWorld(t *testing.T) {
	outside := []string{"net", "os", "os/exec", "time", "math/rand", "math/rand/v2", "syscall", "database/sql"}
	for _, f := range goFiles(t, false) {
		if !slices.Contains([]string{"gosrc/cluster", "gosrc/conflict", "gosrc/control", "gosrc/globallock", "gosrc/lsn", "gosrc/release", "gosrc/sequence"}, f.pkg) {
			continue
		}
		for _, spec := range f.ast.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			if slices.Contains(outside, path) {
				t.Errorf("%s imports %s: the package is pure", f.path, path)
			}
		}
	}
}

// One file knows C, so that one file has to be right about it.
func TestOnlyBdrgoImportsC(t *testing.T) {
	for _, f := range goFiles(t, true) {
		for _, spec := range f.ast.Imports {
			if spec.Path.Value == `"C"` && f.pkg != "gosrc/bdrgo" {
				t.Errorf("%s imports C", f.path)
			}
		}
	}
}

// A panic in a goroutine that nobody contains ends the manager by a signal;
// manager.Go contains it, so it is the only place that starts one.
func TestOneGoStatement(t *testing.T) {
	const place = "gosrc/manager/spawn.go"
	for _, f := range goFiles(t, false) {
		if isDriver(f.path) || f.path == place {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if _, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%v: go statement outside of %s", f.set.Position(n.Pos()), place)
			}
			return true
		})
	}
}

// os.Exit and log.Fatal inside a server look like a crash to the postmaster,
// which then ends every session. init and the environment make a package
// depend on who loads it, and Go inside a server sees no environment anyway.
func TestNoExitNoInitNoEnvironment(t *testing.T) {
	forbidden := []string{"os.Exit", "log.Fatal", "log.Fatalf", "log.Fatalln", "log.Panic", "log.Panicf", "os.Getenv", "os.LookupEnv", "os.Environ"}
	for _, f := range goFiles(t, false) {
		if isDriver(f.path) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if name := selector(n.Fun); slices.Contains(forbidden, name) {
					t.Errorf("%v: %s", f.set.Position(n.Pos()), name)
				}
			case *ast.FuncDecl:
				if n.Recv == nil && n.Name.Name == "init" {
					t.Errorf("%v: init function", f.set.Position(n.Pos()))
				}
			}
			return true
		})
	}
}

func selector(e ast.Expr) string {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	x, ok := s.X.(*ast.Ident)
	if !ok {
		return ""
	}
	return x.Name + "." + s.Sel.Name
}

// A reader who opens a folder learns from one place what it is for.
func TestEveryPackageHasOneComment(t *testing.T) {
	comments := map[string]int{}
	for _, f := range goFiles(t, false) {
		comments[f.pkg] += 0
		if f.ast.Doc != nil && strings.HasPrefix(f.ast.Doc.Text(), "Package "+f.ast.Name.Name+" ") ||
			f.ast.Doc != nil && f.ast.Name.Name == "main" {
			comments[f.pkg]++
		}
	}
	for pkg, n := range comments {
		if n != 1 {
			t.Errorf("%s has %d package comments, expected 1", pkg, n)
		}
	}
}

// Banners are copied with the file, and then lie.
func TestBannersNameTheirFile(t *testing.T) {
	for _, path := range append(paths(t, ".c"), paths(t, ".h")...) {
		if path == "bdr_go.h" {
			continue // made by cgo
		}
		lines := strings.SplitN(read(t, path), "\n", 4)
		want := " * " + strings.TrimPrefix(strings.TrimPrefix(path, "extension/"), "include/")
		if len(lines) < 3 || !strings.HasPrefix(lines[0], "/*----") || lines[1] != want || strings.TrimSpace(lines[2]) == "*" {
			t.Errorf("%s: the banner must open with %q and a line of purpose", path, want)
		}
	}
}

var versionTest = regexp.MustCompile(`(?m)^\s*#\s*(el)?if.*PG_VERSION_NUM`)

// A second place that knows versions is a place that is forgotten.
func TestVersionTestsInOneHeader(t *testing.T) {
	for _, path := range append(paths(t, ".c"), paths(t, ".h")...) {
		if filepath.Base(path) != "bdr_compat.h" && versionTest.MatchString(read(t, path)) {
			t.Errorf("%s tests PG_VERSION_NUM; that belongs in include/bdr_compat.h", path)
		}
	}
}

// Functions grow a line at a time; the list of long ones may only shrink. To
// take one off the list, shorten it and delete its line.
func TestFunctionLengthRatchet(t *testing.T) {
	recorded := recordedLengths(t)
	measured := map[string]int{}
	for _, path := range paths(t, ".c") {
		maps.Copy(measured, cFunctionLengths(path, read(t, path)))
	}
	for _, f := range goFiles(t, true) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				lines := f.set.Position(fn.End()).Line - f.set.Position(fn.Pos()).Line + 1
				measured[f.path+" "+functionName(fn)] = lines
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(measured)) {
		limit, listed := recorded[name]
		if lines := measured[name]; lines > max(lengthMax, limit) {
			t.Errorf("%s has %d lines; the limit is %d", name, lines, max(lengthMax, limit))
		} else if listed && lines <= lengthMax {
			t.Errorf("%s has %d lines: delete its line in testdata/house_exceptions.txt", name, lines)
		} else if listed && lines < limit {
			t.Errorf("%s has %d lines: write that in testdata/house_exceptions.txt instead of %d", name, lines, limit)
		}
	}
	for name := range recorded {
		if _, ok := measured[name]; !ok {
			t.Errorf("%s no longer exists: delete its line in testdata/house_exceptions.txt", name)
		}
	}
}

var (
	resolvesNames = regexp.MustCompile(`\b(get_relname_relid|LookupFuncName|LookupFuncWithArgs|to_regclass|regprocedurein)\(`)
	callsByName   = regexp.MustCompile(`"\s*SELECT bdr\.`)
)

// A name is not enough (decision 0019): where the extension is not installed,
// the schema "bdr" and all in it may be a user's. apply/statement_index.c, row/partition.c,
// session/filter_guard.c and session/sequence/switch.c resolve names of users; Go's SQL text is in gosrc/catalog and runs behind bdr_catalog_require.
func TestObjectsAreOursByMembership(t *testing.T) {
	for _, path := range paths(t, ".c") {
		if slices.Contains([]string{"extension/base/tables.c", "extension/apply/statement_index.c", "extension/row/partition.c", "extension/session/filter_guard.c", "extension/session/sequence/switch.c"}, path) {
			continue
		}
		if m := resolvesNames.FindString(read(t, path)); m != "" {
			t.Errorf("%s resolves a name with %s...): use base/tables.h", path, m)
		}
	}
	for _, f := range goFiles(t, false) {
		if f.pkg != "gosrc/catalog" && !strings.HasPrefix(f.pkg, "regress/") && f.pkg != "gosrc/pgtest" && callsByName.MatchString(read(t, f.path)) {
			t.Errorf("%s runs SQL on objects of the extension: put it into gosrc/catalog", f.path)
		}
	}
}

func functionName(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	receiver := fn.Recv.List[0].Type
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver = star.X
	}
	if generic, ok := receiver.(*ast.IndexExpr); ok {
		receiver = generic.X
	}
	return fmt.Sprintf("%v.%s", receiver, fn.Name.Name)
}

var cFunction = regexp.MustCompile(`^([a-zA-Z_]\w*)\(`)

// cFunctionLengths relies on pgindent's layout: a name in the first column,
// then a body between braces in the first column.
func cFunctionLengths(path, text string) map[string]int {
	out := map[string]int{}
	name, start := "", 0
	for i, line := range strings.Split(text, "\n") {
		if m := cFunction.FindStringSubmatch(line); m != nil && !strings.HasSuffix(line, ";") {
			name = m[1]
		}
		if line == "{" {
			start = i
		}
		if line == "}" && name != "" {
			out[path+" "+name] = i - start + 1
			name = ""
		}
	}
	return out
}

func recordedLengths(t *testing.T) map[string]int {
	t.Helper()
	out := map[string]int{}
	file, err := os.Open("testdata/house_exceptions.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		line := scanner.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Fields(line)
		lines, err := strconv.Atoi(fields[len(fields)-1])
		if err != nil || len(fields) != 3 {
			t.Fatalf("house_exceptions.txt: not \"file function lines\": %s", line)
		}
		out[fields[0]+" "+fields[1]] = lines
	}
	return out
}

// Prose of documents is read side by side with its changes. Tables, code and what
// a program wrote are left alone.
func TestDocumentsAreWrapped(t *testing.T) {
	const columnsMax = 120
	for _, path := range paths(t, ".md") {
		code := false
		for i, line := range strings.Split(read(t, path), "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				code = !code
			}
			generated := strings.HasSuffix(path, "performance.md") || strings.HasSuffix(path, "conflict-matrix.md")
			if !code && !generated && utf8.RuneCountInString(line) > columnsMax && !strings.HasPrefix(strings.TrimSpace(line), "|") {
				t.Errorf("%s:%d has more than %d columns", path, i+1, columnsMax)
			}
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#: ]+)(#[^)]*)?\)`)

// A document that points nowhere was not read after it was written.
func TestLinksOfDocumentsExist(t *testing.T) {
	for _, path := range paths(t, ".md") {
		for _, m := range link.FindAllStringSubmatch(read(t, path), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s links to %s, which does not exist", path, m[1])
			}
		}
	}
}

// The extension's functions are for superusers until roles come, but for those
// that tell nothing and change nothing, those of row security, which tell
// callers their own rights, and those about sequences and tables, which ask for rights on them.
var public = []string{"bdr_version", "bdr_version_num", "internal_architecture", "internal_may_read", "internal_has_role",
	"seq_nextval", "seq_nextval_identity", "seq_currval", "seq_lastval", "seq_setval", "seq_setval_called", "seq_last_value",
	"seq_data", "seq_row", "seq_support", "alter_sequence_set_kind",
	"extract_timestamp_from_snowflakeid", "extract_nodeid_from_snowflakeid", "extract_localseqid_from_snowflakeid", "timestamp_to_snowflakeid",
	"extract_timestamp_from_timeshard", "extract_nodeid_from_timeshard", "extract_localseqid_from_timeshard", "timestamp_to_timeshard",
	"gen_ksuuid_v2", "ksuuid_v2_cmp", "extract_timestamp_from_ksuuid_v2",
	"galloc_chunk_info", "sequence_candidates", "alter_all_sequences_set_kind", "ddl_commands", "global_lock_table"}

var (
	sqlFunction = regexp.MustCompile(`(?s)CREATE FUNCTION bdr\.(\w+)\((.*?)\)\s*RETURNS`)
	sqlDefault  = regexp.MustCompile(`(?i)\s+DEFAULT\s+('[^']*'|[^,]+)`)
	sqlTable    = regexp.MustCompile(`CREATE (TABLE|VIEW) bdr\.(\w+)`)
)

// A function without REVOKE may be called by anybody: that is PostgreSQL's
// default, and the reason for this test.
func TestSQLFunctionsAreDescribedAndRevoked(t *testing.T) {
	for _, path := range paths(t, ".sql") {
		if !strings.HasPrefix(path, "sql/") {
			continue
		}
		text := read(t, path)
		for _, m := range sqlFunction.FindAllStringSubmatch(text, -1) {
			signature := fmt.Sprintf("bdr.%s(%s)", m[1], argumentTypes(m[2]))
			if !strings.Contains(text, "COMMENT ON FUNCTION "+signature+" IS '") {
				t.Errorf("%s: no COMMENT ON FUNCTION %s", path, signature)
			}
			revoked := strings.Contains(text, "REVOKE ALL ON FUNCTION "+signature+" FROM PUBLIC;")
			if !revoked && !slices.Contains(public, m[1]) {
				t.Errorf("%s: no REVOKE ALL ON FUNCTION %s FROM PUBLIC", path, signature)
			}
		}
		for _, m := range sqlTable.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(text, "COMMENT ON "+m[1]+" bdr."+m[2]+" IS '") {
				t.Errorf("%s: no COMMENT ON %s bdr.%s", path, m[1], m[2])
			}
		}
	}
}

var sqlTableBody = regexp.MustCompile(`(?s)CREATE TABLE (bdr\.\w+) \((.*?)\n\);`)

// A publication of a user's, FOR ALL TABLES, makes PostgreSQL refuse UPDATE and
// DELETE of a table without a replica identity, also where they are our upkeep.
func TestTablesHaveAReplicaIdentity(t *testing.T) {
	for _, path := range paths(t, ".sql") {
		if !strings.HasPrefix(path, "sql/") {
			continue
		}
		text := read(t, path)
		for _, m := range sqlTableBody.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(m[2], "PRIMARY KEY") && !strings.Contains(text, "ALTER TABLE "+m[1]+" REPLICA IDENTITY FULL;") {
				t.Errorf("%s: table %s has no primary key, and not REPLICA IDENTITY FULL", path, m[1])
			}
		}
	}
}

// argumentTypes turns an argument list of CREATE FUNCTION into the types that
// name the function: names, defaults and OUT arguments go.
func argumentTypes(list string) string {
	var types []string
	for _, argument := range strings.Split(sqlDefault.ReplaceAllString(list, ""), ",") {
		fields := strings.Fields(argument)
		if len(fields) < 2 || fields[0] == "OUT" {
			continue
		}
		types = append(types, strings.Join(fields[1:], " "))
	}
	return strings.Join(types, ", ")
}

var (
	sqlState = regexp.MustCompile(`\((\d+), '([A-Z_]+)'\)`)
	cEnum    = regexp.MustCompile(`BDR_MSG_(\w+) = '(.)'`)
	goKind   = regexp.MustCompile(`(?m)^\s*(?:kind|Kind)(\w+)\s*(?:\w+)?\s*=\s*'(.)'`)
)

// A list that is written twice is one list only as long as something compares
// the two: node states in SQL and Go, message kinds in C, Go and the document.
func TestListsThatAreWrittenTwice(t *testing.T) {
	states := read(t, "sql/10_node.sql")
	goStates := read(t, "gosrc/cluster/state.go")
	for _, m := range sqlState.FindAllStringSubmatch(states, -1) {
		if !strings.Contains(goStates, `"`+m[2]+`"`) {
			t.Errorf("node state %s %s of sql/10_node.sql is not in gosrc/cluster/state.go", m[1], m[2])
		}
	}
	kinds := map[string]string{}
	for _, m := range goKind.FindAllStringSubmatch(read(t, "gosrc/ipc/kinds.go"), -1) {
		kinds[strings.ToUpper(m[1])] = m[2]
	}
	protocol := read(t, "docs/protocol.md")
	for _, m := range cEnum.FindAllStringSubmatch(read(t, "include/bdr_protocol.h"), -1) {
		if kinds[m[1]] != m[2] {
			t.Errorf("message %s is %q in C and %q in gosrc/ipc/kinds.go", m[1], m[2], kinds[m[1]])
		}
		if !strings.Contains(protocol, fmt.Sprintf("| `%s` | %s |", m[2], m[1])) {
			t.Errorf("message %s %q is not in docs/protocol.md", m[1], m[2])
		}
	}
}

// What we connect with must not be what somebody set for a database: connections
// are made in one place, which pins their settings, and background workers pin
// theirs before they do anything else.
func TestConnectionsArePinned(t *testing.T) {
	const place = "gosrc/stream/connect.go"
	for _, f := range goFiles(t, false) {
		if isDriver(f.path) || f.path == place {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && strings.HasPrefix(selector(call.Fun), "pgconn.Connect") {
				t.Errorf("%v: %s outside of %s", f.set.Position(n.Pos()), selector(call.Fun), place)
			}
			return true
		})
	}
	for _, path := range paths(t, ".c") {
		text := read(t, path)
		connects := len(cConnects.FindAllString(text, -1))
		if pins := len(cConnectsPinned.FindAllString(text, -1)); connects != pins {
			t.Errorf("%s: bdr_worker_pin_settings() must follow BackgroundWorkerInitializeConnection() at once", path)
		}
	}
}

var (
	cConnects       = regexp.MustCompile(`\n\tBackgroundWorkerInitializeConnection`)
	cConnectsPinned = regexp.MustCompile(`\n\tBackgroundWorkerInitializeConnection\w*\(.*\);\n\tbdr_worker_pin_settings\(`)
	cPinned         = regexp.MustCompile(`\{"(\w+)", "(.*)"\}`)
	goPinned        = regexp.MustCompile(`(?m)^\t"(\w+)":\s+"(.*)",`)
)

// onlyOfConnections are settings that background workers do not have, or get in
// another way.
var onlyOfConnections = []string{"client_encoding", "local_preload_libraries", "tcp_user_timeout"}

// The pinned settings of connections and of background workers are one list.
func TestPinnedSettingsAreOneList(t *testing.T) {
	_, list, _ := strings.Cut(read(t, "gosrc/stream/settings.go"), "var pinned = ")
	list, _, _ = strings.Cut(list, "\n}")
	connections := map[string]string{}
	for _, m := range goPinned.FindAllStringSubmatch(list, -1) {
		if !slices.Contains(onlyOfConnections, m[1]) {
			connections[m[1]] = m[2]
		}
	}
	_, list, _ = strings.Cut(read(t, "extension/base/worker_settings.c"), "common[] = {")
	list, _, _ = strings.Cut(list, "\n};")
	workers := map[string]string{}
	for _, m := range cPinned.FindAllStringSubmatch(list, -1) {
		workers[m[1]] = m[2]
	}
	if len(workers) < 20 || !maps.Equal(connections, workers) {
		t.Errorf("connections pin %v\nbackground workers pin %v", connections, workers)
	}
}

// One version is written in many places, and what was released does not change:
// whoever has it updates from it.
func TestVersions(t *testing.T) {
	number := func(path, pattern string) string {
		t.Helper()
		m := regexp.MustCompile(pattern).FindStringSubmatch(read(t, path))
		if m == nil {
			t.Fatalf("%s has no version", path)
		}
		return m[1]
	}
	version := number("Makefile", `(?m)^BDR_VERSION = (.*)$`)
	var major, minor, patch int
	if n, err := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); n != 3 {
		t.Fatalf("version %q of the Makefile: %v", version, err)
	}
	asNumber := strconv.Itoa(major*10000 + minor*100 + patch)
	for _, place := range []struct{ path, pattern, want string }{
		{"bdr.control", `default_version = '(.*)'`, version},
		{"META.json", `"version": "(.*)"`, version},
		{"META.json", `(?s)"provides".*"version": "([^"]*)".*"prereqs"`, version},
		{"extension/base/bdr.h", `#define BDR_VERSION\s+"(.*)"`, version},
		{"extension/base/bdr.h", `#define BDR_VERSION_NUM\s+(\d+)`, asNumber},
		{"gosrc/release/release.go", `(?m)^const Version = "(.*)"$`, version},
		{"gosrc/ipc/kinds.go", `const SocketVersion = "(.*)/\d+"`, version},
		{"sql/00_schema.sql", `bdr_version_num\(\) < (\d+)`, asNumber},
		{"sql/00_schema.sql", `'the SQL objects of bdr (\S+) need`, version},
		{"CHANGELOG.md", `(?m)^## (\S+)`, version},
	} {
		if got := number(place.path, place.pattern); got != place.want {
			t.Errorf("%s has version %s, expected %s", place.path, got, place.want)
		}
	}
	released := strings.Fields(number("Makefile", `(?m)^BDR_RELEASED = (.*)$`))
	var listed []string
	for line := range strings.Lines(read(t, "sql/released/versions")) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		listed = append(listed, fields[0])
		script := fmt.Sprintf("sql/released/bdr--%s.sql", fields[0])
		if sum := fmt.Sprintf("%x", sha256.Sum256([]byte(read(t, script)))); sum != fields[2] {
			t.Errorf("%s has been changed: a released script stays as it is", script)
		}
	}
	if !slices.Equal(listed, released) {
		t.Errorf("sql/released/versions lists %v, the Makefile %v", listed, released)
	}
}
