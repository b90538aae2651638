package consensus

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgerr"
)

const (
	idlePerPeerMax   = 4
	idleTimeMax      = 30 * time.Second
	callsPerPeerMax  = 16
	connectTimeout   = 5 * time.Second
	applicationName  = "bdr manager"
	disconnectPeriod = time.Second
)

// Links reaches peers' managers through ordinary connections and a SQL
// function. It keeps a few connections per peer, most recent first.
type Links struct {
	// Connect opens a connection.
	Connect func(ctx context.Context, dsn string) (*pgconn.PgConn, error)
	// Identity returns our cluster, zero before there is one, and our node id.
	Identity func() (UUID, uint32)
	// Address returns a peer's DSN.
	Address func(node uint32) (string, error)

	mu    sync.Mutex
	peers map[string]*peerLinks // by DSN
}

type peerLinks struct {
	idle    []idleLink
	running int
}

type idleLink struct {
	*link
	since time.Time
}

// Call delivers one message to a node of our cluster.
func (l *Links) Call(ctx context.Context, to uint32, kind MessageKind, body []byte) ([]byte, error) {
	dsn, err := l.Address(to)
	if err != nil {
		return nil, err
	}
	cluster, self := l.Identity()
	return l.Send(ctx, dsn, Envelope{Cluster: cluster, From: self, To: to, Kind: kind, Body: body})
}

// Send delivers a message to whatever node the DSN reaches. A connection that
// was idle may be dead: the peer restarted. Every message may come twice.
func (l *Links) Send(ctx context.Context, dsn string, e Envelope) ([]byte, error) {
	peer, reused, err := l.take(ctx, dsn)
	if err != nil {
		return nil, err
	}
	reply, err := peer.exchange(ctx, e.Encode())
	if err != nil && reused && peer.conn.IsClosed() && ctx.Err() == nil {
		l.drop(dsn, peer)
		l.Forget(dsn)
		if peer, _, err = l.take(ctx, dsn); err != nil {
			return nil, err
		}
		reply, err = peer.exchange(ctx, e.Encode())
	}
	l.give(dsn, peer)
	if err != nil {
		return nil, err
	}
	return DecodeReply(reply)
}

// take returns an idle connection or a new one, within the limit per peer.
func (l *Links) take(ctx context.Context, dsn string) (peer *link, reused bool, err error) {
	l.mu.Lock()
	p := l.peer(dsn)
	if p.running >= callsPerPeerMax {
		l.mu.Unlock()
		return nil, false, pgerr.New(pgerr.InsufficientResources, "too many messages to one node are under way").
			WithDetail("The limit is %d.", callsPerPeerMax)
	}
	p.running++
	if n := len(p.idle); n > 0 {
		peer, p.idle = p.idle[n-1].link, p.idle[:n-1]
	}
	l.mu.Unlock()
	if peer != nil {
		return peer, true, nil
	}
	if peer, err = l.open(ctx, dsn); err != nil {
		l.drop(dsn, nil)
	}
	return peer, false, err
}

func (l *Links) open(ctx context.Context, dsn string) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := l.Connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	return newLink(ctx, conn)
}

// give puts a connection back, if it is still good and wanted.
func (l *Links) give(dsn string, peer *link) {
	l.mu.Lock()
	p := l.peer(dsn)
	if !peer.conn.IsClosed() && len(p.idle) < idlePerPeerMax {
		p.running--
		p.idle = append(p.idle, idleLink{peer, time.Now()})
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	l.drop(dsn, peer)
}

// drop closes a connection and gives its place back.
func (l *Links) drop(dsn string, peer *link) {
	l.mu.Lock()
	l.peer(dsn).running--
	l.mu.Unlock()
	if peer != nil {
		disconnect(peer.conn)
	}
}

// Forget closes what is idle: one dead connection means that all are, and a
// node that has left needs none.
func (l *Links) Forget(dsn string) { l.closeIdle(dsn, time.Now()) }

// Prune closes what has not been used for a while.
func (l *Links) Prune() {
	for _, dsn := range l.known() {
		l.closeIdle(dsn, time.Now().Add(-idleTimeMax))
	}
}

// Close closes every idle connection.
func (l *Links) Close() {
	for _, dsn := range l.known() {
		l.Forget(dsn)
	}
}

func (l *Links) known() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.peers))
}

// closeIdle closes the connections that have been idle since before a time.
func (l *Links) closeIdle(dsn string, before time.Time) {
	l.mu.Lock()
	p := l.peer(dsn)
	var kept, stale []idleLink
	for _, link := range p.idle {
		if link.since.After(before) {
			kept = append(kept, link)
		} else {
			stale = append(stale, link)
		}
	}
	p.idle = kept
	if len(p.idle) == 0 && p.running == 0 {
		delete(l.peers, dsn)
	}
	l.mu.Unlock()
	for _, link := range stale {
		disconnect(link.conn)
	}
}

// peer returns the entry of a DSN. The caller holds the lock.
func (l *Links) peer(dsn string) *peerLinks {
	if l.peers == nil {
		l.peers = make(map[string]*peerLinks)
	}
	if l.peers[dsn] == nil {
		l.peers[dsn] = &peerLinks{}
	}
	return l.peers[dsn]
}

func disconnect(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), disconnectPeriod)
	defer cancel()
	_ = conn.Close(ctx)
}
