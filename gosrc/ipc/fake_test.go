package ipc

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// spawn runs a goroutine for a test; a panic in it fails the whole run.
func spawn(_ string, f func()) { go f() }

// A fake is the C end of a connection.
type fake struct {
	t *testing.T
	*conn
}

// expect reads one message and fails the test when it is of another kind.
func (f fake) expect(k kind) []byte {
	f.t.Helper()
	m, err := f.read()
	if err != nil {
		f.t.Fatalf("waiting for %s: %v", k, err)
	}
	if m.kind != k {
		f.t.Fatalf("got %s %q, want %s", m.kind, m.body, k)
	}
	return m.body
}

func (f fake) send(k kind, body []byte) {
	f.t.Helper()
	if err := f.write(k, body, nil); err != nil {
		f.t.Fatalf("sending %s: %v", k, err)
	}
}

// expectEnd fails the test unless the other side closes.
func (f fake) expectEnd() {
	f.t.Helper()
	if m, err := f.read(); !isEnd(err) {
		f.t.Fatalf("got %s %q %v, want the end", m.kind, m.body, err)
	}
}

// expectFaultsAndEnd fails the test unless the other side sends one FAULT or
// more and closes: what was under way may answer too, that it was canceled.
func (f fake) expectFaultsAndEnd() {
	f.t.Helper()
	f.expect(kindFault)
	for {
		m, err := f.read()
		if isEnd(err) {
			return
		}
		if err != nil || m.kind != kindFault {
			f.t.Fatalf("got %s %q %v, want a FAULT or the end", m.kind, m.body, err)
		}
	}
}

// socketpair returns two connected descriptors.
func socketpair(t *testing.T) (int, int) {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return pair[0], pair[1]
}

// newMainPair returns a Main and the C end of its socketpair.
func newMainPair(t *testing.T) (*Main, fake) {
	t.Helper()
	ours, theirs := socketpair(t)
	m, err := NewMain(ours, spawn)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(theirs), "C")
	defer file.Close()
	socket, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(); socket.Close() })
	return m, fake{t, newConn(socket)}
}

// newServer returns a Server and where it listens.
func newServer(t *testing.T, h Handler) (*Server, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sock")
	s, err := Listen(path, spawn, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, path
}

// dial connects and says HELLO.
func dial(t *testing.T, path string, role byte, token uint64) fake {
	t.Helper()
	f := dialSilent(t, path)
	f.send(kindHello, helloBody(SocketVersion, role, token))
	return f
}

func dialSilent(t *testing.T, path string) fake {
	t.Helper()
	socket, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return fake{t, newConn(socket)}
}

func helloBody(version string, role byte, token uint64) []byte {
	var e encoder
	e.str(version)
	e.u8(role)
	e.u32(4711)
	e.u64(token)
	return e
}

func requestBody(function string, args ...*string) []byte {
	var e encoder
	e.str(function)
	e.str("postgres")
	e.u8(1)
	e.u16(uint16(len(args)))
	for _, arg := range args {
		e.text(arg)
	}
	return e
}

// rowsBody is one result with one row of these columns.
func rowsBody(processed uint64, values ...*string) []byte {
	var e encoder
	e.u16(1)
	e.u64(processed)
	e.u16(uint16(len(values)))
	e.u32(1)
	for _, value := range values {
		e.text(value)
	}
	return e
}

func raw(t *testing.T, f fake, bytes string) {
	t.Helper()
	if _, err := io.WriteString(f.socket, bytes); err != nil {
		t.Fatal(err)
	}
}
