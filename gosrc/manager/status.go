package manager

import (
	"context"
	"strconv"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/hand"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/replicate"
)

// subscriptionStatus answers bdr.internal_subscription_status().
func (m *Manager) subscriptionStatus(context.Context, *hand.Request) (hand.Rows, error) {
	rows := hand.Rows{Columns: len(statusRow(replicate.Status{}))}
	for _, s := range m.peers.Status() {
		rows.Values = append(rows.Values, statusRow(s))
	}
	return rows, nil
}

// statusRow has the columns of the function, in their order.
func statusRow(s replicate.Status) []*string {
	row := []*string{
		number(uint64(s.SubID)), hand.Text(string(s.State)), positive(uint64(s.WriterPID)),
		position(s.Received), position(s.Committed),
		position(s.Applied), position(s.Flushed), commitTime(s.AppliedTime),
		number(s.Connects), number(s.Counts.Commits), number(s.Errors), number(s.Retries), number(s.Skipped),
		number(s.Counts.Inserts), number(s.Counts.Updates), number(s.Counts.Deletes), number(s.Counts.Truncates),
		number(s.Counts.Conflicts),
		moment(s.ConnectTime), moment(s.DisconnectTime), position(s.Start),
		text(s.LastError), moment(s.LastErrorTime),
		meanApplyTime(s.Counts), number(s.Counts.Aborts), number(s.Counts.Deadlocks), number(s.Counts.Duplicates), number(s.CurrentCommits),
	}
	row = append(row, failureColumns(s.Failure)...)
	return append(row, milliseconds(s.ClockDrift), moment(s.ResetTime), commitTime(s.Watermark.Time))
}

// failureColumns describes what stops a subscription now; all NULL if nothing
// does.
func failureColumns(f *replicate.Failure) []*string {
	columns := make([]*string, 14)
	if f == nil {
		return columns
	}
	columns = []*string{text(f.Fault.Code), text(f.Fault.Message), text(f.Fault.Detail), text(f.Fault.Hint), text(f.Fault.Context),
		moment(f.Began), number(f.Retries), moment(f.NextTry), nil, nil, nil, nil, text(f.Schema), text(f.Relation)}
	if f.IsChange() {
		columns[8], columns[9] = number(uint64(f.XID)), position(f.End)
		columns[10], columns[11] = commitTime(f.Commit), number(uint64(f.Change))
	}
	return columns
}

// meanApplyTime is in milliseconds; NULL before the first transaction.
func meanApplyTime(c replicate.Counts) *string {
	if c.Commits == 0 {
		return nil
	}
	mean := float64(c.ApplyTime.Microseconds()) / 1000 / float64(c.Commits)
	return hand.Text(strconv.FormatFloat(mean, 'f', 3, 64))
}

// resetStatistics answers bdr.reset_subscription_stats().
func (m *Manager) resetStatistics(context.Context, *hand.Request) (hand.Rows, error) {
	m.peers.resetStatistics()
	return hand.Value("t"), nil
}

func number(n uint64) *string { return hand.Text(strconv.FormatUint(n, 10)) }

// positive shows zero as NULL.
func positive(n uint64) *string {
	if n == 0 {
		return nil
	}
	return number(n)
}

func position(l lsn.LSN) *string {
	if l == lsn.Zero {
		return nil
	}
	return hand.Text(l.String())
}

func milliseconds(d *time.Duration) *string {
	if d == nil {
		return nil
	}
	return hand.Text(strconv.FormatInt(d.Milliseconds(), 10))
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func moment(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return hand.Text(t.UTC().Format("2006-01-02 15:04:05.999999+00"))
}

// commitTime turns a timestamp of the server into its text form.
func commitTime(microseconds int64) *string {
	if microseconds == 0 {
		return nil
	}
	epoch := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	return moment(time.UnixMicro(epoch.UnixMicro() + microseconds))
}

// enableSubscription answers bdr.alter_subscription_enable(name, immediate).
func (m *Manager) enableSubscription(ctx context.Context, r *hand.Request) (hand.Rows, error) {
	n, _, err := m.alterSubscription(ctx, r, true, (*replicate.Peer).Enable)
	if err != nil {
		return hand.Rows{}, err
	}
	return hand.Value(strconv.Itoa(n)), nil
}

// disableSubscription answers bdr.alter_subscription_disable(name, immediate,
// fast). When it returns, nothing more is applied.
func (m *Manager) disableSubscription(ctx context.Context, r *hand.Request) (hand.Rows, error) {
	n, paused, err := m.alterSubscription(ctx, r, false, func(peer *replicate.Peer) { peer.Disable(r.Bool(2, true)) })
	if err != nil {
		return hand.Rows{}, err
	}
	for _, peer := range paused {
		if err := peer.WaitPaused(ctx); err != nil {
			return hand.Rows{}, err
		}
	}
	return hand.Value(strconv.Itoa(n)), nil
}

// alterSubscription writes the rows, in a transaction of its own: a manager
// cannot wait for the end of the caller's. So the change is there at once, and
// stays when the caller rolls back. It returns how many rows there were, and
// those of the subscriptions that run, after tell has told them.
func (m *Manager) alterSubscription(ctx context.Context, r *hand.Request, enabled bool, tell func(*replicate.Peer)) (int, []*replicate.Peer, error) {
	if err := m.checkAlter(r, r.Bool(1, false)); err != nil {
		return 0, nil, err
	}
	done, err := m.peers.decide(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer done()
	ids, err := m.writeEnabled(ctx, r, enabled)
	if err != nil {
		return 0, nil, err
	}
	var told []*replicate.Peer
	for _, id := range ids {
		if peer := m.peers.bySubscription(id); peer != nil {
			tell(peer)
			told = append(told, peer)
		}
	}
	return len(ids), told, nil
}

func (m *Manager) writeEnabled(ctx context.Context, r *hand.Request, enabled bool) ([]uint32, error) {
	results, err := m.main.Run(ctx, catalog.LimitLockWait(), catalog.EnableSubscription(r.Arg(0), enabled))
	if err != nil {
		return nil, err
	}
	ids, err := catalog.SubscriptionIDs(results[1])
	if err == nil && len(ids) == 0 && !r.Null(0) {
		return nil, errNoSubscription(r.Arg(0))
	}
	return ids, err
}

func errNoSubscription(name string) *pgerr.Error {
	return pgerr.New(pgerr.UndefinedObject, "subscription %q does not exist", name).
		WithHint("The view bdr.subscription_summary lists the subscriptions of this node.")
}

func (m *Manager) checkAlter(r *hand.Request, immediate bool) error {
	if local, _ := m.node(); local == (catalog.LocalNode{}) {
		return pgerr.New(pgerr.WrongState, "this database is not a node").
			WithHint("Call bdr.create_node() first.")
	}
	if !r.InTransaction {
		return nil
	}
	if immediate {
		return pgerr.New(pgerr.ActiveTransaction, "%s with immediate cannot run inside a transaction block", r.Function)
	}
	return r.Notice(hand.Notice, "the change takes effect at once and stays if this transaction is rolled back")
}
