package sequencer

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"bdr/gosrc/cluster"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/sequence"
)

// run plays a test in a bubble, whose clock goes on when all sleep.
func run(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		test(t, w)
		w.stop()
	})
}

// A session waits until the tables of its own node have its values.
func TestChunkWaitsForTheTables(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.late = time.Second
		begun := time.Now()
		if _, err := w.s.Chunk(t.Context(), chunkRequest(0, "t")); err != nil {
			t.Fatal(err)
		}
		if k, _ := w.look().state.Key("public.s"); k.Ahead(1, 0) != sequence.ChunksMax || time.Since(begun) < w.late {
			t.Errorf("%+v after %s", k, time.Since(begun))
		}
		if _, err := w.s.Chunk(t.Context(), chunkRequest(2999, "t")); err != nil {
			t.Fatal(err)
		}
		w.requireKinds(t, sequence.Allocate) // there was one value left
	})
}

// Many sessions that have no values any more make one command.
func TestChunkIsShared(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.propose = func(sequence.Command) error { time.Sleep(100 * time.Millisecond); return nil }
		results := make(chan error)
		for range 20 {
			go func() {
				_, err := w.s.Chunk(t.Context(), chunkRequest(0, "t"))
				results <- err
			}()
		}
		for range 20 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		w.requireKinds(t, sequence.Allocate)
	})
}

// A session that is ahead of the one whose command it shared asks once more.
func TestChunkOfAnotherPosition(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		if _, err := w.s.Chunk(t.Context(), chunkRequest(0, "t")); err != nil {
			t.Fatal(err)
		}
		w.propose = func(sequence.Command) error { time.Sleep(100 * time.Millisecond); return nil }
		if _, err := w.s.Chunk(t.Context(), chunkRequest(1100, "f")); err != nil {
			t.Fatal(err)
		}
		if _, err := w.s.Chunk(t.Context(), chunkRequest(4000, "t")); err != nil {
			t.Fatal(err)
		}
		if k, _ := w.look().state.Key("public.s"); k.Ahead(1, 4000) == 0 {
			t.Errorf("%+v", k)
		}
		w.requireKinds(t, sequence.Allocate, sequence.Allocate, sequence.Allocate)
	})
}

// In the background there is one command for a key, and none for nothing.
func TestChunkInTheBackground(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.propose = noMajority
		begun := time.Now()
		for range 5 {
			if _, err := w.s.Chunk(t.Context(), chunkRequest(0, "f")); err != nil {
				t.Fatal(err)
			}
		}
		if time.Since(begun) != 0 {
			t.Error("it waited")
		}
		synctest.Wait()
		time.Sleep(time.Minute)
		w.requireKinds(t)
		w.propose = nil
		for range 3 {
			if _, err := w.s.Chunk(t.Context(), chunkRequest(0, "f")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		w.requireKinds(t, sequence.Allocate)
		r := chunkRequest(1500, "f") // of three chunks, one is used up; there are no more
		*r.Args[2] = "3000"
		if _, err := w.s.Chunk(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.requireKinds(t, sequence.Allocate)
	})
}

func TestChunkWithoutMajority(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.propose = noMajority
		begun := time.Now()
		_, err := w.s.Chunk(t.Context(), chunkRequest(0, "t"))
		requireFault(t, err, pgerr.WrongState, "could not get values for sequence public.s", "no leader", "majority", "bdr.get_raft_status()")
		if d := time.Since(begun); d > 10*time.Second {
			t.Errorf("after %s", d)
		}
		w.propose = nil
		if _, err := w.s.Chunk(t.Context(), chunkRequest(0, "t")); err != nil {
			t.Errorf("it does not go on: %v", err)
		}
		w.late = time.Hour // the group agrees, but this node does not hear of it
		_, err = w.s.Chunk(t.Context(), chunkRequest(3000, "t"))
		requireFault(t, err, pgerr.WrongState, "could not get values for sequence public.s", "has not heard")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.s.Chunk(ctx, chunkRequest(3000, "t")); err != context.DeadlineExceeded {
			t.Errorf("the session gives up, and hears %v", err)
		}
		time.Sleep(2 * time.Hour)
	})
}

func TestChunkRefusals(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		for i, bad := range []string{"", "x", "4294967296", "1000000001", "-1"} {
			r := chunkRequest(0, "t")
			*r.Args[i] = bad
			if i == 2 {
				*r.Args[2] = "0"
			}
			_, err := w.s.Chunk(t.Context(), r)
			requireFault(t, err, pgerr.InvalidParameter)
		}
		w.requireKinds(t)
		used := request("sequence_chunk", "public.t", "1", "10", "1000", "0", "t")
		if _, err := w.s.Chunk(t.Context(), used); err != nil {
			t.Fatal(err)
		}
		*used.Args[4] = "10"
		_, err := w.s.Chunk(t.Context(), used)
		requireFault(t, err, pgerr.SequenceLimit, "nextval: reached maximum value of sequence public.t (10)")
		w.admit = pgerr.New(pgerr.FeatureNotSupported, "not all nodes have global sequences")
		_, err = w.s.Chunk(t.Context(), chunkRequest(0, "t"))
		requireFault(t, err, pgerr.FeatureNotSupported, "not all nodes")
	})
}

func TestAdvanceRequest(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		if _, err := w.s.Chunk(t.Context(), chunkRequest(0, "t")); err != nil {
			t.Fatal(err)
		}
		w.late = time.Second
		begun := time.Now()
		if _, err := w.s.Advance(t.Context(), request("sequence_advance", "public.s", "1", "32767", "1000", "2500")); err != nil {
			t.Fatal(err)
		}
		k, _ := w.look().state.Key("public.s")
		if !k.Beyond(2500) || k.Ahead(1, 0) != 1 || time.Since(begun) < w.late {
			t.Errorf("%+v after %s", k, time.Since(begun))
		}
		_, err := w.s.Advance(t.Context(), request("sequence_advance", "public.s", "1", "32767", "1000", "32768"))
		requireFault(t, err, pgerr.InvalidParameter, "32768")
		w.propose = noMajority
		_, err = w.s.Advance(t.Context(), request("sequence_advance", "public.s", "1", "32767", "1000", "3000"))
		requireFault(t, err, pgerr.WrongState, "public.s", "no leader")
	})
}

// Each key has its own command: one that hangs holds nobody else up.
func TestKeysDoNotWaitForEachOther(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		w.propose = func(cmd sequence.Command) error {
			if cmd.Key == "public.s" {
				return noMajority(cmd)
			}
			return nil
		}
		go func() { _, _ = w.s.Chunk(t.Context(), chunkRequest(0, "t")) }()
		synctest.Wait()
		begun := time.Now()
		for i := range 3 {
			r := chunkRequest(0, "t")
			*r.Args[0] = fmt.Sprint("public.t", i)
			if _, err := w.s.Chunk(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		if time.Since(begun) != 0 {
			t.Errorf("after %s", time.Since(begun))
		}
		time.Sleep(time.Minute)
	})
}

// A parted node gets nothing.
func TestChunkOfAPartedNode(t *testing.T) {
	run(t, func(t *testing.T, w *world) {
		n, _ := w.members.Node(1)
		n.State = cluster.Parted
		w.members = w.members.WithNode(n)
		_, err := w.s.Chunk(t.Context(), chunkRequest(0, "t"))
		requireFault(t, err, pgerr.WrongState, "could not get values", "not a member of the group")
	})
}
