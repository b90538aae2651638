package consensus

import (
	"strconv"
	"strings"
)

// Status is consensus as this node sees it.
type Status struct {
	State           string // LEADER, FOLLOWER, CANDIDATE or STOPPED
	Leader          uint32 // 0: unknown
	Voting          bool
	Term            uint64
	CommitIndex     uint64
	ApplyIndex      uint64
	LastTerm        uint64
	LastIndex       uint64
	SnapshotTerm    uint64
	SnapshotIndex   uint64
	Members, Voters int
}

// Status returns a snapshot of raft's counters.
func (g *Group) Status() Status {
	stats := g.raft.Stats()
	number := func(name string) uint64 {
		n, _ := strconv.ParseUint(stats[name], 10, 64) // raft printed it
		return n
	}
	s := Status{State: strings.ToUpper(stats["state"]), Leader: g.Leader(), Term: number("term"),
		CommitIndex: number("commit_index"), ApplyIndex: number("applied_index"),
		LastTerm: number("last_log_term"), LastIndex: number("last_log_index"),
		SnapshotTerm: number("last_snapshot_term"), SnapshotIndex: number("last_snapshot_index")}
	if s.State == "SHUTDOWN" {
		s.State = "STOPPED"
	}
	members, _ := g.Members() // fails only after a shutdown
	s.Members = len(members)
	for _, m := range members {
		if m.Voter {
			s.Voters++
			s.Voting = s.Voting || m.ID == g.config.NodeID
		}
	}
	return s
}
