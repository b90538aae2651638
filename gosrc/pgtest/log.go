package pgtest

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// A test that fails shows what its servers said shortly before: all of the last
// seconds, within bounds, and the very last lines however old they are. The
// whole logs are kept in files.
const (
	shownSpan     = 10 * time.Second
	shownLogLines = 40
	lastLogLines  = 5
	shownColumns  = 400
)

// showLog prints the last seconds of the server's log if the test has failed,
// and nothing twice: a subtest and the test around it share servers.
func (s *Server) showLog(t testing.TB) {
	t.Helper()
	if !t.Failed() {
		return
	}
	text, err := s.unshownLog()
	if err != nil {
		t.Logf("log of %s: %v", s.Name, err)
	} else if text != "" {
		t.Logf("log of %s, the last seconds (all of it: %s):\n%s", s.Name, s.LogPath(),
			recentLines(text, time.Now().Add(-shownSpan)))
	}
}

// unshownLog is what was logged since it was called last.
func (s *Server) unshownLog() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := os.Open(s.LogPath())
	if err != nil {
		return "", err
	}
	defer f.Close()
	if _, err := f.Seek(s.shown, io.SeekStart); err != nil {
		return "", err
	}
	text, err := io.ReadAll(f)
	s.shown += int64(len(text))
	return strings.TrimRight(string(text), "\n"), err
}

// recentLines picks the lines of a log that are not older than since. Of lines
// that say the same, as of a query that waits for something, it shows the last.
func recentLines(text string, since time.Time) string {
	lines := strings.Split(text, "\n")
	first := slices.IndexFunc(lines, func(line string) bool {
		at, _, ok := cutTime(line)
		return ok && !at.Before(since)
	})
	if first < 0 {
		first = len(lines)
	}
	first = max(min(first, len(lines)-lastLogLines), 0)
	var shown []string
	said := map[string]bool{}
	for _, line := range slices.Backward(lines[first:]) {
		_, message, _ := cutTime(line)
		if said[message] || len(shown) == shownLogLines {
			continue
		}
		said[message] = true
		if len(line) > shownColumns {
			line = line[:shownColumns] + "..."
		}
		shown = append(shown, "  "+strings.ToValidUTF8(line, "?"))
	}
	if left := len(lines) - len(shown); left > 0 {
		shown = append(shown, fmt.Sprintf("  (%d lines are older, or repeated below)", left))
	}
	slices.Reverse(shown)
	return strings.Join(shown, "\n")
}

// cutTime is the time at the start of a line, which only the first line of a
// message has, and what follows it and the process id.
func cutTime(line string) (time.Time, string, bool) {
	const layout = "2006-01-02 15:04:05.000 MST"
	if len(line) < len(layout) {
		return time.Time{}, line, false
	}
	at, err := time.Parse(layout, line[:len(layout)])
	if err != nil {
		return time.Time{}, line, false
	}
	_, message, _ := strings.Cut(line, "] ")
	return at, message, true
}
