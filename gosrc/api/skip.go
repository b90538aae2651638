package api

import (
	"context"
	"slices"

	"bdr/gosrc/catalog"
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/replicate"
	"bdr/gosrc/wire"
)

// skipChanges answers bdr.alter_subscription_skip_changes_upto(subname,
// skip_upto_and_including).
func (a *API) skipChanges(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	if err := a.checkAlter(r, false); err != nil {
		return ipc.Rows{}, err
	}
	if r.Null(0) || r.Null(1) {
		return ipc.Rows{}, pgerr.New(pgerr.InvalidParameter, "subscription name and LSN must not be NULL")
	}
	target, err := lsn.Parse(r.Arg(1))
	if err != nil {
		return ipc.Rows{}, err
	}
	peer, err := a.pausedPeer(ctx, r.Arg(0))
	if err != nil {
		return ipc.Rows{}, err
	}
	skipped, err := peer.Skip(ctx, target, r.User)
	if err != nil {
		return ipc.Rows{}, err
	}
	return ipc.Rows{}, noticeSkipped(r, peer, skipped)
}

// pausedPeer finds a subscription that is disabled, but not for good.
func (a *API) pausedPeer(ctx context.Context, name string) (*replicate.Peer, error) {
	rows, err := a.deps.Subscriptions.Rows(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(rows, func(s catalog.Subscription) bool { return s.Name == name })
	if i < 0 {
		return nil, errNoSubscription(name)
	}
	peer := a.deps.Subscriptions.BySubscription(rows[i].ID)
	switch {
	case rows[i].Enabled:
		return nil, pgerr.New(pgerr.WrongState, "subscription %q is enabled", name).
			WithHint("Call bdr.alter_subscription_disable() first.")
	case rows[i].Mode == catalog.ModeEnded || peer == nil:
		return nil, pgerr.New(pgerr.WrongState, "subscription %q has ended", name).
			WithDetail("Its node is being parted.")
	}
	return peer, nil
}

// noticeSkipped warns when more was skipped than one transaction.
func noticeSkipped(r *ipc.Request, peer *replicate.Peer, skipped []wire.Begin) error {
	last := skipped[len(skipped)-1]
	if len(skipped) == 1 {
		return r.Notice(ipc.Notice, "skipped transaction %d of node %q", last.XID, peer.Config().PeerName)
	}
	return r.Notice(ipc.Warning, "skipped %d transactions of node %q: transaction %d and everything before it",
		len(skipped), peer.Config().PeerName, last.XID)
}
