// Package rawsocket makes connections cheap for a process that is mostly asleep.
//
// Go's own reads and writes tell the scheduler that a system call begins, since
// it might block. In a process that had nothing to do this wakes the scheduler's
// monitor thread, which then looks around for a while: several wake-ups for one
// message of 100 bytes. The calls here cannot block, so nobody is told. Waiting
// is the network poller's business, as ever.
package rawsocket

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// bytesMax is what one call copies at most: the scheduler does not know that
// the thread is away meanwhile.
const bytesMax = 256 * 1024

// A Conn is a stream socket. It is used like any connection; several goroutines
// may read or write.
type Conn struct {
	net.Conn
	raw     syscall.RawConn
	in, out direction
}

// direction is one call that is under way; a closure for each would be garbage.
type direction struct {
	mu      sync.Mutex
	try     func(fd uintptr) bool // false: wait and try again
	message syscall.Msghdr
	parts   [2]syscall.Iovec
	n       int // bytes moved
	errno   syscall.Errno
}

// Wrap makes a connection quiet. One that is no socket stays as it is.
func Wrap(c net.Conn) net.Conn {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return c
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return c
	}
	q := &Conn{Conn: c, raw: raw}
	q.in.init(q.in.receive)
	q.out.init(q.out.send)
	return q
}

// Read is io.Reader.
func (c *Conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	n, err := c.in.run(c.raw.Read, b[:min(len(b), bytesMax)], nil)
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return n, c.named("read", err)
}

// Write is io.Writer.
func (c *Conn) Write(b []byte) (int, error) {
	return c.WriteBoth(b, nil)
}

// WriteBoth writes one part after the other, with one call if they fit.
func (c *Conn) WriteBoth(first, second []byte) (written int, err error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	for len(first)+len(second) > 0 {
		part := first[:min(len(first), bytesMax)]
		n, err := c.out.run(c.raw.Write, part, second[:min(len(second), bytesMax-len(part))])
		if err != nil {
			return written, c.named("write", err)
		}
		written += n
		fromFirst := min(n, len(first))
		first, second = first[fromFirst:], second[n-fromFirst:]
	}
	return written, nil
}

// WriteRights writes a short message, and gives a copy of a descriptor to the
// process at the other end of the Unix socket.
func (c *Conn) WriteRights(b []byte, fd int) error {
	socket, ok := c.Conn.(*net.UnixConn)
	if !ok {
		return errors.ErrUnsupported
	}
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	n, _, err := socket.WriteMsgUnix(b, syscall.UnixRights(fd), nil)
	if err == nil && n < len(b) {
		_, err = socket.Write(b[n:])
	}
	return err
}

// CloseWrite ends the direction to the peer.
func (c *Conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// named gives an error of a call the form that package net has.
func (c *Conn) named(call string, err error) error {
	var waiting *net.OpError
	var errno syscall.Errno
	switch {
	case errors.As(err, &waiting):
		waiting.Op = call // package net calls it raw
	case errors.As(err, &errno):
		return &net.OpError{Op: call, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(),
			Err: os.NewSyscallError(call, err)}
	}
	return err
}

func (d *direction) init(try func(fd uintptr) bool) {
	d.try = try
	d.message.Iov = &d.parts[0]
	d.message.Iovlen = 2
}

// run moves bytes as soon as the socket can.
func (d *direction) run(when func(func(uintptr) bool) error, first, second []byte) (int, error) {
	d.n, d.errno = 0, 0
	d.parts[0].Base, d.parts[1].Base = unsafe.SliceData(first), unsafe.SliceData(second)
	d.parts[0].SetLen(len(first))
	d.parts[1].SetLen(len(second))
	err := when(d.try)
	d.parts[0].Base, d.parts[1].Base = nil, nil
	if err == nil && d.errno != 0 {
		err = d.errno
	}
	return d.n, err
}

func (d *direction) receive(fd uintptr) bool { return d.move(syscall.SYS_RECVMSG, fd) }

func (d *direction) send(fd uintptr) bool { return d.move(syscall.SYS_SENDMSG, fd) }

// move reports whether the call has done all that it can.
func (d *direction) move(call, fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(&d.message)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
		switch errno {
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			d.errno = errno
			if errno == 0 {
				d.n = int(n)
			}
			return true
		}
	}
}
