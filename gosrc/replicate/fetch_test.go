package replicate

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
)

// fakeRows is a peer that answers what it was told to.
type fakeRows struct {
	read   func() (ipc.Fetched, bool, error)
	closed bool
}

func (f *fakeRows) Read(context.Context, ipc.Fetch) (ipc.Fetched, bool, error) { return f.read() }
func (f *fakeRows) Closed() bool                                               { return f.closed }
func (f *fakeRows) Close(context.Context)                                      { f.closed = true }

// fetcherOf hands out connections one after the other.
func fetcherOf(connections ...*fakeRows) (f *fetcher, opened *int) {
	opened = new(int)
	return &fetcher{peer: "b", log: func(ipc.Level, string, string, string) {}, connect: func(context.Context) (PeerRows, error) {
		if *opened == len(connections) {
			return nil, pgerr.New(pgerr.ConnectionFailure, "could not connect")
		}
		*opened++
		return connections[*opened-1], nil
	}}, opened
}

func answering(value string) *fakeRows {
	return &fakeRows{read: func() (ipc.Fetched, bool, error) { return ipc.Present().And([]byte(value)), true, nil }}
}

// A transaction is sent before others see it at the peer: an answer from before
// that would make a row that exists look gone.
func TestFetchWaitsUntilThePeerShowsTheRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		rows := answering("x")
		shown := rows.read
		rows.read = func() (ipc.Fetched, bool, error) {
			if time.Since(began) < 10*time.Second {
				return ipc.Gone(), false, nil
			}
			return shown()
		}
		f, _ := fetcherOf(rows)
		if answer, err := f.fetch(t.Context(), ipc.Fetch{}); err != nil || string(answer) != string(ipc.Present().And([]byte("x"))) {
			t.Errorf("got %q, %v", answer, err)
		}
		began = time.Now().Add(time.Hour)
		if _, err := f.fetch(t.Context(), ipc.Fetch{}); pgerr.Code(err) != pgerr.ConnectionFailure {
			t.Errorf("waited for ever, or: %v", err)
		}
	})
}

// A connection is kept while there are questions, and replaced when it broke.
func TestFetchConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := answering("x")
		f, opened := fetcherOf(broken, answering("y"))
		for range 2 {
			if _, err := f.fetch(t.Context(), ipc.Fetch{}); err != nil || *opened != 1 {
				t.Errorf("%d connections, %v", *opened, err)
			}
		}
		broken.read = func() (ipc.Fetched, bool, error) { broken.closed = true; return nil, false, errors.New("broken") }
		if _, err := f.fetch(t.Context(), ipc.Fetch{}); err != nil || *opened != 2 {
			t.Errorf("%d connections, %v", *opened, err)
		}
		f.closeIdle(time.Now())
		if f.rows == nil {
			t.Error("closed at once")
		}
		time.Sleep(fetchIdle)
		f.closeIdle(time.Now())
		if f.rows != nil {
			t.Error("kept")
		}
		if _, err := f.fetch(t.Context(), ipc.Fetch{}); pgerr.Code(err) != pgerr.ConnectionFailure {
			t.Errorf("no peer, but %v", err)
		}
	})
}

// What a table that is gone held is gone; any other error must not look so.
func TestFetchErrors(t *testing.T) {
	for code, gone := range map[string]bool{pgerr.UndefinedTable: true, pgerr.UndefinedColumn: true, pgerr.UndefinedSchema: true,
		pgerr.InsufficientPrivilege: false, pgerr.QueryCanceled: false, pgerr.CardinalityViolation: false} {
		f, _ := fetcherOf(&fakeRows{read: func() (ipc.Fetched, bool, error) { return nil, false, pgerr.New(code, "no") }})
		answer, err := f.fetch(t.Context(), ipc.Fetch{})
		if gone && (err != nil || string(answer) != string(ipc.Gone())) || !gone && pgerr.Code(err) != code {
			t.Errorf("%s: got %q, %v", code, answer, err)
		}
	}
}

// The writer gets the answer or the error, and the pump goes on.
func TestPumpFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startPump(t)
		defer r.stop(t)
		f, _ := fetcherOf(answering("x"))
		r.pump.values = f
		r.writer.questions <- ipc.Fetch{}
		if answer, ok := (<-r.writer.answers).(ipc.Fetched); !ok || answer[0] != 1 {
			t.Errorf("got %q", answer)
		}
		f.rows.Close(t.Context())
		f.rows = nil
		r.writer.questions <- ipc.Fetch{}
		if err, ok := (<-r.writer.answers).(error); !ok || pgerr.Code(err) != pgerr.ConnectionFailure {
			t.Errorf("got %v", err)
		}
	})
}

// A statement waits for those that its node had before it; what does not come in time is
// the writer's to report.
func TestPumpAwaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startPump(t)
		defer r.stop(t)
		var asked string
		r.pump.await = func(_ context.Context, positions string) error { asked = positions; return nil }
		r.writer.questions <- ipc.Await{Applied: 150, Positions: "2 0/7"}
		if answer, ok := (<-r.writer.answers).(ipc.Await); !ok || asked != "2 0/7" {
			t.Errorf("got %v of %q", answer, asked)
		}
		if _, _, applied := r.pump.progress.feedback(); applied != 150 {
			t.Errorf("applied up to %s", applied)
		}
		r.pump.await = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
		begun := time.Now()
		r.writer.questions <- ipc.Await{Positions: "2 0/7"}
		if err, ok := (<-r.writer.answers).(error); !ok || pgerr.Code(err) != pgerr.LockNotAvailable || time.Since(begun) != awaitTimeMax {
			t.Errorf("got %v after %v", err, time.Since(begun))
		}
	})
}
