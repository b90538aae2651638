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
	"bdr/gosrc/pause"
	"bdr/gosrc/pgerr"
)

const proposeTimeMax = 10 * time.Second // for a majority to agree

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

// Acquire answers "global_lock": whether the key is a bigint, its two halves, the
// session, when it began to wait, for how long it waits at most. The lock is needed as long as
// the connection lasts, whose end ends ctx.
func (l *Locker) Acquire(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	cmd, limit, fault := l.read(r)
	if fault != nil {
		return ipc.Rows{}, fault
	}
	l.begin(cmd)
	context.AfterFunc(ctx, func() {
		if l.ctx.Err() == nil { // otherwise it is the manager that ends
			l.end(cmd.ID)
		}
	})
	if err := l.acquire(ctx, limit, cmd); err != nil {
		l.end(cmd.ID)
		return ipc.Rows{}, err
	}
	return ipc.Rows{}, nil
}

// read reads the arguments.
func (l *Locker) read(r *ipc.Request) (globallock.Command, time.Duration, *pgerr.Error) {
	var numbers [5]int64
	for i := range numbers {
		var fault *pgerr.Error
		if numbers[i], fault = r.Number(i + 1); fault != nil {
			return globallock.Command{}, 0, fault
		}
	}
	local, _ := l.deps.Node()
	cmd := globallock.Command{Kind: globallock.Acquire, Node: local.ID, Time: time.Now().UnixMicro(), ID: l.newID(), Type: catalog.GlobalLockAdvisory,
		Key1: int32(numbers[0]), Key2: int32(numbers[1]), Bigint: r.Bool(0, false), PID: numbers[2], LocalRequest: numbers[3]}
	return cmd, time.Duration(numbers[4]) * time.Millisecond, cmd.Check()
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
	l.live[cmd.ID] = catalog.LocalLock{PID: cmd.PID, GlobalLockKey: keyOf(cmd)}
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

func keyOf(cmd globallock.Command) catalog.GlobalLockKey {
	return catalog.GlobalLockKey{Type: cmd.Type, Key1: cmd.Key1, Key2: cmd.Key2, Bigint: cmd.Bigint}
}

// acquire returns when this node knows that the session has the lock.
func (l *Locker) acquire(caller context.Context, limit time.Duration, cmd globallock.Command) error {
	ctx, cancel := caller, func() {}
	if limit > 0 {
		waited := time.Since(time.UnixMicro(cmd.LocalRequest)) // by the server's clock, which may have been set
		ctx, cancel = context.WithTimeout(caller, min(limit, max(limit-waited, time.Millisecond)))
	}
	defer cancel()
	if fault := globallock.CheckNode(l.deps.Cluster(), cmd.Node); fault != nil {
		return fault
	}
	if err := l.deps.Admit(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	_, err := l.deps.Propose(ctx, proposeTimeMax, cmd.Encode())
	if err == nil {
		err = l.await(ctx, cmd)
	}
	switch {
	case err == nil || caller.Err() != nil:
		return errors.Join(err, caller.Err())
	case pgerr.Code(err) == pgerr.ConfigLimit:
		return err
	}
	return l.explain(cmd, limit, err)
}

// await waits until the log has brought the lock to the session.
func (l *Locker) await(ctx context.Context, cmd globallock.Command) error {
	seen, lost := false, false
	err := pause.Until(ctx, l.deps.Changed, func() bool {
		locks := l.deps.Locks()
		holder, _ := locks.Holder(keyOf(cmd))
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

// explain says what a session waited for.
func (l *Locker) explain(cmd globallock.Command, limit time.Duration, err error) error {
	title := globallock.Title(keyOf(cmd))
	holder, taken := l.deps.Locks().Holder(keyOf(cmd))
	if !errors.Is(err, context.DeadlineExceeded) || !taken || holder.ID == cmd.ID {
		detail := pgerr.From(err).Error()
		if errors.Is(err, context.DeadlineExceeded) {
			detail = "The group has not agreed within " + limit.String() + "."
		}
		return pgerr.New(pgerr.LockNotAvailable, "could not get global advisory lock %s", title).WithDetail("%s", detail).
			WithHint("A majority of the group's voting nodes must run and reach each other. bdr.get_raft_status() shows the state.")
	}
	node, _ := l.deps.Cluster().Node(holder.Node)
	return pgerr.New(pgerr.LockNotAvailable, "could not get global advisory lock %s within %s", title, limit).
		WithDetail("The session with pid %d of node %q has it.", holder.PID, node.Name).
		WithHint("Wait longer (bdr.global_lock_timeout), or end that session on its node. The lock of a node that does not come back goes when it is parted. " +
			"The view bdr.global_locks shows who has, or waits for, which lock.")
}
