package locker

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/globallock"
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
)

// runGates answers what is asked about gates; nil: it is about something else.
func (w *world) runGates(sql string) []ipc.Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	value := func(v *string) []ipc.Result { return []ipc.Result{{Rows: [][]*string{{v}}}} }
	switch {
	case sql == catalog.SelectHasSequences().SQL:
		return value(ipc.Text("t"))
	case strings.Contains(sql, "internal_close_gates"):
		w.gates = append(w.gates, "close")
		if w.open < 0 {
			return value(nil)
		}
		w.open = max(w.open-1, 0)
		return value(ipc.Text(strconv.Itoa(w.open)))
	case strings.HasPrefix(sql, "INSERT INTO bdr.table_gate"):
		w.gates = append(w.gates, "record")
		return append([]ipc.Result{{}}, value(ipc.Text("0/64"))...)
	case strings.HasPrefix(sql, "DELETE FROM bdr.table_gate"):
		w.gates = append(w.gates, "open")
		return []ipc.Result{{}, {}}
	case strings.Contains(sql, "internal_queue_await"):
		w.gates = append(w.gates, "order")
		return []ipc.Result{{}}
	case strings.Contains(sql, "FROM bdr.internal_gates()"):
		return []ipc.Result{{}}
	}
	return nil
}

func (w *world) didGates() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(slices.Compact(slices.Clone(w.gates)), " ")
}

// tableLock is what another node asks for.
func tableLock(node uint32, id string, position lsn.LSN) globallock.Command {
	return globallock.Command{Kind: globallock.Acquire, Node: node, Time: 5, ID: id, Type: catalog.GlobalLockDML, Schema: "s", Table: "t",
		PID: 10, LocalRequest: 5, Position: position}
}

func (w *world) carryOut(t *testing.T, cmd globallock.Command) {
	t.Helper()
	if _, err := w.propose(t.Context(), 0, cmd.Encode()); err != nil {
		t.Fatal(err)
	}
}

func (w *world) eventuallyGates(t *testing.T, want string) {
	t.Helper()
	w.eventually(t, "gates: "+want, func(globallock.State) bool { return w.didGates() == want })
}

// The lock of another node: this one has what that one had, stops its users, says so, and lets
// them go on when it has what was done.
func TestGatesFollowTheLock(t *testing.T) {
	w := newWorld(t)
	w.open = 3
	go w.l.KeepGates()
	w.carryOut(t, tableLock(2, "b1-1", 50))
	w.eventually(t, "this node is ready", func(s globallock.State) bool {
		r, ready := s.IsReady("b1-1", 1)
		return ready && r.Position == 0x64
	})
	w.eventuallyGates(t, "close record")
	w.carryOut(t, globallock.Command{Kind: globallock.Release, Node: 2, Time: 6, IDs: []string{"b1-1"}, Position: 70})
	w.eventuallyGates(t, "close record open")
	if want := []catalog.GlobalLockPosition{{Node: 2, Position: 50}, {Node: 2, Position: 70}}; !slices.Equal(w.waited, want) {
		t.Errorf("waited for %+v", w.waited)
	}

	w.mu.Lock()
	w.members, w.gates = w.members.WithNode(catalog.Node{ID: 3, Name: "c", State: cluster.Active}), nil
	w.mu.Unlock()
	w.carryOut(t, tableLock(2, "b1-2", 80))
	w.eventuallyGates(t, "close record")
	w.carryOut(t, globallock.Command{Kind: globallock.Release, Node: 2, Time: 6, IDs: []string{"b1-2"}, Position: 90})
	w.eventuallyGates(t, "close record order open") // a third node may not have what was done
}

// A lock that ends while users are at the table still, or whose node is gone, leaves nothing.
func TestGatesOfLocksThatEnd(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *world){
		"released": func(t *testing.T, w *world) {
			w.carryOut(t, globallock.Command{Kind: globallock.Release, Node: 2, Time: 6, IDs: []string{"b1-1"}, Position: 70})
		},
		"gone": func(t *testing.T, w *world) {
			w.mu.Lock()
			w.members = w.members.WithNode(catalog.Node{ID: 2, Name: "b", State: cluster.Parted})
			w.mu.Unlock()
			w.carryOut(t, globallock.Command{Kind: globallock.Release, Node: 1, Time: 6, IDs: []string{"b1-1"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.open = 1 << 30
			go w.l.KeepGates()
			w.carryOut(t, tableLock(2, "b1-1", 50))
			w.eventuallyGates(t, "close")
			end(t, w)
			w.eventuallyGates(t, "close open")
			if len(w.l.deps.Locks().Ready) != 0 {
				t.Error("it was ready")
			}
		})
	}
}

// A node without the table says so, and the one that asked gets an error.
func TestTableThatIsNotThere(t *testing.T) {
	w := newWorld(t)
	w.open = -1
	go w.l.KeepGates()
	w.carryOut(t, tableLock(2, "b1-1", 50))
	w.eventually(t, "this node has answered", func(s globallock.State) bool {
		r, ready := s.IsReady("b1-1", 1)
		return ready && r.Position == 0
	})

	w = newWorld(t)
	go w.answerFor(t, 2, 0)
	_, err := w.l.Acquire(t.Context(), tableRequest(time.Minute))
	if pgerr.Code(err) != pgerr.LockNotAvailable || !strings.Contains(pgerr.From(err).Detail, `node "b"`) {
		t.Errorf("%v", err)
	}
}

// answerFor has another node say that it is ready, once there is a lock.
func (w *world) answerFor(t *testing.T, node uint32, position lsn.LSN) {
	w.eventually(t, "a lock is asked for", func(s globallock.State) bool { return len(s.Locks) == 1 })
	w.carryOut(t, globallock.Command{Kind: globallock.Ready, Node: node, Time: 6, ID: w.l.deps.Locks().Locks[0].ID, Position: position})
}

func tableRequest(limit time.Duration) *ipc.Request {
	r := request("0", 100, limit)
	for i, arg := range map[int]string{0: catalog.GlobalLockDML, 1: "f", 7: "f", 8: "s", 9: "t"} {
		for len(r.Args) <= i {
			r.Args = append(r.Args, nil)
		}
		r.Args[i] = &arg
	}
	return r
}

// Who asks waits for all nodes that can write, and for what they wrote.
func TestTableLockWaitsForAll(t *testing.T) {
	w := newWorld(t)
	go w.answerFor(t, 2, 90)
	rows, err := w.l.Acquire(t.Context(), tableRequest(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if got := *rows.Values[0][0]; got != "2 0/5A" {
		t.Errorf("others have to wait for %q", got)
	}
	if want := []catalog.GlobalLockPosition{{Node: 2, Position: 90}}; !slices.Equal(w.waited, want) {
		t.Errorf("waited for %+v", w.waited)
	}

	w = newWorld(t)
	_, err = w.l.Acquire(t.Context(), tableRequest(50*time.Millisecond))
	if fault := pgerr.From(err); fault.Code != pgerr.LockNotAvailable || !strings.Contains(fault.Detail, `stopped writing to the table: "b"`) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err = w.l.Acquire(ctx, tableRequest(0)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller that is gone: %v", err)
	}
}
