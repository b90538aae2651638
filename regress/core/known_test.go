package core

import (
	"os"
	"strings"
	"testing"
)

// An entry of the list of known differences. One that is there sometimes may lack.
type entry struct {
	difference difference
	reason     string
	sometimes  bool
}

// readKnown reads known.txt. Entries are separated by empty lines; a line with "# " is
// the reason of all entries up to the next such line.
func readKnown(t *testing.T) []entry {
	t.Helper()
	text, err := os.ReadFile("known.txt")
	must(t, err)
	var out []entry
	reason := ""
	for block := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		lines := strings.Split(block, "\n")
		for len(lines) > 0 && strings.HasPrefix(lines[0], "# ") {
			reason, lines = strings.TrimPrefix(lines[0], "# "), lines[1:]
		}
		if len(lines) == 0 || lines[0] == "" {
			continue
		}
		head, sometimes := strings.CutPrefix(lines[0], "sometimes ")
		kind, name, ok := strings.Cut(head, " ")
		if !ok || reason == "" {
			t.Fatalf("known.txt: no kind, name or reason in\n%s", block)
		}
		out = append(out, entry{difference{kind, name, lines[1:]}, reason, sometimes})
	}
	return out
}
