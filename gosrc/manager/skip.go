package manager

import (
	"context"
	"slices"

	"bdr/gosrc/catalog"
	"bdr/gosrc/hand"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/replicate"
	"bdr/gosrc/stream"
	"bdr/gosrc/wire"
)

// skipChanges answers bdr.alter_subscription_skip_changes_upto(subname,
// skip_upto_and_including).
func (m *Manager) skipChanges(ctx context.Context, r *hand.Request) (hand.Rows, error) {
	if err := m.checkAlter(r, false); err != nil {
		return hand.Rows{}, err
	}
	if r.Null(0) || r.Null(1) {
		return hand.Rows{}, pgerr.New(pgerr.InvalidParameter, "subscription name and LSN must not be NULL")
	}
	target, err := lsn.Parse(r.Arg(1))
	if err != nil {
		return hand.Rows{}, err
	}
	peer, err := m.pausedPeer(ctx, r.Arg(0))
	if err != nil {
		return hand.Rows{}, err
	}
	skipped, err := peer.Skip(ctx, target, r.User)
	if err != nil {
		return hand.Rows{}, err
	}
	return hand.Rows{}, noticeSkipped(r, peer, skipped)
}

// pausedPeer finds a subscription that is disabled, but not for good.
func (m *Manager) pausedPeer(ctx context.Context, name string) (*replicate.Peer, error) {
	rows, err := m.peers.rows(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(rows, func(s catalog.Subscription) bool { return s.Name == name })
	if i < 0 {
		return nil, errNoSubscription(name)
	}
	peer := m.peers.bySubscription(rows[i].ID)
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
func noticeSkipped(r *hand.Request, peer *replicate.Peer, skipped []wire.Begin) error {
	last := skipped[len(skipped)-1]
	if len(skipped) == 1 {
		return r.Notice(hand.Notice, "skipped transaction %d of node %q", last.XID, peer.Config().PeerName)
	}
	return r.Notice(hand.Warning, "skipped %d transactions of node %q: transaction %d and everything before it",
		len(skipped), peer.Config().PeerName, last.XID)
}

// written asks a peer how far its WAL is.
func written(ctx context.Context, dsn string) (lsn.LSN, error) {
	conn, err := stream.Connect(ctx, dsn, stream.Command, "bdr")
	if err != nil {
		return lsn.Zero, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	results, err := catalog.Over(conn).Run(ctx, catalog.SelectFlushPosition())
	if err != nil {
		return lsn.Zero, err
	}
	return catalog.Position(results[0])
}
