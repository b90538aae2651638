package catalog

import (
	"bdr/gosrc/hand"
)

// SelectOtherNames reads which elements of a text array, given in its text
// form, are not among the known names; NULL elements are not.
func SelectOtherNames(array *string, known []string) hand.Stmt {
	return hand.Stmt{SQL: `SELECT COALESCE(n, 'NULL') FROM pg_catalog.unnest($1::text[]) n
 WHERE n IS NULL OR n <> ALL ($2::text[]) ORDER BY 1`, Args: []any{argument(array), known}}
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
func SetLogConfig(c LogConfig) []hand.Stmt {
	return []hand.Stmt{
		{SQL: `LOCK TABLE bdr.node_log_config IN SHARE ROW EXCLUSIVE MODE`},
		{SQL: `DELETE FROM bdr.node_log_config`},
		{SQL: `INSERT INTO bdr.node_log_config (log_name, log_to_file, log_to_table, log_conflict_type, log_conflict_res)
 VALUES ($1, $2::boolean, $3::boolean, $4::text[], $5::text[])`,
			Args: []any{c.Name, c.ToFile, c.ToTable, argument(c.Types), argument(c.Resolutions)}},
	}
}

// argument passes nil on as NULL.
func argument(s *string) any {
	if s == nil {
		return nil
	}
	return *s
}
