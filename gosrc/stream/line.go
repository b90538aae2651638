package stream

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/rawsocket"
)

// messageHeaderBytes is the kind of a server's message and its length, which
// counts itself but not the kind.
const messageHeaderBytes = 5

// A line is the connection of a stream. It can be handed off: then another process
// reads from it, and this one only writes. Once framed, a read never goes beyond
// the end of a message, so that nothing that comes then is here.
type line struct {
	net.Conn // what it was made of: the addresses
	mu       sync.Mutex
	now      net.Conn // what it is: a *rawsocket.Conn or, handed off, a *rawsocket.Handoff; under mu
	closed   bool     // under mu

	// These are the reader's.
	framed bool
	unread []byte // what came back, to be read before anything else
	head   []byte // of the message that is being read, as far as it has come
	body   int    // bytes of it that are still to be read
}

// asLines makes the connections of dial lines.
func asLines(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if _, ok := conn.(*rawsocket.Conn); err != nil || !ok {
			return conn, err
		}
		return &line{Conn: conn, now: conn}, nil
	}
}

func (l *line) current() net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// Read is io.Reader.
func (l *line) Read(b []byte) (int, error) {
	if !l.framed {
		return l.current().Read(b)
	}
	b = b[:min(len(b), l.missing())]
	n, err := l.take(b)
	l.note(b[:n])
	return n, err
}

// missing is how much may be read at once.
func (l *line) missing() int {
	if l.body > 0 {
		return l.body
	}
	return messageHeaderBytes - len(l.head)
}

func (l *line) take(b []byte) (int, error) {
	if len(l.unread) == 0 {
		return l.current().Read(b)
	}
	n := copy(b, l.unread)
	l.unread = l.unread[n:]
	return n, nil
}

func (l *line) note(b []byte) {
	if l.body > 0 {
		l.body -= len(b)
		return
	}
	if l.head = append(l.head, b...); len(l.head) == messageHeaderBytes {
		l.body = max(0, int(binary.BigEndian.Uint32(l.head[1:]))-4)
		l.head = l.head[:0]
	}
}

// Write is io.Writer.
func (l *line) Write(b []byte) (int, error) { return l.current().Write(b) }

// Close ends the connection. It must not run beside Write.
func (l *line) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	l.closed = true
	return l.now.Close()
}

// SetDeadline is net.Conn's.
func (l *line) SetDeadline(t time.Time) error { return l.current().SetDeadline(t) }

// SetReadDeadline is net.Conn's.
func (l *line) SetReadDeadline(t time.Time) error { return l.current().SetReadDeadline(t) }

// SetWriteDeadline is net.Conn's.
func (l *line) SetWriteDeadline(t time.Time) error { return l.current().SetWriteDeadline(t) }

// handOff returns the descriptor that another process may read from; false: what
// was read here has not all been used.
func (l *line) handOff() (fd int, ok bool, err error) {
	if !l.framed || len(l.unread) > 0 || len(l.head) > 0 || l.body > 0 {
		return 0, false, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, false, net.ErrClosed
	}
	conn, ok := l.now.(*rawsocket.Conn)
	if !ok {
		return 0, false, errors.New("the connection is handed off")
	}
	handoff, err := conn.Handoff()
	if err != nil {
		return 0, false, err
	}
	l.now = handoff
	return handoff.FD(), true, nil
}

// resume ends the handoff. unread begins with a message.
func (l *line) resume(unread []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	handoff, ok := l.now.(*rawsocket.Handoff)
	if !ok {
		return errors.New("the connection is not handed off")
	}
	conn, err := handoff.Resume()
	if err != nil {
		l.closed = true
		return err
	}
	l.now, l.unread = conn, unread
	return nil
}
