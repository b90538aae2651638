package replicate

import (
	"context"
	"fmt"
	"strings"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/control"
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pause"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/stream"
	"bdr/gosrc/wire"
)

// skippedListedMax bounds what the history says about one call.
const skippedListedMax = 100

const (
	slotFreeMax   = 10 * time.Second
	slotFreePause = 50 * time.Millisecond
)

// Skip makes a paused subscription go on behind the transaction that ends at
// target, whatever comes before it in the stream: none of it is applied here. It
// returns what is skipped, in order.
//
// The peer is asked what it would send, so that a position that is no end of a
// transaction is refused: with it, another transaction than the one that was
// meant would be skipped, or none.
func (p *Peer) Skip(ctx context.Context, target lsn.LSN, user string) ([]wire.Begin, error) {
	if !p.occupy() {
		return nil, pgerr.New(pgerr.WrongState, "subscription %q is enabled", p.config.Subscription.Name).
			WithHint("Call bdr.alter_subscription_disable() first.")
	}
	defer func() { <-p.running }()
	start, err := p.deps.originPosition(ctx, p.config.Subscription.OriginName)
	if err != nil {
		return nil, err
	}
	if err := p.checkTarget(ctx, start, target); err != nil {
		return nil, err
	}
	pending, err := p.deps.pending(ctx, p.ends(), start, target)
	if err != nil {
		return nil, err
	}
	return pending, p.skip(ctx, target, pending, user)
}

// occupy keeps a subscription that is disabled, and has ended its work, from
// connecting. The caller gives running back.
func (p *Peer) occupy() bool {
	select {
	case p.running <- struct{}{}:
	default:
		return false
	}
	if enabled, _ := p.wanted(); enabled {
		<-p.running
		return false
	}
	return true
}

// checkTarget refuses what lies behind us, and what the peer has not written.
func (p *Peer) checkTarget(ctx context.Context, start, target lsn.LSN) error {
	refusal := pgerr.New(pgerr.InvalidParameter, "cannot skip changes of subscription %q up to %s", p.config.Subscription.Name, target)
	if target <= start {
		return refusal.WithDetail("Everything up to %s has been applied or skipped already.", start)
	}
	written, err := p.deps.Written(ctx, p.config.DSN)
	if err != nil {
		return err
	}
	if target > written {
		return refusal.WithDetail("Node %q has written up to %s only.", p.config.PeerName, written)
	}
	return nil
}

// skip moves the origin, which is what decides where a stream begins. The
// history is written in the same transaction, and before: the position of an
// origin cannot be rolled back.
func (p *Peer) skip(ctx context.Context, target lsn.LSN, pending []wire.Begin, user string) error {
	sub := p.config.Subscription
	text := fmt.Sprintf("role %q skipped %d transactions of node %q up to %s", user, len(pending), p.config.PeerName, target)
	statements := []ipc.Stmt{catalog.LimitLockWait()}
	statements = append(statements, p.event(catalog.EventSkipped, text, describeSkipped(pending))...)
	results, err := p.deps.Runner.Run(ctx, append(statements, catalog.AdvanceOrigin(sub.OriginName, target))...)
	if err != nil {
		return fmt.Errorf("advance replication origin %q: %w", sub.OriginName, err)
	}
	if len(results[len(results)-1].Rows) != 1 {
		return pgerr.New(pgerr.WrongState, "replication origin %q has moved meanwhile", sub.OriginName)
	}
	p.record.skipped(len(pending), target)
	p.deps.Log(ipc.Warning, fmt.Sprintf("subscription %q: %s", sub.Name, text), describeSkipped(pending),
		"The nodes differ by what was skipped.")
	return nil
}

func describeSkipped(pending []wire.Begin) string {
	var lines []string
	for i, b := range pending {
		if i == skippedListedMax {
			lines = append(lines, fmt.Sprintf("... and %d more", len(pending)-i))
			break
		}
		lines = append(lines, fmt.Sprintf("transaction %d, committed %s, ends at %s", b.XID,
			ipc.TimeOf(b.CommitTime).Format("2006-01-02 15:04:05.000000+00"), b.EndLSN))
	}
	return strings.Join(lines, "\n")
}

// pending lists what the peer would send after start, up to the transaction
// that ends at target, and has it send no row of these: it may be a row that it
// cannot send. It confirms nothing beyond start.
func (d Deps) pending(ctx context.Context, c Config, start, target lsn.LSN) ([]wire.Begin, error) {
	s, err := d.openWhenFree(ctx, c, start, map[string]string{"skip_upto": target.String()})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	l := lister{config: c, target: target}
	for !l.found {
		m, err := s.Receive(ctx)
		if err != nil {
			return nil, cause(ctx, err)
		}
		if err := l.message(m); err != nil {
			return nil, err
		}
		if m.Kind == stream.Keepalive {
			if err := s.Confirm(start, start, start, false); err != nil {
				return nil, err
			}
		}
	}
	return l.list, nil
}

// openWhenFree waits for the sender of the last stream, which needs a moment to end.
func (d Deps) openWhenFree(ctx context.Context, c Config, start lsn.LSN, more map[string]string) (s Stream, err error) {
	limit, cancel := context.WithTimeout(ctx, slotFreeMax)
	defer cancel()
	err = pause.While(limit, slotFreePause, pgerr.IsInUse, func() error {
		s, err = d.openStream(ctx, c, ModeNormal, start, more)
		return err
	})
	return s, err
}

// A lister follows a stream until the transaction that ends at target begins.
type lister struct {
	config  Config
	target  lsn.LSN
	tracker wire.Tracker
	list    []wire.Begin
	found   bool
}

func (l *lister) message(m stream.Message) error {
	if m.Kind == stream.Keepalive {
		if m.WALEnd >= l.target && !l.tracker.InTransaction() {
			return l.refuse(lsn.Zero)
		}
		return nil
	}
	f, err := wire.ReadFrame(m.Payload)
	if err == nil {
		err = l.tracker.Track(f, l.event)
	}
	return err
}

func (l *lister) event(e wire.Event) error {
	switch e := e.(type) {
	case wire.Message:
		if !l.found && control.IsEndOfStream(e, l.config.Subscription.OriginID) {
			return pgerr.New(pgerr.WrongState, "cannot skip changes of subscription %q", l.config.Subscription.Name).
				WithDetail("Node %q is being parted; nothing that it wrote after that is applied.", l.config.PeerName)
		}
	case wire.Begin:
		if l.found {
			return nil
		}
		if e.EndLSN > l.target {
			return l.refuse(e.EndLSN)
		}
		l.list = append(l.list, e)
		l.found = e.EndLSN == l.target
	}
	return nil
}

// refuse names the neighbours of a position at which nothing ends.
func (l *lister) refuse(next lsn.LSN) error {
	refusal := pgerr.New(pgerr.InvalidParameter, "no transaction of node %q ends at %s", l.config.PeerName, l.target).
		WithHint("Use the LSN at which the context of the error says that the transaction finished; bdr.worker_errors has it as remote_end_lsn.")
	switch n := len(l.list); {
	case n > 0:
		return refusal.WithDetail("The last transaction before it ends at %s.", l.list[n-1].EndLSN)
	case next != lsn.Zero:
		return refusal.WithDetail("The first transaction that waits ends at %s.", next)
	}
	return refusal.WithDetail("No transaction before it waits.")
}
