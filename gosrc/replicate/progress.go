package replicate

import (
	"sync"

	"bdr/gosrc/lsn"
	"bdr/gosrc/wire"
)

// progress knows how far one stream has been received, applied and flushed, and
// so which remote position may be confirmed. All positions are the sender's.
//
// The pump tells it what arrives, in stream order and before the writer gets
// it; the writer's progress reader tells it what became of it. The rule that
// everything rests on: a position is confirmed as flushed only when every
// transaction that was received before it is on disk here, and on the standbys
// that synchronized_standby_slots names. A keepalive says
// that nothing of interest lies before its position, so it counts once nothing
// is outstanding.
type progress struct {
	mu            sync.Mutex
	received      lsn.LSN // end of the last message
	committed     lsn.LSN // end of the last transaction that was received whole
	idle          lsn.LSN // position of the last keepalive
	applied       lsn.LSN // the writer's word
	flushed       lsn.LSN // the writer's word
	position      lsn.LSN // applied up to here, keepalives included; never goes back
	confirmable   lsn.LSN // flushed up to here, keepalives included; never goes back
	inTransaction bool
	handedOff     bool           // the writer knows what has been received
	promises      []promise      // that do not hold yet, oldest first
	watermark     wire.Watermark // the last that holds
	changed       chan struct{}  // closed at the next change, if somebody waits
}

// A promise is a watermark that holds once all before it is applied.
type promise struct {
	after lsn.LSN
	wire.Watermark
}

// newProgress starts at the origin's own position.
func newProgress(start lsn.LSN) *progress {
	return &progress{received: start, committed: start, applied: start, flushed: start,
		position: start, confirmable: start}
}

// awaitStandbys leaves it to the writer to say what of the start may be
// confirmed: it is on disk here, but standbys may not have it.
func (p *progress) awaitStandbys() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flushed, p.confirmable = lsn.Zero, lsn.Zero
}

// keepalive notes that the sender has nothing for us before end.
func (p *progress) keepalive(end lsn.LSN) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.received = max(p.received, end)
	p.idle = max(p.idle, end)
	p.settle()
}

// frame notes a frame that ends at end. committed is the end of the last
// transaction in it, or zero.
func (p *progress) frame(end, committed lsn.LSN, inTransaction bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.received = max(p.received, end, committed)
	p.committed = max(p.committed, committed)
	p.inTransaction = inTransaction
	p.settle()
}

// promise notes a watermark that came behind the transaction that ends at after,
// or behind the last one before its frame.
func (p *progress) promise(after lsn.LSN, w wire.Watermark) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.promises = append(p.promises, promise{max(after, p.committed), w})
	p.settle()
}

// handOff notes that the writer reads the stream from now on.
func (p *progress) handOff() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handedOff = true
}

// takeBack notes that it does no more; everything before has been reported.
func (p *progress) takeBack(inTransaction bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handedOff, p.inTransaction = false, inTransaction
}

// writer notes what the writer reports. What it has applied was received.
func (p *progress) writer(applied, flushed lsn.LSN) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.applied = max(p.applied, applied)
	p.committed = max(p.committed, p.applied)
	p.flushed = max(p.flushed, flushed)
	p.settle()
}

// before notes that all that was committed before a position has been applied.
func (p *progress) before(commit lsn.LSN) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.position = max(p.position, commit)
	p.settle()
}

// settle derives the two positions and wakes who waits for them.
func (p *progress) settle() {
	p.position = max(p.position, p.applied)
	p.confirmable = max(p.confirmable, p.flushed)
	if !p.inTransaction && p.applied >= p.committed {
		p.position = max(p.position, p.idle)
	}
	if !p.inTransaction && p.flushed >= p.committed {
		p.confirmable = max(p.confirmable, p.idle)
	}
	for len(p.promises) > 0 && p.applied >= p.promises[0].after {
		p.watermark = later(p.watermark, p.promises[0].Watermark)
		p.promises = p.promises[1:]
	}
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// later takes the later of both times: a stream that starts again may repeat
// old watermarks.
func later(a, b wire.Watermark) wire.Watermark {
	return wire.Watermark{Time: max(a.Time, b.Time), Awaited: max(a.Awaited, b.Awaited)}
}

// feedback returns what may be confirmed now.
func (p *progress) feedback() (write, flush, apply lsn.LSN) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.received, p.position), p.confirmable, p.position
}

// outstanding reports whether something that was received is, as far as we know,
// not applied yet.
func (p *progress) outstanding() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.handedOff || p.inTransaction || p.applied < p.committed
}

// lastCommit is the end of the last transaction that was received whole.
func (p *progress) lastCommit() lsn.LSN {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.committed
}

// wait returns a channel that is closed at the next change.
func (p *progress) wait() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.changed
}

// Layout of WAL pages, for covered.
const (
	pageBytes      = 8192
	headerBytesMax = 40 // of the first page of a segment; other pages have 24
)

// covered returns the last position before which no other record can end.
//
// A record that ends with its page ends before the next page's header, but an
// insert position that is asked for then lies behind it. An idle peer's
// keepalives would never reach such a barrier. The next record cannot end
// within the first 24 + 24 bytes of a page, so all of a header is covered.
func covered(position lsn.LSN) lsn.LSN {
	if position != lsn.Zero && position%pageBytes == 0 {
		return position + headerBytesMax
	}
	return position
}
