package major

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestInstalledElsewhere exists because from PostgreSQL 18 an extension need not
// be in the server's own directories: it may be in an image of its own, or in a
// home directory. All parts must come from the same place, the library that the
// manager loads by itself and the output plugin among them; what is installed in
// the server's directories must not be mixed in.
func TestInstalledElsewhere(t *testing.T) {
	pgtest.Since(t, 18, "extension_control_path")
	stage, err := pgtest.ScratchDirectory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(stage) })
	install(t, stage)
	share, lib := installedBelow(t, stage, "bdr.control"), installedBelow(t, stage, "bdr_go.so")
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(map[string]string{
		"extension_control_path": filepath.Dir(share) + ":$system", "dynamic_library_path": lib + ":$libdir"}))
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY)")
	a.Exec("INSERT INTO t VALUES (1)")
	b.Exec("INSERT INTO t VALUES (2)")
	c.RequireConverged()
	for title, library := range map[string]string{clustertest.ManagerTitle: "bdr_go.so", clustertest.WriterTitle: "bdr.so",
		clustertest.WalsenderTitle: "bdr_output.so", "bdr supervisor": "bdr.so"} {
		p := clustertest.OnlyProcess(t, a, title)
		for _, path := range p.Libraries("bdr") {
			if filepath.Dir(path) != lib {
				t.Errorf("%s has mapped %s, not the one in %s", title, path, lib)
			}
		}
		if !strings.Contains(strings.Join(p.Libraries("bdr"), " "), lib+"/"+library) {
			t.Errorf("%s has not mapped %s/%s but %v", title, lib, library, p.Libraries("bdr"))
		}
	}
}

// install does what a packager does.
func install(t *testing.T, stage string) {
	t.Helper()
	config := os.Getenv("PG_CONFIG")
	if config == "" {
		config = "pg_config"
	}
	said, err := exec.Command("make", "-s", "-C", "../../..", "install", "DESTDIR="+stage, "PG_CONFIG="+config).CombinedOutput()
	if err != nil {
		t.Fatalf("make install: %v: %s", err, said)
	}
	said, err = exec.Command("chmod", "-R", "a+rX", stage).CombinedOutput()
	if err != nil {
		t.Fatalf("chmod: %v: %s", err, said)
	}
}

// installedBelow is the folder of a file that was installed.
func installedBelow(t *testing.T, stage, name string) string {
	t.Helper()
	folder := ""
	err := filepath.WalkDir(stage, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == name {
			folder = filepath.Dir(path)
		}
		return err
	})
	if err != nil || folder == "" {
		t.Fatalf("%s was not installed below %s: %v", name, stage, err)
	}
	return folder
}
