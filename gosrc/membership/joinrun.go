package membership

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/consensus"
	"bdr/gosrc/control"
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/stream"
)

// The steps of a join, as bdr.local_join.step names them. A step may be
// interrupted anywhere; it is repeated from its beginning.
const (
	stepRegister   = "register"
	stepConsensus  = "consensus"
	stepWaitTurn   = "wait_turn"
	stepSlots      = "create_slots"
	stepCopySchema = "copy_schema"    // nothing has been restored here yet
	stepRestore    = "restore_schema" // from here on, a repeated copy cleans first
	stepCopyData   = "copy_data"
	stepIndexes    = "restore_indexes"
	stepSequences  = "copy_sequences"
	stepCatchup    = "catchup"
	stepPromote    = "promote"
	stepDone       = "done"
)

// stepText says to a user what begins.
var stepText = map[string]string{
	stepRegister:   "registering with the group",
	stepConsensus:  "waiting for the group's consensus log",
	stepWaitTurn:   "waiting for the turn to join",
	stepSlots:      "creating replication slots on the other nodes",
	stepCopySchema: "reading the schema of the source",
	stepRestore:    "restoring the schema",
	stepCopyData:   "copying data",
	stepIndexes:    "building indexes and constraints",
	stepSequences:  "copying the positions of sequences",
	stepCatchup:    "catching up with what was written during the copy",
	stepPromote:    "connecting to every node",
	stepDone:       "the node is active",
}

const (
	joinRetryDelayMin = time.Second
	joinRetryDelayMax = 15 * time.Second
	logArrivalTimeMax = 60 * time.Second // until the log brings our own record
	persistPeriod     = time.Second      // of progress within a step
	streamsTimeMax    = 30 * time.Second // until all direct streams are level
	catchUpAskPeriod  = 250 * time.Millisecond
	barrierAskPeriod  = 20 * time.Millisecond
	advanceTimeMax    = 15 * time.Second
	blockerDelay      = 5 * time.Second // before looking for what a slot waits for
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
func (s *Service) startJoin(join catalog.Join) *joinRun {
	ctx, cancel := context.WithCancel(s.ctx)
	j := &joinRun{s: s, cancel: cancel, ended: make(chan struct{}), changed: make(chan struct{}), view: joinView{Join: join}}
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
	if !pause(ctx, joinRetryDelayMin/2) {
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
	if isCode(err, pgerr.ObjectInUse) && j.current() == stepWaitTurn {
		j.note(e.Error())
		return
	}
	join := j.update(func(v *joinView) { v.LastError = e.Error() })
	j.s.deps.Host.Log(ipc.Log, "the join met a problem and will try again", e.Error(), e.Hint)
	if _, err := j.s.deps.Host.Run(ctx, catalog.UpdateJoin(join)); err != nil && ctx.Err() == nil {
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
	j.s.log(ipc.Log, "join: %s", stepText[step])
	return nil
}

// progress counts what was copied and now and then records it.
func (j *joinRun) progress(ctx context.Context, tables int, bytes int64) {
	join := j.update(func(v *joinView) {
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
		_, _ = j.s.deps.Host.Run(ctx, catalog.UpdateJoin(join)) // only for show; the step's end is recorded for good
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
	case stepRegister:
		return false, j.register(ctx)
	case stepConsensus:
		return false, j.enterConsensus(ctx)
	case stepWaitTurn:
		return false, j.takeTurn(ctx)
	case stepSlots:
		return false, j.createSlots(ctx)
	case stepCopySchema, stepRestore, stepCopyData, stepIndexes, stepSequences:
		return false, j.copyAll(ctx)
	case stepCatchup:
		return false, j.catchUp(ctx)
	case stepPromote:
		return false, j.promote(ctx)
	case stepDone:
		return true, nil
	default:
		return false, &joinEnd{pgerr.New(pgerr.DataCorrupted, "unknown step %q of a join", step)}
	}
}

// register has the join target propose us. A refusal ends the join; nothing
// has been changed then.
func (j *joinRun) register(ctx context.Context) error {
	view, _ := j.look()
	hello, err := j.s.hello(ctx, view.TargetDSN)
	if err != nil {
		return err
	}
	err = j.announce(ctx, hello)
	if isCode(err, pgerr.DuplicateObject, pgerr.UndefinedObject, pgerr.ConfigLimit, pgerr.InvalidParameter, pgerr.FeatureNotSupported) {
		return &joinEnd{err}
	}
	if err != nil {
		return err
	}
	return j.advanceClean(ctx)
}

// announce has the join target propose that we join. Saying it again changes
// nothing.
func (j *joinRun) announce(ctx context.Context, target helloReply) error {
	local, err := j.s.record(ctx)
	if err != nil {
		return err
	}
	view, _ := j.look()
	group, _ := target.Cluster.Group()
	local.SourceID, local.SyncStructure = view.SourceID, view.SyncStructure
	cmd := cluster.Command{Kind: cluster.RegisterNode, Node: local, Group: catalog.Group{Name: group.Name}}
	_, err = j.s.tell(ctx, view.TargetDSN, target, kindRegister, cmd.Encode())
	return err
}

// advanceClean leaves the first step: what an earlier node of this database
// left of its consensus must not become ours.
func (j *joinRun) advanceClean(ctx context.Context) error {
	j.s.moving.Lock()
	defer j.s.moving.Unlock()
	if err := consensus.RemoveStore(j.s.raftDir()); err != nil {
		return err
	}
	return j.advance(ctx, stepConsensus, catalog.DeleteApplied())
}

// enterConsensus starts our part of the Raft group and waits until the leader
// has found us and the log has brought our own record.
func (j *joinRun) enterConsensus(ctx context.Context) error {
	if err := j.openConsensus(ctx); err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, logArrivalTimeMax)
	defer cancel()
	err := j.s.waitUntil(waiting, func(c cluster.Cluster) bool { return j.isKnown(c) })
	if err != nil && ctx.Err() == nil {
		return pgerr.New(pgerr.ConnectionFailure, "the group's leader has not sent the consensus log within %s", logArrivalTimeMax).
			WithHint("Check that a majority of the group's nodes is up and that every node can reach local_dsn.")
	}
	if err != nil {
		return err
	}
	return j.advance(ctx, stepWaitTurn)
}

func (j *joinRun) isKnown(c cluster.Cluster) bool {
	_, known := c.Node(j.s.localID())
	return known
}

// openConsensus learns the cluster's identity from the join target and starts
// raft with an empty log. The leader may have tried to send its log before; the
// entry of another announcement makes it try again at once.
func (j *joinRun) openConsensus(ctx context.Context) error {
	if _, err := j.s.consensus(); err == nil {
		return nil
	}
	view, _ := j.look()
	hello, err := j.s.hello(ctx, view.TargetDSN)
	if err != nil {
		return err
	}
	if n, known := hello.Cluster.Node(j.s.localID()); known && (cluster.IsParting(n.State) || n.State == cluster.Parted) {
		return &joinEnd{pgerr.New(pgerr.WrongState, "the join of node %q was called off", n.Name).WithDetail("The node %s.", cluster.Phrase(n.State))}
	}
	group, _ := hello.Cluster.Group()
	uuid, err := consensus.ParseUUID(group.UUID)
	if err != nil {
		return err
	}
	j.s.moving.Lock()
	defer j.s.moving.Unlock()
	j.s.mu.Lock()
	j.s.cluster = uuid
	j.s.mu.Unlock()
	if err := j.s.openGroup(); err != nil {
		return err
	}
	return j.announce(ctx, hello)
}

// takeTurn becomes the one node that is joining; the others wait.
func (j *joinRun) takeTurn(ctx context.Context) error {
	if err := j.reach(ctx, cluster.Joining); err != nil {
		return err
	}
	return j.advance(ctx, stepSlots)
}

// reach moves our own state on, one transition after the other.
func (j *joinRun) reach(ctx context.Context, state cluster.State) error {
	for {
		self, member := j.s.self()
		if !member {
			return pgerr.New(pgerr.WrongState, "the local node is not known to its group any more")
		}
		if self.State >= state {
			return nil
		}
		if err := j.s.setState(ctx, self, self.State+1); err != nil {
			return err
		}
		want := self.State + 1
		err := j.s.waitUntil(ctx, func(c cluster.Cluster) bool {
			n, known := c.Node(self.ID)
			return !known || n.State >= want
		})
		if err != nil {
			return err
		}
	}
}

// members returns the nodes whose changes we shall receive.
func (j *joinRun) members() []catalog.Node {
	return j.s.Cluster().Peers(j.s.localID(), cluster.IsActive)
}

// source returns the node from which everything is copied.
func (j *joinRun) source() (catalog.Node, error) {
	view, _ := j.look()
	n, known := j.s.Cluster().Node(view.SourceID)
	if !known || n.State != cluster.Active {
		return n, &joinEnd{pgerr.New(pgerr.WrongState, "the source of the join is no longer an active node").
			WithHint("Part this node, drop it, and join again in an empty database.")}
	}
	return n, nil
}

// createSlots makes the slots from which we shall read on every member but the
// source, whose slot comes with the snapshot, and our origins for all of them.
// From now on no change of theirs can be lost to us.
func (j *joinRun) createSlots(ctx context.Context) error {
	source, err := j.source()
	if err != nil {
		return err
	}
	var origins []ipc.Stmt
	for _, m := range j.members() {
		origins = append(origins, catalog.CreateOrigin(stream.OriginName(j.s.deps.DatabaseOID, m.ID)))
		if m.ID == source.ID {
			continue
		}
		if err := j.ensureSlot(ctx, m, stream.SlotName(m.DBOID, j.s.localID())); err != nil {
			return fmt.Errorf("node %q: %w", m.Name, err)
		}
	}
	return j.advance(ctx, stepCopySchema, origins...)
}

// ensureSlot makes a slot on a node; one of an earlier try is as good.
func (j *joinRun) ensureSlot(ctx context.Context, node catalog.Node, name string) error {
	conn, err := j.s.connect(ctx, node.DSN, stream.Replication)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	ctx, stop := j.watchSlot(ctx, node)
	defer stop()
	if _, err = stream.CreateSlot(ctx, conn, name, false); isCode(err, pgerr.DuplicateObject) {
		return nil
	}
	return err
}

// watchSlot tells the user when a new slot has to wait for transactions that
// were running before it.
func (j *joinRun) watchSlot(ctx context.Context, node catalog.Node) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	j.s.deps.Spawn("slot watch", func() {
		for pause(ctx, blockerDelay) {
			conn, err := j.s.connect(ctx, node.DSN, stream.Command)
			if err != nil {
				continue
			}
			results, err := catalog.Over(conn).Run(ctx, catalog.SelectBlockers())
			hangUp(conn)
			if blockers := strings.Join(textsOf(results, err), "; "); blockers != "" && ctx.Err() == nil {
				j.note(fmt.Sprintf("a replication slot on node %q waits for %s", node.Name, blockers))
			}
		}
	})
	return ctx, cancel
}

func textsOf(results []ipc.Result, err error) []string {
	if err != nil {
		return nil
	}
	return catalog.Texts(results[0])
}

// catchUp applies what the source has done since the snapshot, whoever wrote
// it, until the source's point says exactly how far it was for each peer.
func (j *joinRun) catchUp(ctx context.Context) error {
	source, err := j.source()
	if err != nil {
		return err
	}
	if err := j.s.removeDump(); err != nil {
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
		return errors.Join(j.advance(ctx, stepCopyData), err) // the slot is gone: copy again
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
		if !pause(ctx, barrierAskPeriod) {
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
		if !pause(ctx, barrierAskPeriod) {
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
		if !pause(ctx, catchUpAskPeriod) {
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
	for {
		err := j.advance(ctx, stepPromote, advances...)
		if !isCode(err, pgerr.ObjectInUse) { // the writer may be about to end
			return err
		}
		if !pause(waiting, 100*time.Millisecond) {
			return err
		}
	}
}

// promote starts the direct streams, waits until they are level, and makes us
// a full member.
func (j *joinRun) promote(ctx context.Context) error {
	if err := j.reach(ctx, cluster.Standby); err != nil {
		return err
	}
	j.s.deps.Subscriptions.Recheck()
	for _, m := range j.members() {
		if err := j.awaitStream(ctx, m); err != nil {
			return err
		}
	}
	if err := j.passClocks(ctx); err != nil {
		return err
	}
	if err := j.reach(ctx, cluster.Active); err != nil {
		return err
	}
	return j.advance(ctx, stepDone)
}

// passClocks waits until what users commit here is newer than all that was copied,
// and than what the members had forgotten when they began to count us. One that
// answers is enough: a member forgets what it has seen, and all others are past.
func (j *joinRun) passClocks(ctx context.Context) error {
	var newest int64
	var failure error
	for _, m := range j.members() {
		b, err := j.barrier(ctx, m, 0)
		if err != nil {
			failure = err
		}
		newest = max(newest, b.Clock)
	}
	if newest == 0 {
		return failure
	}
	for {
		b, err := j.s.barrier(ctx, newest)
		if err != nil || b.Position != 0 {
			return err
		}
		j.noteClock("the clock of this node", newest-b.Clock)
		if !pause(ctx, barrierAskPeriod) {
			return ctx.Err()
		}
	}
}

// awaitStream gives a direct stream some time to become level; a member that
// is away must not hold up the join.
func (j *joinRun) awaitStream(ctx context.Context, m catalog.Node) error {
	waiting, cancel := context.WithTimeout(ctx, streamsTimeMax)
	defer cancel()
	at, err := j.s.position(waiting, m.ID)
	if err == nil {
		err = j.s.deps.Subscriptions.WaitApplied(waiting, m.ID, at)
	}
	if err != nil && ctx.Err() == nil {
		j.s.deps.Host.Log(ipc.Log, fmt.Sprintf("the stream from node %q is not level yet; the join goes on", m.Name), pgerr.From(err).Error(), "")
		return nil
	}
	return err
}

// withdraw tells the group to forget a registration of which the log has not
// told us yet.
func (s *Service) withdraw(ctx context.Context) error {
	s.mu.Lock()
	j := s.join
	s.mu.Unlock()
	if j == nil || j.over() || j.current() == stepRegister {
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
