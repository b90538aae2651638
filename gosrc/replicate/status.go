package replicate

import (
	"sync"
	"time"

	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/wire"
)

// State says what a subscription is doing; the views show it.
type State string

// The states of a subscription.
const (
	StateDisabled    State = "disabled"
	StateConnecting  State = "connecting"
	StateReplicating State = "replicating"
	StateDown        State = "down" // failed; waits for its next try
)

// Status is a snapshot of one subscription for the views. Counters count since
// the manager started, or since they were reset.
type Status struct {
	SubID          uint32
	State          State
	WriterPID      uint32  // 0: none
	Received       lsn.LSN // end of what has been received
	Committed      lsn.LSN // end of the last transaction that was received whole
	Applied        lsn.LSN // end of the last transaction that was applied
	Flushed        lsn.LSN // end of the last one that is on disk
	AppliedTime    int64   // its commit timestamp, microseconds since 2000-01-01
	Start          lsn.LSN // where the current or last connection began
	Position       lsn.LSN // applied up to here, counting keepalives
	Connects       uint64
	Errors         uint64
	Retries        uint64
	Skipped        uint64 // transactions that an administrator skipped
	Counts         Counts
	CurrentCommits uint64    // since the last connection was made
	ConnectTime    time.Time // zero: never
	DisconnectTime time.Time // zero: never
	LastError      string
	LastErrorTime  time.Time
	Failure        *Failure       // what stops the subscription now, or nil
	ClockDrift     *time.Duration // how far the peer's clock is ahead; nil: not known
	ResetTime      time.Time      // of the counters; zero: never
	Watermark      wire.Watermark // the peer's last promise; zero: it made none
}

// Counts is what writers have done.
type Counts struct {
	Commits, Duplicates, Inserts, Updates, Deletes, Truncates, Conflicts, Aborts, Deadlocks uint64

	ApplyTime time.Duration
}

func (c Counts) plus(o Counts) Counts {
	return Counts{c.Commits + o.Commits, c.Duplicates + o.Duplicates, c.Inserts + o.Inserts, c.Updates + o.Updates,
		c.Deletes + o.Deletes, c.Truncates + o.Truncates, c.Conflicts + o.Conflicts, c.Aborts + o.Aborts,
		c.Deadlocks + o.Deadlocks, c.ApplyTime + o.ApplyTime}
}

func countsOf(w ipc.Progress) Counts {
	return Counts{w.Commits, w.Skipped, w.Inserts, w.Updates, w.Deletes, w.Truncates, w.Conflicts, w.Aborts, w.Deadlocks, w.ApplyTime}
}

func (c Counts) minus(o Counts) Counts {
	return Counts{c.Commits - o.Commits, c.Duplicates - o.Duplicates, c.Inserts - o.Inserts, c.Updates - o.Updates,
		c.Deletes - o.Deletes, c.Truncates - o.Truncates, c.Conflicts - o.Conflicts, c.Aborts - o.Aborts,
		c.Deadlocks - o.Deadlocks, c.ApplyTime - o.ApplyTime}
}

// A record collects the status of one subscription over all its connections.
type record struct {
	mu      sync.Mutex
	status  Status
	current Counts    // of the writer that runs
	before  Counts    // of them, those before the last reset
	live    *progress // of the connection that is open
	drift   drift
}

// snapshot returns the status as of now.
func (r *record) snapshot() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	s.Counts = s.Counts.plus(r.current.minus(r.before))
	s.ClockDrift = r.drift.estimate(time.Now())
	if s.Failure != nil && s.Failure.Sender && s.State == StateReplicating {
		s.State = StateDown // connected, but nothing comes
	}
	if r.live != nil {
		s.CurrentCommits = r.current.Commits
		r.live.describe(&s)
	}
	return s
}

// reset starts the counters from zero; the writer's go on.
func (r *record) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Counts, r.before = Counts{}, r.current
	r.status.Connects, r.status.Errors, r.status.Retries, r.status.Skipped = 0, 0, 0, 0
	r.status.ResetTime = time.Now()
}

func (r *record) state(state State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.State = state
}

// retry notes that a failed subscription is started again.
func (r *record) retry() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Retries++
}

// connected notes that a writer applies what comes after start.
func (r *record) connected(start lsn.LSN, pid uint32, p *progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.State = StateReplicating
	r.status.WriterPID = pid
	r.status.Start = start
	r.status.Connects++
	r.status.ConnectTime = time.Now()
	r.status.CurrentCommits = 0
	r.live = p
}

// heard notes when a message of the peer was sent, by its clock, and received,
// by ours.
func (r *record) heard(sent, received time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drift.add(sent, received)
}

// applied notes what the writer reports.
func (r *record) applied(w ipc.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.CommitTime != 0 {
		r.status.AppliedTime = w.CommitTime
	}
	r.current = countsOf(w)
}

// disconnected keeps what the ended connection reached.
func (r *record) disconnected() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.live == nil {
		return
	}
	r.live.describe(&r.status)
	r.live = nil
	r.status.Counts = r.status.Counts.plus(r.current.minus(r.before))
	r.status.CurrentCommits = r.current.Commits
	r.current, r.before = Counts{}, Counts{}
	r.status.WriterPID = 0
	r.status.DisconnectTime = time.Now()
}

// failed notes why, and until when the subscription rests. It reports whether
// this is another failure than the one before.
func (r *record) failed(f *Failure) (another bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.status.Failure
	another = before == nil || !before.same(f)
	if !another {
		f.Retries = before.Retries + 1
		f.Began = before.Began
	}
	r.status.Failure = f
	r.status.State = StateDown
	r.status.Errors++
	r.status.LastError = f.Fault.Error()
	r.status.LastErrorTime = f.Time
	return another
}

// passed forgets the failure if everything up to position, which is what it was
// about, is applied now; a failure of the connection passes with the next one. It
// returns what has passed, or nil.
func (r *record) passed(position lsn.LSN) *Failure {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.status.Failure
	if f == nil || !f.passedBy(position) {
		return nil
	}
	r.status.Failure = nil
	return f
}

// skipped counts transactions that an administrator skipped, up to position.
func (r *record) skipped(n int, position lsn.LSN) {
	r.passed(position)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Skipped += uint64(n)
}

// describe copies the positions into s.
func (p *progress) describe(s *Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Received = max(p.received, p.position)
	s.Committed = p.committed
	s.Applied = p.applied
	s.Flushed = p.flushed
	s.Position = max(s.Position, p.position)
	s.Watermark = later(s.Watermark, p.watermark)
}
