package sequencer

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/consensus"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/sequence"
)

func kindRequest(kind, start string) *ipc.Request {
	return request("alter_sequence_set_kind", "public", "s", kind, start)
}

func (w *world) last() sequence.Command {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.entries[len(w.entries)-1]
}

// The new values begin behind those of all nodes.
func TestSetKind(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.late = time.Second
		w.answer(1, catalog.StoppedSequence{Present: true, OldKind: sequence.Local, OldKey: "public.s", HasMade: true, Highest: 41})
		w.answer(2, catalog.StoppedSequence{Present: true, OldKind: sequence.Galloc, OldKey: "public.old", HasMade: true, Highest: 70})
		if _, err := w.s.SetKind(t.Context(), kindRequest("galloc", "5")); err != nil {
			t.Fatal(err)
		}
		w.requireKinds(t, sequence.Begin, sequence.Switch)
		cmd := w.last()
		if cmd.Start != 71 || cmd.Key != "public.s" || !slices.Equal(cmd.Nodes, []uint32{1, 2}) || !slices.Equal(cmd.OldKeys, []string{"public.old"}) || cmd.Clock != 0 {
			t.Errorf("%+v", cmd)
		}
		if p := w.look().state.Pending(); len(p) != 0 || w.installs() != 1 {
			t.Errorf("pending: %+v", p)
		}
		w.answer(2, catalog.StoppedSequence{})
		if _, err := w.s.SetKind(t.Context(), kindRequest("local", "500")); err != nil || w.last().Start != 500 {
			t.Errorf("%+v, %v", w.last(), err)
		}
	})
}

// Ids come after those that there are; what looks like an id of the future could not
// be passed by a clock.
func TestSetKindToIDs(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		now := time.Now().UnixMilli() - idEpochUnixMs
		if now < 0 { // the bubble begins before the epoch of ids: look at it from later on
			time.Sleep(time.Duration(-now+1<<30) * time.Millisecond)
			now = time.Now().UnixMilli() - idEpochUnixMs
		}
		for _, tt := range []struct {
			kind          string
			highest, want int64
		}{
			{"snowflakeid", 1000, 0},
			{"snowflakeid", (idTimeMin - 1) << idLowBits, 0},
			{"timeshard", now<<idLowBits | 77, now + 1},
			{"snowflakeid", (now + 50_000) << idLowBits, now + 50_001},
			{"galloc", 1 << 50, 0},
		} {
			w.answer(1, catalog.StoppedSequence{Present: true, OldKind: sequence.Local, HasMade: true, Highest: tt.highest})
			if _, err := w.s.SetKind(t.Context(), kindRequest(tt.kind, "1")); err != nil || w.last().Clock != tt.want || w.last().Kind != sequence.Switch {
				t.Errorf("%+v: %+v, %v", tt, w.last(), err)
			}
		}
		w.answer(1, catalog.StoppedSequence{Present: true, OldKind: sequence.Local, HasMade: true, Highest: (now + 3_600_000) << idLowBits})
		_, err := w.s.SetKind(t.Context(), kindRequest("snowflakeid", "1"))
		requireFault(t, err, pgerr.WrongState, "cannot change the kind of sequence \"public.s\" to snowflakeid", "1h0m0s from now on")
		time.Sleep(time.Millisecond)
		if w.last().Kind != sequence.Cancel || len(w.look().state.Pending()) != 0 {
			t.Errorf("%v", w.kinds())
		}
	})
}

// A node that has not stopped keeps the kind as it is on all of them.
func TestSetKindIsCalledOff(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault error
		code  string
		texts []string
	}{
		{"lock", pgerr.New(pgerr.LockNotAvailable, "canceling statement due to lock timeout"), pgerr.LockNotAvailable, []string{"Node \"b\"", "A transaction on node \"b\" uses the sequence"}},
		{"away", pgerr.New(pgerr.ConnectionFailure, "connection refused"), pgerr.WrongState, []string{"Node \"b\"", "refused", "part it"}},
		{"not_owner", pgerr.New(pgerr.InsufficientPrivilege, "must be owner of sequence s"), pgerr.InsufficientPrivilege, []string{"Node \"b\"", "must be owner"}},
		{"unfit", pgerr.New(pgerr.WrongState, "cannot be galloc").WithHint("Alter it."), pgerr.WrongState, []string{"Node \"b\"", "Alter it."}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, func(t *testing.T, w *world) {
				w.stopped[2] = func() (catalog.StoppedSequence, error) { return catalog.StoppedSequence{}, tt.fault }
				_, err := w.s.SetKind(t.Context(), kindRequest("galloc", "1"))
				requireFault(t, err, tt.code, append(tt.texts, "could not change the kind of sequence \"public.s\"")...)
				w.requireKinds(t, sequence.Begin, sequence.Cancel)
				if time.Sleep(time.Millisecond); !w.look().state.Empty() {
					t.Errorf("%+v", w.look().state)
				}
			})
		})
	}
}

// A session that goes away calls its change off, although its context has ended.
func TestSetKindWhoseSessionEnds(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		w.stopped[2] = func() (catalog.StoppedSequence, error) { cancel(); return catalog.StoppedSequence{}, ctx.Err() }
		if _, err := w.s.SetKind(ctx, kindRequest("galloc", "1")); err == nil {
			t.Error("no error")
		}
		w.requireKinds(t, sequence.Begin, sequence.Cancel)
	})
}

// The answer of the leader may be lost, when it had done what was asked for.
func TestSetKindWhoseAnswerIsLost(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.lost = func(cmd sequence.Command) error {
			if cmd.Kind == sequence.Switch {
				return errGone
			}
			return nil
		}
		if _, err := w.s.SetKind(t.Context(), kindRequest("galloc", "1")); err != nil {
			t.Error(err)
		}
		w.requireKinds(t, sequence.Begin, sequence.Switch, sequence.Cancel)
		w.lost = nil
		w.propose = func(cmd sequence.Command) error {
			if cmd.Kind != sequence.Begin {
				return errGone
			}
			return nil
		}
		if _, err := w.s.SetKind(t.Context(), kindRequest("galloc", "1")); err == nil || !strings.Contains(err.Error(), errGone.Error()) {
			t.Errorf("got %v", err)
		}
		if len(w.log) != 1 || !strings.Contains(w.log[0], "could not call off") {
			t.Errorf("log: %v", w.log)
		}
	})
}

func TestSetKindRefusals(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		_, err := w.s.SetKind(t.Context(), kindRequest("gapless", "1"))
		requireFault(t, err, pgerr.InvalidParameter, "gapless", "snowflakeid")
		_, err = w.s.SetKind(t.Context(), kindRequest("galloc", ""))
		requireFault(t, err, pgerr.InvalidParameter)
		w.requireAll = pgerr.New(pgerr.WrongState, "not all nodes answer")
		_, err = w.s.SetKind(t.Context(), kindRequest("galloc", "1"))
		requireFault(t, err, pgerr.WrongState, "not all nodes answer")
		w.requireAll = nil
		w.members = w.members.WithNode(catalog.Node{ID: 3, Name: "c", State: cluster.Catchup})
		_, err = w.s.SetKind(t.Context(), kindRequest("galloc", "1"))
		requireFault(t, err, pgerr.WrongState, "Node \"c\" is joining")
		w.requireKinds(t)
		w.members = newWorld(t).members
		w.answer(1, catalog.StoppedSequence{})
		w.answer(2, catalog.StoppedSequence{})
		_, err = w.s.SetKind(t.Context(), kindRequest("galloc", "1"))
		requireFault(t, err, pgerr.UndefinedTable, "public.s")
		w.requireKinds(t, sequence.Begin, sequence.Cancel)
	})
}

// A node that comes in the middle has not stopped.
func TestSetKindMeetsAJoin(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.stopped[2] = func() (catalog.StoppedSequence, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.members = w.members.WithNode(catalog.Node{ID: 3, Name: "c", State: cluster.JoinStart})
			return catalog.StoppedSequence{Present: true, OldKind: sequence.Local}, nil
		}
		_, err := w.s.SetKind(t.Context(), kindRequest("galloc", "1"))
		requireFault(t, err, pgerr.WrongState, "Node \"c\" has begun to join")
		w.requireKinds(t, sequence.Begin, sequence.Switch, sequence.Cancel)
	})
}

// The node that is asked has to know of the change, or could not keep to it.
func TestAnswerStop(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		const id = "00000000-0000-4000-8000-00000000000a"
		body := consensus.Pack(catalog.StopSequence{Switch: id, Schema: "public", Name: "s"})
		_, err := w.s.AnswerStop(t.Context(), w, body)
		requireFault(t, err, pgerr.WrongState, "has not brought")
		if len(w.ran) != 0 {
			t.Errorf("ran %v", w.ran)
		}
		go func() {
			time.Sleep(time.Second)
			cmd := sequence.Command{Kind: sequence.Begin, Node: 1, ID: id, Schema: "public", Name: "s", NewKind: sequence.Galloc}
			_, _ = w.carryOut(t.Context(), time.Second, cmd.Encode())
		}()
		answer, err := w.s.AnswerStop(t.Context(), w, body)
		if err != nil {
			t.Fatal(err)
		}
		var got catalog.StoppedSequence
		if err := consensus.Unpack(answer, &got); err != nil {
			t.Fatal(err)
		}
		if want := (catalog.StoppedSequence{Present: true, OldKind: "l", OldKey: "public.s", HasMade: true, Highest: 7}); got != want {
			t.Errorf("%+v", got)
		}
		if len(w.ran) != 2 || !strings.Contains(w.ran[0], "lock_timeout") {
			t.Errorf("ran %v", w.ran)
		}
	})
}

// A driver that died leaves its change to the leader, after a while.
func TestForgottenChanges(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		const id = "00000000-0000-4000-8000-00000000000a"
		go w.s.Run()
		cmd := sequence.Command{Kind: sequence.Begin, Node: 2, ID: id, Schema: "public", Name: "s", NewKind: sequence.Galloc}
		if _, err := w.carryOut(t.Context(), time.Second, cmd.Encode()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * pendingTimeMax)
		w.requireKinds(t, sequence.Begin) // somebody else leads
		w.mu.Lock()
		w.leads = true
		w.mu.Unlock()
		time.Sleep(2 * keepPeriod)
		w.requireKinds(t, sequence.Begin, sequence.Cancel)
		cmd.ID = "00000000-0000-4000-8000-00000000000b"
		if _, err := w.carryOut(t.Context(), time.Second, cmd.Encode()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(pendingTimeMax - keepPeriod)
		if len(w.look().state.Pending()) != 1 {
			t.Error("called off too early")
		}
		time.Sleep(3 * keepPeriod)
		if len(w.look().state.Pending()) != 0 {
			t.Error("not called off")
		}
	})
}

// A manager that is new calls off what the one before it drove; its own changes it
// leaves alone.
func TestChangesOfAnEarlierManager(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		const id = "00000000-0000-4000-8000-00000000000a"
		cmd := sequence.Command{Kind: sequence.Begin, Node: 1, ID: id, Schema: "public", Name: "s", NewKind: sequence.Galloc}
		if _, err := w.carryOut(t.Context(), time.Second, cmd.Encode()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		go w.s.Run()
		time.Sleep(time.Second)
		w.requireKinds(t, sequence.Begin, sequence.Cancel)
		w.stopped[2] = func() (catalog.StoppedSequence, error) {
			time.Sleep(stopTimeMax - time.Second)
			return catalog.StoppedSequence{Present: true, OldKind: sequence.Local}, nil
		}
		if _, err := w.s.SetKind(t.Context(), kindRequest("galloc", "1")); err != nil {
			t.Error(err)
		}
		w.requireKinds(t, sequence.Begin, sequence.Cancel, sequence.Begin, sequence.Switch)
	})
}

// The functions are taken over when the SQL objects have come that can do it, once for
// each node that the database becomes.
func TestInstall(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.objects, w.local = false, catalog.LocalNode{}
		go w.s.Run()
		time.Sleep(time.Minute)
		if len(w.ran) != 0 {
			t.Errorf("without a node: %v", w.ran)
		}
		set := func(change func()) {
			w.mu.Lock()
			change()
			w.mu.Unlock()
			time.Sleep(time.Minute)
		}
		set(func() { w.local = catalog.LocalNode{ID: 1, UUID: "u"} })
		if w.installs() != 0 {
			t.Error("without the objects")
		}
		set(func() { w.objects = true })
		if w.installs() != 1 {
			t.Errorf("installed %d times", w.installs())
		}
		set(func() { w.local = catalog.LocalNode{} })
		set(func() { w.local = catalog.LocalNode{ID: 2, UUID: "v"} })
		if w.installs() != 2 {
			t.Errorf("installed %d times", w.installs())
		}
	})
}
