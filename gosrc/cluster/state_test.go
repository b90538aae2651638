package cluster

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"testing"

	"bdr/gosrc/catalog"
	"bdr/gosrc/pgerr"
)

// The names are stored in SQL and used in views: both lists must be one.
func TestStateNamesMatchSQL(t *testing.T) {
	sql, err := os.ReadFile("../../sql/10_node.sql")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`\((\d+), '([A-Z_]+)'\)`).FindAllStringSubmatch(string(sql), -1)
	if len(rows) != len(stateNames) {
		t.Fatalf("SQL has %d states, Go has %d", len(rows), len(stateNames))
	}
	for _, row := range rows {
		number, _ := strconv.Atoi(row[1])
		if StateName(State(number)) != row[2] {
			t.Errorf("state %d is %q in SQL and %q in Go", number, row[2], StateName(State(number)))
		}
	}
}

func testNode(id uint32, name string) catalog.Node {
	return catalog.Node{ID: id, Name: name, UUID: fmt.Sprintf("uuid-%d-%s", id, name), DSN: "dbname=" + name}
}

// started returns a cluster of active nodes with ids from 1.
func started(t *testing.T, names ...string) Cluster {
	t.Helper()
	c := must(t, Cluster{}, Command{Kind: CreateGroup, Node: testNode(1, names[0]), Group: catalog.Group{ID: 9, Name: "g", UUID: "u"}})
	for i, name := range names[1:] {
		id := uint32(i + 2)
		c = must(t, c, Command{Kind: RegisterNode, Node: testNode(id, name), Group: catalog.Group{Name: "g"}})
		c = bring(t, c, id, Active)
	}
	return c
}

// bring moves a node on, state by state.
func bring(t *testing.T, c Cluster, id uint32, to State) Cluster {
	t.Helper()
	for {
		n, known := c.Node(id)
		if !known {
			t.Fatalf("node %d is not known", id)
		}
		if n.State == to {
			return c
		}
		next := n.State + 1
		if n.State == Parting {
			next = Parted
		}
		c = must(t, c, Command{Kind: ChangeState, NodeID: id, From: n.State, To: next})
	}
}

func must(t *testing.T, c Cluster, cmd Command) Cluster {
	t.Helper()
	next, _, _, err := Apply(c, cmd)
	if err != nil {
		t.Fatalf("%s: %v", cmd.Kind, err)
	}
	return next
}

// Every refusal of the log is met by a user somewhere: code and cluster count.
func TestApplyRefuses(t *testing.T) {
	three := started(t, "a", "b", "c")
	joining := must(t, three, Command{Kind: RegisterNode, Node: testNode(4, "d")})
	joining = bring(t, joining, 4, Catchup)
	tests := []struct {
		name    string
		cluster Cluster
		command Command
		code    string
	}{
		{"second_group", three, Command{Kind: CreateGroup, Node: testNode(7, "x"), Group: catalog.Group{ID: 8, Name: "h", UUID: "v"}}, pgerr.DuplicateObject},
		{"join_without_group", Cluster{}, Command{Kind: RegisterNode, Node: testNode(2, "b")}, pgerr.WrongState},
		{"join_other_group", three, Command{Kind: RegisterNode, Node: testNode(4, "d"), Group: catalog.Group{Name: "h"}}, pgerr.UndefinedObject},
		{"join_name_taken", three, Command{Kind: RegisterNode, Node: testNode(4, "b")}, pgerr.DuplicateObject},
		{"join_id_taken", three, Command{Kind: RegisterNode, Node: testNode(2, "d")}, pgerr.DuplicateObject},
		{"join_while_another_joins", must(t, joining, Command{Kind: RegisterNode, Node: testNode(5, "e")}),
			Command{Kind: ChangeState, NodeID: 5, From: JoinStart, To: Joining}, pgerr.ObjectInUse},
		{"join_while_another_parts", must(t, bring(t, three, 3, PartStart), Command{Kind: RegisterNode, Node: testNode(5, "e")}),
			Command{Kind: ChangeState, NodeID: 5, From: JoinStart, To: Joining}, pgerr.ObjectInUse},
		{"part_while_another_joins", joining, Command{Kind: ChangeState, NodeID: 2, From: Active, To: PartStart}, pgerr.ObjectInUse},
		{"part_the_last", started(t, "a"), Command{Kind: ChangeState, NodeID: 1, From: Active, To: PartStart}, pgerr.WrongState},
		{"skip_a_state", three, Command{Kind: ChangeState, NodeID: 2, From: Active, To: Parted}, pgerr.WrongState},
		{"from_another_state", joining, Command{Kind: ChangeState, NodeID: 4, From: Joining, To: Catchup + 1}, pgerr.WrongState},
		{"unknown_node", three, Command{Kind: ChangeState, NodeID: 77, From: Active, To: PartStart}, pgerr.UndefinedObject},
		{"drop_active", three, Command{Kind: DropNode, NodeID: 2}, pgerr.WrongState},
		{"unknown_command", three, Command{Kind: "galloc"}, pgerr.FeatureNotSupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			next, changes, _, err := Apply(tt.cluster, tt.command)
			if err == nil || err.Code != tt.code {
				t.Fatalf("got %v, want SQLSTATE %s", err, tt.code)
			}
			if !reflect.DeepEqual(next, tt.cluster) || !reflect.DeepEqual(changes, Changes{}) {
				t.Error("a refused command changed something")
			}
		})
	}
}

// A proposer that lost its answer asks again: the second time must succeed and
// change nothing.
func TestApplyTwice(t *testing.T) {
	one := started(t, "a")
	commands := []Command{
		{Kind: CreateGroup, Node: testNode(1, "a"), Group: catalog.Group{ID: 9, Name: "g", UUID: "u"}},
		{Kind: RegisterNode, Node: testNode(2, "b")},
		{Kind: ChangeState, NodeID: 2, From: JoinStart, To: Joining},
		{Kind: ChangeState, NodeID: 2, From: Joining, To: PartStart},
		{Kind: ChangeState, NodeID: 2, From: PartStart, To: Parting},
		{Kind: ChangeState, NodeID: 2, From: Parting, To: Parted},
		{Kind: DropNode, NodeID: 2},
	}
	c := one
	for _, cmd := range commands {
		c = must(t, c, cmd)
		again, changes, _, err := Apply(c, cmd)
		if err != nil || !reflect.DeepEqual(again, c) || !reflect.DeepEqual(changes, Changes{}) {
			t.Errorf("%s %s: second time gave %v, %v", cmd.Kind, StateName(cmd.To), changes, err)
		}
	}
}

// A parted node's name is free for its successor, its sequence id as well.
func TestJoinReplacesPartedName(t *testing.T) {
	c := bring(t, started(t, "a", "b", "c"), 2, Parted)
	next, changes, _, err := Apply(c, Command{Kind: RegisterNode, Node: testNode(8, "b")})
	if err != nil {
		t.Fatal(err)
	}
	n, _ := next.NodeByName("b")
	if n.ID != 8 || n.SeqID != 2 || n.State != JoinStart || n.Target != Active || !reflect.DeepEqual(changes.Removed, []uint32{2}) {
		t.Errorf("got %+v, removed %v", n, changes.Removed)
	}
}

// All nodes apply the same entries, maybe after a snapshot in between, and must
// end equal; the rows written must lead to the same tables.
func TestApplyIsDeterministic(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 1))
		var a, b Cluster
		written := map[uint32]catalog.Node{}
		for step := range 120 {
			cmd := randomCommand(random, a)
			entry := Command.Encode(cmd)
			var decoded Command
			if err := json.Unmarshal(entry, &decoded); err != nil {
				t.Fatal(err)
			}
			nextA, changes, answerA, errA := Apply(a, cmd)
			nextB, _, answerB, errB := Apply(b, decoded)
			if answerA != answerB || !reflect.DeepEqual(errA, errB) || !reflect.DeepEqual(nextA, nextB) {
				t.Fatalf("seed %d step %d: %s differs", seed, step, entry)
			}
			for _, id := range changes.Removed {
				delete(written, id)
			}
			for _, n := range changes.Nodes {
				written[n.ID] = n
			}
			checkInvariants(t, seed, nextA, written)
			a, b = nextA, throughSnapshot(t, random, nextB)
		}
	}
}

// throughSnapshot sometimes packs and unpacks a state, as a new node gets it.
func throughSnapshot(t *testing.T, random *rand.Rand, c Cluster) Cluster {
	if random.IntN(5) != 0 {
		return c
	}
	packed, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var again Cluster
	if err := json.Unmarshal(packed, &again); err != nil {
		t.Fatal(err)
	}
	return again
}

func randomCommand(random *rand.Rand, c Cluster) Command {
	id := random.Uint32N(6) + 1
	switch random.IntN(8) {
	case 0:
		return Command{Kind: CreateGroup, Node: testNode(id, fmt.Sprint("n", id)), Group: catalog.Group{ID: 9, Name: "g", UUID: "u"}}
	case 1, 2:
		return Command{Kind: RegisterNode, Node: testNode(id, fmt.Sprint("n", random.IntN(6))), Rotate: random.IntN(2) == 0}
	case 3:
		return Command{Kind: DropNode, NodeID: id}
	}
	n, _ := c.Node(id)
	to := n.State + 1
	switch random.IntN(4) {
	case 0:
		to = State(random.IntN(13))
	case 1:
		to = PartStart
	}
	return Command{Kind: ChangeState, NodeID: id, From: n.State, To: to}
}

func checkInvariants(t *testing.T, seed uint64, c Cluster, written map[uint32]catalog.Node) {
	t.Helper()
	names, seqs, joining := map[string]bool{}, map[int]bool{}, 0
	for i, n := range c.Nodes {
		if i > 0 && c.Nodes[i-1].ID >= n.ID {
			t.Fatalf("seed %d: nodes are not in order", seed)
		}
		if names[n.Name] || seqs[n.SeqID] || n.SeqID < 1 {
			t.Fatalf("seed %d: name %q or sequence id %d twice", seed, n.Name, n.SeqID)
		}
		names[n.Name], seqs[n.SeqID] = true, true
		if holdsJoinTurn(n.State) {
			joining++
		}
		if written[n.ID] != n {
			t.Fatalf("seed %d: row of node %d is %+v, want %+v", seed, n.ID, written[n.ID], n)
		}
	}
	if joining > 1 || len(written) != len(c.Nodes) {
		t.Fatalf("seed %d: %d nodes join at once, %d rows for %d nodes", seed, joining, len(written), len(c.Nodes))
	}
}

// The Raft configuration follows the cluster, and is left alone once it does.
func TestPlanMembers(t *testing.T) {
	c := started(t, "a", "b", "c", "d", "e")
	c = bring(t, c, 3, Parting)
	c = bring(t, c, 4, Parted)
	c = must(t, c, Command{Kind: RegisterNode, Node: testNode(7, "g")})
	members := []Member{{ID: 1, Voter: true}, {ID: 2}, {ID: 3, Voter: true}, {ID: 4, Voter: true}, {ID: 66}}
	want := []MemberChange{
		{Member: Member{ID: 4, Voter: true}, Remove: true},
		{Member: Member{ID: 66}, Remove: true},
		{Member: Member{ID: 2, Voter: true}},
		{Member: Member{ID: 5, Voter: true}},
		{Member: Member{ID: 7}},
	}
	if got := PlanMembers(c, members); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	settled := []Member{{ID: 1, Voter: true}, {ID: 2, Voter: true}, {ID: 3, Voter: true}, {ID: 5, Voter: true}, {ID: 7}}
	if got := PlanMembers(c, settled); got != nil {
		t.Errorf("settled: got %+v", got)
	}
	if got := PlanMembers(Cluster{}, members); got != nil {
		t.Errorf("before the group: got %+v", got)
	}
}

// rotated registers a node with a number in turn, and returns that.
func rotated(t *testing.T, c Cluster, id uint32) (Cluster, int) {
	t.Helper()
	c = must(t, c, Command{Kind: RegisterNode, Node: testNode(id, fmt.Sprint("n", id)), Rotate: true})
	n, _ := c.Node(id)
	return c, n.SeqID
}

// leave takes a node out, and its record too.
func leave(t *testing.T, c Cluster, id uint32) Cluster {
	t.Helper()
	return must(t, bring(t, c, id, Parted), Command{Kind: DropNode, NodeID: id})
}

// Ids of sequences that a node made must not come from another one soon after: a
// number comes again when all others have been given.
func TestNumbersAreGivenInTurn(t *testing.T) {
	c := started(t, "a", "b", "c") // by the lowest free number
	c = leave(t, c, 2)
	c, got := rotated(t, c, 7)
	if g, _ := c.Group(); got != 4 || g.LastSeqID != 4 {
		t.Fatalf("the first number in turn is %d", got)
	}
	next, changes, answer, fault := Apply(c, Command{Kind: RegisterNode, Node: testNode(7, "n7"), Rotate: true})
	if fault != nil || answer != "4" || !reflect.DeepEqual(next, c) || !reflect.DeepEqual(changes, Changes{}) {
		t.Errorf("the second time: %q, %+v, %v", answer, changes, fault)
	}
	seen := map[int]bool{}
	c = leave(t, c, 7)
	for id := uint32(100); id < 100+NodesMax-2; id++ {
		if c, got = rotated(t, c, id); seen[got] || got == 1 || got == 3 {
			t.Fatalf("number %d is given again after %d others", got, len(seen))
		}
		seen[got] = true
		c = leave(t, c, id)
	}
	if len(seen) != NodesMax-2 {
		t.Fatalf("%d numbers were given", len(seen))
	}
	if _, got = rotated(t, c, 5000); got != 5 {
		t.Errorf("all have been given; then comes %d", got)
	}
}
