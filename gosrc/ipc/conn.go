package ipc

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"bdr/gosrc/rawsocket"
)

// Bytes that are read at once, and the largest body that is allocated before
// any of it has come.
const (
	readBytes     = 64 * 1024
	allocBytesMax = 1 << 20
)

// A conn frames messages on one socket. One goroutine may read while others
// write.
type conn struct {
	socket net.Conn
	in     *bufio.Reader
	mu     sync.Mutex // one writer at a time
	head   []byte     // of the message being written; under mu
}

func newConn(socket net.Conn) *conn {
	socket = rawsocket.Wrap(socket)
	return &conn{socket: socket, in: bufio.NewReaderSize(socket, readBytes)}
}

// message is one received message. Its body is not used again by the conn.
type message struct {
	kind kind
	body []byte
}

// read returns io.EOF only between messages.
func (c *conn) read() (message, error) {
	var header [5]byte
	if _, err := io.ReadFull(c.in, header[:]); err != nil {
		return message{}, err
	}
	length := binary.BigEndian.Uint32(header[:4])
	if length < 1 || length-1 > messageBytesMax {
		return message{}, violation("message of %d bytes", length)
	}
	m := message{kind: kind(header[4])}
	if _, known := kindNames[m.kind]; !known {
		return message{}, violation("unknown kind %q", header[4])
	}
	body, err := readBody(c.in, int(length-1))
	m.body = body
	return m, err
}

// readBody does not trust n: large bodies grow with what has come.
func readBody(in io.Reader, n int) ([]byte, error) {
	body := make([]byte, min(n, allocBytesMax))
	for got := 0; ; {
		more, err := io.ReadFull(in, body[got:])
		got += more
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil || got == n {
			return body[:got], err
		}
		body = append(body, make([]byte, min(n-got, got))...)
	}
}

// write sends one message. payload, which may be nil, follows body.
func (c *conn) write(k kind, body, payload []byte) error {
	size := len(body) + len(payload)
	if size > messageBytesMax {
		return violation("%s of %d bytes is too large", k, size)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head = binary.BigEndian.AppendUint32(c.head[:0], uint32(size+1))
	c.head = append(c.head, byte(k))
	c.head = append(c.head, body...)
	return c.send(payload)
}

// writeWith sends one message that takes a descriptor to the other process.
func (c *conn) writeWith(fd int, k kind, body []byte) error {
	both, ok := c.socket.(*rawsocket.Conn)
	if !ok {
		return violation("%s needs a Unix socket", k)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	message := binary.BigEndian.AppendUint32(nil, uint32(len(body)+1))
	return both.WriteRights(append(append(message, byte(k)), body...), fd)
}

// send writes the head and what follows it; the caller holds mu.
func (c *conn) send(payload []byte) error {
	if both, ok := c.socket.(*rawsocket.Conn); ok {
		_, err := both.WriteBoth(c.head, payload)
		return err
	}
	buffers := net.Buffers{c.head, payload}
	_, err := buffers.WriteTo(c.socket)
	return err
}

// closeWrite ends the direction to the peer, and a write that waits.
func (c *conn) closeWrite() error {
	err := c.socket.SetWriteDeadline(time.Unix(1, 0))
	if half, ok := c.socket.(interface{ CloseWrite() error }); ok {
		err = errors.Join(err, half.CloseWrite())
	}
	return err
}

func (c *conn) close() error { return c.socket.Close() }

func violation(format string, args ...any) error {
	return fmt.Errorf("socket protocol violation: "+format, args...)
}
