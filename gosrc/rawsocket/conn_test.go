package rawsocket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// pairs returns both ends of a quiet connection, by kind of socket.
func pairs(t *testing.T) map[string][2]*Conn {
	t.Helper()
	out := make(map[string][2]*Conn)
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")} {
		listener, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		near, err := net.Dial(network, listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		far, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { near.Close(); far.Close() })
		out[network] = [2]*Conn{Wrap(near).(*Conn), Wrap(far).(*Conn)}
	}
	return out
}

func each(t *testing.T, test func(t *testing.T, near, far *Conn)) {
	for network, ends := range pairs(t) {
		t.Run(network, func(t *testing.T) { test(t, ends[0], ends[1]) })
	}
}

// Every byte arrives once and in order, however the socket cuts the parts: they
// are larger than its buffers and than one call.
func TestBytesArrive(t *testing.T) {
	sizes := [][2]int{{5, 0}, {0, 7}, {5, 100}, {0, 0}, {bytesMax, 1}, {bytesMax + 1, 2 * bytesMax}, {5, 2 << 20}, {1 << 20, 5}}
	each(t, func(t *testing.T, near, far *Conn) {
		var want []byte
		var parts [][2][]byte
		for i, size := range sizes {
			var part [2][]byte
			for k := range part {
				part[k] = make([]byte, size[k])
				for at := range part[k] {
					part[k][at] = byte(at*7 + at>>8 + i + k)
				}
				want = append(want, part[k]...)
			}
			parts = append(parts, part)
		}
		failure := make(chan error, 1)
		go func() {
			for _, part := range parts {
				if n, err := near.WriteBoth(part[0], part[1]); err != nil || n != len(part[0])+len(part[1]) {
					failure <- errors.Join(err, errors.New("written in part"))
					return
				}
			}
			failure <- near.CloseWrite()
		}()
		got, err := io.ReadAll(far)
		if err := errors.Join(err, <-failure); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes arrived, not the %d that were sent", len(got), len(want))
		}
	})
}

// Both directions and an end that waits do not hinder each other.
func TestDirectionsAreIndependent(t *testing.T) {
	each(t, func(t *testing.T, near, far *Conn) {
		echoed := make(chan error, 1)
		go func() {
			_, err := io.Copy(far, io.LimitReader(far, 1000))
			echoed <- err
		}()
		reply := make([]byte, 1000)
		read := make(chan error, 1)
		go func() {
			_, err := io.ReadFull(near, reply)
			read <- err
		}()
		for i := range 100 {
			if _, err := near.Write(bytes.Repeat([]byte{byte(i)}, 10)); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(<-echoed, <-read); err != nil {
			t.Fatal(err)
		}
		for i, b := range reply {
			if int(b) != i/10 {
				t.Fatalf("byte %d is %d", i, b)
			}
		}
	})
}

// Errors are those of package net: a deadline is a timeout, also for a write
// that the other end does not take, and what was written before it counts.
func TestDeadlines(t *testing.T) {
	each(t, func(t *testing.T, near, _ *Conn) {
		_ = near.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		_, err := near.Read(make([]byte, 1))
		requireError(t, err, "read", os.ErrDeadlineExceeded)
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%v is no timeout", err)
		}
		much := make([]byte, 16<<20)
		_ = near.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := near.Write(much)
		requireError(t, err, "write", os.ErrDeadlineExceeded)
		if n == 0 || n == len(much) {
			t.Errorf("%d bytes were written", n)
		}
	})
}

// A call that waits ends when its connection is closed.
func TestClose(t *testing.T) {
	each(t, func(t *testing.T, near, far *Conn) {
		ended := make(chan error, 1)
		go func() {
			_, err := near.Read(make([]byte, 1))
			ended <- err
		}()
		time.Sleep(10 * time.Millisecond) // either order must work
		near.Close()
		requireError(t, <-ended, "read", net.ErrClosed)
		if n, err := far.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("the other end read %d bytes, %v", n, err)
		}
	})
}

// The other end's going away is an error of the call, not a signal.
func TestBrokenPipe(t *testing.T) {
	each(t, func(t *testing.T, near, far *Conn) {
		far.Close()
		var err error
		for end := time.Now().Add(10 * time.Second); err == nil && time.Now().Before(end); {
			_, err = near.Write(make([]byte, 1000))
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			requireError(t, err, "write", syscall.EPIPE)
		}
	})
}

func requireError(t *testing.T, err error, call string, reason error) {
	t.Helper()
	var network *net.OpError
	if !errors.As(err, &network) || network.Op != call || !errors.Is(err, reason) {
		t.Errorf("got %#v (%v), want a failed %s: %v", err, err, call, reason)
	}
}

// What is no socket is left alone, and reading nothing does not wait.
func TestWrap(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	if Wrap(near) != near {
		t.Error("a pipe was wrapped")
	}
	each(t, func(t *testing.T, near, _ *Conn) {
		if n, err := near.Read(nil); n != 0 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	})
}
