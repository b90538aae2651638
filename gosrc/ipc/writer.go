package ipc

import (
	"context"
	"errors"
	"io"
	"time"

	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
)

// Mode says which changes win in a writer.
type Mode byte

// The modes.
const (
	ModeNormal  Mode = 'n'
	ModeCatchUp Mode = 'm' // a copy of the source is being completed: it always wins
)

// Setup says whom a writer serves.
type Setup struct {
	Subscription uint32
	PeerNode     uint32
	LocalNode    uint32
	Mode         Mode
	PeerName     string
	First        lsn.LSN
}

// Progress is how far a writer is, and its counters since it started.
type Progress struct {
	Applied    lsn.LSN // end of the last transaction that is applied
	Flushed    lsn.LSN // end of the last one that is on disk here
	CommitTime int64   // of the last applied, microseconds since 2000-01-01
	Commits    uint64
	Inserts    uint64
	Updates    uint64
	Deletes    uint64
	Truncates  uint64
	Conflicts  uint64
	Skipped    uint64        // transactions that had been applied before
	Aborts     uint64        // local transactions that were rolled back
	Deadlocks  uint64        // of which it was the victim
	ApplyTime  time.Duration // of the transactions that wrote, from first change to commit
	Rows       uint64        // of the transaction in progress
	Keepalive  lsn.LSN       // of the peer, read by the writer itself: all that ends before is applied; zero: none
	Sent       int64         // when the last message was sent that the writer read itself, as CommitTime; 0: none
	Received   int64         // and when it came
}

// A Report is what a writer says of itself: a Progress, and while it has the
// peer's stream, a Heard or a Returned.
type Report any

// Heard is what the peer said about itself. Everything before it is in the last
// Progress.
type Heard struct {
	ReplyRequested bool
	Silence        bool // nothing has come for long
}

const (
	heardReply   = 1
	heardSilence = 2
)

// Returned is a stream that comes back.
type Returned struct {
	InTransaction bool
	Reason        string // why nothing more can be read; "": it can be tried
	Unread        []byte // of the stream, from the beginning of a message
}

// Failed says which change of which transaction a writer could not apply. As
// an error it is the writer's fault.
type Failed struct {
	XID        uint32
	End        lsn.LSN // of the transaction, at the peer
	CommitTime int64   // microseconds since 2000-01-01
	Change     uint32  // from 1
	Schema     string  // "" when the error is not about a table
	Relation   string
	Fault      *pgerr.Error
}

func (f *Failed) Error() string { return f.Fault.Error() }

// Unwrap makes pgerr.From find the fault.
func (f *Failed) Unwrap() error { return f.Fault }

// Version is who wrote a row and when.
type Version struct {
	Known bool
	Time  int64
	Node  uint32
}

// Question is what a writer asks: a Conflict, Facts, a Fetch or an Await.
type Question any

// Conflict says how two tables differ; Type is as in docs/protocol.md.
type Conflict struct {
	Type     uint8
	Local    Version
	Remote   Version
	Complete bool // the columns without a place here are NULL
}

const conflictComplete = 1

// Facts is what an incoming version collides with; the numbers are as in
// docs/protocol.md.
type Facts struct {
	Reload      bool // the resolvers may have been changed
	KeyChanged  bool
	RowVersion  bool
	Operation   uint8
	Image       uint8
	Remote      Version
	Constraints []byte // the kind of each
	Found       []Found
}

const (
	factsReload     = 1
	factsKeyChanged = 2
	factsRowVersion = 4
)

// Found is one thing that collides with an incoming version.
type Found struct {
	Live    bool
	Seen    bool
	On      []int // places in Facts.Constraints
	Version Version
}

const (
	foundLive = 1
	foundSeen = 2
)

// Plan is what to do with an incoming version.
type Plan struct {
	Type       uint8 // 0: no conflict
	Action     uint8
	Resolution string
	Rule       string
	Decisive   int    // place in Facts.Found of what decided; -1: none
	Fates      []byte // of Facts.Found
	Remember   []int  // places in Facts.Constraints
}

// Decision is what to do about a conflict.
type Decision struct {
	Action     uint8
	Resolution string
	Rule       string
}

// Writer is both connections of one writer process. Setup and Apply, Receive,
// and ReadQuestion with its answers may run side by side.
type Writer struct {
	server *Server
	pid    uint32
	data   *conn
	decide *conn
}

// A pair collects the two connections of a token.
type pair struct {
	writer  Writer
	welcome int           // connections that have had their WELCOME
	ready   chan struct{} // closed when both have
}

// ExpectWriter admits the connections of a writer that is about to be launched
// with this token.
func (s *Server) ExpectWriter(token uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writers[token] = &pair{writer: Writer{server: s}, ready: make(chan struct{})}
}

// WaitWriter waits for both connections of an expected writer. When ctx ends
// first, the token is not valid any more.
func (s *Server) WaitWriter(ctx context.Context, token uint64) (*Writer, error) {
	s.mu.Lock()
	expected := s.writers[token]
	s.mu.Unlock()
	if expected == nil {
		return nil, pgerr.New(pgerr.InternalError, "writer is not expected")
	}
	select {
	case <-expected.ready:
		s.forget(token)
		return &expected.writer, nil
	case <-ctx.Done():
		s.forget(token)
		expected.writer.Close()
		return nil, ctx.Err()
	case <-s.ctx.Done():
		return nil, errMainGone
	}
}

func (s *Server) forget(token uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.writers, token)
}

// acceptWriter gives a connection to the pair that waits for it.
func (s *Server) acceptWriter(c *conn, greeting hello) {
	if err := s.claim(c, greeting); err != nil {
		s.refuse(c, err)
		return
	}
	if c.write(kindWelcome, nil, nil) != nil {
		s.drop(c)
		return
	}
	if !s.welcomed(greeting.token) {
		s.drop(c)
	}
}

// welcomed counts; false when nobody waits for this writer any more.
func (s *Server) welcomed(token uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.writers[token]
	if p == nil {
		return false
	}
	if p.welcome++; p.welcome == 2 {
		close(p.ready)
	}
	return true
}

func (s *Server) claim(c *conn, greeting hello) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.writers[greeting.token]
	if p == nil {
		return pgerr.New(pgerr.WrongState, "this writer is not expected")
	}
	place := &p.writer.data
	if greeting.role == roleDecider {
		place = &p.writer.decide
	}
	if *place != nil {
		return violation("second connection of role %q", greeting.role)
	}
	*place = c
	p.writer.pid = greeting.pid
	return nil
}

// PID is the writer's process id.
func (w *Writer) PID() uint32 { return w.pid }

// Setup tells the writer whom it serves; the first message on its connection.
func (w *Writer) Setup(s Setup) error { return w.data.write(kindSetup, encodeSetup(s), nil) }

// Apply sends one frame. It blocks while the writer is behind; Close ends it.
func (w *Writer) Apply(frame []byte) error { return w.data.write(kindApply, nil, frame) }

// HandOff lets the writer read the peer's stream itself, from the connection with
// this descriptor, until it returns it. The peer has promised that nothing older
// than promised comes, in microseconds since 2000-01-01.
func (w *Writer) HandOff(fd int, promised int64) error {
	return w.data.writeWith(fd, kindHandoff, encodeHandoff(promised))
}

// Reclaim asks for the stream; the writer finishes the transaction in progress.
func (w *Writer) Reclaim() error { return w.data.write(kindReclaim, nil, nil) }

// Receive returns the next report, the writer's fault as *pgerr.Error or
// *Failed, or io.EOF when the writer ended.
func (w *Writer) Receive() (Report, error) {
	m, err := w.data.read()
	if err != nil {
		return nil, endAsEOF(err)
	}
	switch m.kind {
	case kindProgress:
		return decodeProgress(m.body)
	case kindHeard:
		return decodeHeard(m.body)
	case kindReturned:
		return decodeReturned(m.body)
	case kindFault:
		return nil, decodeFault(m.body)
	case kindFailed:
		return nil, w.receiveFailed(m.body)
	}
	return nil, violation("%s from a writer", m.kind)
}

// receiveFailed joins FAILED with the FAULT that follows it.
func (w *Writer) receiveFailed(body []byte) error {
	failed, err := decodeFailed(body)
	if err != nil {
		return err
	}
	m, err := w.data.read()
	if err != nil {
		return endAsEOF(err)
	}
	if m.kind != kindFault {
		return violation("%s after %s", m.kind, kindFailed)
	}
	fault := decodeFault(m.body)
	if !errors.As(fault, &failed.Fault) {
		return fault
	}
	return &failed
}

// ReadQuestion waits for the next one; io.EOF when the writer ended.
func (w *Writer) ReadQuestion() (Question, error) {
	m, err := w.decide.read()
	if err != nil {
		return nil, endAsEOF(err)
	}
	switch m.kind {
	case kindConflict:
		return decodeConflict(m.body)
	case kindFacts:
		return decodeFacts(m.body)
	case kindFetch:
		return decodeFetch(m.body)
	case kindAwait:
		return decodeAwait(m.body)
	}
	return nil, violation("%s from a writer", m.kind)
}

// Await asks to wait until this node has what others wrote before these positions, in
// the form of globallock.EncodePositions.
type Await struct {
	Applied   lsn.LSN // of the peer: where its transaction in progress commits
	Positions string
}

func decodeAwait(body []byte) (Await, error) {
	d := decoder{rest: body}
	a := Await{Applied: lsn.LSN(d.u64()), Positions: d.str()}
	return a, d.end(kindAwait)
}

// Awaited answers the Await that was read last.
func (w *Writer) Awaited() error { return w.decide.write(kindAwaited, nil, nil) }

// Decide answers the Conflict that was read last.
func (w *Writer) Decide(d Decision) error {
	return w.decide.write(kindDecision, encodeDecision(d), nil)
}

// Answer answers the Facts that were read last.
func (w *Writer) Answer(p Plan) error {
	return w.decide.write(kindPlan, encodePlan(p), nil)
}

// Finish tells the writer that nothing more comes, and ends an Apply that waits.
// The writer rolls back what is unfinished and ends; Receive goes on until then.
func (w *Writer) Finish() error { return errors.Join(w.data.closeWrite(), w.decide.closeWrite()) }

// Close gives the writer up, whatever it is doing.
func (w *Writer) Close() error {
	w.server.mu.Lock()
	conns := []*conn{w.data, w.decide}
	w.server.mu.Unlock()
	for _, c := range conns {
		if c != nil {
			w.server.drop(c)
		}
	}
	return nil
}

func endAsEOF(err error) error {
	if isEnd(err) {
		return io.EOF
	}
	return err
}
