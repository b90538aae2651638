package statemachine

import (
	"context"
	"encoding/json"

	"bdr/gosrc/catalog"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/repset"
)

// repsetMachine holds what is agreed about replication sets: bdr.replication_set,
// bdr.replication_set_table, _ddl and _call. SQL objects without these
// tables have an empty state: nothing is proposed as long as a node has them.
type repsetMachine struct {
	cluster *clusterMachine // of the same log

	agreed[repset.State]
}

// load reads the tables, where there are any; they came with those of sequences.
func (m *repsetMachine) load(ctx context.Context, runner catalog.Runner) error {
	has, err := catalog.HasSequences(ctx, runner)
	if err != nil || !has {
		return err
	}
	results, err := runner.Run(ctx, catalog.SelectReplicationSets()...)
	if err != nil {
		return err
	}
	rows, err := catalog.ReplicationSets(results)
	m.set(repset.StateOf(rows))
	return err
}

// Knows is part of Machine.
func (m *repsetMachine) Knows(kind string) bool { return repset.Knows(kind) }

// Apply is part of Machine.
func (m *repsetMachine) Apply(entry []byte) (Step, *pgerr.Error) {
	cmd, fault := readEntry[repset.Command](entry)
	if fault != nil {
		return Step{}, fault
	}
	next, changes, fault := repset.Apply(m.get(), m.cluster.get(), cmd)
	return Step{Statements: repsetStatements(changes), Commit: func() { m.set(next) }}, fault
}

// Snapshot is part of Machine.
func (m *repsetMachine) Snapshot() (json.RawMessage, error) { return writeSnapshot(m.get()) }

// Restore is part of Machine.
func (m *repsetMachine) Restore(snapshot json.RawMessage) (Step, error) {
	return restore(&m.agreed, snapshot, catalog.DeleteReplicationSets(), repsetRows)
}

// repsetRows writes a whole state into empty tables.
func repsetRows(s repset.State) []ipc.Stmt {
	var all repset.Changes
	if !s.Empty() {
		all.Calls = &s.ReplicationSetCalls
	}
	for _, t := range s.Sets {
		all.Sets = append(all.Sets, t.ReplicationSet)
		all.Tables = append(all.Tables, t.Tables...)
		all.DDLFilters = append(all.DDLFilters, t.DDLFilters...)
	}
	return repsetStatements(all)
}

// repsetStatements writes changes: what goes makes room first.
func repsetStatements(c repset.Changes) []ipc.Stmt {
	var list []ipc.Stmt
	for _, t := range c.RemovedTables {
		list = append(list, catalog.DeleteReplicationSetTable(t))
	}
	for _, id := range c.RemovedSets {
		list = append(list, catalog.DeleteReplicationSet(id)...)
	}
	if c.RemovedFilter != "" {
		list = append(list, catalog.DeleteDDLFilter(c.RemovedFilter))
	}
	for _, t := range c.Sets {
		list = append(list, catalog.UpsertReplicationSet(t)...)
	}
	if len(c.Tables) > 0 {
		list = append(list, catalog.UpsertReplicationSetTables(c.Tables)...)
	}
	if len(c.DDLFilters) > 0 {
		list = append(list, catalog.InsertDDLFilters(c.DDLFilters))
	}
	if c.Calls != nil {
		list = append(list, catalog.RecordReplicationSetCalls(*c.Calls))
	}
	return list
}
