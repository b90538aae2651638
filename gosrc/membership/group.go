package membership

import (
	"context"
	"fmt"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/consensus"
	"bdr/gosrc/ipc"
	"bdr/gosrc/join"
	"bdr/gosrc/pgerr"
)

// CreateNodeGroup is bdr.create_node_group(node_group_name, parent_group_name,
// join_node_group, node_group_type).
func (s *Service) CreateNodeGroup(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	if r.InTransaction {
		return ipc.Rows{}, errInTransaction("bdr.create_node_group()")
	}
	if err := checkGroupArguments(r); err != nil {
		return ipc.Rows{}, err
	}
	id, err := s.createGroup(ctx, r.Arg(0))
	if err != nil {
		return ipc.Rows{}, err
	}
	return ipc.Value(id), nil
}

func checkGroupArguments(r *ipc.Request) error {
	if r.Null(0) {
		return pgerr.New(pgerr.InvalidParameter, "node_group_name must not be NULL")
	}
	if err := join.CheckGroupName(r.Arg(0)); err != nil {
		return err
	}
	if !r.Null(1) {
		return pgerr.New(pgerr.FeatureNotSupported, "subgroups are not supported yet").
			WithHint("Leave parent_group_name out.")
	}
	if !r.Bool(2, true) {
		return pgerr.New(pgerr.InvalidParameter, "join_node_group must be true for a group without a parent")
	}
	if !r.Null(3) {
		return pgerr.New(pgerr.FeatureNotSupported, "node group type %q is not supported yet", r.Arg(3)).
			WithHint("Leave node_group_type out.")
	}
	return nil
}

// createGroup starts consensus with this node as its first member. What an
// earlier call left half done is thrown away; nobody else has seen it.
func (s *Service) createGroup(ctx context.Context, name string) (string, error) {
	local, err := s.record(ctx)
	if err != nil {
		return "", err
	}
	s.moving.Lock()
	defer s.moving.Unlock()
	if err := s.prepareGroup(ctx, local); err != nil {
		return "", err
	}
	id, uuid, err := newIdentity()
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	s.cluster = uuid
	s.mu.Unlock()
	answer, err := s.bootstrap(ctx, cluster.Command{Kind: cluster.CreateGroup, Node: local, Group: catalog.Group{ID: id, Name: name, UUID: uuid.String()}})
	if err != nil {
		s.reopen()
		return "", err
	}
	return answer, nil
}

// prepareGroup refuses a node that is a member, and clears the ground.
func (s *Service) prepareGroup(ctx context.Context, local catalog.Node) error {
	if err := s.closeUngrouped(ctx); err != nil {
		return err
	}
	ledger, _, joining, err := s.load(ctx, local.ID)
	if err != nil {
		return err
	}
	if g, exists := ledger.Cluster().Group(); exists {
		return errMember(local, g)
	}
	if joining {
		return errJoinUnderWay(local)
	}
	if err := consensus.RemoveStore(s.raftDir()); err != nil {
		return err
	}
	if _, err := s.deps.Host.Run(ctx, catalog.DeleteApplied()); err != nil {
		return err
	}
	ledger, _, _, err = s.load(ctx, local.ID)
	s.mu.Lock()
	s.ledger = ledger
	s.mu.Unlock()
	return err
}

// closeUngrouped stops consensus that an earlier call started, unless it has
// made the group after all.
func (s *Service) closeUngrouped(ctx context.Context) error {
	if _, exists := s.Cluster().Group(); exists {
		return nil
	}
	return s.closeGroup(ctx)
}

func (s *Service) bootstrap(ctx context.Context, cmd cluster.Command) (string, error) {
	if err := s.openGroup(); err != nil {
		return "", err
	}
	group, err := s.consensus()
	if err != nil {
		return "", err
	}
	if err := group.Bootstrap(); err != nil {
		return "", err
	}
	return group.Propose(ctx, cmd.Encode())
}

// reopen reads the tables again after a failure: they say whether the group
// was made. The caller holds moving.
func (s *Service) reopen() {
	ctx, cancel := context.WithTimeout(s.ctx, shutdownTimeout)
	defer cancel()
	if s.closeGroup(ctx) != nil {
		return
	}
	ledger, _, _, err := s.load(ctx, s.localID())
	if err != nil {
		return
	}
	s.mu.Lock()
	s.ledger = ledger
	s.mu.Unlock()
	if _, member := s.self(); member {
		if err := s.openGroup(); err != nil {
			s.log(ipc.Warning, "could not start consensus: %s", err)
		}
	}
	s.notify()
}

// RaftStatus is bdr.get_raft_status().
func (s *Service) RaftStatus(context.Context, *ipc.Request) (ipc.Rows, error) {
	const columns = 13
	group, err := s.consensus()
	if err != nil {
		return ipc.Rows{Columns: columns}, nil // no consensus, no row
	}
	agreed := s.Cluster()
	top, _ := agreed.Group()
	st := group.Status()
	var leader *string
	if n, known := agreed.Node(st.Leader); known {
		leader = &n.Name
	}
	row := []*string{ipc.Text(top.Name), ipc.Text(st.State), leader, ipc.Text(fmt.Sprint(st.Voting))}
	for _, number := range []uint64{st.Term, st.CommitIndex, st.ApplyIndex, st.LastTerm, st.LastIndex, st.SnapshotTerm,
		st.SnapshotIndex, uint64(st.Members), uint64(st.Voters)} {
		row = append(row, ipc.Number(number))
	}
	return ipc.Rows{Columns: columns, Values: [][]*string{row}}, nil
}

func errMember(local catalog.Node, g catalog.Group) *pgerr.Error {
	return pgerr.New(pgerr.WrongState, "node %q is a member of node group %q already", local.Name, g.Name).
		WithHint("A node belongs to one group; bdr.part_node() takes it out.")
}
