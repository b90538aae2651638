// Package locker gets global locks for the sessions of this node, and gives them back
// when the sessions do not need them any more. What is agreed on is package
// globallock's.
package locker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strconv"
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
// goes on when the group cannot be asked. The answer is where others gave the DDL lock
// back. The lock is needed as long as the connection lasts, whose end ends ctx.
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
	return ipc.Value(globallock.EncodePositions(l.earlier())), nil
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
		Key1: int32(numbers[0]), Key2: int32(numbers[1]), Bigint: r.Bool(1, false), PID: numbers[2], LocalRequest: numbers[3]}
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
	if err == nil && w.Type == catalog.GlobalLockDDL {
		err = l.catchUp(ctx)
	}
	switch {
	case err == nil || caller.Err() != nil:
		return errors.Join(err, caller.Err())
	case pgerr.Code(err) == pgerr.ConfigLimit, pgerr.Code(err) == pgerr.LockNotAvailable, errors.Is(err, errUnasked):
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

// earlier is where other nodes gave the DDL lock back.
func (l *Locker) earlier() []catalog.GlobalLockPosition {
	local, _ := l.deps.Node()
	return globallock.Elsewhere(l.deps.Locks().Positions, local.ID, l.deps.Cluster())
}

// catchUp waits until this node has what others changed under the lock before.
func (l *Locker) catchUp(ctx context.Context) error {
	for _, p := range l.earlier() {
		if err := l.deps.WaitApplied(ctx, p.Node, p.Position); err != nil {
			n, _ := l.deps.Cluster().Node(p.Node)
			return errBehind(n, err)
		}
	}
	return nil
}

func errBehind(n catalog.Node, err error) *pgerr.Error {
	return pgerr.New(pgerr.LockNotAvailable, "could not change the schema: this node does not have all earlier changes yet").
		WithDetail("Node %q had the global DDL lock before, and what it changed has not been applied here: %s", n.Name, pgerr.From(err).Error()).
		WithHint("bdr.subscription_summary and bdr.worker_errors show why. A node that does not come back has to be parted.")
}

// explain says what a session waited for.
func (l *Locker) explain(cmd globallock.Command, limit time.Duration, err error) error {
	title := globallock.Title(cmd.Key())
	holder, taken := l.deps.Locks().Holder(cmd.Key())
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
