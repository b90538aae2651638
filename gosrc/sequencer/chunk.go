package sequencer

import (
	"context"
	"errors"
	"strconv"
	"time"

	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/sequence"
)

const (
	allocateTimeMax = 8 * time.Second  // for a majority to agree
	chunkTimeMax    = 12 * time.Second // for a session to wait
)

// Chunk answers "sequence_chunk": key, first value, maximum, size of a chunk, position,
// whether to wait. An INSERT of any user leads to it, so that it does nothing but to
// get values for a key.
func (s *Sequencer) Chunk(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	cmd, position, fault := valuesOf(r, sequence.Allocate)
	if fault != nil {
		return ipc.Rows{}, fault
	}
	cmd.Position = position
	if fault := cmd.Check(); fault != nil {
		return ipc.Rows{}, fault
	}
	if r.Bool(5, false) {
		return ipc.Rows{}, s.awaitChunk(ctx, cmd)
	}
	if s.wants(cmd) {
		s.allocate(cmd)
	}
	return ipc.Rows{}, nil
}

// wants says whether there is something to get.
func (s *Sequencer) wants(cmd sequence.Command) bool {
	k, known := s.deps.Sequences().Key(cmd.Key)
	return !known || k.Ahead(s.localID(), cmd.Position) < sequence.ChunksMax && k.UpTo < min(cmd.Max, sequence.ValueMax)
}

// has says whether the tables of this node have values beyond the position.
func (s *Sequencer) has(cmd sequence.Command) bool {
	k, _ := s.deps.Sequences().Key(cmd.Key)
	return k.Ahead(s.localID(), cmd.Position) > 0
}

// awaitChunk returns when the tables of this node have values beyond the position.
func (s *Sequencer) awaitChunk(caller context.Context, cmd sequence.Command) error {
	ctx, cancel := context.WithTimeout(caller, chunkTimeMax)
	defer cancel()
	for !s.has(cmd) {
		a := s.allocate(cmd)
		select {
		case <-a.ended:
		case <-ctx.Done():
			return explain(caller, cmd.Key, ctx.Err())
		}
		if a.err != nil {
			return explain(caller, cmd.Key, a.err)
		}
		if a.last <= cmd.Position {
			continue // it was for a session that was behind this one
		}
		if err := s.await(ctx, func() bool { return s.has(cmd) }); err != nil {
			return explain(caller, cmd.Key, err)
		}
	}
	return nil
}

// explain says what a session waited for. Its own end, and a refusal, it hears as it is.
func explain(caller context.Context, key string, err error) error {
	if caller.Err() != nil {
		return caller.Err()
	}
	switch pgerr.Code(err) {
	case pgerr.SequenceLimit, pgerr.InvalidParameter, pgerr.FeatureNotSupported, pgerr.DataCorrupted:
		return err
	}
	detail := pgerr.From(err).Error()
	if errors.Is(err, context.DeadlineExceeded) {
		detail = "This node has not heard of new ones within " + chunkTimeMax.String() + "."
	}
	return pgerr.New(pgerr.WrongState, "could not get values for sequence %s", key).
		WithDetail("%s", detail).
		WithHint("A majority of the group's voting nodes must run and reach each other to give out values; then it goes on by itself. bdr.get_raft_status() shows the state.")
}

// An allocation is a command that is under way.
type allocation struct {
	ended chan struct{}
	last  int64 // that the node was given
	err   error
}

// allocate has values given to this node. There is one command at a time for a key:
// who comes meanwhile shares it.
func (s *Sequencer) allocate(cmd sequence.Command) *allocation {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.requests[cmd.Key]; a != nil {
		return a
	}
	a := &allocation{ended: make(chan struct{})}
	s.requests[cmd.Key] = a
	s.deps.Spawn("sequence", func() {
		a.last, a.err = s.runAllocation(cmd)
		s.mu.Lock()
		delete(s.requests, cmd.Key)
		s.mu.Unlock()
		close(a.ended)
	})
	return a
}

func (s *Sequencer) runAllocation(cmd sequence.Command) (int64, error) {
	ctx, cancel := context.WithTimeout(s.ctx, chunkTimeMax)
	defer cancel()
	if err := s.deps.Admit(ctx); err != nil {
		return 0, err
	}
	answer, err := s.propose(ctx, allocateTimeMax, cmd)
	if err != nil || answer == "" { // it had been carried out before the leader was restarted
		return 0, err
	}
	return strconv.ParseInt(answer, 10, 64)
}

// Advance answers "sequence_advance": key, first value, maximum, size of a chunk, value.
// It returns when no node is given that value, or one before it, any more, as far as
// this node knows; others hear of it at about the same time.
func (s *Sequencer) Advance(caller context.Context, r *ipc.Request) (ipc.Rows, error) {
	cmd, to, fault := valuesOf(r, sequence.Advance)
	if fault != nil {
		return ipc.Rows{}, fault
	}
	cmd.To = to
	ctx, cancel := context.WithTimeout(caller, chunkTimeMax)
	defer cancel()
	if err := s.advance(ctx, cmd); err != nil {
		return ipc.Rows{}, explain(caller, cmd.Key, err)
	}
	return ipc.Rows{}, nil
}

func (s *Sequencer) advance(ctx context.Context, cmd sequence.Command) error {
	if err := s.deps.Admit(ctx); err != nil {
		return err
	}
	if _, err := s.propose(ctx, allocateTimeMax, cmd); err != nil {
		return err
	}
	return s.await(ctx, func() bool {
		k, known := s.deps.Sequences().Key(cmd.Key)
		return known && k.Beyond(cmd.To)
	})
}
