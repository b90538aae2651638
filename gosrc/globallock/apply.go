package globallock

import (
	"cmp"
	"slices"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/pgerr"
)

// Changes lists what a command touched, to be written to tables.
type Changes struct {
	Last      int64 // 0: no place was given
	Removed   []string
	Written   []catalog.GlobalLock
	Positions []catalog.GlobalLockPosition
}

// Apply says what the state is after the command. It reads only its arguments, so
// that every node reaches the same answer. A refused command changes nothing and
// returns an error for the proposer. A command that was carried out before succeeds
// again: a proposer may not have got its answer.
func Apply(s State, members cluster.Cluster, cmd Command) (State, Changes, *pgerr.Error) {
	if fault := cmd.Check(); fault != nil {
		return s, Changes{}, fault
	}
	if cmd.Kind == Acquire {
		return applyAcquire(s, members, cmd)
	}
	next, changes := applyRelease(s, members, cmd)
	return next, changes, nil
}

// applyAcquire puts a session behind all others that want the lock.
func applyAcquire(s State, members cluster.Cluster, cmd Command) (State, Changes, *pgerr.Error) {
	if _, known := s.Find(cmd.ID); known {
		return s, Changes{}, nil
	}
	if fault := CheckNode(members, cmd.Node); fault != nil {
		return s, Changes{}, fault
	}
	count := 0
	for _, l := range s.Locks {
		if l.Node == cmd.Node {
			count++
		}
	}
	if count >= LocksMax {
		return s, Changes{}, pgerr.New(pgerr.ConfigLimit, "too many global locks").
			WithDetail("Sessions of this node have, or wait for, %d.", count)
	}
	s.Last++
	lock := catalog.GlobalLock{ID: cmd.ID, Place: s.Last, GlobalLockKey: cmd.Key(), Node: cmd.Node, PID: cmd.PID, LocalRequest: cmd.LocalRequest, Request: cmd.Time, Changed: cmd.Time}
	s.Locks = append(slices.Clone(s.Locks), lock)
	return s, Changes{Last: s.Last, Written: []catalog.GlobalLock{lock}}, nil
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
func applyRelease(s State, members cluster.Cluster, cmd Command) (State, Changes) {
	var changes Changes
	var kept []catalog.GlobalLock
	next := State{Last: s.Last, Positions: s.Positions}
	for _, l := range s.Locks {
		if !slices.Contains(cmd.IDs, l.ID) || l.Node != cmd.Node && !members.Gone(l.Node) {
			kept = append(kept, l)
			continue
		}
		changes.Removed = append(changes.Removed, l.ID)
		if l.Type == catalog.GlobalLockDDL && l.Node == cmd.Node {
			next.Positions, changes.Positions = withPosition(next.Positions, catalog.GlobalLockPosition{Node: l.Node, Position: cmd.Position})
		}
	}
	next.Locks = kept
	for i, l := range kept {
		before, _ := s.Holder(l.GlobalLockKey)
		if now, _ := next.Holder(l.GlobalLockKey); now.ID == l.ID && before.ID != l.ID {
			kept[i].Changed = cmd.Time
			changes.Written = append(changes.Written, kept[i])
		}
	}
	return next, changes
}

// withPosition notes up to where a node has used the lock; it returns what is to be
// written, too.
func withPosition(list []catalog.GlobalLockPosition, p catalog.GlobalLockPosition) (all, written []catalog.GlobalLockPosition) {
	i, found := slices.BinarySearchFunc(list, p, func(a, b catalog.GlobalLockPosition) int { return cmp.Compare(a.Node, b.Node) })
	if found && list[i].Position >= p.Position {
		return list, nil
	}
	return cluster.With(list, i, found, p), []catalog.GlobalLockPosition{p}
}
