package consensus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

const (
	storeFile         = "raft.db"
	storeLockTimeout  = 10 * time.Second
	snapshotsRetained = 2
)

// store is raft's log and its few numbers in one bolt file, and the snapshots
// beside it. A panic of bolt on a damaged file becomes an error.
type store struct {
	bolt      *raftboltdb.BoltStore
	snapshots *raft.FileSnapshotStore
}

// openStore creates dir if needed. Bolt locks its file: it waits, with a
// limit, for a manager that is about to end.
func openStore(dir string, logger hclog.Logger) (s *store, err error) {
	defer contain("open consensus store", &err)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, snapshotsRetained, logger)
	if err != nil {
		return nil, fmt.Errorf("open consensus snapshots in %q: %w", dir, err)
	}
	path := filepath.Join(dir, storeFile)
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &bbolt.Options{Timeout: storeLockTimeout}})
	if err != nil {
		return nil, fmt.Errorf("open consensus log %q: %w", path, err)
	}
	return &store{bolt: bolt, snapshots: snapshots}, nil
}

// HasStore says whether a node has been a member here.
func HasStore(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, storeFile))
	return err == nil
}

// RemoveStore deletes the files of a node that is no longer a member.
func RemoveStore(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove consensus files in %q: %w", dir, err)
	}
	return nil
}

func (s *store) close() (err error) {
	defer contain("close consensus store", &err)
	return s.bolt.Close()
}

// FirstIndex, LastIndex, GetLog, StoreLog, StoreLogs and DeleteRange are
// raft.LogStore; Set, Get, SetUint64 and GetUint64 are raft.StableStore.

// FirstIndex returns the first index in the log.
func (s *store) FirstIndex() (index uint64, err error) {
	defer contain("read consensus log", &err)
	return s.bolt.FirstIndex()
}

// LastIndex returns the last index in the log.
func (s *store) LastIndex() (index uint64, err error) {
	defer contain("read consensus log", &err)
	return s.bolt.LastIndex()
}

// GetLog reads one entry.
func (s *store) GetLog(index uint64, entry *raft.Log) (err error) {
	defer contain("read consensus log", &err)
	return s.bolt.GetLog(index, entry)
}

// StoreLog appends one entry.
func (s *store) StoreLog(entry *raft.Log) error { return s.StoreLogs([]*raft.Log{entry}) }

// StoreLogs appends entries.
func (s *store) StoreLogs(entries []*raft.Log) (err error) {
	defer contain("write consensus log", &err)
	return s.bolt.StoreLogs(entries)
}

// DeleteRange removes entries from first to last.
func (s *store) DeleteRange(first, last uint64) (err error) {
	defer contain("write consensus log", &err)
	return s.bolt.DeleteRange(first, last)
}

// Set stores a value.
func (s *store) Set(key, value []byte) (err error) {
	defer contain("write consensus store", &err)
	return s.bolt.Set(key, value)
}

// Get reads a value.
func (s *store) Get(key []byte) (value []byte, err error) {
	defer contain("read consensus store", &err)
	value, err = s.bolt.Get(key)
	return value, missingKey(err)
}

// SetUint64 stores a number.
func (s *store) SetUint64(key []byte, value uint64) (err error) {
	defer contain("write consensus store", &err)
	return s.bolt.SetUint64(key, value)
}

// GetUint64 reads a number.
func (s *store) GetUint64(key []byte) (value uint64, err error) {
	defer contain("read consensus store", &err)
	value, err = s.bolt.GetUint64(key)
	return value, missingKey(err)
}

// missingKey keeps the text by which raft knows that a key is not there.
func missingKey(err error) error {
	if errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return raftboltdb.ErrKeyNotFound
	}
	return err
}
