package pgtest

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Major is the major version of the server that we build for.
func Major(t testing.TB) int {
	t.Helper()
	out, err := exec.Command(cmp.Or(os.Getenv("PG_CONFIG"), "pg_config"), "--version").Output()
	if err != nil {
		t.Fatalf("run pg_config: %v", err)
	}
	var major int
	if _, err := fmt.Sscanf(strings.TrimPrefix(string(out), "PostgreSQL "), "%d", &major); err != nil {
		t.Fatalf("pg_config says %q: %v", out, err)
	}
	return major
}

// NeedMajor skips a test of what came with that major.
func NeedMajor(t testing.TB, major int, what string) {
	t.Helper()
	if have := Major(t); have < major {
		t.Skipf("%s came with PostgreSQL %d; this is %d", what, major, have)
	}
}
