package ipc

import (
	"fmt"
	"os"
	"regexp"
	"testing"
)

// The list of kinds exists in Go, in C and in the documents; a difference
// would be found by a user.
func TestKindsAgree(t *testing.T) {
	header := read(t, "../../include/bdr_protocol.h")
	document := read(t, "../../docs/protocol.md")
	compare(t, "include/bdr_protocol.h", regexp.MustCompile(`BDR_MSG_([A-Z]+) = '(.)'`).FindAllStringSubmatch(header, -1))
	var rows [][]string
	for _, m := range regexp.MustCompile("(?m)^\\| `(.)` \\| ([A-Z]+) \\|").FindAllStringSubmatch(document, -1) {
		rows = append(rows, []string{m[0], m[2], m[1]})
	}
	compare(t, "docs/protocol.md", rows)
}

// compare wants each name and letter once, and no other.
func compare(t *testing.T, where string, found [][]string) {
	t.Helper()
	seen := map[kind]bool{}
	for _, m := range found {
		k := kind(m[2][0])
		if kindNames[k] != m[1] {
			t.Errorf("%s has %s as %q, Go has %q", where, m[1], m[2], kindNames[k])
		}
		seen[k] = true
	}
	if len(seen) != len(kindNames) {
		t.Errorf("%s has %d kinds, Go has %d", where, len(seen), len(kindNames))
	}
}

// Both ends must be of one build, and agree on limits and roles.
func TestConstantsAgree(t *testing.T) {
	header := read(t, "../../include/bdr_protocol.h")
	for _, want := range []string{
		fmt.Sprintf(`#define BDR_SOCKET_VERSION\s+"%s"`, regexp.QuoteMeta(SocketVersion)),
		`#define BDR_MESSAGE_BYTES_MAX\s+\(\(Size\) 1024 \* 1024 \* 1024 \+ 64 \* 1024\)`,
		fmt.Sprintf(`#define BDR_ROLE_BACKEND\s+'%c'`, roleBackend),
		fmt.Sprintf(`#define BDR_ROLE_WRITER\s+'%c'`, roleWriter),
		fmt.Sprintf(`#define BDR_ROLE_DECIDER\s+'%c'`, roleDecider),
	} {
		if !regexp.MustCompile(want).MatchString(header) {
			t.Errorf("include/bdr_protocol.h does not match %s", want)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
