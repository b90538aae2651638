package model

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"bdr/gosrc/conflict"
)

// Config is one kind of schedule.
type Config struct {
	Nodes   int
	Table   Table
	Policy  conflict.Policy
	Steps   int
	Skew    int64 // how far clocks may be apart; 0: they agree
	Jumps   bool  // clocks go back
	Crashes bool
	Slow    bool // commits that take their time long before they are logged
	Large   bool // values that updates leave out
	Ties    bool // many commits in one microsecond
	Vacuum  bool
	Join    bool // the last node joins meanwhile
	Rewrite bool // tables are rewritten, with the same rows
	Faults  Faults
}

// Cluster is all nodes and the links between them.
type Cluster struct {
	config Config
	random *rand.Rand
	nodes  []node
	start  []live // what every node has before the first transaction
	now    int64
	body   int16
	join   *join                       // nil: all are there from the start
	speed  [nodesMax][nodesMax]float64 // chance that a delivery is made
}

// Result counts what happened in a schedule.
type Result struct {
	Commits, Deliveries int
}

// ErrDiverged means that the nodes, or the specification, differ at the end.
var ErrDiverged = errors.New("nodes differ")

// Run plays one random schedule, then delivers everything and compares.
func Run(config Config, seed uint64) (Result, error) {
	c := newCluster(config, seed)
	var r Result
	for range config.Steps {
		if err := c.step(&r); err != nil {
			return r, err
		}
	}
	if err := c.settle(&r); err != nil {
		return r, err
	}
	if err := c.compare(); err != nil {
		return r, err
	}
	return r, c.forget(&r)
}

func newCluster(config Config, seed uint64) *Cluster {
	c := &Cluster{config: config, random: rand.New(rand.NewPCG(seed, 0)), now: 1000}
	c.nodes = make([]node, config.Nodes)
	for i := range c.nodes {
		c.nodes[i].id = uint32(i + 1)
		c.nodes[i].flush()
		if config.Skew > 0 {
			c.nodes[i].offset = c.random.Int64N(config.Skew + 1)
		}
		for k := range c.nodes {
			c.speed[i][k] = []float64{1, 0.5, 0.1, 0.01}[c.random.IntN(4)]
		}
	}
	if config.Join {
		c.join = &join{node: config.Nodes - 1}
	}
	return c
}

// step lets one thing happen.
func (c *Cluster) step(r *Result) error {
	if !c.config.Ties || c.random.IntN(3) == 0 {
		c.now += c.random.Int64N(20)
	}
	if c.joins() && c.random.IntN(4) == 0 {
		return c.goOnJoining()
	}
	n := &c.nodes[c.random.IntN(len(c.nodes))]
	switch roll := c.random.IntN(100); {
	case roll < 22:
		return c.write(n, r)
	case roll < 25:
		if n.pending != nil {
			return c.finish(n)
		}
	case roll < 33 && c.config.Vacuum:
		c.watermark(n)
	case roll < 45 && c.config.Vacuum:
		c.vacuumNode(n)
	case roll < 48:
		n.flush()
	case roll < 50 && c.config.Crashes:
		n.crash()
	case roll < 51 && c.config.Jumps:
		n.offset -= c.random.Int64N(200)
	case roll < 55 && c.config.Rewrite:
		c.rewrite(n)
	default:
		from := &c.nodes[c.random.IntN(len(c.nodes))]
		if c.random.Float64() < c.speed[from.id-1][n.id-1] {
			return c.tryDeliver(n, from, r)
		}
	}
	return nil
}

func (c *Cluster) tryDeliver(n, from *node, r *Result) error {
	done, err := c.deliver(n, from)
	if done {
		r.Deliveries++
	}
	return err
}

func (c *Cluster) write(n *node, r *Result) error {
	statements := make([]Statement, 1+c.random.IntN(3))
	for i := range statements {
		statements[i] = RandomStatement(c.random, &c.config.Table, c.config.Large)
	}
	var done bool
	var err error
	if c.config.Slow && c.random.IntN(2) == 0 {
		done = c.commit(n, statements)
	} else {
		done, err = c.commitNow(n, statements)
	}
	if done {
		r.Commits++
	}
	return err
}

// settle heals everything and delivers what is left, in random order.
func (c *Cluster) settle(r *Result) error {
	for i := range c.nodes {
		if c.nodes[i].pending != nil {
			if err := c.finish(&c.nodes[i]); err != nil {
				return err
			}
		}
	}
	c.now += 1 << 30
	pairs := len(c.nodes) * len(c.nodes)
	for more := true; more; {
		more = c.joins()
		c.now++ // a join waits for clocks
		if err := c.goOnJoining(); err != nil {
			return err
		}
		for _, pair := range c.random.Perm(pairs) {
			n, from := &c.nodes[pair/len(c.nodes)], &c.nodes[pair%len(c.nodes)]
			done, err := c.deliver(n, from)
			if err != nil {
				return err
			}
			if done {
				r.Deliveries++
				more = true
			}
		}
	}
	return nil
}

// forget checks that a quiet cluster ends with nothing but its rows.
func (c *Cluster) forget(r *Result) error {
	if !c.config.Vacuum || c.config.Faults.LastCommitIsMark {
		return nil
	}
	c.now += 1 << 30
	for i := range c.nodes {
		c.vacuumNode(&c.nodes[i])
		c.watermark(&c.nodes[i])
	}
	if err := c.settle(r); err != nil {
		return err
	}
	for i := range c.nodes {
		n := &c.nodes[i]
		c.vacuumNode(n)
		if len(n.dead)+len(n.memories) > 0 {
			return fmt.Errorf("node %d still remembers %+v and %+v", n.id, n.dead, n.memories)
		}
	}
	return nil
}

// compare requires that all nodes have what the specification says.
func (c *Cluster) compare() error {
	want := c.specified()
	for i := range c.nodes {
		n := &c.nodes[i]
		for k := range c.nodes {
			if peer := &c.nodes[k]; peer != n && n.position[k] != len(peer.log) {
				return fmt.Errorf("%w: node %d has %d of %d transactions of node %d", ErrDiverged, n.id, n.position[k], len(peer.log), peer.id)
			}
		}
		if err := c.compareNode(n, want); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) compareNode(n *node, want []live) error {
	if got := sorted(n.live); !slices.EqualFunc(got, want, same) {
		return fmt.Errorf("%w: node %d has %+v, expected %+v", ErrDiverged, n.id, got, want)
	}
	return nil
}

// same compares two rows. One that a join copied has no version.
func same(a, b live) bool {
	return a.Row == b.Row && (a.Version == b.Version || a.Version == conflict.Version{})
}

func sorted(rows []live) []live {
	out := slices.Clone(rows)
	slices.SortFunc(out, func(a, b live) int { return cmp.Compare(a.Key, b.Key) })
	return out
}

// specified is what the nodes must end with.
func (c *Cluster) specified() []live {
	var all []*Transaction
	for i := range c.nodes {
		for k := range c.nodes[i].log {
			all = append(all, &c.nodes[i].log[k])
		}
	}
	return specify(&c.config.Table, c.start, all)
}

// specify is the specification: the transactions that were seen in the order of
// their versions, where each row that is written evicts what it collides with.
func specify(t *Table, start []live, seen []*Transaction) []live {
	slices.SortStableFunc(seen, func(a, b *Transaction) int { return conflict.Compare(a.Version, b.Version) })
	rows := slices.Clone(start)
	for _, transaction := range seen {
		for _, change := range transaction.Changes {
			rows = slices.DeleteFunc(rows, func(l live) bool {
				return change.Operation != conflict.OpInsert && l.Key == change.OldKey ||
					change.Operation != conflict.OpDelete && t.collideAny(&l.Row, &change.Row)
			})
			if change.Operation != conflict.OpDelete {
				rows = append(rows, live{change.Row, transaction.Version})
			}
		}
	}
	return sorted(rows)
}

// Specified is what a node must show, ordered by key, that began with rows and
// has seen transactions; those of one node stand in their order.
func Specified(t *Table, start []Row, seen []*Transaction) []Row {
	var rows []live
	for _, row := range start {
		rows = append(rows, live{Row: row})
	}
	var out []Row
	for _, l := range specify(t, rows, slices.Clone(seen)) {
		out = append(out, l.Row)
	}
	return out
}
