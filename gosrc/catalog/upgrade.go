package catalog

import (
	"strings"

	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
)

// Origin is a replication origin of the server.
type Origin struct {
	Name     string  `json:"name"`
	Number   int     `json:"number"`
	Position lsn.LSN `json:"position"` // of the origin's own WAL
}

// SelectAllOrigins reads all origins of the server, after making durable how far
// each of them is.
func SelectAllOrigins() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT roname, roident, COALESCE(pg_catalog.pg_replication_origin_progress(roname, true), '0/0')
 FROM pg_catalog.pg_replication_origin ORDER BY roident`}
}

// Origins decodes what SelectAllOrigins returned.
func Origins(r ipc.Result) ([]Origin, error) {
	return each(r, func(c *columns) Origin {
		return Origin{Name: c.text(), Number: int(c.oid()), Position: c.lsn()}
	})
}

// IsOfSubscription says whether the origin belongs to a native subscription.
func (o Origin) IsOfSubscription() bool { return strings.HasPrefix(o.Name, "pg_") }

// RestoreOrigin makes an origin with its number, unless it is there, and moves it
// to its position; it never goes back.
func RestoreOrigin(o Origin) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT bdr.internal_restore_origin($1, $2::integer, $3::pg_lsn)`, Args: []any{o.Name, o.Number, o.Position}}
}

// SelectOldestCommitTimestamp reads the first transaction with one, 0: there are
// none.
func SelectOldestCommitTimestamp() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT COALESCE(bdr.internal_oldest_commit_timestamp()::text, '0')::oid`}
}

// TransactionOf decodes a result of one xid.
func TransactionOf(r ipc.Result) (uint32, error) {
	if len(r.Rows) == 0 {
		return 0, (&columns{}).done()
	}
	c := columns{row: r.Rows[0]}
	xid := c.oid()
	return xid, c.done()
}

// RestoreCommitTimestamps has the server believe in those from a transaction on.
func RestoreCommitTimestamps(oldest uint32) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT bdr.internal_restore_commit_timestamps($1::xid)`, Args: []any{oldest}}
}

// SetFence lets no transaction of the database that has written commit, or lets
// them again.
func SetFence(fenced bool) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT bdr.internal_set_fence($1::boolean)`, Args: []any{fenced}}
}

// SelectPrepared reads the names of the prepared transactions of the server.
func SelectPrepared() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT gid FROM pg_catalog.pg_prepared_xacts ORDER BY prepared`}
}

// SelectWriters reads the process ids of the database's writers.
func SelectWriters() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pid::text FROM pg_catalog.pg_stat_activity
 WHERE datname = pg_catalog.current_database() AND backend_type = 'bdr writer'`}
}

// SelectSlotsBehind reads which of these slots are not read, or not up to a
// position, each with how much is missing.
func SelectSlotsBehind(names []string, position lsn.LSN) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pg_catalog.format('%s (%s)', n, CASE WHEN s.slot_name IS NULL THEN 'missing'
  WHEN NOT s.active THEN 'nobody reads it'
  ELSE pg_catalog.pg_size_pretty($2::pg_lsn - s.confirmed_flush_lsn) || ' to go' END)
 FROM pg_catalog.unnest($1::text[]) n LEFT JOIN pg_catalog.pg_replication_slots s ON s.slot_name = n
 WHERE s.slot_name IS NULL OR NOT s.active OR s.confirmed_flush_lsn < $2::pg_lsn ORDER BY n`, Args: []any{names, position}}
}
