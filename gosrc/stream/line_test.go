package stream

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"golang.org/x/sys/unix"

	"bdr/gosrc/pgerr"
	"bdr/gosrc/rawsocket"
)

// transferable is a stream over a real socket, which can be handed off, and the server's
// end of its connection.
func transferable(t *testing.T) (*Stream, net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dial := asLines(func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := net.Dial(network, address)
		return rawsocket.Wrap(conn), err
	})
	near, err := dial(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	l := near.(*line)
	l.framed = true
	return &Stream{peer: "host=b", conn: near, line: l, frontend: pgproto3.NewFrontend(near, near)}, far
}

// borrowed is what the other process makes of a descriptor.
func borrowed(t *testing.T, s *Stream) net.Conn {
	t.Helper()
	fd, ok, err := s.HandOff()
	if !ok || err != nil {
		t.Fatalf("handed off %v: %v", ok, err)
	}
	conn, err := net.FileConn(os.NewFile(uintptr(fd), "handed off")) // a copy, as a process that it is sent to has
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func receive(t *testing.T, s *Stream, payload string) {
	t.Helper()
	if m, err := s.Receive(t.Context()); err != nil || string(m.Payload) != payload {
		t.Fatalf("received %q, %v; expected %q", m.Payload, err, payload)
	}
}

// Every byte that comes must be read once, here or by who has the stream; what
// that one has read and not used comes first when it is back.
func TestLentStreamLosesNothing(t *testing.T) {
	s, far := transferable(t)
	first, second, third, fourth := frameMessage(1, "one"), frameMessage(2, "two"), frameMessage(3, "three"), frameMessage(4, "four")
	far.Write(append(append(first, second...), third[:7]...))
	receive(t, s, "one")

	other := borrowed(t, s)
	got := make([]byte, len(second)+7)
	if _, err := io.ReadFull(other, got); err != nil || string(got[:len(second)]) != string(second) {
		t.Fatalf("the other process read %q, %v", got, err)
	}
	other.Close()
	if err := s.Resume(got[len(second):], ""); err != nil {
		t.Fatal(err)
	}
	far.Write(append(third[7:], fourth...))
	receive(t, s, "three")
	receive(t, s, "four")
}

// Frames that came back are used before the stream is handed off again.
func TestLendWaitsForWhatCameBack(t *testing.T) {
	s, far := transferable(t)
	far.Write(frameMessage(1, "one"))
	receive(t, s, "one")
	borrowed(t, s)
	if err := s.Resume(append(frameMessage(2, "two"), frameMessage(3, "three")...), ""); err != nil {
		t.Fatal(err)
	}
	receive(t, s, "two")
	if _, ok, err := s.HandOff(); ok || err != nil {
		t.Fatalf("handed off with a frame unread: %v", err)
	}
	receive(t, s, "three")
	borrowed(t, s)
}

// The sender must hear from us while somebody else reads.
func TestConfirmWhileLent(t *testing.T) {
	s, far := transferable(t)
	borrowed(t, s)
	if err := s.Confirm(3, 2, 1, true); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5+34)
	if _, err := io.ReadFull(far, got); err != nil || got[0] != 'd' || got[5] != 'r' || got[13] != 3 || got[38] != 1 {
		t.Fatalf("the sender heard %q, %v", got, err)
	}
}

// A sender that does not read must not hold a confirmation for ever, and Close
// ends it at once.
func TestConfirmToDeafSenderWhileLent(t *testing.T) {
	s, _ := transferable(t)
	borrowed(t, s)
	ended := make(chan error, 1)
	go func() {
		for {
			if err := s.Confirm(1, 1, 1, false); err != nil {
				ended <- err
				return
			}
		}
	}()
	time.Sleep(300 * time.Millisecond) // the socket is full by then, or the test shows less
	began := time.Now()
	s.Close()
	if err := <-ended; err == nil {
		t.Error("a confirmation to a closed connection succeeded")
	}
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("it took %s", d)
	}
}

// Close ends the reading of the other process, too.
func TestCloseEndsALoan(t *testing.T) {
	s, _ := transferable(t)
	other := borrowed(t, s)
	s.Close()
	if _, err := other.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the other process read: %v", err)
	}
	if err := s.Resume(nil, ""); pgerr.From(err).Code != pgerr.ConnectionFailure {
		t.Errorf("resumed with %v", err)
	}
}

// A confirmation that comes after Close must not go to whatever has got the
// number of the descriptor meanwhile.
func TestConfirmAfterCloseOfALoan(t *testing.T) {
	s, _ := transferable(t)
	fd, ok, err := s.HandOff()
	if !ok || err != nil {
		t.Fatal(err)
	}
	s.Close()
	other, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other[0])
	defer unix.Close(other[1])
	if other[0] != fd && other[1] != fd {
		t.Logf("descriptor %d was not used again", fd)
	}
	if err := s.Confirm(1, 1, 1, false); !errors.Is(err, net.ErrClosed) {
		t.Errorf("confirmed: %v", err)
	}
	for _, end := range other {
		if n, _, _ := unix.Recvfrom(end, make([]byte, 64), unix.MSG_DONTWAIT); n > 0 {
			t.Errorf("%d bytes went to another socket", n)
		}
	}
}

func TestResumeTellsTheReason(t *testing.T) {
	s, _ := transferable(t)
	borrowed(t, s)
	err := s.Resume(nil, "No route to host")
	if pgerr.From(err).Code != pgerr.ConnectionFailure || !strings.Contains(err.Error(), "No route to host") {
		t.Errorf("got %v", err)
	}
}

// What is not a socket of ours, as TLS is not, cannot be handed off, and works.
func TestOtherConnectionsAreNotLent(t *testing.T) {
	s, far := pair(t)
	if _, ok, err := s.HandOff(); ok || err != nil {
		t.Errorf("handed off %v: %v", ok, err)
	}
	go far.Write(frameMessage(1, "one"))
	receive(t, s, "one")
}

// A context that ends must not cost a byte of a framed line either.
func TestFramedReceiveContinuesAfterCancel(t *testing.T) {
	s, far := transferable(t)
	whole := frameMessage(1, "payload")
	far.Write(whole[:20])
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if _, ok, _ := s.HandOff(); ok {
		t.Fatal("handed off in the middle of a message")
	}
	far.Write(whole[20:])
	receive(t, s, "payload")
}
