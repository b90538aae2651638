package membership

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/consensus"
	"bdr/gosrc/ipc"
	"bdr/gosrc/join"
	"bdr/gosrc/pause"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/stream"
)

// JoinNodeGroup is bdr.join_node_group(join_target_dsn, node_group_name,
// wait_for_completion, synchronize_structure). It checks, starts the join, and
// watches it: the join itself runs in the manager and survives its caller.
func (s *Service) JoinNodeGroup(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	if r.InTransaction {
		return ipc.Rows{}, errInTransaction("bdr.join_node_group()")
	}
	if r.Null(0) {
		return ipc.Rows{}, pgerr.New(pgerr.InvalidParameter, "join_target_dsn must not be NULL")
	}
	structure := r.Arg(3)
	if structure == "" {
		structure = "all"
	}
	if structure != "all" && structure != "none" {
		return ipc.Rows{}, pgerr.New(pgerr.InvalidParameter, "unknown synchronize_structure %q", structure).
			WithHint("Use all or none.")
	}
	local, err := s.mayJoin(ctx)
	if err != nil {
		return ipc.Rows{}, err
	}
	source, err := s.preflight(ctx, local, r.Arg(0), r.Arg(1), structure)
	if err != nil {
		return ipc.Rows{}, err
	}
	run, err := s.beginJoin(ctx, catalog.Join{Step: join.StepRegister, TargetDSN: r.Arg(0), SourceID: source, SyncStructure: structure})
	if err != nil || !r.Bool(2, true) {
		return void(err)
	}
	return void(run.watch(ctx, r, true))
}

// mayJoin returns the local node if it can join a group.
func (s *Service) mayJoin(ctx context.Context) (catalog.Node, error) {
	local, err := s.record(ctx)
	if err != nil {
		return local, err
	}
	s.mu.Lock()
	joining := s.join != nil && !s.join.over()
	s.mu.Unlock()
	if joining || cluster.IsJoining(local.State) {
		return local, errJoinUnderWay(local)
	}
	if local.State == cluster.Parted {
		return local, pgerr.New(pgerr.WrongState, "node %q has been parted and cannot join again", local.Name).
			WithHint("Call bdr.drop_node() and bdr.create_node() to make a new node, in an empty database.")
	}
	if g, exists := s.Cluster().Group(); exists {
		return local, errMember(local, g)
	}
	return local, nil
}

func errJoinUnderWay(local catalog.Node) *pgerr.Error {
	return pgerr.New(pgerr.WrongState, "node %q is joining already", local.Name).
		WithHint("Call bdr.wait_for_join_completion() to wait for it, or bdr.drop_node() to give it up.")
}

// beginJoin records the join and starts it.
func (s *Service) beginJoin(ctx context.Context, begun catalog.Join) (*joinRun, error) {
	s.moving.Lock()
	defer s.moving.Unlock()
	if _, err := s.deps.Host.Run(ctx, catalog.DeleteJoin(), catalog.InsertJoin(begun)); err != nil {
		return nil, err
	}
	return s.startJoin(begun), nil
}

// WaitForJoin is bdr.wait_for_join_completion(verbose_progress).
func (s *Service) WaitForJoin(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	local, err := s.record(ctx)
	if err != nil {
		return ipc.Rows{}, err
	}
	s.mu.Lock()
	run := s.join
	s.mu.Unlock()
	if run != nil {
		if err := run.watch(ctx, r, r.Bool(0, false)); err != nil {
			return ipc.Rows{}, err
		}
	} else if local.GroupID == 0 {
		return ipc.Rows{}, pgerr.New(pgerr.WrongState, "node %q is not joining a node group", local.Name).
			WithHint("Call bdr.create_node_group() or bdr.join_node_group().")
	}
	if err := s.waitUntil(ctx, s.settled); err != nil {
		return ipc.Rows{}, err
	}
	self, _ := s.self()
	return ipc.Value(cluster.StateName(self.State)), nil
}

// settled says whether the local node is where it wants to be.
func (s *Service) settled(c cluster.Cluster) bool {
	self, member := c.Node(s.localID())
	return !member || self.State == self.Target
}

// preflight looks at both sides and refuses before anything is changed. It
// returns the id of the source.
func (s *Service) preflight(ctx context.Context, local catalog.Node, dsn, groupName, structure string) (uint32, error) {
	here, err := join.FactsOf(ctx, s.deps.Host)
	if err != nil {
		return 0, err
	}
	conn, err := s.connect(ctx, dsn, stream.Command)
	if err != nil {
		return 0, hintTarget(err)
	}
	defer stream.HangUp(conn)
	source := catalog.Over(conn)
	there, err := join.FactsOf(ctx, source)
	if err != nil {
		return 0, err
	}
	if err := join.CheckPair(here, there); err != nil {
		return 0, err
	}
	if err := join.CheckRole(there, dsn); err != nil {
		return 0, err
	}
	hello, err := s.greet(ctx, dsn)
	if isCode(err, pgerr.WrongState) {
		return 0, pgerr.New(pgerr.WrongState, "the join target is not a member of a node group").
			WithDetail("It says: %s.", pgerr.From(err).Message).
			WithHint("Give the connection string of a node that is a member of the group.")
	}
	if err != nil {
		return 0, err
	}
	if err := s.checkBuild(ctx, here, hello, "the join target"); err != nil {
		return 0, err
	}
	if err := checkTarget(hello, groupName, local); err != nil {
		return 0, err
	}
	if err := s.checkOffer(ctx, source, hello); err != nil {
		return 0, err
	}
	if err := s.checkContent(ctx, source, structure); err != nil {
		return 0, err
	}
	return hello.NodeID, s.checkMesh(ctx, local, here, hello)
}

// hintTarget adds what can be done about a join target that does not answer.
func hintTarget(err error) error {
	e := pgerr.From(err)
	if e.Hint != "" || isCode(err, pgerr.QueryCanceled) {
		return err
	}
	return e.WithHint("Check host, port, database, user and password of join_target_dsn, and pg_hba.conf on the join target.")
}

// checkTarget refuses a target that cannot be a source, and a name or id that
// is taken.
func checkTarget(hello helloReply, groupName string, local catalog.Node) error {
	if err := cluster.CheckJoin(hello.Cluster, groupName, local); err != nil {
		return err
	}
	n, _ := hello.Cluster.Node(hello.NodeID)
	if n.State != cluster.Active {
		return pgerr.New(pgerr.WrongState, "the join target is not an active node").
			WithDetail("Node %q %s.", n.Name, cluster.Phrase(n.State)).
			WithHint("Join through an active node.")
	}
	return nil
}

// checkContent compares what is in the two databases.
func (s *Service) checkContent(ctx context.Context, source catalog.Runner, structure string) error {
	if structure == "none" {
		return s.checkPrepared(ctx, source)
	}
	const named = 5
	results, err := s.deps.Host.Run(ctx, catalog.SelectUserRelations(named))
	if err != nil {
		return err
	}
	if err := join.CheckEmpty(catalog.Texts(results[0])); err != nil {
		return err
	}
	theirs, err := source.Run(ctx, catalog.SelectOwners(), catalog.SelectExtensions())
	if err != nil {
		return err
	}
	ours, err := s.deps.Host.Run(ctx, catalog.SelectMissingRoles(catalog.Texts(theirs[0])),
		catalog.SelectMissingExtensions(catalog.Texts(theirs[1])))
	if err != nil {
		return err
	}
	if err := join.CheckMissing("roles", "Create them first.", catalog.Texts(ours[0])); err != nil {
		return err
	}
	if err := join.CheckMissing("extensions", "Install their packages on this server.", catalog.Texts(ours[1])); err != nil {
		return err
	}
	return s.checkTools()
}

// checkTools looks for the programs that copy the schema.
func (s *Service) checkTools() error {
	for _, name := range []string{"pg_dump", "pg_restore"} {
		path := filepath.Join(s.deps.BinDirectory, name)
		if _, err := os.Stat(path); err != nil {
			return pgerr.New(pgerr.WrongState, "could not find program %q", path).
				WithHint("Install PostgreSQL's client programs of this server's version.")
		}
	}
	return nil
}

// checkPrepared is for a schema that is there already: every table of the
// source must exist here, without rows.
func (s *Service) checkPrepared(ctx context.Context, source catalog.Runner) error {
	results, err := source.Run(ctx, catalog.SelectTables(0, nil)) // in which form they are copied, is asked later
	if err != nil {
		return err
	}
	tables, err := catalog.Tables(results[0])
	if err != nil {
		return err
	}
	var names []string
	for _, t := range tables {
		names = append(names, t.Name)
	}
	results, err = s.deps.Host.Run(ctx, catalog.SelectMissingTables(names))
	if err != nil {
		return err
	}
	if err := join.CheckMissing("tables", "Create them, or join with synchronize_structure := 'all'.", catalog.Texts(results[0])); err != nil {
		return err
	}
	return s.checkPlaces(ctx, tables)
}

// checkPlaces looks into the tables here, as a join does.
func (s *Service) checkPlaces(ctx context.Context, tables []catalog.Table) error {
	local, err := s.record(ctx)
	if err != nil {
		return err
	}
	conn, err := s.connect(ctx, local.DSN, stream.Restoring)
	if err != nil {
		return err
	}
	defer stream.HangUp(conn)
	if _, err := conn.Exec(ctx, "BEGIN").ReadAll(); err != nil {
		return err
	}
	here := catalog.Over(conn)
	for _, t := range tables {
		place, err := join.LockPlace(ctx, here, t, "ACCESS SHARE")
		if err != nil {
			return err
		}
		if fault := join.CheckPlace(place, t); fault != nil {
			return fault
		}
		results, err := here.Run(ctx, t.SelectHasRows())
		if err != nil {
			return err
		}
		if slices.Contains(catalog.Texts(results[0]), "t") {
			return pgerr.New(pgerr.WrongState, "table %s is not empty", t.Name).
				WithHint("The rows of the join target are copied into it: empty it first.")
		}
	}
	return nil
}

// checkMesh looks at every member: it must have room for one more peer, we must
// reach it and it must reach us.
func (s *Service) checkMesh(ctx context.Context, local catalog.Node, here catalog.Facts, hello helloReply) error {
	members := hello.Cluster.Peers(local.ID, cluster.IsActive)
	n := len(members)
	purpose := fmt.Sprintf("Joining a group of %d", n)
	if err := join.CheckServer(here, join.Need{Slots: n + join.HoldSlots, Senders: n, Origins: n + 1, Workers: n, Purpose: purpose}, ""); err != nil {
		return err
	}
	for _, m := range members {
		there, err := s.remoteFacts(ctx, m.DSN)
		if err != nil {
			return fmt.Errorf("node %q: %w", m.Name, err)
		}
		where := fmt.Sprintf(" on node %q", m.Name)
		if err := join.CheckServer(there, join.Need{Slots: 1 + join.HoldSlots, Senders: 1, Origins: 1, Workers: 1, Purpose: "A new peer"}, where); err != nil {
			return err
		}
		theirs, err := s.greet(ctx, m.DSN)
		if err != nil {
			return fmt.Errorf("node %q: %w", m.Name, err)
		}
		if err := s.checkBuild(ctx, here, theirs, fmt.Sprintf("node %q", m.Name)); err != nil {
			return err
		}
		if err := s.checkReach(ctx, local, m, hello); err != nil {
			return err
		}
	}
	return nil
}

// checkBuild refuses a node that we could not work with.
func (s *Service) checkBuild(ctx context.Context, here catalog.Facts, theirs helloReply, who string) error {
	ours := s.ours()
	ours.Extension = here.Extension
	if err := join.CheckBuild(ours, theirs.build(), who); err != nil {
		return err
	}
	sets, err := catalog.ReadLocalSets(ctx, s.deps.Host)
	if err != nil {
		return err
	}
	return checkSets(sets, theirs.build(), who)
}

// checkReach has a member connect to us.
func (s *Service) checkReach(ctx context.Context, local, member catalog.Node, hello helloReply) error {
	hello.NodeID = member.ID
	ctx, cancel := context.WithTimeout(ctx, 2*rpcTimeout)
	defer cancel()
	_, err := s.tell(ctx, member.DSN, hello, kindReach, consensus.Pack(reachRequest{DSN: local.DSN, NodeUUID: local.UUID}))
	if err == nil {
		return nil
	}
	e := pgerr.From(err)
	return pgerr.New(e.Code, "node %q cannot reach the local node", member.Name).
		WithDetail("%s", e.Error()).
		WithHint("local_dsn of bdr.create_node() is the connection string by which the other nodes reach this database. Check it, and pg_hba.conf of this server.")
}

// abandonJoin gives up a join: the other nodes forget this one.
func (s *Service) abandonJoin(ctx context.Context, local catalog.Node) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeMax)
	defer cancel()
	if err := s.setState(ctx, local, cluster.PartStart); err != nil {
		return fmt.Errorf("give up the join of node %q: %w", local.Name, err)
	}
	s.stopJoin(ctx)
	return s.waitUntil(ctx, func(c cluster.Cluster) bool {
		n, known := c.Node(local.ID)
		return !known || n.State == cluster.Parted
	})
}

// watch shows a join to a user until it is over.
func (j *joinRun) watch(ctx context.Context, r *ipc.Request, verbose bool) error {
	var shown joinView
	for {
		view, changed := j.look()
		if verbose {
			shown.show(r, view)
		}
		if view.over {
			return view.err()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !pause.For(ctx, noticeDelay) {
			return ctx.Err()
		}
	}
}

// noticeDelay gathers small changes into one message.
const noticeDelay = 100 * time.Millisecond

// joinView is what a watcher sees of a join.
type joinView struct {
	catalog.Join
	bytesAll  int64
	over      bool
	fault     error
	percentAt time.Time
}

func (v joinView) err() error { return v.fault }

// show tells what has changed since the last time.
func (v *joinView) show(r *ipc.Request, now joinView) {
	last := *v
	*v = now
	v.percentAt = last.percentAt
	if now.Step != last.Step {
		_ = r.Notice(ipc.Notice, "%s", join.StepText[now.Step]) // a backend that is gone ends the watch
	}
	if now.WaitingFor != "" && now.WaitingFor != last.WaitingFor {
		_ = r.Notice(ipc.Notice, "%s", now.WaitingFor)
	}
	if now.LastError != "" && now.LastError != last.LastError {
		_ = r.Notice(ipc.Warning, "the join met a problem and will try again: %s", now.LastError)
	}
	if now.Step == join.StepCopyData && now.bytesAll > 0 && time.Since(v.percentAt) > noticePeriod && now.BytesCopied != last.BytesCopied {
		v.percentAt = time.Now()
		_ = r.Notice(ipc.Notice, "copied %d of %d tables, %s, about %d%%", now.TablesCopied, now.TablesTotal,
			sizeText(now.BytesCopied), min(100*now.BytesCopied/now.bytesAll, 99))
	}
}

func sizeText(bytes int64) string {
	switch {
	case bytes >= 10<<30:
		return fmt.Sprintf("%d GB", bytes>>30)
	case bytes >= 10<<20:
		return fmt.Sprintf("%d MB", bytes>>20)
	default:
		return fmt.Sprintf("%d kB", bytes>>10)
	}
}
