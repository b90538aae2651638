package model

import (
	"fmt"
	"slices"

	"bdr/gosrc/conflict"
)

// A join copies the rows of one node, the source, and repeats what the source
// does after that, until the source has each peer's barrier; from there on it
// hears the peers themselves (docs/decisions/0005-barrier-after-snapshot.md).
type join struct {
	node     int
	source   int
	stage    stage
	since    int64         // no copied row is newer
	barriers [nodesMax]int // places in the peers' logs; 0: not named
	point    int           // place in the source's effects
	position [nodesMax]int // of the source, at the point
	until    int64         // nothing that somebody may have forgotten is newer
}

type stage int

// The stages, each with what begins it.
const (
	joinWaits     stage = iota
	joinCopied          // the source's rows are here
	joinAsks            // versions count from now on; the peers are asked for barriers
	joinCatchesUp       // all have answered
	joinMarked          // the source has written the point
	joinHears           // all before it is here; the direct streams begin
	joinDone            // users write here
)

// effect is what the source's WAL tells the joining node.
type effect struct {
	kind    effectKind
	version conflict.Version // begins
	Row                      // buries, adds
	memory  memory           // remembers
}

type effectKind int

const (
	begins effectKind = iota
	buries
	adds
	remembers
)

func (s *state) write(e effect) {
	if s.sends {
		s.wal = append(s.wal, e)
	}
}

// joins says whether a join is under way.
func (c *Cluster) joins() bool { return c.join != nil && c.join.stage != joinDone }

// hears says whether a node gets the others' streams.
func (c *Cluster) hears(n *node) bool {
	return c.join == nil || int(n.id-1) != c.join.node || c.join.stage >= joinHears
}

// mayWrite says whether users write on a node.
func (c *Cluster) mayWrite(n *node) bool {
	return c.join == nil || int(n.id-1) != c.join.node || c.join.stage == joinDone
}

// counts says whether a node keeps something for the sake of a peer.
func (c *Cluster) counts(n, peer *node) bool {
	joins := c.join != nil && int(peer.id-1) == c.join.node
	return !joins || n.knows && !c.config.Faults.UncountedJoiner || c.join.stage == joinDone
}

// goOnJoining lets the next thing of a join happen, if it can.
func (c *Cluster) goOnJoining() error {
	if !c.joins() {
		return nil
	}
	j := c.join
	n, source := &c.nodes[j.node], &c.nodes[j.source]
	switch j.stage {
	case joinWaits:
		if c.random.IntN(20) == 0 {
			c.copyRows()
		}
	case joinCopied:
		if c.random.IntN(2) == 0 {
			return c.catchUp(n, source)
		}
		c.count(n, source)
	case joinAsks, joinCatchesUp:
		if c.random.IntN(2) == 0 {
			return c.catchUp(n, source)
		}
		c.ask()
		c.mark(source)
	case joinMarked:
		if n.caughtUp < j.point {
			return c.catchUp(n, source)
		}
		c.adopt(n)
	case joinHears:
		if c.isPast(n, j.until) || c.config.Faults.ActiveAtOnce {
			j.stage = joinDone
		}
	}
	return nil
}

// copyRows takes what the source has on disk. Versions are not copied.
func (c *Cluster) copyRows() {
	j := c.join
	j.source = c.random.IntN(j.node)
	n, source := &c.nodes[j.node], &c.nodes[j.source]
	source.sends = true
	source.flush()
	n.live = slices.Clone(source.live)
	for i := range n.live {
		n.live[i].Version = conflict.Version{}
	}
	n.flush()
	j.stage = joinCopied
}

// count begins to keep versions. What the source has by now is older than all
// that will be heard directly, so what was kept before may go.
func (c *Cluster) count(n, source *node) {
	j := c.join
	source.knows = true
	n.dead, n.memories = nil, nil
	n.flush()
	j.since = max(source.high, c.clock(source))
	if c.config.Faults.BarrierAtOnce {
		j.since = 0
	}
	j.stage = joinAsks
}

// isPast says whether nothing that a node commits from now on, or is about to
// log, is as old as time.
func (c *Cluster) isPast(n *node, time int64) bool {
	if c.clock(n) <= time {
		return false
	}
	n.high = max(n.high, time)
	return n.pending == nil || n.pending.Version.Time > time || c.config.Faults.BarrierPastCommit
}

// ask has one more peer name its barrier.
func (c *Cluster) ask() {
	j := c.join
	for _, i := range c.random.Perm(j.node) {
		peer := &c.nodes[i]
		if i == j.source || j.barriers[i] != 0 {
			continue
		}
		if c.isPast(peer, j.since) {
			peer.knows = true
			j.barriers[i] = 1 + len(peer.log)
			j.until = max(j.until, peer.high, c.clock(peer))
		}
		return
	}
	j.stage = joinCatchesUp
}

// mark has the source write the point, when it has all before the barriers.
func (c *Cluster) mark(source *node) {
	j := c.join
	if j.stage != joinCatchesUp || !c.isPast(source, j.since) {
		return
	}
	for i, barrier := range j.barriers {
		if source.position[i] < barrier-1 {
			return
		}
	}
	source.flush()
	j.point, j.position = len(source.wal), source.position
	j.position[j.source] = len(source.log)
	j.until = max(j.until, source.high, c.clock(source))
	j.stage = joinMarked
}

// adopt begins the direct streams.
func (c *Cluster) adopt(n *node) {
	if c.config.Faults.CatchUpNoHold {
		n.dead = nil
	}
	n.position = c.join.position
	n.flush()
	c.nodes[c.join.source].sends = false
	c.join.stage = joinHears
}

// catchUp repeats one transaction of the source, once that has it on disk.
func (c *Cluster) catchUp(n, source *node) error {
	wal := source.durable.wal
	if n.caughtUp >= len(wal) {
		return nil
	}
	version := wal[n.caughtUp].version
	if !c.config.Faults.NoWait && version.Time >= c.clock(n) {
		return nil
	}
	n.high = max(n.high, version.Time+1)
	n.begin(version)
	for n.caughtUp++; n.caughtUp < len(wal) && wal[n.caughtUp].kind != begins; n.caughtUp++ {
		if err := c.repeat(n, version, &wal[n.caughtUp]); err != nil {
			return err
		}
	}
	return n.check(&c.config.Table)
}

func (c *Cluster) repeat(n *node, version conflict.Version, e *effect) error {
	switch e.kind {
	case buries:
		i := n.find(e.Key)
		if i < 0 {
			return fmt.Errorf("node %d does not have row %+v of the source", n.id, e.Row)
		}
		n.bury(i, version)
	case adds:
		n.add(live{e.Row, version})
	case remembers:
		m := e.memory
		if m.evicted {
			m.xmax = n.xid // another one than on the source
		}
		if m.evicted && !c.config.Faults.CatchUpNoMarks || !m.evicted && !c.config.Faults.CatchUpNoMemory {
			n.remember(m)
		}
	}
	return nil
}
