package catalog

import "bdr/gosrc/ipc"

// SelectOtherNames reads which elements of a text array, given in its text
// form, are not among the known names; NULL elements are not.
func SelectOtherNames(array *string, known []string) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT COALESCE(n, 'NULL') FROM pg_catalog.unnest($1::text[]) n
 WHERE n IS NULL OR n <> ALL ($2::text[]) ORDER BY 1`, Args: []any{array, known}}
}

// LogConfig is the row of bdr.node_log_config. Arrays are in their text form;
// nil is no restriction.
type LogConfig struct {
	Name        string
	ToFile      bool
	ToTable     bool
	Types       *string
	Resolutions *string
}

// SetLogConfig makes c the one row.
func SetLogConfig(c LogConfig) []ipc.Stmt {
	return []ipc.Stmt{
		{SQL: `LOCK TABLE bdr.node_log_config IN SHARE ROW EXCLUSIVE MODE`},
		{SQL: `DELETE FROM bdr.node_log_config`},
		{SQL: `INSERT INTO bdr.node_log_config (log_name, log_to_file, log_to_table, log_conflict_type, log_conflict_res)
 VALUES ($1, $2::boolean, $3::boolean, $4::text[], $5::text[])`,
			Args: []any{c.Name, c.ToFile, c.ToTable, c.Types, c.Resolutions}},
	}
}

// DeleteHistory removes conflicts that are older than so many seconds, the oldest
// first, and not more than limit.
func DeleteHistory(seconds int64, limit int) ipc.Stmt {
	return ipc.Stmt{SQL: `DELETE FROM bdr.conflict_history WHERE ctid = ANY (ARRAY(SELECT h.ctid FROM bdr.conflict_history h
 WHERE h.local_time < (SELECT pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $1::double precision))
 ORDER BY h.local_time LIMIT $2::bigint))`, Args: []any{seconds, limit}}
}

// ForgetDroppedTables takes away the notes that no resolver reads any more.
func ForgetDroppedTables() ipc.Stmt {
	return ipc.Stmt{SQL: `DELETE FROM bdr.dropped_table WHERE drop_time < pg_catalog.clock_timestamp() - interval '1 day'`}
}
