package pgtest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// LoadTestFunctions makes the functions of regress/test_functions.sql in the
// node's database. They are in bdr_test.so, which is built for tests and not
// installed: the server loads a copy that its user may read.
func (n *Node) LoadTestFunctions() {
	n.t.Helper()
	n.Must(n.loadTestFunctions())
}

func (n *Node) loadTestFunctions() error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	module := filepath.Join(root, "bdr_test.so")
	if built := os.Getenv("BDR_TEST_MODULE"); built != "" { // for another server
		module = built
	}
	library, err := os.ReadFile(module)
	if err != nil {
		return fmt.Errorf("%w; \"make bdr_test.so\" builds it", err)
	}
	functions, err := os.ReadFile(filepath.Join(root, "regress", "test_functions.sql"))
	if err != nil {
		return err
	}
	path := filepath.Join(n.Dir, "bdr_test.so")
	if _, err := os.Stat(path); err != nil { // a server may have mapped the file
		if err := os.WriteFile(path, library, 0o644); err != nil {
			return err
		}
	}
	return n.Try(strings.ReplaceAll(string(functions), "MODULE", path))
}

// WithFaults lets bdr_test.internal_debug_fault break the managers: they load
// bdr_go_test.so in place of the installed library.
func WithFaults() Option { return func(p *plan) { p.faults = true } }

// loadFaults copies the library into dir and returns settings with it.
func loadFaults(dir string, settings map[string]string) (map[string]string, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	library, err := os.ReadFile(filepath.Join(root, "bdr_go_test.so"))
	if err != nil {
		return nil, fmt.Errorf("%w; \"make bdr_go_test.so\" builds it", err)
	}
	path := filepath.Join(dir, "bdr_go_test.so")
	out := map[string]string{"bdr.debug_go_library": path}
	maps.Copy(out, settings)
	return out, os.WriteFile(path, library, 0o755)
}

// moduleRoot is the folder with go.mod, above the package that is tested.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no go.mod above the working directory: %w", err)
}
