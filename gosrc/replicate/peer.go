// Package replicate brings the changes of one peer here: it moves frames from a
// replication stream to a writer, confirms what is durable, and starts again
// after every failure.
//
// It never looks at a row, and it decides nothing about membership: which peers
// there are is the manager's business.
package replicate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/conflict"
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/stream"
	"bdr/gosrc/wire"
)

// Deps is what the manager hands down.
type Deps struct {
	Runner catalog.Runner
	Launch func(ctx context.Context, title string) (Writer, error)
	// Terminate ends a writer that does not listen.
	Terminate func(ctx context.Context, pid uint32) error
	Open      func(ctx context.Context, c stream.Config) (Stream, error)
	// Written asks a peer how far its WAL is.
	Written func(ctx context.Context, dsn string) (lsn.LSN, error)
	// Reach makes an ordinary connection to read rows of a peer.
	Reach  func(ctx context.Context, dsn, name string) (PeerRows, error)
	Policy conflict.Policy
	Spawn  func(name string, f func())
	Log    func(level ipc.Level, message, detail, hint string)
	// Await waits until this node has what others wrote before some positions.
	Await func(ctx context.Context, positions string) error
	// Setting returns a setting as the server prints it.
	Setting func(name string) string
	// Values returns what the sender must know of this server: the stream
	// options server_version, architecture and encoding.
	Values func(ctx context.Context) (map[string]string, error)
}

// Config names the two ends of a subscription.
type Config struct {
	Subscription catalog.Subscription
	PeerName     string
	LocalName    string
	DSN          string // of the peer
	Sets         string // replication sets that this node wants, as SQL names; empty: the default one
}

// A Peer runs one subscription for ever: connect, apply, and after a failure
// again, with backoff.
type Peer struct {
	config Config
	deps   Deps
	record record
	retry  *retry

	timeline atomic.Pointer[lsn.Timeline] // of the peer's WAL, as recorded

	running chan struct{} // holds one: the right to connect, or to skip

	mu      sync.Mutex
	enabled bool
	patient bool          // while not enabled: the open connection ends by itself
	change  chan struct{} // closed when enabled or patient changes
	pump    *pump         // of the open connection
	cancel  context.CancelFunc
	moved   chan struct{} // closed at the next connection, for WaitApplied
	paused  chan struct{} // closed while nothing runs and nothing will by itself
	ended   chan struct{}
}

// errPaused ends a connection because the subscription was disabled.
var errPaused = errors.New("subscription is disabled")

// Start runs the subscription in a goroutine until Stop.
func Start(config Config, deps Deps) *Peer {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Peer{config: config, deps: deps, retry: newRetry(), enabled: config.Subscription.Enabled,
		running: make(chan struct{}, 1), change: make(chan struct{}), moved: make(chan struct{}), paused: make(chan struct{}),
		cancel: cancel, ended: make(chan struct{})}
	p.timeline.Store(&config.Subscription.Timeline)
	p.record.status.SubID = config.Subscription.ID
	p.record.status.State = StateDisabled
	deps.Spawn("subscription "+config.Subscription.Name, func() {
		defer close(p.ended)
		p.loop(ctx)
	})
	return p
}

// Config returns what the peer was started with.
func (p *Peer) Config() Config { return p.config }

// Stop ends the subscription. It returns when its writer and its connection
// have ended, or with the context's error.
func (p *Peer) Stop(ctx context.Context) error {
	p.cancel()
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop subscription %q: %w", p.config.Subscription.Name, ctx.Err())
	}
}

// Enable lets the subscription run.
func (p *Peer) Enable() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.enabled = true
	p.notify()
}

// Disable pauses the subscription. Unless fast, the transactions that have been
// received are applied first.
func (p *Peer) Disable(fast bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.enabled = false
	p.patient = !fast && p.pump != nil
	if p.patient {
		p.pump.finish()
	}
	p.notify()
}

// notify wakes the loop. The caller holds the lock.
func (p *Peer) notify() {
	close(p.change)
	p.change = make(chan struct{})
}

// Status returns a snapshot for the views.
func (p *Peer) Status() Status { return p.record.snapshot() }

// ResetStatistics starts the counters from zero.
func (p *Peer) ResetStatistics() { p.record.reset() }

// Position says up to which position of the peer everything that concerns us
// has been applied here; the positions of keepalives count.
func (p *Peer) Position() lsn.LSN { return covered(p.record.snapshot().Position) }

// Watermark returns what the peer has promised, as far as everything before that
// has been applied here.
func (p *Peer) Watermark() wire.Watermark { return p.record.snapshot().Watermark }

// loop runs connection after connection.
func (p *Peer) loop(ctx context.Context) {
	for p.awaitEnabled(ctx) {
		err := p.connection(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errStopped) {
			p.retire(ctx)
			continue
		}
		if errors.Is(err, errPaused) || errors.Is(err, errDrained) {
			p.record.state(StateDisabled)
			p.deps.Log(ipc.Log, fmt.Sprintf("subscription %q is paused", p.config.Subscription.Name), "", "")
			continue
		}
		p.pause(ctx, p.fail(ctx, err))
		p.record.retry()
	}
}

// awaitEnabled waits until the subscription may run; false: it is to stop.
func (p *Peer) awaitEnabled(ctx context.Context) bool {
	for ctx.Err() == nil {
		enabled, change := p.wanted()
		if enabled {
			return true
		}
		p.rest(ctx, change)
	}
	return false
}

// rest lasts while the subscription is disabled.
func (p *Peer) rest(ctx context.Context, change <-chan struct{}) {
	p.record.state(StateDisabled)
	p.mu.Lock()
	close(p.paused)
	p.mu.Unlock()
	select {
	case <-change:
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = make(chan struct{})
}

// WaitPaused waits until a disabled subscription has ended its work.
func (p *Peer) WaitPaused(ctx context.Context) error {
	p.mu.Lock()
	paused := p.paused
	p.mu.Unlock()
	select {
	case <-paused:
		return nil
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait until subscription %q is paused: %w", p.config.Subscription.Name, ctx.Err())
	}
}

func (p *Peer) wanted() (bool, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.enabled, p.change
}

// pause waits before the next try; Enable and Disable cut it short.
func (p *Peer) pause(ctx context.Context, delay time.Duration) {
	_, change := p.wanted()
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-change:
	case <-ctx.Done():
	}
}

// connection runs one connection to its end.
func (p *Peer) connection(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	select {
	case p.running <- struct{}{}:
		defer func() { <-p.running }()
	case <-ctx.Done():
		return ctx.Err()
	}
	p.deps.Spawn("pause of "+p.config.Subscription.Name, func() { p.watchPaused(ctx, cancel) })
	p.record.state(StateConnecting)
	pump, err := p.deps.open(ctx, p.ends(), ModeNormal)
	if err != nil {
		return cause(ctx, err)
	}
	timeline := pump.stream.Timeline()
	p.timeline.Store(&timeline)
	p.adopt(pump)
	defer p.release()
	p.deps.Log(ipc.Log, fmt.Sprintf("subscription %q is connected to node %q", p.config.Subscription.Name, p.config.PeerName),
		p.startDetail(), "")
	return pump.run(ctx)
}

// startDetail says where the connection begins; a new origin has no position.
func (p *Peer) startDetail() string {
	if start := p.Status().Start; start != lsn.Zero {
		return fmt.Sprintf("Changes after %s follow.", start)
	}
	return "Changes since its slot was created follow."
}

// watchPaused ends the connection when the subscription is disabled.
func (p *Peer) watchPaused(ctx context.Context, cancel context.CancelCauseFunc) {
	for {
		enabled, change := p.wanted()
		if !enabled && !p.isPatient() {
			cancel(errPaused)
			return
		}
		select {
		case <-change:
		case <-ctx.Done():
			return
		}
	}
}

func (p *Peer) isPatient() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.patient
}

// adopt makes a connection visible to Disable, WaitApplied and the views.
func (p *Peer) adopt(u *pump) {
	p.record.connected(u.progress.lastCommit(), u.writer.PID(), u.progress)
	p.recovered(u.progress.lastCommit())
	succeeded := u.succeeded(p.retry)
	u.onMessage = p.watchEndOfStream
	u.onHeard = func(sent, received time.Time) {
		p.record.heard(sent, received)
		_, _, applied := u.progress.feedback()
		p.recovered(applied)
	}
	u.onApplied = func(w ipc.Progress) {
		p.record.applied(w)
		succeeded(w)
		p.recovered(w.Applied)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pump = u
	close(p.moved)
	p.moved = make(chan struct{})
}

// release ends what adopt began. A connection that was open for long was a
// good one, even if the peer had nothing to say.
func (p *Peer) release() {
	p.record.disconnected()
	if s := p.Status(); s.DisconnectTime.Sub(s.ConnectTime) >= goodConnection {
		p.retry.progressed()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pump = nil
}

// WaitApplied waits until everything that the peer wrote before target has been
// applied here, over as many connections as it takes.
func (p *Peer) WaitApplied(ctx context.Context, target lsn.LSN) error {
	var asked *pump
	for {
		current, changed, reconnected := p.listen()
		if p.Position() >= target {
			return nil
		}
		if current != nil && current != asked {
			signal(current.asked) // an idle peer tells its position only now and then
			asked = current
		}
		select {
		case <-changed:
		case <-reconnected:
		case <-ctx.Done():
			return fmt.Errorf("wait until %s of node %q is applied: %w", target, p.config.PeerName, ctx.Err())
		case <-p.ended:
			return pgerr.New(pgerr.WrongState, "subscription %q has ended", p.config.Subscription.Name)
		}
	}
}

// listen returns the open connection, and channels that are closed when its
// position moves and when the next one opens.
func (p *Peer) listen() (current *pump, changed, reconnected <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pump != nil {
		changed = p.pump.progress.wait()
	}
	return p.pump, changed, p.moved
}

// cause prefers the reason for which a context was ended over what the
// interrupted call made of it.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
