package catalog

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/hand"
	"bdr/gosrc/pgerr"
)

// remote is a Runner over an ordinary connection.
type remote struct {
	conn *pgconn.PgConn
}

// textOID is the type of every parameter, as it is for the hand.
const textOID = 25

// Over returns a Runner that runs each call in a transaction of the
// connection. If one is open already, it runs there.
func Over(conn *pgconn.PgConn) Runner { return remote{conn} }

// Run runs the statements.
func (r remote) Run(ctx context.Context, statements ...hand.Stmt) ([]hand.Result, error) {
	own := r.conn.TxStatus() == 'I' && len(statements) > 1
	if own {
		if _, err := r.conn.Exec(ctx, "BEGIN").ReadAll(); err != nil {
			return nil, r.wrap(ctx, err)
		}
	}
	results, err := r.each(ctx, statements)
	if !own {
		return results, err
	}
	end := "COMMIT"
	if err != nil {
		end = "ROLLBACK"
	}
	if _, endErr := r.conn.Exec(ctx, end).ReadAll(); err == nil && endErr != nil {
		err = r.wrap(ctx, endErr)
	}
	return results, err
}

func (r remote) each(ctx context.Context, statements []hand.Stmt) ([]hand.Result, error) {
	results := make([]hand.Result, 0, len(statements))
	for _, s := range statements {
		values := make([][]byte, len(s.Args))
		types := make([]uint32, len(s.Args))
		for i, arg := range s.Args {
			types[i] = textOID
			if arg != nil {
				values[i] = fmt.Append([]byte{}, arg)
			}
		}
		read := r.conn.ExecParams(ctx, s.SQL, values, types, nil, nil).Read()
		if read.Err != nil {
			return nil, r.wrap(ctx, read.Err)
		}
		results = append(results, textResult(read))
	}
	return results, nil
}

func textResult(read *pgconn.Result) hand.Result {
	result := hand.Result{Processed: read.CommandTag.RowsAffected()}
	for _, row := range read.Rows {
		texts := make([]*string, len(row))
		for i, value := range row {
			if value != nil {
				texts[i] = hand.Text(string(value))
			}
		}
		result.Rows = append(result.Rows, texts)
	}
	return result
}

// wrap prefers the end of the context over what the closed connection says.
func (r remote) wrap(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return pgerr.From(err)
}
