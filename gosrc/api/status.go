package api

import (
	"context"
	"strconv"

	"bdr/gosrc/catalog"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/replicate"
)

// subscriptionStatus answers bdr.internal_subscription_status().
func (a *API) subscriptionStatus(context.Context, *ipc.Request) (ipc.Rows, error) {
	rows := ipc.Rows{Columns: len(statusRow(replicate.Status{}))}
	for _, s := range a.deps.Subscriptions.Status() {
		rows.Values = append(rows.Values, statusRow(s))
	}
	return rows, nil
}

// statusRow has the columns of the function, in their order.
func statusRow(s replicate.Status) []*string {
	row := []*string{
		ipc.Number(uint64(s.SubID)), ipc.Text(string(s.State)), ipc.Positive(uint64(s.WriterPID)),
		ipc.Position(s.Received), ipc.Position(s.Committed),
		ipc.Position(s.Applied), ipc.Position(s.Flushed), ipc.CommitTime(s.AppliedTime),
		ipc.Number(s.Connects), ipc.Number(s.Counts.Commits), ipc.Number(s.Errors), ipc.Number(s.Retries), ipc.Number(s.Skipped),
		ipc.Number(s.Counts.Inserts), ipc.Number(s.Counts.Updates), ipc.Number(s.Counts.Deletes), ipc.Number(s.Counts.Truncates),
		ipc.Number(s.Counts.Conflicts),
		ipc.Moment(s.ConnectTime), ipc.Moment(s.DisconnectTime), ipc.Position(s.Start),
		ipc.NonEmpty(s.LastError), ipc.Moment(s.LastErrorTime),
		meanApplyTime(s.Counts), ipc.Number(s.Counts.Aborts), ipc.Number(s.Counts.Deadlocks), ipc.Number(s.Counts.Duplicates), ipc.Number(s.CurrentCommits),
	}
	row = append(row, failureColumns(s.Failure)...)
	return append(row, ipc.Milliseconds(s.ClockDrift), ipc.Moment(s.ResetTime), ipc.CommitTime(s.Watermark.Time))
}

// failureColumns describes what stops a subscription now; all NULL if nothing
// does.
func failureColumns(f *replicate.Failure) []*string {
	columns := make([]*string, 14)
	if f == nil {
		return columns
	}
	columns = []*string{ipc.NonEmpty(f.Fault.Code), ipc.NonEmpty(f.Fault.Message), ipc.NonEmpty(f.Fault.Detail), ipc.NonEmpty(f.Fault.Hint), ipc.NonEmpty(f.Fault.Context),
		ipc.Moment(f.Began), ipc.Number(f.Retries), ipc.Moment(f.NextTry), nil, nil, nil, nil, ipc.NonEmpty(f.Schema), ipc.NonEmpty(f.Relation)}
	if f.IsChange() {
		columns[8], columns[9] = ipc.Number(uint64(f.XID)), ipc.Position(f.End)
		columns[10], columns[11] = ipc.CommitTime(f.Commit), ipc.Number(uint64(f.Change))
	}
	return columns
}

// meanApplyTime is in milliseconds; NULL before the first transaction.
func meanApplyTime(c replicate.Counts) *string {
	if c.Commits == 0 {
		return nil
	}
	mean := float64(c.ApplyTime.Microseconds()) / 1000 / float64(c.Commits)
	return ipc.Text(strconv.FormatFloat(mean, 'f', 3, 64))
}

// resetStatistics answers bdr.reset_subscription_stats().
func (a *API) resetStatistics(context.Context, *ipc.Request) (ipc.Rows, error) {
	a.deps.Subscriptions.ResetStatistics()
	return ipc.Value("t"), nil
}

// enableSubscription answers bdr.alter_subscription_enable(name, immediate).
func (a *API) enableSubscription(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	n, _, err := a.alterSubscription(ctx, r, true, (*replicate.Peer).Enable)
	if err != nil {
		return ipc.Rows{}, err
	}
	return ipc.Value(strconv.Itoa(n)), nil
}

// disableSubscription answers bdr.alter_subscription_disable(name, immediate,
// fast). When it returns, nothing more is applied.
func (a *API) disableSubscription(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	n, paused, err := a.alterSubscription(ctx, r, false, func(peer *replicate.Peer) { peer.Disable(r.Bool(2, true)) })
	if err != nil {
		return ipc.Rows{}, err
	}
	for _, peer := range paused {
		if err := peer.WaitPaused(ctx); err != nil {
			return ipc.Rows{}, err
		}
	}
	return ipc.Value(strconv.Itoa(n)), nil
}

// alterSubscription writes the rows, in a transaction of its own: a manager
// cannot wait for the end of the caller's. So the change is there at once, and
// stays when the caller rolls back. It returns how many rows there were, and
// those of the subscriptions that run, after tell has told them.
func (a *API) alterSubscription(ctx context.Context, r *ipc.Request, enabled bool, tell func(*replicate.Peer)) (int, []*replicate.Peer, error) {
	if err := a.checkAlter(r, r.Bool(1, false)); err != nil {
		return 0, nil, err
	}
	done, err := a.deps.Subscriptions.Decide(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer done()
	ids, err := a.writeEnabled(ctx, r, enabled)
	if err != nil {
		return 0, nil, err
	}
	var told []*replicate.Peer
	for _, id := range ids {
		if peer := a.deps.Subscriptions.BySubscription(id); peer != nil {
			tell(peer)
			told = append(told, peer)
		}
	}
	return len(ids), told, nil
}

func (a *API) writeEnabled(ctx context.Context, r *ipc.Request, enabled bool) ([]uint32, error) {
	results, err := a.deps.Main.Run(ctx, catalog.LimitLockWait(), catalog.EnableSubscription(r.Arg(0), enabled))
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

func (a *API) checkAlter(r *ipc.Request, immediate bool) error {
	if local, _ := a.deps.Node(); local == (catalog.LocalNode{}) {
		return pgerr.New(pgerr.WrongState, "this database is not a node").
			WithHint("Call bdr.create_node() first.")
	}
	if !r.InTransaction {
		return nil
	}
	if immediate {
		return pgerr.New(pgerr.ActiveTransaction, "%s with immediate cannot run inside a transaction block", r.Function)
	}
	return r.Notice(ipc.Notice, "the change takes effect at once and stays if this transaction is rolled back")
}
