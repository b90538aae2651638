// Package cluster is what all nodes agree on about themselves: the group, its
// nodes, the state of each, and how a command changes that. It is pure, so that
// every node reaches the same answer.
package cluster

import (
	"slices"

	"bdr/gosrc/catalog"
)

// State is a node state; the names are those of bdr.peer_state.
type State = catalog.State

// The states in the order of a node's life.
const (
	None State = iota
	Created
	JoinStart
	Joining
	Catchup
	Standby
	Promote
	Promoting
	Active
	PartStart
	Parting
	PartCatchup
	Parted
)

var stateNames = [...]string{"NONE", "CREATED", "JOIN_START", "JOINING", "CATCHUP", "STANDBY", "PROMOTE",
	"PROMOTING", "ACTIVE", "PART_START", "PARTING", "PART_CATCHUP", "PARTED"}

// StateName returns the SQL name of a state.
func StateName(s State) string {
	if int(s) >= len(stateNames) {
		return "UNKNOWN"
	}
	return stateNames[s]
}

// transitions lists what may follow each state.
var transitions = map[State][]State{
	JoinStart:   {Joining, PartStart},
	Joining:     {Catchup, PartStart},
	Catchup:     {Standby, PartStart},
	Standby:     {Promote, PartStart},
	Promote:     {Promoting, PartStart},
	Promoting:   {Active, PartStart},
	Active:      {PartStart},
	PartStart:   {Parting},
	Parting:     {PartCatchup, Parted},
	PartCatchup: {Parted},
}

// MayFollow says whether a node may go from one state to another.
func MayFollow(from, to State) bool {
	return slices.Contains(transitions[from], to)
}

// IsJoining covers the states in which a node is known but not yet a member.
func IsJoining(s State) bool { return s >= JoinStart && s <= Promoting }

// holdsJoinTurn covers the states of which only one node may be in at a time.
func holdsJoinTurn(s State) bool { return s >= Joining && s <= Promoting }

// IsParting covers the states on the way out.
func IsParting(s State) bool { return s >= PartStart && s < Parted }

// Phrase says in a sentence's words what a node in state s is doing.
func Phrase(s State) string {
	switch {
	case IsJoining(s):
		return "is joining"
	case s == Active:
		return "is active"
	case IsParting(s):
		return "is being parted"
	case s == Parted:
		return "has been parted"
	default:
		return "is not a member of a group"
	}
}

// Cluster is what all nodes agree on. It is a value: Apply never changes the
// one it was given.
type Cluster struct {
	Groups []catalog.Group // by id
	Nodes  []catalog.Node  // by id
}

// Group returns the top group; false before it was created.
func (c Cluster) Group() (catalog.Group, bool) {
	if len(c.Groups) == 0 {
		return catalog.Group{}, false
	}
	return c.Groups[0], true
}

// Node returns the node with this id.
func (c Cluster) Node(id uint32) (catalog.Node, bool) {
	i, found := slices.BinarySearchFunc(c.Nodes, id, compareID)
	if !found {
		return catalog.Node{}, false
	}
	return c.Nodes[i], true
}

// Gone says whether a node is no member any more.
func (c Cluster) Gone(id uint32) bool {
	n, known := c.Node(id)
	return !known || n.State == Parted
}

// NodeByName returns the node with this name.
func (c Cluster) NodeByName(name string) (catalog.Node, bool) {
	for _, n := range c.Nodes {
		if n.Name == name {
			return n, true
		}
	}
	return catalog.Node{}, false
}

// First returns the first node other than id for which match holds.
func (c Cluster) First(id uint32, match func(State) bool) (catalog.Node, bool) {
	for _, n := range c.Nodes {
		if n.ID != id && match(n.State) {
			return n, true
		}
	}
	return catalog.Node{}, false
}

// Peers returns the nodes other than id for which match holds.
func (c Cluster) Peers(id uint32, match func(State) bool) []catalog.Node {
	var peers []catalog.Node
	for _, n := range c.Nodes {
		if n.ID != id && match(n.State) {
			peers = append(peers, n)
		}
	}
	return peers
}

// IsActive is for Peers.
func IsActive(s State) bool { return s == Active }

func compareID(n catalog.Node, id uint32) int {
	switch {
	case n.ID < id:
		return -1
	case n.ID > id:
		return 1
	default:
		return 0
	}
}

// WithNode returns a copy with n added or replaced.
func (c Cluster) WithNode(n catalog.Node) Cluster {
	i, found := slices.BinarySearchFunc(c.Nodes, n.ID, compareID)
	return Cluster{Groups: c.Groups, Nodes: With(c.Nodes, i, found, n)}
}

// withoutNode returns a copy without the node.
func (c Cluster) withoutNode(id uint32) Cluster {
	i, found := slices.BinarySearchFunc(c.Nodes, id, compareID)
	if !found {
		return c
	}
	return Cluster{Groups: c.Groups, Nodes: slices.Delete(slices.Clone(c.Nodes), i, i+1)}
}

// freeSeqID returns the lowest sequence id that no node has.
func (c Cluster) freeSeqID() int {
	used := make(map[int]bool, len(c.Nodes))
	for _, n := range c.Nodes {
		used[n.SeqID] = true
	}
	for id := 1; ; id++ {
		if !used[id] {
			return id
		}
	}
}

// nextSeqID returns the sequence id that no node has, behind the one that was given
// last: one that a node had is not given again while others have been free for
// longer. The first time, what is known is the highest one in use.
func (c Cluster) nextSeqID() int {
	last := c.Groups[0].LastSeqID
	first := last == 0
	used := make(map[int]bool, len(c.Nodes))
	for _, n := range c.Nodes {
		used[n.SeqID] = true
		if first {
			last = max(last, n.SeqID)
		}
	}
	for {
		if last = last%NodesMax + 1; !used[last] {
			return last
		}
	}
}

// withTop returns a copy with another record of the top group.
func (c Cluster) withTop(g catalog.Group) Cluster {
	groups := slices.Clone(c.Groups)
	groups[0] = g
	return Cluster{Groups: groups, Nodes: c.Nodes}
}
