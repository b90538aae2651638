package membership

import (
	"context"
	"encoding/binary"
	"fmt"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/consensus"
	"bdr/gosrc/ipc"
	"bdr/gosrc/join"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/stream"
)

// CreateNode is bdr.create_node(node_name, local_dsn, node_kind). It writes in
// the caller's transaction; before that it only looks.
func (s *Service) CreateNode(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	name, dsn := r.Arg(0), r.Arg(1)
	if r.Null(0) || r.Null(1) {
		return ipc.Rows{}, pgerr.New(pgerr.InvalidParameter, "node_name and local_dsn must not be NULL")
	}
	if err := join.CheckNodeName(name); err != nil {
		return ipc.Rows{}, err
	}
	if err := join.CheckNodeKind(r.Arg(2)); err != nil {
		return ipc.Rows{}, err
	}
	if err := refuseSecondNode(ctx, r); err != nil {
		return ipc.Rows{}, err
	}
	if err := s.checkLocal(ctx, r, dsn); err != nil {
		return ipc.Rows{}, err
	}
	node, err := s.newNode(name, dsn)
	if err != nil {
		return ipc.Rows{}, err
	}
	statements := append(catalog.UpsertNode(node), catalog.InsertLocalNode(node.ID, node.UUID)...)
	statements = append(statements, catalog.CreateOrigin(stream.MessageOrigin(s.deps.DatabaseOID)), catalog.LabelDatabase(s.deps.DatabaseName))
	if _, err := r.Run(ctx, statements...); err != nil {
		return ipc.Rows{}, err
	}
	return ipc.Value(fmt.Sprint(node.ID)), nil
}

func refuseSecondNode(ctx context.Context, r *ipc.Request) error {
	local, nodes, err := catalog.ReadNodes(ctx, r)
	if err != nil || local == (catalog.LocalNode{}) {
		return err
	}
	for _, n := range nodes {
		if n.ID == local.ID {
			return pgerr.New(pgerr.DuplicateObject, "this database is a node already").
				WithDetail("It is node %q.", n.Name).
				WithHint("A database can be only one node. bdr.drop_node() removes a node that is not a member of a group.")
		}
	}
	return err
}

// checkLocal looks at this server, and at it again through the DSN that the
// peers will use.
func (s *Service) checkLocal(ctx context.Context, r *ipc.Request, dsn string) error {
	here, err := join.FactsOf(ctx, r)
	if err != nil {
		return err
	}
	minimum := join.Need{Slots: 1 + join.HoldSlots, Senders: 1, Origins: 1, Workers: 1, Purpose: "A node with one peer"}
	if err := join.CheckServer(here, minimum, ""); err != nil {
		return err
	}
	if message, detail, hint := join.WarnIdle(here, ""); message != "" {
		if err := r.Notice(ipc.Warning, "%s. %s %s", message, detail, hint); err != nil {
			return err
		}
	}
	there, err := s.remoteFacts(ctx, dsn)
	if err != nil {
		return hintDSN(err)
	}
	if err := join.CheckSameDatabase(here, there, dsn); err != nil {
		return err
	}
	if err := join.CheckRole(there, dsn); err != nil {
		return err
	}
	conn, err := s.connect(ctx, dsn, stream.Replication)
	if err != nil {
		return hintDSN(err)
	}
	stream.HangUp(conn)
	return nil
}

// WarnOfSettings tells the log about settings of this server with which a node
// works, but not as somebody may expect.
func (s *Service) WarnOfSettings(ctx context.Context) {
	here, err := join.FactsOf(ctx, s.deps.Host)
	if err != nil {
		s.log(ipc.Log, "could not look at the settings of this server: %v", err)
		return
	}
	if message, detail, hint := join.WarnIdle(here, ""); message != "" {
		s.deps.Host.Log(ipc.Warning, message, detail, hint)
	}
}

// hintDSN adds what can be done about a DSN that does not work.
func hintDSN(err error) error {
	e := pgerr.From(err)
	if e.Hint != "" || isCode(err, pgerr.QueryCanceled) {
		return err
	}
	return e.WithHint("Check host, port, database, user and password of local_dsn, pg_hba.conf, and that the server listens there.")
}

func (s *Service) remoteFacts(ctx context.Context, dsn string) (catalog.Facts, error) {
	conn, err := s.connect(ctx, dsn, stream.Command)
	if err != nil {
		return catalog.Facts{}, err
	}
	defer stream.HangUp(conn)
	return join.FactsOf(ctx, catalog.Over(conn))
}

// newNode makes the record of a node that is not in a group yet.
func (s *Service) newNode(name, dsn string) (catalog.Node, error) {
	id, uuid, err := newIdentity()
	if err != nil {
		return catalog.Node{}, err
	}
	return catalog.Node{ID: id, Name: name, SyncStructure: "all", State: cluster.Created, Target: cluster.Created,
		DBName: s.deps.DatabaseName, DBOID: s.deps.DatabaseOID, DSN: dsn, Kind: "data", UUID: uuid.String()}, nil
}

// newIdentity makes a random UUID, and the id that is its beginning.
func newIdentity() (uint32, consensus.UUID, error) {
	for {
		u, err := consensus.NewUUID()
		if id := binary.BigEndian.Uint32(u[:4]); id != 0 || err != nil {
			return id, u, err
		}
	}
}

// DropNode is bdr.drop_node(node_name, cascade, force).
func (s *Service) DropNode(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	if r.Null(0) {
		return ipc.Rows{}, pgerr.New(pgerr.InvalidParameter, "node_name must not be NULL")
	}
	name, force := r.Arg(0), r.Bool(2, false)
	local, err := s.record(ctx)
	if err != nil {
		return ipc.Rows{}, err
	}
	if local.Name == name {
		return void(s.dropLocal(ctx, r, local, force))
	}
	node, known := s.Cluster().NodeByName(name)
	if !known {
		return ipc.Rows{}, catalog.ErrUnknownNode(name)
	}
	if force {
		return ipc.Rows{}, pgerr.New(pgerr.FeatureNotSupported, "a remote node cannot be dropped by force yet").
			WithHint("Part the node with bdr.part_node() while a majority of the nodes is up.")
	}
	_, err = s.propose(ctx, cluster.Command{Kind: cluster.DropNode, NodeID: node.ID})
	return void(err)
}

// void is the result of a function without one.
func void(err error) (ipc.Rows, error) {
	if err != nil {
		return ipc.Rows{}, err
	}
	return ipc.Value(""), nil
}

// dropLocal removes all that this database knows about being a node. What is
// not transactional is done first; doing it again does no harm.
func (s *Service) dropLocal(ctx context.Context, r *ipc.Request, local catalog.Node, force bool) error {
	if err := s.mayDropLocal(r, local, force); err != nil {
		return err
	}
	if err := s.giveUpJoin(ctx, local); err != nil && !force {
		return err
	}
	if err := s.leave(ctx); err != nil {
		return err
	}
	statements := append(catalog.ForgetNode(), catalog.DropOrigin(stream.MessageOrigin(s.deps.DatabaseOID)), catalog.UnlabelDatabase(s.deps.DatabaseName))
	_, err := r.Run(ctx, statements...)
	return err
}

// giveUpJoin tells the group, if it knows of us, that we shall not come.
func (s *Service) giveUpJoin(ctx context.Context, local catalog.Node) error {
	if cluster.IsJoining(local.State) {
		return s.abandonJoin(ctx, local)
	}
	if local.GroupID == 0 {
		return s.withdraw(ctx)
	}
	return nil
}

func (s *Service) mayDropLocal(r *ipc.Request, local catalog.Node, force bool) error {
	_, shared := s.Cluster().First(local.ID, func(state cluster.State) bool { return state != cluster.Parted })
	switch {
	case local.GroupID == 0 || local.State == cluster.Parted:
		return nil
	case r.InTransaction:
		return errInTransaction("bdr.drop_node() of a member")
	case force || cluster.IsJoining(local.State) || !shared:
		return nil
	}
	return pgerr.New(pgerr.WrongState, "cannot drop node %q", local.Name).
		WithDetail("Node %q %s and the group has other nodes.", local.Name, cluster.Phrase(local.State)).
		WithHint("Call bdr.part_node() on another node first.")
}

func errInTransaction(what string) *pgerr.Error {
	return pgerr.New(pgerr.ActiveTransaction, "%s cannot run inside a transaction block", what)
}

// leave stops the join, consensus and the streams of the local node and removes
// their files, slots and origins.
func (s *Service) leave(ctx context.Context) error {
	s.stopJoin(ctx)
	s.moving.Lock()
	defer s.moving.Unlock()
	if err := s.closeGroup(ctx); err != nil {
		return err
	}
	if err := s.markParted(ctx); err != nil {
		return err
	}
	if _, err := s.deps.Host.Run(ctx, catalog.DeleteJoin()); err != nil {
		return err
	}
	if err := s.dropTraces(ctx); err != nil {
		return err
	}
	if err := consensus.RemoveStore(s.raftDir()); err != nil {
		return err
	}
	s.forget()
	return nil
}
