package catalog

import (
	"errors"
	"time"

	"bdr/gosrc/ipc"
	"bdr/gosrc/lsn"
)

// GlobalLock is a row of bdr.global_lock: a session has the lock, or waits for it.
type GlobalLock struct {
	ID    string
	Place int64 // in the order in which all were asked for
	GlobalLockKey
	Node         uint32
	PID          int64 // of the session
	LocalRequest int64 // when the session began to wait; microseconds since 1970
	Request      int64 // when its manager asked the group
	Changed      int64 // when it got the lock, or began to wait for it

	// Position is where the node's WAL was: the table is the one that has this name there.
	// Of GlobalLockDML only.
	Position lsn.LSN
}

// GlobalLockKey says what is locked.
type GlobalLockKey struct {
	Type          string // GlobalLockAdvisory, GlobalLockDML, or GlobalLockDDL, of which there is one
	Key1, Key2    int32  // of a bigint the upper and the lower half
	Bigint        bool
	Schema, Table string // of GlobalLockDML: the root of a tree of tables
}

// Types of global locks.
const (
	GlobalLockAdvisory = "advisory" // of bdr.global_advisory_lock()
	GlobalLockDDL      = "ddl"      // of all changes of the schema
	GlobalLockDML      = "dml"      // of the rows of a table
)

// GlobalLockReady is a row of bdr.global_lock_ready: what users of the node have written to
// the table of a lock, they wrote before that position of its WAL, and they write no more.
// 0: the node does not have the table.
type GlobalLockReady struct {
	ID       string
	Node     uint32
	Position lsn.LSN
}

// GlobalLockPosition is a row of bdr.global_lock_position: what a node changed under
// locks that it has given back, it wrote before that position of its WAL.
type GlobalLockPosition struct {
	Node     uint32
	Position lsn.LSN
}

// SelectGlobalLocks reads what consensus wrote about global locks.
func SelectGlobalLocks() []ipc.Stmt {
	return []ipc.Stmt{
		{SQL: `SELECT lock_id, place, lock_type, key1, key2, key_is_bigint, schema_name, table_name, origin_node_id, pid,
 (extract(epoch FROM local_lock_request_time) * 1000000)::bigint, (extract(epoch FROM global_lock_request_time) * 1000000)::bigint,
 (extract(epoch FROM last_state_change_time) * 1000000)::bigint, request_position FROM bdr.global_lock ORDER BY place`},
		{SQL: `SELECT last_place FROM bdr.global_lock_place`},
		{SQL: `SELECT origin_node_id, "position" FROM bdr.global_lock_position ORDER BY origin_node_id`},
		{SQL: `SELECT lock_id, node_id, "position" FROM bdr.global_lock_ready ORDER BY lock_id, node_id`},
	}
}

// GlobalLocks is what SelectGlobalLocks read.
type GlobalLocks struct {
	Last      int64 // the place that was given last
	Locks     []GlobalLock
	Positions []GlobalLockPosition
	Ready     []GlobalLockReady
}

// DecodeGlobalLocks decodes what SelectGlobalLocks returned.
func DecodeGlobalLocks(results []ipc.Result) (all GlobalLocks, err error) {
	var errLocks, errPositions, errReady error
	all.Locks, errLocks = each(results[0], func(c *columns) GlobalLock {
		l := GlobalLock{ID: c.text(), Place: c.integer()}
		l.GlobalLockKey = GlobalLockKey{Type: c.text(), Key1: int32(c.integer()), Key2: int32(c.integer()), Bigint: c.boolean(), Schema: c.text(), Table: c.text()}
		l.Node, l.PID, l.LocalRequest, l.Request, l.Changed, l.Position = c.oid(), c.integer(), c.integer(), c.integer(), c.integer(), c.lsn()
		return l
	})
	places, errPlaces := each(results[1], (*columns).integer)
	for _, place := range places { // there is one, or none
		all.Last = place
	}
	all.Positions, errPositions = each(results[2], func(c *columns) GlobalLockPosition {
		return GlobalLockPosition{Node: c.oid(), Position: c.lsn()}
	})
	all.Ready, errReady = each(results[3], func(c *columns) GlobalLockReady {
		return GlobalLockReady{ID: c.text(), Node: c.oid(), Position: c.lsn()}
	})
	return all, errors.Join(errLocks, errPlaces, errPositions, errReady)
}

// UpsertGlobalLock writes a row.
func UpsertGlobalLock(l GlobalLock) ipc.Stmt {
	return ipc.Stmt{SQL: `INSERT INTO bdr.global_lock (lock_id, place, lock_type, key1, key2, key_is_bigint, schema_name, table_name, origin_node_id, pid,
 local_lock_request_time, global_lock_request_time, last_state_change_time, request_position)
 VALUES ($1, $2::bigint, $3, $4::integer, $5::integer, $6::boolean, $7, $8, $9::oid, $10::integer, $11::timestamptz, $12::timestamptz, $13::timestamptz, $14::pg_lsn)
 ON CONFLICT (lock_id) DO UPDATE SET last_state_change_time = excluded.last_state_change_time`,
		Args: []any{l.ID, l.Place, l.Type, l.Key1, l.Key2, l.Bigint, l.Schema, l.Table, l.Node, l.PID,
			time.UnixMicro(l.LocalRequest), time.UnixMicro(l.Request), time.UnixMicro(l.Changed), l.Position}}
}

// DeleteGlobalLock removes a row, and which nodes were ready.
func DeleteGlobalLock(id string) []ipc.Stmt {
	return []ipc.Stmt{{SQL: `DELETE FROM bdr.global_lock WHERE lock_id = $1`, Args: []any{id}},
		{SQL: `DELETE FROM bdr.global_lock_ready WHERE lock_id = $1`, Args: []any{id}}}
}

// InsertGlobalLockReady writes a row.
func InsertGlobalLockReady(r GlobalLockReady) ipc.Stmt {
	return ipc.Stmt{SQL: `INSERT INTO bdr.global_lock_ready (lock_id, node_id, "position") VALUES ($1, $2::oid, $3::pg_lsn)`, Args: []any{r.ID, r.Node, r.Position}}
}

// RecordGlobalLockPlace writes the place that was given last.
func RecordGlobalLockPlace(last int64) ipc.Stmt {
	return ipc.Stmt{SQL: `INSERT INTO bdr.global_lock_place (last_place) VALUES ($1::bigint)
 ON CONFLICT (id) DO UPDATE SET last_place = excluded.last_place`, Args: []any{last}}
}

// UpsertGlobalLockPosition writes a row.
func UpsertGlobalLockPosition(p GlobalLockPosition) ipc.Stmt {
	return ipc.Stmt{SQL: `INSERT INTO bdr.global_lock_position (origin_node_id, "position") VALUES ($1::oid, $2::pg_lsn)
 ON CONFLICT (origin_node_id) DO UPDATE SET "position" = excluded."position"`, Args: []any{p.Node, p.Position}}
}

// DeleteGlobalLocks removes all that consensus wrote about global locks.
func DeleteGlobalLocks() []ipc.Stmt {
	return []ipc.Stmt{{SQL: `DELETE FROM bdr.global_lock`}, {SQL: `DELETE FROM bdr.global_lock_place`}, {SQL: `DELETE FROM bdr.global_lock_position`},
		{SQL: `DELETE FROM bdr.global_lock_ready`}}
}

// ForgetGlobalLocks does the same where there are tables for it, and lets users write to those
// that others had locked.
func ForgetGlobalLocks() ipc.Stmt {
	return ipc.Stmt{SQL: `DO $do$ BEGIN IF pg_catalog.to_regclass('bdr.global_lock') IS NOT NULL THEN
 DELETE FROM bdr.global_lock; DELETE FROM bdr.global_lock_place; DELETE FROM bdr.global_lock_position; DELETE FROM bdr.global_lock_ready;
 PERFORM bdr.internal_leave_gates(g.lock_id) FROM bdr.internal_gates() g; DELETE FROM bdr.table_gate; END IF; END $do$`}
}

// Classes of the local locks that go with global ones; BdrGlobalLockKind in C.
const (
	globalLockClassBigint   = 0x6264
	globalLockClassIntegers = 0x6265
	globalLockClassDDL      = 0x6266
	globalLockClassDML      = 0x6267
)

// A LocalLock is what a session of this node holds as long as it has, or wants, a
// global lock.
type LocalLock struct {
	PID int64
	GlobalLockKey
}

// SelectLocalLocks reads them. A table that is gone, or has another name by now, was so by a
// transaction that has ended.
func SelectLocalLocks() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT l.pid, CASE l.objsubid WHEN $3::integer THEN 'ddl' WHEN $4::integer THEN 'dml' ELSE 'advisory' END,
 CASE WHEN l.objsubid <> $4::integer THEN l.classid ELSE 0 END, l.objid, l.objsubid = $2::integer, coalesce(n.nspname, ''), coalesce(c.relname, '')
 FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_class c ON l.objsubid = $4::integer AND c.oid = l.classid
 LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE l.locktype = 'userlock' AND l.granted AND l.objsubid IN ($1::integer, $2::integer, $3::integer, $4::integer)
 AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())`,
		Args: []any{globalLockClassIntegers, globalLockClassBigint, globalLockClassDDL, globalLockClassDML}}
}

// LocalLocks decodes what SelectLocalLocks returned.
func LocalLocks(result ipc.Result) ([]LocalLock, error) {
	return each(result, func(c *columns) LocalLock {
		l := LocalLock{PID: c.integer(), GlobalLockKey: GlobalLockKey{Type: c.text()}}
		l.Key1, l.Key2, l.Bigint, l.Schema, l.Table = int32(c.oid()), int32(c.oid()), c.boolean(), c.text(), c.text()
		return l
	})
}

// SelectBlockedWriters lists writers that wait for a lock of a session.
func SelectBlockedWriters(pid int64) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT a.pid FROM pg_catalog.pg_stat_activity a WHERE a.backend_type = 'bdr writer' AND a.datid =
 (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
 AND $1::integer = ANY (pg_catalog.pg_blocking_pids(a.pid))`, Args: []any{pid}}
}
