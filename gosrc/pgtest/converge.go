package pgtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// fixedSettings make the text of a row the same wherever it is made. They end
// with the query text that they stand before, which is one transaction.
const fixedSettings = `SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres';
SET LOCAL timezone = 'UTC'; SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = 'hex';
SET LOCAL search_path = pg_catalog; SET LOCAL row_security = off; SET LOCAL quote_all_identifiers = off;
SET LOCAL lc_monetary = 'C'; SET LOCAL client_encoding = 'UTF8';
`

// userTables lists every table that is replicated, with its columns by name:
// their order may differ between nodes. So may the partitions of a table, which
// therefore counts as one.
const userTables = `SELECT c.oid::regclass::text, CASE c.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END,
 (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname) FROM pg_attribute a
  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'bdr')
ORDER BY 1`

// Content is what one table holds: its number of rows and a sum over the
// hashes of the rows' text, which does not depend on their order.
type Content struct {
	Columns string
	Rows    string
	Hash    string
	scope   string // ONLY, where children are tables of their own
}

// Contents reads every user table of a database, or only those that are named.
func (s *Server) Contents(database string, only ...string) (map[string]Content, error) {
	tables, err := s.Run(database, fixedSettings+userTables)
	if err != nil {
		return nil, err
	}
	out := map[string]Content{}
	for _, row := range tables {
		table, scope, columns := row[0], row[1], strings.ReplaceAll(row[2], Null, "")
		if len(only) > 0 && !slices.Contains(only, table) {
			continue
		}
		sums, err := s.Run(database, fixedSettings+fmt.Sprintf(`SELECT count(*),
 coalesce(sum(hashtextextended(ROW(%s)::text, 0)::numeric), 0) FROM %s%s`, columns, scope, table))
		if err != nil {
			return nil, fmt.Errorf("read %s on %s: %w", table, s.Name, err)
		}
		out[table] = Content{Columns: columns, Rows: sums[0][0], Hash: sums[0][1], scope: scope}
	}
	return out, nil
}

// RequireConverged waits until every node has confirmed everything that was
// written on the others before this call, and then requires that each table
// holds the same rows everywhere. Nothing may write meanwhile.
func (c *Cluster) RequireConverged() {
	c.t.Helper()
	c.RequireConvergedAmong(c.Nodes...)
}

// RequireConvergedAmong is RequireConverged for some of the nodes.
func (c *Cluster) RequireConvergedAmong(nodes ...*Node) {
	c.t.Helper()
	c.WaitDrained(nodes...)
	reference, err := nodes[0].Contents(nodes[0].Database)
	nodes[0].Must(err)
	for _, n := range nodes[1:] {
		contents, err := n.Contents(n.Database)
		n.Must(err)
		for _, table := range namesOfBoth(reference, contents) {
			left, right := reference[table], contents[table]
			if left.Columns != right.Columns || left.Rows != right.Rows || left.Hash != right.Hash {
				c.t.Errorf("table %s differs: %s has %+v, %s has %+v\n%s", table, nodes[0].Name, left,
					n.Name, right, differingRows(nodes[0], n, table, left, right))
			}
		}
	}
	if c.t.Failed() {
		c.t.FailNow()
	}
}

// WaitDrained returns when each node's peers have confirmed all that it wrote
// so far.
func (c *Cluster) WaitDrained(nodes ...*Node) {
	c.t.Helper()
	positions := map[string]string{}
	for _, n := range nodes {
		positions[n.Name] = n.Value("SELECT pg_current_wal_insert_lsn()")
	}
	deadline := time.Now().Add(drainLimit)
	for _, n := range nodes {
		n.Wait(time.Until(deadline), fmt.Sprintf(`SELECT coalesce(string_agg(slot_name || ' at ' || confirmed_flush_lsn
 || CASE WHEN active THEN '' ELSE ' (inactive)' END, ', '), 'all')
FROM pg_replication_slots WHERE plugin = 'bdr_output' AND starts_with(slot_name::text, 'bdr_') AND NOT temporary AND database = current_database()
 AND confirmed_flush_lsn < '%s'`, positions[n.Name]), "all")
	}
}

func namesOfBoth(a, b map[string]Content) []string {
	names := maps.Clone(a)
	maps.Copy(names, b)
	return slices.Sorted(maps.Keys(names))
}

// shownRows bounds the output about one table.
const shownRows = 20

// differingRows lists rows that only one of two nodes has.
func differingRows(a, b *Node, table string, inA, inB Content) string {
	const query = "%sSELECT ROW(%s)::text FROM %s%s"
	left, err := a.Run(a.Database, fmt.Sprintf(query, fixedSettings, inA.Columns, inA.scope, table))
	if err != nil {
		return err.Error()
	}
	right, err := b.Run(b.Database, fmt.Sprintf(query, fixedSettings, inA.Columns, inB.scope, table))
	if err != nil {
		return err.Error()
	}
	count := map[string]int{}
	for _, row := range left {
		count[row[0]]++
	}
	for _, row := range right {
		count[row[0]]--
	}
	return describeDifference(a.Name, b.Name, count)
}

func describeDifference(left, right string, count map[string]int) string {
	var lines []string
	for _, row := range slices.Sorted(maps.Keys(count)) {
		switch n := count[row]; {
		case n > 0:
			lines = append(lines, fmt.Sprintf("  only %s (%d): %s", left, n, row))
		case n < 0:
			lines = append(lines, fmt.Sprintf("  only %s (%d): %s", right, -n, row))
		}
	}
	more := ""
	if len(lines) > shownRows {
		more = fmt.Sprintf("\n  and %d more", len(lines)-shownRows)
		lines = lines[:shownRows]
	}
	return strings.Join(lines, "\n") + more
}
