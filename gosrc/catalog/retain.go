package catalog

import (
	"strconv"

	"bdr/gosrc/ipc"
)

// Sample says which transactions have ended, and where the hold stands. Times
// are microseconds since 2000.
type Sample struct {
	Xmin, Next    uint64
	Clock, Newest int64
	HoldXmin      uint64 // 0: no hold
}

// SelectSample takes a sample.
func SelectSample() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT s.xmin, s.next_xid, s.clock, s.newest_commit, s.hold_xmin FROM bdr.internal_sample() s`}
}

// SampleOf decodes what SelectSample returned.
func SampleOf(r ipc.Result) (Sample, error) {
	if len(r.Rows) == 0 {
		return Sample{}, (&columns{}).done()
	}
	c := columns{row: r.Rows[0]}
	s := Sample{Xmin: c.xid8(), Next: c.xid8(), Clock: c.integer(), Newest: c.integer(), HoldXmin: c.xid8()}
	return s, c.done()
}

// SelectListeners reads the processes that send our changes to peers.
func SelectListeners() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT active_pid FROM pg_catalog.pg_replication_slots
 WHERE database = pg_catalog.current_database() AND plugin = 'bdr_output' AND active_pid IS NOT NULL ORDER BY 1`}
}

// Listeners decodes what SelectListeners returned.
func Listeners(r ipc.Result) ([]uint32, error) {
	return each(r, (*columns).oid)
}

// SetHold keeps the dead rows of transactions from xmin on.
func SetHold(xmin uint64) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT bdr.internal_set_hold($1::xid8)`, Args: []any{strconv.FormatUint(xmin, 10)}}
}

// HoldSet decodes what SetHold returned; false: there is no free slot.
func HoldSet(r ipc.Result) (bool, error) {
	if len(r.Rows) == 0 {
		return false, (&columns{}).done()
	}
	c := columns{row: r.Rows[0]}
	set := c.boolean()
	return set, c.done()
}

// WriteWatermark promises that nothing older than now follows.
func WriteWatermark(awaited int64) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT bdr.internal_watermark($1::bigint)`, Args: []any{awaited}}
}

// WatermarkOf decodes what WriteWatermark returned; 0: it could not be written
// now.
func WatermarkOf(r ipc.Result) (int64, error) {
	if len(r.Rows) == 0 {
		return 0, (&columns{}).done()
	}
	c := columns{row: r.Rows[0]}
	time := c.integer()
	return time, c.done()
}

// DeleteRemembered forgets at most limit of the versions that are older than
// before, a timestamp.
func DeleteRemembered(before string, limit int) ipc.Stmt {
	return ipc.Stmt{SQL: `DELETE FROM bdr.remembered_version WHERE ctid = ANY (ARRAY(
 SELECT ctid FROM bdr.remembered_version WHERE commit_time < $1::timestamptz ORDER BY commit_time LIMIT $2::integer))`,
		Args: []any{before, limit}}
}

// DeleteRewritten forgets at most limit of the versions of transactions before
// xid that rewrote a table and could not know their commit time.
func DeleteRewritten(xid uint64, limit int) ipc.Stmt {
	return ipc.Stmt{SQL: `DELETE FROM bdr.remembered_version WHERE ctid = ANY (ARRAY(
 SELECT ctid FROM bdr.remembered_version WHERE commit_time = 'infinity' AND pg_catalog.age(xmin) > pg_catalog.age($1::xid8::xid) LIMIT $2::integer))`,
		Args: []any{strconv.FormatUint(xid, 10), limit}}
}

// DeleteEvicted forgets at most limit of the marks of transactions before xid.
func DeleteEvicted(xid uint64, limit int) ipc.Stmt {
	return ipc.Stmt{SQL: `DELETE FROM bdr.evicted_row WHERE ctid = ANY (ARRAY(
 SELECT ctid FROM bdr.evicted_row WHERE xid < $1::xid8 LIMIT $2::integer))`,
		Args: []any{strconv.FormatUint(xid, 10), limit}}
}
