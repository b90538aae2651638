package replicate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/conflict"
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/stream"
	"bdr/gosrc/wire"
)

// Times of the feedback loop.
const (
	confirmIdle    = 10 * time.Second // between confirmations when nothing moves, at most
	confirmIdleMin = 100 * time.Millisecond
	confirmSpacing = 15 * time.Millisecond // between those of what moved; less than between a writer's reports
	faultWait      = 2 * time.Second       // for the FAULT of a writer whose socket broke
	finishWait     = time.Second           // for a writer to end, before it is terminated
	terminateWait  = 5 * time.Second       // for it to end then
	terminateTries = 6                     // while the main thread waits for a lock itself
)

// Ends of a run that are not failures.
var (
	errDrained = errors.New("subscription is drained")
	errStopped = errors.New("the message to stop at is applied")
)

// A Stream is one replication connection; *stream.Stream is one.
type Stream interface {
	Receive(ctx context.Context) (stream.Message, error)
	// Patience is the sender's wal_sender_timeout.
	Patience() string
	// Timeline is that of the sender's WAL.
	Timeline() lsn.Timeline
	Confirm(write, flush, apply lsn.LSN, replyRequested bool) error
	// HandOff and Resume: see stream.Stream.
	HandOff() (fd int, ok bool, err error)
	Resume(unread []byte, reason string) error
	Close()
}

// An Applier takes frames and tells what became of them.
type Applier interface {
	Setup(ipc.Setup) error
	Apply(frame []byte) error
	HandOff(fd int, promised int64) error
	Reclaim() error
	Receive() (ipc.Report, error)
}

// A Decider asks what to do about conflicts, and for what an update left out.
type Decider interface {
	ReadQuestion() (ipc.Question, error)
	Decide(ipc.Decision) error
	Answer(ipc.Plan) error
	Awaited() error
	Fetched(ipc.Fetched) error
	Refuse(error) error
}

// A Writer is one writer process; *ipc.Writer is one.
type Writer interface {
	Applier
	Decider
	PID() uint32
	Finish() error
	Close() error
}

// A pump moves one stream into one writer until either fails.
//
// Four goroutines share it: feed reads the stream and writes to the writer,
// collect reads the writer's progress, confirm tells the sender, decide answers
// conflicts. There is no queue between them: feed holds the one frame that it
// has read and blocks in Apply until the socket takes it, so a writer that is
// slow stops the reading, and TCP stops the sender. What is in memory for a
// subscription is one frame (64 KB, or up to 8 MB of a large row), the read
// buffer of the connection and the kernel's socket buffers.
//
// Where it can, feed hands the writer the stream: then the writer reads the
// frames itself, and returns the stream when something comes that is not for it.
type pump struct {
	spawn     func(name string, f func())
	name      string // of the subscription
	policy    conflict.Policy
	await     func(ctx context.Context, positions string) error
	runner    catalog.Runner
	terminate func(ctx context.Context, pid uint32) error
	stream    Stream
	writer    Writer
	values    *fetcher
	log       func(level ipc.Level, message, detail, hint string)
	progress  *progress
	idle      time.Duration        // between confirmations when nothing moves
	silence   func() time.Duration // nothing heard for so long: the connection is dead; 0: never
	handsOff  bool                 // the stream may be handed off
	returned  chan ipc.Returned    // it came back
	tracker   wire.Tracker
	promised  int64                                     // the time of the last watermark
	broken    bool                                      // it was said that this was not kept
	onApplied func(ipc.Progress)                        // each report of the writer
	onHeard   func(sent, received time.Time)            // each message of the stream
	onMessage func(wire.Message) (stop bool, err error) // each logical message
	moved     chan struct{}                             // something can be confirmed
	urgent    chan struct{}                             // the sender asked
	asked     chan struct{}                             // somebody here wants the sender's position
	drain     chan struct{}                             // closed: stop after the transaction in progress
	drainOnce sync.Once
	done      chan struct{} // closed when collect has ended
	verdict   error         // why; set before done is closed
	ear       ear           // when the sender was last heard
}

func newPump(d Deps, name string, s Stream, w Writer, start lsn.LSN) *pump {
	return &pump{spawn: d.Spawn, name: name, policy: d.Policy, await: d.Await, runner: d.Runner, terminate: d.Terminate, log: d.Log, stream: s, writer: w, values: &fetcher{}, progress: newProgress(start),
		idle:      idleOf(s.Patience()),
		silence:   func() time.Duration { return settingDuration(d.Setting(settingSilence), silenceDefault) },
		onApplied: func(ipc.Progress) {},
		onHeard:   func(sent, received time.Time) {},
		onMessage: func(wire.Message) (bool, error) { return false, nil },
		returned:  make(chan ipc.Returned, 1),
		moved:     make(chan struct{}, 1), urgent: make(chan struct{}, 1), asked: make(chan struct{}, 1),
		drain: make(chan struct{}), done: make(chan struct{})}
}

// idleOf says how often a sender hears from us when nothing moves: three times
// before it loses its patience.
func idleOf(patience string) time.Duration {
	if third := settingDuration(patience, 0) / 3; third > 0 {
		return max(confirmIdleMin, min(confirmIdle, third))
	}
	return confirmIdle
}

// run returns when the first of the goroutines ends, with its reason, and after
// all of them and the writer have ended.
func (p *pump) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	parts := []func(context.Context) error{p.feed, p.collect, p.confirm, p.decide}
	ended := make(chan struct{}, len(parts))
	for i, part := range parts {
		p.spawn(fmt.Sprintf("%s/%d", p.name, i), func() {
			cancel(part(ctx))
			ended <- struct{}{}
		})
	}
	<-ctx.Done()
	p.stream.Close()
	p.finishWriter()
	for range parts {
		<-ended
	}
	p.values.close()
	return context.Cause(ctx)
}

// finishWriter returns when the writer has ended, so that it applies nothing
// any more and the next one can have its replication origin. One that does not
// hear us, because it waits for a lock, is terminated.
func (p *pump) finishWriter() {
	defer p.writer.Close()
	_ = p.writer.Finish() // one that is gone cannot be told
	if p.writerEnded(finishWait) {
		return
	}
	for range terminateTries {
		ctx, cancel := context.WithTimeout(context.Background(), terminateWait)
		err := p.terminate(ctx, p.writer.PID())
		cancel()
		if p.writerEnded(terminateWait) || err == nil {
			return
		}
	}
}

// writerEnded waits for the end of the writer, but not for long.
func (p *pump) writerEnded(wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
		return false
	}
}

// feed hands the frames of the stream to the writer. When ctx ends, run closes
// the stream.
func (p *pump) feed(ctx context.Context) error {
	for {
		p.ear.listen(time.Now())
		m, err := p.stream.Receive(context.Background())
		p.ear.busy()
		if err != nil {
			return err
		}
		p.onHeard(m.SendTime, time.Now())
		if err := p.message(ctx, m); err != nil {
			return err
		}
		if p.handsOff && p.tracker.AtRest() && !p.draining() {
			if err := p.handOff(ctx); err != nil {
				return err
			}
		}
		if p.draining() && !p.tracker.InTransaction() {
			<-ctx.Done() // confirm ends the run when all is applied
			return ctx.Err()
		}
	}
}

// handOff lets the writer read the stream until something comes that is for us, or
// the stream is wanted back.
func (p *pump) handOff(ctx context.Context) error {
	fd, ok, err := p.stream.HandOff()
	if !ok {
		return err
	}
	p.progress.handOff()
	if err := p.writer.HandOff(fd, p.promised); err != nil {
		return p.writerGone(err)
	}
	drain := p.drain
	for {
		select {
		case back := <-p.returned:
			return p.resume(back)
		case <-drain:
			drain = nil
			if err := p.writer.Reclaim(); err != nil {
				return p.writerGone(err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// resume goes on where the writer has stopped; it has reported all before that.
func (p *pump) resume(back ipc.Returned) error {
	p.tracker.Resume(back.InTransaction)
	p.progress.takeBack(back.InTransaction)
	signal(p.moved)
	return p.stream.Resume(back.Unread, back.Reason)
}

// heard notes what the peer has told the writer.
func (p *pump) heard(h ipc.Heard) {
	if h.ReplyRequested {
		signal(p.urgent)
	}
	if h.Silence {
		signal(p.asked)
	}
}

// message deals with one message of the stream.
func (p *pump) message(ctx context.Context, m stream.Message) error {
	if m.Kind == stream.Frame {
		return p.frame(ctx, m)
	}
	p.progress.keepalive(m.WALEnd)
	if m.ReplyRequested {
		signal(p.urgent)
	} else if !p.progress.outstanding() { // else the writer's report will move it
		signal(p.moved)
	}
	return nil
}

// frame checks one frame, notes its transactions and passes it on.
func (p *pump) frame(ctx context.Context, m stream.Message) error {
	f, err := wire.ReadFrame(m.Payload)
	if err != nil {
		return fmt.Errorf("read frame at %s: %w", m.WALStart, err)
	}
	committed, stop, err := p.track(f)
	if err != nil {
		return fmt.Errorf("read frame at %s: %w", m.WALStart, err)
	}
	p.progress.frame(m.WALEnd, committed, p.tracker.InTransaction())
	if err := p.writer.Apply(m.Payload); err != nil {
		return p.writerGone(err)
	}
	if stop {
		return p.awaitFlushed(ctx)
	}
	return nil
}

// track follows the transactions of a frame. It returns the end of the last one
// and whether a message asked to stop after this frame.
func (p *pump) track(f wire.Frame) (committed lsn.LSN, stop bool, err error) {
	err = p.tracker.Track(f, func(e wire.Event) error {
		switch e := e.(type) {
		case wire.Commit:
			committed = e.EndLSN
		case wire.Begin:
			p.checkPromise(e)
		case wire.Watermark:
			p.promised = max(p.promised, e.Time)
			p.progress.promise(committed, e)
		case wire.Message:
			last, err := p.onMessage(e)
			stop = stop || last
			return err
		}
		return nil
	})
	return committed, stop, err
}

// checkPromise says so if the sender has committed below its own watermark: what
// was kept for such a transaction may be gone.
func (p *pump) checkPromise(b wire.Begin) {
	if b.OriginNode != 0 || b.CommitTime >= p.promised || p.broken {
		return
	}
	p.broken = true
	p.log(ipc.Warning, fmt.Sprintf("transaction %d of subscription %q is %s older than was promised", b.XID, p.name,
		time.Duration(p.promised-b.CommitTime)*time.Microsecond),
		"A conflict of it with a row that was deleted here may not be seen, and the nodes may then differ.",
		"The clock of a node must not be set back, and other replication systems must not commit there with older times.")
}

// awaitFlushed ends a run that a message asked to stop, once all that came before
// the message is on disk.
func (p *pump) awaitFlushed(ctx context.Context) error {
	target := p.progress.lastCommit()
	for {
		changed := p.progress.wait()
		if _, flush, _ := p.progress.feedback(); flush >= target {
			return errStopped
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// collect notes what the writer reports. Its error is the writer's own word,
// when there is one.
func (p *pump) collect(ctx context.Context) error {
	defer close(p.done)
	for {
		report, err := p.writer.Receive()
		if errors.Is(err, io.EOF) {
			err = pgerr.New(pgerr.ConnectionFailure, "writer of subscription %q ended unexpectedly", p.name).
				WithHint("The server log may say why.")
		}
		if err != nil {
			p.verdict = err
			return err
		}
		switch r := report.(type) {
		case ipc.Progress:
			p.applied(r)
		case ipc.Heard:
			p.heard(r)
		case ipc.Returned:
			p.returned <- r
		}
	}
}

func (p *pump) applied(w ipc.Progress) {
	p.progress.writer(w.Applied, w.Flushed)
	p.onApplied(w)
	p.progress.keepalive(w.Keepalive)
	if w.Received != 0 {
		p.onHeard(ipc.TimeOf(w.Sent), ipc.TimeOf(w.Received))
	}
	signal(p.moved)
}

// writerGone returns the writer's own reason for the end of its connection, if
// it comes, rather than the broken connection.
func (p *pump) writerGone(err error) error {
	if p.writerEnded(faultWait) {
		return p.verdict
	}
	return err
}

// decide answers the writer's questions.
func (p *pump) decide(ctx context.Context) error {
	d := decider{pump: p}
	for {
		question, err := p.writer.ReadQuestion()
		if err != nil {
			return p.writerGone(err)
		}
		if err = d.answer(ctx, question); err != nil {
			return err
		}
	}
}

// confirm tells the sender how far we are: at once when it asks, soon when
// something moved, and now and then otherwise, whatever the writer does: a sender
// that does not hear from us ends the connection. It also notices a sender that
// has gone silent, and the end of a drain.
func (p *pump) confirm(ctx context.Context) error {
	idle := time.NewTimer(p.pause())
	defer idle.Stop()
	var due <-chan time.Time // of what moved too soon after the last one
	var last time.Time
	moved, drain, sent := p.moved, p.drain, lsn.Zero
	for {
		ask := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
			if _, flush, apply := p.progress.feedback(); flush+apply == sent && !p.draining() {
				continue
			}
			if early := confirmSpacing - time.Since(last); early > 0 {
				moved, due = nil, time.After(early)
				continue
			}
		case <-due:
		case <-drain:
			drain = nil
		case <-p.asked:
			ask = true
		case <-p.urgent:
		case <-idle.C:
		}
		p.values.closeIdle(time.Now())
		var err error
		if sent, err = p.confirmNow(ask); err != nil {
			return err
		}
		last, moved, due = time.Now(), p.moved, nil
		idle.Reset(p.pause())
	}
}

// pause is the time until the next confirmation if nothing happens; silence is
// looked for then, too.
func (p *pump) pause() time.Duration {
	if limit := p.silence(); limit > 0 {
		return max(confirmIdleMin, min(p.idle, limit/4))
	}
	return p.idle
}

// confirmNow sends one confirmation. It returns the sum of what was confirmed,
// which grows when either position does.
func (p *pump) confirmNow(ask bool) (lsn.LSN, error) {
	silence, limit := p.ear.silence(time.Now()), p.silence()
	if limit > 0 && silence >= limit {
		return 0, pgerr.New(pgerr.ConnectionFailure, "nothing was heard from the peer of subscription %q for %s", p.name, limit).
			WithHint("Setting wal_receiver_timeout says how long that may last.")
	}
	ask = ask || (limit > 0 && silence >= limit/2)
	write, flush, apply := p.progress.feedback()
	if err := p.stream.Confirm(write, flush, apply, ask); err != nil {
		return 0, err
	}
	if p.draining() && !p.progress.outstanding() {
		return 0, errDrained
	}
	return flush + apply, nil
}

// succeeded returns an onApplied that forgets the failures of r once a
// transaction has been applied.
func (p *pump) succeeded(r *retry) func(ipc.Progress) {
	began := p.progress.lastCommit()
	return func(w ipc.Progress) {
		if w.Applied > began {
			r.progressed()
		}
	}
}

// finish lets the transaction in progress end, and no other begin.
func (p *pump) finish() { p.drainOnce.Do(func() { close(p.drain) }) }

func (p *pump) draining() bool {
	select {
	case <-p.drain:
		return true
	default:
		return false
	}
}

// signal sets a flag that somebody waits for.
func signal(flag chan struct{}) {
	select {
	case flag <- struct{}{}:
	default:
	}
}

// An ear remembers since when nothing has been heard. Time spent handing a
// frame to the writer does not count: the sender cannot be heard then.
type ear struct {
	mu    sync.Mutex
	since time.Time // zero: not listening
}

func (e *ear) listen(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.since = now
}

func (e *ear) busy() { e.listen(time.Time{}) }

func (e *ear) silence(now time.Time) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.since.IsZero() {
		return 0
	}
	return now.Sub(e.since)
}
