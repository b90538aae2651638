package replicate

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"bdr/gosrc/hand"
	"bdr/gosrc/pgerr"
)

const ourMarker = `{"marker": 1, "progress": {"3": "0/12C"}, "id": "ours"}`

type mirrored struct {
	marker Marker
	err    error
}

func startMirror(t *testing.T, world *fakeWorld, ctx context.Context) chan mirrored {
	t.Helper()
	result := make(chan mirrored, 1)
	go func() {
		marker, err := Mirror(ctx, testConfig(), world.deps(), "ours", nil)
		result <- mirrored{marker, err}
	}()
	return result
}

// The joiner may go on only when all before the marker is on disk: it then
// skips what the marker covers.
func TestMirrorWaitsForTheFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newFakeWorld()
		result := startMirror(t, world, t.Context())
		s, w := <-world.streams, <-world.writers
		s.frame(200, frameOf(startup(), transaction(200), note(210, `{"marker": 1, "id": "older"}`)))
		<-w.frames
		s.frame(300, frameOf(transaction(300), note(310, ourMarker)))
		<-w.frames
		w.reports <- hand.Progress{Applied: 300, Flushed: 200}
		synctest.Wait()
		if len(result) != 0 {
			t.Fatal("ended before the flush")
		}
		w.reports <- hand.Progress{Applied: 300, Flushed: 300}
		got := <-result
		if got.err != nil || got.marker.LSN != 310 || got.marker.Joiner != 1 || got.marker.Progress[3] != 300 {
			t.Errorf("got %+v", got)
		}
		if s.config.Options["origins"] != "all" || w.setup.Mode != hand.ModeMirror {
			t.Errorf("stream %+v, writer %+v", s.config, w.setup)
		}
	})
}

// A cut connection does not end a join; a slot that is gone does.
func TestMirrorRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newFakeWorld()
		result := startMirror(t, world, t.Context())
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

// A join that is cancelled ends its mirror at once, also between tries.
func TestMirrorCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newFakeWorld()
		world.refuseWith(errors.New("down"))
		ctx, cancel := context.WithCancel(t.Context())
		result := startMirror(t, world, ctx)
		time.Sleep(500 * time.Millisecond)
		cancel()
		if got := <-result; !errors.Is(got.err, context.Canceled) {
			t.Errorf("got %+v", got)
		}
	})
}
