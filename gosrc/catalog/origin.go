package catalog

import (
	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
)

// SelectOrigin reads how far a replication origin is, after making that much
// durable: no row when there is no such origin.
func SelectOrigin(name string) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pg_catalog.pg_replication_origin_progress(roname, true)
 FROM pg_catalog.pg_replication_origin WHERE roname = $1`, Args: []any{name}}
}

// OriginOf decodes what SelectOrigin returned; false: no such origin. A new
// origin is at zero.
func OriginOf(r ipc.Result) (lsn.LSN, bool, error) {
	if len(r.Rows) == 0 {
		return 0, false, nil
	}
	c := columns{row: r.Rows[0]}
	position := c.lsn()
	return position, true, c.done()
}

// CreateOrigin makes a replication origin unless it exists.
func CreateOrigin(name string) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pg_catalog.pg_replication_origin_create($1)
 WHERE pg_catalog.pg_replication_origin_oid($1) IS NULL`, Args: []any{name}}
}

// DropOrigin removes a replication origin if it exists. It is an error while a
// session uses it.
func DropOrigin(name string) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pg_catalog.pg_replication_origin_drop(roname)
 FROM pg_catalog.pg_replication_origin WHERE roname = $1`, Args: []any{name}}
}

// AdvanceOrigin sets how far a replication origin is; it never goes back.
func AdvanceOrigin(name string, position lsn.LSN) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pg_catalog.pg_replication_origin_advance(roname, $2::pg_lsn)
 FROM pg_catalog.pg_replication_origin WHERE roname = $1
 AND COALESCE(pg_catalog.pg_replication_origin_progress(roname, false), '0/0') < $2::pg_lsn`,
		Args: []any{name, position}}
}

// UseOrigin makes what the session writes count as changes of an origin.
func UseOrigin(name string) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pg_catalog.pg_replication_origin_session_setup($1)`, Args: []any{name}}
}

// StampTransaction sets origin position and commit time of the transaction.
func StampTransaction(position lsn.LSN, commitTime string) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pg_catalog.pg_replication_origin_xact_setup($1::pg_lsn, $2::timestamptz)`,
		Args: []any{position, commitTime}}
}
