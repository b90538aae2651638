package core

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
)

// A suite is src/test/regress of a server's source, with the modules that it loads
// built for the installed server.
type suite struct {
	inputs  string // with sql, expected, data and the schedule
	modules string
	program string // pg_regress
	folder  string // for all that is written
}

// modules are what the suite loads, by their names and sources.
var (
	modules = []string{"regress", "refint", "autoinc"}
	sources = []string{"src/test/regress/regress.c", "contrib/spi/refint.c", "contrib/spi/autoinc.c"}
)

// newSuite builds the modules outside of the source, which may be anybody's.
func newSuite(t *testing.T, source string) *suite {
	t.Helper()
	s := &suite{inputs: filepath.Join(source, "src", "test", "regress"), folder: os.Getenv(folderVariable)}
	if s.folder == "" {
		s.folder = t.TempDir()
	}
	pgxs, err := exec.Command(pgConfigProgram(), "--pgxs").Output()
	if err != nil {
		t.Fatalf("pg_config: %v", err)
	}
	s.program = filepath.Join(filepath.Dir(strings.TrimSpace(string(pgxs))), "..", "test", "regress", "pg_regress")
	s.modules = filepath.Join(s.folder, "modules")
	must(t, os.MkdirAll(s.modules, 0o755))
	for _, file := range sources {
		text, err := os.ReadFile(filepath.Join(source, file))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(s.modules, filepath.Base(file)), text, 0o644))
	}
	makefile := "MODULES = " + strings.Join(modules, " ") + "\nPG_CPPFLAGS = -DREFINT_VERBOSE\nPGXS = " + string(pgxs) + "include $(PGXS)\n"
	must(t, os.WriteFile(filepath.Join(s.modules, "Makefile"), []byte(makefile), 0o644))
	build := exec.Command("make", "-s", "-C", s.modules, "with_llvm=no", "PG_CONFIG="+pgConfigProgram(), "all")
	build.Env = append(os.Environ(), "MAKEFLAGS=", "MAKEOVERRIDES=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the modules of the suite: %v\n%s", err, out)
	}
	return s
}

func pgConfigProgram() string {
	if program := os.Getenv("PG_CONFIG"); program != "" {
		return program
	}
	return "pg_config"
}

// runPlain runs the suite on a server without bdr and returns the folder of results.
func (s *suite) runPlain(t *testing.T) string {
	t.Helper()
	n := pgtest.StartPlain(t, "plain", merged(common, map[string]string{"shared_preload_libraries": ""}))
	n.Exec("CREATE DATABASE " + database)
	results := s.run(t, n)
	_, err := n.Stop(pgtest.Fast)
	must(t, err)
	return results
}

// run runs all tests on a node and returns the folder of results. That some fail is
// no error here: the results say what they returned.
func (s *suite) run(t *testing.T, n *pgtest.Node) string {
	t.Helper()
	// pg_regress does so where it makes the database
	for _, setting := range []string{"lc_messages TO 'C'", "lc_monetary TO 'C'", "lc_numeric TO 'C'", "lc_time TO 'C'",
		"bytea_output TO 'hex'", "timezone_abbreviations TO 'Default'"} {
		_, err := n.Run("postgres", "ALTER DATABASE "+database+" SET "+setting)
		must(t, err)
	}
	for _, module := range modules { // where the server's user may read
		text, err := os.ReadFile(filepath.Join(s.modules, module+".so"))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(n.Dir, module+".so"), text, 0o755))
	}
	program, err := filepath.Rel(n.Programs(), s.program)
	must(t, err)
	cmd := n.Command(program, "--use-existing", "--host="+n.Dir, "--port="+port(n), "--user=postgres", "--dbname="+database,
		"--bindir="+n.Programs(), "--inputdir="+s.inputs, "--outputdir="+n.Dir, "--dlpath="+n.Dir,
		"--max-concurrent-tests=20", "--schedule="+filepath.Join(s.inputs, "parallel_schedule"))
	out, err := cmd.CombinedOutput()
	t.Logf("pg_regress on %s: %v\n%s", n.Name, err, out)
	results := filepath.Join(s.folder, n.Name)
	must(t, os.RemoveAll(results))
	must(t, os.CopyFS(results, os.DirFS(filepath.Join(n.Dir, "results"))))
	return results
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
