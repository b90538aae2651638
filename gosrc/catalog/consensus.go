package catalog

import (
	"bdr/gosrc/ipc"
)

// Applied is the last consensus log entry that the tables contain.
type Applied struct {
	Index uint64
	Term  uint64
}

// SelectApplied reads bdr.local_consensus_state: no row or one.
func SelectApplied() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT apply_index, apply_term FROM bdr.local_consensus_state`}
}

// AppliedOf decodes what SelectApplied returned; zero when nothing was applied.
func AppliedOf(r ipc.Result) (Applied, error) {
	if len(r.Rows) == 0 {
		return Applied{}, nil
	}
	c := columns{row: r.Rows[0]}
	a := Applied{Index: uint64(c.integer()), Term: uint64(c.integer())}
	return a, c.done()
}

// RecordApplied belongs into the transaction that carries out the entry.
func RecordApplied(node uint32, a Applied) ipc.Stmt {
	return ipc.Stmt{SQL: `INSERT INTO bdr.local_consensus_state (node_id, apply_index, apply_term)
 VALUES ($1::oid, $2::bigint, $3::bigint)
 ON CONFLICT (only_row) DO UPDATE SET node_id = excluded.node_id,
 apply_index = excluded.apply_index, apply_term = excluded.apply_term`,
		Args: []any{node, int64(a.Index), int64(a.Term)}}
}

// DeleteApplied forgets how far the log was applied.
func DeleteApplied() ipc.Stmt {
	return ipc.Stmt{SQL: `DELETE FROM bdr.local_consensus_state`}
}
