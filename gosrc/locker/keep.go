package locker

import (
	"context"
	"slices"
	"strings"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/globallock"
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pause"
	"bdr/gosrc/pgerr"
)

const (
	watchPeriod = time.Second      // of sessions that got their locks from an earlier manager; and after a failure
	keepPeriod  = 30 * time.Second // in case that nobody tells
)

// Run gives locks back that no session of this node needs any more, and, where this
// node leads, those of nodes that are gone.
func (l *Locker) Run() {
	for l.ctx.Err() == nil {
		changed := l.deps.Changed()
		timer := time.NewTimer(l.settle())
		select {
		case <-changed:
		case <-l.kick:
		case <-timer.C:
		case <-l.ctx.Done():
		}
		timer.Stop()
	}
}

// settle does what is to do now and says when to look again.
func (l *Locker) settle() time.Duration {
	ids, orphans := l.unneeded()
	period := keepPeriod
	var err error
	if len(orphans) > 0 {
		period = watchPeriod
		var free []string
		free, err = l.freeOrphans(orphans)
		ids = append(ids, free...)
	}
	if err == nil && len(ids) > 0 {
		err = l.release(ids[:min(len(ids), globallock.IDsMax)])
	}
	if err != nil {
		l.complain(err)
		return watchPeriod
	}
	l.failing = false
	return period
}

// complain says once that it does not work.
func (l *Locker) complain(err error) {
	if !l.failing && l.ctx.Err() == nil {
		l.deps.Host.Log(ipc.Log, "could not give global locks back and will try again", pgerr.From(err).Error(), "")
	}
	l.failing = true
}

// unneeded lists the locks that go, and those of this node that an earlier manager got.
func (l *Locker) unneeded() (ids []string, orphans []catalog.GlobalLock) {
	local, refusal := l.deps.Node()
	if refusal != nil || local.ID == 0 {
		return nil, nil
	}
	members, leads := l.deps.Cluster(), l.deps.Leads()
	if members.Gone(local.ID) {
		return nil, nil // the others give its locks back
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lock := range l.deps.Locks().Locks {
		_, live := l.live[lock.ID]
		switch {
		case lock.Node != local.ID:
			if leads && members.Gone(lock.Node) {
				ids = append(ids, lock.ID)
			}
		case live:
		case strings.HasPrefix(lock.ID, l.epoch):
			ids = append(ids, lock.ID)
		default:
			orphans = append(orphans, lock)
		}
	}
	return ids, orphans
}

// freeOrphans lists those whose transaction has ended: its session does not hold the
// local lock any more, or has asked for another global one meanwhile.
func (l *Locker) freeOrphans(orphans []catalog.GlobalLock) ([]string, error) {
	results, err := l.deps.Host.Run(l.ctx, catalog.SelectLocalLocks())
	if err != nil {
		return nil, err
	}
	held, err := catalog.LocalLocks(results[0])
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []string
	for _, o := range orphans {
		session := catalog.LocalLock{PID: o.PID, GlobalLockKey: o.GlobalLockKey}
		again := false
		for _, live := range l.live {
			again = again || live == session
		}
		if again || !slices.Contains(held, session) {
			ids = append(ids, o.ID)
		}
	}
	return ids, nil
}

func (l *Locker) release(ids []string) error {
	local, _ := l.deps.Node()
	cmd := globallock.Command{Kind: globallock.Release, Node: local.ID, Time: time.Now().UnixMicro(), IDs: ids}
	ctx, cancel := context.WithTimeout(l.ctx, proposeTimeMax)
	defer cancel()
	var err error
	if cmd.Position, err = l.position(ctx, ids); err != nil {
		return err
	}
	if _, err := l.deps.Propose(ctx, proposeTimeMax, cmd.Encode()); err != nil {
		return err
	}
	l.awaitReleased(ctx, ids)
	return nil
}

// position returns the end of WAL where a lock among these protects what is in it: the
// transactions that had them have ended.
func (l *Locker) position(ctx context.Context, ids []string) (lsn.LSN, error) {
	locks := l.deps.Locks()
	if !slices.ContainsFunc(ids, func(id string) bool { lock, _ := locks.Find(id); return globallock.Changes(lock.Type) }) {
		return 0, nil
	}
	return l.insertPosition(ctx)
}

// insertPosition is the end of this node's WAL.
func (l *Locker) insertPosition(ctx context.Context) (lsn.LSN, error) {
	results, err := l.deps.Host.Run(ctx, catalog.SelectInsertPosition())
	if err != nil {
		return 0, err
	}
	return catalog.Position(results[0])
}

// awaitReleased waits until this node has carried a release out, so that it is not
// proposed once more.
func (l *Locker) awaitReleased(ctx context.Context, ids []string) {
	_ = pause.Until(ctx, l.deps.Changed, func() bool {
		return !slices.ContainsFunc(l.deps.Locks().Locks, func(lock catalog.GlobalLock) bool { return slices.Contains(ids, lock.ID) })
	})
}
