package catalog

import (
	"time"

	"bdr/gosrc/ipc"
)

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

// HistoryPart is a row of bdr.conflict_history_part.
type HistoryPart struct {
	Name string // quoted as needed
	Used bool
	Age  time.Duration // since it began
}

// SelectHistoryParts reads the parts of the conflict history.
func SelectHistoryParts() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT part::text, began IS NOT NULL,
 COALESCE(pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - began) * 1000000, 0)::bigint
FROM bdr.conflict_history_part ORDER BY part`}
}

// HistoryParts decodes what SelectHistoryParts returned.
func HistoryParts(r ipc.Result) ([]HistoryPart, error) {
	parts := make([]HistoryPart, 0, len(r.Rows))
	for _, row := range r.Rows {
		c := columns{row: row}
		p := HistoryPart{Name: c.text(), Used: c.boolean(), Age: time.Duration(c.integer()) * time.Microsecond}
		if err := c.done(); err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// EmptyHistoryPart removes the rows of a part that nobody uses at the moment.
func EmptyHistoryPart(name string) []ipc.Stmt {
	return []ipc.Stmt{
		{SQL: `LOCK TABLE ONLY ` + name + ` IN ACCESS EXCLUSIVE MODE NOWAIT`},
		{SQL: `TRUNCATE ONLY ` + name},
		{SQL: `UPDATE bdr.conflict_history_part SET began = NULL WHERE part = $1::regclass`, Args: []any{name}},
	}
}

// BeginHistoryPart has rows go into a part from now on.
func BeginHistoryPart(name string) ipc.Stmt {
	return ipc.Stmt{SQL: `UPDATE bdr.conflict_history_part SET began = pg_catalog.clock_timestamp() WHERE part = $1::regclass`, Args: []any{name}}
}

// ForgetDroppedTables takes away the notes that no resolver reads any more.
func ForgetDroppedTables() ipc.Stmt {
	return ipc.Stmt{SQL: `DELETE FROM bdr.dropped_table WHERE drop_time < pg_catalog.clock_timestamp() - interval '1 day'`}
}
