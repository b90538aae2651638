// Package upgrade takes a node through pg_upgrade: it stays the node that it is,
// and its peers' streams go on where they were.
//
// Before, nothing more is committed, the peers read all that was, and what
// pg_upgrade does not carry over is written down: the numbers and positions of
// origins, which slots there are, and which dead rows are kept. Afterwards it is
// made again, and only then may anything be committed (docs/decisions/0023).
package upgrade

import (
	"context"
	"time"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
)

const (
	lookPeriod   = 100 * time.Millisecond
	noticePeriod = 5 * time.Second
	undoTimeout  = 10 * time.Second
)

// Deps is what the manager hands down.
type Deps struct {
	Main         *ipc.Main
	RunDirectory string
	DatabaseOID  uint32
	Node         func() (catalog.LocalNode, *pgerr.Error)
	Cluster      func() cluster.Cluster
	Idle         func() bool // no subscription runs, and nothing lets go of dead rows
	// Reconsider finds out once more whether the node may act.
	Reconsider func(ctx context.Context) error
	// Settle makes this data directory the place where the node lives.
	Settle func(ctx context.Context) error
}

// Upgrade answers the SQL functions.
type Upgrade struct {
	deps Deps
}

// New makes an Upgrade.
func New(deps Deps) *Upgrade { return &Upgrade{deps} }

// server reads which server this is.
func (u *Upgrade) server(ctx context.Context) (catalog.Server, error) {
	results, err := u.deps.Main.Run(ctx, catalog.SelectServer())
	if err != nil {
		return catalog.Server{}, err
	}
	return catalog.ServerOf(results[0])
}

// reopen lets the node act, and sessions commit.
func (u *Upgrade) reopen(ctx context.Context) error {
	if err := u.remove(); err != nil {
		return err
	}
	if _, err := u.deps.Main.Run(ctx, catalog.SetFence(false)); err != nil {
		return err
	}
	return u.deps.Reconsider(ctx)
}

// Cancel lets a node that was prepared go on as it was.
func (u *Upgrade) Cancel(ctx context.Context, _ *ipc.Request) (ipc.Rows, error) {
	r, here, err := u.underWay(ctx)
	if err != nil {
		return ipc.Rows{}, err
	}
	if here.SystemIdentifier != r.SystemIdentifier {
		return ipc.Rows{}, pgerr.New(pgerr.WrongState, "pg_upgrade has run already").
			WithHint("Call bdr.finish_pg_upgrade(), or start the old server and cancel the upgrade there.")
	}
	return ipc.Rows{}, u.reopen(ctx)
}

// underWay reads the upgrade that has begun, and which server this is.
func (u *Upgrade) underWay(ctx context.Context) (record, catalog.Server, error) {
	r, found, err := u.read()
	if err == nil && !found {
		err = pgerr.New(pgerr.WrongState, "no upgrade of this node is under way").
			WithHint("bdr.prepare_pg_upgrade() begins one, on the server that is to be upgraded.")
	}
	if err != nil {
		return r, catalog.Server{}, err
	}
	here, err := u.server(ctx)
	return r, here, err
}
