package manager

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/conflict"
	"bdr/gosrc/hand"
	"bdr/gosrc/lsn"
	"bdr/gosrc/membership"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/replicate"
	"bdr/gosrc/stream"
)

// Times of the controller.
const (
	writerStartMax    = 30 * time.Second // until a launched writer has connected
	reconcileRetryMin = time.Second      // after a reconciliation failed; doubles
	reconcileRetryMax = time.Minute
)

// peers keeps the subscriptions that run equal to what the cluster agreed on
// and bdr.subscription says. One goroutine reconciles; requests and membership
// call the methods with capital letters.
type peers struct {
	m        *Manager
	server   *hand.Server
	recheck  chan struct{} // something but the cluster changed
	deciding chan struct{} // holds one: the right to make a subscription run, or to say that it shall

	mu      sync.Mutex
	running map[uint32]*replicate.Peer // by origin node
	held    map[uint32]bool            // stopped for good: the node is being parted
	changed chan struct{}              // closed when running changes
	values  map[string]string          // stream options of this server; nil: not read yet
}

func newPeers(m *Manager) *peers {
	return &peers{m: m, recheck: make(chan struct{}, 1), deciding: make(chan struct{}, 1), running: map[uint32]*replicate.Peer{},
		held: map[uint32]bool{}, changed: make(chan struct{})}
}

// run reconciles after each change until ctx ends.
func (p *peers) run(ctx context.Context) {
	wait := reconcileRetryMin
	for ctx.Err() == nil {
		changed := p.m.member.Changed()
		var retry <-chan time.Time
		if err := p.reconcile(ctx); err == nil {
			wait = reconcileRetryMin
		} else if ctx.Err() == nil {
			p.m.main.Log(hand.Log, fmt.Sprintf("could not adjust subscriptions and will try again in %s", wait), err.Error(), "")
			retry = time.After(wait)
			wait = min(2*wait, reconcileRetryMax)
		}
		select {
		case <-changed:
		case <-p.recheck:
		case <-retry:
		case <-ctx.Done():
		}
	}
}

// Recheck has the subscriptions compared again.
func (p *peers) Recheck() {
	select {
	case p.recheck <- struct{}{}:
	default:
	}
}

// reconcile makes rows, origins and running subscriptions what they should be.
func (p *peers) reconcile(ctx context.Context) error {
	local, refusal := p.m.node()
	if refusal != nil || local == (catalog.LocalNode{}) {
		return p.stopAllBut(ctx, nil)
	}
	rows, err := p.rows(ctx)
	if err != nil {
		return err
	}
	wanted := planSubscriptions(local.ID, p.m.member.Cluster(), rows)
	errs := []error{p.stopAllBut(ctx, wanted.run)}
	for _, s := range wanted.remove {
		errs = append(errs, p.remove(ctx, s))
	}
	for _, c := range wanted.run {
		errs = append(errs, p.ensureRunning(ctx, c))
	}
	return errors.Join(errs...)
}

func (p *peers) rows(ctx context.Context) ([]catalog.Subscription, error) {
	results, err := p.m.main.Run(ctx, catalog.LimitLockWait(), catalog.SelectSubscriptions())
	if err != nil {
		return nil, fmt.Errorf("read subscriptions: %w", err)
	}
	return catalog.Subscriptions(results[1])
}

// stopAllBut stops the subscriptions that are not in keep, or that have to
// start anew because the peer's name or address has changed.
func (p *peers) stopAllBut(ctx context.Context, keep []replicate.Config) error {
	p.mu.Lock()
	stale := maps.Clone(p.running)
	p.mu.Unlock()
	for _, c := range keep {
		if peer := stale[c.Subscription.OriginID]; peer != nil && sameEnds(peer.Config(), c) {
			delete(stale, c.Subscription.OriginID)
		}
	}
	var errs []error
	for origin := range stale {
		errs = append(errs, p.halt(ctx, origin))
	}
	return errors.Join(errs...)
}

func sameEnds(a, b replicate.Config) bool {
	a.Subscription.Enabled = b.Subscription.Enabled
	return a == b
}

// halt ends one subscription, if it runs.
func (p *peers) halt(ctx context.Context, origin uint32) error {
	p.mu.Lock()
	peer := p.running[origin]
	p.mu.Unlock()
	if peer == nil {
		return nil
	}
	if err := peer.Stop(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running[origin] == peer {
		delete(p.running, origin)
		p.notify()
	}
	return nil
}

// notify wakes who waits for a change of running. The caller holds the lock.
func (p *peers) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// decide waits for the right to make a subscription run, or to change whether it
// shall; the caller calls done. Without it, one that is enabled while it starts
// could start as disabled, and stay so.
func (p *peers) decide(ctx context.Context) (done func(), err error) {
	select {
	case p.deciding <- struct{}{}:
		return func() { <-p.deciding }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ensureRunning records a subscription and starts it.
func (p *peers) ensureRunning(ctx context.Context, c replicate.Config) error {
	origin := c.Subscription.OriginID
	p.mu.Lock()
	settled := p.running[origin] != nil || p.held[origin]
	p.mu.Unlock()
	if settled {
		return nil
	}
	done, err := p.decide(ctx)
	if err != nil {
		return err
	}
	defer done()
	if c.Subscription, err = p.record(ctx, c.Subscription); err != nil {
		return err
	}
	peer := replicate.Start(c, p.deps())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running[origin] = peer
	p.notify()
	return nil
}

// record makes the row and the replication origin of a subscription. It returns
// the row as it is now.
func (p *peers) record(ctx context.Context, s catalog.Subscription) (catalog.Subscription, error) {
	results, err := p.m.main.Run(ctx, catalog.LimitLockWait(), catalog.InsertSubscription(s), catalog.CreateOrigin(s.OriginName),
		catalog.SelectSubscriptions())
	if err != nil {
		return s, fmt.Errorf("record subscription %q: %w", s.Name, err)
	}
	rows, err := catalog.Subscriptions(results[3])
	for _, row := range rows {
		if row.OriginID == s.OriginID {
			s = row
		}
	}
	return s, err
}

// remove forgets a subscription whose node has left.
func (p *peers) remove(ctx context.Context, s catalog.Subscription) error {
	if err := p.halt(ctx, s.OriginID); err != nil {
		return err
	}
	_, err := p.m.main.Run(ctx, catalog.LimitLockWait(), catalog.DropOrigin(s.OriginName), catalog.DeleteSubscription(s.OriginID))
	if err != nil {
		return fmt.Errorf("remove subscription %q: %w", s.Name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.held, s.OriginID)
	return nil
}

// stop ends every subscription, all at once.
func (p *peers) stop(ctx context.Context) {
	p.mu.Lock()
	running := slices.Collect(maps.Values(p.running))
	p.mu.Unlock()
	ended := make(chan struct{}, len(running))
	for _, peer := range running {
		Go("stop subscription", func() {
			_ = peer.Stop(ctx) // one that does not end in time ends with the process
			ended <- struct{}{}
		})
	}
	for range running {
		<-ended
	}
}

// deps is what subscriptions get from the manager.
func (p *peers) deps() replicate.Deps {
	return replicate.Deps{Runner: p.m.main, Launch: p.launch, Terminate: p.terminate, Open: open, Written: written, Reach: reach, Policy: conflict.DefaultPolicy(),
		Spawn: Go, Log: p.m.main.Log, Setting: p.m.main.Setting, Values: p.streamValues}
}

func open(ctx context.Context, c stream.Config) (replicate.Stream, error) {
	s, err := stream.Open(ctx, c)
	if err != nil {
		return nil, err // not the nil *stream.Stream
	}
	return s, nil
}

func reach(ctx context.Context, dsn, name string) (replicate.PeerRows, error) {
	conn, err := stream.Connect(ctx, dsn, stream.Command, name)
	if err != nil {
		return nil, err
	}
	rows, err := catalog.OpenPeerRows(ctx, conn)
	if err != nil {
		return nil, err // not the nil *catalog.PeerRows
	}
	return rows, nil
}

// launch starts a writer process and waits until it has connected.
func (p *peers) launch(ctx context.Context, title string) (replicate.Writer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, writerStartMax, errWriterLate)
	defer cancel()
	token, err := newToken()
	if err != nil {
		return nil, err
	}
	p.server.ExpectWriter(token)
	if err := p.m.main.Launch(ctx, token, title); err != nil {
		p.disown(token)
		return nil, err
	}
	w, err := p.server.WaitWriter(ctx, token)
	if err == nil {
		return w, nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return nil, err
}

func (p *peers) terminate(ctx context.Context, pid uint32) error {
	_, err := p.m.main.Run(ctx, catalog.TerminateWriter(pid))
	return err
}

var errWriterLate = pgerr.New(pgerr.InsufficientResources, "writer process did not start within %s", writerStartMax).
	WithHint("The server log may say why; \"max_worker_processes\" may be too low.")

// disown makes a token invalid whose writer will not come.
func (p *peers) disown(token uint64) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if w, err := p.server.WaitWriter(ctx, token); err == nil {
		w.Close()
	}
}

func newToken() (uint64, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("make writer token: %w", err)
	}
	return binary.BigEndian.Uint64(b[:]) | 1, nil // zero is for backends
}

// streamValues returns what senders must know of this server.
func (p *peers) streamValues(ctx context.Context) (map[string]string, error) {
	p.mu.Lock()
	values := p.values
	p.mu.Unlock()
	if values != nil {
		return values, nil
	}
	results, err := p.m.main.Run(ctx, catalog.SelectServer())
	if err != nil {
		return nil, err
	}
	server, err := catalog.ServerOf(results[0])
	if err != nil {
		return nil, err
	}
	values = map[string]string{"server_version": server.Version, "architecture": server.Architecture, "encoding": server.Encoding}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.values = values
	return values, nil
}

// Stop ends the subscription to a node that is being parted; it does not start
// again.
func (p *peers) Stop(ctx context.Context, origin uint32) error {
	p.mu.Lock()
	p.held[origin] = true
	p.mu.Unlock()
	return p.halt(ctx, origin)
}

// Applied says up to which of its own positions everything of a node has been
// applied here; zero when there is no subscription.
func (p *peers) Applied(origin uint32) lsn.LSN {
	peer, _ := p.find(origin)
	if peer == nil {
		return 0
	}
	return peer.Position()
}

// WaitApplied waits until everything that a node wrote before target is applied
// here. It also waits for the subscription to start.
func (p *peers) WaitApplied(ctx context.Context, origin uint32, target lsn.LSN) error {
	for {
		peer, changed := p.find(origin)
		if peer != nil {
			err := peer.WaitApplied(ctx, target)
			if again, _ := p.find(origin); err == nil || ctx.Err() != nil || again == peer {
				return err
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for the subscription to node %d: %w", origin, ctx.Err())
		}
	}
}

func (p *peers) find(origin uint32) (*replicate.Peer, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running[origin], p.changed
}

// Mirror completes the copy that a join made of source; see replicate.Mirror.
func (p *peers) Mirror(ctx context.Context, source catalog.Node, nonce string, report func(error)) (replicate.Marker, error) {
	local, _ := p.m.node()
	c, found := subscriptionTo(local.ID, p.m.member.Cluster(), source)
	if !found {
		return replicate.Marker{}, pgerr.New(pgerr.WrongState, "the local node is not a member of a group")
	}
	return replicate.Mirror(ctx, c, p.deps(), nonce, report)
}

// Status returns a snapshot of every subscription, by id.
func (p *peers) Status() []replicate.Status {
	p.mu.Lock()
	running := slices.Collect(maps.Values(p.running))
	p.mu.Unlock()
	var all []replicate.Status
	for _, peer := range running {
		all = append(all, peer.Status())
	}
	slices.SortFunc(all, func(a, b replicate.Status) int { return int(int64(a.SubID) - int64(b.SubID)) })
	return all
}

// resetStatistics starts the counters of every subscription from zero.
func (p *peers) resetStatistics() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, peer := range p.running {
		peer.ResetStatistics()
	}
}

// bySubscription returns the running peer with this subscription id, or nil.
func (p *peers) bySubscription(id uint32) *replicate.Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, peer := range p.running {
		if peer.Config().Subscription.ID == id {
			return peer
		}
	}
	return nil
}

// A plan is what reconcile carries out.
type plan struct {
	run    []replicate.Config
	remove []catalog.Subscription
}

// planSubscriptions says which subscriptions run and which are removed. It is
// pure.
func planSubscriptions(local uint32, c membership.Cluster, rows []catalog.Subscription) plan {
	var result plan
	self, member := c.Node(local)
	recorded := map[uint32]catalog.Subscription{}
	for _, row := range rows {
		recorded[row.OriginID] = row
		if origin, known := c.Node(row.OriginID); member && (!known || origin.State == membership.Parted) || self.State == membership.Parted {
			result.remove = append(result.remove, row)
		}
	}
	for _, origin := range c.Nodes {
		row, has := recorded[origin.ID]
		if !member || origin.ID == local || !subscribes(self.State, origin.State, has) {
			continue
		}
		config, _ := subscriptionTo(local, c, origin)
		if has {
			config.Subscription = row
		}
		result.run = append(result.run, config)
	}
	return result
}

// subscribes says whether a node applies what another one sends: from standby
// on, and while the other is active or, once recorded, on its way out.
func subscribes(self, origin membership.State, recorded bool) bool {
	receives := self >= membership.Standby && self <= membership.Active || membership.IsParting(self) && recorded
	sends := origin == membership.Active || membership.IsParting(origin) && recorded
	return receives && sends
}
