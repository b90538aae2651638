package statemachine

import (
	"context"
	"encoding/json"

	"bdr/gosrc/catalog"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/sequence"
)

// sequenceMachine holds what is agreed about sequences: bdr.sequence_allocation,
// bdr.sequence_chunk and bdr.sequence_switch. SQL objects without these tables have
// an empty state: nothing is proposed as long as a node has them.
type sequenceMachine struct {
	cluster *clusterMachine // of the same log

	agreed[sequence.State]
}

// load reads the tables, where there are any.
func (m *sequenceMachine) load(ctx context.Context, runner catalog.Runner) error {
	has, err := catalog.HasSequences(ctx, runner)
	if err != nil || !has {
		return err
	}
	results, err := runner.Run(ctx, catalog.SelectSequenceState()...)
	if err != nil {
		return err
	}
	allocations, chunks, switches, err := catalog.SequenceState(results)
	m.set(sequence.StateOf(allocations, chunks, switches))
	return err
}

// Knows is part of Machine.
func (m *sequenceMachine) Knows(kind string) bool { return sequence.Knows(kind) }

// Apply is part of Machine.
func (m *sequenceMachine) Apply(entry []byte) (Step, *pgerr.Error) {
	cmd, fault := readEntry[sequence.Command](entry)
	if fault != nil {
		return Step{}, fault
	}
	next, changes, answer, fault := sequence.Apply(m.get(), m.cluster.get(), cmd)
	return Step{Statements: sequenceStatements(changes), Commit: func() { m.set(next) }, Answer: answer}, fault
}

// Snapshot is part of Machine.
func (m *sequenceMachine) Snapshot() (json.RawMessage, error) { return writeSnapshot(m.get()) }

// Restore is part of Machine.
func (m *sequenceMachine) Restore(snapshot json.RawMessage) (Step, error) {
	return restore(&m.agreed, snapshot, catalog.DeleteSequenceState(), sequenceRows)
}

// sequenceRows writes a whole state into empty tables.
func sequenceRows(s sequence.State) []ipc.Stmt {
	changes := sequence.Changes{Switches: s.Switches}
	for _, k := range s.Keys {
		changes.Allocations = append(changes.Allocations, k.SequenceAllocation)
		changes.Chunks = append(changes.Chunks, k.Chunks...)
	}
	return sequenceStatements(changes)
}

// sequenceStatements writes changes: what goes makes room first, and sessions hear of
// it last.
func sequenceStatements(c sequence.Changes) []ipc.Stmt {
	var list []ipc.Stmt
	for _, chunk := range c.RemovedChunks {
		list = append(list, catalog.DeleteSequenceChunk(chunk))
	}
	for _, id := range c.RemovedSwitches {
		list = append(list, catalog.DeleteSequenceSwitch(id))
	}
	for _, a := range c.Allocations {
		list = append(list, catalog.UpsertSequenceAllocation(a))
	}
	for _, chunk := range c.Chunks {
		list = append(list, catalog.InsertSequenceChunk(chunk))
	}
	for _, w := range c.Switches {
		list = append(list, catalog.UpsertSequenceSwitch(w))
	}
	if c.Switched != nil {
		list = append(list, catalog.SwitchSequence(*c.Switched))
	}
	if c.ChangedKey != "" {
		list = append(list, catalog.SequenceChanged(c.ChangedKey))
	}
	return list
}
