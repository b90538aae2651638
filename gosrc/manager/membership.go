package manager

import (
	"context"

	"bdr/gosrc/api"
	"bdr/gosrc/ipc"
	"bdr/gosrc/membership"
	"bdr/gosrc/stream"
)

// A nodeMember gives membership what it needs of the manager, and the manager
// the SQL functions that membership answers.
type nodeMember struct {
	*membership.Service
	m *Manager
}

func newMember(m *Manager) member {
	return nodeMember{m: m, Service: membership.New(membership.Deps{
		Host:          m.main,
		Subscriptions: m.subscriptions,
		StopSequence:  m.sequencer.AnswerStop,
		KeepsDeadRows: m.deadRows.Holds,
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

// Handlers lists the functions that need to know which node this is by now.
func (n nodeMember) Handlers() map[string]api.Handler {
	return map[string]api.Handler{
		"create_replication_set":            n.fresh(n.CreateReplicationSet),
		"alter_replication_set":             n.fresh(n.AlterReplicationSet),
		"drop_replication_set":              n.fresh(n.DropReplicationSet),
		"replication_set_add_table":         n.fresh(n.AddTableToSet),
		"replication_set_remove_table":      n.fresh(n.RemoveTableFromSet),
		"replication_set_add_ddl_filter":    n.fresh(n.AddDDLFilter),
		"replication_set_remove_ddl_filter": n.fresh(n.RemoveDDLFilter),
		"alter_node_replication_sets":       n.fresh(n.AlterNodeReplicationSets),
		"create_node":                       n.fresh(n.CreateNode),
		"drop_node":                         n.fresh(n.DropNode),
		"create_node_group":                 n.fresh(n.CreateNodeGroup),
		"join_node_group":                   n.fresh(n.JoinNodeGroup),
		"wait_for_join_completion":          n.fresh(n.WaitForJoin),
		"part_node":                         n.fresh(n.PartNode),
		"get_raft_status":                   n.fresh(n.RaftStatus),
		"alter_sequence_set_kind":           n.fresh(n.m.sequencer.SetKind),
	}
}

// fresh looks at the tables before a function runs: drop_node and create_node
// take effect when their callers commit, of which nobody tells.
func (n nodeMember) fresh(run api.Handler) api.Handler {
	return func(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
		if err := n.m.refresh(ctx); err != nil {
			return ipc.Rows{}, err
		}
		local, refusal := n.m.node()
		if refusal != nil {
			return ipc.Rows{}, refusal
		}
		if err := n.Sync(ctx, local); err != nil {
			return ipc.Rows{}, err
		}
		return run(ctx, r)
	}
}
