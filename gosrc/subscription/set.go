// Package subscription keeps the subscriptions that run on this node equal to
// what the cluster agreed on and bdr.subscription says.
package subscription

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/conflict"
	"bdr/gosrc/control"
	"bdr/gosrc/globallock"
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pause"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/replicate"
	"bdr/gosrc/stream"
	"bdr/gosrc/wire"
)

// Times of the controller.
const (
	writerStartMax    = 30 * time.Second // until a launched writer has connected
	reconcileRetryMin = time.Second      // after a reconciliation failed; doubles
	reconcileRetryMax = time.Minute
)

// Deps is what a Set gets from the manager.
type Deps struct {
	Main    *ipc.Main
	Node    func() (catalog.LocalNode, *pgerr.Error) // which node this is, and why it must not act
	Cluster func() cluster.Cluster
	Changed func() <-chan struct{} // closed when Cluster has changed
	Spawn   func(name string, f func())
}

// A Set is the subscriptions of this node. One goroutine reconciles; requests
// and membership call the other methods.
type Set struct {
	deps     Deps
	server   *ipc.Server
	recheck  chan struct{} // something but the cluster changed
	deciding chan struct{} // holds one: the right to make a subscription run, or to say that it shall

	mu      sync.Mutex
	running map[uint32]*replicate.Peer // by origin node
	held    map[uint32]bool            // stopped for good: the node is being parted
	changed chan struct{}              // closed when running changes
	values  map[string]string          // stream options of this server; nil: not read yet
}

// New makes a set in which nothing runs yet.
func New(deps Deps) *Set {
	return &Set{deps: deps, recheck: make(chan struct{}, 1), deciding: make(chan struct{}, 1), running: map[uint32]*replicate.Peer{},
		held: map[uint32]bool{}, changed: make(chan struct{})}
}

// Run reconciles after each change until ctx ends.
func (p *Set) Run(ctx context.Context) {
	wait := reconcileRetryMin
	for ctx.Err() == nil {
		changed := p.deps.Changed()
		var retry <-chan time.Time
		if err := p.reconcile(ctx); err == nil {
			wait = reconcileRetryMin
		} else if ctx.Err() == nil {
			p.deps.Main.Log(ipc.Log, fmt.Sprintf("could not adjust subscriptions and will try again in %s", wait), err.Error(), "")
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

// Serve says where writers connect to; it comes before Run.
func (p *Set) Serve(server *ipc.Server) { p.server = server }

// Recheck has the subscriptions compared again.
func (p *Set) Recheck() {
	select {
	case p.recheck <- struct{}{}:
	default:
	}
}

// reconcile makes rows, origins and running subscriptions what they should be.
func (p *Set) reconcile(ctx context.Context) error {
	local, refusal := p.deps.Node()
	if refusal != nil || local == (catalog.LocalNode{}) {
		return p.stopAllBut(ctx, nil)
	}
	rows, err := p.Rows(ctx)
	if err != nil {
		return err
	}
	sets, err := p.sets(ctx)
	if err != nil {
		return err
	}
	wanted := planSubscriptions(local.ID, p.deps.Cluster(), rows, sets)
	errs := []error{p.stopAllBut(ctx, wanted.run)}
	for _, s := range wanted.remove {
		errs = append(errs, p.remove(ctx, s))
	}
	for _, c := range wanted.run {
		errs = append(errs, p.ensureRunning(ctx, c))
	}
	return errors.Join(errs...)
}

// Rows reads what is recorded.
func (p *Set) Rows(ctx context.Context) ([]catalog.Subscription, error) {
	results, err := p.deps.Main.Run(ctx, catalog.LimitLockWait(), catalog.SelectSubscriptions())
	if err != nil {
		return nil, fmt.Errorf("read subscriptions: %w", err)
	}
	return catalog.Subscriptions(results[1])
}

// sets are the replication sets that this node subscribes to.
func (p *Set) sets(ctx context.Context) (string, error) {
	names, err := catalog.ReadLocalSets(ctx, p.deps.Main)
	if err != nil {
		return "", fmt.Errorf("read replication sets: %w", err)
	}
	for i, name := range names {
		names[i] = catalog.QuoteIdentifier(name)
	}
	return strings.Join(names, ","), nil
}

// Resubscribe returns when all that runs has the replication sets that this node
// subscribes to. Which ones these are, somebody else may change meanwhile, who wakes
// those that wait.
func (p *Set) Resubscribe(ctx context.Context) error {
	p.mu.Lock()
	p.notify()
	p.mu.Unlock()
	var failure error
	err := pause.Until(ctx, p.changes, func() bool {
		p.Recheck()
		sets, err := p.sets(ctx)
		failure = err
		return err != nil || p.runWith(sets)
	})
	return cmp.Or(failure, err)
}

func (p *Set) changes() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// runWith says whether nothing runs that wants other replication sets.
func (p *Set) runWith(sets string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, peer := range p.running {
		if peer.Config().Sets != sets {
			return false
		}
	}
	return true
}

// stopAllBut stops the subscriptions that are not in keep, or that have to
// start anew because the peer's name or address, or what this node wants, has changed.
func (p *Set) stopAllBut(ctx context.Context, keep []replicate.Config) error {
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
	a.Subscription.Enabled, a.Subscription.Timeline = b.Subscription.Enabled, b.Subscription.Timeline
	return a == b
}

// halt ends one subscription, if it runs.
func (p *Set) halt(ctx context.Context, origin uint32) error {
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
func (p *Set) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Decide waits for the right to make a subscription run, or to change whether it
// shall; the caller calls done. Without it, one that is enabled while it starts
// could start as disabled, and stay so.
func (p *Set) Decide(ctx context.Context) (done func(), err error) {
	select {
	case p.deciding <- struct{}{}:
		return func() { <-p.deciding }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ensureRunning records a subscription and starts it.
func (p *Set) ensureRunning(ctx context.Context, c replicate.Config) error {
	origin := c.Subscription.OriginID
	p.mu.Lock()
	settled := p.running[origin] != nil || p.held[origin]
	p.mu.Unlock()
	if settled {
		return nil
	}
	done, err := p.Decide(ctx)
	if err != nil {
		return err
	}
	defer done()
	if c.Subscription, err = p.record(ctx, c.Subscription); err != nil {
		return err
	}
	peer := replicate.Start(c, p.dependencies())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running[origin] = peer
	p.notify()
	return nil
}

// record makes the row and the replication origin of a subscription. It returns
// the row as it is now.
func (p *Set) record(ctx context.Context, s catalog.Subscription) (catalog.Subscription, error) {
	results, err := p.deps.Main.Run(ctx, catalog.LimitLockWait(), catalog.InsertSubscription(s), catalog.CreateOrigin(s.OriginName),
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
func (p *Set) remove(ctx context.Context, s catalog.Subscription) error {
	if err := p.halt(ctx, s.OriginID); err != nil {
		return err
	}
	_, err := p.deps.Main.Run(ctx, catalog.LimitLockWait(), catalog.DropOrigin(s.OriginName), catalog.DeleteSubscription(s.OriginID))
	if err != nil {
		return fmt.Errorf("remove subscription %q: %w", s.Name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.held, s.OriginID)
	return nil
}

// Close ends every subscription, all at once.
func (p *Set) Close(ctx context.Context) {
	p.mu.Lock()
	running := slices.Collect(maps.Values(p.running))
	p.mu.Unlock()
	ended := make(chan struct{}, len(running))
	for _, peer := range running {
		p.deps.Spawn("stop subscription", func() {
			_ = peer.Stop(ctx) // one that does not end in time ends with the process
			ended <- struct{}{}
		})
	}
	for range running {
		<-ended
	}
}

// dependencies is what subscriptions get from the manager.
func (p *Set) dependencies() replicate.Deps {
	return replicate.Deps{Runner: p.deps.Main, Launch: p.launch, Terminate: p.terminate, Open: open, Written: written, Reach: reach, Policy: conflict.DefaultPolicy(),
		Spawn: p.deps.Spawn, Log: p.deps.Main.Log, Setting: p.deps.Main.Setting, Values: p.streamValues, Await: p.await}
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
func (p *Set) launch(ctx context.Context, title string) (replicate.Writer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, writerStartMax, errWriterLate)
	defer cancel()
	token, err := newToken()
	if err != nil {
		return nil, err
	}
	p.server.ExpectWriter(token)
	if err := p.deps.Main.Launch(ctx, token, title); err != nil {
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

func (p *Set) terminate(ctx context.Context, pid uint32) error {
	_, err := p.deps.Main.Run(ctx, catalog.TerminateWriter(pid))
	return err
}

var errWriterLate = pgerr.New(pgerr.InsufficientResources, "writer process did not start within %s", writerStartMax).
	WithHint("The server log may say why; \"max_worker_processes\" may be too low.")

// disown makes a token invalid whose writer will not come.
func (p *Set) disown(token uint64) {
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
func (p *Set) streamValues(ctx context.Context) (map[string]string, error) {
	p.mu.Lock()
	values := p.values
	p.mu.Unlock()
	if values != nil {
		return values, nil
	}
	results, err := p.deps.Main.Run(ctx, catalog.SelectServer())
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
func (p *Set) Stop(ctx context.Context, origin uint32) error {
	p.mu.Lock()
	p.held[origin] = true
	p.mu.Unlock()
	return p.halt(ctx, origin)
}

// Applied says up to which of its own positions everything of a node has been
// applied here; zero when there is no subscription.
func (p *Set) Applied(origin uint32) lsn.LSN {
	peer, _ := p.Find(origin)
	if peer == nil {
		return 0
	}
	return peer.Position()
}

// WaitApplied waits until everything that a node wrote before target is applied
// here. It also waits for the subscription to start.
func (p *Set) WaitApplied(ctx context.Context, origin uint32, target lsn.LSN) error {
	for {
		peer, changed := p.Find(origin)
		if peer != nil {
			err := peer.WaitApplied(ctx, target)
			if again, _ := p.Find(origin); err == nil || ctx.Err() != nil || again == peer {
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

// await waits for positions in the form of globallock.EncodePositions. Those of nodes that are
// gone do not count any more.
func (p *Set) await(ctx context.Context, text string) error {
	positions, err := globallock.DecodePositions(text)
	if err != nil {
		return err
	}
	local, _ := p.deps.Node()
	for _, at := range globallock.Elsewhere(positions, local.ID, p.deps.Cluster()) {
		if err := p.WaitApplied(ctx, at.Node, at.Position); err != nil {
			return err
		}
	}
	return nil
}

// Find returns the running subscription to a node, or nil, and what is closed
// when another one runs.
func (p *Set) Find(origin uint32) (*replicate.Peer, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running[origin], p.changed
}

// CatchUp completes the copy that a join made of source; see replicate.CatchUp.
func (p *Set) CatchUp(ctx context.Context, source catalog.Node, nonce string, report func(error)) (control.CatchUpPoint, error) {
	local, _ := p.deps.Node()
	c, found := subscriptionTo(local.ID, p.deps.Cluster(), source)
	if !found {
		return control.CatchUpPoint{}, pgerr.New(pgerr.WrongState, "the local node is not a member of a group")
	}
	var err error
	if c.Sets, err = p.sets(ctx); err != nil {
		return control.CatchUpPoint{}, err
	}
	return replicate.CatchUp(ctx, c, p.dependencies(), nonce, report)
}

// Status returns a snapshot of every subscription, by id.
func (p *Set) Status() []replicate.Status {
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

// ResetStatistics starts the counters of every subscription from zero.
func (p *Set) ResetStatistics() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, peer := range p.running {
		peer.ResetStatistics()
	}
}

// BySubscription returns the running peer with this subscription id, or nil.
func (p *Set) BySubscription(id uint32) *replicate.Peer {
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
func planSubscriptions(local uint32, c cluster.Cluster, rows []catalog.Subscription, sets string) plan {
	var result plan
	self, member := c.Node(local)
	recorded := map[uint32]catalog.Subscription{}
	for _, row := range rows {
		recorded[row.OriginID] = row
		if origin, known := c.Node(row.OriginID); member && (!known || origin.State == cluster.Parted) || self.State == cluster.Parted {
			result.remove = append(result.remove, row)
		}
	}
	for _, origin := range c.Nodes {
		row, has := recorded[origin.ID]
		if !member || origin.ID == local || !cluster.Subscribes(self.State, origin.State, has) {
			continue
		}
		config, _ := subscriptionTo(local, c, origin)
		if has {
			config.Subscription = row
		}
		config.Sets = sets
		result.run = append(result.run, config)
	}
	return result
}

// written asks a peer how far its WAL is.
func written(ctx context.Context, dsn string) (lsn.LSN, error) {
	conn, err := stream.Connect(ctx, dsn, stream.Command, "bdr")
	if err != nil {
		return lsn.Zero, err
	}
	defer stream.HangUp(conn)
	results, err := catalog.Over(conn).Run(ctx, catalog.SelectFlushPosition())
	if err != nil {
		return lsn.Zero, err
	}
	return catalog.Position(results[0])
}

// Watermark returns what a node has promised last; false: nothing of it runs.
func (p *Set) Watermark(origin uint32) (wire.Watermark, bool) {
	peer, _ := p.Find(origin)
	if peer == nil {
		return wire.Watermark{}, false
	}
	return peer.Watermark(), true
}
