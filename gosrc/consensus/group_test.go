package consensus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"bdr/gosrc/pgerr"
)

// counterMachine keeps a list of entries in memory that survives a restart of
// its group, as tables do.
type counterMachine struct {
	mu      sync.Mutex
	Index   uint64
	Entries []string
	failing int
}

func (m *counterMachine) Applied() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.Index
}

func (m *counterMachine) Check(entry []byte) *pgerr.Error {
	if string(entry) == "future" {
		return pgerr.New(pgerr.FeatureNotSupported, "unknown")
	}
	return nil
}

func (m *counterMachine) Apply(_ context.Context, index, _ uint64, entry []byte) (Answer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failing > 0 {
		m.failing--
		if m.failing%2 == 0 {
			panic("machine panics")
		}
		return Answer{}, errors.New("tables are away")
	}
	m.Index = index
	if string(entry) == "refuse" {
		return Answer{Fault: pgerr.New(pgerr.WrongState, "refused").WithDetail("d").WithHint("h")}, nil
	}
	m.Entries = append(m.Entries, string(entry))
	return Answer{Value: fmt.Sprint(len(m.Entries))}, nil
}

func (m *counterMachine) Snapshot() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return json.Marshal(m)
}

func (m *counterMachine) Restore(_ context.Context, snapshot []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var from struct {
		Index   uint64
		Entries []string
	}
	if err := json.Unmarshal(snapshot, &from); err != nil {
		return err
	}
	if from.Index > m.Index {
		m.Index, m.Entries = from.Index, from.Entries
	}
	return nil
}

func (m *counterMachine) list() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.Entries)
}

var testCluster = UUID{1, 2, 3}

// network carries envelopes between the groups of one test.
type network struct {
	mu     sync.Mutex
	groups map[uint32]*Group
	cut    map[uint32]bool
}

type port struct {
	n    *network
	self uint32
}

func (p port) Call(ctx context.Context, to uint32, kind MessageKind, body []byte) ([]byte, error) {
	p.n.mu.Lock()
	group := p.n.groups[to]
	dead := p.n.cut[to] || p.n.cut[p.self] || group == nil
	p.n.mu.Unlock()
	if dead {
		return nil, errors.New("unreachable")
	}
	e, err := DecodeEnvelope(Envelope{Cluster: testCluster, From: p.self, To: to, Kind: kind, Body: body}.Encode())
	if err == nil {
		err = e.Check(testCluster, to)
	}
	if err != nil {
		return nil, err
	}
	reply, err := group.Deliver(ctx, e)
	return DecodeReply(EncodeReply(reply, err))
}

type testGroups struct {
	t        *testing.T
	base     string
	net      *network
	machines map[uint32]*counterMachine
	dirs     map[uint32]string
	resend   time.Duration
	running  sync.WaitGroup
}

func newGroups(t *testing.T) *testGroups {
	base := t.TempDir() // before Cleanup: it is removed after the groups have stopped
	g := &testGroups{t: t, base: base, net: &network{groups: map[uint32]*Group{}, cut: map[uint32]bool{}},
		machines: map[uint32]*counterMachine{}, dirs: map[uint32]string{}, resend: 20 * time.Millisecond}
	t.Cleanup(func() {
		for id := range g.machines {
			g.stop(id)
		}
	})
	return g
}

func (g *testGroups) start(id uint32) *Group {
	g.t.Helper()
	if g.machines[id] == nil {
		g.machines[id], g.dirs[id] = &counterMachine{}, filepath.Join(g.base, fmt.Sprint(id))
	}
	group, err := Open(Config{NodeID: id, Dir: g.dirs[id], Machine: g.machines[id], Caller: port{g.net, id},
		Log: func(string, string) {}, Changed: func() {}, Spawn: func(_ string, f func()) { g.running.Go(f) },
		Tuning: Tuning{ElectionTimeout: 200 * time.Millisecond, ResendTimeout: g.resend, SnapshotThreshold: 8, SnapshotInterval: 50 * time.Millisecond, TrailingLogs: 2}})
	if err != nil {
		g.t.Fatal(err)
	}
	g.net.mu.Lock()
	g.net.groups[id] = group
	g.net.mu.Unlock()
	return group
}

func (g *testGroups) stop(id uint32) {
	g.net.mu.Lock()
	group := g.net.groups[id]
	delete(g.net.groups, id)
	g.net.mu.Unlock()
	if group == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := group.Shutdown(ctx); err != nil {
		g.t.Errorf("shutdown of %d: %v", id, err)
	}
}

func (g *testGroups) eventually(what string, met func() bool) {
	g.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if met() {
			return
		}
	}
	g.t.Fatalf("%s did not happen", what)
}

func (g *testGroups) leader() uint32 {
	g.net.mu.Lock()
	defer g.net.mu.Unlock()
	for id, group := range g.net.groups {
		if !g.net.cut[id] && group.IsLeader() {
			return id
		}
	}
	return 0
}

func (g *testGroups) propose(id uint32, entry string) string {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	answer, err := g.net.groups[id].Propose(ctx, []byte(entry))
	if err != nil {
		g.t.Fatalf("propose %q on %d: %v", entry, id, err)
	}
	return answer
}

// three starts a group of three voters.
func three(t *testing.T) *testGroups {
	g := newGroups(t)
	g.addThree()
	return g
}

func (g *testGroups) addThree() {
	t := g.t
	t.Helper()
	first := g.start(1)
	if err := first.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	g.eventually("leadership", first.IsLeader)
	for id := uint32(2); id <= 3; id++ {
		g.start(id)
		for _, voter := range []bool{false, true} {
			g.eventually(fmt.Sprintf("membership of %d", id), func() bool { // a busy machine changes the leader
				leader := g.leader()
				return leader != 0 && g.net.groups[leader].SetMember(context.Background(), Member{ID: id, Voter: voter}) == nil
			})
		}
	}
}

func (g *testGroups) equal(ids ...uint32) {
	g.t.Helper()
	g.eventually("equality", func() bool {
		for _, id := range ids[1:] {
			if !slices.Equal(g.machines[id].list(), g.machines[ids[0]].list()) {
				return false
			}
		}
		return true
	})
}

// Whoever proposes gets the machine's own answer, wherever the leader is.
func TestProposeAnswers(t *testing.T) {
	g := three(t)
	for i, id := range []uint32{1, 2, 3} {
		if answer := g.propose(id, "x"); answer != fmt.Sprint(i+1) {
			t.Errorf("answer on %d is %q", id, answer)
		}
	}
	for id := uint32(1); id <= 3; id++ {
		_, err := g.net.groups[id].Propose(context.Background(), []byte("refuse"))
		if e := pgerr.From(err); e == nil || e.Code != pgerr.WrongState || e.Detail != "d" || e.Hint != "h" {
			t.Errorf("refusal on %d is %v", id, err)
		}
	}
	for id := uint32(1); id <= 3; id++ {
		if _, err := g.net.groups[id].Propose(context.Background(), []byte("future")); pgerr.From(err).Code != pgerr.FeatureNotSupported {
			t.Errorf("an entry that the leader does not know: %v", err)
		}
	}
	g.equal(1, 2, 3)
	s := g.net.groups[g.leader()].Status()
	if s.State != "LEADER" || !s.Voting || s.Members != 3 || s.Voters != 3 || s.Leader == 0 {
		t.Errorf("status %+v", s)
	}
}

// Followers do not wait for raft to send something anyway: that comes seldom.
func TestFollowersLearnAtOnce(t *testing.T) {
	g := newGroups(t)
	g.resend = time.Hour
	g.addThree()
	for _, id := range []uint32{1, 2, 3} {
		g.propose(id, "x")
		g.equal(1, 2, 3)
	}
}

// A leader waits once in its time for what was committed before it.
func TestSettle(t *testing.T) {
	g := three(t)
	g.propose(1, "x")
	leader := g.net.groups[g.leader()]
	if err := leader.Settle(context.Background()); err != nil {
		t.Fatal(err)
	}
	before := leader.Status().LastIndex
	if err := leader.Settle(context.Background()); err != nil {
		t.Fatal(err)
	}
	if after := leader.Status().LastIndex; after != before {
		t.Errorf("a second look wrote an entry: index %d after %d", after, before)
	}
	if err := leader.Transfer(context.Background()); err != nil {
		t.Fatal(err)
	}
	g.eventually("another leader", func() bool { l := g.leader(); return l != 0 && g.net.groups[l] != leader })
	other := g.net.groups[g.leader()]
	if err := other.Settle(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := g.machines[other.config.NodeID].list(); !slices.Equal(got, []string{"x"}) {
		t.Errorf("the new leader has carried out %v", got)
	}
}

// The rest of the group goes on without its leader, and the leader catches up.
func TestLeaderLost(t *testing.T) {
	g := three(t)
	g.propose(2, "before")
	lost := g.leader()
	g.net.mu.Lock()
	g.net.cut[lost] = true
	g.net.mu.Unlock()
	g.eventually("a new leader", func() bool { l := g.leader(); return l != 0 && l != lost })
	other := lost%3 + 1
	g.propose(other, "meanwhile")
	g.net.mu.Lock()
	g.net.cut[lost] = false
	g.net.mu.Unlock()
	g.equal(1, 2, 3)
	if got := g.machines[lost].list(); !slices.Equal(got, []string{"before", "meanwhile"}) {
		t.Errorf("got %v", got)
	}
}

// Without a majority nothing changes, and the user learns why.
func TestNoMajority(t *testing.T) {
	g := three(t)
	for id := uint32(1); id <= 3; id++ {
		if id != g.leader() {
			g.net.mu.Lock()
			g.net.cut[id] = true
			g.net.mu.Unlock()
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if _, err := g.net.groups[1].Propose(ctx, []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if e := pgerr.From(unavailable(errors.New("no leader"), ProposeTimeout)); e.Code != pgerr.WrongState || e.Detail == "" || e.Hint == "" {
		t.Errorf("got %+v", e)
	}
	for _, m := range g.machines {
		if len(m.list()) != 0 {
			t.Error("an entry without a majority was carried out")
		}
	}
}

// A machine whose tables are away for a while, or that panics, carries every
// entry out once and in order.
func TestMachineFailsForAWhile(t *testing.T) {
	g := newGroups(t)
	first := g.start(1)
	g.machines[1].failing = 3
	if err := first.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		g.propose(1, fmt.Sprint(i))
	}
	if got := g.machines[1].list(); !slices.Equal(got, []string{"0", "1", "2"}) {
		t.Errorf("got %v", got)
	}
}

// A restart finds its files, applies nothing twice and does not vote anew.
func TestRestart(t *testing.T) {
	g := three(t)
	for i := range 5 {
		g.propose(1, fmt.Sprint(i))
	}
	g.equal(1, 2, 3)
	for id := uint32(1); id <= 3; id++ {
		g.stop(id)
	}
	for id := uint32(1); id <= 3; id++ {
		g.start(id)
	}
	g.propose(3, "after")
	g.equal(1, 2, 3)
	if got := g.machines[1].list(); !slices.Equal(got, []string{"0", "1", "2", "3", "4", "after"}) {
		t.Errorf("got %v", got)
	}
}

// A node that was away for long gets a snapshot instead of the log; so does a
// restarted one whose tables are behind it.
func TestSnapshotInstall(t *testing.T) {
	g := three(t)
	g.propose(1, "first")
	g.equal(1, 2, 3)
	g.stop(3)
	for i := range 40 {
		g.propose(1, fmt.Sprint(i))
	}
	g.eventually("a snapshot", func() bool { return g.net.groups[g.leader()].Status().SnapshotIndex > 20 })
	g.start(3)
	g.equal(1, 2, 3)
	g.eventually("a snapshot on the restarted node", func() bool { return g.net.groups[3].Status().SnapshotIndex > 20 })
	g.stop(3)
	g.machines[3] = &counterMachine{} // as if the tables had not been written
	g.start(3)
	g.equal(1, 2, 3)
}

// The configuration shrinks to one node, which goes on alone.
func TestRemoveMembers(t *testing.T) {
	g := three(t)
	leader := g.leader()
	for id := uint32(1); id <= 3; id++ {
		if id == leader {
			continue
		}
		if err := g.net.groups[leader].RemoveMember(context.Background(), id); err != nil {
			t.Fatal(err)
		}
		g.stop(id)
	}
	g.propose(leader, "alone")
	if s := g.net.groups[leader].Status(); s.Members != 1 || s.Voters != 1 {
		t.Errorf("status %+v", s)
	}
}
