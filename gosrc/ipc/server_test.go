package ipc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"bdr/gosrc/pgerr"
)

// handlerFunc makes a Handler of a function.
type handlerFunc func(context.Context, *Request) (Rows, error)

func (f handlerFunc) Request(ctx context.Context, r *Request) (Rows, error) { return f(ctx, r) }

// A request with all that it may do: notices, SQL that fails and that works.
func TestRequest(t *testing.T) {
	_, path := newServer(t, handlerFunc(func(ctx context.Context, r *Request) (Rows, error) {
		if r.Function != "f" || r.User != "postgres" || !r.InTransaction || !r.Bool(0, false) || !r.Null(1) || !r.Null(2) || !r.Bool(9, true) {
			return Rows{}, fmt.Errorf("got %+v", r)
		}
		if err := r.Notice(Info, "step %d", 1); err != nil {
			return Rows{}, err
		}
		if _, err := r.Run(ctx, Stmt{SQL: "bad"}); pgerr.Code(err) != pgerr.DuplicateObject {
			return Rows{}, fmt.Errorf("got %w", err)
		}
		results, err := r.Run(ctx, Stmt{SQL: "good", Args: []any{1}})
		if err != nil {
			return Rows{}, err
		}
		return Rows{Columns: 2, Values: [][]*string{{results[0].Rows[0][0], nil}}}, nil
	}))
	c := dial(t, path, roleBackend, 0)
	c.expect(kindWelcome)
	for range 2 {
		c.send(kindRequest, requestBody("f", Text("t"), nil))
		if got := c.expect(kindNotice); string(got) != "\x00\x00\x00\x04INFO\x00\x00\x00\x06step 1" {
			t.Errorf("NOTICE %q", got)
		}
		if got := c.expect(kindSQL); string(got) != "\x00\x01\x00\x00\x00\x03bad\x00\x00" {
			t.Errorf("SQL %q", got)
		}
		c.send(kindFault, encodeFault(pgerr.New(pgerr.DuplicateObject, "there")))
		if got := c.expect(kindSQL); string(got) != "\x00\x01\x00\x00\x00\x04good\x00\x01\x00\x00\x00\x011" {
			t.Errorf("SQL %q", got)
		}
		c.send(kindRows, rowsBody(1, Text("v")))
		if got := c.expect(kindReply); string(got) != "\x00\x02\x00\x00\x00\x01\x00\x00\x00\x01v\xff\xff\xff\xff" {
			t.Errorf("REPLY %q", got)
		}
	}
}

// An error is a fault, and the session goes on; so is a reply whose rows do
// not have the columns it promises.
func TestRequestFault(t *testing.T) {
	_, path := newServer(t, handlerFunc(func(_ context.Context, r *Request) (Rows, error) {
		if r.Function == "rows" {
			return Rows{Columns: 2, Values: [][]*string{{nil}}}, nil
		}
		return Rows{}, pgerr.New(pgerr.WrongState, "no")
	}))
	c := dial(t, path, roleBackend, 0)
	c.expect(kindWelcome)
	for function, code := range map[string]string{"rows": pgerr.InternalError, "fails": pgerr.WrongState} {
		c.send(kindRequest, requestBody(function))
		if err := decodeFault(c.expect(kindFault)); pgerr.Code(err) != code {
			t.Errorf("%s: %v", function, err)
		}
	}
}

// A cancelled backend closes its socket; whatever its request waits for must
// end then.
func TestRequestCancelled(t *testing.T) {
	ended := make(chan error, 1)
	_, path := newServer(t, handlerFunc(func(ctx context.Context, r *Request) (Rows, error) {
		if r.Function == "sql" {
			_, err := r.Run(ctx, Stmt{SQL: "never answered"})
			ended <- err
			return Rows{}, err
		}
		<-ctx.Done()
		ended <- ctx.Err()
		return Rows{}, ctx.Err()
	}))
	for _, function := range []string{"waits", "sql"} {
		c := dial(t, path, roleBackend, 0)
		c.expect(kindWelcome)
		c.send(kindRequest, requestBody(function))
		if function == "sql" {
			c.expect(kindSQL)
		}
		c.close()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", function, err)
		}
	}
}

// Close must not wait for requests, and must end them.
func TestServerClose(t *testing.T) {
	ended := make(chan struct{})
	s, path := newServer(t, handlerFunc(func(ctx context.Context, _ *Request) (Rows, error) {
		<-ctx.Done()
		close(ended)
		return Rows{}, ctx.Err()
	}))
	c := dial(t, path, roleBackend, 0)
	c.expect(kindWelcome)
	c.send(kindRequest, requestBody("f"))
	idle := dialSilent(t, path)
	for s.count() < 2 {
		time.Sleep(time.Millisecond)
	}
	s.Close()
	<-ended
	idle.expectEnd()
	again, err := Listen(path, spawn, nil)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func (s *Server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// What does not follow the protocol ends its own connection and nothing else.
func TestServerViolations(t *testing.T) {
	_, path := newServer(t, handlerFunc(func(ctx context.Context, _ *Request) (Rows, error) {
		<-ctx.Done()
		return Rows{}, ctx.Err()
	}))
	bystander := dial(t, path, roleBackend, 0)
	bystander.expect(kindWelcome)
	refused := map[string]func() fake{
		"old version": func() fake {
			f := dialSilent(t, path)
			f.send(kindHello, helloBody("0.0.1/1", roleBackend, 0))
			return f
		},
		"no hello":       func() fake { f := dialSilent(t, path); f.send(kindRequest, requestBody("f")); return f },
		"short hello":    func() fake { f := dialSilent(t, path); f.send(kindHello, []byte{0}); return f },
		"unknown role":   func() fake { return dial(t, path, 'x', 0) },
		"unknown writer": func() fake { return dial(t, path, roleWriter, 99) },
		"unknown kind":   func() fake { f := dialSilent(t, path); raw(t, f, "\x00\x00\x00\x01?"); return f },
		"answer unasked": func() fake {
			f := dial(t, path, roleBackend, 0)
			f.expect(kindWelcome)
			f.send(kindRows, nil)
			return f
		},
		"frame to backend": func() fake {
			f := dial(t, path, roleBackend, 0)
			f.expect(kindWelcome)
			f.send(kindApply, nil)
			return f
		},
		"bad request": func() fake {
			f := dial(t, path, roleBackend, 0)
			f.expect(kindWelcome)
			f.send(kindRequest, []byte("\xff\xff"))
			return f
		},
		"request in request": func() fake {
			f := dial(t, path, roleBackend, 0)
			f.expect(kindWelcome)
			f.send(kindRequest, requestBody("f"))
			f.send(kindRequest, requestBody("f"))
			return f
		},
	}
	for name, provoke := range refused {
		t.Run(name, func(t *testing.T) {
			f := provoke()
			f.t = t
			f.expectFaultsAndEnd()
		})
	}
	bystander.send(kindRequest, requestBody("f"))
	bystander.close()
}

// The two connections of a writer come in any order and belong together.
func TestWriter(t *testing.T) {
	s, path := newServer(t, nil)
	s.ExpectWriter(5)
	d := dial(t, path, roleDecider, 5)
	d.expect(kindWelcome)
	c := dial(t, path, roleWriter, 5)
	c.expect(kindWelcome)
	w, err := s.WaitWriter(t.Context(), 5)
	if err != nil {
		t.Fatal(err)
	}
	if w.PID() != 4711 {
		t.Errorf("pid %d", w.PID())
	}
	frame := bytes.Repeat([]byte("frame"), 100_000)
	go func() {
		_ = w.Setup(Setup{PeerName: "p"})
		_ = w.Apply(frame)
	}()
	c.expect(kindSetup)
	if got := c.expect(kindApply); !bytes.Equal(got, frame) {
		t.Error("frame changed")
	}
	d.send(kindConflict, make([]byte, 28))
	if _, err := w.ReadQuestion(); err != nil {
		t.Error(err)
	}
	if err := w.Decide(Decision{Action: 1}); err != nil {
		t.Error(err)
	}
	d.expect(kindDecision)
	testWriterEnd(t, w, c, d)
}

// testWriterEnd: progress, the fault, then the end of both connections.
func testWriterEnd(t *testing.T, w *Writer, c, d fake) {
	t.Helper()
	c.send(kindProgress, make([]byte, 17*8))
	c.send(kindFailed, make([]byte, 4+8+8+4+4+4))
	c.send(kindFault, encodeFault(pgerr.New(pgerr.UniqueViolation, "twice")))
	if _, err := w.Receive(); err != nil {
		t.Error(err)
	}
	_, err := w.Receive()
	var failed *Failed
	if pgerr.Code(err) != pgerr.UniqueViolation || !errors.As(err, &failed) {
		t.Errorf("got %v", err)
	}
	c.close()
	if _, err := w.Receive(); err != io.EOF {
		t.Errorf("got %v", err)
	}
	w.Close()
	d.expectEnd()
	if _, err := w.ReadQuestion(); err != io.EOF {
		t.Errorf("got %v", err)
	}
	w.Close()
}

// A writer that comes too late, or only by half, must not stay.
func TestWriterTooLate(t *testing.T) {
	s, path := newServer(t, nil)
	s.ExpectWriter(6)
	half := dial(t, path, roleWriter, 6)
	half.expect(kindWelcome)
	second := dial(t, path, roleWriter, 6)
	second.expect(kindFault)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.WaitWriter(ctx, 6); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	half.expectEnd()
	late := dial(t, path, roleDecider, 6)
	late.expect(kindFault)
	if _, err := s.WaitWriter(t.Context(), 6); err == nil {
		t.Error("an unexpected writer was waited for")
	}
}

// Apply blocks on a writer that is behind; Close must end it.
func TestWriterCloseUnblocks(t *testing.T) {
	s, path := newServer(t, nil)
	s.ExpectWriter(7)
	dial(t, path, roleWriter, 7)
	dial(t, path, roleDecider, 7)
	w, err := s.WaitWriter(t.Context(), 7)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			err = w.Apply(make([]byte, 1<<20))
		}
		ended <- err
	}()
	w.Close()
	if err := <-ended; err == nil {
		t.Error("no error")
	}
}
