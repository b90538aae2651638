package replicate

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"strings"
	"sync"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/conflict"
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/stream"
)

// The fakes stand for a peer's walsender, a writer process and the main
// thread. Everything in them blocks on channels, so that time in synctest
// passes only when nothing else can happen.

var errClosed = errors.New("closed")

// confirmation is one call of Confirm, and when.
type confirmation struct {
	write, flush, apply lsn.LSN
	ask                 bool
	at                  time.Time
}

type fakeStream struct {
	config       stream.Config
	messages     chan stream.Message
	closed       chan struct{}
	once         sync.Once
	mu           sync.Mutex
	heard        []confirmation
	transferable bool
	patience     string
	resumed      chan []byte // what Resume was given
}

func newFakeStream() *fakeStream {
	return &fakeStream{messages: make(chan stream.Message), closed: make(chan struct{}), resumed: make(chan []byte, 10)}
}

func (s *fakeStream) Receive(ctx context.Context) (stream.Message, error) {
	select {
	case m, open := <-s.messages:
		if !open {
			return stream.Message{}, errors.New("connection lost")
		}
		return m, nil
	case <-ctx.Done():
		return stream.Message{}, ctx.Err()
	case <-s.closed:
		return stream.Message{}, errClosed
	}
}

func (s *fakeStream) Patience() string       { return s.patience }
func (s *fakeStream) Timeline() lsn.Timeline { return lsn.Timeline{System: "1", Number: 1} }

func (s *fakeStream) Confirm(write, flush, apply lsn.LSN, ask bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = append(s.heard, confirmation{write, flush, apply, ask, time.Now()})
	return nil
}

func (s *fakeStream) Close() { s.once.Do(func() { close(s.closed) }) }

// HandOff says no unless a test made the stream transferable.
func (s *fakeStream) HandOff() (int, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return 7, s.transferable, nil
}

func (s *fakeStream) Resume(unread []byte, reason string) error {
	if reason != "" {
		return errors.New(reason)
	}
	s.resumed <- unread
	return nil
}

func (s *fakeStream) confirmations() []confirmation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]confirmation(nil), s.heard...)
}

func (s *fakeStream) last() confirmation {
	all := s.confirmations()
	if len(all) == 0 {
		return confirmation{}
	}
	return all[len(all)-1]
}

func (s *fakeStream) keepalive(end lsn.LSN, reply bool) {
	s.messages <- stream.Message{Kind: stream.Keepalive, WALStart: end, WALEnd: end, ReplyRequested: reply}
}

func (s *fakeStream) frame(end lsn.LSN, payload []byte) {
	s.messages <- stream.Message{Kind: stream.Frame, WALEnd: end, Payload: payload}
}

type fakeWriter struct {
	setup     ipc.Setup
	frames    chan []byte     // what Apply was given; nobody reading it is backpressure
	reports   chan ipc.Report // what Receive returns
	handoffs  chan int64      // promises of what HandOff was given
	reclaims  chan struct{}
	fault     chan error // what Receive returns at the end
	questions chan ipc.Question
	answers   chan any      // ipc.Decision, ipc.Plan
	broken    chan struct{} // closed: the socket is
	closed    chan struct{}
	once      sync.Once
	deaf      bool // waits for a lock: only Terminate ends it
}

func newFakeWriter() *fakeWriter {
	return &fakeWriter{frames: make(chan []byte), reports: make(chan ipc.Report), handoffs: make(chan int64, 10), reclaims: make(chan struct{}, 10), fault: make(chan error, 1),
		questions: make(chan ipc.Question), answers: make(chan any, 10),
		broken: make(chan struct{}), closed: make(chan struct{})}
}

func (w *fakeWriter) Setup(s ipc.Setup) error { w.setup = s; return nil }

func (w *fakeWriter) Apply(frame []byte) error {
	select {
	case w.frames <- frame:
		return nil
	case <-w.broken:
		return errors.New("broken pipe")
	case <-w.closed:
		return errClosed
	}
}

func (w *fakeWriter) HandOff(_ int, promised int64) error { w.handoffs <- promised; return nil }
func (w *fakeWriter) Reclaim() error                      { w.reclaims <- struct{}{}; return nil }

func (w *fakeWriter) Receive() (ipc.Report, error) {
	select {
	case p := <-w.reports:
		return p, nil
	case err := <-w.fault:
		return nil, err
	case <-w.closed:
		return nil, io.EOF
	}
}

func (w *fakeWriter) ReadQuestion() (ipc.Question, error) {
	select {
	case q := <-w.questions:
		return q, nil
	case <-w.broken:
		return nil, io.EOF
	case <-w.closed:
		return nil, io.EOF
	}
}

func (w *fakeWriter) Decide(d ipc.Decision) error { w.answers <- d; return nil }
func (w *fakeWriter) Answer(p ipc.Plan) error     { w.answers <- p; return nil }
func (w *fakeWriter) Awaited() error              { w.answers <- ipc.Await{}; return nil }
func (w *fakeWriter) Fetched(f ipc.Fetched) error { w.answers <- f; return nil }
func (w *fakeWriter) Refuse(err error) error      { w.answers <- err; return nil }
func (w *fakeWriter) PID() uint32                 { return 42 }
func (w *fakeWriter) Close() error                { w.once.Do(func() { close(w.closed) }); return nil }

// Finish ends a writer that listens.
func (w *fakeWriter) Finish() error {
	if w.deaf {
		return nil
	}
	return w.Close()
}

// A fakeWorld hands out streams and writers, and says what Open answers.
type fakeWorld struct {
	mu       sync.Mutex
	opened   []*fakeStream
	launched []*fakeWriter
	tries    []time.Time
	refuse   error // of Open
	position lsn.LSN
	written  lsn.LSN // by the peer
	ran      [][]ipc.Stmt
	streams  chan *fakeStream // the connections, for the test
	writers  chan *fakeWriter
}

func newFakeWorld() *fakeWorld {
	return &fakeWorld{position: 100, streams: make(chan *fakeStream, 100), writers: make(chan *fakeWriter, 100)}
}

func (f *fakeWorld) open(_ context.Context, c stream.Config) (Stream, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tries = append(f.tries, time.Now())
	if f.refuse != nil {
		return nil, f.refuse
	}
	s := newFakeStream()
	s.config = c
	f.opened = append(f.opened, s)
	f.streams <- s
	return s, nil
}

func (f *fakeWorld) launch(context.Context, string) (Writer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := newFakeWriter()
	f.launched = append(f.launched, w)
	f.writers <- w
	return w, nil
}

func (f *fakeWorld) terminate(context.Context, uint32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.launched {
		w.Close()
	}
	return nil
}

// Run answers every statement with one row: the origin's position, which is all
// that replicate reads.
func (f *fakeWorld) Run(_ context.Context, statements ...ipc.Stmt) ([]ipc.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ran = append(f.ran, statements)
	text := f.position.String()
	var results []ipc.Result
	for _, st := range statements {
		result := ipc.Result{Processed: 1, Rows: [][]*string{{&text}}}
		if strings.Contains(st.SQL, "node_conflict_resolvers") {
			result.Rows = nil // nobody chose anything
		}
		results = append(results, result)
	}
	return results, nil
}

func (f *fakeWorld) refuseWith(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = err
}

// gaps returns the times between tries.
func (f *fakeWorld) gaps() []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	var gaps []time.Duration
	for i := 1; i < len(f.tries); i++ {
		gaps = append(gaps, f.tries[i].Sub(f.tries[i-1]))
	}
	return gaps
}

func (f *fakeWorld) deps() Deps {
	return Deps{Runner: f, Launch: f.launch, Terminate: f.terminate, Open: f.open, Policy: conflict.DefaultPolicy(),
		Written: func(context.Context, string) (lsn.LSN, error) { return f.written, nil },
		Spawn:   func(_ string, run func()) { go run() },
		Log:     func(ipc.Level, string, string, string) {},
		Setting: func(name string) string {
			return map[string]string{settingBackoffMin: "1s", settingBackoffMax: "10s"}[name]
		},
		Values: func(context.Context) (map[string]string, error) {
			return map[string]string{"server_version": "150020"}, nil
		}}
}

func testConfig() Config {
	return Config{PeerName: "b", DSN: "host=b dbname=app", Subscription: catalog.Subscription{ID: 7, Name: "sub", OriginID: 2,
		SourceID: 2, TargetID: 1, Enabled: true, SlotName: "bdr_5_1", OriginName: "bdr_5_2"}}
}

// Frames, as docs/protocol.md has them.

func frameOf(messages ...[]byte) []byte {
	frame := []byte{'B', 2, 0, 0, 0, 0, 0, 0}
	for _, m := range messages {
		frame = append(frame, m...)
	}
	binary.BigEndian.PutUint32(frame[4:], crc32.Checksum(frame[8:], crc32.MakeTable(crc32.Castagnoli)))
	return frame
}

func messageOf(kind byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body))), body...)
}

func startup() []byte {
	return messageOf('S', []byte{0, 1, 0, 2, 0x49, 0xf0 + 4, 'i', 0, 4, 'U', 'T', 'F', '8'})
}

func begin(end lsn.LSN) []byte {
	b := binary.BigEndian.AppendUint32(nil, 9)
	b = binary.BigEndian.AppendUint64(b, uint64(end)-8)
	b = binary.BigEndian.AppendUint64(b, uint64(end))
	b = binary.BigEndian.AppendUint64(b, 1)
	b = binary.BigEndian.AppendUint32(b, 0)
	return messageOf('B', binary.BigEndian.AppendUint64(b, uint64(end)))
}

func commit(end lsn.LSN) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(end)-8)
	b = binary.BigEndian.AppendUint64(b, uint64(end))
	return messageOf('C', binary.BigEndian.AppendUint32(b, 0))
}

func note(at lsn.LSN, content string) []byte {
	return messageOf('M', append(binary.BigEndian.AppendUint64(nil, uint64(at)), content...))
}

func transaction(end lsn.LSN) []byte { return append(begin(end), commit(end)...) }

func frameMessage(end lsn.LSN, payload []byte) stream.Message {
	return stream.Message{Kind: stream.Frame, WALEnd: end, Payload: payload}
}
