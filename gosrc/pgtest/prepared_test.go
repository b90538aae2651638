package pgtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestMain(m *testing.M) { Main(m) }

// TestServersAreCopies exists because a copy that is not whole, or that passes
// for its original, would make tests about identity green for nothing.
func TestServersAreCopies(t *testing.T) {
	dir, err := ScratchDirectory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	const count = 4
	var servers [count]*Server
	var group sync.WaitGroup
	for i := range count {
		group.Go(func() {
			s, err := NewServer(dir, string(rune('a'+i)), plain)
			if err != nil {
				t.Error(err)
			}
			servers[i] = s
		})
	}
	group.Wait()
	seen := map[string]bool{}
	for _, s := range servers {
		out, err := exec.Command(filepath.Join(s.bin, "pg_controldata"), "-D", s.DataDirectory()).CombinedOutput()
		if err != nil || strings.Contains(string(out), "WARNING") {
			t.Fatalf("pg_controldata: %v: %s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			if identifier, ok := strings.CutPrefix(line, "Database system identifier:"); ok {
				seen[strings.TrimSpace(identifier)] = true
			}
		}
	}
	if len(seen) != count {
		t.Errorf("%d servers have the system identifiers %v", count, seen)
	}
	originals, _ := filepath.Glob(filepath.Join(prepared.dir, "data-"+strings.Repeat("?", 16)))
	if len(originals) != 1 {
		t.Errorf("they were made of %v", originals)
	}
}
