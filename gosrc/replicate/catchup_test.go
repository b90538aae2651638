package replicate

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"bdr/gosrc/control"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
)

const ourPoint = `{"marker": 1, "progress": {"3": "0/12C"}, "id": "ours"}`

type caughtUp struct {
	point control.CatchUpPoint
	err   error
}

func startCatchUp(t *testing.T, world *fakeWorld, ctx context.Context) chan caughtUp {
	t.Helper()
	result := make(chan caughtUp, 1)
	go func() {
		point, err := CatchUp(ctx, testConfig(), world.deps(), "ours", nil)
		result <- caughtUp{point, err}
	}()
	return result
}

// The joiner may go on only when all before the catch-up point is on disk: it then
// skips what the catch-up point covers.
func TestCatchUpWaitsForTheFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newFakeWorld()
		result := startCatchUp(t, world, t.Context())
		s, w := <-world.streams, <-world.writers
		s.frame(200, frameOf(startup(), transaction(200), note(210, `{"marker": 1, "id": "older"}`)))
		<-w.frames
		s.frame(300, frameOf(transaction(300), note(310, ourPoint)))
		<-w.frames
		w.reports <- ipc.Progress{Applied: 300, Flushed: 200}
		synctest.Wait()
		if len(result) != 0 {
			t.Fatal("ended before the flush")
		}
		w.reports <- ipc.Progress{Applied: 300, Flushed: 300}
		got := <-result
		if got.err != nil || got.point.LSN != 310 || got.point.Joiner != 1 || got.point.Progress[3] != 300 {
			t.Errorf("got %+v", got)
		}
		if s.config.Options["origins"] != "all" || w.setup.Mode != ipc.ModeCatchUp {
			t.Errorf("stream %+v, writer %+v", s.config, w.setup)
		}
	})
}

// A cut connection does not end a join; a slot that is gone does.
func TestCatchUpRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newFakeWorld()
		result := startCatchUp(t, world, t.Context())
		s := <-world.streams
		close(s.messages)
		s = <-world.streams
		world.refuseWith(pgerr.New(pgerr.UndefinedObject, "replication slot does not exist"))
		close(s.messages)
		if got := <-result; pgerr.From(got.err).Code != pgerr.UndefinedObject {
			t.Errorf("got %+v", got)
		}
	})
}

// A join that is cancelled ends its catch-up at once, also between tries.
func TestCatchUpCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newFakeWorld()
		world.refuseWith(errors.New("down"))
		ctx, cancel := context.WithCancel(t.Context())
		result := startCatchUp(t, world, ctx)
		time.Sleep(500 * time.Millisecond)
		cancel()
		if got := <-result; !errors.Is(got.err, context.Canceled) {
			t.Errorf("got %+v", got)
		}
	})
}
