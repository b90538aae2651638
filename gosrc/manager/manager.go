// Package manager wires everything for one database: the socket, consensus, the
// life of the node and a subscription per peer. It decides nothing itself.
package manager

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"bdr/gosrc/api"
	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/globallock"
	"bdr/gosrc/ipc"
	"bdr/gosrc/locker"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/retention"
	"bdr/gosrc/sequence"
	"bdr/gosrc/sequencer"
	"bdr/gosrc/stream"
	"bdr/gosrc/subscription"
	"bdr/gosrc/upgrade"
)

// Times of the manager's own life.
const (
	idleTimeMax  = 60 * time.Second // without a node and without a request
	loadRetryMin = time.Second      // after the catalog could not be read; doubles
	loadRetryMax = time.Minute
)

// Config is what C tells the manager.
type Config struct {
	Main          *ipc.Main
	RunDirectory  string
	BinDirectory  string
	DataDirectory string
	HomeDirectory string
	PassFile      string
	DatabaseName  string
	DatabaseOID   uint32
	ServerVersion int
}

// A member is consensus and the life of this node as a member of its group;
// membership.go wires it.
type member interface {
	// Open starts consensus if the catalog says that this node is in a group,
	// and goes on with a join or part that was interrupted.
	Open(ctx context.Context, local catalog.LocalNode) error
	// Handlers returns the SQL functions that it answers.
	Handlers() map[string]api.Handler
	// RPC answers a message of a peer's manager.
	RPC(ctx context.Context, session catalog.Runner, message []byte) ([]byte, error)
	// GroupVersions answers bdr.internal_group_versions().
	GroupVersions(ctx context.Context, r *ipc.Request) (ipc.Rows, error)
	// Cluster returns what all nodes agree on.
	Cluster() cluster.Cluster
	// Sequences returns what they agree on about sequences.
	Sequences() sequence.State
	// GlobalLocks returns what they agree on about global locks.
	GlobalLocks() globallock.State
	// Changed returns a channel that is closed when one of them has changed.
	Changed() <-chan struct{}
	// WarnOfSettings tells the log about settings that a node should not have.
	WarnOfSettings(ctx context.Context)
	// What the sequencer and the locker need of consensus, and of the nodes' versions.
	Propose(ctx context.Context, limit time.Duration, entry []byte) (string, error)
	Leads() bool
	AdmitSequences(ctx context.Context) error
	AdmitLocks(ctx context.Context) error
	RequireAll(ctx context.Context) error
	AskStopSequence(ctx context.Context, node uint32, body []byte) ([]byte, error)
	Close(ctx context.Context)
}

// Manager serves one database.
type Manager struct {
	config   Config
	main     *ipc.Main
	server   *ipc.Server
	handlers map[string]entry
	member   member

	subscriptions *subscription.Set
	deadRows      *retention.DeadRows
	history       *retention.History
	upkeep        *retention.Upkeep
	sequencer     *sequencer.Sequencer
	locker        *locker.Locker
	upgrade       *upgrade.Upgrade
	api           *api.API
	ctx           context.Context
	cancel        context.CancelFunc
	loaded        chan struct{} // closed when the catalog has been read once
	activity      chan struct{} // a request began or ended
	reading       chan struct{} // holds one: the right to refresh
	keep          sync.Once     // when this database first acts as a node

	mu       sync.Mutex
	local    catalog.LocalNode // zero: this database is not a node
	refusal  *pgerr.Error      // why the node must not act; nil: it may
	requests int               // in progress
	warned   string            // of this value of settingIdle
}

// settingIdle makes the server give slots up; empty before version 18.
const settingIdle = "idle_replication_slot_timeout"

// Start returns when the socket listens. What the catalog asks for follows.
func Start(config Config) (*Manager, error) {
	stream.SetDefaults(config.PassFile, config.HomeDirectory)
	ctx, cancel := context.WithCancel(context.Background())
	m := &Manager{config: config, main: config.Main, ctx: ctx, cancel: cancel,
		loaded: make(chan struct{}), activity: make(chan struct{}, 1), reading: make(chan struct{}, 1)}
	m.wire()
	m.handlers = m.table()
	server, err := ipc.Listen(filepath.Join(config.RunDirectory, "sock"), Go, m)
	if err != nil {
		cancel()
		return nil, err
	}
	m.server = server
	m.subscriptions.Serve(server)
	Go("load", m.load)
	Go("idle", m.idle)
	return m, nil
}

// wire makes the parts and tells each of the others what it needs of them.
func (m *Manager) wire() {
	agreed := func() cluster.Cluster { return m.member.Cluster() }
	changed := func() <-chan struct{} { return m.member.Changed() }
	m.subscriptions = subscription.New(subscription.Deps{Main: m.main, Node: m.node, Cluster: agreed, Changed: changed, Spawn: Go})
	m.upkeep = retention.NewUpkeep(m.main, func() uint32 {
		local, _ := m.node()
		return local.ID
	})
	keepers := retention.Deps{Main: m.main, DatabaseOID: m.config.DatabaseOID, Cluster: agreed, Changed: changed,
		Watermark: m.subscriptions.Watermark, Upkeep: m.upkeep, Acts: func() bool {
			_, refusal := m.node()
			return refusal == nil
		}}
	m.deadRows, m.history = retention.NewDeadRows(keepers), retention.NewHistory(keepers)
	m.api = api.New(api.Deps{Main: m.main, Subscriptions: m.subscriptions, Node: m.node})
	m.upgrade = upgrade.New(upgrade.Deps{Main: m.main, RunDirectory: m.config.RunDirectory, DatabaseOID: m.config.DatabaseOID,
		Node: m.node, Cluster: agreed, Idle: func() bool { return len(m.subscriptions.Status()) == 0 && m.deadRows.Rests() },
		Reconsider: m.reconsider, Settle: m.settle})
	leads := func() bool { return m.member.Leads() }
	propose := func(ctx context.Context, limit time.Duration, entry []byte) (string, error) {
		return m.member.Propose(ctx, limit, entry)
	}
	m.locker = locker.New(m.ctx, locker.Deps{Host: m.main, Spawn: Go, Node: m.node, Cluster: agreed, Changed: changed,
		Locks: func() globallock.State { return m.member.GlobalLocks() }, Leads: leads, Propose: propose,
		Admit: func(ctx context.Context) error { return m.member.AdmitLocks(ctx) }, WaitApplied: m.subscriptions.WaitApplied})
	m.sequencer = sequencer.New(m.ctx, sequencer.Deps{Host: m.main, Spawn: Go, Node: m.node, Cluster: agreed, Changed: changed,
		Sequences: func() sequence.State { return m.member.Sequences() }, Leads: leads, Propose: propose,
		Admit:      func(ctx context.Context) error { return m.member.AdmitSequences(ctx) },
		RequireAll: func(ctx context.Context) error { return m.member.RequireAll(ctx) },
		Stop: func(ctx context.Context, node uint32, body []byte) ([]byte, error) {
			return m.member.AskStopSequence(ctx, node, body)
		}})
	m.member = newMember(m)
}

// Stop ends everything; it returns when all has ended or ctx has.
func (m *Manager) Stop(ctx context.Context) {
	m.cancel()
	m.server.Close()
	m.subscriptions.Close(ctx)
	m.member.Close(ctx)
}

// load reads the catalog until that succeeds, and starts what it asks for.
// Requests wait for the first try only; each of them tries again.
func (m *Manager) load() {
	first := true
	for wait := loadRetryMin; ; wait = min(2*wait, loadRetryMax) {
		err := m.refresh(m.ctx)
		if first {
			close(m.loaded)
			first = false
		}
		if err == nil || m.ctx.Err() != nil {
			break
		}
		fault := pgerr.From(err)
		m.main.Log(ipc.Warning, "could not start bdr in this database and will try again: "+fault.Message, fault.Detail, fault.Hint)
		select {
		case <-time.After(wait):
		case <-m.ctx.Done():
		}
	}
	m.subscriptions.Run(m.ctx)
}

// refresh finds out whether this database is a node, and if it has become one,
// starts consensus and subscriptions.
func (m *Manager) refresh(ctx context.Context) error {
	return m.look(ctx, func(local catalog.LocalNode) bool {
		known, _ := m.node()
		return known != local
	})
}

// reconsider finds out once more whether the node may act.
func (m *Manager) reconsider(ctx context.Context) error {
	return m.look(ctx, func(catalog.LocalNode) bool { return true })
}

// look reads which node this is, and has it act as that where it matters.
func (m *Manager) look(ctx context.Context, matters func(catalog.LocalNode) bool) error {
	select {
	case m.reading <- struct{}{}:
		defer func() { <-m.reading }()
	case <-ctx.Done():
		return ctx.Err()
	}
	local, _, err := m.readLocal(ctx)
	if err != nil || !matters(local) {
		return err
	}
	return m.become(ctx, local)
}

// become starts to act as a node, or as none.
func (m *Manager) become(ctx context.Context, local catalog.LocalNode) error {
	if local == (catalog.LocalNode{}) {
		m.adopt(local, nil)
		return nil
	}
	if _, err := m.main.Run(ctx, catalog.TerminateWriters()); err != nil {
		return fmt.Errorf("end the writers of an earlier manager: %w", err)
	}
	refusal, err := m.whyNot(ctx, local)
	if err != nil {
		return err
	}
	if refusal != nil {
		m.main.Log(ipc.Warning, refusal.Message, refusal.Detail, refusal.Hint)
	} else if err := m.member.Open(m.ctx, local); err != nil {
		return err
	}
	m.adopt(local, refusal)
	m.subscriptions.Recheck()
	if refusal == nil {
		m.sequencer.Install(ctx)
		m.keep.Do(func() {
			Go("history", func() { m.history.Run(m.ctx) })
			Go("versions", func() { m.deadRows.Run(m.ctx) })
			Go("sequences", m.sequencer.Run)
			Go("global locks", m.locker.Run)
			Go("table gates", m.locker.KeepGates)
			m.main.OnSettings(m.warnOfSettings)
			Go("settings", m.warnOfSettings)
		})
	}
	return nil
}

// whyNot says why the node must not act, and sees to its retention slot.
func (m *Manager) whyNot(ctx context.Context, local catalog.LocalNode) (*pgerr.Error, error) {
	server, err := m.readServer(ctx)
	if err != nil {
		return nil, err
	}
	refusal, err := m.upgrade.Refusal(server)
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		return refusal, m.upgrade.Hold(ctx, server)
	}
	refusal, err = checkIdentity(m.config, server, local)
	if err != nil {
		return nil, err
	}
	if refusal == nil {
		return m.checkObjects(ctx)
	}
	if _, err := m.main.Run(ctx, catalog.DropSlot(stream.HoldName(m.config.DatabaseOID))); err != nil {
		return nil, fmt.Errorf("drop the hold of the original: %w", err)
	}
	return refusal, nil
}

// warnOfSettings tells of a setting once for each of its values.
func (m *Manager) warnOfSettings() {
	value := m.main.Setting(settingIdle)
	m.mu.Lock()
	warn := value != m.warned && value != "" && value != "0"
	m.warned = value
	m.mu.Unlock()
	if warn {
		m.member.WarnOfSettings(m.ctx)
	}
}

// readLocal reads which node this database is.
func (m *Manager) readLocal(ctx context.Context) (catalog.LocalNode, bool, error) {
	results, err := m.main.Run(ctx, catalog.SelectLocalNode())
	if pgerr.Code(err) == pgerr.UndefinedObject {
		return catalog.LocalNode{}, false, nil // the extension is not installed
	}
	if err != nil {
		return catalog.LocalNode{}, false, fmt.Errorf("read local node: %w", err)
	}
	return catalog.Local(results[0])
}

// adopt notes which node this database is and whether it may act.
func (m *Manager) adopt(local catalog.LocalNode, refusal *pgerr.Error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.local, m.refusal = local, refusal
}

func (m *Manager) node() (catalog.LocalNode, *pgerr.Error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.local, m.refusal
}

// idle ends the manager when nobody needs it: no node here, and no request for
// a while. The main thread sees the end of its socket and exits with success.
func (m *Manager) idle() {
	timer := time.NewTimer(idleTimeMax)
	defer timer.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-m.activity:
			timer.Reset(idleTimeMax)
		case <-timer.C:
			if m.unneeded() {
				m.main.Log(ipc.Debug, "bdr manager ends: the database is not a node", "", "")
				_ = m.main.Close() // the process ends with it
				return
			}
			timer.Reset(idleTimeMax)
		}
	}
}

// unneeded asks the catalog once more: create_node commits after its request.
func (m *Manager) unneeded() bool {
	m.mu.Lock()
	busy := m.requests > 0 || m.local != catalog.LocalNode{}
	m.mu.Unlock()
	if busy {
		return false
	}
	_, found, err := m.readLocal(m.ctx)
	return err == nil && !found
}
