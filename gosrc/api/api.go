// Package api answers the SQL functions that are about this node's
// subscriptions and conflicts, and those that run SQL on other nodes. Those of
// its membership are answered by membership.
package api

import (
	"context"

	"bdr/gosrc/catalog"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/subscription"
)

// A Handler carries out one SQL function.
type Handler func(ctx context.Context, r *ipc.Request) (ipc.Rows, error)

// Deps is what the functions get from the manager.
type Deps struct {
	Main          *ipc.Main
	Subscriptions *subscription.Set
	Node          func() (catalog.LocalNode, *pgerr.Error)
}

// API answers.
type API struct {
	deps Deps
}

// New makes an API.
func New(deps Deps) *API { return &API{deps} }

// Anywhere lists the functions that are also answered before the catalog has
// been read, and on a copy of a node.
func (a *API) Anywhere() map[string]Handler {
	return map[string]Handler{
		"internal_subscription_status": a.subscriptionStatus,
		"reset_subscription_stats":     a.resetStatistics,
	}
}

// Handlers lists the functions that need a node that may act.
func (a *API) Handlers() map[string]Handler {
	return map[string]Handler{
		"alter_subscription_enable":            a.enableSubscription,
		"alter_subscription_disable":           a.disableSubscription,
		"alter_subscription_skip_changes_upto": a.skipChanges,
		"alter_node_set_log_config":            a.setLogConfig,
		"internal_run_on_node":                 a.runOnNode,
		"alter_node_set_conflict_resolver":     a.setResolver,
	}
}

// requireLocal refuses a first argument that is not the name of this node.
func requireLocal(ctx context.Context, r *ipc.Request) error {
	local, nodes, err := catalog.ReadNodes(ctx, r)
	if err != nil {
		return err
	}
	if local == (catalog.LocalNode{}) {
		return pgerr.New(pgerr.WrongState, "this database is not a node").WithHint("Call bdr.create_node() first.")
	}
	for _, n := range nodes {
		switch {
		case n.Name != r.Arg(0):
		case n.ID == local.ID:
			return nil
		default:
			return pgerr.New(pgerr.WrongState, "node %q is not the local node", n.Name).
				WithDetail("%s changes the node that it is called on.", r.Function).
				WithHint("Connect to node %q.", n.Name)
		}
	}
	return catalog.ErrUnknownNode(r.Arg(0))
}
