package replicate

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/stream"
)

// A Failure is what stops a subscription.
type Failure struct {
	Fault    *pgerr.Error
	Time     time.Time
	Began    time.Time // when it failed like this for the first time
	Retries  uint64    // tries since then that failed in the same way
	NextTry  time.Time
	XID      uint32  // of the peer's transaction; the rest is zero with it
	End      lsn.LSN // of that transaction, at the peer
	Commit   int64   // its commit timestamp, microseconds since 2000-01-01
	Change   uint32  // number of the change, from 1
	Schema   string  // "" when the error is not about a table
	Relation string
	Sender   bool    // the peer could not send what comes next
	Behind   lsn.LSN // position that we had then; what is beyond was not sent
}

func newFailure(err error, now time.Time) *Failure {
	f := &Failure{Fault: pgerr.From(err), Time: now, Began: now}
	var failed *ipc.Failed
	if errors.As(err, &failed) {
		f.XID, f.End, f.Commit, f.Change = failed.XID, failed.End, failed.CommitTime, failed.Change
		f.Schema, f.Relation = failed.Schema, failed.Relation
	}
	var fault *stream.Fault
	f.Sender = errors.As(err, &fault) && !strings.HasPrefix(f.Fault.Code, operatorIntervention)
	return f
}

// operatorIntervention is the class of SQLSTATEs with which a server or an
// administrator ends a sender that could go on.
const operatorIntervention = "57"

// finishedAt is how the context of a sender's error names the transaction.
var finishedAt = regexp.MustCompile(`finished at ([0-9A-F]+/[0-9A-F]+)`)

// end is that of the transaction which fails here or at the sender; "": unknown.
func (f *Failure) end() string {
	if f.IsChange() {
		return f.End.String()
	}
	if found := finishedAt.FindStringSubmatch(f.Fault.Context); f.Sender && found != nil {
		return found[1]
	}
	return ""
}

// passedBy reports whether everything up to position, which is applied, is more
// than what failed. Another connection is enough for a failure that is about
// none of both.
func (f *Failure) passedBy(position lsn.LSN) bool {
	return f.End <= position && (!f.Sender || f.Behind < position)
}

// IsChange reports whether it was a change that failed, not the connection.
func (f *Failure) IsChange() bool { return f.End != lsn.Zero }

// same reports whether another try ended in the same way.
func (f *Failure) same(o *Failure) bool {
	return f.End == o.End && f.Fault.Code == o.Fault.Code && f.Schema == o.Schema && f.Relation == o.Relation && f.Change == o.Change
}

// hint says what the administrator can do, unless the error says it.
func (f *Failure) hint(subscription string) string {
	if f.Fault.Hint != "" || f.end() == "" {
		return f.Fault.Hint
	}
	return fmt.Sprintf("Remove the cause; replication then continues by itself. As a last resort, disable the subscription and "+
		"skip the transaction: SELECT bdr.alter_subscription_skip_changes_upto(%s, '%s').", catalog.QuoteLiteral(subscription), f.end())
}

// detail is everything that is known, in a line.
func (f *Failure) detail() string {
	if f.Fault.Context == "" {
		return f.Fault.Error()
	}
	return f.Fault.Error() + "; " + f.Fault.Context
}

// fail notes the end of a connection and says how long to rest. What passes by
// itself, such as a deadlock, is no failure until it has not passed.
func (p *Peer) fail(ctx context.Context, err error) time.Duration {
	f := newFailure(err, time.Now())
	f.Behind = p.Status().Position
	name := p.config.Subscription.Name
	delay := p.deps.again(p.retry, name, f)
	if p.retry.passing {
		return delay
	}
	f.NextTry = f.Time.Add(delay)
	if p.record.failed(f) && f.IsChange() {
		p.note(ctx, catalog.EventError, f.Fault.Message, fmt.Sprintf("SQLSTATE %s; %s", f.Fault.Code, f.detail()))
	}
	return delay
}

// recovered tells that what failed before has been applied.
func (p *Peer) recovered(position lsn.LSN) {
	f := p.record.passed(position)
	if f == nil || !f.IsChange() {
		return
	}
	name := p.config.Subscription.Name
	text := fmt.Sprintf("transaction %d of node %q no longer fails", f.XID, p.config.PeerName)
	p.deps.Log(ipc.Log, fmt.Sprintf("subscription %q: %s", name, text), "", "")
	p.deps.Spawn("event of "+name, func() {
		p.note(context.Background(), catalog.EventResumed, text, fmt.Sprintf("It ended at %s and failed for %s.",
			f.End, time.Since(f.Began).Round(time.Millisecond)))
	})
}

// note writes to the history of events. A history that cannot be written to is
// no reason to stop.
func (p *Peer) note(ctx context.Context, kind, text, detail string) {
	_, err := p.deps.Runner.Run(ctx, append(catalog.LimitEventWait(), p.event(kind, text, detail)...)...)
	if err != nil && ctx.Err() == nil {
		p.deps.Log(ipc.Log, "could not write to bdr.event_history", err.Error(), "")
	}
}

func (p *Peer) event(kind, text, detail string) []ipc.Stmt {
	return catalog.InsertEvent(catalog.Event{NodeID: p.config.Subscription.TargetID, Type: catalog.EventOfSubscription, Kind: kind,
		Source: p.config.Subscription.Name, Text: text, Detail: detail})
}
