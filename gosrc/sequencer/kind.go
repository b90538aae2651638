package sequencer

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/consensus"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/sequence"
)

// Times of a change of a kind. One that nobody drives any more is called off by its
// node when that is back, or by the leader after pendingTimeMax: a driver must have
// ended by then.
const (
	beginTimeMax   = 10 * time.Second // for a majority to agree
	stopTimeMax    = 20 * time.Second // for a node: its sessions may have to be waited for
	switchTimeMax  = 15 * time.Second
	cancelTimeMax  = 10 * time.Second
	arrivalTimeMax = 10 * time.Second // until the log brings what was agreed on
	pendingTimeMax = 60 * time.Second
	keepPeriod     = 10 * time.Second
)

// Ids are the milliseconds after their epoch, and bits that come below.
const (
	idEpochUnixMs = 1475798400000 // 2016-10-07, as in extension/session/sequence/layout.h
	idLowBits     = 22
	idTimeMin     = 1 << 20   // a value of a smaller time is not an id
	clockAheadMax = 60 * 1000 // milliseconds
)

// A change is one of a kind, as its driver knows it.
type change struct {
	schema, name, role string
	kind               string // letter
	start              int64
	id                 string
}

func (c change) title() string { return c.schema + "." + c.name }

// changeOf reads the arguments of SetKind.
func changeOf(r *ipc.Request) (change, error) {
	c := change{schema: r.Arg(0), name: r.Arg(1), role: r.Arg(4)}
	var known bool
	if c.kind, known = sequence.KindOf(r.Arg(2)); !known {
		return c, pgerr.New(pgerr.InvalidParameter, "unknown kind %q of a sequence", r.Arg(2)).
			WithHint("Use local, snowflakeid, timeshard or galloc.")
	}
	start, fault := r.Number(3)
	if fault != nil {
		return c, fault
	}
	c.start = start
	id, err := consensus.NewUUID()
	c.id = id.String()
	return c, err
}

// SetKind answers "alter_sequence_set_kind": schema, name, name of the kind, first value,
// role whose member must own the sequence, NULL for a superuser. The kind changes on
// all nodes or on none.
func (s *Sequencer) SetKind(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	c, err := changeOf(r)
	if err != nil {
		return ipc.Rows{}, err
	}
	if fault := sequence.CheckMembers(s.deps.Cluster(), s.localID()); fault != nil {
		return ipc.Rows{}, fault
	}
	if err := s.deps.RequireAll(ctx); err != nil {
		return ipc.Rows{}, err
	}
	s.Install(ctx)
	defer s.drives(c.id)()
	begin := sequence.Command{Kind: sequence.Begin, ID: c.id, Schema: c.schema, Name: c.name, NewKind: c.kind}
	if _, err = s.propose(ctx, beginTimeMax, begin); err == nil {
		err = s.drive(ctx, c)
	}
	if err != nil && s.callOff(ctx, c.id) {
		err = nil // the answer was lost, not the change
	}
	if err == nil {
		err = s.awaitSwitched(ctx, c)
	}
	if err == nil {
		err = s.awaitEverywhere(ctx, r, c)
	}
	return ipc.Rows{}, err
}

// awaitEverywhere waits until the others have carried it out, too. It has been agreed
// on: of one that is late the caller hears only.
func (s *Sequencer) awaitEverywhere(caller context.Context, r *ipc.Request, c change) error {
	ctx, cancel := context.WithTimeout(caller, arrivalTimeMax)
	defer cancel()
	nodes := s.deps.Cluster().Peers(s.localID(), cluster.IsActive)
	late := make([]error, len(nodes))
	s.onEach(nodes, "sequence on a node", func(i int, n catalog.Node) {
		request := catalog.StopSequence{Switch: c.id, Schema: c.schema, Name: c.name, Carried: true}
		_, late[i] = s.deps.Stop(ctx, n.ID, consensus.Pack(request))
	})
	for i, n := range nodes {
		if late[i] == nil || caller.Err() != nil {
			continue
		}
		err := r.Notice(ipc.Warning, "the kind of sequence \"%s\" has been changed, but not on node \"%s\" yet: %s", c.title(), n.Name, pgerr.From(late[i]).Error())
		if err != nil {
			return err
		}
	}
	return caller.Err()
}

// drives notes that a change is driven, until the function that it returns is called.
func (s *Sequencer) drives(id string) func() {
	set := func(driven bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if driven {
			s.driven[id] = true
		} else {
			delete(s.driven, id)
		}
	}
	set(true)
	return func() { set(false) }
}

// callOff takes a change back. True: it had been carried out.
func (s *Sequencer) callOff(caller context.Context, id string) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(caller), cancelTimeMax)
	defer cancel()
	answer, err := s.propose(ctx, cancelTimeMax, sequence.Command{Kind: sequence.Cancel, ID: id})
	if err != nil {
		s.deps.Host.Log(ipc.Log, "could not call off the change of the kind of a sequence", pgerr.From(err).Error(),
			fmt.Sprintf("The leader calls it off after %s.", pendingTimeMax))
	}
	return answer == sequence.AnswerDone
}

// drive stops the sequence on all nodes and has the change carried out.
func (s *Sequencer) drive(ctx context.Context, c change) error {
	if err := s.awaitBegun(ctx, c.id); err != nil {
		return err
	}
	nodes := s.deps.Cluster().Peers(0, func(state cluster.State) bool { return state != cluster.Parted })
	stopped, err := s.stopAll(ctx, c, nodes)
	if err != nil {
		return err
	}
	cmd, err := conclude(c, nodes, stopped, time.Now())
	if err != nil {
		return err
	}
	if cmd.Key, err = s.key(ctx, c); err != nil {
		return err
	}
	_, err = s.propose(ctx, switchTimeMax, cmd)
	return err
}

// key asks for the name under which the group will know the sequence.
func (s *Sequencer) key(ctx context.Context, c change) (string, error) {
	results, err := s.deps.Host.Run(ctx, catalog.SelectSequenceKey(c.schema, c.name))
	if err != nil {
		return "", err
	}
	return strings.Join(catalog.Texts(results[0]), ""), nil
}

// awaitBegun waits until this node knows of the change.
func (s *Sequencer) awaitBegun(caller context.Context, id string) error {
	ctx, cancel := context.WithTimeout(caller, arrivalTimeMax)
	defer cancel()
	err := s.await(ctx, func() bool {
		_, known := s.deps.Sequences().Switch(id)
		return known
	})
	if err != nil && caller.Err() == nil {
		return errLate()
	}
	return err
}

func errLate() *pgerr.Error {
	return pgerr.New(pgerr.WrongState, "the consensus log has not brought the change of a sequence's kind within %s", arrivalTimeMax).
		WithHint("bdr.get_raft_status() shows the state. Try again.")
}

// awaitSwitched waits until the change is carried out here, too.
func (s *Sequencer) awaitSwitched(caller context.Context, c change) error {
	ctx, cancel := context.WithTimeout(caller, arrivalTimeMax)
	defer cancel()
	err := s.await(ctx, func() bool {
		w, known := s.deps.Sequences().Switch(c.id)
		return !known || w.Done
	})
	if err != nil && caller.Err() == nil {
		return pgerr.New(pgerr.WrongState, "the kind of sequence %q has been changed, but not on this node yet", c.title()).
			WithDetail("The consensus log has not brought it within %s.", arrivalTimeMax).
			WithHint("It comes by itself when this node reaches the others.")
	}
	return err
}

// onEach does something about all nodes at the same time, and returns when all is done.
func (s *Sequencer) onEach(nodes []catalog.Node, name string, do func(i int, n catalog.Node)) {
	var wait sync.WaitGroup
	for i, n := range nodes {
		wait.Add(1)
		s.deps.Spawn(name, func() {
			defer wait.Done()
			do(i, n)
		})
	}
	wait.Wait()
}

// stopAll has nobody use the sequence on any node. The first failure ends it.
func (s *Sequencer) stopAll(ctx context.Context, c change, nodes []catalog.Node) ([]catalog.StoppedSequence, error) {
	ctx, cancel := context.WithTimeout(ctx, stopTimeMax)
	defer cancel()
	stopped, failures := make([]catalog.StoppedSequence, len(nodes)), make([]error, len(nodes))
	s.onEach(nodes, "stop sequence", func(i int, n catalog.Node) {
		if stopped[i], failures[i] = s.stop(ctx, c, n); failures[i] != nil {
			cancel()
		}
	})
	return stopped, firstFailure(c, nodes, failures)
}

// firstFailure prefers a reason over what the cancellation of the others looks like.
func firstFailure(c change, nodes []catalog.Node, failures []error) error {
	var first error
	for i, err := range failures {
		if err != nil && (first == nil || pgerr.Code(first) == pgerr.QueryCanceled) {
			first = errNotStopped(c, nodes[i], pgerr.From(err))
		}
	}
	return first
}

func errNotStopped(c change, n catalog.Node, fault *pgerr.Error) error {
	code, hint := fault.Code, fault.Hint
	switch {
	case code == pgerr.LockNotAvailable:
		hint = fmt.Sprintf("A transaction on node %q uses the sequence, or has locked its table. Try again when it has ended.", n.Name)
	case strings.HasPrefix(code, "08") || strings.HasPrefix(code, "57"):
		if code != pgerr.QueryCanceled {
			code = pgerr.WrongState // class 08 would be about the client's own connection
		}
		hint = fmt.Sprintf("Try again when node %q answers; part it if it does not come back.", n.Name)
	}
	e := pgerr.New(code, "could not change the kind of sequence %q", c.title()).WithDetail("Node %q: %s", n.Name, fault.Error())
	e.Hint = hint
	return e
}

func (s *Sequencer) stop(ctx context.Context, c change, n catalog.Node) (catalog.StoppedSequence, error) {
	var stopped catalog.StoppedSequence
	request := catalog.StopSequence{Switch: c.id, Schema: c.schema, Name: c.name, Role: c.role}
	body, err := s.deps.Stop(ctx, n.ID, consensus.Pack(request))
	if err != nil {
		return stopped, err
	}
	return stopped, consensus.Unpack(body, &stopped)
}

// conclude makes the command of what the nodes have said.
func conclude(c change, nodes []catalog.Node, stopped []catalog.StoppedSequence, now time.Time) (sequence.Command, error) {
	cmd := sequence.Command{Kind: sequence.Switch, ID: c.id, Start: c.start}
	present, highest := false, int64(0)
	for i, n := range nodes {
		at := stopped[i]
		cmd.Nodes = append(cmd.Nodes, n.ID)
		present = present || at.Present
		if at.Present && at.OldKind == sequence.Galloc && at.OldKey != "" {
			cmd.OldKeys = append(cmd.OldKeys, at.OldKey)
		}
		if at.Present && at.HasMade {
			cmd.Start = max(cmd.Start, sequence.After(at.Highest))
			highest = max(highest, at.Highest)
		}
	}
	if !present {
		return cmd, pgerr.New(pgerr.UndefinedTable, "sequence %q does not exist on any node", c.title())
	}
	clock, err := clockOf(c, highest, now)
	cmd.Clock = clock
	return cmd, err
}

// clockOf says which time ids must be later than: that of values that look like ids.
func clockOf(c change, highest int64, now time.Time) (int64, error) {
	at := highest >> idLowBits
	if !sequence.MakesIDs(c.kind) || at < idTimeMin {
		return 0, nil
	}
	if ahead := at - (now.UnixMilli() - idEpochUnixMs); ahead > clockAheadMax {
		return 0, pgerr.New(pgerr.WrongState, "cannot change the kind of sequence %q to %s", c.title(), sequence.KindName(c.kind)).
			WithDetail("Its values go up to %d; ids of that size are made %s from now on.", highest, (time.Duration(ahead) * time.Millisecond).Round(time.Second)).
			WithHint("Delete the rows with such values, or leave the sequence local.")
	}
	return at + 1, nil
}
