package ipc

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"bdr/gosrc/pgerr"
)

// Request is one call of an SQL function.
type Request struct {
	Function      string
	User          string
	InTransaction bool // in a transaction block: cannot be the caller's only command
	Args          []*string

	conn    *conn
	mu      sync.Mutex   // one Run at a time
	answers chan message // what the backend answers to SQL
	ctx     context.Context
}

// Arg returns an argument, "" for NULL or for one that was not passed.
func (r *Request) Arg(i int) string {
	if r.Null(i) {
		return ""
	}
	return *r.Args[i]
}

// Null reports whether an argument is NULL or was not passed.
func (r *Request) Null(i int) bool {
	return i >= len(r.Args) || r.Args[i] == nil
}

// Bool returns a boolean argument, or otherwise for NULL.
func (r *Request) Bool(i int, otherwise bool) bool {
	if r.Null(i) {
		return otherwise
	}
	return r.Arg(i) == "t" || r.Arg(i) == "true"
}

// Number returns an integer argument; what is none is refused.
func (r *Request) Number(i int) (int64, *pgerr.Error) {
	n, err := strconv.ParseInt(r.Arg(i), 10, 64)
	if err != nil {
		return 0, pgerr.New(pgerr.InvalidParameter, "argument %d of %s is not a number: %q", i, r.Function, r.Arg(i))
	}
	return n, nil
}

// Notice shows a message to the user at once.
func (r *Request) Notice(level Level, format string, args ...any) error {
	var e encoder
	e.str(string(level))
	e.str(fmt.Sprintf(format, args...))
	return r.conn.write(kindNotice, e, nil)
}

// Run runs the statements in the caller's transaction, all or none of them.
func (r *Request) Run(ctx context.Context, statements ...Stmt) ([]Result, error) {
	body, err := encodeStatements(statements)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.conn.write(kindSQL, body, nil); err != nil {
		return nil, err
	}
	// The answer must be taken off even when ctx ends: the next one would be
	// taken for it. A backend that does not answer ends r.ctx by going away.
	select {
	case answer := <-r.answers:
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return resultsOf(answer, func(error) { r.conn.close() })
	case <-r.ctx.Done():
		return nil, r.ctx.Err()
	}
}

// A session is one backend's connection: requests, one at a time.
type session struct {
	server *Server
	conn   *conn
	ctx    context.Context
	mu     sync.Mutex
	active *Request
}

// serveBackend reads until the backend goes away, which ends its request.
func (s *Server) serveBackend(c *conn) {
	defer s.drop(c)
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	b := &session{server: s, conn: c, ctx: ctx}
	if c.write(kindWelcome, nil, nil) != nil {
		return
	}
	for {
		m, err := c.read()
		if err == nil {
			err = b.take(m)
		}
		if err != nil {
			if !isEnd(err) {
				_ = c.write(kindFault, encodeFault(err), nil)
			}
			return
		}
	}
}

// take sorts one message from the backend; an error ends the connection.
func (b *session) take(m message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch m.kind {
	case kindRequest:
		if b.active != nil {
			return violation("REQUEST during a request")
		}
		request, err := decodeRequest(m.body)
		if err != nil {
			return err
		}
		request.conn, request.ctx, request.answers = b.conn, b.ctx, make(chan message, 1)
		b.active = request
		b.server.spawn("request "+request.Function, func() { b.answer(request) })
		return nil
	case kindRows, kindFault:
		return b.deliver(m)
	}
	return violation("%s from a backend", m.kind)
}

// deliver hands an answer to Run. There is room for one, and only one question
// is out at a time.
func (b *session) deliver(m message) error {
	if b.active == nil {
		return violation("%s without a request", m.kind)
	}
	select {
	case b.active.answers <- m:
		return nil
	default:
		return violation("%s without a question", m.kind)
	}
}

// answer carries out one request. The session is free for the next one before
// the backend can have seen the reply.
func (b *session) answer(request *Request) {
	rows, err := b.server.handler.Request(b.ctx, request)
	var e encoder
	if err == nil {
		err = e.rows(rows)
	}
	b.mu.Lock()
	b.active = nil
	b.mu.Unlock()
	if err != nil {
		err = b.conn.write(kindFault, encodeFault(err), nil)
	} else {
		err = b.conn.write(kindReply, e, nil)
	}
	if err != nil {
		b.conn.close()
	}
}
