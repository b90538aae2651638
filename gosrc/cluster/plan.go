package cluster

// Member is one server of the Raft configuration.
type Member struct {
	ID    uint32
	Voter bool
}

// A MemberChange is one step towards the wanted Raft configuration.
type MemberChange struct {
	Member
	Remove bool // else add, or have vote
}

// PlanMembers lists what differs between the cluster and the servers of the
// Raft group: active nodes vote, joining nodes only listen, parting nodes stay
// what they are, all others go.
func PlanMembers(c Cluster, members []Member) []MemberChange {
	if _, exists := c.Group(); !exists {
		return nil // the entry that makes the group is on its way
	}
	var changes []MemberChange
	current := map[uint32]Member{}
	for _, m := range members {
		current[m.ID] = m
		if n, known := c.Node(m.ID); !known || n.State == Parted {
			changes = append(changes, MemberChange{Member: m, Remove: true})
		}
	}
	for _, n := range c.Nodes {
		m, exists := current[n.ID]
		switch {
		case n.State == Active && !m.Voter:
			changes = append(changes, MemberChange{Member: Member{ID: n.ID, Voter: true}})
		case IsJoining(n.State) && !exists:
			changes = append(changes, MemberChange{Member: Member{ID: n.ID}})
		}
	}
	return changes
}

// Subscribes says whether a node applies what another one sends: from standby
// on, and while the other is active or, once recorded, on its way out.
func Subscribes(self, origin State, recorded bool) bool {
	receives := self >= Standby && self <= Active || IsParting(self) && recorded
	sends := origin == Active || IsParting(origin) && recorded
	return receives && sends
}
