package replicate

import (
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
)

// running is a pump between fakes.
type running struct {
	pump   *pump
	stream *fakeStream
	writer *fakeWriter
	cancel context.CancelFunc
	result chan error
}

func startPump(t *testing.T, changes ...func(*pump)) *running {
	s, w := newFakeStream(), newFakeWriter()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{pump: newPump(newFakeWorld().deps(), "sub", s, w, 100), stream: s, writer: w, cancel: cancel, result: make(chan error, 1)}
	for _, change := range changes {
		change(r.pump)
	}
	go func() { r.result <- r.pump.run(ctx) }()
	return r
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	if err := <-r.result; !errors.Is(err, context.Canceled) {
		t.Errorf("pump ended with %v", err)
	}
}

func (r *running) expect(t *testing.T, write, flush, apply lsn.LSN) {
	t.Helper()
	synctest.Wait()
	if c := r.stream.last(); c.write != write || c.flush != flush || c.apply != apply {
		t.Fatalf("confirmed %+v, want write %d flush %d apply %d", c, write, flush, apply)
	}
}

// What the sender hears must follow the writer's flush, soon but not before.
func TestPumpConfirmsWhatIsFlushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startPump(t)
		defer r.stop(t)
		r.stream.frame(200, frameOf(startup(), transaction(200)))
		<-r.writer.frames
		r.writer.reports <- ipc.Progress{Applied: 200, Flushed: 100}
		time.Sleep(confirmSpacing)
		r.expect(t, 200, 100, 200)
		r.writer.reports <- ipc.Progress{Applied: 200, Flushed: 200}
		time.Sleep(confirmSpacing)
		r.expect(t, 200, 200, 200)
		r.stream.keepalive(300, false)
		time.Sleep(confirmSpacing)
		r.expect(t, 300, 300, 300)
	})
}

// Many reports in a moment make one confirmation.
func TestPumpCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startPump(t)
		defer r.stop(t)
		r.stream.frame(0, frameOf(startup()))
		<-r.writer.frames
		for end := lsn.LSN(101); end <= 600; end++ {
			r.writer.reports <- ipc.Progress{Applied: end, Flushed: end}
		}
		time.Sleep(2 * confirmSpacing)
		r.expect(t, 600, 600, 600)
		if n := len(r.stream.confirmations()); n > 3 {
			t.Errorf("%d confirmations", n)
		}
	})
}

// A sender that asks must get its answer at once, or it ends the connection.
func TestPumpAnswersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startPump(t)
		defer r.stop(t)
		asked := time.Now()
		r.stream.keepalive(100, true)
		synctest.Wait()
		if c := r.stream.last(); !c.at.Equal(asked) {
			t.Errorf("answered %s later", c.at.Sub(asked))
		}
	})
}

// An idle stream is confirmed every ten seconds and no more.
func TestPumpIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startPump(t)
		defer r.stop(t)
		time.Sleep(25 * time.Second)
		synctest.Wait()
		if n := len(r.stream.confirmations()); n != 2 {
			t.Errorf("%d confirmations in 25 s", n)
		}
	})
}

// A sender that is impatient hears from us three times before it gives up,
// however busy the writer is.
func TestPumpReplyInterval(t *testing.T) {
	for patience, want := range map[string]time.Duration{"60s": confirmIdle, "0": confirmIdle, "": confirmIdle, "1min": confirmIdle,
		"3s": time.Second, "30": confirmIdleMin} {
		if got := idleOf(patience); got != want {
			t.Errorf("%q: every %s, expected %s", patience, got, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		r := startPump(t, func(p *pump) { p.idle = time.Second })
		defer r.stop(t)
		r.stream.frame(0, frameOf(startup(), begin(200)))
		time.Sleep(9500 * time.Millisecond) // nobody takes the frame
		if n := len(r.stream.confirmations()); n != 9 {
			t.Errorf("%d confirmations", n)
		}
		<-r.writer.frames
	})
}

// Who waits for a silent peer for ever gets what he wants.
func TestPumpSilenceIsAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startPump(t, func(p *pump) { p.silence = func() time.Duration { return 0 } })
		defer r.stop(t)
		time.Sleep(time.Hour)
		if c := r.stream.last(); c.ask {
			t.Error("it asks")
		}
	})
}

// A dead network says nothing: after half the time we ask, after all of it we
// connect again.
func TestPumpSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startPump(t)
		began := time.Now()
		err := <-r.result
		if pgerr.From(err).Code != pgerr.ConnectionFailure || time.Since(began) != silenceDefault {
			t.Fatalf("ended after %s with %v", time.Since(began), err)
		}
		for _, c := range r.stream.confirmations() {
			if late := c.at.Sub(began) >= silenceDefault/2; c.ask != late {
				t.Errorf("after %s: asked %v", c.at.Sub(began), c.ask)
			}
		}
	})
}

// A writer that waits for a lock blocks the stream, which must neither queue
// frames nor take the sender for dead.
func TestPumpBackpressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startPump(t)
		defer r.stop(t)
		r.stream.frame(0, frameOf(startup(), begin(200)))
		synctest.Wait()
		select {
		case r.stream.messages <- keepaliveAt(100):
			t.Fatal("a second message was read while the writer is blocked")
		case <-time.After(10 * silenceDefault):
		}
		<-r.writer.frames
		r.stream.frame(200, frameOf(commit(200)))
		<-r.writer.frames
	})
}

// The user must see what the writer says, not that its socket broke.
func TestPumpPrefersTheWritersFault(t *testing.T) {
	tests := []struct {
		name  string
		fault error
		want  string
	}{
		{"fault", pgerr.New("23502", "null value in column"), "null value in column"},
		{"death", io.EOF, "ended unexpectedly"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := startPump(t)
				r.stream.frame(200, frameOf(startup(), transaction(200)))
				synctest.Wait()
				close(r.writer.broken)
				time.Sleep(time.Millisecond)
				r.writer.fault <- test.fault
				if err := <-r.result; !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// A conflict is answered on its own connection, also while a frame blocks.
func TestPumpDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startPump(t)
		defer r.stop(t)
		r.stream.frame(0, frameOf(startup(), begin(200)))
		newer := ipc.Version{Known: true, Time: 6, Node: 2}
		r.writer.questions <- ipc.Facts{Operation: 1, Image: 1, Remote: newer, Constraints: []byte{1, 1},
			Found: []ipc.Found{{Live: true, On: []int{1}, Version: ipc.Version{Known: true, Time: 5, Node: 1}}}}
		want := ipc.Plan{Type: 1, Action: 4, Resolution: "apply_remote", Rule: "later_commit_wins", Fates: []byte{4}}
		if got := <-r.writer.answers; !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		r.writer.questions <- ipc.Conflict{Type: 6, Remote: newer, Complete: true}
		if got, want := <-r.writer.answers, (ipc.Decision{Action: 1, Resolution: "apply_remote", Rule: "missing_column_is_null"}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// Bytes that are no frame end the connection before a writer sees them.
func TestPumpRefusesBadFrames(t *testing.T) {
	tests := map[string][]byte{
		"not_a_frame":              []byte("hello"),
		"commit_without_begin":     frameOf(startup(), commit(200)),
		"transaction_in_another":   frameOf(startup(), begin(200), begin(300)),
		"message_longer_than_sent": frameOf([]byte{'S', 0, 0, 1, 0}),
	}
	for name, payload := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := startPump(t)
				r.stream.frame(200, payload)
				if err := <-r.result; err == nil || !strings.Contains(err.Error(), "read frame") {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}
