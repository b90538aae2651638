// Package sequencer gets the values of galloc sequences for the sessions of this
// node, and drives the change of a sequence's kind on all nodes. What is agreed on
// is package sequence's; what a session does with it is C's.
package sequencer

import (
	"context"
	"sync"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pause"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/sequence"
)

// Host is the manager's main thread.
type Host interface {
	catalog.Runner
	Log(level ipc.Level, message, detail, hint string)
}

// Deps is what the manager hands down.
type Deps struct {
	Host      Host
	Spawn     func(name string, f func())
	Node      func() (catalog.LocalNode, *pgerr.Error) // which node this is, and why it must not act
	Cluster   func() cluster.Cluster
	Sequences func() sequence.State
	Changed   func() <-chan struct{} // closed when one of them has changed; to be taken before looking
	Leads     func() bool
	// Propose gets a command carried out on every node.
	Propose func(ctx context.Context, limit time.Duration, entry []byte) (string, error)
	// Admit refuses commands while a node would not carry them out; RequireAll also
	// while one does not answer.
	Admit      func(ctx context.Context) error
	RequireAll func(ctx context.Context) error
	// Stop sends a node the message that AnswerStop answers.
	Stop func(ctx context.Context, node uint32, body []byte) ([]byte, error)
}

// Sequencer answers requests. Its methods may be called at any time.
type Sequencer struct {
	deps Deps
	ctx  context.Context

	mu        sync.Mutex
	requests  map[string]*allocation // under way, by key
	installed catalog.LocalNode      // the node in whose database the functions are led to ours
	driven    map[string]bool        // changes of kinds that this manager drives
	first     map[string]time.Time   // when a change of a kind that is under way was seen first
}

// New returns a Sequencer that works until ctx ends.
func New(ctx context.Context, d Deps) *Sequencer {
	return &Sequencer{deps: d, ctx: ctx, requests: map[string]*allocation{}, driven: map[string]bool{}, first: map[string]time.Time{}}
}

func (s *Sequencer) localID() uint32 {
	local, _ := s.deps.Node()
	return local.ID
}

// propose gets a command of this node carried out.
func (s *Sequencer) propose(ctx context.Context, limit time.Duration, cmd sequence.Command) (string, error) {
	cmd.Node, cmd.Time = s.localID(), time.Now().UnixMicro()
	if fault := cmd.Check(); fault != nil {
		return "", fault
	}
	return s.deps.Propose(ctx, limit, cmd.Encode())
}

// await waits until this node has carried out what makes a condition hold.
func (s *Sequencer) await(ctx context.Context, met func() bool) error {
	return pause.Until(ctx, s.deps.Changed, met)
}

// valuesOf reads the arguments that Chunk and Advance have in common, and one more.
func valuesOf(r *ipc.Request, kind string) (cmd sequence.Command, last int64, fault *pgerr.Error) {
	cmd = sequence.Command{Kind: kind, Key: r.Arg(0)}
	for i, to := range []*int64{&cmd.Start, &cmd.Max, &cmd.Size, &last} {
		if *to, fault = r.Number(i + 1); fault != nil {
			return cmd, 0, fault
		}
	}
	return cmd, last, nil
}
