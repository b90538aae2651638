package catalog

import (
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
)

// SelectSlots reads the names of our slots of this database.
func SelectSlots() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT slot_name::text FROM pg_catalog.pg_replication_slots
 WHERE database = pg_catalog.current_database() AND plugin = 'bdr_output' AND slot_name LIKE 'bdr\_%' ORDER BY 1`}
}

// SelectOrigins reads the names of our origins of this database.
func SelectOrigins(dboid uint32) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT roname FROM pg_catalog.pg_replication_origin
 WHERE pg_catalog.starts_with(roname, 'bdr_' || $1 || '_') ORDER BY 1`, Args: []any{dboid}}
}

// TerminateSlotUser ends the sender that uses a slot.
func TerminateSlotUser(name string) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pg_catalog.pg_terminate_backend(active_pid) FROM pg_catalog.pg_replication_slots
 WHERE slot_name = $1 AND active_pid IS NOT NULL`, Args: []any{name}}
}

// DropSlot drops a slot if it exists. It is an error while a sender uses it.
func DropSlot(name string) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots
 WHERE slot_name = $1`, Args: []any{name}}
}

// SelectSlotExists reads whether a slot is there.
func SelectSlotExists(name string) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_name = $1)`, Args: []any{name}}
}

// SelectInsertPosition reads the end of this node's WAL.
func SelectInsertPosition() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pg_catalog.pg_current_wal_insert_lsn()`}
}

// A Barrier is a place in a node's WAL behind which everything is newer than some
// time. Times are microseconds since 2000.
type Barrier struct {
	Clock    int64   // nothing that was there is newer
	Position lsn.LSN // 0: the clock has not passed that time yet
}

// SelectBarrier looks for a place behind which all commits are newer than after.
func SelectBarrier(after int64) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT b.clock, b.position FROM bdr.internal_barrier($1::bigint) b`, Args: []any{after}}
}

// BarrierOf decodes what SelectBarrier returned.
func BarrierOf(r ipc.Result) (Barrier, error) {
	if len(r.Rows) == 0 {
		return Barrier{}, (&columns{}).done()
	}
	c := columns{row: r.Rows[0]}
	b := Barrier{Clock: c.integer(), Position: c.lsn()}
	return b, c.done()
}

// SelectFlushPosition reads how far a node's WAL is on disk.
func SelectFlushPosition() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pg_catalog.pg_current_wal_flush_lsn()`}
}

// Position decodes a result of one LSN.
func Position(r ipc.Result) (lsn.LSN, error) {
	if len(r.Rows) == 0 {
		return 0, (&columns{}).done()
	}
	c := columns{row: r.Rows[0]}
	at := c.lsn()
	return at, c.done()
}

// SelectOriginPositions reads how far each of our origins is, in memory: what
// is in WAL already, flushed or not.
func SelectOriginPositions(dboid uint32) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT roname, COALESCE(pg_catalog.pg_replication_origin_progress(roname, false), '0/0')
 FROM pg_catalog.pg_replication_origin WHERE pg_catalog.starts_with(roname, 'bdr_' || $1 || '_')`, Args: []any{dboid}}
}

// OriginPositions decodes what SelectOriginPositions returned.
func OriginPositions(r ipc.Result) (map[string]lsn.LSN, error) {
	positions := make(map[string]lsn.LSN, len(r.Rows))
	for _, row := range r.Rows {
		c := columns{row: row}
		name := c.text()
		positions[name] = c.lsn()
		if err := c.done(); err != nil {
			return nil, err
		}
	}
	return positions, nil
}

// EmitMessage writes one of our messages to WAL, outside of any transaction.
func EmitMessage(content string) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT bdr.internal_message($1)`, Args: []any{content}}
}

// SelectBlockers reads the oldest transactions for which a new slot waits, of all
// databases, and what ends each.
func SelectBlockers() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT said FROM (
 SELECT prepared AS since, pg_catalog.format('a prepared transaction in database %1$s, since %2$s (there: COMMIT PREPARED %3$L or ROLLBACK PREPARED %3$L)',
  database, pg_catalog.date_trunc('second', prepared), gid) AS said FROM pg_catalog.pg_prepared_xacts
 UNION ALL
 SELECT xact_start, pg_catalog.format('the transaction of process %1$s, user %2$s, in database %3$s, since %4$s (there: SELECT pg_terminate_backend(%1$s))',
  pid, usename, datname, pg_catalog.date_trunc('second', xact_start))
 FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL) b
 WHERE since < pg_catalog.clock_timestamp() - interval '4 s' ORDER BY since LIMIT 3`}
}

// AssignTransaction gives the transaction an id, so that its commit is written
// and flushed, and with it everything before.
func AssignTransaction() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pg_catalog.pg_current_xact_id()`}
}
