package durable

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	var got map[string]int
	if err := Read(path, &got); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that does not exist: %v", err)
	}
	for _, value := range []map[string]int{{"a": 1}, {"b": 2}} {
		got = nil
		if err := errors.Join(Write(path, value), Read(path, &got)); err != nil {
			t.Fatal(err)
		}
		for key := range value {
			if len(got) != 1 || got[key] != value[key] {
				t.Errorf("got %v, wrote %v", got, value)
			}
		}
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Read(path, &got); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("a damaged file: %v", err)
	}
	if err := errors.Join(Remove(path), Remove(path)); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) != 0 {
		t.Errorf("%v are left", left)
	}
	if err := Write(filepath.Join(path, "no", "folder"), 1); err == nil {
		t.Error("wrote into a folder that does not exist")
	}
}
