// Package pause waits for a time, or for a condition, or for the end of a context.
package pause

import (
	"context"
	"time"
)

// For waits; false: the context ended first.
func For(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// While tries again, each time after a pause, as long as the error is of that kind; the
// last error stays when the context ends.
func While(ctx context.Context, d time.Duration, again func(error) bool, try func() error) error {
	for {
		if err := try(); err == nil || !again(err) || !For(ctx, d) {
			return err
		}
	}
}

// Until waits until a condition holds, which it looks at again after each change; the
// error is the context's. changed returns a channel that the next change closes.
func Until(ctx context.Context, changed func() <-chan struct{}, met func() bool) error {
	for {
		next := changed()
		if met() {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
