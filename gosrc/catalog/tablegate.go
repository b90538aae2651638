package catalog

import "bdr/gosrc/ipc"

// A TableGate says that users of this node do not write to tables, as a transaction of
// another node has their lock.
type TableGate struct {
	LockID string
	Node   uint32
}

// CloseGates asks the writer of a node to stop users of this one from writing to a tree of
// tables; it is to be asked again until GatesOpen returns 0.
func CloseGates(key GlobalLockKey, g TableGate) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT bdr.internal_close_gates($1, $2, $3::oid, $4)`, Args: []any{key.Schema, key.Table, g.Node, g.LockID}}
}

// GatesOpen returns to how many tables users may still write; false: there is no such table.
func GatesOpen(r ipc.Result) (n int64, exists bool, err error) {
	counts, err := each(r, func(c *columns) int64 {
		exists = len(c.row) > 0 && c.row[0] != nil
		return c.integer()
	})
	for _, count := range counts {
		n = count
	}
	return n, exists, err
}

// RecordGates makes closed gates outlive a crash. The position that SelectInsertPosition finds
// in the same transaction is behind all that users have written.
func RecordGates(g TableGate) ipc.Stmt {
	return ipc.Stmt{SQL: `INSERT INTO bdr.table_gate (relid, node_id, lock_id)
 SELECT g.relid, g.node_id, g.lock_id FROM bdr.internal_gates() g WHERE g.lock_id = $1 ON CONFLICT DO NOTHING`, Args: []any{g.LockID}}
}

// QueueAwait has what users write from now on wait, on each other node, for positions in the
// form of globallock.EncodePositions.
func QueueAwait(positions string) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT bdr.internal_queue_await($1)`, Args: []any{positions}}
}

// OpenGates lets users write again.
func OpenGates(g TableGate) []ipc.Stmt {
	return []ipc.Stmt{{SQL: `DELETE FROM bdr.table_gate WHERE lock_id = $1`, Args: []any{g.LockID}},
		{SQL: `SELECT bdr.internal_leave_gates($1)`, Args: []any{g.LockID}}}
}

// SelectTableGates reads what was closed, or asked for, by this manager or an earlier one.
func SelectTableGates() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT lock_id, node_id FROM bdr.table_gate UNION SELECT g.lock_id, g.node_id FROM bdr.internal_gates() g`}
}

// TableGates decodes what SelectTableGates returned.
func TableGates(r ipc.Result) ([]TableGate, error) {
	return each(r, func(c *columns) TableGate { return TableGate{LockID: c.text(), Node: c.oid()} })
}
