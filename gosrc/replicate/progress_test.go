package replicate

import (
	"testing"

	"bdr/gosrc/lsn"
	"bdr/gosrc/wire"
)

// Feedback must never say that something is on disk which is not: the sender
// forgets what is confirmed. Each script is a list of events and what may be
// confirmed after them, from a start at 100.
func TestProgress(t *testing.T) {
	type event func(*progress)
	alive := func(end lsn.LSN) event { return func(p *progress) { p.keepalive(end) } }
	frame := func(committed lsn.LSN, inside bool) event {
		return func(p *progress) { p.frame(committed, committed, inside) }
	}
	writer := func(applied, flushed lsn.LSN) event { return func(p *progress) { p.writer(applied, flushed) } }
	tests := []struct {
		name                string
		events              []event
		write, flush, apply lsn.LSN
	}{
		{"nothing_happened", nil, 100, 100, 100},
		{"idle_slot_advances", []event{alive(200)}, 200, 200, 200},
		{"received_is_not_applied", []event{frame(150, false)}, 150, 100, 100},
		{"applied_is_not_flushed", []event{frame(150, false), writer(150, 100)}, 150, 100, 150},
		{"flushed", []event{frame(150, false), writer(150, 150)}, 150, 150, 150},
		{"keepalive_waits_for_the_flush", []event{frame(150, false), alive(200), writer(150, 100)}, 200, 100, 200},
		{"keepalive_counts_after_the_flush", []event{frame(150, false), alive(200), writer(150, 150)}, 200, 200, 200},
		{"keepalive_waits_for_the_open_transaction", []event{frame(150, true), writer(150, 150), alive(160)}, 160, 150, 150},
		{"open_transaction_holds_earlier_keepalives_too", []event{frame(0, true), alive(160)}, 160, 100, 100},
		{"nothing_goes_back", []event{alive(200), frame(250, false), alive(120)}, 250, 200, 200},
		{"old_report_is_ignored", []event{frame(150, false), writer(150, 150), writer(140, 130)}, 150, 150, 150},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newProgress(100)
			for _, e := range test.events {
				e(p)
			}
			if write, flush, apply := p.feedback(); write != test.write || flush != test.flush || apply != test.apply {
				t.Fatalf("got write %d flush %d apply %d, want %d %d %d", write, flush, apply, test.write, test.flush, test.apply)
			}
		})
	}
}

// A promise is about what follows it, so it holds when all before it is applied,
// and not one transaction earlier.
func TestPromisesHoldWhenAllBeforeIsApplied(t *testing.T) {
	p := newProgress(100)
	require := func(time int64) {
		t.Helper()
		var s Status
		if p.describe(&s); s.Watermark.Time != time {
			t.Fatalf("the promise of %d holds, expected %d", s.Watermark.Time, time)
		}
	}
	p.promise(0, wire.Watermark{Time: 1}) // nothing came before it
	require(1)
	p.promise(150, wire.Watermark{Time: 5, Awaited: 9}) // behind a transaction of the same frame
	p.frame(150, 150, false)
	p.frame(0, 170, false)
	p.promise(0, wire.Watermark{Time: 7, Awaited: 8}) // behind one of an earlier frame
	require(1)
	p.writer(150, 100)
	require(5)
	p.writer(160, 160)
	require(5)
	p.writer(170, 160)
	require(7)
	s := Status{Watermark: wire.Watermark{Time: 6, Awaited: 20}} // of the connection before
	if p.describe(&s); s.Watermark != (wire.Watermark{Time: 7, Awaited: 20}) {
		t.Errorf("got %+v", s.Watermark)
	}
}

// An insert position behind a page header is one that no record ends at; a
// barrier there would wait for ever on an idle peer.
func TestCovered(t *testing.T) {
	tests := []struct{ position, want lsn.LSN }{
		{3 * 8192, 3*8192 + 40}, {16 << 20, 16<<20 + 40}, {3*8192 + 32, 3*8192 + 32}, {0, 0},
	}
	for _, test := range tests {
		if got := covered(test.position); got != test.want {
			t.Errorf("%s: got %s, want %s", test.position, got, test.want)
		}
	}
}
