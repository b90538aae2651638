package upgrade

import (
	"context"
	"fmt"
	"strings"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
	"bdr/gosrc/pause"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/stream"
)

// Prepare takes a node to where pg_upgrade may run. What fails, or is cancelled,
// leaves it as it was.
func (u *Upgrade) Prepare(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	if r.InTransaction {
		return ipc.Rows{}, pgerr.New(pgerr.ActiveTransaction, "%s() cannot run inside a transaction block", r.Function)
	}
	here, err := u.server(ctx)
	if err != nil {
		return ipc.Rows{}, err
	}
	slots, err := u.check(ctx)
	if err != nil {
		return ipc.Rows{}, err
	}
	made := record{SystemIdentifier: here.SystemIdentifier, ServerVersion: here.Version, Slots: slots}
	if err := u.write(made); err != nil {
		return ipc.Rows{}, err
	}
	if err := u.prepare(ctx, r, made); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		if undoErr := u.reopen(undo); undoErr != nil {
			u.deps.Main.Log(ipc.Warning, "could not give up the upgrade of this node", pgerr.From(undoErr).Error(),
				"Call bdr.cancel_pg_upgrade().")
		}
		return ipc.Rows{}, err
	}
	return ipc.Rows{}, r.Notice(ipc.Notice, "the node is ready for pg_upgrade: stop the server and run bdr_pg_upgrade")
}

// check returns the slots that peers read.
func (u *Upgrade) check(ctx context.Context) ([]string, error) {
	local, refusal := u.deps.Node()
	if refusal != nil {
		return nil, refusal
	}
	slots, err := peerSlots(u.deps.DatabaseOID, local.ID, u.deps.Cluster())
	if err != nil {
		return nil, err
	}
	results, err := u.deps.Main.Run(ctx, catalog.SelectAllOrigins(), catalog.SelectPrepared(), catalog.SelectSlotsBehind(slots, 0))
	if err != nil {
		return nil, err
	}
	origins, err := catalog.Origins(results[0])
	if err != nil {
		return nil, err
	}
	return slots, checkServer(origins, catalog.Texts(results[1]), catalog.Texts(results[2]))
}

// peerSlots are those of the other nodes. It is pure.
func peerSlots(dboid, local uint32, c cluster.Cluster) ([]string, error) {
	self, member := c.Node(local)
	if !member || self.State != cluster.Active {
		return nil, pgerr.New(pgerr.WrongState, "the local node is not an active member of a node group").
			WithHint("A node that is in no group needs no preparation: drop it, upgrade the server, and create it again.")
	}
	var slots []string
	for _, n := range c.Peers(local, func(s cluster.State) bool { return s != cluster.Parted }) {
		if n.State != cluster.Active {
			return nil, pgerr.New(pgerr.WrongState, "node %q is not active", n.Name).
				WithDetail("It %s.", cluster.Phrase(n.State)).
				WithHint("Wait until it has joined or been parted.")
		}
		slots = append(slots, stream.SlotName(dboid, n.ID))
	}
	return slots, nil
}

// checkServer refuses what could not be made good after pg_upgrade. It is pure.
func checkServer(origins []catalog.Origin, prepared, unread []string) error {
	for _, o := range origins {
		if o.IsOfSubscription() {
			return pgerr.New(pgerr.WrongState, "the server has subscriptions of native logical replication").
				WithDetail("pg_upgrade gives their replication origins other numbers, perhaps ours: %q is one.", o.Name).
				WithHint("Drop the subscriptions, in all databases, and create them again after the upgrade.")
		}
	}
	if len(prepared) > 0 {
		return pgerr.New(pgerr.WrongState, "the server has prepared transactions").
			WithDetail("pg_upgrade refuses them: %s.", strings.Join(prepared, ", ")).
			WithHint("COMMIT PREPARED or ROLLBACK PREPARED each of them.")
	}
	if len(unread) > 0 {
		return pgerr.New(pgerr.WrongState, "not all peers are connected to this node").
			WithDetail("Slots: %s.", strings.Join(unread, ", ")).
			WithHint("Wait until they are, or part nodes that are gone: what a peer has not read when the server stops it never gets.")
	}
	return nil
}

// prepare goes through the steps, each of which nothing that was undone before it
// can pass: commits of users, then ours, then what the peers have not read.
func (u *Upgrade) prepare(ctx context.Context, r *ipc.Request, made record) error {
	if _, err := u.deps.Main.Run(ctx, catalog.SetFence(true)); err != nil {
		return err
	}
	if err := u.awaitTransactions(ctx, r); err != nil {
		return err
	}
	if err := u.deps.Reconsider(ctx); err != nil {
		return err
	}
	if err := u.awaitWriters(ctx); err != nil {
		return err
	}
	if err := u.awaitPeers(ctx, r, made.Slots); err != nil {
		return err
	}
	results, err := u.deps.Main.Run(ctx, catalog.SelectAllOrigins(), catalog.SelectSample(), catalog.SelectPrepared(),
		catalog.SelectOldestCommitTimestamp())
	if err != nil {
		return err
	}
	if made.Origins, err = catalog.Origins(results[0]); err != nil {
		return err
	}
	sample, err := catalog.SampleOf(results[1])
	if err != nil {
		return err
	}
	if err := checkServer(made.Origins, catalog.Texts(results[2]), nil); err != nil {
		return err
	}
	if made.OldestTimestamp, err = catalog.TransactionOf(results[3]); err != nil {
		return err
	}
	made.HoldXmin, made.Ready = sample.HoldXmin, true
	return u.write(made)
}

// awaitTransactions waits for those that may not have seen the fence.
func (u *Upgrade) awaitTransactions(ctx context.Context, r *ipc.Request) error {
	fenced, err := u.sample(ctx)
	if err != nil {
		return err
	}
	return u.await(ctx, r, func() (string, error) {
		now, err := u.sample(ctx)
		if err != nil || now.Xmin >= fenced.Next {
			return "", err
		}
		results, err := u.deps.Main.Run(ctx, catalog.SelectBlockers())
		if err != nil {
			return "", err
		}
		return "transactions that had begun: " + strings.Join(catalog.Texts(results[0]), "; "), nil
	})
}

func (u *Upgrade) sample(ctx context.Context) (catalog.Sample, error) {
	results, err := u.deps.Main.Run(ctx, catalog.SelectSample())
	if err != nil {
		return catalog.Sample{}, err
	}
	return catalog.SampleOf(results[0])
}

// awaitWriters waits until nothing of the peers is applied any more, and no dead
// rows are let go of.
func (u *Upgrade) awaitWriters(ctx context.Context) error {
	return u.await(ctx, nil, func() (string, error) {
		results, err := u.deps.Main.Run(ctx, catalog.SelectWriters())
		if err != nil || u.deps.Idle() && len(results[0].Rows) == 0 {
			return "", err
		}
		return "writers", nil
	})
}

// awaitPeers waits until every peer has confirmed all that is in WAL.
func (u *Upgrade) awaitPeers(ctx context.Context, r *ipc.Request, slots []string) error {
	results, err := u.deps.Main.Run(ctx, catalog.AssignTransaction(), catalog.SelectInsertPosition())
	if err != nil {
		return err
	}
	end, err := catalog.Position(results[1])
	if err != nil {
		return err
	}
	return u.await(ctx, r, func() (string, error) { return u.behind(ctx, slots, end) })
}

func (u *Upgrade) behind(ctx context.Context, slots []string, end lsn.LSN) (string, error) {
	results, err := u.deps.Main.Run(ctx, catalog.SelectSlotsBehind(slots, end))
	if err != nil || len(results[0].Rows) == 0 {
		return "", err
	}
	return "peers that have not read all: " + strings.Join(catalog.Texts(results[0]), ", "), nil
}

// await looks until nothing is missing, and now and then says what is.
func (u *Upgrade) await(ctx context.Context, r *ipc.Request, look func() (missing string, err error)) error {
	said := time.Now()
	for {
		missing, err := look()
		if err != nil || missing == "" {
			return err
		}
		if r != nil && time.Since(said) > noticePeriod {
			_ = r.Notice(ipc.Notice, "waiting for %s", missing) // a backend that is gone ends ctx
			said = time.Now()
		}
		if !pause.For(ctx, lookPeriod) {
			return fmt.Errorf("wait for %s: %w", missing, ctx.Err())
		}
	}
}
