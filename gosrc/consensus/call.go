package consensus

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"bdr/gosrc/pgerr"
)

// selectFunction reads the oid of the function that delivers a message. By its
// name alone it would be whatever a user of the peer's database has put there
// after the extension was dropped, and would run with our rights.
const selectFunction = `SELECT p.oid FROM pg_catalog.pg_extension e
 JOIN pg_catalog.pg_depend d ON d.refobjid OPERATOR(pg_catalog.=) e.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'
  AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
  AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
 JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.objid
 WHERE e.extname OPERATOR(pg_catalog.=) 'bdr' AND p.proname OPERATOR(pg_catalog.=) 'internal_rpc'`

// formatBinary is that of argument and result.
const formatBinary = 1

// link is a connection to a peer's manager, and the function that reaches it. It
// is called by its oid, in the protocol's own message for that: what has been
// dropped meanwhile is an error, whoever has taken over its name.
type link struct {
	conn     *pgconn.PgConn
	function uint32
}

// newLink takes over a connection that has just been made.
func newLink(ctx context.Context, conn *pgconn.PgConn) (*link, error) {
	result := conn.ExecParams(ctx, selectFunction, nil, nil, nil, nil).Read()
	if result.Err != nil {
		disconnect(conn)
		return nil, result.Err
	}
	if len(result.Rows) != 1 {
		disconnect(conn)
		return nil, pgerr.New(pgerr.UndefinedObject, "extension \"bdr\" is not installed in the peer's database").
			WithHint("Run CREATE EXTENSION bdr there.")
	}
	oid, err := strconv.ParseUint(string(result.Rows[0][0]), 10, 32)
	if err != nil {
		disconnect(conn)
		return nil, pgerr.New(pgerr.ProtocolViolation, "malformed oid of a peer's function: %w", err)
	}
	return &link{conn, uint32(oid)}, nil
}

// exchange calls the function. A connection on which the answer did not come to
// its end is closed, and one whose function is gone: the extension was dropped,
// and perhaps made again.
func (l *link) exchange(ctx context.Context, message []byte) ([]byte, error) {
	reply, err := l.call(ctx, message)
	var refused *pgconn.PgError
	if err != nil && (!errors.As(err, &refused) || refused.Code == pgerr.UndefinedFunction || ctx.Err() != nil) {
		disconnect(l.conn)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return reply, err
}

func (l *link) call(ctx context.Context, message []byte) (reply []byte, err error) {
	if err := l.send(ctx, message); err != nil {
		return nil, err
	}
	err = pgerr.New(pgerr.ProtocolViolation, "malformed reply of a manager")
	for {
		answer, receiveErr := l.conn.ReceiveMessage(ctx)
		if receiveErr != nil {
			var refused *pgconn.PgError
			if errors.As(err, &refused) {
				return nil, err // the server said why it ends the session
			}
			return nil, receiveErr
		}
		switch m := answer.(type) {
		case *pgproto3.FunctionCallResponse:
			if m.Result != nil {
				reply, err = append([]byte{}, m.Result...), nil
			}
		case *pgproto3.ErrorResponse:
			reply, err = nil, pgconn.ErrorResponseToPgError(m)
		case *pgproto3.ReadyForQuery:
			return reply, err
		}
	}
}

// send ends with the context, too: a large message may not fit into the
// socket's buffer.
func (l *link) send(ctx context.Context, message []byte) error {
	stop := context.AfterFunc(ctx, func() { _ = l.conn.Conn().SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	frontend := l.conn.Frontend()
	frontend.Send(&pgproto3.FunctionCall{Function: l.function, ArgFormatCodes: []uint16{formatBinary},
		Arguments: [][]byte{message}, ResultFormatCode: formatBinary})
	return frontend.Flush()
}
