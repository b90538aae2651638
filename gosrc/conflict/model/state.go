package model

import (
	"errors"
	"fmt"
	"slices"

	"bdr/gosrc/conflict"
)

// errBlocked means that an uncommitted local row is in the way: wait for it.
var errBlocked = errors.New("blocked by a transaction in progress")

// errStopped means that a rule asked for an error.
var errStopped = errors.New("a conflict stops replication")

// live is a row of the table and its version, from its xmin.
type live struct {
	Row
	Version conflict.Version
}

// dead is a dead row: the versions of its xmin and its xmax, and the xmax.
type dead struct {
	Row
	born, died conflict.Version
	xmax       int16
}

// memory is a row of the table of remembered versions: the version took the
// values of its row under the constraints listed in on, and is not visible. An
// eviction says no more than that the local transaction xmax did not delete the
// row with the key when it ended it.
type memory struct {
	Row
	Version conflict.Version
	on      []int
	evicted bool
	xmax    int16
}

// state is what one node has on disk.
type state struct {
	live     []live
	dead     []dead
	memories []memory
	position [nodesMax]int   // transactions applied, per origin
	low      [nodesMax]int64 // nothing older comes, per origin
	xid      int16           // of the last local transaction
	sends    bool            // a joining node reads what is done here
	wal      []effect        // all of it since its snapshot
	caughtUp int             // of the source's, in a node that joins
}

// clone makes a copy that may be changed on its own.
func (s *state) clone() state {
	c := *s
	c.live, c.dead, c.memories = slices.Clone(s.live), slices.Clone(s.dead), slices.Clone(s.memories)
	c.wal = slices.Clip(s.wal)
	return c
}

func (s *state) find(key int8) int {
	return slices.IndexFunc(s.live, func(l live) bool { return l.Key == key })
}

// bury makes row i a dead one.
func (s *state) bury(i int, died conflict.Version) {
	s.write(effect{kind: buries, Row: s.live[i].Row})
	s.dead = append(s.dead, dead{s.live[i].Row, s.live[i].Version, died, s.xid})
	s.live = slices.Delete(s.live, i, i+1)
}

// begin starts a local transaction.
func (s *state) begin(version conflict.Version) {
	s.xid++
	s.write(effect{kind: begins, version: version})
}

func (s *state) add(row live) {
	s.write(effect{kind: adds, Row: row.Row})
	s.live = append(s.live, row)
}

func (s *state) remember(m memory) {
	s.write(effect{kind: remembers, memory: m})
	s.memories = append(s.memories, m)
}

// vacuum drops the dead rows that ended up to the local transaction hold, and
// what is remembered of versions older than before.
func (s *state) vacuum(hold int16, before int64) {
	s.dead = slices.DeleteFunc(s.dead, func(d dead) bool { return d.xmax <= hold })
	s.memories = slices.DeleteFunc(s.memories, func(m memory) bool { return m.Version.Time < before })
}

// disinter moves what dead rows tell into the memory, as far as they are held and
// no row has the values now. A joining node has seen the rows themselves.
func (s *state) disinter(t *Table, hold int16) {
	for i := range s.dead {
		d := &s.dead[i]
		if d.xmax <= hold {
			continue
		}
		var on []int
		for k := range 1 + len(t.Constraints) {
			exclusion := k > 0 && t.Constraints[k-1].Kind == conflict.Exclusion
			if exclusion || !slices.ContainsFunc(s.live, func(l live) bool { return t.collide(&l.Row, &d.Row, k) }) {
				on = append(on, k)
			}
		}
		s.memories = append(s.memories, memory{Row: d.Row, Version: d.born, on: on})
		if slices.Contains(on, 0) && !s.evicted(d) {
			s.memories = append(s.memories, memory{Row: d.Row, Version: d.died, on: []int{0}})
		}
	}
}

// evicted reports whether a dead row was deleted in favour of another key's.
func (s *state) evicted(d *dead) bool {
	return slices.ContainsFunc(s.memories, func(m memory) bool {
		return m.evicted && m.Key == d.Key && m.xmax == d.xmax
	})
}

// check reports rows that PostgreSQL would not have let in.
func (s *state) check(t *Table) error {
	for i := range s.live {
		for j := range i {
			if t.collideAny(&s.live[i].Row, &s.live[j].Row) {
				return fmt.Errorf("rows %+v and %+v collide", s.live[i], s.live[j])
			}
		}
	}
	return nil
}

// session applies one transaction to one state.
type session struct {
	table  *Table
	policy *conflict.Policy
	faults Faults
	state  *state
	locked []Row // of an uncommitted local transaction
	fetch  func(key int8) (live, bool)
	whole  []int8 // keys of rows that this transaction stored without a fetch
	facts  conflict.Facts
	rows   []int // of state.live, parallel to facts.Found; -1: not a row
}

// apply carries out what another node committed.
func (s *session) apply(t *Transaction) error {
	s.state.begin(t.Version)
	for i := range t.Changes {
		if err := s.change(t.Version, t.Changes[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) change(version conflict.Version, c Change) error {
	image := conflict.Complete
	if c.Unchanged {
		image = conflict.Partial
		c.Row.Large = 0
		if i := s.state.find(c.OldKey); i >= 0 && s.mayFill(i, version) {
			image = conflict.Complete
			c.Row.Large = s.state.live[i].Large
		}
	}
	moved := c.Operation == conflict.OpUpdate && c.OldKey != c.Row.Key
	before := *s.state
	if moved {
		before = s.state.clone()
		f := conflict.Facts{Operation: conflict.OpDelete, KeyChanged: true, Image: image, Remote: version}
		if ignored, err := s.decide(f, Row{Key: c.OldKey}); err != nil || ignored {
			return err
		}
	}
	f := conflict.Facts{Operation: c.Operation, KeyChanged: moved, Image: image, Remote: version}
	row := c.Row
	if c.Operation == conflict.OpDelete {
		row = Row{Key: c.OldKey}
	}
	ignored, err := s.decide(f, row)
	if ignored && moved {
		*s.state = before
	}
	return err
}

// mayFill reports whether row i is the one that the origin did not change all
// of. The origin leaves a value out only where it wrote the row before itself.
// A fetched row of the same version may be a later one than was asked for.
func (s *session) mayFill(i int, version conflict.Version) bool {
	row := &s.state.live[i]
	same := row.Version == version && !slices.Contains(s.whole, row.Key)
	return s.faults.FillLarge || row.Version.Node == version.Node && !same
}

// decide asks what to do with one version and does it; true if that is as if it
// had never come.
func (s *session) decide(f conflict.Facts, row Row) (bool, error) {
	plan, err := s.plan(f, &row)
	if err != nil {
		return false, err
	}
	fetched := plan.Action == conflict.Fetch
	if fetched {
		f.Image = s.complete(&row, f.Remote)
		if plan, err = s.plan(f, &row); err != nil {
			return false, err
		}
	}
	if plan.Action == conflict.Raise {
		return false, fmt.Errorf("%w: %v, %s", errStopped, plan.Type, plan.Rule)
	}
	if plan.Action == conflict.Ignore {
		return true, nil
	}
	s.carryOut(plan, row)
	s.whole = slices.DeleteFunc(s.whole, func(key int8) bool { return key == row.Key })
	if !fetched {
		s.whole = append(s.whole, row.Key)
	}
	return false, s.state.check(s.table)
}

// complete asks the origin for what is missing. A row of another version there
// means that a newer one is on its way.
func (s *session) complete(row *Row, version conflict.Version) conflict.Image {
	there, ok := s.fetch(row.Key)
	if !ok || there.Version != version {
		return conflict.Gone
	}
	row.Large = there.Large
	return conflict.Complete
}

// plan gathers the facts and asks the policy.
func (s *session) plan(f conflict.Facts, row *Row) (conflict.Plan, error) {
	if slices.ContainsFunc(s.locked, func(l Row) bool { return s.table.collideAny(row, &l) }) {
		return conflict.Plan{}, errBlocked
	}
	s.facts, s.rows = f, s.rows[:0]
	s.gather(row)
	for i := range s.facts.Found {
		found := &s.facts.Found[i]
		if s.faults.SameOriginWins && found.Live && found.On[0] == 0 && found.Version.Node == f.Remote.Node {
			found.Version = conflict.Version{}
		}
	}
	return s.policy.Decide(s.facts)
}

// gather finds what row collides with. Where a row of the table has the same
// values, nothing invisible can be newer than it.
func (s *session) gather(row *Row) {
	s.facts.Constraints = append(s.facts.Constraints, conflict.Unique)
	if s.facts.Operation != conflict.OpDelete {
		for _, c := range s.table.Constraints {
			s.facts.Constraints = append(s.facts.Constraints, c.Kind)
		}
	}
	taken := make([]bool, len(s.facts.Constraints))
	for i := range s.state.live {
		var on []int
		for k, kind := range s.facts.Constraints {
			if s.table.collide(row, &s.state.live[i].Row, k) {
				on = append(on, k)
				taken[k] = kind == conflict.Unique
			}
		}
		if on != nil {
			s.found(conflict.Found{Live: true, On: on, Version: s.state.live[i].Version}, i)
		}
	}
	for k := range taken {
		if version := s.newest(row, k); version.Known && !taken[k] {
			s.found(conflict.Found{On: []int{k}, Version: version}, -1)
		}
	}
}

func (s *session) found(f conflict.Found, row int) {
	s.facts.Found = append(s.facts.Found, f)
	s.rows = append(s.rows, row)
}

// newest is the newest invisible version that collides with row over
// constraint k: of a dead row, or a remembered one.
func (s *session) newest(row *Row, k int) conflict.Version {
	var newest conflict.Version
	take := func(v conflict.Version) {
		if conflict.Compare(v, newest) > 0 {
			newest = v
		}
	}
	for i := range s.state.dead {
		d := &s.state.dead[i]
		if s.faults.ForgetDead || !s.table.collide(row, &d.Row, k) {
			continue
		}
		take(d.born)
		// Who ended a row was a version of its key, unless it was another row.
		if k == 0 && !s.state.evicted(d) {
			take(d.died)
		}
	}
	for i := range s.state.memories {
		m := &s.state.memories[i]
		if !m.evicted && slices.Contains(m.on, k) && s.table.collide(row, &m.Row, k) {
			take(m.Version)
		}
	}
	return newest
}

func (s *session) carryOut(plan conflict.Plan, row Row) {
	version := s.facts.Remote
	for i := len(plan.Fates) - 1; i >= 0; i-- {
		if plan.Fates[i] == conflict.Stays {
			continue
		}
		if plan.Fates[i] == conflict.Evicted && !s.faults.EvictionIsDeletion {
			mark := memory{Row: Row{Key: s.state.live[s.rows[i]].Key}, Version: version, evicted: true, xmax: s.state.xid}
			s.state.remember(mark)
		}
		s.state.bury(s.rows[i], version)
	}
	deletion := s.facts.Operation == conflict.OpDelete
	if !deletion && (plan.Action == conflict.Apply || plan.Action == conflict.Insert) {
		s.state.add(live{row, version})
	}
	if len(plan.Remember) == 0 || deletion && s.faults.ForgetDeletes || !deletion && s.faults.ForgetLosers {
		return
	}
	s.state.remember(memory{Row: row, Version: version, on: plan.Remember})
}
