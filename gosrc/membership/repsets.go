package membership

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/consensus"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pause"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/release"
	"bdr/gosrc/repset"
)

const replicationSets = "replication sets" // which came with sequences

// repsetArrivalMax is for the log to bring a change of a replication set to this node.
const repsetArrivalMax = 10 * time.Second

// ReplicationSets returns what all nodes agree on about replication sets, as far as
// this node knows.
func (s *Service) ReplicationSets() repset.State {
	if ledger := s.machines(); ledger != nil {
		return ledger.ReplicationSets()
	}
	return repset.State{}
}

// CreateReplicationSet is bdr.create_replication_set(set_name, replicate_insert,
// replicate_update, replicate_delete, replicate_truncate, autoadd_tables,
// autoadd_existing).
func (s *Service) CreateReplicationSet(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	flag := func(i int, otherwise bool) *bool { is := r.Bool(i, otherwise); return &is }
	cmd := repset.Command{Kind: repset.Create, Set: r.Arg(0), Insert: flag(1, true), Update: flag(2, true), Delete: flag(3, true),
		Truncate: flag(4, true), AutoAdd: flag(5, false)}
	if *cmd.AutoAdd && !r.Bool(6, true) {
		var err error
		if cmd.Tables, err = setCandidates(ctx, r); err != nil {
			return ipc.Rows{}, err
		}
	}
	return void(s.proposeSet(ctx, cmd))
}

// AlterReplicationSet is bdr.alter_replication_set(set_name, replicate_insert,
// replicate_update, replicate_delete, replicate_truncate, autoadd_tables). What tables
// are in the set now does not change with autoadd_tables.
func (s *Service) AlterReplicationSet(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	flag := func(i int) *bool {
		if r.Null(i) {
			return nil
		}
		is := r.Bool(i, false)
		return &is
	}
	cmd := repset.Command{Kind: repset.Alter, Set: r.Arg(0), Insert: flag(1), Update: flag(2), Delete: flag(3), Truncate: flag(4), AutoAdd: flag(5)}
	if cmd.AutoAdd != nil {
		var err error
		if cmd.Tables, err = setCandidates(ctx, r); err != nil {
			return ipc.Rows{}, err
		}
	}
	return void(s.proposeSet(ctx, cmd))
}

// setCandidates are the tables that there are, as the caller sees them.
func setCandidates(ctx context.Context, r *ipc.Request) ([]catalog.TableName, error) {
	results, err := r.Run(ctx, catalog.SelectSetCandidates())
	if err != nil {
		return nil, err
	}
	return catalog.TableNames(results[0])
}

// DropReplicationSet is bdr.drop_replication_set(set_name). Every node must say that it
// has not chosen the set: it would get, and send, nothing of it any more.
func (s *Service) DropReplicationSet(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	if _, known := s.ReplicationSets().Set(r.Arg(0)); known {
		if err := s.requireUnchosen(ctx, r.Arg(0)); err != nil {
			return ipc.Rows{}, err
		}
	}
	return void(s.proposeSet(ctx, repset.Command{Kind: repset.Drop, Set: r.Arg(0)}))
}

// requireUnchosen refuses to drop a set that a node has chosen.
func (s *Service) requireUnchosen(ctx context.Context, set string) error {
	nodes := s.presentNodes()
	answered := s.askVersions(ctx, nodes)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var away, users []string
	for i, n := range nodes {
		switch {
		case slices.Contains(s.versions.of(n.UUID).sets, set):
			users = append(users, strconv.Quote(n.Name))
		case !answered[i]:
			away = append(away, strconv.Quote(n.Name))
		}
	}
	if len(users) > 0 {
		return pgerr.New(pgerr.ObjectInUse, "cannot drop replication set %q", set).
			WithDetail("Nodes that have chosen it: %s.", strings.Join(users, ", ")).
			WithHint("Have them choose others with bdr.alter_node_replication_sets() first; part those that do not come back.")
	}
	return errAway(away)
}

// AddTableToSet is what bdr.replication_set_add_table() asks for: schema, table, set,
// columns in JSON, filter, and a column of the filter that is not in the replica
// identity.
func (s *Service) AddTableToSet(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	cmd := repset.Command{Kind: repset.Add, Set: s.setName(r, 2), Table: catalog.TableName{Schema: r.Arg(0), Name: r.Arg(1)}, Filter: r.Arg(4), Outside: r.Arg(5)}
	if columns := r.Arg(3); columns != "" {
		if !utf8.ValidString(columns) {
			return ipc.Rows{}, pgerr.New(pgerr.FeatureNotSupported, "a column name of table %q is not valid UTF-8", cmd.Table.Title())
		}
		if err := json.Unmarshal([]byte(columns), &cmd.Columns); err != nil {
			return ipc.Rows{}, fmt.Errorf("read columns: %w", err)
		}
	}
	return void(s.proposeSet(ctx, cmd))
}

// RemoveTableFromSet is what bdr.replication_set_remove_table() asks for: schema,
// table, set.
func (s *Service) RemoveTableFromSet(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	return void(s.proposeSet(ctx, repset.Command{Kind: repset.Remove, Set: s.setName(r, 2), Table: catalog.TableName{Schema: r.Arg(0), Name: r.Arg(1)}}))
}

// AddDDLFilter is what bdr.replication_set_add_ddl_filter() asks for: set, name,
// regular expressions for the command tag, the role and the text, exclusive.
func (s *Service) AddDDLFilter(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	f := catalog.DDLFilter{Name: r.Arg(1), Tag: r.Arg(2), Role: r.Arg(3), Query: r.Arg(4), Exclusive: r.Bool(5, false)}
	return void(s.proposeSet(ctx, repset.Command{Kind: repset.AddFilter, Set: r.Arg(0), DDLFilter: f}))
}

// RemoveDDLFilter is bdr.replication_set_remove_ddl_filter(set_name, ddl_filter_name).
func (s *Service) RemoveDDLFilter(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	return void(s.proposeSet(ctx, repset.Command{Kind: repset.RemoveFilter, Set: r.Arg(0), DDLFilter: catalog.DDLFilter{Name: r.Arg(1)}}))
}

// setName is an argument, or the default set for NULL.
func (s *Service) setName(r *ipc.Request, i int) string {
	if r.Null(i) {
		return repset.Default(s.Cluster())
	}
	return r.Arg(i)
}

// proposeSet has a change carried out on every node, and waits until it is here.
func (s *Service) proposeSet(ctx context.Context, cmd repset.Command) error {
	if _, err := s.consensus(); err != nil {
		return err
	}
	cmd.ID = rand.Text()
	if fault := cmd.Check(); fault != nil {
		return fault
	}
	if err := s.admit(ctx, replicationSets); err != nil {
		return err
	}
	if _, err := s.Propose(ctx, consensus.ProposeTimeout, cmd.Encode()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, repsetArrivalMax)
	defer cancel()
	_ = pause.Until(ctx, s.Changed, func() bool { return s.ReplicationSets().Carried(cmd.ID) })
	return nil // agreed on, even if this node hears of it later
}

// AlterNodeReplicationSets is bdr.alter_node_replication_sets(node_name, set_names). It
// takes effect at once, whatever becomes of the caller's transaction: streams begin
// anew.
func (s *Service) AlterNodeReplicationSets(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	local, err := s.record(ctx)
	if err != nil {
		return ipc.Rows{}, err
	}
	if r.Arg(0) != local.Name {
		return ipc.Rows{}, pgerr.New(pgerr.WrongState, "node %q is not the local node", r.Arg(0)).
			WithDetail("bdr.alter_node_replication_sets() changes the node that it is called on, which is %q.", local.Name)
	}
	if cluster.IsJoining(local.State) {
		return ipc.Rows{}, pgerr.New(pgerr.WrongState, "cannot choose replication sets now").
			WithDetail("The node %s, and copies what it has chosen.", cluster.Phrase(local.State)).
			WithHint("Wait for the join to complete; bdr.join_progress shows how far it is.")
	}
	names, err := s.chosenSets(ctx, r)
	if err != nil {
		return ipc.Rows{}, err
	}
	results, err := s.deps.Host.Run(ctx, catalog.SetLocalSets(names))
	if err != nil {
		return ipc.Rows{}, err
	}
	if results[0].Processed != 1 {
		return ipc.Rows{}, errNoNode()
	}
	return void(s.deps.Subscriptions.Resubscribe(ctx))
}

// chosenSets reads and checks set_names. A node that is in no group yet may name sets
// that its group has.
func (s *Service) chosenSets(ctx context.Context, r *ipc.Request) ([]string, error) {
	if r.Null(1) {
		return nil, pgerr.New(pgerr.InvalidParameter, "set_names must not be NULL").
			WithHint("Give an empty array for the default set.")
	}
	if !utf8.ValidString(r.Arg(1)) {
		return nil, pgerr.New(pgerr.FeatureNotSupported, "a name of a replication set is not valid UTF-8")
	}
	results, err := r.Run(ctx, catalog.SelectTextArray(r.Args[1]))
	if err != nil {
		return nil, err
	}
	names, err := catalog.TextArray(results[0])
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if fault := repset.CheckName("replication set", name); fault != nil {
			return nil, fault
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if bytes := len(strings.Join(names, "12345678")); bytes > repset.ColumnsBytesMax {
		return nil, pgerr.New(pgerr.ConfigLimit, "too many replication sets")
	}
	if _, err := s.consensus(); err != nil {
		return names, nil //nolint:nilerr // a node without a group may choose
	}
	return names, s.requireSets(ctx, names)
}

// requireSets refuses sets that there are not, and all of them while a peer does not
// know what to do with them.
func (s *Service) requireSets(ctx context.Context, names []string) error {
	agreed := s.ReplicationSets()
	for _, name := range names {
		if _, known := agreed.Set(name); !known && name != repset.Default(s.Cluster()) {
			return repset.ErrUnknown(name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return s.admit(ctx, replicationSets)
}

// checkSets refuses a join whose member could not send what this node wants.
func checkSets(sets []string, member release.Build, who string) error {
	if len(sets) == 0 || member.HasSequences() {
		return nil
	}
	return pgerr.New(pgerr.WrongState, "%s has no replication sets", who).
		WithDetail("This node subscribes to %q; bdr has replication sets from %s on.", strings.Join(sets, ", "), release.Sequences).
		WithHint("Install a newer version of bdr there, or call bdr.alter_node_replication_sets() with an empty array here.")
}

// checkOffer refuses a source that does not have all that this node wants: it sends
// the changes of the others, too, until this node has caught up.
func (s *Service) checkOffer(ctx context.Context, source catalog.Runner, hello helloReply) error {
	wanted, err := catalog.ReadLocalSets(ctx, s.deps.Host)
	if err != nil {
		return err
	}
	results, err := source.Run(ctx, catalog.SelectOfferedSets())
	if err != nil {
		return err
	}
	offered, err := catalog.TextArray(results[0])
	if err != nil {
		return err
	}
	everything := repset.Default(hello.Cluster)
	if len(wanted) == 0 {
		wanted = []string{everything}
	}
	if len(offered) == 0 {
		offered = []string{everything}
	}
	for _, name := range wanted {
		if !slices.Contains(offered, name) {
			return pgerr.New(pgerr.WrongState, "the join target does not publish replication set %q", name).
				WithDetail("It publishes %s.", strings.Join(offered, ", ")).
				WithHint("Join through a node that has the set, or call bdr.alter_node_replication_sets() on one of the two first.")
		}
	}
	return nil
}
