package membership

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/consensus"
	"bdr/gosrc/ipc"
	"bdr/gosrc/join"
	"bdr/gosrc/pause"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/stream"
)

const (
	keepPeriod        = 10 * time.Second // without a change
	keepRetryDelayMin = 500 * time.Millisecond
	keepRetryDelayMax = 15 * time.Second
	orphanTimeMax     = 15 * time.Second // without a leader, before asking around
	fateTimeout       = 3 * time.Second
)

// keep makes this node what the cluster agreed on, after each change and now
// and then: it runs until the manager stops.
func (s *Service) keep() {
	delay := keepRetryDelayMin
	for s.ctx.Err() == nil {
		changed := s.Changed()
		wait := keepPeriod
		if err := s.reconcile(s.ctx); err != nil && s.ctx.Err() == nil {
			s.deps.Host.Log(ipc.Log, "could not adjust this node to the cluster and will try again", pgerr.From(err).Error(), "")
			wait, delay = delay, min(2*delay, keepRetryDelayMax)
			changed = nil // a failure must not become a busy loop
		} else {
			delay = keepRetryDelayMin
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-s.ctx.Done():
		}
		timer.Stop()
	}
}

// reconcile does once what keep repeats.
func (s *Service) reconcile(ctx context.Context) error {
	s.links.Prune()
	self, member := s.self()
	if !member {
		return nil
	}
	if self.State == cluster.Parted {
		return s.cleanParted(ctx)
	}
	group, err := s.consensus()
	if err != nil {
		return nil // a member whose consensus is being opened or closed
	}
	if group.IsLeader() {
		s.noteLeader(true)
		err = s.lead(ctx, group)
	} else if s.noteLeader(group.Leader() != 0) {
		err = s.askFate(ctx)
	}
	return errors.Join(err, s.forgetStrangers(ctx, group))
}

// noteLeader keeps the time without a leader; true: it has been long.
func (s *Service) noteLeader(known bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known {
		s.orphan = time.Time{}
	} else if s.orphan.IsZero() {
		s.orphan = time.Now()
	}
	return !known && time.Since(s.orphan) > orphanTimeMax
}

// askFate asks the peers whether this node has been parted while it was away.
func (s *Service) askFate(ctx context.Context) error {
	for _, peer := range s.Cluster().Peers(s.localID(), func(cluster.State) bool { return true }) {
		asking, cancel := context.WithTimeout(ctx, fateTimeout)
		var fate fateReply
		err := s.ask(asking, peer.ID, kindFate, s.localID(), &fate)
		cancel()
		if err == nil && (fate.Known && fate.State == cluster.Parted || !fate.Known && fate.Leader) {
			s.log(ipc.Log, "node %q says that this node has been parted", peer.Name)
			return s.believeParted(ctx)
		}
	}
	return nil
}

// lead makes the Raft configuration follow the cluster and drives parts.
func (s *Service) lead(ctx context.Context, group *consensus.Group) error {
	if err := group.Settle(ctx); err != nil {
		return fmt.Errorf("wait for consensus: %w", err)
	}
	agreed := s.Cluster()
	members, err := group.Members()
	if err != nil {
		return err
	}
	var errs []error
	for _, change := range cluster.PlanMembers(agreed, members) {
		errs = append(errs, s.changeMember(ctx, group, change))
	}
	for _, n := range agreed.Nodes {
		if cluster.IsParting(n.State) {
			s.drivePart(n.ID)
		}
	}
	return errors.Join(errs...)
}

// changeMember carries out one step. A leader that has to go hands over first.
func (s *Service) changeMember(ctx context.Context, group *consensus.Group, c cluster.MemberChange) error {
	switch {
	case !c.Remove:
		if err := group.SetMember(ctx, c.Member); err != nil {
			return fmt.Errorf("add node with id %d to consensus: %w", c.ID, err)
		}
	case c.ID == s.localID():
		return group.Transfer(ctx)
	default:
		if err := group.RemoveMember(ctx, c.ID); err != nil {
			return fmt.Errorf("remove node with id %d from consensus: %w", c.ID, err)
		}
		s.tellParted(ctx, c.ID)
	}
	return nil
}

// forgetStrangers drops slots and origins of nodes that have left. One that is
// not known at all may just have joined: the leader knows for sure.
func (s *Service) forgetStrangers(ctx context.Context, group *consensus.Group) error {
	results, err := s.deps.Host.Run(ctx, catalog.SelectSlots(), catalog.SelectOrigins(s.deps.DatabaseOID))
	if err != nil {
		return err
	}
	names := append(catalog.Texts(results[0]), catalog.Texts(results[1])...)
	slices.Sort(names)
	var errs []error
	for _, name := range slices.Compact(names) {
		id, ours := s.peerOf(name)
		if !ours || !s.hasLeft(ctx, group, id) {
			continue
		}
		errs = append(errs, s.forgetPeer(ctx, id))
	}
	return errors.Join(errs...)
}

// peerOf reads the node id in the name of a slot or origin.
func (s *Service) peerOf(name string) (uint32, bool) {
	digits, found := strings.CutPrefix(name, fmt.Sprintf("bdr_%d_", s.deps.DatabaseOID))
	id, err := strconv.ParseUint(digits, 10, 32)
	return uint32(id), found && err == nil
}

func (s *Service) hasLeft(ctx context.Context, group *consensus.Group, id uint32) bool {
	if n, known := s.Cluster().Node(id); known {
		return n.State == cluster.Parted
	}
	if group.IsLeader() {
		return group.Barrier(ctx) == nil && !s.knows(id)
	}
	leader := group.Leader()
	if leader == 0 {
		return false
	}
	var fate fateReply
	err := s.ask(ctx, leader, kindFate, id, &fate)
	return err == nil && fate.Leader && !fate.Known
}

func (s *Service) knows(id uint32) bool {
	_, known := s.Cluster().Node(id)
	return known
}

// forgetPeer ends the subscription to a node and drops its slot and origin.
func (s *Service) forgetPeer(ctx context.Context, id uint32) error {
	if err := s.deps.Subscriptions.Stop(ctx, id); err != nil {
		return err
	}
	err := s.dropSlot(ctx, stream.SlotName(s.deps.DatabaseOID, id))
	_, originErr := s.deps.Host.Run(ctx, catalog.DropOrigin(stream.OriginName(s.deps.DatabaseOID, id)))
	s.deps.Subscriptions.Recheck()
	if dsn, known := s.address(id); known == nil {
		s.links.Forget(dsn)
	}
	return errors.Join(err, originErr)
}

// dropSlot ends the sender of a slot and drops it, as soon as the sender is gone.
func (s *Service) dropSlot(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	return pause.While(ctx, 100*time.Millisecond, pgerr.IsInUse, func() error {
		_, err := s.deps.Host.Run(ctx, catalog.TerminateSlotUser(name))
		if err == nil {
			_, err = s.deps.Host.Run(ctx, catalog.DropSlot(name))
		}
		return err
	})
}

// believeParted records the own end, of which the log did not tell.
func (s *Service) believeParted(ctx context.Context) error {
	if err := s.markParted(ctx); err != nil {
		return err
	}
	s.notify()
	return nil
}

// markParted writes the own end into the tables.
func (s *Service) markParted(ctx context.Context) error {
	ledger := s.machines()
	if ledger == nil {
		return nil
	}
	return ledger.PartLocal(ctx)
}

// cleanParted removes, on a node that has been parted, everything that served
// its peers. The records stay until bdr.drop_node().
func (s *Service) cleanParted(ctx context.Context) error {
	s.mu.Lock()
	cleaned := s.cleaned
	s.mu.Unlock()
	if cleaned {
		return nil
	}
	s.stopJoin(ctx)
	if err := s.closeParted(ctx); err != nil {
		return err
	}
	s.links.Close()
	if err := s.dropTraces(ctx); err != nil {
		return err
	}
	if _, err := s.deps.Host.Run(ctx, catalog.DeleteJoin()); err != nil {
		return err
	}
	s.mu.Lock()
	s.cleaned = true
	s.mu.Unlock()
	s.deps.Host.Log(ipc.Log, "this node has been parted from its group", "",
		"Call bdr.drop_node() to remove the node's records, or before DROP EXTENSION.")
	return nil
}

func (s *Service) closeParted(ctx context.Context) error {
	s.moving.Lock()
	defer s.moving.Unlock()
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	return s.closeGroup(ctx)
}

// dropTraces drops every slot and origin of this database that is ours, and
// what is left of a copy. The origin of messages goes with the node.
func (s *Service) dropTraces(ctx context.Context) error {
	if err := join.RemoveDump(s.deps.RunDirectory); err != nil {
		return err
	}
	if err := s.awaitNoSubscriptions(ctx); err != nil {
		return err
	}
	results, err := s.deps.Host.Run(ctx, catalog.SelectSlots(), catalog.SelectOrigins(s.deps.DatabaseOID))
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range append(catalog.Texts(results[0]), stream.HoldName(s.deps.DatabaseOID)) {
		errs = append(errs, s.dropSlot(ctx, name))
	}
	for _, name := range catalog.Texts(results[1]) {
		if name == stream.MessageOrigin(s.deps.DatabaseOID) {
			continue
		}
		_, err := s.deps.Host.Run(ctx, catalog.DropOrigin(name))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// awaitNoSubscriptions waits until the streams of a parted node have ended and
// their rows are gone.
func (s *Service) awaitNoSubscriptions(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	for {
		s.deps.Subscriptions.Recheck()
		results, err := s.deps.Host.Run(ctx, catalog.SelectSubscriptions())
		if err != nil || len(results[0].Rows) == 0 {
			return err
		}
		if !pause.For(ctx, 100*time.Millisecond) {
			return pgerr.New(pgerr.ObjectInUse, "the subscriptions of this node have not ended within %s", rpcTimeout).
				WithHint("Try again.")
		}
	}
}
