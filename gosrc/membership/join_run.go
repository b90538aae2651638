package membership

import (
	"context"
	"errors"
	"sync"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/ipc"
	"bdr/gosrc/join"
	"bdr/gosrc/pause"
	"bdr/gosrc/pgerr"
)

const (
	joinRetryDelayMin = time.Second
	joinRetryDelayMax = 15 * time.Second
	persistPeriod     = time.Second // of progress within a step
)

// joinRun carries the local node's join out, step by step.
type joinRun struct {
	s      *Service
	cancel context.CancelFunc
	ended  chan struct{}

	mu        sync.Mutex
	view      joinView
	changed   chan struct{}
	persisted time.Time
}

// startJoin runs a join from its recorded step on. The caller holds moving.
func (s *Service) startJoin(recorded catalog.Join) *joinRun {
	ctx, cancel := context.WithCancel(s.ctx)
	j := &joinRun{s: s, cancel: cancel, ended: make(chan struct{}), changed: make(chan struct{}), view: joinView{Join: recorded}}
	s.mu.Lock()
	s.join = j
	s.mu.Unlock()
	s.deps.Spawn("join", func() {
		defer close(j.ended)
		j.run(ctx)
	})
	return j
}

// stopJoin ends a join without finishing it, and waits for that.
func (s *Service) stopJoin(ctx context.Context) {
	s.mu.Lock()
	j := s.join
	s.mu.Unlock()
	if j == nil {
		return
	}
	j.cancel()
	select {
	case <-j.ended:
	case <-ctx.Done():
	}
	j.finish(pgerr.New(pgerr.WrongState, "the join was given up").
		WithDetail("The node has been parted or dropped."))
}

func (j *joinRun) over() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.view.over
}

// look returns what there is to see and a channel that is closed at the next change.
func (j *joinRun) look() (joinView, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.view, j.changed
}

// update changes the view.
func (j *joinRun) update(change func(*joinView)) catalog.Join {
	j.mu.Lock()
	defer j.mu.Unlock()
	change(&j.view)
	close(j.changed)
	j.changed = make(chan struct{})
	return j.view.Join
}

// finish ends the join for its watchers; the first reason counts.
func (j *joinRun) finish(fault error) {
	j.update(func(v *joinView) {
		if !v.over {
			v.over, v.fault = true, fault
		}
	})
}

// run repeats the current step until the last one is done.
func (j *joinRun) run(ctx context.Context) {
	delay := joinRetryDelayMin
	for ctx.Err() == nil {
		changed := j.s.Changed()
		done, err := j.step(ctx)
		var end *joinEnd
		switch {
		case done:
			j.finish(nil)
			return
		case errors.As(err, &end):
			j.giveUp(ctx, end.reason)
			return
		case err == nil:
			delay = joinRetryDelayMin
		case ctx.Err() == nil:
			j.failed(ctx, err)
			j.await(ctx, changed, delay)
			delay = min(2*delay, joinRetryDelayMax)
		}
	}
}

// await waits before a step is repeated; a change of the cluster may be what
// it waits for.
func (j *joinRun) await(ctx context.Context, changed <-chan struct{}, delay time.Duration) {
	if !pause.For(ctx, joinRetryDelayMin/2) {
		return
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// joinEnd is an error that cannot pass by itself.
type joinEnd struct {
	reason error
}

func (e *joinEnd) Error() string { return e.reason.Error() }

func (e *joinEnd) Unwrap() error { return e.reason }

// giveUp ends a join that was refused or has been called off.
func (j *joinRun) giveUp(ctx context.Context, reason error) {
	if self, member := j.s.self(); !member || !cluster.IsParting(self.State) {
		if _, err := j.s.deps.Host.Run(ctx, catalog.DeleteJoin()); err != nil {
			j.s.log(ipc.Warning, "could not forget the join: %s", err)
		}
	}
	j.s.log(ipc.Log, "the join was given up: %s", pgerr.From(reason).Error())
	j.finish(reason)
}

// failed records why a step must be repeated.
func (j *joinRun) failed(ctx context.Context, err error) {
	e := pgerr.From(err)
	if isCode(err, pgerr.ObjectInUse) && j.current() == join.StepWaitTurn {
		j.note(e.Error())
		return
	}
	failed := j.update(func(v *joinView) { v.LastError = e.Error() })
	j.s.deps.Host.Log(ipc.Log, "the join met a problem and will try again", e.Error(), e.Hint)
	if _, err := j.s.deps.Host.Run(ctx, catalog.UpdateJoin(failed)); err != nil && ctx.Err() == nil {
		j.s.log(ipc.Warning, "could not record the join's progress: %s", err)
	}
}

// note says what the step waits for.
func (j *joinRun) note(text string) {
	changed := false
	j.update(func(v *joinView) { changed, v.WaitingFor = v.WaitingFor != text, text })
	if !changed {
		return
	}
	if text != "" {
		j.s.log(ipc.Log, "join: %s", text)
	}
	_, _ = j.s.deps.Host.Run(j.s.ctx, catalog.UpdateJoinWait(text)) // only for show
}

func (j *joinRun) current() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.view.Step
}

// advance records that the next step begins, together with other statements.
func (j *joinRun) advance(ctx context.Context, step string, with ...ipc.Stmt) error {
	view, _ := j.look()
	next := view.Join
	next.Step, next.LastError, next.WaitingFor = step, "", ""
	if _, err := j.s.deps.Host.Run(ctx, append(with, catalog.UpdateJoin(next))...); err != nil {
		return err
	}
	j.update(func(v *joinView) { v.Join = next })
	j.s.log(ipc.Log, "join: %s", join.StepText[step])
	return nil
}

// Copied is part of join.Progress: it counts what was copied and now and then records it.
func (j *joinRun) Copied(ctx context.Context, tables int, bytes int64) {
	copied := j.update(func(v *joinView) {
		v.TablesCopied += tables
		v.BytesCopied += bytes
	})
	j.mu.Lock()
	due := time.Since(j.persisted) > persistPeriod
	if due {
		j.persisted = time.Now()
	}
	j.mu.Unlock()
	if due {
		_, _ = j.s.deps.Host.Run(ctx, catalog.UpdateJoin(copied)) // only for show; the step's end is recorded for good
	}
}

// step carries out the current step.
func (j *joinRun) step(ctx context.Context) (done bool, err error) {
	if self, member := j.s.self(); member && (cluster.IsParting(self.State) || self.State == cluster.Parted) {
		return false, &joinEnd{pgerr.New(pgerr.WrongState, "the join of node %q was called off", self.Name).
			WithDetail("The node %s.", cluster.Phrase(self.State)).
			WithHint("Call bdr.drop_node() before joining again.")}
	}
	switch step := j.current(); step {
	case join.StepRegister:
		return false, j.register(ctx)
	case join.StepConsensus:
		return false, j.enterConsensus(ctx)
	case join.StepWaitTurn:
		return false, j.takeTurn(ctx)
	case join.StepSlots:
		return false, j.createSlots(ctx)
	case join.StepCopySchema, join.StepRestore, join.StepCopyData, join.StepIndexes, join.StepSequences:
		return false, j.copyAll(ctx)
	case join.StepCatchup:
		return false, j.catchUp(ctx)
	case join.StepPromote:
		return false, j.promote(ctx)
	case join.StepDone:
		return true, nil
	default:
		return false, &joinEnd{pgerr.New(pgerr.DataCorrupted, "unknown step %q of a join", step)}
	}
}

// withdraw tells the group to forget a registration of which the log has not
// told us yet.
func (s *Service) withdraw(ctx context.Context) error {
	s.mu.Lock()
	j := s.join
	s.mu.Unlock()
	if j == nil || j.over() || j.current() == join.StepRegister {
		return nil
	}
	view, _ := j.look()
	hello, err := s.hello(ctx, view.TargetDSN)
	if err != nil {
		return err
	}
	n, known := hello.Cluster.Node(s.localID())
	if !known || !cluster.IsJoining(n.State) {
		return nil
	}
	cmd := cluster.Command{Kind: cluster.ChangeState, NodeID: n.ID, From: n.State, To: cluster.PartStart}
	_, err = s.tell(ctx, view.TargetDSN, hello, kindRegister, cmd.Encode())
	return err
}
