package replicate

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
)

// A position is taken only if exactly one transaction ends there; what comes
// before it goes with it, and what comes after it stays.
func TestSkip(t *testing.T) {
	tests := []struct {
		name    string
		target  lsn.LSN
		skipped int
		code    string
		detail  string
	}{
		{"first", 200, 1, "", ""},
		{"second", 300, 2, "", ""},
		{"applied_already", 100, 0, pgerr.InvalidParameter, "up to 0/64"},
		{"not_written_yet", 1001, 0, pgerr.InvalidParameter, "up to 0/3E8"},
		{"before_the_first", 150, 0, pgerr.InvalidParameter, "first transaction that waits ends at 0/C8"},
		{"between_two", 250, 0, pgerr.InvalidParameter, "last transaction before it ends at 0/C8"},
		{"behind_the_last", 900, 0, pgerr.InvalidParameter, "last transaction before it ends at 0/12C"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world, p := pausedPeer(t)
				defer stopPeer(t, p)
				go func() {
					s, open := <-world.streams
					if !open {
						return
					}
					for _, end := range []lsn.LSN{200, 300} {
						payload := transaction(end)
						if end == 200 {
							payload = append(startup(), payload...)
						}
						select {
						case s.messages <- frameMessage(end, frameOf(payload)):
						case <-s.closed:
							return
						}
					}
					select {
					case s.messages <- keepaliveAt(1000):
					case <-s.closed:
					}
				}()
				skipped, err := p.Skip(t.Context(), test.target, "admin")
				close(world.streams)
				if pgerr.Code(err) != test.code || len(skipped) != test.skipped || test.code != "" && !strings.Contains(pgerr.From(err).Detail, test.detail) {
					t.Fatalf("got %v, %v", skipped, err)
				}
				if got := p.Status().Skipped; got != uint64(test.skipped) {
					t.Errorf("counted %d", got)
				}
				if moved := advanced(world); (moved != "") != (test.code == "") || moved != "" && moved != test.target.String() {
					t.Errorf("the origin was moved to %q", moved)
				}
			})
		})
	}
}

// pausedPeer returns a subscription that rests at position 100, of a peer that
// has written up to 1000.
func pausedPeer(t *testing.T) (*fakeWorld, *Peer) {
	world := newFakeWorld()
	world.written = 1000
	config := testConfig()
	config.Subscription.Enabled = false
	p := Start(config, world.deps())
	if err := p.WaitPaused(t.Context()); err != nil {
		t.Fatal(err)
	}
	return world, p
}

// advanced returns the position that an origin was moved to, "" for none.
func advanced(f *fakeWorld) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, statements := range f.ran {
		for _, s := range statements {
			if s.SQL == catalog.AdvanceOrigin("", 0).SQL {
				return s.Args[1].(lsn.LSN).String()
			}
		}
	}
	return ""
}

// An enabled subscription is refused, and one that is enabled meanwhile connects
// only when the skip has ended.
func TestSkipAndEnable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world, p := pausedPeer(t)
		defer stopPeer(t, p)
		answer := make(chan error, 1)
		go func() {
			_, err := p.Skip(t.Context(), 200, "admin")
			answer <- err
		}()
		s := <-world.streams
		p.Enable()
		synctest.Wait()
		if len(world.streams) != 0 {
			t.Fatal("connected during a skip")
		}
		s.frame(200, frameOf(startup(), transaction(200)))
		if err := <-answer; err != nil {
			t.Fatal(err)
		}
		<-world.streams
		synctest.Wait()
		if _, err := p.Skip(t.Context(), 300, "admin"); pgerr.Code(err) != pgerr.WrongState {
			t.Errorf("got %v", err)
		}
	})
}

// What a writer could not apply is told once in the history, however often it is
// tried, and its end is told too. A deadlock is not told at all.
func TestFailureIsNotedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newFakeWorld()
		p := Start(testConfig(), world.deps())
		defer stopPeer(t, p)
		fail := func(code string) {
			s, w := <-world.streams, <-world.writers
			s.frame(200, frameOf(startup(), transaction(200)))
			<-w.frames
			w.fault <- &ipc.Failed{XID: 9, End: 200, Change: 3, Schema: "public", Relation: "t", Fault: pgerr.New(code, "no")}
		}
		fail(deadlockDetected)
		fail("23514")
		synctest.Wait()
		if s := p.Status(); s.Errors != 1 || s.Failure == nil || s.Failure.Relation != "t" || s.Failure.End != 200 || s.Failure.Retries != 0 {
			t.Errorf("status %+v", s)
		}
		fail("23514")
		fail("23514")
		s, w := <-world.streams, <-world.writers
		synctest.Wait()
		if s := p.Status(); s.Failure == nil || s.Failure.Retries != 2 {
			t.Errorf("a connection alone is no end of the failure: %+v", s)
		}
		s.frame(200, frameOf(startup(), transaction(200)))
		<-w.frames
		w.reports <- ipc.Progress{Applied: 200, Commits: 1}
		synctest.Wait()
		if s := p.Status(); s.Failure != nil {
			t.Errorf("status %+v", s)
		}
		if got := strings.Join(noted(world), " "); got != "error resumed" {
			t.Errorf("events %q", got)
		}
	})
}

// noted returns the kinds of events that were written, in order.
func noted(f *fakeWorld) (kinds []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	insert := catalog.InsertEvent(catalog.Event{})[1].SQL
	for _, statements := range f.ran {
		for _, s := range statements {
			if s.SQL == insert {
				kinds = append(kinds, s.Args[2].(string))
			}
		}
	}
	return kinds
}

// The sender of the stream that has just failed holds the slot for a moment; one that
// holds it for good is told of.
func TestSkipWaitsForTheSlot(t *testing.T) {
	for _, test := range []struct {
		name string
		code string
	}{{"for_a_moment", ""}, {"for_good", pgerr.ObjectInUse}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world, p := pausedPeer(t)
				defer stopPeer(t, p)
				refuse := func(err error) {
					world.mu.Lock()
					defer world.mu.Unlock()
					world.refuse = err
				}
				refuse(pgerr.New(pgerr.ObjectInUse, "the slot is active"))
				answer := make(chan error, 1)
				go func() {
					_, err := p.Skip(t.Context(), 200, "admin")
					answer <- err
				}()
				if test.code == "" {
					time.Sleep(slotFreeMax / 2) // of the bubble's clock
					refuse(nil)
					(<-world.streams).frame(200, frameOf(startup(), transaction(200)))
				}
				if err := <-answer; pgerr.Code(err) != test.code {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}
