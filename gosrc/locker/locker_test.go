package locker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/globallock"
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
)

// world is a group of two nodes as node 1 sees it, and what sessions of this node hold
// locally.
type world struct {
	l *Locker

	mu      sync.Mutex
	members cluster.Cluster
	state   globallock.State
	changed chan struct{}
	leads   bool
	admit   error
	refuse  error // what becomes of proposals
	held    [][]string
	waited  []catalog.GlobalLockPosition // until it was applied
	behind  bool                         // nothing is applied any more
	log     []string

	open  int      // tables to which users may still write; -1: there is no such table
	gates []string // SQL about gates, in short
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	w := &world{changed: make(chan struct{})}
	for id, name := range []string{"a", "b"} {
		w.members = w.members.WithNode(catalog.Node{ID: uint32(id + 1), Name: name, State: cluster.Active})
	}
	w.l = New(ctx, Deps{Host: w, Spawn: func(_ string, f func()) { go f() }, Node: func() (catalog.LocalNode, *pgerr.Error) { return catalog.LocalNode{ID: 1}, nil },
		Cluster: func() cluster.Cluster { w.mu.Lock(); defer w.mu.Unlock(); return w.members },
		Locks:   func() globallock.State { w.mu.Lock(); defer w.mu.Unlock(); return w.state },
		Changed: func() <-chan struct{} { w.mu.Lock(); defer w.mu.Unlock(); return w.changed },
		Leads:   func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.leads },
		Propose: w.propose, Admit: func(context.Context) error { return w.admit }, WaitApplied: w.waitApplied})
	return w
}

func (w *world) waitApplied(ctx context.Context, node uint32, target lsn.LSN) error {
	w.mu.Lock()
	w.waited = append(w.waited, catalog.GlobalLockPosition{Node: node, Position: target})
	w.mu.Unlock()
	if w.behind {
		<-ctx.Done()
	}
	return ctx.Err()
}

func (w *world) propose(ctx context.Context, _ time.Duration, entry []byte) (string, error) {
	var cmd globallock.Command
	if err := json.Unmarshal(entry, &cmd); err != nil {
		return "", err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := errors.Join(w.refuse, ctx.Err()); err != nil {
		return "", err
	}
	next, _, fault := globallock.Apply(w.state, w.members, cmd)
	w.state = next
	close(w.changed)
	w.changed = make(chan struct{})
	if fault != nil {
		return "", fault
	}
	return "", nil
}

func (w *world) Run(_ context.Context, statements ...ipc.Stmt) ([]ipc.Result, error) {
	if results := w.runGates(statements[0].SQL); results != nil {
		return results, nil
	}
	if strings.Contains(statements[0].SQL, "insert_lsn") {
		return []ipc.Result{{Rows: [][]*string{{ipc.Text("0/64")}}}}, nil
	}
	var result ipc.Result
	for _, row := range w.held {
		var values []*string
		for _, v := range row {
			values = append(values, &v)
		}
		result.Rows = append(result.Rows, values)
	}
	return []ipc.Result{result}, nil
}

func (w *world) Log(_ ipc.Level, message, detail, _ string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, message+": "+detail)
}

func (w *world) setState(locks ...catalog.GlobalLock) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = globallock.State{Last: int64(len(locks)), Locks: locks}
}

func request(key string, pid int, limit time.Duration) *ipc.Request {
	args := []string{catalog.GlobalLockAdvisory, "t", "0", key, fmt.Sprint(pid), fmt.Sprint(time.Now().UnixMicro()), fmt.Sprint(limit.Milliseconds())}
	r := &ipc.Request{Function: "global_lock"}
	for _, a := range args {
		r.Args = append(r.Args, &a)
	}
	return r
}

func (w *world) eventually(t *testing.T, what string, met func(globallock.State) bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !met(w.l.deps.Locks()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s; %+v", what, w.l.deps.Locks())
		}
	}
}

// A lock lasts as long as the connection, and the next session gets it.
func TestLocksLastAsLongAsConnections(t *testing.T) {
	w := newWorld(t)
	go w.l.Run()
	first, disconnect := context.WithCancel(context.Background())
	if _, err := w.l.Acquire(first, request("7", 100, 0)); err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() {
		_, err := w.l.Acquire(context.Background(), request("7", 101, time.Minute))
		got <- err
	}()
	w.eventually(t, "the second one waits", func(s globallock.State) bool { return len(s.Locks) == 2 })
	disconnect()
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	if s := w.l.deps.Locks(); len(s.Locks) != 1 || s.Locks[0].PID != 101 {
		t.Errorf("%+v", s)
	}
}

// Who gives up leaves the queue, and is told who has the lock.
func TestWhoGivesUpLeaves(t *testing.T) {
	w := newWorld(t)
	w.setState(catalog.GlobalLock{ID: "b-1", Node: 2, PID: 55, Place: 1, GlobalLockKey: catalog.GlobalLockKey{Type: catalog.GlobalLockAdvisory, Key2: 7, Bigint: true}})
	go w.l.Run()
	_, err := w.l.Acquire(context.Background(), request("7", 100, 20*time.Millisecond))
	if f := pgerr.From(err); f.Code != pgerr.LockNotAvailable || f.Message != "could not get global advisory lock 7 within 20ms" || f.Detail != `The session with pid 55 of node "b" has it.` {
		t.Errorf("%+v", f)
	}
	w.eventually(t, "only the other node's is left", func(s globallock.State) bool { return len(s.Locks) == 1 })
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := w.l.Acquire(gone, request("8", 100, 0)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// An error says what is missing.
func TestWhyThereIsNoLock(t *testing.T) {
	for name, test := range map[string]struct {
		spoil      func(*world)
		code, says string
	}{
		"no majority": {func(w *world) { w.refuse = pgerr.New(pgerr.WrongState, "consensus is not available") }, pgerr.LockNotAvailable, "consensus is not available"},
		"late":        {func(w *world) { w.refuse = context.DeadlineExceeded }, pgerr.LockNotAvailable, "has not agreed within"},
		"older nodes": {func(w *world) { w.admit = pgerr.New(pgerr.FeatureNotSupported, "not all nodes") }, pgerr.FeatureNotSupported, "not all nodes"},
		"away":        {func(w *world) { w.admit = pgerr.New(pgerr.WrongState, "not all nodes answer") }, pgerr.WrongState, "not all nodes answer"},
		"parted":      {func(w *world) { w.members = w.members.WithNode(catalog.Node{ID: 1, State: cluster.Parted}) }, pgerr.WrongState, "has been parted"},
	} {
		w := newWorld(t)
		test.spoil(w)
		_, err := w.l.Acquire(context.Background(), request("7", 100, time.Minute))
		if f := pgerr.From(err); f.Code != test.code || !strings.Contains(f.Message+f.Detail, test.says) {
			t.Errorf("%s: %+v", name, f)
		}
		if len(w.l.live) != 0 {
			t.Errorf("%s: %v", name, w.l.live)
		}
	}
	bad := request("7", 100, 0)
	bad.Args[3] = nil
	if _, err := newWorld(t).l.Acquire(context.Background(), bad); pgerr.Code(err) != pgerr.InvalidParameter {
		t.Errorf("%v", err)
	}
}

// A new manager keeps what sessions still have, and nothing else.
func TestWhatAnEarlierManagerGot(t *testing.T) {
	key := func(n int32) catalog.GlobalLockKey {
		return catalog.GlobalLockKey{Type: catalog.GlobalLockAdvisory, Key2: n, Bigint: true}
	}
	w := newWorld(t)
	w.leads = true
	w.held = [][]string{{"100", "advisory", "0", "7", "t", "", ""}, {"102", "advisory", "0", "9", "t", "", ""}, {"103", "advisory", "0", "7", "f", "", ""},
		{"104", "dml", "0", "0", "f", "s", "t"}}
	w.setState(catalog.GlobalLock{ID: "0d-1", Node: 1, PID: 100, GlobalLockKey: key(7)}, catalog.GlobalLock{ID: "0d-2", Node: 1, PID: 101, GlobalLockKey: key(8)},
		catalog.GlobalLock{ID: "0d-3", Node: 1, PID: 102, GlobalLockKey: key(9)}, catalog.GlobalLock{ID: "be", Node: 2, PID: 100, GlobalLockKey: key(9)},
		catalog.GlobalLock{ID: "9e", Node: 3, PID: 100, GlobalLockKey: key(9)}, catalog.GlobalLock{ID: w.l.epoch + "f", Node: 1, PID: 1, GlobalLockKey: key(1)},
		catalog.GlobalLock{ID: "0d-4", Node: 1, PID: 104, GlobalLockKey: catalog.GlobalLockKey{Type: catalog.GlobalLockDML, Schema: "s", Table: "t"}},
		catalog.GlobalLock{ID: "0d-5", Node: 1, PID: 104, GlobalLockKey: catalog.GlobalLockKey{Type: catalog.GlobalLockDML, Schema: "s", Table: "u"}})
	w.l.live["new"] = catalog.LocalLock{PID: 102, GlobalLockKey: key(9)} // the session asks again
	if period := w.l.settle(); period != watchPeriod {
		t.Errorf("it looks again after %v", period)
	}
	var left []string
	for _, l := range w.l.deps.Locks().Locks {
		left = append(left, l.ID)
	}
	if got := strings.Join(left, " "); got != "0d-1 be 0d-4" {
		t.Errorf("left: %s", got)
	}
	w.held = nil
	w.refuse = errors.New("no majority")
	w.l.settle()
	if period := w.l.settle(); period != watchPeriod || len(w.log) != 1 {
		t.Errorf("after a failure: %v, %v", period, w.log)
	}
	w.refuse = nil
	w.l.settle()
	if period := w.l.settle(); period != keepPeriod || len(w.l.deps.Locks().Locks) != 1 {
		t.Errorf("at rest: %v, %+v", period, w.l.deps.Locks())
	}
}

// A parted node gives nothing back, and nobody waits there for ever.
func TestPartedNode(t *testing.T) {
	w := newWorld(t)
	w.setState(catalog.GlobalLock{ID: "b-1", Node: 2, Place: 1, GlobalLockKey: catalog.GlobalLockKey{Type: catalog.GlobalLockAdvisory, Key2: 7, Bigint: true}},
		catalog.GlobalLock{ID: "0d", Node: 1, Place: 2, PID: 100, GlobalLockKey: catalog.GlobalLockKey{Type: catalog.GlobalLockAdvisory, Key2: 9, Bigint: true}})
	got := make(chan error)
	go func() {
		_, err := w.l.Acquire(context.Background(), request("7", 100, 0))
		got <- err
	}()
	w.eventually(t, "it waits", func(s globallock.State) bool { return len(s.Locks) == 3 })
	w.mu.Lock()
	w.members = w.members.WithNode(catalog.Node{ID: 1, Name: "a", State: cluster.Parted})
	close(w.changed)
	w.changed = make(chan struct{})
	w.mu.Unlock()
	if err := <-got; pgerr.Code(err) != pgerr.LockNotAvailable {
		t.Errorf("%v", err)
	}
	w.refuse = errors.New("a parted node asks")
	if period := w.l.settle(); period != keepPeriod || len(w.log) != 0 {
		t.Errorf("%v, %v", period, w.log)
	}
}

func ddlRequest(limit time.Duration, alone string) *ipc.Request {
	r := request("0", 100, limit)
	r.Args[0], r.Args[1] = ipc.Text(catalog.GlobalLockDDL), ipc.Text("f")
	r.Args = append(r.Args, &alone)
	return r
}

// Who changes the schema has what others have changed before, and says up to where it
// has changed something itself.
func TestDDLLock(t *testing.T) {
	w := newWorld(t)
	w.members = w.members.WithNode(catalog.Node{ID: 3, Name: "c", State: cluster.Parted})
	w.state.Positions = []catalog.GlobalLockPosition{{Node: 1, Position: 5}, {Node: 2, Position: 7}, {Node: 3, Position: 9}}
	go w.l.Run()
	ctx, disconnect := context.WithCancel(context.Background())
	if _, err := w.l.Acquire(ctx, ddlRequest(0, "f")); err != nil {
		t.Fatal(err)
	}
	if want := []catalog.GlobalLockPosition{{Node: 2, Position: 7}}; !slices.Equal(w.waited, want) {
		t.Errorf("waited for %+v", w.waited)
	}
	disconnect()
	w.eventually(t, "it is given back", func(s globallock.State) bool { return len(s.Locks) == 0 })
	if p := w.l.deps.Locks().Positions[0]; p.Position != 100 {
		t.Errorf("%+v", p)
	}
	w.behind = true
	_, err := w.l.Acquire(context.Background(), ddlRequest(20*time.Millisecond, "f"))
	if f := pgerr.From(err); f.Code != pgerr.LockNotAvailable || !strings.Contains(f.Message, "does not have all earlier changes") || !strings.Contains(f.Detail, `node "b"`) {
		t.Errorf("%+v", f)
	}
	w.eventually(t, "it is not kept", func(s globallock.State) bool { return len(s.Locks) == 0 })
}

// A statement that needs nobody else goes on without a majority, but not while
// somebody has the lock.
func TestAlone(t *testing.T) {
	w := newWorld(t)
	w.refuse = pgerr.New(pgerr.WrongState, "consensus is not available")
	r := ddlRequest(0, "t")
	if err := w.l.acquire(context.Background(), must(t, w, r)); !errors.Is(err, errUnasked) {
		t.Errorf("%v", err)
	}
	if _, err := w.l.Acquire(context.Background(), ddlRequest(0, "f")); pgerr.Code(err) != pgerr.LockNotAvailable {
		t.Errorf("%v", err)
	}
	w.refuse = nil
	w.setState(catalog.GlobalLock{ID: "b-1", Node: 2, PID: 55, Place: 1, GlobalLockKey: catalog.GlobalLockKey{Type: catalog.GlobalLockDDL}})
	_, err := w.l.Acquire(context.Background(), ddlRequest(20*time.Millisecond, "t"))
	if f := pgerr.From(err); f.Message != "could not get the global DDL lock within 20ms" {
		t.Errorf("%+v", f)
	}
}

func must(t *testing.T, w *world, r *ipc.Request) wish {
	t.Helper()
	asked, fault := w.l.read(r)
	if fault != nil {
		t.Fatal(fault)
	}
	return asked
}
