package statemachine

import (
	"context"
	"encoding/json"

	"bdr/gosrc/catalog"
	"bdr/gosrc/globallock"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
)

// lockMachine holds what is agreed about global locks: bdr.global_lock,
// bdr.global_lock_place, bdr.global_lock_position and bdr.global_lock_ready. SQL objects without them have an
// empty state: nothing is proposed as long as a node has them.
type lockMachine struct {
	cluster *clusterMachine // of the same log

	agreed[globallock.State]
}

// load reads the tables, where there are any; they came with those of sequences.
func (m *lockMachine) load(ctx context.Context, runner catalog.Runner) error {
	has, err := catalog.HasSequences(ctx, runner)
	if err != nil || !has {
		return err
	}
	results, err := runner.Run(ctx, catalog.SelectGlobalLocks()...)
	if err != nil {
		return err
	}
	all, err := catalog.DecodeGlobalLocks(results)
	m.set(globallock.State(all))
	return err
}

// Knows is part of Machine.
func (m *lockMachine) Knows(kind string) bool { return globallock.Knows(kind) }

// Apply is part of Machine.
func (m *lockMachine) Apply(entry []byte) (Step, *pgerr.Error) {
	cmd, fault := readEntry[globallock.Command](entry)
	if fault != nil {
		return Step{}, fault
	}
	next, changes, fault := globallock.Apply(m.get(), m.cluster.get(), cmd)
	return Step{Statements: lockStatements(changes), Commit: func() { m.set(next) }}, fault
}

// Snapshot is part of Machine.
func (m *lockMachine) Snapshot() (json.RawMessage, error) { return writeSnapshot(m.get()) }

// Restore is part of Machine.
func (m *lockMachine) Restore(snapshot json.RawMessage) (Step, error) {
	return restore(&m.agreed, snapshot, catalog.DeleteGlobalLocks(), lockRows)
}

// lockRows writes a whole state into empty tables.
func lockRows(s globallock.State) []ipc.Stmt {
	return lockStatements(globallock.Touched{Last: s.Last, Written: s.Locks, Positions: s.Positions, Ready: s.Ready})
}

// lockStatements writes changes.
func lockStatements(c globallock.Touched) []ipc.Stmt {
	var list []ipc.Stmt
	for _, id := range c.Removed {
		list = append(list, catalog.DeleteGlobalLock(id)...)
	}
	for _, l := range c.Written {
		list = append(list, catalog.UpsertGlobalLock(l))
	}
	for _, p := range c.Positions {
		list = append(list, catalog.UpsertGlobalLockPosition(p))
	}
	for _, r := range c.Ready {
		list = append(list, catalog.InsertGlobalLockReady(r))
	}
	if c.Last != 0 {
		list = append(list, catalog.RecordGlobalLockPlace(c.Last))
	}
	return list
}
