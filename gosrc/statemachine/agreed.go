package statemachine

import (
	"encoding/json"
	"sync"

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

// readSnapshot reads a machine's part of a snapshot; nil is the state before any entry.
func readSnapshot[T any](snapshot json.RawMessage) (T, error) {
	var state T
	if snapshot == nil {
		return state, nil
	}
	err := json.Unmarshal(snapshot, &state)
	return state, err
}
