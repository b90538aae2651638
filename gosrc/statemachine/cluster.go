package statemachine

import (
	"encoding/json"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
)

// clusterMachine holds the group and its nodes: bdr.node_group and bdr.node.
type clusterMachine struct {
	local uint32 // id of this node

	agreed[cluster.Cluster]
}

// put replaces one node in what is agreed by now.
func (m *clusterMachine) put(n catalog.Node) {
	m.change(func(c cluster.Cluster) cluster.Cluster { return c.WithNode(n) })
}

// Knows is part of Machine.
func (m *clusterMachine) Knows(kind string) bool { return cluster.Knows(cluster.Kind(kind)) }

// Apply is part of Machine.
func (m *clusterMachine) Apply(entry []byte) (Step, *pgerr.Error) {
	cmd, fault := readEntry[cluster.Command](entry)
	if fault != nil {
		return Step{}, fault
	}
	before := m.get()
	next, changes, answer, fault := cluster.Apply(before, cmd)
	return Step{Statements: append(statements(changes), m.tellSessions(before, next)...), Commit: func() { m.set(next) }, Answer: answer}, fault
}

// Snapshot is part of Machine.
func (m *clusterMachine) Snapshot() (json.RawMessage, error) { return json.Marshal(m.get()) }

// Restore is part of Machine.
func (m *clusterMachine) Restore(snapshot json.RawMessage) (Step, error) {
	c, err := readSnapshot[cluster.Cluster](snapshot)
	if err != nil {
		return Step{}, err
	}
	replace := append([]ipc.Stmt{catalog.DeleteGroupedNodes(), catalog.DeleteGroups()},
		statements(cluster.Changes{Groups: c.Groups, Nodes: c.Nodes})...)
	replace = append(replace, m.tellSessions(m.get(), c)...)
	return Step{Statements: replace, Commit: func() { m.set(c) }}, nil
}

// clusterOf decodes groups and nodes.
func clusterOf(groups, nodes ipc.Result) (cluster.Cluster, error) {
	var c cluster.Cluster
	var err error
	if c.Groups, err = catalog.Groups(groups); err != nil {
		return c, err
	}
	all, err := catalog.Nodes(nodes)
	for _, n := range all {
		if n.GroupID != 0 {
			c.Nodes = append(c.Nodes, n)
		}
	}
	return c, err
}

// statements writes changes: what goes makes room first.
func statements(c cluster.Changes) []ipc.Stmt {
	var list []ipc.Stmt
	for _, id := range c.Removed {
		list = append(list, catalog.DeleteNode(id))
	}
	for _, g := range c.Groups {
		list = append(list, catalog.UpsertGroup(g)...)
	}
	for _, n := range c.Nodes {
		list = append(list, catalog.UpsertNode(n)...)
	}
	return list
}

// tellSessions has them read again which node this is, when that has changed.
func (m *clusterMachine) tellSessions(before, after cluster.Cluster) []ipc.Stmt {
	was, _ := before.Node(m.local)
	is, _ := after.Node(m.local)
	if was.GroupID == is.GroupID && was.SeqID == is.SeqID && was.State == is.State {
		return nil
	}
	return []ipc.Stmt{catalog.ForgetNodeNumber()}
}
