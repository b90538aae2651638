package replicate

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bdr/gosrc/ipc"
	"bdr/gosrc/wire"
)

// startHandedOff is a pump that has handed off its stream to the writer.
func startHandedOff(t *testing.T) *running {
	t.Helper()
	r := startPump(t)
	r.stream.mu.Lock()
	r.stream.transferable = true
	r.stream.mu.Unlock()
	r.pump.handsOff = true
	r.stream.frame(0, frameOf(startup()))
	<-r.writer.frames
	<-r.writer.handoffs
	return r
}

func watermark(time uint64) []byte {
	return messageOf('W', append([]byte{0, 0, 0, 0, 0, 0, 0, byte(time)}, make([]byte, 8)...))
}

// What a writer reads itself is confirmed as what it is sent.
func TestLentStreamIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startHandedOff(t)
		defer r.stop(t)
		r.writer.reports <- ipc.Progress{Applied: 200, Flushed: 100}
		time.Sleep(confirmSpacing)
		r.expect(t, 200, 100, 200)
		r.writer.reports <- ipc.Progress{Applied: 200, Flushed: 100, Keepalive: 300}
		time.Sleep(confirmSpacing)
		r.expect(t, 300, 100, 300) // 200 is not on disk
		r.writer.reports <- ipc.Progress{Applied: 200, Flushed: 200}
		time.Sleep(confirmSpacing)
		r.expect(t, 300, 300, 300)
	})
}

// The writer hears the sender ask, and we answer; it does not hear it, and we ask.
func TestLentStreamAnswersAndAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startHandedOff(t)
		defer r.stop(t)
		synctest.Wait()
		before := len(r.stream.confirmations())
		r.writer.reports <- ipc.Heard{ReplyRequested: true}
		synctest.Wait()
		if all := r.stream.confirmations(); len(all) != before+1 || all[before].ask {
			t.Fatalf("answered %+v", all[before:])
		}
		r.writer.reports <- ipc.Heard{Silence: true}
		synctest.Wait()
		if c := r.stream.last(); !c.ask {
			t.Errorf("asked %+v", c)
		}
		time.Sleep(10 * silenceDefault) // who has the stream watches it
	})
}

// What comes back is dealt with here, and then the stream is handed off again, with
// the promise that came.
func TestReturnedStreamIsReadAndLentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startHandedOff(t)
		defer r.stop(t)
		r.writer.reports <- ipc.Progress{Applied: 200, Flushed: 200}
		r.writer.reports <- ipc.Returned{Unread: []byte("unread")}
		if got := string(<-r.stream.resumed); got != "unread" {
			t.Fatalf("resumed with %q", got)
		}
		r.stream.frame(0, frameOf(watermark(9)))
		<-r.writer.frames
		if promised := <-r.writer.handoffs; promised != 9 {
			t.Errorf("handed off with promise %d", promised)
		}
		if w := r.pump.progress; w.watermark.Time != 9 {
			t.Errorf("watermark %+v does not hold", w.watermark)
		}
	})
}

// The frame that ends a transaction may have more in it: it comes back in the
// middle of the transaction.
func TestReturnedInsideATransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startHandedOff(t)
		defer r.stop(t)
		r.writer.reports <- ipc.Returned{InTransaction: true}
		<-r.stream.resumed
		r.stream.frame(200, frameOf(commit(200), watermark(9)))
		<-r.writer.frames
		<-r.writer.handoffs
		synctest.Wait()
		if w := r.pump.progress.watermark; w.Time != 0 {
			t.Errorf("watermark %+v holds before the transaction is applied", w)
		}
		r.writer.reports <- ipc.Progress{Applied: 200, Flushed: 100}
		synctest.Wait()
		if w := r.pump.progress.watermark; w.Time != 9 {
			t.Errorf("watermark %+v does not hold", w)
		}
	})
}

// A message that a run waits for ends it after what the writer read itself.
func TestReturnedStreamStopsAtMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startHandedOff(t)
		r.pump.onMessage = func(wire.Message) (bool, error) { return true, nil }
		r.writer.reports <- ipc.Progress{Applied: 200, Flushed: 100}
		r.writer.reports <- ipc.Returned{}
		<-r.stream.resumed
		r.stream.frame(0, frameOf(note(201, "something")))
		<-r.writer.frames
		synctest.Wait()
		select {
		case err := <-r.result:
			t.Fatalf("ended before all was flushed: %v", err)
		default:
		}
		r.writer.reports <- ipc.Progress{Applied: 200, Flushed: 200}
		if err := <-r.result; !errors.Is(err, errStopped) {
			t.Errorf("ended with %v", err)
		}
	})
}

// A drain waits for the transaction that the writer has begun.
func TestDrainReclaimsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startHandedOff(t)
		r.pump.finish()
		<-r.writer.reclaims
		time.Sleep(time.Hour)
		select {
		case err := <-r.result:
			t.Fatalf("ended while the stream is handed off: %v", err)
		default:
		}
		r.writer.reports <- ipc.Progress{Applied: 300, Flushed: 300}
		r.writer.reports <- ipc.Returned{Unread: []byte("next")}
		if err := <-r.result; !errors.Is(err, errDrained) {
			t.Errorf("ended with %v", err)
		}
		if c := r.stream.last(); c.flush != 300 {
			t.Errorf("confirmed %+v", c)
		}
	})
}

// A connection that the writer found broken is the run's end.
func TestLentStreamBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startHandedOff(t)
		r.writer.reports <- ipc.Returned{InTransaction: true, Reason: "no route to host"}
		if err := <-r.result; err == nil || !strings.Contains(err.Error(), "no route to host") {
			t.Errorf("ended with %v", err)
		}
	})
}

// Nothing is handed off inside a transaction, of which a writer knows the beginning,
// but not we the end.
func TestNothingIsLentInsideATransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startHandedOff(t)
		defer r.stop(t)
		r.writer.reports <- ipc.Returned{}
		<-r.stream.resumed
		r.stream.frame(0, frameOf(begin(200)))
		<-r.writer.frames
		synctest.Wait()
		if len(r.writer.handoffs) != 0 {
			t.Error("handed off inside a transaction")
		}
		r.stream.frame(200, frameOf(commit(200)))
		<-r.writer.frames
		<-r.writer.handoffs
	})
}
