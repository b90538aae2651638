package pgtest

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// Proxy stands before one server and lets a test spoil single links: it knows
// which server opened a connection, so that A's connections to C may be cut
// while B's go on.
type Proxy struct {
	Port     int
	target   string
	listener net.Listener
	sourceOf func(client, proxy int) (name string, found bool)

	mu    sync.Mutex
	links map[string]*Link
}

// Link is every connection that one server opened to another. The zero state
// passes everything.
type Link struct {
	mu      sync.Mutex
	changed *sync.Cond
	cut     bool // bytes stay where they are until it heals
	refused bool // connections are reset, and new ones too
	closed  bool // new connections are reset
	delay   time.Duration
	change  func(copyData []byte) []byte
	pairs   map[*pair]bool
}

type pair struct{ client, server net.Conn }

func newProxy(targetPort int, sourceOf func(client, proxy int) (name string, found bool)) (*Proxy, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		Port:     port,
		target:   fmt.Sprintf("127.0.0.1:%d", targetPort),
		listener: listener,
		sourceOf: sourceOf,
		links:    map[string]*Link{},
	}
	go p.accept()
	return p, nil
}

// Close ends the proxy and all its connections.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		l.Refuse()
	}
}

// From is the link from a server, by name.
func (p *Proxy) From(name string) *Link {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.links[name]
	if l == nil {
		l = &Link{pairs: map[*pair]bool{}}
		l.changed = sync.NewCond(&l.mu)
		p.links[name] = l
	}
	return l
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.serve(client)
	}
}

func (p *Proxy) serve(client net.Conn) {
	name, found := p.sourceOf(client.RemoteAddr().(*net.TCPAddr).Port, p.Port)
	if !found { // passing it on might pass by what a test did to its link
		reset(client)
		return
	}
	link := p.From(name)
	if link.isRefused() {
		reset(client)
		return
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		reset(client)
		return
	}
	both := &pair{client, server}
	if !link.add(both) {
		both.reset()
		return
	}
	go link.pump(both, client, server)
	if change := link.changer(); change != nil {
		client = changed(client, change)
	}
	link.pump(both, server, client)
}

// Cut lets nothing through in either direction and tells nobody, as a network
// that lost its route does. Bytes under way arrive after Heal.
func (l *Link) Cut() { l.set(func() { l.cut = true }) }

// Refuse resets what is open and whatever is opened.
func (l *Link) Refuse() {
	l.set(func() {
		l.refused = true
		for both := range l.pairs {
			both.reset()
		}
	})
}

// RefuseNew resets whatever is opened, and leaves alone what is open.
func (l *Link) RefuseNew() { l.set(func() { l.closed = true }) }

// Delay holds every piece of data for d.
func (l *Link) Delay(d time.Duration) { l.set(func() { l.delay = d }) }

// Change lets a function replace the body of each CopyData message on its way
// to the client, in connections that are opened from now on.
func (l *Link) Change(change func(copyData []byte) []byte) { l.set(func() { l.change = change }) }

// Heal lets everything through again, unchanged.
func (l *Link) Heal() {
	l.set(func() { l.cut, l.refused, l.closed, l.delay, l.change = false, false, false, 0, nil })
}

func (l *Link) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	l.changed.Broadcast()
}

func (l *Link) isRefused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused || l.closed
}

func (l *Link) changer() func([]byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.change
}

func (l *Link) add(both *pair) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.refused {
		l.pairs[both] = true
	}
	return !l.refused
}

// wait returns when the link lets data pass.
func (l *Link) wait() {
	l.mu.Lock()
	for l.cut && !l.refused {
		l.changed.Wait()
	}
	delay := l.delay
	l.mu.Unlock()
	time.Sleep(delay)
}

func (l *Link) pump(both *pair, from, to net.Conn) {
	buf := make([]byte, 64*1024)
	for {
		n, err := from.Read(buf)
		l.wait()
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	_ = both.client.Close()
	_ = both.server.Close()
	l.set(func() { delete(l.pairs, both) })
}

// changed is a connection to a client that changes the CopyData messages among
// what is written to it.
func changed(client net.Conn, change func([]byte) []byte) net.Conn {
	return &changingConn{Conn: client, change: change}
}

type changingConn struct {
	net.Conn
	change  func([]byte) []byte
	pending []byte // the beginning of a message
	begun   bool   // something was passed on
}

func (c *changingConn) Write(b []byte) (int, error) {
	c.pending = append(c.pending, b...)
	if !c.begun && c.pending[0] == 'N' { // no TLS; this answer alone has no length
		c.begun = true
		if err := c.pass(c.pending[:1]); err != nil {
			return 0, err
		}
		c.pending = c.pending[1:]
	}
	for len(c.pending) >= 5 {
		end := 1 + int(binary.BigEndian.Uint32(c.pending[1:]))
		if len(c.pending) < end {
			break
		}
		message := c.pending[:end]
		c.pending = c.pending[end:]
		c.begun = true
		if message[0] == 'd' {
			body := c.change(slices.Clone(message[5:]))
			message = append(binary.BigEndian.AppendUint32([]byte{'d'}, uint32(4+len(body))), body...)
		}
		if err := c.pass(message); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func (c *changingConn) pass(b []byte) error {
	_, err := c.Conn.Write(b)
	return err
}

func (p *pair) reset() {
	reset(p.client)
	reset(p.server)
}

// reset closes without the courtesy of a FIN.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
