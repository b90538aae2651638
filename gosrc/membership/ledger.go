package membership

import (
	"context"
	"encoding/json"
	"sync"

	"bdr/gosrc/catalog"
	"bdr/gosrc/consensus"
	"bdr/gosrc/hand"
	"bdr/gosrc/pgerr"
)

// Ledger is the consensus machine: the cluster's state in memory and, always
// together with the index of the last entry, in the tables of this database.
type Ledger struct {
	runner catalog.Runner
	nodeID uint32

	mu      sync.Mutex
	cluster Cluster
	applied catalog.Applied
}

// snapshotContent is the JSON of a consensus snapshot.
type snapshotContent struct {
	Version int             `json:"version"`
	Applied catalog.Applied `json:"applied"`
	Cluster Cluster         `json:"cluster"`
}

const snapshotVersion = 1

// LoadLedger reads the tables. The record of a local node that is not a member
// of a group is not part of the cluster.
func LoadLedger(ctx context.Context, runner catalog.Runner, nodeID uint32) (*Ledger, error) {
	results, err := runner.Run(ctx, catalog.SelectGroups(), catalog.SelectNodes(), catalog.SelectApplied())
	if err != nil {
		return nil, err
	}
	l := &Ledger{runner: runner, nodeID: nodeID}
	if l.cluster, err = clusterOf(results[0], results[1]); err != nil {
		return nil, err
	}
	l.applied, err = catalog.AppliedOf(results[2])
	return l, err
}

// clusterOf decodes groups and nodes.
func clusterOf(groups, nodes hand.Result) (Cluster, error) {
	var c Cluster
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

// Cluster returns the agreed state.
func (l *Ledger) Cluster() Cluster {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cluster
}

// Applied is part of consensus.Machine.
func (l *Ledger) Applied() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.applied.Index
}

// Apply is part of consensus.Machine. An entry that cannot be read is refused
// on every node alike, and counts as carried out.
func (l *Ledger) Apply(ctx context.Context, index, term uint64, entry []byte) (consensus.Answer, error) {
	var cmd Command
	var changes Changes
	var answer consensus.Answer
	next := l.Cluster()
	if err := json.Unmarshal(entry, &cmd); err != nil {
		answer.Fault = pgerr.New(pgerr.ProtocolViolation, "consensus entry %d cannot be read: %w", index, err)
	} else {
		next, changes, answer.Value, answer.Fault = Apply(next, cmd)
	}
	applied := catalog.Applied{Index: index, Term: term}
	if _, err := l.runner.Run(ctx, append(statements(changes), catalog.RecordApplied(l.nodeID, applied))...); err != nil {
		return consensus.Answer{}, err
	}
	l.set(next, applied)
	return answer, nil
}

// statements writes changes: what goes makes room first.
func statements(c Changes) []hand.Stmt {
	var list []hand.Stmt
	for _, id := range c.Removed {
		list = append(list, catalog.DeleteNode(id))
	}
	for _, g := range c.Groups {
		list = append(list, catalog.UpsertGroup(g))
	}
	for _, n := range c.Nodes {
		list = append(list, catalog.UpsertNode(n)...)
	}
	return list
}

func (l *Ledger) set(c Cluster, applied catalog.Applied) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cluster, l.applied = c, applied
}

// Snapshot is part of consensus.Machine.
func (l *Ledger) Snapshot() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return json.Marshal(snapshotContent{Version: snapshotVersion, Applied: l.applied, Cluster: l.cluster})
}

// Restore is part of consensus.Machine. Tables that are at the snapshot or
// beyond it stay: this is how a restart finds them.
func (l *Ledger) Restore(ctx context.Context, snapshot []byte) error {
	var content snapshotContent
	if err := json.Unmarshal(snapshot, &content); err != nil {
		return pgerr.New(pgerr.DataCorrupted, "consensus snapshot cannot be read: %w", err)
	}
	if content.Version != snapshotVersion {
		return pgerr.New(pgerr.FeatureNotSupported, "consensus snapshot has unknown version %d", content.Version).
			WithHint("Install the same version of bdr on every node.")
	}
	if content.Applied.Index <= l.Applied() {
		return nil
	}
	replace := append([]hand.Stmt{catalog.DeleteGroupedNodes(), catalog.DeleteGroups()},
		statements(Changes{Groups: content.Cluster.Groups, Nodes: content.Cluster.Nodes})...)
	if _, err := l.runner.Run(ctx, append(replace, catalog.RecordApplied(l.nodeID, content.Applied))...); err != nil {
		return err
	}
	l.set(content.Cluster, content.Applied)
	return nil
}

// partLocal records that the local node has been parted, outside of the log,
// which may no longer reach it. Nothing is applied afterwards.
func (l *Ledger) partLocal(ctx context.Context) error {
	cluster := l.Cluster()
	n, known := cluster.Node(l.nodeID)
	if !known || n.State == Parted {
		return nil
	}
	if _, err := l.runner.Run(ctx, catalog.SetNodeState(n.ID, Parted, Parted)); err != nil {
		return err
	}
	n.State, n.Target = Parted, Parted
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cluster = l.cluster.withNode(n)
	return nil
}
