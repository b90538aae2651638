package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
)

// Plugin is the output plugin of all our slots.
const Plugin = "bdr_output"

// SlotName names the slot on this node, whose database has the OID dboid, from
// which node reads.
func SlotName(dboid, node uint32) string { return fmt.Sprintf("bdr_%d_%d", dboid, node) }

// OriginName names the origin on this node, whose database has the OID dboid,
// that tracks what came from node. bdr_output knows the form.
func OriginName(dboid, node uint32) string { return fmt.Sprintf("bdr_%d_%d", dboid, node) }

// MessageOrigin names the origin that tells our messages in WAL from those of
// users; extension/base/wal_message.c writes under it. It must have committed before
// the first message.
func MessageOrigin(dboid uint32) string { return fmt.Sprintf("bdr_%d_message", dboid) }

// HoldName names the slot that keeps dead rows of a database; extension/version/retention_slot.c
// makes it.
func HoldName(dboid uint32) string { return fmt.Sprintf("bdr_%d_hold", dboid) }

// A Slot is a new replication slot.
type Slot struct {
	Name            string
	ConsistentPoint lsn.LSN // transactions that commit after it are sent
	Snapshot        string  // exported snapshot, until the connection's next command; may be empty
}

// failoverVersion is the first whose standbys can have the logical slots of their
// primary.
const failoverVersion = 170000

// CreateSlot makes a logical slot over a replication connection. It waits for
// the transactions that run on that server at the moment. Standbys of the server
// may have the slot (docs/decisions/0022-failover-slots.md).
func CreateSlot(ctx context.Context, conn *pgconn.PgConn, name string, exportSnapshot bool) (Slot, error) {
	options := "SNAPSHOT 'nothing'"
	if exportSnapshot {
		options = "SNAPSHOT 'export'"
	}
	if VersionOf(conn) >= failoverVersion {
		options += ", FAILOVER"
	}
	results, err := conn.Exec(ctx, fmt.Sprintf("CREATE_REPLICATION_SLOT %s LOGICAL %s (%s)", quoteName(name), Plugin, options)).ReadAll()
	if err != nil {
		return Slot{}, fmt.Errorf("create replication slot %q: %w", name, pgerr.From(err))
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) < 3 {
		return Slot{}, fmt.Errorf("create replication slot %q: unexpected answer", name)
	}
	row := results[0].Rows[0]
	point, err := lsn.Parse(string(row[1]))
	if err != nil {
		return Slot{}, fmt.Errorf("create replication slot %q: %w", name, err)
	}
	return Slot{Name: string(row[0]), ConsistentPoint: point, Snapshot: string(row[2])}, nil
}

// DropSlot drops a slot over a replication connection; one that does not exist
// is no error. With wait it waits for a sender that still uses the slot.
func DropSlot(ctx context.Context, conn *pgconn.PgConn, name string, wait bool) error {
	command := "DROP_REPLICATION_SLOT " + quoteName(name)
	if wait {
		command += " WAIT"
	}
	_, err := conn.Exec(ctx, command).ReadAll()
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == pgerr.UndefinedObject {
		return nil
	}
	if err != nil {
		return fmt.Errorf("drop replication slot %q: %w", name, pgerr.From(err))
	}
	return nil
}

func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func quoteText(text string) string { return `'` + strings.ReplaceAll(text, `'`, `''`) + `'` }
