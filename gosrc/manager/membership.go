package manager

import (
	"context"

	"bdr/gosrc/catalog"
	"bdr/gosrc/membership"
	"bdr/gosrc/stream"
)

// A nodeMember gives membership what it needs of the manager, and the manager
// the SQL functions that membership answers.
type nodeMember struct {
	*membership.Service
}

func newMember(m *Manager) member {
	return nodeMember{membership.New(membership.Deps{
		Host:          m.main,
		Subscriptions: subscriptions{m.peers},
		Spawn:         Go,
		Connect:       stream.Connect,
		RunDirectory:  m.config.RunDirectory,
		BinDirectory:  m.config.BinDirectory,
		HomeDirectory: m.config.HomeDirectory,
		PassFile:      m.config.PassFile,
		DatabaseName:  m.config.DatabaseName,
		DatabaseOID:   m.config.DatabaseOID,
	})}
}

// Handlers lists the SQL functions of membership and consensus.
func (n nodeMember) Handlers() map[string]handler {
	return map[string]handler{
		"create_node":              n.CreateNode,
		"drop_node":                n.DropNode,
		"create_node_group":        n.CreateNodeGroup,
		"join_node_group":          n.JoinNodeGroup,
		"wait_for_join_completion": n.WaitForJoin,
		"part_node":                n.PartNode,
		"get_raft_status":          n.RaftStatus,
	}
}

// subscriptions shows the running subscriptions to membership.
type subscriptions struct {
	*peers
}

// Mirror is membership.Subscriptions.
func (s subscriptions) Mirror(ctx context.Context, source catalog.Node, nonce string, report func(error)) (membership.Marker, error) {
	marker, err := s.peers.Mirror(ctx, source, nonce, report)
	return membership.Marker{Progress: marker.Progress, LSN: marker.LSN}, err
}
