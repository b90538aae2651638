package api

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"

	"bdr/gosrc/catalog"
	"bdr/gosrc/cluster"
	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/stream"
)

// answerBytesMax limits what one node may answer.
const answerBytesMax = 16 << 20

// bareTypes are the types whose text is JSON already.
var bareTypes = []uint32{pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.OIDOID, pgtype.JSONOID, pgtype.JSONBOID}

// runOnNode answers bdr.internal_run_on_node(node_name, query): an object of bdr.run_on_nodes.
// Whatever the node says, or that it says nothing, is an answer.
func (a *API) runOnNode(ctx context.Context, r *ipc.Request) (ipc.Rows, error) {
	_, nodes, err := catalog.ReadNodes(ctx, r)
	if err != nil {
		return ipc.Rows{}, err
	}
	i := slices.IndexFunc(nodes, func(n catalog.Node) bool { return n.Name == r.Arg(0) && n.State != cluster.Parted })
	if i < 0 {
		return ipc.Rows{}, catalog.ErrUnknownNode(r.Arg(0))
	}
	n := nodes[i]
	var answer answer
	if err := answer.ask(ctx, n.DSN, r.Arg(1)); err != nil {
		if ctx.Err() != nil {
			return ipc.Rows{}, ctx.Err()
		}
		answer.add(faultObject(err))
	}
	return ipc.Value(fmt.Sprintf(`{"dsn":%s,"node_id":%d,"node_name":%s,"response":[%s]}`,
		quoteJSON(pgerr.MaskDSN(n.DSN)), n.ID, quoteJSON(n.Name), answer.text.String())), nil
}

// An answer has an object for each statement.
type answer struct {
	text  strings.Builder
	count int
}

func (a *answer) add(object string) {
	if a.count++; a.count > 1 {
		a.text.WriteByte(',')
	}
	a.text.WriteString(object)
}

// ask runs a query as psql does. pgconn's Exec would wait for ever in a COPY FROM STDIN.
func (a *answer) ask(ctx context.Context, dsn, query string) error {
	conn, err := stream.Connect(ctx, dsn, stream.Asking, "bdr_run_on_nodes")
	if err != nil {
		return err
	}
	stopped := func(err error) error {
		_ = conn.CancelRequest(context.WithoutCancel(ctx))
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	conn.Frontend().Send(&pgproto3.Query{String: query})
	if err := conn.Frontend().Flush(); err != nil {
		return err
	}
	var statement statement
	for {
		m, err := conn.ReceiveMessage(ctx)
		if err != nil {
			return stopped(err)
		}
		switch m := m.(type) {
		case *pgproto3.ReadyForQuery:
			return nil
		case *pgproto3.ErrorResponse:
			return pgconn.ErrorResponseToPgError(m)
		case *pgproto3.CopyInResponse:
			conn.Frontend().Send(&pgproto3.CopyFail{Message: "COPY FROM STDIN is not supported here"})
			if err := conn.Frontend().Flush(); err != nil {
				return err
			}
		case *pgproto3.RowDescription:
			statement.describe(m)
		case *pgproto3.DataRow:
			if len(m.Values) != len(statement.columns) {
				return stopped(pgerr.New(pgerr.ProtocolViolation, "a row of %d values, and %d columns", len(m.Values), len(statement.columns)))
			}
			statement.addRow(m.Values)
			if a.text.Len()+statement.rows.Len() > answerBytesMax {
				return stopped(pgerr.New(pgerr.ProgramLimit, "the answer of the node is larger than %d bytes", answerBytesMax))
			}
		case *pgproto3.CommandComplete:
			a.add(statement.object(pgconn.NewCommandTag(string(m.CommandTag))))
			statement.reset()
		}
	}
}

// A statement is what has come of the result of one.
type statement struct {
	columns []string // quoted, nil: it returns no rows
	types   []uint32
	rows    strings.Builder
}

func (s *statement) reset() {
	s.columns, s.types = nil, nil
	s.rows.Reset()
}

func (s *statement) describe(m *pgproto3.RowDescription) {
	s.columns = []string{}
	for _, f := range m.Fields {
		s.columns = append(s.columns, quoteJSON(string(f.Name)))
		s.types = append(s.types, f.DataTypeOID)
	}
}

func (s *statement) addRow(values [][]byte) {
	if s.rows.Len() > 0 {
		s.rows.WriteByte(',')
	}
	s.rows.WriteByte('{')
	for i, v := range values {
		if i > 0 {
			s.rows.WriteByte(',')
		}
		s.rows.WriteString(s.columns[i] + ":" + jsonOf(s.types[i], v))
	}
	s.rows.WriteByte('}')
}

func (s *statement) object(tag pgconn.CommandTag) string {
	tuples := strconv.FormatInt(tag.RowsAffected(), 10)
	if s.columns != nil {
		tuples = "[" + s.rows.String() + "]"
	}
	return fmt.Sprintf(`{"command_status":%s,"command_tuples":%s}`, quoteJSON(tag.String()), tuples)
}

func jsonOf(typ uint32, value []byte) string {
	switch {
	case value == nil:
		return "null"
	case slices.Contains(bareTypes, typ):
		return string(value)
	case typ == pgtype.BoolOID && string(value) == "t":
		return "true"
	case typ == pgtype.BoolOID:
		return "false"
	}
	return quoteJSON(string(value))
}

func faultObject(err error) string {
	e := pgerr.From(err)
	return fmt.Sprintf(`{"error":%s,"sqlstate":%s,"detail":%s,"hint":%s}`, quoteJSON(e.Message), quoteJSON(e.Code), quoteJSON(e.Detail), quoteJSON(e.Hint))
}

// quoteJSON makes a string of text in the encoding of the database, which encoding/json
// would take for UTF-8.
func quoteJSON(text string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, b := range []byte(text) {
		switch {
		case b == '"' || b == '\\':
			out.WriteByte('\\')
			out.WriteByte(b)
		case b < ' ':
			fmt.Fprintf(&out, `\u%04x`, b)
		default:
			out.WriteByte(b)
		}
	}
	out.WriteByte('"')
	return out.String()
}
