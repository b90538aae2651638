package catalog

import (
	"bdr/gosrc/ipc"
)

// Join is the row of bdr.local_join: where this node's join stands.
type Join struct {
	Step          string
	TargetDSN     string
	SourceID      uint32
	SyncStructure string
	TablesTotal   int
	TablesCopied  int
	BytesCopied   int64
	WaitingFor    string // only for show: not read
	LastError     string
}

// SelectJoin reads bdr.local_join: no row or one.
func SelectJoin() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT step, join_target_dsn, source_node_id, synchronize_structure,
 tables_total, tables_copied, bytes_copied, last_error FROM bdr.local_join`}
}

// JoinOf decodes what SelectJoin returned.
func JoinOf(r ipc.Result) (Join, bool, error) {
	if len(r.Rows) == 0 {
		return Join{}, false, nil
	}
	c := columns{row: r.Rows[0]}
	j := Join{Step: c.text(), TargetDSN: c.text(), SourceID: c.oid(), SyncStructure: c.text(),
		TablesTotal: int(c.integer()), TablesCopied: int(c.integer()), BytesCopied: c.integer(), LastError: c.text()}
	return j, true, c.done()
}

// InsertJoin records that a join began.
func InsertJoin(j Join) ipc.Stmt {
	return ipc.Stmt{SQL: `INSERT INTO bdr.local_join (step, join_target_dsn, source_node_id, synchronize_structure)
 VALUES ($1, $2, $3::oid, $4)`, Args: []any{j.Step, j.TargetDSN, j.SourceID, j.SyncStructure}}
}

// UpdateJoin records progress.
func UpdateJoin(j Join) ipc.Stmt {
	return ipc.Stmt{SQL: `UPDATE bdr.local_join SET step = $1, tables_total = $2::integer, tables_copied = $3::integer,
 bytes_copied = $4::bigint, last_error = $5, waiting_for = $6, updated_at = clock_timestamp()`,
		Args: []any{j.Step, j.TablesTotal, j.TablesCopied, j.BytesCopied, textOrNull(j.LastError), textOrNull(j.WaitingFor)}}
}

// UpdateJoinWait records what the step waits for.
func UpdateJoinWait(waitingFor string) ipc.Stmt {
	return ipc.Stmt{SQL: `UPDATE bdr.local_join SET waiting_for = $1`, Args: []any{textOrNull(waitingFor)}}
}

func textOrNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// DeleteJoin forgets the join.
func DeleteJoin() ipc.Stmt {
	return ipc.Stmt{SQL: `DELETE FROM bdr.local_join`}
}
