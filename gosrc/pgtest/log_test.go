package pgtest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A failure on another machine is only as clear as what is printed of the logs.
func TestRecentLines(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	line := func(seconds int, text string) string {
		return at.Add(time.Duration(seconds)*time.Second).Format("2006-01-02 15:04:05.000 MST") + fmt.Sprintf(" [%d] %s", seconds, text)
	}
	many := []string{line(0, "starts")}
	for i := range 100 {
		many = append(many, line(20, fmt.Sprint("number ", i)))
	}
	for name, c := range map[string]struct {
		log        []string
		want, none string
		lines      int
	}{
		"old lines are left out":  {append([]string{line(0, "long ago")}, many[90:]...), "(1 lines", "long ago", 12},
		"but not the last ones":   {[]string{line(0, "long ago"), "\tand more"}, "\tand more", "older", 2},
		"continued lines":         {[]string{line(20, "error"), "\tof two lines"}, "of two lines", "older", 2},
		"repeated lines":          {[]string{line(18, "again"), line(19, "again"), line(20, "again")}, "[20] again", "[19]", 2},
		"not more than some":      {many, "number 99", "number 10", shownLogLines + 1},
		"very long lines":         {[]string{line(20, strings.Repeat("x", 5000))}, "x...", "older", 1},
		"no lines with a time":    {[]string{"one", "two", "three", "four", "five", "six"}, "(1 lines", "one", 6},
		"an empty log is no line": {[]string{""}, "", "older", 1},
	} {
		got := recentLines(strings.Join(c.log, "\n"), at.Add(10*time.Second))
		if !strings.Contains(got, c.want) || strings.Contains(got, c.none) || strings.Count(got, "\n")+1 != c.lines {
			t.Errorf("%s: %s", name, got)
		}
	}
}
