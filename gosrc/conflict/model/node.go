package model

import (
	"errors"
	"fmt"
	"slices"

	"bdr/gosrc/conflict"
)

// Statement is one SQL statement of a user.
type Statement struct {
	Kind   StatementKind
	Row    Row  // INSERT
	Key    int8 // the others
	Column int  // SetColumn
	Value  int8 // SetColumn, SetKey
}

// StatementKind is what a statement does.
type StatementKind uint8

// The statements.
const (
	InsertRow StatementKind = iota // INSERT INTO t VALUES (row)
	SetBody                        // UPDATE t SET body = ... WHERE key = ...
	SetLarge                       // UPDATE t SET large = ... WHERE key = ...
	SetColumn                      // UPDATE t SET column = value WHERE key = ...
	SetKey                         // UPDATE t SET key = value WHERE key = ...
	DeleteRow                      // DELETE FROM t WHERE key = ...
	statementKinds
)

// node is one member of the cluster.
type node struct {
	state
	id      uint32
	offset  int64 // of its clock
	high    int64 // the newest time seen or committed: nothing commits below
	samples []sample
	hold    int16 // what ended up to here may be vacuumed
	log     []Transaction
	pending *Transaction // has its time, but is not in the log yet
	locked  []Row        // by pending
	durable *state       // what a crash leaves
	knows   bool         // that a node is joining, and may write soon
}

// sample is a snapshot: what had ended then, and that it was no newer than high.
type sample struct {
	xid  int16
	high int64
}

// run executes statements against the visible rows. It returns the changes, or
// false when a statement fails, which undoes them all.
func (c *Cluster) run(n *node, statements []Statement, body *int16) ([]Change, bool) {
	rows := slices.Clone(n.live)
	var changes []Change
	for _, st := range statements {
		*body++
		change, ok := execute(n.id, &rows, st, *body)
		if !ok {
			continue
		}
		for i := range rows {
			if change.Operation != conflict.OpDelete && rows[i].Row != change.Row && c.config.Table.collideAny(&rows[i].Row, &change.Row) {
				return nil, false
			}
		}
		changes = append(changes, change)
	}
	for _, change := range changes {
		if c.lockedByOther(n, change) {
			return nil, false
		}
	}
	return changes, len(changes) > 0
}

func (c *Cluster) lockedByOther(n *node, change Change) bool {
	return slices.ContainsFunc(n.locked, func(l Row) bool {
		return l.Key == change.OldKey || c.config.Table.collideAny(&l, &change.Row)
	})
}

// execute changes rows by one statement; false when there is no row for it.
func execute(id uint32, rows *[]live, st Statement, body int16) (Change, bool) {
	if st.Kind == InsertRow {
		row := st.Row
		row.Body, row.Large = body, body
		*rows = append(*rows, live{row, own(id)})
		return Change{Operation: conflict.OpInsert, Row: row}, true
	}
	i := slices.IndexFunc(*rows, func(l live) bool { return l.Key == st.Key })
	if i < 0 {
		return Change{}, false
	}
	if st.Kind == DeleteRow {
		*rows = slices.Delete(*rows, i, i+1)
		return Change{Operation: conflict.OpDelete, OldKey: st.Key}, true
	}
	row := (*rows)[i].Row
	row.Body = body
	switch st.Kind {
	case SetLarge:
		row.Large = body
	case SetColumn:
		row.Cols[st.Column] = st.Value
	case SetKey:
		row.Key = st.Value
	}
	// A trigger stores large values anew where another node wrote the row.
	unchanged := st.Kind != SetLarge && (*rows)[i].Version.Node == id
	(*rows)[i] = live{row, own(id)}
	return Change{conflict.OpUpdate, st.Key, row, unchanged}, true
}

func own(id uint32) conflict.Version { return conflict.Version{Known: true, Node: id} }

// clock is the node's idea of the time.
func (c *Cluster) clock(n *node) int64 { return c.now + n.offset }

// mayCommit is the guard: a commit must not be older than what is here.
func (c *Cluster) mayCommit(n *node) bool {
	return c.config.Faults.NoGuard || c.clock(n) >= n.high
}

// commit runs a transaction and takes its time; finish makes it visible and
// puts it into the log. Other transactions may go between.
func (c *Cluster) commit(n *node, statements []Statement) bool {
	if n.pending != nil {
		return false
	}
	t, ok := c.prepare(n, statements)
	if ok {
		n.pending = t
		for _, change := range t.Changes {
			n.locked = append(n.locked, change.Row)
			if i := n.find(change.OldKey); i >= 0 {
				n.locked = append(n.locked, n.live[i].Row)
			}
		}
	}
	return ok
}

// commitNow is a commit that goes past one that waits to be finished.
func (c *Cluster) commitNow(n *node, statements []Statement) (bool, error) {
	t, ok := c.prepare(n, statements)
	if !ok {
		return false, nil
	}
	return true, c.store(n, t)
}

func (c *Cluster) prepare(n *node, statements []Statement) (*Transaction, bool) {
	if !c.mayCommit(n) || !c.mayWrite(n) {
		return nil, false
	}
	changes, ok := c.run(n, statements, &c.body)
	if !ok {
		return nil, false
	}
	now := c.clock(n)
	n.high = max(n.high, now)
	return &Transaction{Version: conflict.Version{Known: true, Time: now, Node: n.id}, Changes: changes}, true
}

func (c *Cluster) finish(n *node) error {
	t := n.pending
	n.pending, n.locked = nil, nil
	return c.store(n, t)
}

// store makes a local transaction visible, logs it and flushes.
func (c *Cluster) store(n *node, t *Transaction) error {
	n.begin(t.Version)
	for _, change := range t.Changes {
		if err := c.mustWin(n, t.Version, change); err != nil {
			return err
		}
		if change.Operation != conflict.OpInsert {
			n.bury(n.find(change.OldKey), t.Version)
		}
		if change.Operation != conflict.OpDelete {
			n.add(live{change.Row, t.Version})
		}
	}
	n.log = append(n.log, *t)
	if c.config.Crashes {
		n.flush()
	}
	return n.check(&c.config.Table)
}

// mustWin is what the proof rests on: a local write is newer than everything
// that it collides with, seen or unseen.
func (c *Cluster) mustWin(n *node, version conflict.Version, change Change) error {
	f := c.config.Faults
	if f != (Faults{}) || change.Operation == conflict.OpDelete {
		return nil
	}
	s := session{table: &c.config.Table, policy: &c.config.Policy, state: &n.state}
	s.facts = conflict.Facts{Operation: change.Operation, Image: conflict.Complete, Remote: version}
	s.gather(&change.Row)
	for _, found := range s.facts.Found {
		if conflict.Compare(version, found.Version) < 0 {
			return fmt.Errorf("node %d commits %+v at %+v over %+v", n.id, change, version, found)
		}
	}
	return nil
}

// deliver applies the next transaction of another node, or of the node itself,
// which is nothing. False: there is none, or it has to wait.
func (c *Cluster) deliver(n, origin *node) (bool, error) {
	next := n.position[origin.id-1]
	if n == origin || next >= len(origin.log) || !c.hears(n) {
		return false, nil
	}
	t := &origin.log[next]
	if !c.config.Faults.NoWait && t.Version.Time >= c.clock(n) {
		return false, nil
	}
	work := n.clone()
	work.position[origin.id-1]++
	if t.Watermark {
		work.low[origin.id-1] = t.Version.Time
	}
	s := session{table: &c.config.Table, policy: &c.config.Policy, faults: c.config.Faults, state: &work, locked: n.locked}
	s.fetch = func(key int8) (live, bool) {
		if i := origin.find(key); i >= 0 {
			return origin.live[i], true
		}
		return live{}, false
	}
	if err := s.apply(t); errors.Is(err, errBlocked) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("node %d, transaction %d of node %d: %w", n.id, next, origin.id, err)
	}
	n.state = work
	if !t.Watermark {
		n.high = max(n.high, t.Version.Time+1)
	}
	return true, nil
}

// watermark promises that nothing older than now will follow.
func (c *Cluster) watermark(n *node) {
	if !c.mayCommit(n) || !c.mayWrite(n) {
		return
	}
	mark := c.clock(n)
	n.high = max(n.high, mark)
	if n.pending != nil {
		mark = min(mark, n.pending.Version.Time)
	}
	if c.config.Faults.LastCommitIsMark {
		mark = n.lastCommit()
	}
	n.log = append(n.log, Transaction{Version: conflict.Version{Known: true, Time: mark, Node: n.id}, Watermark: true})
}

func (n *node) lastCommit() int64 {
	for i := len(n.log) - 1; i >= 0; i-- {
		if !n.log[i].Watermark {
			return n.log[i].Version.Time
		}
	}
	return 0
}

// vacuumNode drops what no peer can send anything older than.
func (c *Cluster) vacuumNode(n *node) {
	before := int64(1) << 62
	for i := range c.nodes {
		if peer := &c.nodes[i]; peer != n && !c.config.Faults.VacuumAtOnce && c.counts(n, peer) {
			before = min(before, n.low[peer.id-1])
		}
	}
	n.samples = append(n.samples, sample{n.xid, n.high})
	for len(n.samples) > 0 && n.samples[0].high < before {
		n.flush() // or a crash would use the held numbers again
		n.hold = n.samples[0].xid
		n.samples = n.samples[1:]
	}
	n.vacuum(n.hold, before)
}

// rewrite is ALTER TABLE. It waits for whoever writes, and nothing is sent.
func (c *Cluster) rewrite(n *node) {
	if n.pending != nil || !c.mayCommit(n) || !c.mayWrite(n) {
		return
	}
	n.high = max(n.high, c.clock(n))
	n.xid++
	f := c.config.Faults
	if !f.RewriteForgets {
		n.disinter(&c.config.Table, n.hold)
	}
	n.dead = nil
	for i := range n.live {
		if f.RewriteIsWrite {
			n.live[i].Version = conflict.Version{Known: true, Time: c.clock(n), Node: n.id}
		}
	}
	if c.config.Crashes {
		n.flush()
	}
}

func (n *node) flush() {
	durable := n.clone()
	n.durable = &durable
}

// crash loses what was not flushed; the clock's guard survives.
func (n *node) crash() {
	n.state = n.durable.clone()
	n.pending, n.locked, n.samples = nil, nil, nil
}
