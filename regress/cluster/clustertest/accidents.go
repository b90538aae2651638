package clustertest

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
)

// Chaos is a source of accidents. One is over when the next one comes, but
// what they leave behind is not.
type Chaos struct {
	T      *testing.T
	C      *pgtest.Cluster
	Random *rand.Rand
	Second time.Duration // less: more accidents in the same time
	Count  map[string]int
}

// Accident ends the last accident and makes another one.
func (x *Chaos) Accident() {
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
	order := x.Random.Perm(len(x.C.Nodes))
	one := accidents[x.Random.IntN(len(accidents))]
	if x.Count == nil {
		x.Count = map[string]int{}
	}
	x.Count[one.name]++
	one.do(x.C.Nodes[order[0]], x.C.Nodes[order[1]])
	x.last(1, 4)
}

// last lets a state last for some seconds: it is the subject, not a wait.
func (x *Chaos) last(from, to int) {
	<-time.After(time.Duration(from)*x.Second + time.Duration(x.Random.Int64N(int64(to-from)*int64(x.Second))))
}

func (x *Chaos) killNode(n, _ *pgtest.Node) {
	n.Must(n.Kill9())
	x.last(0, 6)
	n.Must(n.Start())
}

func (x *Chaos) restartNode(n, _ *pgtest.Node) {
	n.Must(n.Restart())
}

func (x *Chaos) cutLink(n, other *pgtest.Node) {
	links := []*pgtest.Link{x.C.Link(n, other), x.C.Link(other, n)}
	if x.Random.IntN(2) == 0 {
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

func (x *Chaos) resetLink(n, other *pgtest.Node) {
	l := x.C.Link(n, other)
	l.Refuse()
	x.last(0, 3)
	l.Heal()
}

// processTitles are those of what works for us.
var processTitles = []string{ManagerTitle, WriterTitle, WalsenderTitle, "bdr supervisor"}

func (x *Chaos) process(n *pgtest.Node) (pgtest.Process, bool) {
	found := n.ProcessesTitled(processTitles[x.Random.IntN(len(processTitles))])
	if len(found) == 0 {
		return pgtest.Process{}, false // dead from an earlier accident
	}
	return found[x.Random.IntN(len(found))], true
}

// killProcess makes the whole server recover, as PostgreSQL does.
func (x *Chaos) killProcess(n, _ *pgtest.Node) {
	if p, ok := x.process(n); ok {
		_ = syscall.Kill(p.PID, syscall.SIGKILL) // it may have ended by itself
	}
}

func (x *Chaos) terminateProcess(n, _ *pgtest.Node) {
	if p, ok := x.process(n); ok {
		_ = syscall.Kill(p.PID, syscall.SIGTERM)
	}
}

// freezeManager is what a machine out of memory or a paused VM does.
func (x *Chaos) freezeManager(n, _ *pgtest.Node) {
	for _, p := range n.ProcessesTitled(ManagerTitle) {
		_ = syscall.Kill(p.PID, syscall.SIGSTOP)
		x.last(1, 12)
		_ = syscall.Kill(p.PID, syscall.SIGCONT)
	}
}
