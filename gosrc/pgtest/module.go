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
	module, err := copyModule("bdr_test.so", n.Dir)
	if err != nil {
		return err
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	functions, err := os.ReadFile(filepath.Join(root, "regress", "test_functions.sql"))
	if err != nil {
		return err
	}
	return n.Try(strings.ReplaceAll(string(functions), "MODULE", module))
}

// WithFaults lets bdr_test.internal_debug_fault break the managers: they load
// bdr_go_test.so in place of the installed library.
func WithFaults() Option { return func(p *plan) { p.prepare = append(p.prepare, loadFaults) } }

// loadFaults copies the library into dir and returns settings with it.
func loadFaults(dir string, settings map[string]string) (map[string]string, error) {
	module, err := copyModule("bdr_go_test.so", dir)
	if err != nil {
		return nil, err
	}
	out := map[string]string{"bdr.debug_go_library": module}
	maps.Copy(out, settings)
	return out, nil
}

// copyModule puts what make has built where a server can read it, and returns
// its path. One that is there stays: a server may have mapped it. bdr_test.so may
// have been built for another server than the others (BDR_TEST_MODULE).
func copyModule(name, dir string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	from := filepath.Join(root, name)
	if built := os.Getenv("BDR_TEST_MODULE"); filepath.Base(built) == name {
		from = built
	}
	to := filepath.Join(dir, name)
	if _, err := os.Stat(to); err == nil {
		return to, nil
	}
	module, err := os.ReadFile(from)
	if err != nil {
		return "", fmt.Errorf("%w; \"make %s\" builds it", err, name)
	}
	return to, os.WriteFile(to, module, 0o755)
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
