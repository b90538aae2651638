package membership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/consensus"
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pause"
	"bdr/gosrc/pgerr"
)

const (
	drainTimeMax  = 60 * time.Second // until all have what a parting node wrote
	forgetTimeMax = 20 * time.Second // until the reachable nodes have dropped its slots
	askPeriod     = 200 * time.Millisecond
	noticePeriod  = 2 * time.Second
)

// PartNode is bdr.part_node(node_name, wait_for_completion, force, concurrent).
func (s *Service) PartNode(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	if r.InTransaction {
		return ipc.Rows{}, errInTransaction("bdr.part_node()")
	}
	wait := r.Bool(1, true)
	node, err := s.mayPart(r, wait)
	if err != nil {
		return ipc.Rows{}, err
	}
	if !cluster.IsParting(node.State) && node.State != cluster.Parted {
		if err := s.setState(ctx, node, cluster.PartStart); err != nil {
			return ipc.Rows{}, err
		}
	}
	if !wait {
		return void(nil)
	}
	return void(s.watchPart(ctx, r, node))
}

// mayPart refuses before anything is proposed.
func (s *Service) mayPart(r *ipc.Request, wait bool) (catalog.Node, error) {
	if r.Null(0) {
		return catalog.Node{}, pgerr.New(pgerr.InvalidParameter, "node_name must not be NULL")
	}
	if r.Bool(2, false) || r.Bool(3, false) {
		return catalog.Node{}, pgerr.New(pgerr.FeatureNotSupported, "force and concurrent are not supported yet").
			WithHint("Part the node without them while a majority of the nodes is up.")
	}
	if _, err := s.consensus(); err != nil {
		return catalog.Node{}, err
	}
	self, _ := s.self()
	node, known := s.Cluster().NodeByName(r.Arg(0))
	switch {
	case !known:
		return node, catalog.ErrUnknownNode(r.Arg(0))
	case node.State == cluster.Parted:
		return node, pgerr.New(pgerr.WrongState, "node %q has been parted already", node.Name).
			WithHint("bdr.drop_node() removes its record.")
	case node.ID == self.ID && wait:
		return node, pgerr.New(pgerr.InvalidParameter, "wait_for_completion must be false to part the local node").
			WithHint("Call bdr.part_node() on another node, or with wait_for_completion := false.")
	case node.ID != self.ID && self.State != cluster.Active:
		return node, pgerr.New(pgerr.WrongState, "cannot part node %q", node.Name).
			WithDetail("The local node %q %s.", self.Name, cluster.Phrase(self.State)).
			WithHint("Call bdr.part_node() on an active node.")
	}
	return node, nil
}

// watchPart tells the user how the part goes until it is done. The part itself
// is driven by the leader and goes on without the user.
func (s *Service) watchPart(ctx context.Context, r *ipc.Request, node catalog.Node) error {
	shown := cluster.None
	return s.waitUntil(ctx, func(c cluster.Cluster) bool {
		now, known := c.Node(node.ID)
		if known && now.State != shown && now.State >= cluster.PartStart {
			shown = now.State
			_ = r.Notice(ipc.Notice, "node \"%s\" is in state %s", node.Name, cluster.StateName(shown)) // a backend that is gone ends ctx
		}
		return !known || now.State == cluster.Parted
	})
}

// drivePart leads a node out, unless that is under way already. Every step can
// be repeated: a new leader begins where the cluster's state says.
func (s *Service) drivePart(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parts[id] {
		return
	}
	s.parts[id] = true
	s.deps.Spawn("part", func() {
		err := s.part(s.ctx, id)
		s.mu.Lock()
		delete(s.parts, id)
		s.mu.Unlock()
		if err != nil && s.ctx.Err() == nil {
			s.deps.Host.Log(ipc.Log, fmt.Sprintf("could not part node with id %d and will try again", id), pgerr.From(err).Error(), "")
			pause.For(s.ctx, keepRetryDelayMin)
		}
		s.notify()
	})
}

// part carries out the steps from the state in which the node is.
func (s *Service) part(ctx context.Context, id uint32) error {
	for ctx.Err() == nil {
		node, known := s.Cluster().Node(id)
		if !known || node.State == cluster.Parted {
			return nil
		}
		group, err := s.consensus()
		if err != nil || !group.IsLeader() {
			return err // whoever leads now goes on
		}
		if id == s.localID() {
			return group.Transfer(ctx) // nobody leads himself out
		}
		if err := s.partStep(ctx, group, node); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// partStep carries out one step. A node loses its vote before it hears of its
// end: the last entry must not need the vote of a node that has stopped.
func (s *Service) partStep(ctx context.Context, group *consensus.Group, node catalog.Node) error {
	if node.State == cluster.PartStart {
		return s.setState(ctx, node, cluster.Parting)
	}
	if node.State == cluster.Parting {
		s.drain(ctx, node)
	}
	s.forgetEverywhere(ctx, node)
	if err := group.RemoveMember(ctx, node.ID); err != nil {
		return fmt.Errorf("remove node %q from consensus: %w", node.Name, err)
	}
	if err := s.setState(ctx, node, cluster.Parted); err != nil {
		return err
	}
	s.tellParted(ctx, node.ID)
	return nil
}

// drain waits, with a limit, until every node that can be asked has applied
// what the parting node had written up to its end-of-stream message. A node that is away
// cannot be drained, and a node that was never active has nothing to drain.
func (s *Service) drain(ctx context.Context, node catalog.Node) {
	if _, subscribed, err := s.subscription(ctx, node.ID); err == nil && !subscribed {
		return
	}
	var target uint64
	if err := s.ask(ctx, node.ID, kindEndOfStream, nil, &target); err != nil {
		s.deps.Host.Log(ipc.Log, fmt.Sprintf("node %q does not answer while it is being parted", node.Name), pgerr.From(err).Error(),
			"Changes that it did not send to every node stay where they are.")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, drainTimeMax)
	defer cancel()
	for _, peer := range s.Cluster().Peers(node.ID, cluster.IsActive) {
		if err := s.drainedBy(ctx, peer, node.ID, lsn.LSN(target)); err != nil {
			s.deps.Host.Log(ipc.Warning, fmt.Sprintf("node %q may lack changes of node %q, which is being parted", peer.Name, node.Name),
				pgerr.From(err).Error(), "")
		}
	}
}

func (s *Service) drainedBy(ctx context.Context, peer catalog.Node, origin uint32, target lsn.LSN) error {
	for {
		done, err := s.askApplied(ctx, peer.ID, origin, target)
		if err != nil || done {
			return err
		}
		if !pause.For(ctx, askPeriod) {
			return pgerr.New(pgerr.ObjectInUse, "it has not applied them within %s", drainTimeMax)
		}
	}
}

func (s *Service) askApplied(ctx context.Context, peer, origin uint32, target lsn.LSN) (done bool, err error) {
	if peer == s.localID() {
		return s.hasApplied(ctx, origin, target)
	}
	err = s.ask(ctx, peer, kindApplied, appliedRequest{Origin: origin, Target: uint64(target)}, &done)
	return done, err
}

// forgetEverywhere has the slots and origins of a parting node dropped by all
// that can be asked, so that the caller of part_node finds them gone. The
// others do it when they hear that the node is parted.
func (s *Service) forgetEverywhere(ctx context.Context, node catalog.Node) {
	ctx, cancel := context.WithTimeout(ctx, forgetTimeMax)
	defer cancel()
	for _, peer := range s.Cluster().Peers(node.ID, cluster.IsActive) {
		var err error
		if peer.ID == s.localID() {
			err = s.forgetPeer(ctx, node.ID)
		} else {
			err = s.ask(ctx, peer.ID, kindForget, node.ID, nil)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			s.deps.Host.Log(ipc.Log, fmt.Sprintf("node %q keeps its slot for node %q for now", peer.Name, node.Name), pgerr.From(err).Error(), "")
		}
	}
}

// tellParted tells a node its own end; one that is away will ask when it is back.
func (s *Service) tellParted(ctx context.Context, id uint32) {
	ctx, cancel := context.WithTimeout(ctx, fateTimeout)
	defer cancel()
	if err := s.ask(ctx, id, kindParted, nil, nil); err != nil {
		s.log(ipc.Debug, "node with id %d was not told that it is parted: %s", id, pgerr.From(err).Error())
	}
	if dsn, err := s.address(id); err == nil {
		s.links.Forget(dsn)
	}
}
