// Package statemachine carries out the entries of the Raft log on this node. One
// log serves several machines, each with a part of the cluster's state: an entry
// belongs to the machine that the prefix of its kind names. What an entry does is
// written to the tables of this database together with its index, both or
// neither.
package statemachine

import (
	"context"
	"encoding/json"
	"strings"
	"sync"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/consensus"
	"bdr/gosrc/globallock"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/repset"
	"bdr/gosrc/sequence"
)

// A Machine holds one part of the state. It is called by one goroutine at a time.
type Machine interface {
	// Knows says whether a kind of entries is one of this version's.
	Knows(kind string) bool
	// Apply says what an entry does. A refused entry does nothing, on every node
	// alike, and the error is for its proposer.
	Apply(entry []byte) (Step, *pgerr.Error)
	// Snapshot returns everything that Apply has made; nil, if that is nothing, is
	// left out, since an older version may not know the machine.
	Snapshot() (json.RawMessage, error)
	// Restore says what replaces everything; nil is the state before any entry.
	Restore(snapshot json.RawMessage) (Step, error)
}

// A Step is what changes in the tables and, once that has been committed, in
// memory.
type Step struct {
	Statements []ipc.Stmt
	Commit     func() // may be nil
	Answer     string // for the proposer
}

func (s Step) commit() {
	if s.Commit != nil {
		s.Commit()
	}
}

// Ledger is consensus.Machine: it knows up to which entry all is carried out,
// and hands each on.
type Ledger struct {
	runner   catalog.Runner
	nodeID   uint32
	cluster  *clusterMachine
	sequence *sequenceMachine
	lock     *lockMachine
	repset   *repsetMachine
	machines map[string]Machine // by the prefix of kinds

	mu      sync.Mutex
	applied catalog.Applied
}

// clusterPrefix is what the cluster's own entries begin with: theirs are the
// kinds without a prefix.
const clusterPrefix = ""

// snapshotContent is the JSON of a consensus snapshot.
type snapshotContent struct {
	Version  int                        `json:"version"`
	Applied  catalog.Applied            `json:"applied"`
	Cluster  json.RawMessage            `json:"cluster"`
	Machines map[string]json.RawMessage `json:"machines,omitempty"` // the others, by prefix
}

const snapshotVersion = 1

// Load reads the tables. The record of a local node that is not a member of a
// group is not part of the cluster.
func Load(ctx context.Context, runner catalog.Runner, nodeID uint32) (*Ledger, error) {
	results, err := runner.Run(ctx, catalog.SelectGroups(), catalog.SelectNodes(), catalog.SelectApplied())
	if err != nil {
		return nil, err
	}
	l := &Ledger{runner: runner, nodeID: nodeID, cluster: &clusterMachine{local: nodeID}}
	l.sequence = &sequenceMachine{cluster: l.cluster}
	l.lock = &lockMachine{cluster: l.cluster}
	l.repset = &repsetMachine{cluster: l.cluster}
	l.machines = map[string]Machine{clusterPrefix: l.cluster, sequence.Prefix: l.sequence, globallock.Prefix: l.lock, repset.Prefix: l.repset}
	members, err := clusterOf(results[0], results[1])
	if err != nil {
		return nil, err
	}
	l.cluster.set(members)
	if err := l.sequence.load(ctx, runner); err != nil {
		return nil, err
	}
	if err := l.lock.load(ctx, runner); err != nil {
		return nil, err
	}
	if err := l.repset.load(ctx, runner); err != nil {
		return nil, err
	}
	l.applied, err = catalog.AppliedOf(results[2])
	return l, err
}

// Cluster returns the agreed state of the cluster.
func (l *Ledger) Cluster() cluster.Cluster { return l.cluster.get() }

// Sequences returns what is agreed about sequences.
func (l *Ledger) Sequences() sequence.State { return l.sequence.get() }

// GlobalLocks returns what is agreed about global locks.
func (l *Ledger) GlobalLocks() globallock.State { return l.lock.get() }

// ReplicationSets returns what is agreed about replication sets.
func (l *Ledger) ReplicationSets() repset.State { return l.repset.get() }

// Applied is part of consensus.Machine.
func (l *Ledger) Applied() uint64 { return l.position().Index }

func (l *Ledger) position() catalog.Applied {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.applied
}

// Check is part of consensus.Machine.
func (l *Ledger) Check(entry []byte) *pgerr.Error {
	if kind, ok := kindOf(entry); ok && !l.knows(kind) {
		return cluster.UnknownCommand(kind)
	}
	return nil
}

// kindOf reads what an entry is; false: it cannot be read.
func kindOf(entry []byte) (string, bool) {
	var head struct {
		Kind string `json:"kind"`
	}
	err := json.Unmarshal(entry, &head)
	return head.Kind, err == nil
}

func (l *Ledger) knows(kind string) bool {
	machine, known := l.machines[prefixOf(kind)]
	return known && machine.Knows(kind)
}

// Apply is part of consensus.Machine. An entry that cannot be read is refused
// on every node alike, and counts as carried out. One of a newer version is not
// refused everywhere: nothing goes on here until this node has that version, for
// what it left out would be missing for good.
func (l *Ledger) Apply(ctx context.Context, index, term uint64, entry []byte) (consensus.Answer, error) {
	if fault := l.Check(entry); fault != nil {
		return consensus.Answer{}, fault
	}
	step, fault := l.step(index, entry)
	if err := l.run(ctx, catalog.Applied{Index: index, Term: term}, step); err != nil {
		return consensus.Answer{}, err
	}
	return consensus.Answer{Value: step.Answer, Fault: fault}, nil
}

// step has the machine of an entry say what it does.
func (l *Ledger) step(index uint64, entry []byte) (Step, *pgerr.Error) {
	kind, ok := kindOf(entry)
	if !ok {
		return Step{}, pgerr.New(pgerr.ProtocolViolation, "consensus entry %d cannot be read", index)
	}
	return l.machines[prefixOf(kind)].Apply(entry)
}

// prefixOf names the machine of a kind such as "sequence/allocate".
func prefixOf(kind string) string {
	prefix, _, found := strings.Cut(kind, "/")
	if !found {
		return clusterPrefix
	}
	return prefix
}

// run carries steps out, together, and records up to where all is carried out.
func (l *Ledger) run(ctx context.Context, applied catalog.Applied, steps ...Step) error {
	var statements []ipc.Stmt
	for _, s := range steps {
		statements = append(statements, s.Statements...)
	}
	if _, err := l.runner.Run(ctx, append(statements, catalog.RecordApplied(l.nodeID, applied))...); err != nil {
		return err
	}
	for _, s := range steps {
		s.commit()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.applied = applied
	return nil
}

// Snapshot is part of consensus.Machine.
func (l *Ledger) Snapshot() ([]byte, error) {
	content := snapshotContent{Version: snapshotVersion, Applied: l.position(), Machines: map[string]json.RawMessage{}}
	for prefix, machine := range l.machines {
		part, err := machine.Snapshot()
		if err != nil {
			return nil, err
		}
		if prefix == clusterPrefix {
			content.Cluster = part
		} else if part != nil {
			content.Machines[prefix] = part
		}
	}
	return json.Marshal(content)
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
	steps, err := l.restored(content)
	if err != nil {
		return err
	}
	return l.run(ctx, content.Applied, steps...)
}

func (l *Ledger) restored(content snapshotContent) ([]Step, error) {
	for prefix := range content.Machines {
		if _, known := l.machines[prefix]; !known {
			return nil, cluster.UnknownCommand(prefix + "/...")
		}
	}
	var steps []Step
	for prefix, machine := range l.machines {
		part := content.Machines[prefix]
		if prefix == clusterPrefix {
			part = content.Cluster
		}
		step, err := machine.Restore(part)
		if err != nil {
			return nil, pgerr.New(pgerr.DataCorrupted, "consensus snapshot cannot be read: %w", err)
		}
		steps = append(steps, step)
	}
	return steps, nil
}

// PartLocal records that the local node has been parted, outside of the log,
// which may no longer reach it. Nothing is applied afterwards.
func (l *Ledger) PartLocal(ctx context.Context) error {
	n, known := l.Cluster().Node(l.nodeID)
	if !known || n.State == cluster.Parted {
		return nil
	}
	if _, err := l.runner.Run(ctx, catalog.SetNodeState(n.ID, cluster.Parted, cluster.Parted), catalog.ForgetNodeNumber()); err != nil {
		return err
	}
	n.State, n.Target = cluster.Parted, cluster.Parted
	l.cluster.put(n)
	return nil
}
