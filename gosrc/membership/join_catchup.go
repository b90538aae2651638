package membership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/control"
	"bdr/gosrc/ipc"
	"bdr/gosrc/join"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pause"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/stream"
)

const (
	catchUpAskPeriod = 250 * time.Millisecond
	barrierAskPeriod = 20 * time.Millisecond
	advanceTimeMax   = 15 * time.Second
)

// catchUp applies what the source has done since the snapshot, whoever wrote
// it, until the source's point says exactly how far it was for each peer.
func (j *joinRun) catchUp(ctx context.Context) error {
	source, err := j.source()
	if err != nil {
		return err
	}
	if err := join.RemoveDump(j.s.deps.RunDirectory); err != nil {
		return err
	}
	if err := j.reach(ctx, cluster.Catchup); err != nil {
		return err
	}
	if err := j.createOwnSlots(ctx); err != nil {
		return err
	}
	if err := j.awaitDeadRows(ctx); err != nil {
		return err
	}
	request, err := j.barriers(ctx, source)
	if err != nil {
		return err
	}
	_, nonce, err := newIdentity()
	if err != nil {
		return err
	}
	request.Nonce = nonce.String()
	asking, stop := context.WithCancel(ctx)
	defer stop()
	j.s.deps.Spawn("join catch-up point", func() { j.askForCatchUpPoint(asking, source, request) })
	point, err := j.s.deps.Subscriptions.CatchUp(ctx, source, nonce.String(), j.reportCatchUp)
	if isCode(err, pgerr.UndefinedObject) {
		return errors.Join(j.advance(ctx, join.StepCopyData), err) // the slot is gone: copy again
	}
	if err != nil {
		return err
	}
	return j.adoptCatchUpPoint(ctx, source, point)
}

func (j *joinRun) reportCatchUp(err error) {
	j.update(func(v *joinView) { v.LastError = pgerr.From(err).Error() })
}

// createOwnSlots makes the slots from which the members will read here. The
// copy is over: its WAL need not be kept for them.
func (j *joinRun) createOwnSlots(ctx context.Context) error {
	self, _ := j.s.self()
	for _, m := range j.members() {
		if err := j.ensureSlot(ctx, self, stream.SlotName(j.s.deps.DatabaseOID, m.ID)); err != nil {
			return err
		}
	}
	return nil
}

// awaitDeadRows waits until this node keeps what it deletes: from the barriers on,
// changes may come that are older.
func (j *joinRun) awaitDeadRows(ctx context.Context) error {
	for !j.s.deps.KeepsDeadRows() {
		if !pause.For(ctx, barrierAskPeriod) {
			return ctx.Err()
		}
	}
	return nil
}

// barriers asks every member but the source for a position behind which all that
// it commits is newer than what the source has now, and so than every row that
// was copied. What it wrote before that comes with the source.
func (j *joinRun) barriers(ctx context.Context, source catalog.Node) (catchUpRequest, error) {
	request := catchUpRequest{Joiner: j.s.localID(), Barriers: map[uint32]uint64{}}
	now, err := j.barrier(ctx, source, 0)
	if err != nil {
		return request, err
	}
	request.After = now.Clock
	for _, m := range j.members() {
		if m.ID == source.ID {
			continue
		}
		b, err := j.barrier(ctx, m, request.After)
		if err != nil {
			return request, err
		}
		request.Barriers[m.ID] = uint64(b.Position)
	}
	return request, nil
}

// barrier waits until a member can name one.
func (j *joinRun) barrier(ctx context.Context, m catalog.Node, after int64) (catalog.Barrier, error) {
	for {
		var b catalog.Barrier
		if err := j.s.ask(ctx, m.ID, kindBarrier, barrierRequest{j.s.localID(), after}, &b); err != nil {
			return b, fmt.Errorf("ask node %q for its barrier: %w", m.Name, err)
		}
		if b.Position != 0 {
			return b, nil
		}
		j.noteClock(fmt.Sprintf("the clock of node %q", m.Name), after-b.Clock)
		if !pause.For(ctx, barrierAskPeriod) {
			return b, ctx.Err()
		}
	}
}

// noteClock tells the user about a clock that is far behind.
func (j *joinRun) noteClock(whose string, behind int64) {
	if d := time.Duration(behind) * time.Microsecond; d > time.Second {
		j.note(fmt.Sprintf("waiting until %s has passed the newest change that was copied", whose))
	}
}

// askForCatchUpPoint asks until the source has written the point.
func (j *joinRun) askForCatchUpPoint(ctx context.Context, source catalog.Node, request catchUpRequest) {
	for {
		var reply catchUpReply
		err := j.s.ask(ctx, source.ID, kindCatchUpPoint, request, &reply)
		switch {
		case err == nil && reply.Done:
			return
		case err == nil:
			j.note(fmt.Sprintf("waiting until node %q has the changes of node %q", source.Name, reply.WaitingFor))
		case ctx.Err() == nil:
			j.reportCatchUp(err)
		}
		if !pause.For(ctx, catchUpAskPeriod) {
			return
		}
	}
}

// adoptCatchUpPoint sets where the direct streams begin: for each peer behind what
// came through the source, for the source behind its point.
func (j *joinRun) adoptCatchUpPoint(ctx context.Context, source catalog.Node, point control.CatchUpPoint) error {
	var advances []ipc.Stmt
	name := func(id uint32) string { return stream.OriginName(j.s.deps.DatabaseOID, id) }
	for _, m := range j.members() {
		at := point.Progress[m.ID]
		if m.ID == source.ID {
			at = point.LSN
		}
		if at != lsn.LSN(0) {
			advances = append(advances, catalog.AdvanceOrigin(name(m.ID), at))
		}
	}
	waiting, cancel := context.WithTimeout(ctx, advanceTimeMax)
	defer cancel()
	return pause.While(waiting, 100*time.Millisecond, pgerr.IsInUse, func() error { return j.advance(ctx, join.StepPromote, advances...) })
}
