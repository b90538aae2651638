package manager

import (
	"context"
	"maps"

	"bdr/gosrc/api"
	"bdr/gosrc/catalog"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
)

// An entry is a handler and when it may run.
type entry struct {
	run api.Handler
	// anywhere: also before the catalog is read, and on a copy of a node
	anywhere bool
}

// table lists every SQL function that the manager answers.
func (m *Manager) table() map[string]entry {
	all := map[string]entry{
		"internal_dead_row_hold":  {m.deadRows.Rows, true},
		"internal_group_versions": {m.member.GroupVersions, true},
		"internal_upkeep_errors":  {m.upkeep.Rows, true},
		"internal_rpc":            {m.rpc, false},
		"global_lock":             {m.locker.Acquire, false},
		"sequence_chunk":          {m.sequencer.Chunk, false},
		"sequence_advance":        {m.sequencer.Advance, false},
		"prepare_pg_upgrade":      {m.upgrade.Prepare, false},
		"cancel_pg_upgrade":       {m.upgrade.Cancel, true},
		"finish_pg_upgrade":       {m.upgrade.Finish, true},
	}
	maps.Copy(all, faults())
	add := func(handlers map[string]api.Handler, anywhere bool) {
		for name, run := range handlers {
			all[name] = entry{run, anywhere}
		}
	}
	add(m.api.Anywhere(), true)
	add(m.api.Handlers(), false)
	add(m.member.Handlers(), false)
	return all
}

// Request answers a function call of a backend.
func (m *Manager) Request(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	m.count(1)
	defer m.count(-1)
	e, known := m.handlers[r.Function]
	if !known {
		return ipc.Rows{}, pgerr.New(pgerr.UndefinedFunction, "function %q is not known to the bdr manager", r.Function).
			WithHint("Restart the server after an upgrade of bdr.")
	}
	if !e.anywhere {
		if err := m.admit(ctx); err != nil {
			return ipc.Rows{}, err
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
func (m *Manager) rpc(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	answer, err := m.member.RPC(ctx, r, []byte(r.Arg(0)))
	if err != nil {
		return ipc.Rows{}, err
	}
	return ipc.Value(string(answer)), nil
}
