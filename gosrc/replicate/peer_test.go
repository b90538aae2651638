package replicate

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/stream"
)

func keepaliveAt(end lsn.LSN) stream.Message {
	return stream.Message{Kind: stream.Keepalive, WALStart: end, WALEnd: end}
}

func stopPeer(t *testing.T, p *Peer) {
	t.Helper()
	if err := p.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

// The stream must start at the origin's own position, and both ends must be
// told who they are.
func TestPeerConnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newFakeWorld()
		p := Start(testConfig(), world.deps())
		defer stopPeer(t, p)
		s, w := <-world.streams, <-world.writers
		synctest.Wait()
		o := s.config.Options
		if s.config.Start != 100 || s.config.Slot != "bdr_5_1" || o["origins"] != "none" || o["node_id"] != "1" || o["server_version"] != "150020" {
			t.Errorf("stream opened with %+v", s.config)
		}
		want := ipc.Setup{Subscription: 7, PeerNode: 2, LocalNode: 1, Mode: ipc.ModeNormal, PeerName: "b", First: 100}
		if w.setup != want {
			t.Errorf("writer set up with %+v", w.setup)
		}
		if got := p.Status(); got.State != StateReplicating || got.WriterPID != 42 || got.Start != 100 || got.Connects != 1 {
			t.Errorf("status %+v", got)
		}
	})
}

// A lost connection comes back by itself, slower each time while nothing is
// applied, and at once after progress.
func TestPeerRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newFakeWorld()
		world.refuseWith(pgerr.New(pgerr.ConnectionFailure, "could not connect"))
		p := Start(testConfig(), world.deps())
		defer stopPeer(t, p)
		time.Sleep(40 * time.Second)
		for i, gap := range world.gaps() {
			most := min(time.Second<<i, 10*time.Second)
			if gap > most || gap < most*3/4 {
				t.Errorf("gap %d is %s, want about %s", i, gap, most)
			}
		}
		if s := p.Status(); s.State != StateDown || s.LastError != "could not connect" || s.Errors < 4 || s.Retries < 4 {
			t.Errorf("status %+v", s)
		}
		world.refuseWith(nil)
		s, w := <-world.streams, <-world.writers
		s.frame(200, frameOf(startup(), transaction(200)))
		<-w.frames
		w.reports <- ipc.Progress{Applied: 200, Commits: 1}
		lost := time.Now()
		close(s.messages)
		<-world.streams
		if gap := time.Since(lost); gap > time.Second {
			t.Errorf("connected again after %s", gap)
		}
		if got := p.Status(); got.Counts.Commits != 1 || got.Connects < 1 {
			t.Errorf("status %+v", got)
		}
	})
}

// Counters of a writer that is gone are not lost.
func TestPeerKeepsCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newFakeWorld()
		p := Start(testConfig(), world.deps())
		defer stopPeer(t, p)
		for range 3 {
			s, w := <-world.streams, <-world.writers
			w.reports <- ipc.Progress{Applied: 200, Flushed: 200, Commits: 2, Inserts: 5, CommitTime: 9}
			synctest.Wait()
			close(s.messages)
		}
		<-world.streams
		if got := p.Status(); got.Counts.Commits != 6 || got.Counts.Inserts != 15 || got.AppliedTime != 9 || got.Errors != 3 {
			t.Errorf("status %+v", got)
		}
	})
}

// Disable ends the connection and Enable brings it back.
func TestPeerDisable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newFakeWorld()
		p := Start(testConfig(), world.deps())
		defer stopPeer(t, p)
		<-world.streams
		<-world.writers
		synctest.Wait()
		p.Disable(true)
		if err := p.WaitPaused(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := p.Status(); got.State != StateDisabled || got.WriterPID != 0 || got.Errors != 0 {
			t.Errorf("status %+v", got)
		}
		time.Sleep(time.Hour)
		p.Enable()
		<-world.streams
	})
}

// A writer that waits for a lock does not hear that it should end. Disable
// promises that nothing more is applied, so it is terminated.
func TestPeerTerminatesDeafWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newFakeWorld()
		p := Start(testConfig(), world.deps())
		defer stopPeer(t, p)
		<-world.streams
		w := <-world.writers
		w.deaf = true
		synctest.Wait()
		began := time.Now()
		p.Disable(true)
		if err := p.WaitPaused(t.Context()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-w.closed:
		default:
			t.Error("the writer lives")
		}
		if took := time.Since(began); took != finishWait {
			t.Errorf("took %s", took)
		}
	})
}

// Without fast, what was received is applied before the subscription rests.
func TestPeerDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newFakeWorld()
		p := Start(testConfig(), world.deps())
		defer stopPeer(t, p)
		s, w := <-world.streams, <-world.writers
		s.frame(0, frameOf(startup(), begin(200)))
		<-w.frames
		p.Disable(false)
		synctest.Wait()
		if p.Status().State != StateReplicating {
			t.Fatal("ended inside a transaction")
		}
		s.frame(200, frameOf(commit(200)))
		<-w.frames
		w.reports <- ipc.Progress{Applied: 200, Flushed: 200}
		if err := p.WaitPaused(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := p.Status(); got.Applied != 200 {
			t.Errorf("status %+v", got)
		}
	})
}

// A drain that takes too long can be cut short.
func TestPeerDrainCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newFakeWorld()
		p := Start(testConfig(), world.deps())
		defer stopPeer(t, p)
		s, w := <-world.streams, <-world.writers
		s.frame(0, frameOf(startup(), begin(200)))
		<-w.frames
		p.Disable(false)
		synctest.Wait()
		p.Disable(true)
		if err := p.WaitPaused(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.Enable()
		<-world.streams
	})
}

// A barrier is reached by what is applied, or by a keepalive when the peer has
// nothing for us; and over connections that fail.
func TestPeerWaitApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newFakeWorld()
		p := Start(testConfig(), world.deps())
		defer stopPeer(t, p)
		reached := make(chan error, 1)
		go func() { reached <- p.WaitApplied(t.Context(), 300) }()
		s := <-world.streams
		synctest.Wait()
		if !s.last().ask {
			t.Error("the peer was not asked for its position")
		}
		close(s.messages)
		s = <-world.streams
		s.keepalive(250, false)
		synctest.Wait()
		if len(reached) != 0 {
			t.Fatal("reached too early")
		}
		s.keepalive(300, false)
		if err := <-reached; err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.WaitApplied(ctx, 400); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// Stop must end a try, a wait and a connection alike.
func TestPeerStops(t *testing.T) {
	tests := map[string]func(*fakeWorld){
		"connected": func(w *fakeWorld) { <-w.streams },
		"waiting":   func(w *fakeWorld) { time.Sleep(1500 * time.Millisecond) },
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world := newFakeWorld()
				if name == "waiting" {
					world.refuseWith(errors.New("down"))
				}
				p := Start(testConfig(), world.deps())
				prepare(world)
				began := time.Now()
				stopPeer(t, p)
				if time.Since(began) > 0 {
					t.Errorf("took %s", time.Since(began))
				}
			})
		})
	}
}
