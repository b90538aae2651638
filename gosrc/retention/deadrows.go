package retention

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/conflict"
	"bdr/gosrc/ipc"
	"bdr/gosrc/stream"
	"bdr/gosrc/wire"
)

// Deps is what the keepers get from the manager.
type Deps struct {
	Main        *ipc.Main
	DatabaseOID uint32
	Cluster     func() cluster.Cluster
	Changed     func() <-chan struct{} // closed when Cluster has changed
	Watermark   func(node uint32) (wire.Watermark, bool)
	Upkeep      *Upkeep
	Acts        func() bool // false: this database must not act as the node now
}

// NewDeadRows makes a keeper that has not taken a turn yet.
func NewDeadRows(deps Deps) *DeadRows { return &DeadRows{deps: deps} }

// What bdr.dead_row_hold says of the hold.
const (
	holdIdle = "not needed" // nobody sends us anything
	holdOff  = "off"        // the administrator does not want it
	holdFull = "no slot"    // max_replication_slots is too small
	holdKeep = "holding"
	holdCut  = "cut" // less is kept than a peer needs
)

const (
	// deleteMax is how many rows go in one transaction of the main thread.
	deleteMax = 5000
	// turnDefault is the time between two turns where the setting is unknown.
	turnDefault = time.Second
	// idleMax is how many times longer it becomes while nothing happens, and
	// between two looks at what is locked now and then.
	idleMax = 10
)

// A DeadRows keeps dead rows, and what is remembered of versions that have none,
// for as long as a peer may send something older, and tells the peers what they
// need for the same. conflict.Retention decides; this carries it out.
type DeadRows struct {
	deps       Deps
	retention  conflict.Retention
	watermarks conflict.Watermarks
	known      known     // as it was read last
	next       uint64    // transaction of the last turn
	safe       int64     // time up to which all had promised then
	swept      time.Time // of the last clean-up
	cleaned    int64     // remembered versions that are older are gone
	unmarked   uint64    // marks of transactions before this one are gone
	full       bool      // it was said that there is no slot
	turning    sync.Mutex

	mu     sync.Mutex
	status retentionStatus
}

// retentionStatus is what the view shows.
type retentionStatus struct {
	state   string // "": nothing is known yet
	xmin    uint64
	next    uint64
	since   int64
	safe    int64
	blocker uint32
	cut     conflict.Cut
	cuts    int
}

// surroundings is what one turn looks at.
type surroundings struct {
	self      catalog.Node
	senders   []catalog.Node // who may send us something that is not new
	sample    catalog.Sample
	listeners []uint32
}

// known is what the catalog says. A user may lock it, and the main thread would
// wait for that, so a turn does not read it without need.
type known struct {
	local   uint32
	nodes   []catalog.Node // of a node that is in no group
	read    time.Time
	changed <-chan struct{} // from before that; closed: it is not as it was
}

// Run takes turns until the manager stops: now and then, less often
// while nothing happens, and when the cluster or a setting has changed.
func (k *DeadRows) Run(ctx context.Context) {
	reloaded := k.deps.reloads()
	for idle := 1; ctx.Err() == nil; {
		busy, err := k.takeTurn(ctx)
		changed := k.known.changed
		k.deps.Upkeep.Report(ctx, cleanVersions, err)
		if err != nil || !k.deps.Acts() {
			changed = nil // nobody has looked at what it tells
		}
		idle = min(2*idle, idleMax)
		if busy {
			idle = 1
		}
		timer := time.NewTimer(time.Duration(idle) * k.interval())
		select {
		case <-timer.C:
		case <-changed:
		case <-reloaded:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func (k *DeadRows) takeTurn(ctx context.Context) (busy bool, err error) {
	k.turning.Lock()
	defer k.turning.Unlock()
	if !k.deps.Acts() {
		return false, nil
	}
	return k.turn(ctx)
}

// Rests says that nothing is let go of any more, once the node does not act.
func (k *DeadRows) Rests() bool {
	if !k.turning.TryLock() {
		return false
	}
	k.turning.Unlock()
	return true
}

func (k *DeadRows) interval() time.Duration {
	ms, err := strconv.Atoi(k.deps.Main.Setting("bdr.watermark_interval"))
	if err != nil {
		return turnDefault
	}
	return time.Duration(ms) * time.Millisecond
}

// limit is bdr.dead_row_retention in microseconds; negative: none.
func (k *DeadRows) limit() int64 {
	seconds, err := strconv.ParseInt(k.deps.Main.Setting("bdr.dead_row_retention"), 10, 64)
	if err != nil {
		return -1
	}
	return seconds * 1_000_000
}

// turn does once what Run repeats. It is busy if transactions or
// promises have come since the last one. The sample comes first: the watermark
// that is written last is later.
func (k *DeadRows) turn(ctx context.Context) (busy bool, err error) {
	s, err := k.look(ctx)
	if err != nil {
		return false, err
	}
	k.retention.Note(conflict.Sample{Xmin: s.sample.Xmin, Next: s.sample.Next, Clock: s.sample.Clock, Newest: s.sample.Newest})
	if len(s.senders) == 0 {
		return false, k.rest(ctx, s)
	}
	safe, blocker, asked := k.promises(s)
	busy = s.sample.Next != k.next || safe != k.safe
	k.next, k.safe = s.sample.Next, safe
	began, ended := k.move(s, safe, blocker)
	if err := k.hold(ctx, s, safe, blocker); err != nil {
		return busy, err
	}
	if began || ended {
		k.tellCut(ctx, s, began)
	}
	if time.Since(k.swept) >= idleMax*k.interval() {
		if err := k.clean(ctx, safe, k.retention.Passed); err != nil {
			return busy, err
		}
		k.swept = time.Now()
	}
	return busy, k.promise(ctx, s, asked)
}

func (k *DeadRows) look(ctx context.Context) (surroundings, error) {
	var s surroundings
	if err := k.readCatalog(ctx); err != nil {
		return s, err
	}
	s.self, s.senders = senders(k.known.local, k.nodes())
	results, err := k.deps.Main.Run(ctx, catalog.SelectListeners(), catalog.SelectSample())
	if err != nil {
		return s, err
	}
	if s.listeners, err = catalog.Listeners(results[0]); err != nil {
		return s, err
	}
	s.sample, err = catalog.SampleOf(results[1])
	return s, err
}

// nodes are those of the group as they have been agreed on by now: whoever has
// begun to count before a turn counts in it.
func (k *DeadRows) nodes() []catalog.Node {
	if agreed := k.deps.Cluster().Nodes; len(agreed) > 0 {
		return agreed
	}
	return k.known.nodes
}

// readCatalog reads it again if it has changed or it is time to.
func (k *DeadRows) readCatalog(ctx context.Context) error {
	select {
	case <-k.known.changed:
	default:
		if k.known.changed != nil && time.Since(k.known.read) < idleMax*k.interval() {
			return nil
		}
	}
	changed := k.deps.Changed()
	local, nodes, err := catalog.ReadNodes(ctx, k.deps.Main)
	if err != nil {
		return err
	}
	k.known = known{local: local.ID, nodes: nodes, read: time.Now(), changed: changed}
	return nil
}

// senders returns the local node and those from which it may get changes,
// directly, that are older than what it has. It is pure. A node counts from the
// moment on at which it may write what will be sent; what it sends a node that
// is still being copied comes in the order of the source.
func senders(local uint32, nodes []catalog.Node) (self catalog.Node, others []catalog.Node) {
	counts := func(n catalog.Node) bool {
		return n.GroupID != 0 && n.State >= cluster.Catchup && n.State < cluster.Parted
	}
	for _, n := range nodes {
		if n.ID == local {
			self = n
		} else if counts(n) {
			others = append(others, n)
		}
	}
	if !counts(self) {
		others = nil
	}
	return self, others
}

// rest is the turn of a node to which nobody sends anything.
func (k *DeadRows) rest(ctx context.Context, s surroundings) error {
	k.retention, k.watermarks = conflict.Retention{Cut: k.retention.Cut, Cuts: k.retention.Cuts}, conflict.Watermarks{}
	k.show(retentionStatus{state: holdIdle})
	if err := k.drop(ctx, s); err != nil {
		return err
	}
	if s.self.State != cluster.Active {
		return nil // one that is joining needs what it has copied
	}
	if err := k.clean(ctx, conflict.Never, s.sample.Xmin); err != nil {
		return err
	}
	k.cleaned = 0 // what is remembered from now on is as new as anything
	return nil
}

func (k *DeadRows) drop(ctx context.Context, s surroundings) error {
	if s.sample.HoldXmin == 0 {
		return nil
	}
	_, err := k.deps.Main.Run(ctx, catalog.DropSlot(stream.HoldName(k.deps.DatabaseOID)))
	return err
}

// promises collects what the others have promised, and the latest time that one
// of them waits for.
func (k *DeadRows) promises(s surroundings) (safe int64, blocker uint32, asked int64) {
	var all []conflict.Promise
	for _, n := range s.senders {
		p := conflict.Promise{Node: n.ID}
		if w, known := k.deps.Watermark(n.ID); known {
			p.Time = w.Time
			asked = max(asked, w.Awaited)
		}
		all = append(all, p)
	}
	safe, blocker = conflict.Safe(all)
	return safe, blocker, asked
}

// move decides where the hold stands from now on.
func (k *DeadRows) move(s surroundings, safe int64, blocker uint32) (began, ended bool) {
	r, limit := &k.retention, k.limit()
	if s.sample.HoldXmin == 0 || limit == 0 {
		r.Stand(s.sample.Xmin)
	} else if r.Xmin == 0 {
		r.Stand(min(s.sample.HoldXmin, s.sample.Xmin))
	}
	ended = r.Release(s.sample.Clock, safe)
	if limit > 0 {
		began = r.Limit(s.sample.Clock, limit, blocker)
	}
	return began, ended
}

// hold has the slot stand where it should.
func (k *DeadRows) hold(ctx context.Context, s surroundings, safe int64, blocker uint32) error {
	r := &k.retention
	status := retentionStatus{state: holdKeep, xmin: r.Xmin, next: s.sample.Next, since: r.Since(), safe: safe, blocker: blocker, cut: r.Cut, cuts: r.Cuts}
	var err error
	switch {
	case k.limit() == 0:
		err = k.drop(ctx, s)
		status.state, status.xmin, status.since = holdOff, 0, 0
	case r.Xmin != s.sample.HoldXmin:
		var set bool
		if set, err = k.set(ctx, r.Xmin); !set {
			status.state, status.xmin, status.since = holdFull, 0, 0
		}
	}
	if status.state == holdKeep && r.IsCut() {
		status.state = holdCut
	}
	k.show(status)
	return err
}

// set moves the slot. One for which there is no room is missed once.
func (k *DeadRows) set(ctx context.Context, xmin uint64) (bool, error) {
	results, err := k.deps.Main.Run(ctx, catalog.SetHold(xmin))
	if err != nil {
		return false, err
	}
	set, err := catalog.HoldSet(results[0])
	if err == nil && !set && !k.full {
		k.deps.Main.Log(ipc.Warning, "dead rows are not kept for peers that are late: max_replication_slots is too small",
			"Conflicts of their changes with rows that were deleted here may not be seen, and the nodes may then differ.",
			"Increase max_replication_slots and restart the server.")
	}
	k.full = err == nil && !set
	return set, err
}

// tellCut says that less is kept than the peers need, or that this is over.
func (k *DeadRows) tellCut(ctx context.Context, s surroundings, began bool) {
	cut := k.retention.Cut
	name := "a node that is gone"
	for _, n := range s.senders {
		if n.ID == cut.Node {
			name = strconv.Quote(n.Name)
		}
	}
	event := catalog.Event{NodeID: s.self.ID, Type: catalog.EventOfDeadRows, Kind: catalog.EventCut,
		Source: stream.HoldName(k.deps.DatabaseOID),
		Text:   fmt.Sprintf("dead rows are kept for bdr.dead_row_retention only: node %s is later than that", name),
		Detail: "Conflicts of its changes with rows that were deleted here may not be seen, and the nodes may then differ."}
	if began {
		k.deps.Main.Log(ipc.Warning, event.Text, event.Detail, "bdr.dead_row_hold shows what is kept.")
	} else {
		event.Kind, event.Text = catalog.EventWhole, "dead rows are kept for as long as they are needed again"
		event.Detail = fmt.Sprintf("Those of transactions before %d, of versions up to %s, may have gone too early, because of node %s.",
			uint32(cut.Xid), *ipc.CommitTime(cut.Newest), name)
		k.deps.Main.Log(ipc.Log, event.Text, event.Detail, "")
	}
	record(ctx, k.deps.Main, event)
}

// clean forgets remembered versions that are older than safe, and marks of
// transactions before xid.
func (k *DeadRows) clean(ctx context.Context, safe int64, xid uint64) error {
	limit := []ipc.Stmt{catalog.LimitLockWait()}
	if safe > k.cleaned {
		before := "infinity"
		if safe != conflict.Never {
			before = *ipc.CommitTime(safe)
		}
		if err := k.deps.deleteAll(ctx, limit, catalog.DeleteRemembered(before, deleteMax)); err != nil {
			return err
		}
		k.cleaned = safe
	}
	if xid > k.unmarked {
		for _, statement := range []ipc.Stmt{catalog.DeleteEvicted(xid, deleteMax), catalog.DeleteRewritten(xid, deleteMax)} {
			if err := k.deps.deleteAll(ctx, limit, statement); err != nil {
				return err
			}
		}
		k.unmarked = xid
	}
	return nil
}

// reloads has something after each change of a setting.
func (d Deps) reloads() <-chan struct{} {
	reloaded := make(chan struct{}, 1)
	d.Main.OnSettings(func() {
		select {
		case reloaded <- struct{}{}:
		default:
		}
	})
	return reloaded
}

// deleteAll repeats a statement, in transactions that limit begins, until it
// finds less than it might delete.
func (d Deps) deleteAll(ctx context.Context, limit []ipc.Stmt, statement ipc.Stmt) error {
	for {
		results, err := d.Main.Run(ctx, append(slices.Clip(limit), statement)...)
		if err != nil {
			return err
		}
		if results[len(limit)].Processed < deleteMax {
			return nil
		}
	}
}

// promise writes a watermark if one is due.
func (k *DeadRows) promise(ctx context.Context, s surroundings, asked int64) error {
	awaited := k.retention.Awaited
	k.watermarks.Listen(s.listeners)
	if !k.watermarks.Due(s.sample.Clock, awaited, asked, s.listeners) {
		return nil
	}
	results, err := k.deps.Main.Run(ctx, catalog.WriteWatermark(awaited))
	if err != nil {
		return err
	}
	written, err := catalog.WatermarkOf(results[0])
	if err == nil && written != 0 {
		k.watermarks.Written(written, awaited, s.listeners)
	}
	return err
}

// Holds says whether what is deleted from now on is kept, as far as it can be.
func (k *DeadRows) Holds() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status.state != "" && k.status.state != holdIdle
}

func (k *DeadRows) show(s retentionStatus) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.status = s
}

// Rows answers bdr.internal_dead_row_hold().
func (k *DeadRows) Rows(context.Context, *ipc.Request) (ipc.Rows, error) {
	k.mu.Lock()
	s := k.status
	k.mu.Unlock()
	rows := ipc.Rows{Columns: len(holdRow("", s))}
	if s.state != "" {
		rows.Values = append(rows.Values, holdRow(stream.HoldName(k.deps.DatabaseOID), s))
	}
	return rows, nil
}

// holdRow has the columns of the function, in their order.
func holdRow(name string, s retentionStatus) []*string {
	row := []*string{ipc.NonEmpty(name), ipc.NonEmpty(s.state), nil, nil, ipc.CommitTime(s.since), nil, ipc.Positive(uint64(s.blocker)),
		ipc.Number(uint64(s.cuts)), ipc.CommitTime(s.cut.Start), ipc.CommitTime(s.cut.End), nil, ipc.CommitTime(s.cut.Newest), ipc.Positive(uint64(s.cut.Node))}
	if s.xmin != 0 {
		row[2], row[3] = ipc.Number(s.xmin&0xffffffff), ipc.Number(s.next-s.xmin)
	}
	if s.safe != conflict.Never {
		row[5] = ipc.CommitTime(s.safe)
	}
	if s.cut.Xid != 0 {
		row[10] = ipc.Number(s.cut.Xid & 0xffffffff)
	}
	return row
}
