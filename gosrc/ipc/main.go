package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"bdr/gosrc/pgerr"
)

// Main is Go's end of the socketpair of the manager's main thread.
//
// Questions are answered in their order, so answers need no number: each one
// belongs to the oldest question that waits.
type Main struct {
	conn  *conn
	spawn func(name string, f func())

	sending chan struct{} // holds one: the right to send a question
	mu      sync.Mutex
	waiting []chan message // questions without an answer, oldest first
	closed  error
	done    chan struct{}

	settings   map[string]string
	onSettings []func()
}

var errMainGone = pgerr.New(pgerr.AdminShutdown, "the manager is stopping")

// NewMain takes over fd. It reads messages on a goroutine of its own.
func NewMain(fd int, spawn func(string, func())) (*Main, error) {
	file := os.NewFile(uintptr(fd), "main thread")
	socket, err := net.FileConn(file)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("socket of the main thread: %w", err)
	}
	return newMain(socket, spawn), nil
}

func newMain(socket net.Conn, spawn func(string, func())) *Main {
	m := &Main{conn: newConn(socket), spawn: spawn, done: make(chan struct{}),
		sending: make(chan struct{}, 1), settings: make(map[string]string)}
	spawn("main thread reader", m.readLoop)
	return m
}

// Done is closed when the main thread is gone or Close was called.
func (m *Main) Done() <-chan struct{} { return m.done }

// Close ends the manager: the main thread sees the end of the stream and exits
// with success, so that the manager comes back only when it is wanted.
func (m *Main) Close() error {
	m.end(errMainGone)
	return m.conn.close()
}

// Run runs the statements in one transaction of the main thread. When ctx ends
// first, the transaction still runs; only its answer is not waited for.
func (m *Main) Run(ctx context.Context, statements ...Stmt) ([]Result, error) {
	body, err := encodeStatements(statements)
	if err != nil {
		return nil, err
	}
	answer, err := m.ask(ctx, kindSQL, body)
	if err != nil {
		return nil, err
	}
	return resultsOf(answer, m.violated)
}

// Launch asks for a writer process with this token; it connects to the Server.
func (m *Main) Launch(ctx context.Context, token uint64, title string) error {
	var e encoder
	e.u64(token)
	e.str(title)
	answer, err := m.ask(ctx, kindLaunch, e)
	if err != nil {
		return err
	}
	switch answer.kind {
	case kindLaunched:
		_, err = decodeLaunched(answer.body)
	case kindFault:
		return decodeFault(answer.body)
	default:
		err = violation("%s as answer to LAUNCH", answer.kind)
	}
	if err != nil {
		m.violated(err)
	}
	return err
}

// Log writes to the server log through the main thread.
func (m *Main) Log(level Level, text, detail, hint string) {
	var e encoder
	e.str(string(level))
	e.str(text)
	e.optional(detail)
	e.optional(hint)
	// A main thread that is gone has no log to write to.
	_ = m.conn.write(kindLog, e, nil)
}

// Setting returns the latest value of a setting, "" for an unknown one.
func (m *Main) Setting(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.settings[name]
}

// OnSettings has f called, on a goroutine of its own, after each reload.
func (m *Main) OnSettings(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onSettings = append(m.onSettings, f)
}

// ask sends one question and waits for its answer.
func (m *Main) ask(ctx context.Context, k kind, body []byte) (message, error) {
	answer, err := m.send(ctx, k, body)
	if err != nil {
		return message{}, err
	}
	select {
	case got := <-answer:
		return got, nil
	case <-ctx.Done():
		return message{}, ctx.Err()
	case <-m.done:
		return m.lastAnswer(answer)
	}
}

// lastAnswer: the answer may have come just before the end.
func (m *Main) lastAnswer(answer chan message) (message, error) {
	select {
	case got := <-answer:
		return got, nil
	default:
		return message{}, m.reason()
	}
}

// send queues for the answer and writes, both under the same right, so that
// the order of waiting is the order on the socket.
func (m *Main) send(ctx context.Context, k kind, body []byte) (chan message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case m.sending <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-m.done:
		return nil, m.reason()
	}
	defer func() { <-m.sending }()
	answer := make(chan message, 1)
	m.mu.Lock()
	m.waiting = append(m.waiting, answer)
	m.mu.Unlock()
	if err := m.conn.write(k, body, nil); err != nil {
		m.end(errMainGone)
		return nil, m.reason()
	}
	return answer, nil
}

func (m *Main) readLoop() {
	for {
		got, err := m.conn.read()
		if err == nil {
			err = m.take(got)
		}
		if err == nil {
			continue
		}
		if !isEnd(err) {
			m.violated(err)
		}
		m.end(errMainGone)
		return
	}
}

// take sorts one message from the main thread.
func (m *Main) take(got message) error {
	switch got.kind {
	case kindRows, kindFault, kindLaunched:
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.waiting) == 0 {
			return violation("%s without a question", got.kind)
		}
		m.waiting[0] <- got
		m.waiting = m.waiting[1:]
		return nil
	case kindSettings:
		return m.takeSettings(got.body)
	}
	return violation("%s from the main thread", got.kind)
}

func (m *Main) takeSettings(body []byte) error {
	settings, err := decodeSettings(body)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settings = settings
	for _, f := range m.onSettings {
		m.spawn("settings", f)
	}
	return nil
}

func (m *Main) end(reason error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed == nil {
		m.closed = reason
		close(m.done)
	}
}

func (m *Main) reason() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

// violated panics: both ends are of one build, so this is our own mistake, and
// the manager starts anew.
func (m *Main) violated(err error) { panic(err) }

// resultsOf decodes an answer to SQL; bad hears of one that makes no sense.
func resultsOf(answer message, bad func(error)) (results []Result, err error) {
	switch answer.kind {
	case kindRows:
		results, err = decodeResults(answer.body)
	case kindFault:
		return nil, decodeFault(answer.body)
	default:
		err = violation("%s as answer to SQL", answer.kind)
	}
	if err != nil {
		bad(err)
	}
	return results, err
}

// isEnd reports whether err is an ordinary end of a connection.
func isEnd(err error) bool {
	var network *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) || errors.As(err, &network)
}
