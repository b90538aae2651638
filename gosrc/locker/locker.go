// Package locker gets global locks for the sessions of this node, and gives them back
// when the sessions do not need them any more. What is agreed on is package
// globallock's.
package locker

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/globallock"
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pause"
	"bdr/gosrc/pgerr"
)

const (
	proposeTimeMax = 10 * time.Second // for a majority to agree
	aloneTimeMax   = 5 * time.Second  // the same, for who goes on without
	blockedPeriod  = time.Second      // between two looks for deadlocks with writers
)

// errUnasked is that of a session that goes on without a lock.
var errUnasked = errors.New("the group cannot be asked")

// A wish is what a session asks for.
type wish struct {
	globallock.Command
	limit time.Duration // 0: none
	alone bool          // goes on when the group cannot be asked
}

// Host is the manager's main thread.
type Host interface {
	catalog.Runner
	Log(level ipc.Level, message, detail, hint string)
}

// Deps is what the manager hands down.
type Deps struct {
	Host    Host
	Spawn   func(name string, f func())
	Node    func() (catalog.LocalNode, *pgerr.Error) // which node this is, and why it must not act
	Cluster func() cluster.Cluster
	Locks   func() globallock.State
	Changed func() <-chan struct{} // closed when one of them has changed; to be taken before looking
	Leads   func() bool
	// Propose gets a command carried out on every node.
	Propose func(ctx context.Context, limit time.Duration, entry []byte) (string, error)
	// Admit refuses commands while a node would not carry them out.
	Admit func(ctx context.Context) error
	// WaitApplied waits until this node has all that another one wrote before a position.
	WaitApplied func(ctx context.Context, node uint32, target lsn.LSN) error
}

// Locker answers requests. Its methods may be called at any time.
type Locker struct {
	deps  Deps
	ctx   context.Context
	epoch string        // what the ids of this manager begin with
	kick  chan struct{} // a lock is not needed any more

	failing bool // Run's: to give locks back

	mu   sync.Mutex
	made int64
	live map[string]catalog.LocalLock // by id: who is connected
}

// New returns a Locker that works until ctx ends.
func New(ctx context.Context, d Deps) *Locker {
	random := make([]byte, 8)
	_, _ = rand.Read(random) // it never fails
	return &Locker{deps: d, ctx: ctx, epoch: hex.EncodeToString(random) + "-", kick: make(chan struct{}, 1), live: map[string]catalog.LocalLock{}}
}

// Acquire answers "global_lock": the type, whether the key is a bigint, its two halves,
// the session, when it began to wait, for how long it waits at most, and whether it
// goes on when the group cannot be asked; of the lock of a table, its schema and name. The
// answer is where others gave locks back, and stopped writing to the table. The lock is needed as long as the connection lasts, whose end ends ctx.
func (l *Locker) Acquire(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	w, fault := l.read(r)
	if fault != nil {
		return ipc.Rows{}, fault
	}
	l.begin(w.Command)
	context.AfterFunc(ctx, func() {
		if l.ctx.Err() == nil { // otherwise it is the manager that ends
			l.end(w.ID)
		}
	})
	err := l.acquire(ctx, w)
	if errors.Is(err, errUnasked) {
		err = r.Notice(ipc.Warning, "no majority of the group can be asked for %s: make sure that no other node makes something of this name", globallock.Title(w.Key()))
	}
	if err != nil {
		l.end(w.ID)
		return ipc.Rows{}, err
	}
	return ipc.Value(globallock.EncodePositions(l.before(w.ID))), nil
}

// read reads the arguments.
func (l *Locker) read(r *ipc.Request) (wish, *pgerr.Error) {
	var numbers [5]int64
	for i := range numbers {
		var fault *pgerr.Error
		if numbers[i], fault = r.Number(i + 2); fault != nil {
			return wish{}, fault
		}
	}
	local, _ := l.deps.Node()
	cmd := globallock.Command{Kind: globallock.Acquire, Node: local.ID, Time: time.Now().UnixMicro(), ID: l.newID(), Type: r.Arg(0),
		Key1: int32(numbers[0]), Key2: int32(numbers[1]), Bigint: r.Bool(1, false), PID: numbers[2], LocalRequest: numbers[3],
		Schema: r.Arg(8), Table: r.Arg(9)}
	return wish{cmd, time.Duration(numbers[4]) * time.Millisecond, r.Bool(7, false)}, cmd.Check()
}

func (l *Locker) newID() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made++
	return l.epoch + strconv.FormatInt(l.made, 16)
}

func (l *Locker) begin(cmd globallock.Command) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live[cmd.ID] = catalog.LocalLock{PID: cmd.PID, GlobalLockKey: cmd.Key()}
}

// end has Run give the lock back, or the place in the queue, also if that is not agreed
// on before later.
func (l *Locker) end(id string) {
	l.mu.Lock()
	delete(l.live, id)
	l.mu.Unlock()
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// acquire returns when this node knows that the session has the lock.
func (l *Locker) acquire(caller context.Context, w wish) error {
	ctx, cancel := caller, func() {}
	if w.limit > 0 {
		waited := time.Since(time.UnixMicro(w.LocalRequest)) // by the server's clock, which may have been set
		ctx, cancel = context.WithTimeout(caller, min(w.limit, max(w.limit-waited, time.Millisecond)))
	}
	defer cancel()
	if fault := globallock.CheckNode(l.deps.Cluster(), w.Node); fault != nil {
		return fault
	}
	if err := l.deps.Admit(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	err := l.propose(ctx, w)
	if err == nil {
		err = l.await(ctx, w.Command)
	}
	if err == nil && w.Type == catalog.GlobalLockDML {
		err = l.awaitReady(ctx, w.Command)
	}
	if err == nil && globallock.Changes(w.Type) {
		err = l.catchUp(ctx, w.Command)
	}
	switch {
	case err == nil || caller.Err() != nil:
		return errors.Join(err, caller.Err())
	case pgerr.Code(err) == pgerr.ConfigLimit, pgerr.Code(err) == pgerr.LockNotAvailable, pgerr.Code(err) == pgerr.Deadlock, errors.Is(err, errUnasked):
		return err
	}
	return l.explain(w.Command, w.limit, err)
}

// propose puts the session into the queue.
func (l *Locker) propose(ctx context.Context, w wish) error {
	limit := proposeTimeMax
	if w.alone {
		limit = aloneTimeMax
	}
	if w.Type == catalog.GlobalLockDML {
		var err error
		if w.Position, err = l.insertPosition(ctx); err != nil {
			return err
		}
	}
	_, err := l.deps.Propose(ctx, limit, w.Encode())
	if _, waits := l.deps.Locks().Find(w.ID); err != nil && w.alone && !waits && pgerr.Code(err) != pgerr.ConfigLimit {
		return errUnasked
	}
	return err
}

// await waits until the log has brought the lock to the session.
func (l *Locker) await(ctx context.Context, cmd globallock.Command) error {
	seen, lost := false, false
	err := pause.Until(ctx, l.deps.Changed, func() bool {
		locks := l.deps.Locks()
		holder, _ := locks.Holder(cmd.Key())
		_, waits := locks.Find(cmd.ID)
		lost = holder.ID != cmd.ID && (seen && !waits || l.deps.Cluster().Gone(cmd.Node))
		seen = waits
		return lost || holder.ID == cmd.ID
	})
	if lost {
		return pgerr.New(pgerr.WrongState, "the group does not wait for this session any more")
	}
	return err
}

// awaitReady waits until nobody writes to the table on other nodes.
func (l *Locker) awaitReady(ctx context.Context, cmd globallock.Command) error {
	lost := false
	err := pause.Until(ctx, l.deps.Changed, func() bool {
		locks, members := l.deps.Locks(), l.deps.Cluster()
		_, has := locks.Find(cmd.ID)
		lost = !has || members.Gone(cmd.Node)
		return lost || len(locks.Missing(cmd.ID, members, cmd.Node)) == 0
	})
	switch {
	case lost:
		return pgerr.New(pgerr.WrongState, "the group does not wait for this session any more")
	case err != nil:
		return err
	}
	for _, r := range l.deps.Locks().Ready {
		if n, known := l.deps.Cluster().Node(r.Node); known && r.ID == cmd.ID && r.Position == 0 {
			return errAbsent(cmd, n)
		}
	}
	return nil
}

func errAbsent(cmd globallock.Command, n catalog.Node) *pgerr.Error {
	return pgerr.New(pgerr.LockNotAvailable, "could not lock table %q on all nodes", cmd.Schema+"."+cmd.Table).
		WithDetail("There is no such table on node %q.", n.Name).
		WithHint("If this transaction has renamed the table, commit that first. If it is a table of this node only, set bdr.ddl_replication to off.")
}

// earlier is where other nodes gave locks back that others must have applied the changes of.
func (l *Locker) earlier() []catalog.GlobalLockPosition {
	local, _ := l.deps.Node()
	return globallock.Elsewhere(l.deps.Locks().Positions, local.ID, l.deps.Cluster())
}

// before is the same, and up to where users of other nodes wrote to the table of a lock.
func (l *Locker) before(id string) []catalog.GlobalLockPosition {
	list := l.earlier()
	for _, r := range l.deps.Locks().Ready {
		if r.ID == id && r.Position != 0 {
			list, _ = globallock.WithPosition(list, catalog.GlobalLockPosition{Node: r.Node, Position: r.Position})
		}
	}
	return list
}

// catchUp waits until this node has what others did before. Rows of theirs may wait for the
// transaction itself: the server does not see that deadlock.
func (l *Locker) catchUp(ctx context.Context, cmd globallock.Command) error {
	for _, p := range l.before(cmd.ID) {
		n, _ := l.deps.Cluster().Node(p.Node)
		for {
			waiting, cancel := context.WithTimeout(ctx, blockedPeriod)
			err := l.deps.WaitApplied(waiting, p.Node, p.Position)
			passed := waiting.Err() != nil
			cancel()
			if err == nil {
				break
			}
			if !passed || ctx.Err() != nil {
				return errBehind(n, err)
			}
			if blocks, err := l.blocksWriter(ctx, cmd.PID); blocks || err != nil {
				return cmp.Or(err, error(errBlocks(cmd, n)))
			}
		}
	}
	return nil
}

// blocksWriter says whether rows of other nodes wait for a session.
func (l *Locker) blocksWriter(ctx context.Context, pid int64) (bool, error) {
	results, err := l.deps.Host.Run(ctx, catalog.SelectBlockedWriters(pid))
	return err == nil && len(results[0].Rows) > 0, err
}

func errBlocks(cmd globallock.Command, n catalog.Node) *pgerr.Error {
	return pgerr.New(pgerr.Deadlock, "deadlock between this transaction and changes of node %q", n.Name).
		WithDetail("It waits for %s, and they wait for what it has locked before.", globallock.Title(cmd.Key())).
		WithHint("Begin the transaction with bdr.global_lock_table() of the tables that it changes, before they are locked otherwise.")
}

func errBehind(n catalog.Node, err error) *pgerr.Error {
	return pgerr.New(pgerr.LockNotAvailable, "could not get a global lock: this node does not have all earlier changes yet").
		WithDetail("What node %q did before has not been applied here: %s", n.Name, pgerr.From(err).Error()).
		WithHint("bdr.subscription_summary and bdr.worker_errors show why. A node that does not come back has to be parted.")
}

// explain says what a session waited for.
func (l *Locker) explain(cmd globallock.Command, limit time.Duration, err error) error {
	title := globallock.Title(cmd.Key())
	holder, taken := l.deps.Locks().Holder(cmd.Key())
	missing := l.deps.Locks().Missing(cmd.ID, l.deps.Cluster(), cmd.Node)
	if errors.Is(err, context.DeadlineExceeded) && holder.ID == cmd.ID && cmd.Type == catalog.GlobalLockDML && len(missing) > 0 {
		return errMissing(title, limit, missing)
	}
	if !errors.Is(err, context.DeadlineExceeded) || !taken || holder.ID == cmd.ID {
		detail := pgerr.From(err).Error()
		if errors.Is(err, context.DeadlineExceeded) {
			detail = "The group has not agreed within " + limit.String() + "."
		}
		return pgerr.New(pgerr.LockNotAvailable, "could not get %s", title).WithDetail("%s", detail).
			WithHint("A majority of the group's voting nodes must run and reach each other. bdr.get_raft_status() shows the state.")
	}
	node, _ := l.deps.Cluster().Node(holder.Node)
	return pgerr.New(pgerr.LockNotAvailable, "could not get %s within %s", title, limit).
		WithDetail("The session with pid %d of node %q has it.", holder.PID, node.Name).
		WithHint("Wait longer (bdr.global_lock_timeout), or end that session on its node. The lock of a node that does not come back goes when it is parted. " +
			"The view bdr.global_locks shows who has, or waits for, which lock.")
}

// errMissing names the nodes whose users may still write to the table.
func errMissing(title string, limit time.Duration, missing []catalog.Node) *pgerr.Error {
	var names []string
	for _, n := range missing {
		names = append(names, strconv.Quote(n.Name))
	}
	return pgerr.New(pgerr.LockNotAvailable, "could not get %s within %s", title, limit).
		WithDetail("Not all nodes have stopped writing to the table: %s.", strings.Join(names, ", ")).
		WithHint("On a node that runs, a transaction has the table locked: there, pg_locks shows which. All nodes must run and apply changes: " +
			"bdr.subscription_summary shows that. A node that does not come back has to be parted. Or wait longer (bdr.global_lock_timeout).")
}
