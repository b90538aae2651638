// Package stream is the one door to other servers: it connects, makes slots,
// and reads a replication stream. What is in a frame is package wire's.
package stream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
)

const (
	messageBytesMax = 64 << 20               // BDR_FRAME_BYTES_MAX
	confirmTimeMax  = 10 * time.Second       // to hand a confirmation to the kernel
	closeTimeMax    = 100 * time.Millisecond // to say goodbye
)

// Config says what to stream from where.
type Config struct {
	DSN             string
	Slot            string
	Start           lsn.LSN           // the origin's own position; the server begins after it
	Timeline        lsn.Timeline      // of the server's WAL up to there
	Options         map[string]string // of bdr_output; docs/protocol.md lists them
	ConnectTimeout  time.Duration     // zero: 10 seconds; connect_timeout in DSN wins
	ApplicationName string
}

// Kind tells a message with a frame from one without.
type Kind uint8

// Kinds of messages.
const (
	Frame Kind = iota + 1
	Keepalive
)

// A Message is what Receive returns.
type Message struct {
	Kind Kind

	// WALEnd of a frame is the end of a transaction that it completes, zero if
	// it completes none. WALEnd of a keepalive is how far the server has read:
	// every transaction that ends before it has been sent.
	WALStart, WALEnd lsn.LSN
	SendTime         time.Time
	ReplyRequested   bool
	Payload          []byte // the frame; valid until the next Receive
}

// A Fault is what the server says went wrong while it streamed: it cannot send
// what comes next, or it was ended.
type Fault struct {
	peer  string
	cause *pgerr.Error
}

func (f *Fault) Error() string { return fmt.Sprintf("replication from %q: %v", f.peer, f.cause) }

// Unwrap makes pgerr.From find the server's own error.
func (f *Fault) Unwrap() error { return f.cause }

// A Stream is a connection that START_REPLICATION has taken over. One
// goroutine may Receive while another Confirms; Close may come from any.
type Stream struct {
	peer     string // connection string without its password
	patience string // the server's wal_sender_timeout, as it shows it
	timeline lsn.Timeline
	conn     net.Conn
	line     *line // conn, if it can be handed off
	frontend *pgproto3.Frontend
	writing  sync.Mutex
	out      []byte // the confirmation being built; under writing
}

// Open connects and starts replication from c.Slot.
func Open(ctx context.Context, c Config) (*Stream, error) {
	conn, err := connect(ctx, c.DSN, Replication, c.ApplicationName, c.ConnectTimeout)
	if err != nil {
		return nil, err
	}
	peer, err := prepare(ctx, conn, c)
	if err != nil {
		HangUp(conn)
		return nil, err
	}
	// what speaks TLS is none; nothing may have been read ahead
	transferable, _ := conn.Conn().(*line)
	if transferable != nil && conn.Frontend().ReadBufferLen() == 0 {
		transferable.framed = true
	}
	if err := start(ctx, conn, c); err != nil {
		HangUp(conn)
		return nil, fmt.Errorf("start replication from slot %q of %q: %w", c.Slot, pgerr.MaskDSN(c.DSN), pgerr.From(err))
	}
	hijacked, err := conn.Hijack()
	if err != nil {
		return nil, fmt.Errorf("take over connection: %w", err)
	}
	hijacked.Frontend.SetMaxBodyLen(messageBytesMax)
	return &Stream{peer: pgerr.MaskDSN(c.DSN), patience: peer.patience, timeline: peer.timeline, conn: hijacked.Conn, line: transferable, frontend: hijacked.Frontend}, nil
}

// start sends START_REPLICATION and waits for the server to switch.
func start(ctx context.Context, conn *pgconn.PgConn, c Config) error {
	conn.Frontend().SendQuery(&pgproto3.Query{String: startCommand(c)})
	if err := conn.Frontend().Flush(); err != nil {
		return err
	}
	for {
		m, err := conn.ReceiveMessage(ctx)
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *pgproto3.CopyBothResponse:
			return nil
		case *pgproto3.ErrorResponse:
			return pgconn.ErrorResponseToPgError(m)
		case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus:
		default:
			return fmt.Errorf("unexpected answer %T", m)
		}
	}
}

func startCommand(c Config) string {
	var options []string
	for _, name := range slices.Sorted(maps.Keys(c.Options)) {
		options = append(options, quoteName(name)+" "+quoteText(c.Options[name]))
	}
	command := fmt.Sprintf("START_REPLICATION SLOT %s LOGICAL %s", quoteName(c.Slot), c.Start)
	if len(options) > 0 {
		command += " (" + strings.Join(options, ", ") + ")"
	}
	return command
}

// Patience is the server's wal_sender_timeout, as it shows it: how long it waits
// for a word from us.
func (s *Stream) Patience() string { return s.patience }

// Timeline is that of the WAL which the server sends from.
func (s *Stream) Timeline() lsn.Timeline { return s.timeline }

// Receive returns the next message. When ctx ends it returns at once with its
// error, and nothing is lost: a later Receive goes on where this one stopped.
// Watching a context has a price for each message; one that never ends is free,
// and Close ends the call.
func (s *Stream) Receive(ctx context.Context) (Message, error) {
	if ctx.Done() == nil {
		return s.receive()
	}
	if err := ctx.Err(); err != nil {
		return Message{}, err
	}
	interrupted := make(chan struct{})
	release := context.AfterFunc(ctx, func() {
		s.conn.SetReadDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	m, err := s.receive()
	if !release() {
		<-interrupted
		s.conn.SetReadDeadline(time.Time{})
	}
	var timeout net.Error
	if ctx.Err() != nil && errors.As(err, &timeout) && timeout.Timeout() {
		return Message{}, ctx.Err()
	}
	return m, err
}

// receive waits for the next CopyData, without a limit in time.
func (s *Stream) receive() (Message, error) {
	for {
		m, err := s.frontend.Receive()
		if err != nil {
			return Message{}, s.broken(err)
		}
		switch m := m.(type) {
		case *pgproto3.CopyData:
			return s.decode(m.Data)
		case *pgproto3.ErrorResponse:
			return Message{}, &Fault{s.peer, pgerr.From(pgconn.ErrorResponseToPgError(m))}
		case *pgproto3.CopyDone, *pgproto3.CommandComplete, *pgproto3.ReadyForQuery:
			return Message{}, pgerr.New(pgerr.AdminShutdown, "replication from %q was ended by the server", s.peer)
		}
	}
}

// decode reads the header that every CopyData of a walsender has.
func (s *Stream) decode(data []byte) (Message, error) {
	number := func(at int) uint64 { return binary.BigEndian.Uint64(data[at:]) }
	switch {
	case len(data) >= 25 && data[0] == 'w':
		return Message{Kind: Frame, WALStart: lsn.LSN(number(1)), WALEnd: lsn.LSN(number(9)),
			SendTime: timeOf(number(17)), Payload: data[25:]}, nil
	case len(data) == 18 && data[0] == 'k':
		at := lsn.LSN(number(1))
		return Message{Kind: Keepalive, WALStart: at, WALEnd: at, SendTime: timeOf(number(9)), ReplyRequested: data[17] != 0}, nil
	}
	return Message{}, pgerr.New(pgerr.ProtocolViolation, "unexpected replication message of %d bytes from %q", len(data), s.peer)
}

// HandOff returns the descriptor of the connection for another process to read
// from, until Resume; this one must not Receive meanwhile. False: this
// connection cannot be handed off, or not before more has been received.
func (s *Stream) HandOff() (fd int, ok bool, err error) {
	if s.line == nil {
		return 0, false, nil
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if fd, ok, err = s.line.handOff(); err != nil {
		return 0, false, s.broken(err)
	}
	return fd, ok, nil
}

// Resume takes the connection back with what the other process has read and not
// used, or the reason why it cannot be read any more.
func (s *Stream) Resume(unread []byte, reason string) error {
	if reason != "" {
		return s.broken(errors.New(reason))
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.line.resume(unread); err != nil {
		return s.broken(err)
	}
	return nil
}

// Confirm reports how far this node has received, stored and applied the
// stream. The server may forget what is before flush.
func (s *Stream) Confirm(write, flush, apply lsn.LSN, replyRequested bool) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	body := []byte{'r'}
	for _, at := range []lsn.LSN{write, flush, apply} {
		body = binary.BigEndian.AppendUint64(body, uint64(at))
	}
	body = binary.BigEndian.AppendUint64(body, timestampOf(time.Now()))
	body = append(body, 0)
	if replyRequested {
		body[len(body)-1] = 1
	}
	out, err := (&pgproto3.CopyData{Data: body}).Encode(s.out[:0])
	if err != nil {
		return fmt.Errorf("encode confirmation: %w", err)
	}
	s.out = out
	return s.send(out, confirmTimeMax)
}

// send writes whole messages; the caller holds s.writing.
func (s *Stream) send(messages []byte, limit time.Duration) error {
	s.conn.SetWriteDeadline(time.Now().Add(limit))
	if _, err := s.conn.Write(messages); err != nil {
		return s.broken(err)
	}
	return nil
}

// Close ends the connection and so a Receive or Confirm that waits.
func (s *Stream) Close() {
	s.conn.SetWriteDeadline(time.Now().Add(closeTimeMax)) // for a Confirm that holds the lock
	s.writing.Lock()
	defer s.writing.Unlock()
	if goodbye, err := (&pgproto3.Terminate{}).Encode(nil); err == nil {
		_ = s.send(goodbye, closeTimeMax) // a walsender that does not hear it sees the end of the connection
	}
	_ = s.conn.Close()
}

// broken keeps the reason of a lost connection as the cause.
func (s *Stream) broken(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the server closed the connection")
	}
	return pgerr.New(pgerr.ConnectionFailure, "lost replication connection to %q: %w", s.peer, err)
}

// epoch is the zero of PostgreSQL's timestamps.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func timestampOf(t time.Time) uint64 { return uint64(t.Sub(epoch).Microseconds()) }

func timeOf(microseconds uint64) time.Time {
	return epoch.Add(time.Duration(int64(microseconds)) * time.Microsecond)
}
