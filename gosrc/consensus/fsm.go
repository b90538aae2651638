package consensus

import (
	"context"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"bdr/gosrc/pgerr"
)

const (
	applyRetryDelayMin = 100 * time.Millisecond
	applyRetryDelayMax = 5 * time.Second
)

// Machine is what the log entries are applied to. Its methods are called by
// one goroutine at a time, except Applied.
type Machine interface {
	// Applied returns the index of the last entry that was carried out.
	Applied() uint64
	// Check says why an entry must not be proposed: this node does not know it.
	Check(entry []byte) *pgerr.Error
	// Apply carries out one entry and records its index, both or neither. An
	// error is one of storage: the entry is tried again.
	Apply(ctx context.Context, index, term uint64, entry []byte) (Answer, error)
	// Snapshot returns everything that Apply has made.
	Snapshot() ([]byte, error)
	// Restore replaces everything by a snapshot, unless it is older.
	Restore(ctx context.Context, snapshot []byte) error
}

// Answer goes to whoever proposed an entry.
type Answer struct {
	Value string
	Fault *pgerr.Error
}

// fsm is raft.FSM: it never skips an entry. After a shutdown began it takes no
// more, for the one that could not be carried out must come first next time.
type fsm struct {
	machine Machine
	ctx     context.Context // ends at shutdown
	log     LogFunc
	changed func()
}

// Apply is called by raft for each committed entry, in order.
func (f *fsm) Apply(entry *raft.Log) any {
	if entry.Index <= f.machine.Applied() {
		return Answer{}
	}
	var answer Answer
	err := f.retry("carry out consensus entry", func() (err error) {
		defer contain("carry out consensus entry", &err)
		answer, err = f.machine.Apply(f.ctx, entry.Index, entry.Term, entry.Data)
		return err
	})
	if err != nil {
		return err
	}
	f.changed()
	return answer
}

// Restore is called by raft at start, and when the leader sent a snapshot.
func (f *fsm) Restore(snapshot io.ReadCloser) error {
	defer snapshot.Close()
	content, err := io.ReadAll(io.LimitReader(snapshot, messageBytesMax))
	if err != nil {
		return err
	}
	err = f.retry("restore consensus snapshot", func() (err error) {
		defer contain("restore consensus snapshot", &err)
		return f.machine.Restore(f.ctx, content)
	})
	f.changed()
	return err
}

// Snapshot is called by raft between two entries.
func (f *fsm) Snapshot() (snapshot raft.FSMSnapshot, err error) {
	defer contain("take consensus snapshot", &err)
	content, err := f.machine.Snapshot()
	return fsmSnapshot(content), err
}

// retry repeats try until it works or the shutdown begins.
func (f *fsm) retry(doing string, try func() error) error {
	for delay := applyRetryDelayMin; ; delay = min(2*delay, applyRetryDelayMax) {
		if f.ctx.Err() != nil {
			return errShutdown()
		}
		err := try()
		if err == nil {
			return nil
		}
		f.log("WARNING", "could not "+doing+", will try again: "+err.Error())
		select {
		case <-time.After(delay):
		case <-f.ctx.Done():
		}
	}
}

type fsmSnapshot []byte

// Persist writes the snapshot to raft's file.
func (s fsmSnapshot) Persist(sink raft.SnapshotSink) (err error) {
	defer contain("write consensus snapshot", &err)
	if _, err := sink.Write(s); err != nil {
		_ = sink.Cancel()
		return err
	}
	return sink.Close()
}

// Release has nothing to release.
func (s fsmSnapshot) Release() {}
