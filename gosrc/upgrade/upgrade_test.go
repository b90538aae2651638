package upgrade

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/pgerr"
)

func node(id uint32, state cluster.State) catalog.Node {
	return catalog.Node{ID: id, Name: string(rune('a' + id)), GroupID: 9, State: state}
}

// Slots of peers that are gone do not come back, and one that is on its way would
// lose what it does not know yet.
func TestPeerSlots(t *testing.T) {
	for _, test := range []struct {
		name    string
		nodes   []catalog.Node
		slots   []string
		refused string
	}{
		{"two peers", []catalog.Node{node(1, cluster.Active), node(2, cluster.Active), node(3, cluster.Active)}, []string{"bdr_5_2", "bdr_5_3"}, ""},
		{"a parted one", []catalog.Node{node(1, cluster.Active), node(2, cluster.Parted), node(3, cluster.Active)}, []string{"bdr_5_3"}, ""},
		{"alone", []catalog.Node{node(1, cluster.Active)}, nil, ""},
		{"one that joins", []catalog.Node{node(1, cluster.Active), node(2, cluster.Catchup)}, nil, "is not active"},
		{"we join", []catalog.Node{node(1, cluster.Joining), node(2, cluster.Active)}, nil, "not an active member"},
		{"no member", []catalog.Node{node(2, cluster.Active)}, nil, "not an active member"},
	} {
		slots, err := peerSlots(5, 1, cluster.Cluster{Nodes: test.nodes})
		if test.refused != "" {
			if e := pgerr.From(err); e == nil || !strings.Contains(e.Message, test.refused) || e.Hint == "" {
				t.Errorf("%s: %v, expected a refusal with %q", test.name, err, test.refused)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(slots, test.slots) {
			t.Errorf("%s: %v, %v, expected %v", test.name, slots, err, test.slots)
		}
	}
}

func TestCheckServer(t *testing.T) {
	ours := []catalog.Origin{{Name: "bdr_5_2", Number: 1}}
	if err := checkServer(ours, nil, nil); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"subscription": checkServer(append(ours, catalog.Origin{Name: "pg_16401", Number: 2}), nil, nil),
		"prepared":     checkServer(ours, []string{"x"}, nil),
		"unread":       checkServer(ours, nil, []string{"bdr_5_2 (nobody reads it)"}),
	} {
		if e := pgerr.From(err); e == nil || e.Code != pgerr.WrongState || e.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Each state of an upgrade says what comes next, and none lets the node act.
func TestRefusal(t *testing.T) {
	u := New(Deps{RunDirectory: t.TempDir()})
	old, upgraded := catalog.Server{SystemIdentifier: "1"}, catalog.Server{SystemIdentifier: "2"}
	if refusal, err := u.Refusal(old); refusal != nil || err != nil {
		t.Fatalf("%v, %v without an upgrade", refusal, err)
	}
	for _, test := range []struct {
		ready bool
		here  catalog.Server
		hint  string
	}{
		{false, old, "bdr.cancel_pg_upgrade()"},
		{true, old, "bdr_pg_upgrade"},
		{true, upgraded, "bdr.finish_pg_upgrade()"},
	} {
		if err := u.write(record{Ready: test.ready, SystemIdentifier: "1"}); err != nil {
			t.Fatal(err)
		}
		refusal, err := u.Refusal(test.here)
		if err != nil || refusal == nil || !strings.Contains(refusal.Hint, test.hint) {
			t.Errorf("ready %v on %v: %v, %v", test.ready, test.here, refusal, err)
		}
	}
	for ready, expected := range map[bool]bool{true: true, false: false} {
		if err := checkFinish(record{Ready: ready, SystemIdentifier: "1"}, upgraded); (err == nil) != expected {
			t.Errorf("finish with ready %v: %v", ready, err)
		}
	}
	if checkFinish(record{Ready: true, SystemIdentifier: "1"}, old) == nil {
		t.Error("finished on the old server")
	}
}

func TestRecord(t *testing.T) {
	u := New(Deps{RunDirectory: t.TempDir()})
	written := record{Ready: true, SystemIdentifier: "1", ServerVersion: "150020", HoldXmin: 1 << 40, OldestTimestamp: 700, Slots: []string{"bdr_5_2"},
		Origins: []catalog.Origin{{Name: "bdr_5_2", Number: 1, Position: 1 << 60}}}
	if err := u.write(written); err != nil {
		t.Fatal(err)
	}
	if read, found, err := u.read(); err != nil || !found || !reflect.DeepEqual(read, written) {
		t.Errorf("%+v, %v, %v", read, found, err)
	}
	if text, err := os.ReadFile(u.path()); err != nil || !strings.Contains(string(text), `"ready": true`) {
		t.Errorf("bdr_pg_upgrade would not find that the node is ready: %v", err)
	}
	if err := os.WriteFile(u.path(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := u.read(); err == nil {
		t.Error("a damaged file counts as none")
	}
	if err := u.remove(); err != nil {
		t.Error(err)
	}
	if names, _ := filepath.Glob(filepath.Join(u.deps.RunDirectory, "*")); len(names) != 0 {
		t.Errorf("%v are left", names)
	}
}
