// Package membership carries out, on this node, what the cluster has agreed on
// about its members: it registers, joins and parts nodes, and keeps the Raft group
// and what the node has of its peers equal to that.
package membership

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/consensus"
	"bdr/gosrc/control"
	"bdr/gosrc/ipc"
	"bdr/gosrc/join"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pause"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/statemachine"
	"bdr/gosrc/stream"
)

const (
	raftDirectory   = "raft"
	applicationName = "bdr manager"
	shutdownTimeout = 10 * time.Second
)

// Host is the manager's main thread.
type Host interface {
	catalog.Runner
	Log(level ipc.Level, message, detail, hint string)
}

// Subscriptions are the running streams from the peers.
type Subscriptions interface {
	// Stop ends the one to a node that is being parted.
	Stop(ctx context.Context, origin uint32) error
	// Applied says up to which of its positions a node's changes are here.
	Applied(origin uint32) lsn.LSN
	// WaitApplied waits until everything before target is here.
	WaitApplied(ctx context.Context, origin uint32, target lsn.LSN) error
	// CatchUp completes the copy that a join made of source.
	CatchUp(ctx context.Context, source catalog.Node, nonce string, report func(error)) (control.CatchUpPoint, error)
	// Recheck has the subscriptions compared with the cluster again.
	Recheck()
	// Resubscribe returns when they bring what this node has chosen.
	Resubscribe(ctx context.Context) error
}

// Deps is what the manager hands down.
type Deps struct {
	Host          Host
	Subscriptions Subscriptions
	// StopSequence answers a message about a sequence, in the session of its sender.
	StopSequence  func(ctx context.Context, session catalog.Runner, body []byte) ([]byte, error)
	KeepsDeadRows func() bool // what is deleted here from now on can be found
	Spawn         func(name string, f func())
	Connect       func(ctx context.Context, dsn string, purpose stream.Purpose, applicationName string) (*pgconn.PgConn, error)
	RunDirectory  string
	BinDirectory  string
	HomeDirectory string
	PassFile      string
	DatabaseName  string
	DatabaseOID   uint32
}

// Service is the life of the local node. Its methods may be called at any
// time; before Open there is no node.
type Service struct {
	deps   Deps
	links  *consensus.Links
	ctx    context.Context
	cancel context.CancelFunc
	moving sync.Mutex // held while consensus is opened or closed

	mu      sync.Mutex
	local   catalog.LocalNode
	ledger  *statemachine.Ledger
	group   *consensus.Group
	cluster consensus.UUID // before the tables know it
	join    *joinRun
	changed chan struct{}
	parts   map[uint32]bool // parts that this node is driving
	orphan  time.Time       // since when no leader is known
	cleaned bool            // a parted node has cleaned up

	versions versions // of the nodes
}

// New returns a Service without a node.
func New(d Deps) *Service {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Service{deps: d, ctx: ctx, cancel: cancel, changed: make(chan struct{}), parts: map[uint32]bool{}}
	s.links = &consensus.Links{
		Connect: func(ctx context.Context, dsn string) (*pgconn.PgConn, error) {
			return d.Connect(ctx, dsn, stream.Command, applicationName)
		},
		Identity: s.identity,
		Address:  s.address,
	}
	d.Spawn("membership keeper", s.keep)
	d.Spawn("versions keeper", s.keepVersions)
	return s
}

// Open starts what the tables say about the local node: consensus, and a join
// that was interrupted. Calling it again changes nothing.
func (s *Service) Open(ctx context.Context, local catalog.LocalNode) error {
	s.moving.Lock()
	defer s.moving.Unlock()
	if s.isOpen(local) {
		return nil
	}
	ledger, recorded, joining, err := s.load(ctx, local.ID)
	if err != nil {
		return err
	}
	self, member := ledger.Cluster().Node(local.ID)
	if member && self.State == cluster.Active && !consensus.HasStore(s.raftDir()) {
		return errNoStore(self.Name, s.raftDir())
	}
	s.mu.Lock()
	s.local, s.ledger, s.join, s.cluster, s.cleaned = local, ledger, nil, consensus.UUID{}, false
	s.mu.Unlock()
	if member && self.State != cluster.Parted {
		if err := s.openGroup(); err != nil {
			return err
		}
	}
	if joining && recorded.Step != join.StepDone {
		s.startJoin(recorded)
	}
	s.notify()
	return nil
}

// Sync makes the Service what the tables say: the zero value is no node.
func (s *Service) Sync(ctx context.Context, local catalog.LocalNode) error {
	if local != (catalog.LocalNode{}) {
		return s.Open(ctx, local)
	}
	if s.localID() == 0 {
		return nil
	}
	s.stopJoin(ctx)
	s.moving.Lock()
	defer s.moving.Unlock()
	if err := s.closeGroup(ctx); err != nil {
		return err
	}
	s.forget()
	return nil
}

func (s *Service) isOpen(local catalog.LocalNode) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ledger != nil && s.local == local
}

// load reads what the tables know about the local node.
func (s *Service) load(ctx context.Context, id uint32) (*statemachine.Ledger, catalog.Join, bool, error) {
	ledger, err := statemachine.Load(ctx, s.deps.Host, id)
	if err != nil {
		return nil, catalog.Join{}, false, fmt.Errorf("read cluster: %w", err)
	}
	results, err := s.deps.Host.Run(ctx, catalog.SelectJoin())
	if err != nil {
		return nil, catalog.Join{}, false, fmt.Errorf("read join: %w", err)
	}
	recorded, joining, err := catalog.JoinOf(results[0])
	return ledger, recorded, joining, err
}

// openGroup starts consensus; the caller holds moving.
func (s *Service) openGroup() error {
	s.mu.Lock()
	ledger, id, open := s.ledger, s.local.ID, s.group != nil
	s.mu.Unlock()
	if open {
		return nil
	}
	group, err := consensus.Open(consensus.Config{NodeID: id, Dir: s.raftDir(), Machine: ledger, Caller: s.links,
		Log: s.logConsensus, Spawn: s.deps.Spawn, Changed: s.notify})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.group = group
	s.mu.Unlock()
	return nil
}

// closeGroup stops consensus; the caller holds moving.
func (s *Service) closeGroup(ctx context.Context) error {
	s.mu.Lock()
	group := s.group
	s.group = nil
	s.mu.Unlock()
	if group == nil {
		return nil
	}
	return group.Shutdown(ctx)
}

// Close stops everything that this node does as a member.
func (s *Service) Close(ctx context.Context) {
	s.cancel()
	s.moving.Lock()
	defer s.moving.Unlock()
	_ = s.closeGroup(ctx) // the process is about to end
	s.links.Close()
}

// forget makes this database no node again; the caller holds moving.
func (s *Service) forget() {
	s.mu.Lock()
	s.local, s.ledger, s.join, s.cluster = catalog.LocalNode{}, nil, nil, consensus.UUID{}
	s.mu.Unlock()
	s.links.Close()
	s.notify()
}

func (s *Service) raftDir() string { return filepath.Join(s.deps.RunDirectory, raftDirectory) }

func (s *Service) logConsensus(level, message string) {
	s.deps.Host.Log(ipc.Level(level), message, "", "")
}

func (s *Service) log(level ipc.Level, format string, args ...any) {
	s.deps.Host.Log(level, fmt.Sprintf(format, args...), "", "")
}

// Cluster returns what all nodes agree on, as far as this node knows.
func (s *Service) Cluster() cluster.Cluster {
	if ledger := s.machines(); ledger != nil {
		return ledger.Cluster()
	}
	return cluster.Cluster{}
}

// machines carries out the entries of the log; nil: this database is no node.
func (s *Service) machines() *statemachine.Ledger {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ledger
}

// Changed returns a channel that is closed when the cluster, its leader or the
// local node has changed. Take it before looking.
func (s *Service) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *Service) notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// localID returns the local node's id, 0 without one.
func (s *Service) localID() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.local.ID
}

// self returns the local node as the cluster knows it.
func (s *Service) self() (catalog.Node, bool) { return s.Cluster().Node(s.localID()) }

// record returns the local node's record, also before it is in a group.
func (s *Service) record(ctx context.Context) (catalog.Node, error) {
	if n, ok := s.self(); ok {
		return n, nil
	}
	results, err := s.deps.Host.Run(ctx, catalog.SelectNodes())
	if err != nil {
		return catalog.Node{}, err
	}
	nodes, err := catalog.Nodes(results[0])
	if err != nil {
		return catalog.Node{}, err
	}
	for _, n := range nodes {
		if id := s.localID(); id != 0 && n.ID == id {
			return n, nil
		}
	}
	return catalog.Node{}, errNoNode()
}

func errNoNode() *pgerr.Error {
	return pgerr.New(pgerr.WrongState, "this database is not a node").
		WithHint("Call bdr.create_node() first.")
}

// errNoStore: whatever took the files away may have taken slots and origins too.
func errNoStore(node, dir string) *pgerr.Error {
	return pgerr.New(pgerr.WrongState, "node %q has lost its files", node).
		WithDetail("\"%s\" is missing in the data directory: pg_upgrade and tools that copy databases do not bring it along.", dir).
		WithHint("Part this node on another one and let it join again in an empty database. To upgrade a server, run bdr_pg_upgrade.")
}

// identity is for messages to peers.
func (s *Service) identity() (consensus.UUID, uint32) {
	if g, ok := s.Cluster().Group(); ok {
		if id, err := consensus.ParseUUID(g.UUID); err == nil {
			return id, s.localID()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cluster, s.local.ID
}

// address returns a peer's DSN.
func (s *Service) address(node uint32) (string, error) {
	if n, ok := s.Cluster().Node(node); ok {
		return n.DSN, nil
	}
	return "", pgerr.New(pgerr.UndefinedObject, "node with id %d does not exist", node)
}

// consensus returns the running group.
func (s *Service) consensus() (*consensus.Group, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.group != nil {
		return s.group, nil
	}
	if s.ledger == nil {
		return nil, errNoNode()
	}
	return nil, pgerr.New(pgerr.WrongState, "the local node is not a member of a node group")
}

// propose gets a command carried out on every node.
func (s *Service) propose(ctx context.Context, cmd cluster.Command) (string, error) {
	group, err := s.consensus()
	if err != nil {
		return "", err
	}
	return group.Propose(ctx, cmd.Encode())
}

// setState moves a node on, from where it is.
func (s *Service) setState(ctx context.Context, n catalog.Node, to cluster.State) error {
	_, err := s.propose(ctx, cluster.Command{Kind: cluster.ChangeState, NodeID: n.ID, From: n.State, To: to})
	return err
}

// waitUntil waits for a condition on the cluster.
func (s *Service) waitUntil(ctx context.Context, met func(cluster.Cluster) bool) error {
	if pause.Until(ctx, s.Changed, func() bool { return met(s.Cluster()) }) != nil {
		return context.Cause(ctx)
	}
	return nil
}

// connect opens an ordinary or replication connection.
func (s *Service) connect(ctx context.Context, dsn string, purpose stream.Purpose) (*pgconn.PgConn, error) {
	return s.deps.Connect(ctx, dsn, purpose, applicationName)
}

// isCode tests an error for one of some SQLSTATEs.
func isCode(err error, codes ...string) bool {
	for _, code := range codes {
		if errors.Is(err, pgerr.New(code, "")) || pgerr.Code(err) == code {
			return true
		}
	}
	return false
}
