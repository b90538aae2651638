package manager

import (
	"context"
	"maps"

	"bdr/gosrc/catalog"
	"bdr/gosrc/hand"
	"bdr/gosrc/pgerr"
)

// A handler carries out one SQL function.
type handler func(ctx context.Context, r *hand.Request) (hand.Rows, error)

// An entry is a handler and when it may run.
type entry struct {
	run handler
	// anywhere: also before the catalog is read, and on a copy of a node
	anywhere bool
}

// table lists every SQL function that the manager answers.
func (m *Manager) table() map[string]entry {
	own := map[string]entry{
		"internal_subscription_status":         {m.subscriptionStatus, true},
		"internal_dead_row_hold":               {m.deadRowHold, true},
		"internal_upkeep_errors":               {m.upkeepErrors, true},
		"internal_debug_fault":                 {debugFault, true},
		"internal_rpc":                         {m.rpc, false},
		"alter_subscription_enable":            {m.enableSubscription, false},
		"alter_subscription_disable":           {m.disableSubscription, false},
		"alter_subscription_skip_changes_upto": {m.skipChanges, false},
		"alter_node_set_log_config":            {m.setLogConfig, false},
		"reset_subscription_stats":             {m.resetStatistics, true},

		"alter_node_set_conflict_resolver": {m.setResolver, false},
	}
	members := map[string]entry{}
	for name, run := range m.member.Handlers() {
		members[name] = entry{run, false}
	}
	maps.Copy(own, members)
	return own
}

// Request answers a function call of a backend.
func (m *Manager) Request(ctx context.Context, r *hand.Request) (hand.Rows, error) {
	m.count(1)
	defer m.count(-1)
	e, known := m.handlers[r.Function]
	if !known {
		return hand.Rows{}, pgerr.New(pgerr.UndefinedFunction, "function %q is not known to the bdr manager", r.Function).
			WithHint("Restart the server after an upgrade of bdr.")
	}
	if !e.anywhere {
		if err := m.admit(ctx); err != nil {
			return hand.Rows{}, err
		}
	}
	return e.run(ctx, r)
}

// admit waits until the catalog has been read, looks again if this database was
// not a node then, and refuses what a copy of a node must not do.
func (m *Manager) admit(ctx context.Context) error {
	select {
	case <-m.loaded:
	case <-ctx.Done():
		return ctx.Err()
	}
	local, refusal := m.node()
	if local == (catalog.LocalNode{}) {
		if err := m.refresh(ctx); err != nil {
			return err
		}
		_, refusal = m.node()
	}
	if refusal != nil {
		return refusal
	}
	return nil
}

// count keeps the number of requests in progress, for idle.
func (m *Manager) count(change int) {
	m.mu.Lock()
	m.requests += change
	m.mu.Unlock()
	select {
	case m.activity <- struct{}{}:
	default:
	}
}

// rpc passes a message of a peer's manager on.
func (m *Manager) rpc(ctx context.Context, r *hand.Request) (hand.Rows, error) {
	answer, err := m.member.RPC(ctx, []byte(r.Arg(0)))
	if err != nil {
		return hand.Rows{}, err
	}
	return hand.Value(string(answer)), nil
}

func debugFault(ctx context.Context, r *hand.Request) (hand.Rows, error) {
	return hand.Rows{}, fault(ctx, r.Arg(0))
}
