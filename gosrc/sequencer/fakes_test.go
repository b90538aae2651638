package sequencer

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
	"bdr/gosrc/consensus"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/sequence"
)

// world is a group of two nodes as node 1 sees it: what is proposed is carried out,
// unless a test says otherwise.
type world struct {
	s    *Sequencer
	stop context.CancelFunc

	mu         sync.Mutex
	local      catalog.LocalNode
	members    cluster.Cluster
	agreed     sequence.State // by the leader
	state      sequence.State // by this node
	changed    chan struct{}
	entries    []sequence.Command
	changes    []sequence.Changes
	log        []string
	ran        []string
	objects    bool // the SQL objects have sequences
	leads      bool
	admit      error
	requireAll error
	propose    func(sequence.Command) error                       // before it is carried out
	lost       func(sequence.Command) error                       // after it was
	late       time.Duration                                      // until this node has carried it out
	stopped    map[uint32]func() (catalog.StoppedSequence, error) // what the nodes answer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &world{stop: cancel, local: catalog.LocalNode{ID: 1, UUID: "u"}, changed: make(chan struct{}), objects: true,
		stopped: map[uint32]func() (catalog.StoppedSequence, error){}}
	for id, name := range []string{"a", "b"} {
		w.members = w.members.WithNode(catalog.Node{ID: uint32(id + 1), Name: name, State: cluster.Active})
		w.answer(uint32(id+1), catalog.StoppedSequence{Present: true, OldKind: sequence.Local, OldKey: "public.s"})
	}
	nothing := func(context.Context) error { return w.look().admit }
	w.s = New(ctx, Deps{Host: w, Spawn: func(_ string, f func()) { go f() },
		Node:      func() (catalog.LocalNode, *pgerr.Error) { return w.look().local, nil },
		Cluster:   func() cluster.Cluster { return w.look().members },
		Sequences: func() sequence.State { return w.look().state },
		Changed:   func() <-chan struct{} { return w.look().changed },
		Leads:     func() bool { return w.look().leads },
		Propose:   w.carryOut, Admit: nothing,
		RequireAll: func(context.Context) error { return w.look().requireAll },
		Stop:       w.stopOn})
	return w
}

// seen is a copy of what a world has by now.
type seen struct {
	local             catalog.LocalNode
	members           cluster.Cluster
	state             sequence.State
	changed           chan struct{}
	leads             bool
	admit, requireAll error
}

func (w *world) look() seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	return seen{w.local, w.members, w.state, w.changed, w.leads, w.admit, w.requireAll}
}

func (w *world) answer(node uint32, s catalog.StoppedSequence) {
	w.stopped[node] = func() (catalog.StoppedSequence, error) { return s, nil }
}

func (w *world) carryOut(ctx context.Context, limit time.Duration, entry []byte) (string, error) {
	var cmd sequence.Command
	if err := json.Unmarshal(entry, &cmd); err != nil {
		return "", err
	}
	if w.propose != nil {
		if err := w.propose(cmd); err != nil {
			return "", err
		}
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	next, changes, answer, fault := sequence.Apply(w.agreed, w.members, cmd)
	w.entries, w.changes = append(w.entries, cmd), append(w.changes, changes)
	if fault != nil {
		return "", fault
	}
	w.agreed = next
	go func() {
		time.Sleep(w.late)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.state = w.agreed
		close(w.changed)
		w.changed = make(chan struct{})
	}()
	if w.lost != nil {
		if err := w.lost(cmd); err != nil {
			return "", err
		}
	}
	return answer, nil
}

// noMajority is a proposal that nobody carries out.
func noMajority(sequence.Command) error {
	time.Sleep(allocateTimeMax)
	return pgerr.New(pgerr.WrongState, "consensus is not available").WithDetail("no leader")
}

func (w *world) stopOn(_ context.Context, node uint32, body []byte) ([]byte, error) {
	var request catalog.StopSequence
	if err := consensus.Unpack(body, &request); err != nil || request.Name != "s" || request.Schema != "public" {
		return nil, fmt.Errorf("asked for %+v, %w", request, err)
	}
	if request.Carried {
		return nil, nil
	}
	s, err := w.stopped[node]()
	if err != nil {
		return nil, err
	}
	return consensus.Pack(s), nil
}

// Run is part of Host.
func (w *world) Run(_ context.Context, statements ...ipc.Stmt) ([]ipc.Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var results []ipc.Result
	for _, s := range statements {
		w.ran = append(w.ran, s.SQL)
		switch {
		case strings.Contains(s.SQL, "internal_sequence_key"):
			results = append(results, ipc.Result{Rows: [][]*string{{ipc.Text(fmt.Sprint(s.Args[0], ".", s.Args[1]))}}})
		case strings.Contains(s.SQL, "to_regclass"):
			results = append(results, ipc.Result{Rows: [][]*string{{ipc.Text(map[bool]string{true: "t", false: "f"}[w.objects])}}})
		case strings.Contains(s.SQL, "internal_stop_sequence"):
			results = append(results, ipc.Result{Rows: [][]*string{{ipc.Text("t"), ipc.Text("l"), ipc.Text("public.s"), ipc.Text("7")}}})
		default:
			results = append(results, ipc.Result{})
		}
	}
	return results, nil
}

// Log is part of Host.
func (w *world) Log(_ ipc.Level, message, _, _ string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, message)
}

func (w *world) kinds() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	for _, cmd := range w.entries {
		list = append(list, cmd.Kind)
	}
	return list
}

func (w *world) requireKinds(t *testing.T, want ...string) {
	t.Helper()
	if got := w.kinds(); !slices.Equal(got, want) {
		t.Errorf("proposed: %v, want %v", got, want)
	}
}

func (w *world) installs() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, sql := range w.ran {
		if strings.Contains(sql, "internal_install_sequences") {
			n++
		}
	}
	return n
}

func request(function string, args ...string) *ipc.Request {
	r := &ipc.Request{Function: function}
	for _, a := range args {
		r.Args = append(r.Args, ipc.Text(a))
	}
	return r
}

func chunkRequest(position int, wait string) *ipc.Request {
	return request("sequence_chunk", "public.s", "1", "32767", "1000", fmt.Sprint(position), wait)
}

// requireFault compares an error with an SQLSTATE and texts that it has somewhere.
func requireFault(t *testing.T, err error, code string, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	e := pgerr.From(err)
	all := e.Message + "|" + e.Detail + "|" + e.Hint
	for _, text := range texts {
		if !strings.Contains(all, text) {
			t.Errorf("%q is not in %q", text, all)
		}
	}
	if e.Code != code {
		t.Errorf("SQLSTATE %s, want %s: %s", e.Code, code, all)
	}
}

var errGone = errors.New("connection reset")
