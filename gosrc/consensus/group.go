// Package consensus runs one Raft group: the order of the commands on which
// all nodes agree. It knows nothing of what the commands mean: they go to a
// Machine. Peers are reached through a Caller, files lie in one directory.
package consensus

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"bdr/gosrc/cluster"
	"bdr/gosrc/pause"
	"bdr/gosrc/pgerr"
)

const (
	// ProposeTimeout bounds a proposal that has no limit of its own.
	ProposeTimeout   = 30 * time.Second
	attemptTimeout   = 5 * time.Second
	attemptPause     = 200 * time.Millisecond
	transferTimeout  = 2 * time.Second
	configureTimeout = 10 * time.Second
	answersPending   = 64
)

// Times of raft. Its defaults are for clusters that live from consensus; here
// rows flow without it, and an idle node must cost next to nothing. The same
// times serve a busy machine: a leader that is slow for a second stays.
const (
	electionTimeout = 5 * time.Second     // heartbeats come ten times as often
	leaseTimeout    = electionTimeout / 2 // a leader without a majority gives up
	resendTimeout   = 1 * time.Second     // to a follower that could not be reached
	campaignStep    = time.Millisecond
)

// LogFunc writes to the server log; level is LOG, WARNING or DEBUG1.
type LogFunc func(level, message string)

// Config is what a Group needs. The limits in Tuning have defaults.
type Config struct {
	NodeID  uint32
	Dir     string
	Machine Machine
	Caller  Caller
	Log     LogFunc
	Spawn   func(name string, f func())
	// Changed is called after an entry was carried out and when leadership
	// changed. It must not block.
	Changed func()
	Tuning  Tuning
}

// Tuning is changed by tests only.
type Tuning struct {
	ElectionTimeout   time.Duration
	ResendTimeout     time.Duration
	SnapshotThreshold uint64
	SnapshotInterval  time.Duration
	TrailingLogs      uint64
}

// Member is a server of the Raft group.
type Member = cluster.Member

// Group is this node's part in the Raft group.
type Group struct {
	config    Config
	raft      *raft.Raft
	store     *store
	transport *transport
	stopFSM   context.CancelFunc
	observer  *raft.Observer
	notes     chan raft.Observation
	ended     chan struct{}

	mu      sync.Mutex
	closing bool
	settled uint64 // the term in which Settle has done its work
}

// errShutdown is the answer to everything that comes too late.
func errShutdown() error {
	return pgerr.New(pgerr.CannotConnectNow, "consensus of this node is stopping")
}

// Open starts raft on the files in Dir. A node that has none waits until a
// leader finds it, or for Bootstrap.
func Open(c Config) (*Group, error) {
	logger := newLogger(c.Log)
	files, err := openStore(c.Dir, logger)
	if err != nil {
		return nil, err
	}
	ctx, stopFSM := context.WithCancel(context.Background())
	g := &Group{config: c, store: files, transport: newTransport(c.NodeID, c.Caller), stopFSM: stopFSM,
		notes: make(chan raft.Observation, answersPending), ended: make(chan struct{})}
	machine := &fsm{machine: c.Machine, ctx: ctx, log: c.Log, changed: c.Changed}
	settings := c.settings()
	settings.Logger = logger
	logs, err := raft.NewLogCache(int(settings.TrailingLogs), files)
	if err == nil {
		g.raft, err = raft.NewRaft(settings, machine, logs, files, files.snapshots, g.transport)
	}
	if err != nil {
		stopFSM()
		return nil, errors.Join(pgerr.New(pgerr.InternalError, "could not start consensus: %w", err), files.close())
	}
	g.observe()
	if g.isVoter() {
		g.campaign()
	}
	return g, nil
}

// settings are those of raft; the log is kept short, since the state that it
// makes is small.
func (c Config) settings() *raft.Config {
	s := raft.DefaultConfig()
	s.LocalID = serverID(c.NodeID)
	s.HeartbeatTimeout, s.ElectionTimeout, s.LeaderLeaseTimeout = electionTimeout, electionTimeout, leaseTimeout
	s.CommitTimeout = resendTimeout
	s.SnapshotThreshold = 1024
	s.TrailingLogs = 256
	s.ShutdownOnRemove = false
	s.NoLegacyTelemetry = true
	if t := c.Tuning; t.ElectionTimeout != 0 {
		s.HeartbeatTimeout, s.ElectionTimeout, s.LeaderLeaseTimeout = t.ElectionTimeout, t.ElectionTimeout, t.ElectionTimeout/2
		s.CommitTimeout = t.ResendTimeout
		s.SnapshotThreshold, s.SnapshotInterval, s.TrailingLogs = t.SnapshotThreshold, t.SnapshotInterval, t.TrailingLogs
	}
	return s
}

// campaign begins an election at once, not after the time in which a leader
// would be heard. It does not disturb one: raft asks for votes only after the
// others have said that they know of none. It works once, since it is the
// shortening of raft's timeout that makes it look at its timer.
func (g *Group) campaign() {
	c := g.raft.ReloadableConfig()
	c.HeartbeatTimeout -= campaignStep
	_ = g.raft.ReloadConfig(c) // fails for times that raft does not allow
}

func (g *Group) isVoter() bool {
	members, err := g.Members()
	return err == nil && slices.Contains(members, Member{ID: g.config.NodeID, Voter: true})
}

// observe turns raft's notes about leadership into calls of Changed.
func (g *Group) observe() {
	g.observer = raft.NewObserver(g.notes, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState, raft.PeerObservation:
			return true
		}
		return false
	})
	g.raft.RegisterObserver(g.observer)
	g.config.Spawn("consensus observer", func() {
		for {
			select {
			case <-g.notes:
				g.config.Changed()
			case <-g.ended:
				return
			}
		}
	})
}

// Bootstrap makes this node the first and only voter of a new group.
func (g *Group) Bootstrap() error {
	first := raft.Configuration{Servers: []raft.Server{{
		Suffrage: raft.Voter, ID: serverID(g.config.NodeID), Address: serverAddress(g.config.NodeID)}}}
	if err := g.raft.BootstrapCluster(first).Error(); err != nil {
		return pgerr.New(pgerr.InternalError, "could not start a consensus group: %w", err)
	}
	g.campaign()
	return nil
}

// IsLeader says whether this node leads.
func (g *Group) IsLeader() bool { return g.raft.State() == raft.Leader }

// Leader returns the node that leads, 0 when none is known.
func (g *Group) Leader() uint32 {
	_, id := g.raft.LeaderWithID()
	leader, err := nodeID(string(id))
	if err != nil {
		return 0
	}
	return leader
}

// Propose gets an entry carried out on every node and returns the machine's
// answer.
func (g *Group) Propose(ctx context.Context, entry []byte) (string, error) {
	return g.ProposeWithin(ctx, ProposeTimeout, entry)
}

// ProposeWithin is Propose with a limit of its own. The entry goes to the leader,
// wherever that is, and to the next one when leadership moves; so it may be carried
// out twice.
func (g *Group) ProposeWithin(ctx context.Context, limit time.Duration, entry []byte) (string, error) {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for bounded.Err() == nil {
		answer, err := g.attempt(bounded, entry)
		if err == nil {
			if answer.Fault != nil {
				return "", answer.Fault
			}
			return answer.Value, nil
		}
		last = err
		pause.For(bounded, attemptPause)
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return "", unavailable(last, limit)
}

// unavailable is what a user sees who asks for a change without a majority.
func unavailable(last error, limit time.Duration) error {
	e := pgerr.New(pgerr.WrongState, "consensus is not available").
		WithHint("A majority of the group's voting nodes must be running and reach each other. bdr.get_raft_status() shows the state.")
	if last != nil {
		e = e.WithDetail("No leader carried out the change within %s: %s", limit, pgerr.From(last).Error())
	}
	return e
}

// attempt asks whoever leads now. An error says that it may be tried again.
func (g *Group) attempt(ctx context.Context, entry []byte) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	if g.IsLeader() {
		return g.apply(ctx, entry)
	}
	leader := g.Leader()
	if leader == 0 || leader == g.config.NodeID {
		return Answer{}, pgerr.New(pgerr.CannotConnectNow, "no consensus leader is known")
	}
	body, err := g.config.Caller.Call(ctx, leader, KindPropose, entry)
	if err != nil {
		return Answer{}, err
	}
	return decodeAnswer(body)
}

// apply commits an entry as leader and waits until it is carried out here.
func (g *Group) apply(ctx context.Context, entry []byte) (Answer, error) {
	if fault := g.config.Machine.Check(entry); fault != nil {
		return Answer{Fault: fault}, nil
	}
	future := g.raft.Apply(entry, attemptTimeout)
	if err := g.wait(ctx, future); err != nil {
		return Answer{}, err
	}
	g.spread()
	switch response := future.Response().(type) {
	case Answer:
		return response, nil
	case error: // the shutdown began: another leader may carry it out
		return Answer{}, response
	default:
		return Answer{}, pgerr.New(pgerr.InternalError, "consensus answered with %T", response)
	}
}

// spread has the followers carry out at once what has just been committed. They
// learn of it with the next entry that they are sent, so they are sent an empty
// one. It is not waited for: without it they learn within two resendTimeouts.
func (g *Group) spread() {
	if members, err := g.Members(); err == nil && len(members) > 1 {
		_ = g.raft.Barrier(attemptTimeout)
	}
}

// wait is future.Error with a context.
func (g *Group) wait(ctx context.Context, future raft.Future) error {
	result := make(chan error, 1)
	g.config.Spawn("consensus future", func() { result <- future.Error() })
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Deliver answers a message of a peer.
func (g *Group) Deliver(ctx context.Context, e Envelope) ([]byte, error) {
	if e.Kind != KindPropose {
		return g.transport.deliver(ctx, e.From, e.Kind, e.Body)
	}
	if !g.IsLeader() {
		return nil, pgerr.New(pgerr.CannotConnectNow, "node with id %d does not lead consensus", g.config.NodeID)
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	answer, err := g.apply(ctx, slices.Clone(e.Body))
	if err != nil {
		return nil, err
	}
	return encodeAnswer(answer), nil
}

// answerMessage is Answer between managers.
type answerMessage struct {
	Value string
	Fault *fault
}

func encodeAnswer(a Answer) []byte {
	m := answerMessage{Value: a.Value}
	if a.Fault != nil {
		m.Fault = &fault{a.Fault.Code, a.Fault.Message, a.Fault.Detail, a.Fault.Hint}
	}
	return Pack(m)
}

func decodeAnswer(body []byte) (Answer, error) {
	var m answerMessage
	if err := Unpack(body, &m); err != nil {
		return Answer{}, err
	}
	a := Answer{Value: m.Value}
	if m.Fault != nil {
		a.Fault = m.Fault.error()
	}
	return a, nil
}

// Members returns the current Raft configuration.
func (g *Group) Members() ([]Member, error) {
	future := g.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return nil, err
	}
	var members []Member
	for _, server := range future.Configuration().Servers {
		id, err := nodeID(string(server.ID))
		if err != nil {
			return nil, err
		}
		members = append(members, Member{ID: id, Voter: server.Suffrage == raft.Voter})
	}
	return members, nil
}

// SetMember adds a server or makes it a voter; only the leader can.
func (g *Group) SetMember(ctx context.Context, m Member) error {
	add := g.raft.AddNonvoter
	if m.Voter {
		add = g.raft.AddVoter
	}
	return g.wait(ctx, add(serverID(m.ID), serverAddress(m.ID), 0, configureTimeout))
}

// RemoveMember removes a server; only the leader can, and not itself.
func (g *Group) RemoveMember(ctx context.Context, id uint32) error {
	return g.wait(ctx, g.raft.RemoveServer(serverID(id), 0, configureTimeout))
}

// Barrier returns when this node, as leader, has carried out everything that
// was committed before.
func (g *Group) Barrier(ctx context.Context) error {
	return g.wait(ctx, g.raft.Barrier(configureTimeout))
}

// Settle returns when this node, as leader, has carried out what was committed
// before it began to lead. What it commits itself is told by Changed.
func (g *Group) Settle(ctx context.Context) error {
	term := g.raft.CurrentTerm() // a node leads at most once in a term
	g.mu.Lock()
	done := g.settled == term
	g.mu.Unlock()
	if done {
		return nil
	}
	if err := g.Barrier(ctx); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.settled = term
	return nil
}

// Transfer gives leadership to another voter.
func (g *Group) Transfer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	return g.wait(ctx, g.raft.LeadershipTransfer())
}

// Shutdown hands leadership over if it can, stops raft and closes the files.
// When ctx ends first the files stay open; the process is about to end then.
func (g *Group) Shutdown(ctx context.Context) error {
	g.mu.Lock()
	again := g.closing
	g.closing = true
	g.mu.Unlock()
	if again {
		return nil
	}
	if g.IsLeader() && g.hasOtherVoter() {
		_ = g.Transfer(ctx) // without a successor the others will elect one
	}
	g.stopFSM()
	_ = g.transport.Close()
	g.raft.DeregisterObserver(g.observer)
	close(g.ended)
	if err := g.wait(ctx, g.raft.Shutdown()); err != nil {
		return err
	}
	return g.store.close()
}

func (g *Group) hasOtherVoter() bool {
	members, err := g.Members()
	return err == nil && slices.ContainsFunc(members, func(m Member) bool { return m.Voter && m.ID != g.config.NodeID })
}
