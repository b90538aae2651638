package catalog

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/hand"
	"bdr/gosrc/pgerr"
)

// Types of parameters, and the two forms of values.
const (
	int8OID        = 20
	timestamptzOID = 1184

	formText   = 0
	formBinary = 1
)

// pinFetch makes the text of values what a writer makes and reads, whatever
// role and database say, and keeps what is read from waiting or writing. Rows
// that row security would hide are an error: they are not gone.
const pinFetch = `SELECT pg_catalog.set_config(s.name, s.value, false) FROM (VALUES
 ('client_encoding', pg_catalog.current_setting('server_encoding')), ('search_path', ''), ('row_security', 'off'),
 ('default_transaction_read_only', 'on'), ('default_transaction_isolation', 'read committed'), ('default_transaction_deferrable', 'off'),
 ('statement_timeout', '5min'), ('lock_timeout', '10s'), ('transaction_timeout', '0'), ('idle_session_timeout', '0'), ('jit', 'off'),
 ('DateStyle', 'ISO, YMD'), ('IntervalStyle', 'postgres'), ('TimeZone', 'GMT'), ('extra_float_digits', '3'), ('bytea_output', 'hex'),
 ('lc_monetary', 'C'), ('array_nulls', 'on'), ('xmloption', 'content'), ('xmlbinary', 'base64'), ('quote_all_identifiers', 'off')) s(name, value)
 WHERE pg_catalog.current_setting(s.name, true) IS NOT NULL`

// selectColumns reads the columns of a table: name, type, and the operator by
// which a unique index finds one, "=" of the server otherwise.
const selectColumns = `SELECT a.attname, a.atttypid, coalesce(k.operator, 'OPERATOR(pg_catalog.=)')
 FROM pg_catalog.pg_attribute a LEFT JOIN LATERAL (
  SELECT pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname) AS operator
  FROM pg_catalog.pg_index i CROSS JOIN LATERAL pg_catalog.generate_series(0, i.indnkeyatts - 1) p
  JOIN pg_catalog.pg_opclass c ON c.oid = i.indclass[p]
  JOIN pg_catalog.pg_am m ON m.oid = c.opcmethod AND m.amname = 'btree'
  JOIN pg_catalog.pg_amop s ON s.amopfamily = c.opcfamily AND s.amoplefttype = c.opcintype AND s.amoprighttype = c.opcintype
   AND s.amopstrategy = 3 AND s.amoppurpose = 's'
  JOIN pg_catalog.pg_operator o ON o.oid = s.amopopr JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
  WHERE i.indrelid = a.attrelid AND i.indisunique AND i.indisvalid AND i.indkey[p] = a.attnum
  ORDER BY i.indisreplident DESC, i.indisprimary DESC, i.indexrelid LIMIT 1) k ON true
 WHERE a.attrelid = pg_catalog.format('%I.%I', $1, $2)::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped`

// selectVersion reads a row, if it is of the transaction $1 that committed at
// $2 and that this node made: origins of its own do not have names of peers'.
// The id is the lower half of one near the newest. A transaction is sent to
// peers before others see it here, so whether they do is told too.
const selectVersion = `SELECT s.visible, r.found%s FROM (
  SELECT pg_catalog.pg_visible_in_snapshot((m.at + ((($1 - m.at + 2147483648) & 4294967295) - 2147483648))::pg_catalog.text::pg_catalog.xid8,
   pg_catalog.pg_current_snapshot()) AS visible
  FROM (SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8 AS at) m) s
 LEFT JOIN (SELECT true AS found%s FROM ONLY %s.%s t CROSS JOIN LATERAL pg_catalog.pg_xact_commit_timestamp_origin(t.xmin) v
  LEFT JOIN pg_catalog.pg_replication_origin o ON o.roident = v.roident
  WHERE %s AND v."timestamp" = $2 AND coalesce(o.roname, '') !~ '^bdr_[0-9]') r ON true`

// PeerRows reads rows of a peer over an ordinary connection, with the rights of
// its role.
type PeerRows struct {
	conn *pgconn.PgConn
}

// OpenPeerRows takes over a connection that has just been made.
func OpenPeerRows(ctx context.Context, conn *pgconn.PgConn) (*PeerRows, error) {
	p := &PeerRows{conn}
	if _, err := conn.Exec(ctx, pinFetch).ReadAll(); err != nil {
		p.Close(context.WithoutCancel(ctx))
		return nil, pgerr.From(err)
	}
	return p, nil
}

// Close ends the connection.
func (p *PeerRows) Close(ctx context.Context) { _ = p.conn.Close(ctx) }

// Closed reports whether the connection has ended.
func (p *PeerRows) Closed() bool { return p.conn.IsClosed() }

// Read answers f. It returns false while the peer itself does not show yet what
// f's transaction wrote.
func (p *PeerRows) Read(ctx context.Context, f hand.Fetch) (answer hand.Fetched, visible bool, err error) {
	known, err := p.columns(ctx, f)
	if err != nil {
		return nil, false, err
	}
	q := versionQuery{oids: []uint32{int8OID, timestamptzOID}, forms: []int16{formText, formBinary},
		values:  [][]byte{strconv.AppendUint(nil, uint64(f.XID), 10), binary.BigEndian.AppendUint64(nil, uint64(f.CommitTime))},
		results: []int16{formText, formText}}
	if err := q.build(f, known); err != nil {
		return nil, false, err
	}
	return p.read(ctx, q)
}

// column is what selectColumns says of one.
type column struct {
	oid      uint32
	operator string
}

func (p *PeerRows) columns(ctx context.Context, f hand.Fetch) (map[string]column, error) {
	results, err := Over(p.conn).Run(ctx, hand.Stmt{SQL: selectColumns, Args: []any{f.Schema, f.Relation}})
	if err != nil {
		return nil, err
	}
	known := map[string]column{}
	for _, row := range results[0].Rows {
		c := columns{row: row}
		known[c.text()] = column{c.oid(), c.text()}
		if err := c.done(); err != nil {
			return nil, err
		}
	}
	return known, nil
}

// versionQuery is selectVersion for one table.
type versionQuery struct {
	sql     string
	values  [][]byte
	oids    []uint32
	forms   []int16
	results []int16
}

func (q *versionQuery) build(f hand.Fetch, known map[string]column) error {
	var outer, inner strings.Builder
	for i, c := range f.Columns {
		fmt.Fprintf(&outer, ", r.c%d", i)
		fmt.Fprintf(&inner, ", t.%s AS c%d", QuoteIdentifier(c.Name), i)
		form := int16(formText)
		if c.Binary {
			form = formBinary
		}
		q.results = append(q.results, form)
	}
	var conditions []string
	for _, k := range f.Key {
		c, found := known[k.Column]
		if !found {
			return pgerr.New(pgerr.UndefinedColumn, "column %q does not exist", k.Column)
		}
		var value []byte
		if k.Value != nil {
			value = []byte(*k.Value)
		}
		q.values, q.oids, q.forms = append(q.values, value), append(q.oids, c.oid), append(q.forms, formText)
		conditions = append(conditions, fmt.Sprintf("t.%s %s $%d", QuoteIdentifier(k.Column), c.operator, len(q.values)))
	}
	q.sql = fmt.Sprintf(selectVersion, outer.String(), inner.String(), QuoteIdentifier(f.Schema), QuoteIdentifier(f.Relation),
		strings.Join(conditions, " AND "))
	return nil
}

// read copies the values once: they may be large.
func (p *PeerRows) read(ctx context.Context, q versionQuery) (answer hand.Fetched, visible bool, err error) {
	reader := p.conn.ExecParams(ctx, q.sql, q.values, q.oids, q.forms, q.results)
	rows := 0
	for reader.NextRow() {
		rows++
		row := reader.Values()
		visible = string(row[0]) == "t"
		answer = hand.Gone()
		if row[1] != nil {
			answer = hand.Complete(row[2:])
		}
	}
	if _, err := reader.Close(); err != nil {
		return nil, false, remote{p.conn}.wrap(ctx, err)
	}
	if rows != 1 {
		return nil, false, pgerr.New(pgerr.CardinalityViolation, "%d rows have the same key", rows)
	}
	return answer, visible, nil
}
