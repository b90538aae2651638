package membership

import (
	"context"
	"fmt"
	"strings"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/globallock"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/release"
	"bdr/gosrc/sequence"
)

// Sequences returns what all nodes agree on about sequences, as far as this node
// knows.
func (s *Service) Sequences() sequence.State {
	if ledger := s.machines(); ledger != nil {
		return ledger.Sequences()
	}
	return sequence.State{}
}

// GlobalLocks returns what all nodes agree on about global locks, as far as this node
// knows.
func (s *Service) GlobalLocks() globallock.State {
	if ledger := s.machines(); ledger != nil {
		return ledger.GlobalLocks()
	}
	return globallock.State{}
}

// Propose gets an entry of the log carried out.
func (s *Service) Propose(ctx context.Context, limit time.Duration, entry []byte) (string, error) {
	group, err := s.consensus()
	if err != nil {
		return "", err
	}
	return group.ProposeWithin(ctx, limit, entry)
}

// Leads says whether this node leads consensus.
func (s *Service) Leads() bool {
	group, err := s.consensus()
	return err == nil && group.IsLeader()
}

// AskStopSequence sends a node, or this one, the message that StopSequence answers.
func (s *Service) AskStopSequence(ctx context.Context, node uint32, body []byte) ([]byte, error) {
	return s.links.Call(ctx, node, kindStopSequence, body)
}

// AdmitSequences refuses a command about sequences while a node would not carry it
// out.
func (s *Service) AdmitSequences(ctx context.Context) error { return s.admit(ctx, globalSequences) }

// AdmitLocks does the same for one about global locks.
func (s *Service) AdmitLocks(ctx context.Context) error { return s.admit(ctx, "global locks") }

// admit does so for whatever came with sequences. What has been agreed on once can be
// agreed on again, whoever is away: an older node does not come in any more.
func (s *Service) admit(ctx context.Context, what string) error {
	if s.usesSequences() {
		return nil
	}
	return s.requireSequences(ctx, what, false)
}

// RequireAll refuses what needs every node: each must answer.
func (s *Service) RequireAll(ctx context.Context) error {
	return s.requireSequences(ctx, globalSequences, true)
}

// usesSequences says whether the log has what older nodes do not know.
func (s *Service) usesSequences() bool {
	g, _ := s.Cluster().Group()
	return g.LastSeqID != 0 || !s.Sequences().Empty() || !s.GlobalLocks().Empty() || !s.ReplicationSets().Empty()
}

const globalSequences = "global sequences"

// requireSequences looks at the version of every node, for what came with sequences.
// One that has been seen with a newer version has it, since there is no way back.
func (s *Service) requireSequences(ctx context.Context, what string, all bool) error {
	if _, err := s.consensus(); err != nil {
		return err
	}
	nodes := s.presentNodes()
	answered := s.askVersions(ctx, nodes)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var away, older []string
	for i, n := range nodes {
		known := s.versions.of(n.UUID)
		switch {
		case !answered[i] && (all || known.Version == ""):
			away = append(away, fmt.Sprintf("%q", n.Name))
		case !known.HasSequences():
			older = append(older, fmt.Sprintf("%q", n.Name))
		}
	}
	if len(older) > 0 {
		return pgerr.New(pgerr.FeatureNotSupported, "not all nodes have %s", what).
			WithDetail("Nodes with an older version of bdr than %s, or its SQL objects: %s.", release.Sequences, strings.Join(older, ", ")).
			WithHint("Install a newer version on them, restart the servers and run ALTER EXTENSION bdr UPDATE; bdr.group_versions_details shows the versions.")
	}
	return errAway(away)
}

// errAway is for what needs an answer of every node; nil if there is nobody away.
func errAway(nodes []string) error {
	if len(nodes) == 0 {
		return nil
	}
	return pgerr.New(pgerr.WrongState, "not all nodes answer").
		WithDetail("Nodes that do not answer: %s.", strings.Join(nodes, ", ")).
		WithHint("Try again when they run and this node reaches them, or part those that do not come back.")
}

// mayRotate says whether a node that registers is given its number in turn: all nodes
// must do the same, and so must the new one, which reads the log from its beginning.
func (s *Service) mayRotate(ctx context.Context, joiner catalog.Node) (bool, error) {
	hello, err := s.greet(ctx, joiner.DSN)
	knows := err == nil && hello.NodeUUID == joiner.UUID && hello.build().HasSequences()
	switch {
	case knows:
		return s.usesSequences() || s.requireSequences(ctx, globalSequences, false) == nil, nil
	case !s.usesSequences():
		return false, nil
	case err != nil:
		return false, fmt.Errorf("ask node %q for its version: %w", joiner.Name, err)
	}
	return false, pgerr.New(pgerr.FeatureNotSupported, "node %q has an older version of bdr than its group needs", joiner.Name).
		WithDetail("The group agrees on what nodes have from bdr %s on.", release.Sequences).
		WithHint("Install a newer version of bdr there, restart the server and run ALTER EXTENSION bdr UPDATE.")
}
