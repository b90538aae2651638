package upgrade

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/catalog"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/stream"
)

// Finish makes what pg_upgrade has not carried over, and lets the node act on the
// new server. What was made by a call that failed is as good.
func (u *Upgrade) Finish(ctx context.Context, _ *ipc.Request) (ipc.Rows, error) {
	r, here, err := u.underWay(ctx)
	if err != nil {
		return ipc.Rows{}, err
	}
	if err := checkFinish(r, here); err != nil {
		return ipc.Rows{}, err
	}
	if err := u.restore(ctx, r, here); err != nil {
		return ipc.Rows{}, err
	}
	if err := u.deps.Settle(ctx); err != nil {
		return ipc.Rows{}, err
	}
	return ipc.Rows{}, u.reopen(ctx)
}

// checkFinish is pure.
func checkFinish(r record, here catalog.Server) error {
	if here.SystemIdentifier == r.SystemIdentifier {
		return pgerr.New(pgerr.WrongState, "this server has not been upgraded").
			WithDetail("It is the one on which bdr.prepare_pg_upgrade() was called.").
			WithHint("Stop it and run bdr_pg_upgrade, or call bdr.cancel_pg_upgrade().")
	}
	if !r.Ready {
		return pgerr.New(pgerr.WrongState, "the node was not ready for pg_upgrade").
			WithDetail("Peers may not have all that it had committed.").
			WithHint("Start the old server again, call bdr.prepare_pg_upgrade() there, and repeat the upgrade.")
	}
	return nil
}

// restore brings origins, commit timestamps, the retention slot and the peers'
// slots.
func (u *Upgrade) restore(ctx context.Context, r record, here catalog.Server) error {
	var statements []ipc.Stmt
	for _, o := range r.Origins {
		statements = append(statements, catalog.RestoreOrigin(o))
	}
	if len(statements) > 0 {
		if _, err := u.deps.Main.Run(ctx, statements...); err != nil {
			return fmt.Errorf("restore replication origins: %w", err)
		}
	}
	if r.OldestTimestamp != 0 {
		if _, err := u.deps.Main.Run(ctx, catalog.RestoreCommitTimestamps(r.OldestTimestamp)); err != nil {
			return fmt.Errorf("restore commit timestamps: %w", err)
		}
	}
	if err := u.Hold(ctx, here); err != nil {
		return err
	}
	return u.createSlots(ctx, r.Slots, here)
}

// Hold keeps, on the new server, the dead rows that were kept before the upgrade.
func (u *Upgrade) Hold(ctx context.Context, here catalog.Server) error {
	r, found, err := u.read()
	if err != nil || !found || r.HoldXmin == 0 || here.SystemIdentifier == r.SystemIdentifier {
		return err
	}
	_, err = u.deps.Main.Run(ctx, catalog.SetHold(r.HoldXmin))
	return err
}

// createSlots makes the slots from which the peers go on, unless pg_upgrade has
// brought them along, as it does from 17 on. Nothing can have been committed here
// yet, so their place is the end of WAL.
func (u *Upgrade) createSlots(ctx context.Context, names []string, here catalog.Server) error {
	dsn, err := u.ownDSN(ctx)
	if err != nil {
		return err
	}
	conn, err := stream.Connect(ctx, dsn, stream.Replication, "bdr manager")
	if err != nil {
		return err
	}
	defer stream.HangUp(conn)
	if err := requireServer(ctx, conn, here); err != nil {
		return err
	}
	for _, name := range names {
		if _, err := stream.CreateSlot(ctx, conn, name, false); err != nil && pgerr.Code(err) != pgerr.DuplicateObject {
			return err
		}
	}
	return nil
}

func (u *Upgrade) ownDSN(ctx context.Context) (string, error) {
	local, nodes, err := catalog.ReadNodes(ctx, u.deps.Main)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(nodes, func(n catalog.Node) bool { return n.ID == local.ID })
	if i < 0 {
		return "", pgerr.New(pgerr.WrongState, "this database is not a node")
	}
	return nodes[i].DSN, nil
}

// requireServer refuses a connection that leads to another server than this: the
// node's address may still be that of the old one.
func requireServer(ctx context.Context, conn *pgconn.PgConn, here catalog.Server) error {
	results, err := conn.Exec(ctx, "IDENTIFY_SYSTEM").ReadAll()
	if err != nil {
		return pgerr.From(err)
	}
	if len(results) == 1 && len(results[0].Rows) == 1 && string(results[0].Rows[0][0]) == here.SystemIdentifier {
		return nil
	}
	return pgerr.New(pgerr.WrongState, "the node's connection string does not lead to this server").
		WithDetail("Peers would read another one.").
		WithHint("Give this server the address and port of the old one, which must not run any more.")
}
