package subscription

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
)

// Which subscriptions run follows from the states of both ends alone: a joining
// node must not send yet, and a parted one must leave nothing behind.
func TestPlanSubscriptions(t *testing.T) {
	const absent = cluster.None
	tests := []struct {
		name         string
		self, origin cluster.State
		recorded     bool
		run, remove  bool
	}{
		{"both_active", cluster.Active, cluster.Active, false, true, false},
		{"joiner_in_standby_receives", cluster.Standby, cluster.Active, false, true, false},
		{"joiner_still_copies", cluster.Catchup, cluster.Active, true, false, false},
		{"joiner_does_not_send_yet", cluster.Active, cluster.Promoting, false, false, false},
		{"parting_node_is_drained", cluster.Active, cluster.Parting, true, true, false},
		{"parting_joiner_never_sent", cluster.Active, cluster.PartStart, false, false, false},
		{"joiner_gives_up", cluster.PartStart, cluster.Active, false, false, false},
		{"parting_node_goes_on_receiving", cluster.Parting, cluster.Active, true, true, false},
		{"parted_node_is_forgotten", cluster.Active, cluster.Parted, true, false, true},
		{"dropped_node_is_forgotten", cluster.Active, absent, true, false, true},
		{"parted_here", cluster.Parted, cluster.Active, true, false, true},
		{"not_in_a_group", absent, cluster.Active, true, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := cluster.Cluster{Groups: []catalog.Group{{ID: 9, Name: "g"}}}
			for id, state := range []cluster.State{test.self, test.origin} {
				if state != absent {
					c.Nodes = append(c.Nodes, catalog.Node{ID: uint32(id + 1), Name: "n", State: state})
				}
			}
			var rows []catalog.Subscription
			if test.recorded {
				rows = append(rows, catalog.Subscription{ID: 5, OriginID: 2, TargetID: 1})
			}
			got := planSubscriptions(1, c, rows, "")
			if len(got.run) == 1 != test.run || len(got.remove) == 1 != test.remove {
				t.Fatalf("got %+v", got)
			}
		})
	}
}

// A disabled row must stay disabled: the row wins over what would be made.
func TestPlanKeepsTheRow(t *testing.T) {
	c := cluster.Cluster{Nodes: []catalog.Node{{ID: 1, State: cluster.Active}, {ID: 2, State: cluster.Active, DSN: "host=b"}}}
	row := catalog.Subscription{ID: 5, Name: "kept", OriginID: 2, TargetID: 1}
	got := planSubscriptions(1, c, []catalog.Subscription{row}, "")
	if len(got.run) != 1 || got.run[0].Subscription != row || got.run[0].DSN != "host=b" {
		t.Fatalf("got %+v", got)
	}
}

// Names fit into the server's type and stay different when they are cut.
func TestSubscriptionName(t *testing.T) {
	if got := subscriptionName("app", "g", "a", "b"); got != "bdr_app_g_a_b" {
		t.Errorf("got %q", got)
	}
	long := strings.Repeat("ä", 20)
	names := []string{subscriptionName("app", long, long, "a"), subscriptionName("app", long, long, "b")}
	for _, name := range names {
		if len(name) > nameBytesMax || !utf8.ValidString(name) {
			t.Errorf("%q has %d bytes", name, len(name))
		}
	}
	if slices.Equal(names[:1], names[1:]) {
		t.Errorf("both are %q", names[0])
	}
}

// The id must be the same at each try and different for each direction.
func TestSubscriptionID(t *testing.T) {
	if subscriptionID(1, 2) != subscriptionID(1, 2) || subscriptionID(1, 2) == subscriptionID(2, 1) || subscriptionID(1, 2) == 0 {
		t.Errorf("got %d and %d", subscriptionID(1, 2), subscriptionID(2, 1))
	}
}
