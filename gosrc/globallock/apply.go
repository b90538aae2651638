package globallock

import (
	"cmp"
	"slices"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/pgerr"
)

// Touched lists what a command touched, to be written to tables.
type Touched struct {
	Last      int64 // 0: no place was given
	Removed   []string
	Written   []catalog.GlobalLock
	Positions []catalog.GlobalLockPosition
	Ready     []catalog.GlobalLockReady
}

// Apply says what the state is after the command. It reads only its arguments, so
// that every node reaches the same answer. A refused command changes nothing and
// returns an error for the proposer. A command that was carried out before succeeds
// again: a proposer may not have got its answer.
func Apply(s State, members cluster.Cluster, cmd Command) (State, Touched, *pgerr.Error) {
	if fault := cmd.Check(); fault != nil {
		return s, Touched{}, fault
	}
	switch cmd.Kind {
	case Acquire:
		return applyAcquire(s, members, cmd)
	case Ready:
		return applyReady(s, cmd)
	}
	next, changes := applyRelease(s, members, cmd)
	return next, changes, nil
}

// applyReady notes that users of a node do not write to a table. That the lock is not wanted
// any more is no error.
func applyReady(s State, cmd Command) (State, Touched, *pgerr.Error) {
	l, known := s.Find(cmd.ID)
	i, found := s.findReady(cmd.ID, cmd.Node)
	if !known || l.Type != catalog.GlobalLockDML || found {
		return s, Touched{}, nil
	}
	ready := catalog.GlobalLockReady{ID: cmd.ID, Node: cmd.Node, Position: cmd.Position}
	s.Ready = cluster.With(s.Ready, i, false, ready)
	return s, Touched{Ready: []catalog.GlobalLockReady{ready}}, nil
}

// applyAcquire puts a session behind all others that want the lock.
func applyAcquire(s State, members cluster.Cluster, cmd Command) (State, Touched, *pgerr.Error) {
	if _, known := s.Find(cmd.ID); known {
		return s, Touched{}, nil
	}
	if fault := CheckNode(members, cmd.Node); fault != nil {
		return s, Touched{}, fault
	}
	count := 0
	for _, l := range s.Locks {
		if l.Node == cmd.Node {
			count++
		}
	}
	if count >= LocksMax {
		return s, Touched{}, pgerr.New(pgerr.ConfigLimit, "too many global locks").
			WithDetail("Sessions of this node have, or wait for, %d.", count)
	}
	s.Last++
	lock := catalog.GlobalLock{ID: cmd.ID, Place: s.Last, GlobalLockKey: cmd.Key(), Node: cmd.Node, PID: cmd.PID, LocalRequest: cmd.LocalRequest, Request: cmd.Time, Changed: cmd.Time}
	if cmd.Type == catalog.GlobalLockDML {
		lock.Position = cmd.Position
	}
	s.Locks = append(slices.Clone(s.Locks), lock)
	return s, Touched{Last: s.Last, Written: []catalog.GlobalLock{lock}}, nil
}

// CheckNode refuses locks of a node that is not an active member.
func CheckNode(members cluster.Cluster, node uint32) *pgerr.Error {
	if n, known := members.Node(node); !known || n.State != cluster.Active {
		return pgerr.New(pgerr.WrongState, "cannot take a global lock").
			WithDetail("The node %s.", cluster.Phrase(n.State)).
			WithHint("Take it on an active node.")
	}
	return nil
}

// applyRelease takes sessions out, whether they have a lock or wait. Those of other
// nodes stay, until their node is gone.
func applyRelease(s State, members cluster.Cluster, cmd Command) (State, Touched) {
	var changes Touched
	var kept []catalog.GlobalLock
	next := State{Last: s.Last, Positions: s.Positions, Ready: s.Ready}
	for _, l := range s.Locks {
		if !slices.Contains(cmd.IDs, l.ID) || l.Node != cmd.Node && !members.Gone(l.Node) {
			kept = append(kept, l)
			continue
		}
		changes.Removed = append(changes.Removed, l.ID)
		if Changes(l.Type) && l.Node == cmd.Node {
			next.Positions, changes.Positions = WithPosition(next.Positions, catalog.GlobalLockPosition{Node: l.Node, Position: cmd.Position})
		}
	}
	next.Locks = kept
	if slices.ContainsFunc(s.Ready, func(r catalog.GlobalLockReady) bool { return slices.Contains(changes.Removed, r.ID) }) {
		next.Ready = slices.DeleteFunc(slices.Clone(s.Ready), func(r catalog.GlobalLockReady) bool { return slices.Contains(changes.Removed, r.ID) })
	}
	for i, l := range kept {
		before, _ := s.Holder(l.GlobalLockKey)
		if now, _ := next.Holder(l.GlobalLockKey); now.ID == l.ID && before.ID != l.ID {
			kept[i].Changed = cmd.Time
			changes.Written = append(changes.Written, kept[i])
		}
	}
	return next, changes
}

// WithPosition notes a position of a node, if it is the last one; it returns what is to be
// written, too.
func WithPosition(list []catalog.GlobalLockPosition, p catalog.GlobalLockPosition) (all, written []catalog.GlobalLockPosition) {
	i, found := slices.BinarySearchFunc(list, p, func(a, b catalog.GlobalLockPosition) int { return cmp.Compare(a.Node, b.Node) })
	if found && list[i].Position >= p.Position {
		return list, nil
	}
	return cluster.With(list, i, found, p), []catalog.GlobalLockPosition{p}
}
