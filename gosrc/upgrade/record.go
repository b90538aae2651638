package upgrade

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"bdr/gosrc/catalog"
	"bdr/gosrc/durable"
	"bdr/gosrc/pgerr"
)

// recordFile lies in the run directory while an upgrade is under way. C fences the
// database in which it finds one (extension/session/pg_upgrade.c), and
// bdr_pg_upgrade looks for its "ready".
const recordFile = "upgrade"

// A record is what pg_upgrade does not carry over, as of the time from which on
// nothing of it changes.
type record struct {
	Ready            bool             `json:"ready"` // false: peers may not have all yet
	SystemIdentifier string           `json:"system_identifier"`
	ServerVersion    string           `json:"server_version"`          // server_version_num
	HoldXmin         uint64           `json:"hold_xmin"`               // of the retention slot; 0: none
	OldestTimestamp  uint32           `json:"oldest_commit_timestamp"` // the transaction
	Slots            []string         `json:"slots"`                   // that peers read
	Origins          []catalog.Origin `json:"origins"`                 // of all databases, by number
}

// read returns false where no upgrade is under way.
func (u *Upgrade) read() (record, bool, error) {
	var r record
	err := durable.Read(u.path(), &r)
	if errors.Is(err, os.ErrNotExist) {
		return r, false, nil
	}
	if err != nil {
		return r, false, fmt.Errorf("read the state of the upgrade from %q: %w", u.path(), err)
	}
	return r, true, nil
}

func (u *Upgrade) path() string { return filepath.Join(u.deps.RunDirectory, recordFile) }

func (u *Upgrade) write(r record) error {
	if err := durable.Write(u.path(), r); err != nil {
		return fmt.Errorf("write the state of the upgrade: %w", err)
	}
	return nil
}

// remove ends the upgrade.
func (u *Upgrade) remove() error {
	if err := durable.Remove(u.path()); err != nil {
		return fmt.Errorf("remove the state of the upgrade: %w", err)
	}
	return nil
}

// Refusal says why the node must not act; nil: no upgrade is under way.
func (u *Upgrade) Refusal(here catalog.Server) (*pgerr.Error, error) {
	r, found, err := u.read()
	if err != nil || !found {
		return nil, err
	}
	refusal := pgerr.New(pgerr.WrongState, "this node is being upgraded")
	switch {
	case here.SystemIdentifier != r.SystemIdentifier:
		return refusal.WithDetail("pg_upgrade has made this server of one that ran version %s.", r.ServerVersion).
			WithHint("Call bdr.finish_pg_upgrade()."), nil
	case !r.Ready:
		return refusal.WithDetail("bdr.prepare_pg_upgrade() was interrupted.").
			WithHint("Call bdr.cancel_pg_upgrade(), and prepare the node again."), nil
	}
	return refusal.WithDetail("It is prepared for pg_upgrade.").
		WithHint("Stop the server and run bdr_pg_upgrade, or call bdr.cancel_pg_upgrade() if there is no upgraded server."), nil
}
