package cluster

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
)

// chaos is a source of accidents. One is over when the next one comes, but
// what they leave behind is not.
type chaos struct {
	t      *testing.T
	c      *pgtest.Cluster
	random *rand.Rand
	second time.Duration // less: more accidents in the same time
	count  map[string]int
}

func (x *chaos) accident() {
	accidents := []struct {
		name string
		do   func(n, other *pgtest.Node)
	}{
		{"node killed", x.killNode},
		{"node restarted", x.restartNode},
		{"link cut", x.cutLink},
		{"link reset", x.resetLink},
		{"process killed", x.killProcess},
		{"process terminated", x.terminateProcess},
		{"manager stopped for a while", x.freezeManager},
	}
	order := x.random.Perm(len(x.c.Nodes))
	one := accidents[x.random.IntN(len(accidents))]
	if x.count == nil {
		x.count = map[string]int{}
	}
	x.count[one.name]++
	one.do(x.c.Nodes[order[0]], x.c.Nodes[order[1]])
	x.last(1, 4)
}

// last lets a state last for some seconds: it is the subject, not a wait.
func (x *chaos) last(from, to int) {
	<-time.After(time.Duration(from)*x.second + time.Duration(x.random.Int64N(int64(to-from)*int64(x.second))))
}

func (x *chaos) killNode(n, _ *pgtest.Node) {
	n.Must(n.Kill9())
	x.last(0, 6)
	n.Must(n.Start())
}

func (x *chaos) restartNode(n, _ *pgtest.Node) {
	n.Must(n.Restart())
}

func (x *chaos) cutLink(n, other *pgtest.Node) {
	links := []*pgtest.Link{x.c.Link(n, other), x.c.Link(other, n)}
	if x.random.IntN(2) == 0 {
		links = links[:1] // half of a link
	}
	for _, l := range links {
		l.Cut()
	}
	x.last(1, 15)
	for _, l := range links {
		l.Heal()
	}
}

func (x *chaos) resetLink(n, other *pgtest.Node) {
	l := x.c.Link(n, other)
	l.Refuse()
	x.last(0, 3)
	l.Heal()
}

// processTitles are those of what works for us.
var processTitles = []string{managerTitle, writerTitle, walsenderTitle, "bdr supervisor"}

func (x *chaos) process(n *pgtest.Node) (pgtest.Process, bool) {
	found := n.ProcessesTitled(processTitles[x.random.IntN(len(processTitles))])
	if len(found) == 0 {
		return pgtest.Process{}, false // dead from an earlier accident
	}
	return found[x.random.IntN(len(found))], true
}

// killProcess makes the whole server recover, as PostgreSQL does.
func (x *chaos) killProcess(n, _ *pgtest.Node) {
	if p, ok := x.process(n); ok {
		_ = p.Kill9() // it may have ended by itself
	}
}

func (x *chaos) terminateProcess(n, _ *pgtest.Node) {
	if p, ok := x.process(n); ok {
		_ = syscall.Kill(p.PID, syscall.SIGTERM)
	}
}

// freezeManager is what a machine out of memory or a paused VM does.
func (x *chaos) freezeManager(n, _ *pgtest.Node) {
	for _, p := range n.ProcessesTitled(managerTitle) {
		_ = syscall.Kill(p.PID, syscall.SIGSTOP)
		x.last(1, 12)
		_ = syscall.Kill(p.PID, syscall.SIGCONT)
	}
}
