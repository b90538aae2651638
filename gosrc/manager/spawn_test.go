package manager

import (
	"strings"
	"testing"
)

// A panic must reach OnDeath with its name, or the manager would live on
// without one of its parts.
func TestGoReportsPanic(t *testing.T) {
	got := make(chan string, 2)
	OnDeath(func(name string, reason any, stack []byte) {
		got <- name + ": " + reason.(string)
		got <- string(stack)
	})
	defer OnDeath(nil)
	Go("peer b", func() { panic("broken invariant") })
	if report := <-got; report != "peer b: broken invariant" {
		t.Errorf("got %q", report)
	}
	if stack := <-got; !strings.Contains(stack, "TestGoReportsPanic") {
		t.Errorf("stack does not show where:\n%s", stack)
	}
	Guard("nothing", func() {})
}
