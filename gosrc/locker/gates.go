package locker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/globallock"
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pause"
	"bdr/gosrc/pgerr"
)

const (
	gateLookMin = 5 * time.Millisecond // between two looks whether users have ended; doubles
	gateLookMax = 200 * time.Millisecond
	gateRetry   = time.Second
)

// gates are the tables of this node to which users do not write, because a transaction of
// another node has their lock.
type gates struct {
	l *Locker

	mu   sync.Mutex
	busy map[string]bool // ids of locks that a goroutine looks after
}

// KeepGates stops users of this node from writing to tables that other nodes have locked, and
// lets them write again.
func (l *Locker) KeepGates() {
	g := &gates{l: l, busy: map[string]bool{}}
	for {
		known, err := g.left()
		if err == nil {
			for _, gate := range known {
				g.start(gate)
			}
			break
		}
		l.deps.Host.Log(ipc.Log, "could not read which tables other nodes have locked and will try again", pgerr.From(err).Error(), "")
		if !pause.For(l.ctx, gateRetry) {
			return
		}
	}
	_ = pause.Until(l.ctx, l.deps.Changed, func() bool {
		for _, gate := range g.wanted() {
			g.start(gate)
		}
		return false
	})
}

// left lists what an earlier manager has left; older SQL objects have no tables for that.
func (g *gates) left() ([]catalog.TableGate, error) {
	has, err := catalog.HasSequences(g.l.ctx, g.l.deps.Host)
	if err != nil || !has {
		return nil, err
	}
	results, err := g.l.deps.Host.Run(g.l.ctx, catalog.SelectTableGates())
	if err != nil {
		return nil, err
	}
	return catalog.TableGates(results[0])
}

// wanted lists the locks of tables that transactions of other nodes have.
func (g *gates) wanted() []catalog.TableGate {
	local, refusal := g.l.deps.Node()
	writers := globallock.Writers(g.l.deps.Cluster(), 0)
	if refusal != nil || !slices.ContainsFunc(writers, func(n catalog.Node) bool { return n.ID == local.ID }) {
		return nil
	}
	locks := g.l.deps.Locks()
	var list []catalog.TableGate
	for _, lock := range locks.Locks {
		holder, _ := locks.Holder(lock.GlobalLockKey)
		if lock.Type == catalog.GlobalLockDML && holder.ID == lock.ID && lock.Node != local.ID {
			list = append(list, catalog.TableGate{LockID: lock.ID, Node: lock.Node})
		}
	}
	return list
}

// start looks after the gates of a lock, if nobody does.
func (g *gates) start(gate catalog.TableGate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.busy[gate.LockID] {
		return
	}
	g.busy[gate.LockID] = true
	g.l.deps.Spawn("table gate", func() {
		g.keep(gate)
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.busy, gate.LockID)
	})
}

// keep does so until the tables are open again.
func (g *gates) keep(gate catalog.TableGate) {
	complained := false
	for {
		err := g.pass(gate)
		if err == nil || g.l.ctx.Err() != nil {
			return
		}
		if !complained {
			e := pgerr.From(err)
			g.l.deps.Host.Log(ipc.Log, "could not serve the lock of a table and will try again", e.Error(), e.Hint)
		}
		complained = true
		pause.For(g.l.ctx, gateRetry)
	}
}

// pass closes the gates, waits for the end of the lock, and opens them when this node has all
// that was done under it.
func (g *gates) pass(gate catalog.TableGate) error {
	if err := g.close(gate); err != nil {
		return err
	}
	if err := pause.Until(g.l.ctx, g.l.deps.Changed, func() bool { return !g.holds(gate) }); err != nil {
		return err
	}
	if err := g.catchUp(gate); err != nil {
		return err
	}
	if err := g.orderPeers(gate); err != nil {
		return err
	}
	_, err := g.l.deps.Host.Run(g.l.ctx, catalog.OpenGates(gate)...)
	return err
}

// orderPeers has third nodes, also such that are joining, apply what was done under the lock before what users of this one
// write to the table from now on.
func (g *gates) orderPeers(gate catalog.TableGate) error {
	local, _ := g.l.deps.Node()
	members := g.l.deps.Cluster()
	if len(members.Peers(local.ID, func(s cluster.State) bool { return s >= cluster.JoinStart && s <= cluster.Active })) < 2 ||
		members.Gone(gate.Node) || members.Gone(local.ID) {
		return nil
	}
	_, err := g.l.deps.Host.Run(g.l.ctx, catalog.QueueAwait(globallock.EncodePositions(g.ends(gate))))
	return err
}

// ends is where the node that had the lock has given locks back.
func (g *gates) ends(gate catalog.TableGate) []catalog.GlobalLockPosition {
	return slices.DeleteFunc(slices.Clone(g.l.deps.Locks().Positions), func(p catalog.GlobalLockPosition) bool { return p.Node != gate.Node })
}

// holds says whether this node has to serve the lock.
func (g *gates) holds(gate catalog.TableGate) bool {
	local, _ := g.l.deps.Node()
	_, known := g.l.deps.Locks().Find(gate.LockID)
	return known && !g.l.deps.Cluster().Gone(local.ID)
}

// catchUp waits for what the node that had the lock has written by its end. Of one that is
// gone nothing comes any more, nor to one that is.
func (g *gates) catchUp(gate catalog.TableGate) error {
	local, _ := g.l.deps.Node()
	return g.during(func() bool { return !g.l.deps.Cluster().Gone(gate.Node) && !g.l.deps.Cluster().Gone(local.ID) }, func(ctx context.Context) error {
		return g.waitApplied(ctx, g.ends(gate))
	})
}

// close stops users, and tells the group so. It gives up without an error when the lock ends.
func (g *gates) close(gate catalog.TableGate) error {
	local, _ := g.l.deps.Node()
	return g.during(func() bool { return g.holds(gate) }, func(ctx context.Context) error {
		locks := g.l.deps.Locks()
		lock, wanted := locks.Find(gate.LockID)
		if _, ready := locks.IsReady(gate.LockID, local.ID); ready || !wanted {
			return nil
		}
		position, err := g.stopUsers(ctx, gate, lock)
		if err != nil {
			return err
		}
		cmd := globallock.Command{Kind: globallock.Ready, Node: local.ID, Time: time.Now().UnixMicro(), ID: gate.LockID, Position: position}
		_, err = g.l.deps.Propose(ctx, proposeTimeMax, cmd.Encode())
		return err
	})
}

// stopUsers returns the position behind what they have written. By then this node has the
// table as the other one had it when it asked: what changed it under locks, and what that node
// wrote itself.
func (g *gates) stopUsers(ctx context.Context, gate catalog.TableGate, lock catalog.GlobalLock) (lsn.LSN, error) {
	before := append(g.l.earlier(), catalog.GlobalLockPosition{Node: lock.Node, Position: lock.Position})
	if err := g.waitApplied(ctx, before); err != nil {
		return 0, err
	}
	for wait := gateLookMin; ; wait = min(2*wait, gateLookMax) {
		results, err := g.l.deps.Host.Run(ctx, catalog.CloseGates(lock.GlobalLockKey, gate))
		if err != nil {
			return 0, err
		}
		open, exists, err := catalog.GatesOpen(results[0])
		switch {
		case err != nil || !exists:
			return 0, err
		case open == 0:
			return g.record(ctx, gate)
		case !pause.For(ctx, wait):
			return 0, ctx.Err()
		}
	}
}

func (g *gates) waitApplied(ctx context.Context, positions []catalog.GlobalLockPosition) error {
	for _, p := range positions {
		if err := g.l.deps.WaitApplied(ctx, p.Node, p.Position); err != nil {
			return err
		}
	}
	return nil
}

func (g *gates) record(ctx context.Context, gate catalog.TableGate) (lsn.LSN, error) {
	results, err := g.l.deps.Host.Run(ctx, catalog.RecordGates(gate), catalog.SelectInsertPosition())
	if err != nil {
		return 0, err
	}
	return catalog.Position(results[1])
}

// during ends what is done when a condition does not hold any more, which is no error then.
func (g *gates) during(holds func() bool, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(g.l.ctx)
	defer cancel()
	var over error
	watched := make(chan struct{})
	g.l.deps.Spawn("table gate", func() {
		defer close(watched)
		over = pause.Until(ctx, g.l.deps.Changed, func() bool { return !holds() })
		cancel()
	})
	err := do(ctx)
	cancel()
	<-watched
	if over == nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
