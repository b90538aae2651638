package manager

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// death is told about the first panic; it does not return control to the
// goroutine that died. bdrgo sets it before anything starts.
var death struct {
	mu sync.Mutex
	f  func(name string, reason any, stack []byte)
}

// OnDeath says who hears of a panic in a goroutine. f must end the process or
// get the main thread to do so; when it returns, the goroutine just ends.
func OnDeath(f func(name string, reason any, stack []byte)) {
	death.mu.Lock()
	defer death.mu.Unlock()
	death.f = f
}

// Go starts a goroutine: the only place that does. A panic in it ends the
// manager, and nothing but the manager.
func Go(name string, f func()) {
	go Guard(name, f)
}

// Guard runs f; a panic in it goes where Go's would. For code that runs on a
// thread that C brought.
func Guard(name string, f func()) {
	defer func() {
		if reason := recover(); reason != nil {
			died(name, reason, debug.Stack())
		}
	}()
	f()
}

func died(name string, reason any, stack []byte) {
	death.mu.Lock()
	f := death.f
	death.mu.Unlock()
	if f == nil {
		panic(fmt.Sprintf("goroutine %q: %v\n%s", name, reason, stack))
	}
	f(name, reason, stack)
}
