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
}

// GlobalLockKey says what is locked.
type GlobalLockKey struct {
	Type       string // GlobalLockAdvisory, or GlobalLockDDL, of which there is one
	Key1, Key2 int32  // of a bigint the upper and the lower half
	Bigint     bool
}

// Types of global locks.
const (
	GlobalLockAdvisory = "advisory" // of bdr.global_advisory_lock()
	GlobalLockDDL      = "ddl"      // of all changes of the schema
)

// GlobalLockPosition is a row of bdr.global_lock_position: what a node changed under
// locks that it has given back, it wrote before that position of its WAL.
type GlobalLockPosition struct {
	Node     uint32
	Position lsn.LSN
}

// SelectGlobalLocks reads what consensus wrote about global locks.
func SelectGlobalLocks() []ipc.Stmt {
	return []ipc.Stmt{
		{SQL: `SELECT lock_id, place, lock_type, key1, key2, key_is_bigint, origin_node_id, pid,
 (extract(epoch FROM local_lock_request_time) * 1000000)::bigint, (extract(epoch FROM global_lock_request_time) * 1000000)::bigint,
 (extract(epoch FROM last_state_change_time) * 1000000)::bigint FROM bdr.global_lock ORDER BY place`},
		{SQL: `SELECT last_place FROM bdr.global_lock_place`},
		{SQL: `SELECT origin_node_id, "position" FROM bdr.global_lock_position ORDER BY origin_node_id`},
	}
}

// GlobalLocks decodes what SelectGlobalLocks returned.
func GlobalLocks(results []ipc.Result) (locks []GlobalLock, last int64, positions []GlobalLockPosition, err error) {
	locks, errLocks := each(results[0], func(c *columns) GlobalLock {
		l := GlobalLock{ID: c.text(), Place: c.integer()}
		l.GlobalLockKey = GlobalLockKey{Type: c.text(), Key1: int32(c.integer()), Key2: int32(c.integer()), Bigint: c.boolean()}
		l.Node, l.PID, l.LocalRequest, l.Request, l.Changed = c.oid(), c.integer(), c.integer(), c.integer(), c.integer()
		return l
	})
	places, errPlaces := each(results[1], (*columns).integer)
	for _, place := range places { // there is one, or none
		last = place
	}
	positions, errPositions := each(results[2], func(c *columns) GlobalLockPosition {
		return GlobalLockPosition{Node: c.oid(), Position: c.lsn()}
	})
	return locks, last, positions, errors.Join(errLocks, errPlaces, errPositions)
}

// UpsertGlobalLock writes a row.
func UpsertGlobalLock(l GlobalLock) ipc.Stmt {
	return ipc.Stmt{SQL: `INSERT INTO bdr.global_lock (lock_id, place, lock_type, key1, key2, key_is_bigint, origin_node_id, pid,
 local_lock_request_time, global_lock_request_time, last_state_change_time)
 VALUES ($1, $2::bigint, $3, $4::integer, $5::integer, $6::boolean, $7::oid, $8::integer, $9::timestamptz, $10::timestamptz, $11::timestamptz)
 ON CONFLICT (lock_id) DO UPDATE SET last_state_change_time = excluded.last_state_change_time`,
		Args: []any{l.ID, l.Place, l.Type, l.Key1, l.Key2, l.Bigint, l.Node, l.PID,
			time.UnixMicro(l.LocalRequest), time.UnixMicro(l.Request), time.UnixMicro(l.Changed)}}
}

// DeleteGlobalLock removes a row.
func DeleteGlobalLock(id string) ipc.Stmt {
	return ipc.Stmt{SQL: `DELETE FROM bdr.global_lock WHERE lock_id = $1`, Args: []any{id}}
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
	return []ipc.Stmt{{SQL: `DELETE FROM bdr.global_lock`}, {SQL: `DELETE FROM bdr.global_lock_place`}, {SQL: `DELETE FROM bdr.global_lock_position`}}
}

// ForgetGlobalLocks does the same where there are tables for it.
func ForgetGlobalLocks() ipc.Stmt {
	return ipc.Stmt{SQL: `DO $do$ BEGIN IF pg_catalog.to_regclass('bdr.global_lock') IS NOT NULL THEN
 DELETE FROM bdr.global_lock; DELETE FROM bdr.global_lock_place; DELETE FROM bdr.global_lock_position; END IF; END $do$`}
}

// Classes of the local locks that go with global ones; BdrGlobalLockKind in C.
const (
	globalLockClassBigint   = 0x6264
	globalLockClassIntegers = 0x6265
	globalLockClassDDL      = 0x6266
)

// A LocalLock is what a session of this node holds as long as it has, or wants, a
// global lock.
type LocalLock struct {
	PID int64
	GlobalLockKey
}

// SelectLocalLocks reads them.
func SelectLocalLocks() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT l.pid, l.objsubid = $3::integer, l.classid, l.objid, l.objsubid = $2::integer FROM pg_catalog.pg_locks l
 WHERE l.locktype = 'userlock' AND l.granted AND l.objsubid IN ($1::integer, $2::integer, $3::integer)
 AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())`,
		Args: []any{globalLockClassIntegers, globalLockClassBigint, globalLockClassDDL}}
}

// LocalLocks decodes what SelectLocalLocks returned.
func LocalLocks(result ipc.Result) ([]LocalLock, error) {
	return each(result, func(c *columns) LocalLock {
		l := LocalLock{PID: c.integer(), GlobalLockKey: GlobalLockKey{Type: GlobalLockAdvisory}}
		if c.boolean() {
			l.Type = GlobalLockDDL
		}
		l.Key1, l.Key2, l.Bigint = int32(c.oid()), int32(c.oid()), c.boolean()
		return l
	})
}
