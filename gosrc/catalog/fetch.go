package catalog

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
)

// Types of parameters, and the two forms of values.
const (
	oidOID         = 26
	xidOID         = 28
	timestamptzOID = 1184

	formText   = 0
	formBinary = 1
)

// pinFetch is where a fetch differs from other connections of ours, which start
// with stream's list: the text of values is what a writer makes and reads, and
// what is read neither waits for long nor writes.
const pinFetch = `SELECT pg_catalog.set_config(s.name, s.value, false) FROM (VALUES
 ('client_encoding', pg_catalog.current_setting('server_encoding')), ('search_path', ''), ('extra_float_digits', '3'),
 ('default_transaction_read_only', 'on'), ('statement_timeout', '5min'), ('lock_timeout', '10s')) s(name, value)`

// fetchRow has the peer read the row: a function, since a query would run what
// code of users hangs on the table (extension/conflict/fetch_origin.c).
const fetchRow = `SELECT f.shown, f.found, f.value FROM bdr.internal_fetch($1, $2, $3,
 ARRAY[%s]::pg_catalog.text[], ARRAY[%s]::pg_catalog.text[], ARRAY[%s]::pg_catalog.text[], ARRAY[%s]::pg_catalog.bool[]) f`

// PeerRows reads rows of a peer over an ordinary connection.
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
func (p *PeerRows) Read(ctx context.Context, f ipc.Fetch) (answer ipc.Fetched, shown bool, err error) {
	err = Transaction(ctx, p.conn, "READ ONLY", func() (err error) {
		answer, shown, err = p.read(ctx, f)
		return err
	})
	return answer, shown, err
}

func (p *PeerRows) read(ctx context.Context, f ipc.Fetch) (answer ipc.Fetched, shown bool, err error) {
	q := newFetchQuery(f)
	reader := p.conn.ExecParams(ctx, q.sql, q.values, q.types, q.forms, []int16{formText, formText, formBinary})
	rows := 0
	for reader.NextRow() {
		row := reader.Values()
		switch {
		case rows > 0:
			answer = answer.And(row[2])
		case string(row[1]) == "t":
			shown, answer = string(row[0]) == "t", ipc.Present()
		default:
			shown, answer = string(row[0]) == "t", ipc.Gone()
		}
		rows++
	}
	if _, err := reader.Close(); err != nil {
		return nil, false, remote{p.conn}.wrap(ctx, err)
	}
	if rows == 0 {
		return nil, false, pgerr.New(pgerr.ProtocolViolation, "a fetch was answered with nothing")
	}
	return answer, shown, nil
}

// fetchQuery is fetchRow for one row.
type fetchQuery struct {
	sql    string
	values [][]byte
	types  []uint32
	forms  []int16
}

func newFetchQuery(f ipc.Fetch) *fetchQuery {
	q := &fetchQuery{}
	q.add(oidOID, formText, strconv.AppendUint(nil, uint64(f.Table), 10))
	q.add(xidOID, formText, strconv.AppendUint(nil, uint64(f.XID), 10))
	q.add(timestamptzOID, formBinary, binary.BigEndian.AppendUint64(nil, uint64(f.CommitTime)))
	var keys, values, columns, forms []string
	for _, k := range f.Key {
		keys = append(keys, q.add(textOID, formText, []byte(k.Column)))
		var value []byte
		if k.Value != nil {
			value = []byte(*k.Value)
		}
		values = append(values, q.add(textOID, formText, value))
	}
	for _, c := range f.Columns {
		columns = append(columns, q.add(textOID, formText, []byte(c.Name)))
		forms = append(forms, strconv.FormatBool(c.Binary))
	}
	q.sql = fmt.Sprintf(fetchRow, strings.Join(keys, ", "), strings.Join(values, ", "), strings.Join(columns, ", "), strings.Join(forms, ", "))
	return q
}

// add returns the place of a parameter; nil is NULL.
func (q *fetchQuery) add(oid uint32, form int16, value []byte) string {
	q.values, q.types, q.forms = append(q.values, value), append(q.types, oid), append(q.forms, form)
	return "$" + strconv.Itoa(len(q.values))
}
