package model

import (
	"slices"

	"bdr/gosrc/conflict"
)

// Step is one statement, run on one node as a transaction of its own.
type Step struct {
	Node      int
	Statement Statement
}

// Explored is what all the orders of a case came to.
type Explored struct {
	Schedules uint64           // orders of running and delivering
	Compared  int              // how many times a node was compared at its end
	Ends      map[string][]Row // what the nodes had at the end
}

// explorer visits every state that a cluster can reach once.
type explorer struct {
	steps []Step
	seen  map[string]uint64
	ends  int // how many times a node was compared
	buf   []byte
	out   *Explored
}

// Explore runs the steps in their order, each at any moment, and delivers in
// any order that keeps each node's own; every schedule must end with the rows
// of the specification on every node.
func Explore(config Config, start []Row, steps []Step) (Explored, error) {
	c := started(config, start)
	out := Explored{Ends: map[string][]Row{}}
	e := explorer{steps: steps, seen: map[string]uint64{}, out: &out}
	n, err := e.visit(c, 0)
	out.Schedules, out.Compared = n, e.ends
	return out, err
}

// started makes a cluster of which every node has the same rows, with no version
// that anybody remembers.
func started(config Config, start []Row) *Cluster {
	c := newCluster(config, 0)
	for _, row := range start {
		row.Body, row.Large = -1, -1
		c.start = append(c.start, live{Row: row})
	}
	for i := range c.nodes {
		c.nodes[i].live = slices.Clone(c.start)
	}
	return c
}

// visit returns the number of ways to the end from here.
func (e *explorer) visit(c *Cluster, next int) (uint64, error) {
	if next == len(e.steps) {
		return e.drain(c)
	}
	key := e.encode(c, next)
	if n, ok := e.seen[key]; ok {
		return n, nil
	}
	step := e.steps[next]
	after := c.fork(step.Node)
	after.now++
	if _, err := after.commitNow(&after.nodes[step.Node], []Statement{step.Statement}); err != nil {
		return 0, err
	}
	ways, err := e.visit(after, next+1)
	if err != nil {
		return 0, err
	}
	for to := range c.nodes {
		n, err := e.deliveries(c, to, func(after *Cluster) (uint64, error) { return e.visit(after, next) })
		if err != nil {
			return 0, err
		}
		ways += n
	}
	e.seen[key] = ways
	return ways, nil
}

// deliveries goes on after each delivery that node to can get next.
func (e *explorer) deliveries(c *Cluster, to int, visit func(*Cluster) (uint64, error)) (uint64, error) {
	var ways uint64
	for from := range c.nodes {
		if to == from || c.nodes[to].position[from] >= len(c.nodes[from].log) {
			continue
		}
		after := c.fork(to)
		after.now += int64(len(e.steps)) // no version is from the future
		_, err := after.deliver(&after.nodes[to], &after.nodes[from])
		after.now = c.now
		if err != nil {
			return 0, err
		}
		n, err := visit(after)
		if err != nil {
			return 0, err
		}
		ways += n
	}
	return ways, nil
}

// drain delivers what is left when all has been run. No node can influence
// another any more, so their orders multiply, and mix in any way.
func (e *explorer) drain(c *Cluster) (uint64, error) {
	key := e.encode(c, len(e.steps))
	if n, ok := e.seen[key]; ok {
		return n, nil
	}
	want := c.specified()
	ways, mixed := uint64(1), uint64(0)
	for to := range c.nodes {
		n, err := e.drainNode(c, to, want)
		if err != nil {
			return 0, err
		}
		left := c.left(to)
		ways *= n * choose(mixed+left, left)
		mixed += left
	}
	e.end(want)
	e.seen[key] = ways
	return ways, nil
}

// left is how many deliveries a node still gets.
func (c *Cluster) left(to int) uint64 {
	n := 0
	for from := range c.nodes {
		if from != to {
			n += len(c.nodes[from].log) - c.nodes[to].position[from]
		}
	}
	return uint64(n)
}

// choose is the number of ways to mix k things, in order, into n places.
func choose(n, k uint64) uint64 {
	c := uint64(1)
	for i := uint64(1); i <= k; i++ {
		c = c * (n - k + i) / i
	}
	return c
}

// drainNode returns the number of orders in which one node can get the rest.
func (e *explorer) drainNode(c *Cluster, to int, want []live) (uint64, error) {
	if c.left(to) == 0 {
		e.ends++
		return 1, c.compareNode(&c.nodes[to], want)
	}
	return e.deliveries(c, to, func(after *Cluster) (uint64, error) { return e.drainNode(after, to, want) })
}

func (e *explorer) end(live []live) {
	var rows []Row
	var name []byte
	for _, l := range live {
		rows = append(rows, l.Row)
		name = appendRow(name, &l.Row)
	}
	e.out.Ends[string(name)] = rows
}

// fork copies a cluster, of which one node will change.
func (c *Cluster) fork(changing int) *Cluster {
	f := *c
	f.nodes = slices.Clone(c.nodes)
	n := &f.nodes[changing]
	n.state = n.clone()
	n.log = slices.Clip(n.log)
	return &f
}

// encode names a state: all that can matter for what follows.
func (e *explorer) encode(c *Cluster, next int) string {
	b := append(e.buf[:0], byte(next))
	for i := range c.nodes {
		n := &c.nodes[i]
		b = append(b, byte(n.xid), byte(len(n.live)), byte(len(n.dead)), byte(len(n.memories)), byte(len(n.log)))
		for _, l := range sorted(n.live) {
			b = appendVersion(appendRow(b, &l.Row), l.Version)
		}
		for k := range n.dead {
			d := &n.dead[k]
			b = append(appendVersion(appendVersion(appendRow(b, &d.Row), d.born), d.died), byte(d.xmax))
		}
		for k := range n.memories {
			m := &n.memories[k]
			b = appendVersion(appendRow(b, &m.Row), m.Version)
			for _, on := range m.on {
				b = append(b, byte(on))
			}
			b = append(b, 255, byte(m.xmax))
		}
		for k := range c.nodes {
			b = append(b, byte(n.position[k]))
		}
		for k := range n.log {
			for _, change := range n.log[k].Changes {
				b = append(appendRow(b, &change.Row), byte(change.Operation), byte(change.OldKey))
			}
		}
	}
	e.buf = b
	return string(b)
}

func appendRow(b []byte, r *Row) []byte {
	return append(b, byte(r.Key), byte(r.Cols[0]), byte(r.Cols[1]), byte(r.Body), byte(r.Large))
}

func appendVersion(b []byte, v conflict.Version) []byte {
	return append(b, byte(v.Time), byte(v.Node))
}
