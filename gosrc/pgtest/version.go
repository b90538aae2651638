package pgtest

import (
	"regexp"
	"strconv"
	"testing"
)

var versionOfServer = regexp.MustCompile(`^PostgreSQL (\d+)`)

// Major is the major version of the servers that tests run on.
func Major(t testing.TB) int {
	t.Helper()
	version, err := pgConfig("--version")
	if err != nil {
		t.Fatal(err)
	}
	found := versionOfServer.FindStringSubmatch(version)
	if found == nil {
		t.Fatalf("pg_config --version says %q", version)
	}
	major, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return major
}

// Since skips a test on servers before a major version, which do not have what
// it is about.
func Since(t testing.TB, major int, what string) {
	t.Helper()
	if Major(t) < major {
		t.Skipf("%s came with PostgreSQL %d", what, major)
	}
}
