package statemachine

import (
	"encoding/json"
	"sync"

	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
)

// agreed is one part of the state. One goroutine changes it, any may read it.
type agreed[T any] struct {
	mu    sync.Mutex
	value T
}

func (a *agreed[T]) get() T {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.value
}

func (a *agreed[T]) set(value T) {
	a.change(func(T) T { return value })
}

func (a *agreed[T]) change(to func(T) T) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.value = to(a.value)
}

// readEntry reads an entry of the log.
func readEntry[T any](entry []byte) (T, *pgerr.Error) {
	var cmd T
	if err := json.Unmarshal(entry, &cmd); err != nil {
		return cmd, pgerr.New(pgerr.ProtocolViolation, "consensus entry cannot be read: %w", err)
	}
	return cmd, nil
}

// A part that was never agreed on has no rows, and its tables may not be there.
type part interface{ Empty() bool }

// writeSnapshot is a machine's part of a snapshot; nil is the state before any entry.
func writeSnapshot[T part](state T) (json.RawMessage, error) {
	if state.Empty() {
		return nil, nil
	}
	return json.Marshal(state)
}

// restore replaces what is agreed, and its rows, by a snapshot. The tables are left alone
// where there is nothing to do.
func restore[T part](a *agreed[T], snapshot json.RawMessage, remove []ipc.Stmt, rows func(T) []ipc.Stmt) (Step, error) {
	state, err := readSnapshot[T](snapshot)
	if err != nil {
		return Step{}, err
	}
	var replace []ipc.Stmt
	if !a.get().Empty() || !state.Empty() {
		replace = append(remove, rows(state)...)
	}
	return Step{Statements: replace, Commit: func() { a.set(state) }}, nil
}

// readSnapshot reads a machine's part of a snapshot; nil is the state before any entry.
func readSnapshot[T any](snapshot json.RawMessage) (T, error) {
	var state T
	if snapshot == nil {
		return state, nil
	}
	err := json.Unmarshal(snapshot, &state)
	return state, err
}
