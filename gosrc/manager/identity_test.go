package manager

import (
	"os"
	"path/filepath"
	"testing"

	"bdr/gosrc/catalog"
	"bdr/gosrc/pgerr"
)

func dataDirectory(t *testing.T, runDirectory string) Config {
	t.Helper()
	directory := t.TempDir()
	if err := os.WriteFile(filepath.Join(directory, "PG_VERSION"), []byte("15\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Config{DataDirectory: directory, RunDirectory: runDirectory, DatabaseName: "app"}
}

// A base backup, a promoted standby or a restored directory brings the node's
// files along; it must not vote or replicate as the original.
func TestIdentity(t *testing.T) {
	run := t.TempDir()
	original, copied := dataDirectory(t, run), dataDirectory(t, run)
	node := catalog.LocalNode{ID: 1, UUID: "11111111-0000-0000-0000-000000000000"}
	other := catalog.LocalNode{ID: 2, UUID: "22222222-0000-0000-0000-000000000000"}
	steps := []struct {
		name    string
		config  Config
		server  string
		node    catalog.LocalNode
		refused bool
	}{
		{"first_start", original, "77", node, false},
		{"restart", original, "77", node, false},
		{"other_directory", copied, "77", node, true},
		{"other_system", original, "78", node, true},
		{"new_node_in_the_copy", copied, "77", other, false},
		{"old_node_is_unknown_now", original, "77", node, false},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			refusal, err := checkIdentity(step.config, catalog.Server{SystemIdentifier: step.server}, step.node)
			if err != nil || (refusal != nil) != step.refused {
				t.Fatalf("got %v, %v", refusal, err)
			}
			if refusal != nil && (refusal.Code != pgerr.WrongState || refusal.Hint == "") {
				t.Errorf("got %+v", refusal)
			}
		})
	}
}

// A damaged file is a failure to find out, never a permission.
func TestIdentityDamaged(t *testing.T) {
	run := t.TempDir()
	config := dataDirectory(t, run)
	if err := os.WriteFile(filepath.Join(run, incarnationFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := checkIdentity(config, catalog.Server{SystemIdentifier: "1"}, catalog.LocalNode{ID: 1, UUID: "x"}); err == nil {
		t.Fatal("no error")
	}
}
