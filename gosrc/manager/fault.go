//go:build faults

package manager

import (
	"context"
	"runtime"
	"time"

	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
)

// loadDuration is how long a test's load lasts.
const loadDuration = 20 * time.Second

// faults lets tests make a manager die; bdr_go_test.so, which is not installed,
// is built with it.
func faults() map[string]entry {
	return map[string]entry{"internal_debug_fault": {debugFault, true}}
}

func debugFault(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	return ipc.Rows{}, fault(ctx, r.Arg(0))
}

// fault dies in the way that a test asks for, or puts the runtime under load.
func fault(ctx context.Context, kind string) error {
	switch kind {
	case "panic":
		panic("fault injection: panic")
	case "nil":
		var nowhere *pgerr.Error
		nowhere.Message = "fault injection"
	case "throw":
		throw()
	case "load":
		load()
	case "hang":
		<-ctx.Done()
		return ctx.Err()
	default:
		return pgerr.New(pgerr.InvalidParameter, "unknown kind of fault %q", kind).
			WithHint("Use panic, nil, throw, load or hang.")
	}
	return nil
}

// throw writes to a map from several goroutines: the runtime ends the process,
// and no recover can prevent it.
func throw() {
	shared := make(map[int]int)
	for range 4 {
		Go("fault", func() {
			for i := 0; ; i++ {
				shared[i%16] = i
			}
		})
	}
}

// load makes the runtime want to preempt goroutines all the time: tight loops
// without a call, and a collection every 2 ms. With asynchronous preemption it
// would send itself SIGURG, which is PostgreSQL's latch signal.
func load() {
	end := time.Now().Add(loadDuration)
	for range 2 {
		Go("load", func() {
			for time.Now().Before(end) {
				spin(50_000_000)
			}
		})
	}
	Go("load collector", func() {
		for time.Now().Before(end) {
			runtime.GC()
			time.Sleep(2 * time.Millisecond)
		}
	})
}

// spin has no call in its loop, so only a signal could preempt it.
func spin(n int) (sum int) {
	for i := range n {
		sum += i ^ n
	}
	return sum
}
