package sequencer

import (
	"context"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/consensus"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/sequence"
)

// AnswerStop answers a node that changes the kind of a sequence: in its session, which
// may wait for transactions of users, nobody uses the sequence any more. Afterwards
// it is asked whether it has carried out what was agreed on.
func (s *Sequencer) AnswerStop(ctx context.Context, session catalog.Runner, body []byte) ([]byte, error) {
	var request catalog.StopSequence
	if err := consensus.Unpack(body, &request); err != nil {
		return nil, err
	}
	if request.Carried {
		return nil, s.awaitSwitched(ctx, change{schema: request.Schema, name: request.Name, id: request.Switch})
	}
	if err := s.awaitBegun(ctx, request.Switch); err != nil {
		return nil, err
	}
	results, err := session.Run(ctx, request.Statements()...)
	if err != nil {
		return nil, err
	}
	stopped, err := catalog.StoppedSequenceOf(results)
	return consensus.Pack(stopped), err
}

// Run sees to it, after each change and now and then, that changes of kinds that
// nobody drives any more are called off, and that the functions are led to ours as
// soon as the SQL objects have them.
func (s *Sequencer) Run() {
	for s.ctx.Err() == nil {
		changed := s.deps.Changed()
		s.Install(s.ctx)
		s.callOffForgotten()
		timer := time.NewTimer(keepPeriod)
		select {
		case <-changed:
		case <-timer.C:
		case <-s.ctx.Done():
		}
		timer.Stop()
	}
}

// callOffForgotten sees to changes that nobody drives.
func (s *Sequencer) callOffForgotten() {
	for _, id := range s.forgotten(time.Now()) {
		ctx, cancel := context.WithTimeout(s.ctx, cancelTimeMax)
		_, err := s.propose(ctx, cancelTimeMax, sequence.Command{Kind: sequence.Cancel, ID: id})
		cancel()
		if err != nil && s.ctx.Err() == nil {
			s.deps.Host.Log(ipc.Log, "could not call off a change of a sequence's kind that nobody drives any more and will try again",
				pgerr.From(err).Error(), "")
		}
	}
}

// forgotten lists the changes of this node that an earlier manager drove, and for the
// leader those that have been under way for too long. Each node notes when it has seen
// one first.
func (s *Sequencer) forgotten(now time.Time) []string {
	leads, self := s.deps.Leads(), s.localID()
	s.mu.Lock()
	defer s.mu.Unlock()
	pending := map[string]time.Time{}
	var list []string
	for _, w := range s.deps.Sequences().Pending() {
		first, known := s.first[w.ID]
		if !known {
			first = now
		}
		pending[w.ID] = first
		if w.Node == self && !s.driven[w.ID] || leads && now.Sub(first) > pendingTimeMax {
			list = append(list, w.ID)
		}
	}
	s.first = pending
	return list
}

// Install leads the sequence functions of PostgreSQL to ours, once for each node that
// this database is, as soon as the SQL objects have what is needed. Without it
// sequences that are not local give no values.
func (s *Sequencer) Install(ctx context.Context) {
	local, refusal := s.deps.Node()
	s.mu.Lock()
	done := s.installed == local
	s.mu.Unlock()
	if done || refusal != nil || local == (catalog.LocalNode{}) {
		return
	}
	has, err := catalog.HasSequences(ctx, s.deps.Host)
	if err == nil && has {
		_, err = s.deps.Host.Run(ctx, catalog.InstallSequences()...)
	}
	if err != nil && s.ctx.Err() == nil {
		s.deps.Host.Log(ipc.Warning, "could not take over the functions of sequences and will try again", pgerr.From(err).Error(), "")
	}
	if err == nil && has {
		s.mu.Lock()
		s.installed = local
		s.mu.Unlock()
	}
}
