package membership

import (
	"context"
	"fmt"
	"strings"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/consensus"
	"bdr/gosrc/globallock"
	"bdr/gosrc/ipc"
	"bdr/gosrc/join"
	"bdr/gosrc/pause"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/stream"
)

const (
	logArrivalTimeMax = 60 * time.Second // until the log brings our own record
	streamsTimeMax    = 30 * time.Second // until all direct streams are level
)

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
	return j.advance(ctx, join.StepConsensus, catalog.DeleteApplied())
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
	return j.advance(ctx, join.StepWaitTurn)
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
	return j.advance(ctx, join.StepSlots)
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

// copyAll copies schema and data of the source.
func (j *joinRun) copyAll(ctx context.Context) error {
	source, err := j.source()
	if err != nil {
		return err
	}
	local, err := j.s.record(ctx)
	if err != nil {
		return err
	}
	sets, err := catalog.ReadLocalSets(ctx, j.s.deps.Host)
	if err != nil {
		return err
	}
	view, _ := j.look()
	c := &join.Copy{Deps: j.deps(), Progress: j, Source: source, Local: local, Joining: cluster.Joining,
		Prepared: view.SyncStructure == "none", Again: view.Step != join.StepCopySchema, Sets: sets}
	return c.Run(ctx)
}

// deps is what a copy needs of this service.
func (j *joinRun) deps() join.Deps {
	d := j.s.deps
	return join.Deps{Host: d.Host, Connect: j.s.connect, Spawn: d.Spawn, Log: j.s.log, DatabaseOID: d.DatabaseOID,
		RunDirectory: d.RunDirectory, BinDirectory: d.BinDirectory, HomeDirectory: d.HomeDirectory, PassFile: d.PassFile}
}

// Begin is part of join.Progress.
func (j *joinRun) Begin(ctx context.Context, step string) error { return j.advance(ctx, step) }

// Found is part of join.Progress.
func (j *joinRun) Found(tables int, bytes int64) {
	j.update(func(v *joinView) { v.TablesTotal, v.TablesCopied, v.BytesCopied, v.bytesAll = tables, 0, 0, bytes })
}

// Note is part of join.Progress.
func (j *joinRun) Note(text string) { j.note(text) }

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
	return j.advance(ctx, join.StepCopySchema, origins...)
}

// ensureSlot makes a slot on a node; one of an earlier try is as good.
func (j *joinRun) ensureSlot(ctx context.Context, node catalog.Node, name string) error {
	conn, err := j.s.connect(ctx, node.DSN, stream.Replication)
	if err != nil {
		return err
	}
	defer stream.HangUp(conn)
	ctx, stop := join.WatchSlot(ctx, j.deps(), node, j.note)
	defer stop()
	if _, err = stream.CreateSlot(ctx, conn, name, false); isCode(err, pgerr.DuplicateObject) {
		return nil
	}
	return err
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
	if err := j.awaitTableLocks(ctx); err != nil {
		return err
	}
	if err := j.reach(ctx, cluster.Active); err != nil {
		return err
	}
	return j.advance(ctx, join.StepDone)
}

// awaitTableLocks waits until users of this node cannot write to tables that others have
// locked. Who asks for a lock from now on counts us; who had it before may not.
func (j *joinRun) awaitTableLocks(ctx context.Context) error {
	self := j.s.localID()
	return pause.Until(ctx, j.s.Changed, func() bool {
		locks := j.s.GlobalLocks()
		for _, l := range locks.Locks {
			holder, _ := locks.Holder(l.GlobalLockKey)
			if _, ready := locks.IsReady(l.ID, self); l.Type == catalog.GlobalLockDML && l.Node != self && l.ID == holder.ID && !ready {
				j.note("waiting for the " + strings.TrimPrefix(globallock.Title(l.GlobalLockKey), "the "))
				return false
			}
		}
		return true
	})
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
		if !pause.For(ctx, barrierAskPeriod) {
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
