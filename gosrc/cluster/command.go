package cluster

import (
	"encoding/json"
	"slices"
	"strconv"

	"bdr/gosrc/catalog"
	"bdr/gosrc/pgerr"
)

// Kind says what a Command does.
type Kind string

// The commands of the consensus log. Their names are stored: never reuse one.
const (
	CreateGroup  Kind = "create_group" // Group, Node: first member, active at once
	RegisterNode Kind = "join"         // Group name, Node: in JOIN_START; Rotate
	ChangeState  Kind = "state"        // NodeID from From to To
	DropNode     Kind = "drop_node"    // NodeID, parted
)

// Knows says whether a command is one of this version's.
func Knows(kind Kind) bool {
	switch kind {
	case CreateGroup, RegisterNode, ChangeState, DropNode:
		return true
	}
	return false
}

// NodesMax is how many node records a cluster may have: a sequence id must fit
// into ten bits.
const NodesMax = 1023

// Command is one entry of the consensus log, stored as JSON.
type Command struct {
	Kind   Kind          `json:"kind"`
	Group  catalog.Group `json:"group,omitzero"`
	Node   catalog.Node  `json:"node,omitzero"`
	NodeID uint32        `json:"node_id,omitzero"`
	From   State         `json:"from,omitzero"`
	To     State         `json:"to,omitzero"`
	// Rotate gives the node the number behind the last one that was given. It is not
	// said while a node has a version that would take the lowest free one.
	Rotate bool `json:"rotate,omitzero"`
}

// Changes lists the records that a command touched, to be written to tables.
type Changes struct {
	Groups  []catalog.Group
	Nodes   []catalog.Node
	Removed []uint32 // ids of nodes; to be deleted before the rest is written
}

// Apply says what the cluster is after the command. It reads only its
// arguments, so that every node reaches the same answer. A refused command
// changes nothing and returns an error for the proposer. A command that was
// carried out before succeeds again: a proposer may not have got its answer.
func Apply(c Cluster, cmd Command) (Cluster, Changes, string, *pgerr.Error) {
	switch cmd.Kind {
	case CreateGroup:
		return applyCreateGroup(c, cmd)
	case RegisterNode:
		return applyJoin(c, cmd)
	case ChangeState:
		return applyState(c, cmd)
	case DropNode:
		return applyDropNode(c, cmd)
	default:
		return c, Changes{}, "", UnknownCommand(string(cmd.Kind))
	}
}

// UnknownCommand refuses what a newer version has proposed.
func UnknownCommand(kind string) *pgerr.Error {
	return pgerr.New(pgerr.FeatureNotSupported, "unknown consensus command %q", kind).
		WithDetail("It is one of a newer version of bdr.").
		WithHint("Install that version on this node, too.")
}

func applyCreateGroup(c Cluster, cmd Command) (Cluster, Changes, string, *pgerr.Error) {
	answer := strconv.FormatUint(uint64(cmd.Group.ID), 10)
	if g, exists := c.Group(); exists {
		if g.UUID == cmd.Group.UUID {
			return c, Changes{}, answer, nil
		}
		return c, Changes{}, "", pgerr.New(pgerr.DuplicateObject, "node group %q exists already", g.Name)
	}
	n := cmd.Node
	n.GroupID, n.State, n.Target, n.SeqID = cmd.Group.ID, Active, Active, 1
	next := Cluster{Groups: []catalog.Group{cmd.Group}, Nodes: []catalog.Node{n}}
	return next, Changes{Groups: next.Groups, Nodes: next.Nodes}, answer, nil
}

// applyJoin registers a node that wants to join. The name of a parted node is
// free again: its record makes room.
func applyJoin(c Cluster, cmd Command) (Cluster, Changes, string, *pgerr.Error) {
	if known, ok := c.Node(cmd.Node.ID); ok && known.UUID == cmd.Node.UUID && IsJoining(known.State) {
		return c, Changes{}, strconv.Itoa(known.SeqID), nil
	}
	if err := CheckJoin(c, cmd.Group.Name, cmd.Node); err != nil {
		return c, Changes{}, "", err
	}
	g, _ := c.Group()
	var changes Changes
	if old, taken := c.NodeByName(cmd.Node.Name); taken {
		c = c.withoutNode(old.ID)
		changes.Removed = []uint32{old.ID}
	}
	n := cmd.Node
	n.GroupID, n.State, n.Target, n.SeqID = g.ID, JoinStart, Active, c.freeSeqID()
	if cmd.Rotate {
		n.SeqID = c.nextSeqID()
		g.LastSeqID = n.SeqID
		c = c.withTop(g)
		changes.Groups = []catalog.Group{g}
	}
	changes.Nodes = []catalog.Node{n}
	return c.WithNode(n), changes, strconv.Itoa(n.SeqID), nil
}

// CheckJoin refuses a node that cannot be registered. An empty group name
// means whatever group there is.
func CheckJoin(c Cluster, groupName string, n catalog.Node) *pgerr.Error {
	g, exists := c.Group()
	if !exists {
		return pgerr.New(pgerr.WrongState, "cannot join a node that is not a member of a group").
			WithHint("Call bdr.create_node_group() on the join target first.")
	}
	if groupName != "" && groupName != g.Name {
		return pgerr.New(pgerr.UndefinedObject, "node group %q does not exist", groupName).
			WithDetail("The join target is a member of node group %q.", g.Name)
	}
	if known, taken := c.NodeByName(n.Name); taken && known.State != Parted {
		return pgerr.New(pgerr.DuplicateObject, "node %q exists already in node group %q", n.Name, g.Name).
			WithDetail("Node %q %s.", known.Name, Phrase(known.State)).
			WithHint("Call bdr.drop_node() here and bdr.create_node() with another name, or part the other node first.")
	}
	if known, taken := c.Node(n.ID); taken {
		return pgerr.New(pgerr.DuplicateObject, "the id %d of node %q is in use in node group %q", n.ID, n.Name, g.Name).
			WithDetail("Node %q has it and %s.", known.Name, Phrase(known.State)).
			WithHint("Call bdr.drop_node() and bdr.create_node() again: the node gets another id.")
	}
	if len(c.Nodes) >= NodesMax {
		return pgerr.New(pgerr.ConfigLimit, "node group %q cannot have more than %d nodes", g.Name, NodesMax).
			WithHint("Remove the records of parted nodes with bdr.drop_node().")
	}
	return nil
}

func applyState(c Cluster, cmd Command) (Cluster, Changes, string, *pgerr.Error) {
	n, known := c.Node(cmd.NodeID)
	if !known {
		return c, Changes{}, "", pgerr.New(pgerr.UndefinedObject, "node with id %d does not exist", cmd.NodeID)
	}
	answer := StateName(cmd.To)
	if n.State == cmd.To {
		return c, Changes{}, answer, nil
	}
	if n.State != cmd.From || !MayFollow(cmd.From, cmd.To) {
		return c, Changes{}, "", pgerr.New(pgerr.WrongState, "cannot change the state of node %q from %s to %s",
			n.Name, StateName(cmd.From), StateName(cmd.To)).
			WithDetail("Node %q is in state %s.", n.Name, StateName(n.State))
	}
	if err := checkTurn(c, n, cmd.To); err != nil {
		return c, Changes{}, "", err
	}
	n.State = cmd.To
	if IsParting(cmd.To) {
		n.Target = Parted
	}
	return c.WithNode(n), Changes{Nodes: []catalog.Node{n}}, answer, nil
}

// checkTurn keeps joins and parts of different nodes apart, and the last
// active node where it is. ObjectInUse means: try again later.
func checkTurn(c Cluster, n catalog.Node, to State) *pgerr.Error {
	switch to {
	case Joining:
		busy := func(s State) bool { return holdsJoinTurn(s) || IsParting(s) }
		if other, found := c.First(n.ID, busy); found {
			return pgerr.New(pgerr.ObjectInUse, "node %q must wait for another node before it can join", n.Name).
				WithDetail("Node %q %s.", other.Name, Phrase(other.State))
		}
	case PartStart:
		return checkPart(c, n)
	}
	return nil
}

func checkPart(c Cluster, n catalog.Node) *pgerr.Error {
	if other, found := c.First(n.ID, holdsJoinTurn); found {
		return pgerr.New(pgerr.ObjectInUse, "cannot part node %q", n.Name).
			WithDetail("Node %q is joining.", other.Name).
			WithHint("Wait for the join to complete, or part node %q first.", other.Name)
	}
	if _, found := c.First(n.ID, IsActive); !found {
		return pgerr.New(pgerr.WrongState, "cannot part node %q", n.Name).
			WithDetail("It is the last active node of its group.").
			WithHint("Call bdr.drop_node() on it to end the cluster.")
	}
	return nil
}

func applyDropNode(c Cluster, cmd Command) (Cluster, Changes, string, *pgerr.Error) {
	n, known := c.Node(cmd.NodeID)
	if !known {
		return c, Changes{}, "", nil
	}
	if n.State != Parted {
		return c, Changes{}, "", pgerr.New(pgerr.WrongState, "cannot drop node %q", n.Name).
			WithDetail("Node %q %s.", n.Name, Phrase(n.State)).
			WithHint("Call bdr.part_node() first.")
	}
	return c.withoutNode(n.ID), Changes{Removed: []uint32{n.ID}}, "", nil
}

// Encode returns the form in the log.
func (cmd Command) Encode() []byte { return Entry(cmd) }

// With returns a copy of a list, of whatever machine, in which e is at place i: instead
// of what is there, or before it.
func With[E any](list []E, i int, instead bool, e E) []E {
	list = slices.Clone(list)
	if instead {
		list[i] = e
		return list
	}
	return slices.Insert(list, i, e)
}

// Entry returns the form of a command in the log, of whatever machine. The types are
// ours: it cannot fail.
func Entry(cmd any) []byte {
	entry, err := json.Marshal(cmd)
	if err != nil {
		panic("encode command: " + err.Error())
	}
	return entry
}
