package model

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"

	"bdr/gosrc/conflict"
)

// schedules is how many schedules each kind gets: a few thousand in all, or what
// BDR_SCHEDULES says for a soak.
func schedules(t *testing.T, quick int) uint64 {
	if text := os.Getenv("BDR_SCHEDULES"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return uint64(quick)
}

// kinds are the schedules that every version of the rules must survive: each
// table on two to four nodes, in calm and with everything going wrong.
func kinds() map[string]Config {
	out := map[string]Config{}
	for _, table := range []Table{KeyOnly, OneUnique, TwoUnique, Excluding} {
		for nodes := 2; nodes <= nodesMax; nodes++ {
			calm := Config{Nodes: nodes, Table: table, Policy: conflict.DefaultPolicy(), Steps: 60}
			rough := calm
			rough.Steps, rough.Skew, rough.Ties = 200, 300, true
			rough.Jumps, rough.Crashes, rough.Slow, rough.Large, rough.Vacuum = true, true, true, true, true
			out[fmt.Sprintf("%s/%d nodes/calm", table.Name, nodes)] = calm
			out[fmt.Sprintf("%s/%d nodes/rough", table.Name, nodes)] = rough
			rewrites := rough
			rewrites.Rewrite = true
			out[fmt.Sprintf("%s/%d nodes/rewrites", table.Name, nodes)] = rewrites
			joins := rough
			joins.Join, joins.Rewrite = true, true
			out[fmt.Sprintf("%s/%d nodes/join", table.Name, nodes)] = joins
		}
	}
	return out
}

// The promise: whatever the order of arrival, all nodes end with the same rows,
// and with those that the specification names.
func TestEverySeedConverges(t *testing.T) {
	for name, config := range kinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := schedules(t, 100)
			var total Result
			for seed := range n {
				r, err := Run(config, seed)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				total.Commits += r.Commits
				total.Deliveries += r.Deliveries
			}
			t.Logf("%d schedules, %d commits, %d deliveries", n, total.Commits, total.Deliveries)
			if total.Commits < int(n) || total.Deliveries < total.Commits/2 {
				t.Errorf("the schedules do nothing")
			}
		})
	}
}

// rough is the schedule in which everything goes wrong.
func rough(table Table, nodes int) Config {
	return kinds()[fmt.Sprintf("%s/%d nodes/rough", table.Name, nodes)]
}

// What the rules need of the server, seen from the other side: each of these is
// enough.
func TestEnough(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
	}{
		{"waiting_where_no_clock_goes_back", func(c *Config) { c.Jumps, c.Faults.NoGuard = false, true }},
		{"guarded_commits_without_waiting", func(c *Config) { c.Faults.NoWait = true }},
		{"guarded_commits_without_waiting_in_a_join", func(c *Config) { c.Join, c.Faults.NoWait = true, true }},
		{"same_origin_not_compared", func(c *Config) { c.Faults.SameOriginWins = true }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, table := range []Table{KeyOnly, TwoUnique} {
				config := rough(table, 3)
				test.change(&config)
				for seed := range schedules(t, 300) {
					if _, err := Run(config, seed); err != nil {
						t.Fatalf("%s, seed %d: %v", table.Name, seed, err)
					}
				}
			}
		})
	}
}

func resolver(kind conflict.Type, name conflict.Resolver) func(*Config) {
	return func(c *Config) {
		policy, err := c.Policy.With(kind, name)
		if err != nil {
			panic(err)
		}
		c.Policy = policy
	}
}

// A resolver that asks for an error stops the peer's changes and loses none.
func TestErrorStops(t *testing.T) {
	config := rough(TwoUnique, 3)
	resolver(conflict.MultipleUniqueConflicts, "error")(&config)
	for seed := range uint64(3000) {
		if _, err := Run(config, seed); errors.Is(err, errStopped) {
			return
		}
	}
	t.Fatal("no schedule met the conflict")
}
