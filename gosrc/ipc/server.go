package ipc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"bdr/gosrc/pgerr"
)

// Server listens for backends and writers.
type Server struct {
	listener net.Listener
	spawn    func(name string, f func())
	handler  Handler
	ctx      context.Context // ends every request at Close
	cancel   context.CancelFunc

	mu      sync.Mutex
	conns   map[*conn]struct{}
	writers map[uint64]*pair
}

// Listen takes the place of a socket that a dead manager left at path.
func Listen(path string, spawn func(string, func()), handler Handler) (*Server, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on socket: %w", err)
	}
	return serve(listener, spawn, handler), nil
}

func serve(listener net.Listener, spawn func(string, func()), handler Handler) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{listener: listener, spawn: spawn, handler: handler, ctx: ctx, cancel: cancel,
		conns: make(map[*conn]struct{}), writers: make(map[uint64]*pair)}
	spawn("socket", s.acceptLoop)
	return s
}

// Close ends every request and connection.
func (s *Server) Close() {
	s.cancel()
	s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.close()
	}
}

func (s *Server) acceptLoop() {
	for {
		socket, err := s.listener.Accept()
		if err != nil {
			if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			panic(fmt.Errorf("accept on the manager's socket: %w", err))
		}
		s.spawn("connection", func() { s.welcome(newConn(socket)) })
	}
}

// welcome reads HELLO and hands the connection to whom it is for.
func (s *Server) welcome(c *conn) {
	if !s.keep(c) {
		return
	}
	greeting, err := readHello(c)
	if err != nil {
		s.refuse(c, err)
		return
	}
	switch greeting.role {
	case roleBackend:
		s.serveBackend(c)
	case roleWriter, roleDecider:
		s.acceptWriter(c, greeting)
	default:
		s.refuse(c, violation("unknown role %q", greeting.role))
	}
}

func readHello(c *conn) (hello, error) {
	first, err := c.read()
	if err != nil {
		return hello{}, err
	}
	if first.kind != kindHello {
		return hello{}, violation("%s instead of HELLO", first.kind)
	}
	greeting, err := decodeHello(first.body)
	if err == nil && greeting.version != SocketVersion {
		err = pgerr.New(pgerr.WrongState, "bdr.so and bdr_go.so are not of one version").
			WithDetail("The server loaded %q, the manager %q.", greeting.version, SocketVersion).
			WithHint("Restart the server after an upgrade of bdr.")
	}
	return greeting, err
}

// refuse closes with a FAULT; one that cannot be sent changes nothing.
func (s *Server) refuse(c *conn, err error) {
	if !isEnd(err) {
		_ = c.write(kindFault, encodeFault(err), nil)
	}
	s.drop(c)
}

// keep remembers c for Close; false when that has happened.
func (s *Server) keep(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		c.close()
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) drop(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	c.close()
}
