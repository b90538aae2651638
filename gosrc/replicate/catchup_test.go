package replicate

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bdr/gosrc/control"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/stream"
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

// A cut connection does not end a join; a slot that is gone, or of no use, does.
func TestCatchUpRetries(t *testing.T) {
	for _, end := range []error{pgerr.New(pgerr.UndefinedObject, "replication slot does not exist"), &stream.Lost{Slot: "bdr_5_1", Reason: "wal_removed"}} {
		synctest.Test(t, func(t *testing.T) {
			world := newFakeWorld()
			result := startCatchUp(t, world, t.Context())
			s := <-world.streams
			close(s.messages)
			s = <-world.streams
			world.refuseWith(end)
			close(s.messages)
			if got := <-result; pgerr.From(got.err).Code != pgerr.UndefinedObject {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// What an administrator has to do about a slot or a node must be in the error.
func TestExplain(t *testing.T) {
	c := testConfig()
	c.LocalName = "me"
	for _, k := range []struct {
		err  error
		want []string
	}{
		{&stream.Lost{Slot: "s", Reason: "idle_timeout"}, []string{"invalidated (idle_timeout)", "idle_replication_slot_timeout", "part_node('me')"}},
		{&stream.Lost{Slot: "s", Reason: "of a later version"}, []string{"of a later version", "is gone", "part_node('me')"}},
		{&stream.GoneBack{Applied: 20, End: 10, Timeline: 2, Applies: 1}, []string{"ends at 0/A", "up to 0/14", "part_node('b')"}},
		{&stream.GoneBack{Timeline: 1, Applies: 2}, []string{"timeline 1", "timeline 2", "part_node('b')"}},
	} {
		got := pgerr.From(c.explain(k.err))
		all := got.Message + got.Detail + got.Hint
		for _, part := range k.want {
			if got.Code != pgerr.WrongState || !strings.Contains(all, part) {
				t.Errorf("%v: no %q in %s: %s", k.err, part, got.Code, all)
			}
		}
	}
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
