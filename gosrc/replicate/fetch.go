package replicate

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
)

// Limits of a fetch.
const (
	fetchMax      = 5 * time.Minute      // a value may be large, and the link slow
	fetchIdle     = 30 * time.Second     // a connection is kept that long
	fetchClose    = time.Second          // for its good-bye
	fetchPauseMin = 2 * time.Millisecond // until the peer shows what it has sent; doubles
	fetchPauseMax = 250 * time.Millisecond
)

// PeerRows reads rows of a peer; *catalog.PeerRows does.
type PeerRows interface {
	// Read returns false while the peer does not show yet what the transaction
	// wrote, though it has sent it.
	Read(ctx context.Context, f ipc.Fetch) (answer ipc.Fetched, visible bool, err error)
	Closed() bool
	Close(ctx context.Context)
}

// A fetcher asks one peer for what its updates left out. Its connection is made
// for the first question and kept while there are more.
type fetcher struct {
	peer    string
	connect func(ctx context.Context) (PeerRows, error)
	log     func(level ipc.Level, message, detail, hint string)

	mu   sync.Mutex // held during a fetch
	rows PeerRows   // nil: not connected
	used time.Time
}

func newFetcher(d Deps, c Config) *fetcher {
	return &fetcher{peer: c.PeerName, log: d.Log, connect: func(ctx context.Context) (PeerRows, error) {
		return d.Reach(ctx, c.DSN, c.Subscription.Name)
	}}
}

// definitionGone are the SQLSTATEs of a table, schema or column that the peer
// does not have any more. The row went with it.
var definitionGone = []string{pgerr.UndefinedTable, pgerr.UndefinedColumn, pgerr.UndefinedSchema}

// fetch answers one question.
func (f *fetcher) fetch(ctx context.Context, q ipc.Fetch) (ipc.Fetched, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, fetchMax, pgerr.New(pgerr.ConnectionFailure, "no answer came within %s", fetchMax))
	defer cancel()
	answer, err := f.visible(ctx, q)
	f.used = time.Now()
	if err == nil {
		return answer, nil
	}
	fault := pgerr.From(cause(ctx, err))
	if slices.Contains(definitionGone, fault.Code) {
		f.log(ipc.Warning, fmt.Sprintf("unchanged values of a row of table \"%s.%s\" are gone from node %q", q.Schema, q.Relation, f.peer),
			fault.Error(), "Define the table in the same way on all nodes.")
		return ipc.Gone(), nil
	}
	return nil, pgerr.New(fault.Code, "could not fetch unchanged values of table \"%s.%s\" from node %q", q.Schema, q.Relation, f.peer).
		WithDetail("%s", fault.Error()).WithHint("The change is tried again until the node answers.")
}

// visible waits until the peer shows what it has sent.
func (f *fetcher) visible(ctx context.Context, q ipc.Fetch) (ipc.Fetched, error) {
	for pause := fetchPauseMin; ; pause = min(2*pause, fetchPauseMax) {
		answer, visible, err := f.read(ctx, q)
		if err != nil || visible {
			return answer, err
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
	}
}

// read asks once. A connection that was kept and has broken meanwhile is
// replaced.
func (f *fetcher) read(ctx context.Context, q ipc.Fetch) (ipc.Fetched, bool, error) {
	kept := f.rows != nil
	for {
		if f.rows == nil {
			var err error
			if f.rows, err = f.connect(ctx); err != nil {
				f.rows = nil
				return nil, false, err
			}
		}
		answer, visible, err := f.rows.Read(ctx, q)
		if err == nil || !f.rows.Closed() {
			return answer, visible, err
		}
		f.hangUp()
		if !kept || ctx.Err() != nil {
			return nil, false, err
		}
		kept = false
	}
}

// closeIdle ends a connection that has not been used for a while.
func (f *fetcher) closeIdle(now time.Time) {
	if !f.mu.TryLock() {
		return
	}
	defer f.mu.Unlock()
	if f.rows != nil && now.Sub(f.used) >= fetchIdle {
		f.hangUp()
	}
}

// close ends the connection, if there is one.
func (f *fetcher) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rows != nil {
		f.hangUp()
	}
}

func (f *fetcher) hangUp() {
	ctx, cancel := context.WithTimeout(context.Background(), fetchClose)
	defer cancel()
	f.rows.Close(ctx)
	f.rows = nil
}
