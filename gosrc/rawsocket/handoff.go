package rawsocket

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// waitMax is how long one wait for room lasts; a deadline may be set meanwhile.
const waitMax = 100 * time.Millisecond

// A Handoff is a connection that another process reads from. It is not in the
// network poller, which would wake up for everything that comes. What is written
// must not be much, and Close must not run beside Write.
type Handoff struct {
	net.Conn              // closed; it knows the addresses
	fd       int          // -1: closed, or a connection again
	deadline atomic.Int64 // of writes, Unix time in nanoseconds
}

// Handoff takes the connection, which must not be used any more.
func (c *Conn) Handoff() (*Handoff, error) {
	l := &Handoff{Conn: c.Conn}
	var failure error
	err := c.raw.Control(func(fd uintptr) {
		l.fd, failure = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err == nil {
		err = failure
	}
	if err != nil {
		return nil, fmt.Errorf("copy descriptor: %w", err)
	}
	_ = c.Conn.Close() // the copy keeps the connection open
	return l, nil
}

// FD is the descriptor to hand out.
func (l *Handoff) FD() int { return l.fd }

// Resume makes it a connection as it was. The handoff must not be used any more.
func (l *Handoff) Resume() (net.Conn, error) {
	file := os.NewFile(uintptr(l.fd), "connection handed off")
	l.fd = -1
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	return Wrap(conn), nil
}

// Write is io.Writer.
func (l *Handoff) Write(b []byte) (written int, err error) {
	if l.fd < 0 {
		return 0, l.named(net.ErrClosed)
	}
	for written < len(b) {
		n, err := unix.SendmsgN(l.fd, b[written:], nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch err {
		case nil:
			written += n
		case unix.EINTR:
		case unix.EAGAIN:
			err = l.await()
			if err != nil {
				return written, err
			}
		default:
			return written, l.named(err)
		}
	}
	return written, nil
}

// await waits until there may be room.
func (l *Handoff) await() error {
	wait := waitMax
	if d := l.deadline.Load(); d != 0 {
		wait = min(wait, time.Until(time.Unix(0, d)))
	}
	if wait <= 0 {
		return l.named(os.ErrDeadlineExceeded)
	}
	_, err := unix.Poll([]unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLOUT}}, int(wait.Milliseconds())+1)
	if err == unix.EINTR {
		err = nil
	}
	return err
}

func (l *Handoff) named(err error) error {
	if errno, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError("write", errno)
	}
	return &net.OpError{Op: "write", Net: l.LocalAddr().Network(), Source: l.LocalAddr(), Addr: l.RemoteAddr(), Err: err}
}

// SetWriteDeadline is net.Conn's; it may be called while Write waits.
func (l *Handoff) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		l.deadline.Store(0)
	} else {
		l.deadline.Store(t.UnixNano())
	}
	return nil
}

// Close ends the connection, for the other process too.
func (l *Handoff) Close() error {
	fd := l.fd
	l.fd = -1
	_ = unix.Shutdown(fd, unix.SHUT_RDWR) // one that is gone already need not be told
	return unix.Close(fd)
}
