package catalog

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/ipc"
	"bdr/gosrc/pgerr"
)

// remote is a Runner over an ordinary connection.
type remote struct {
	conn *pgconn.PgConn
}

// textOID is the type of every parameter, as it is for the main thread.
const textOID = 25

// Over returns a Runner that runs each call in a transaction of the
// connection. If one is open already, it runs there.
func Over(conn *pgconn.PgConn) Runner { return remote{conn} }

// Run runs the statements.
func (r remote) Run(ctx context.Context, statements ...ipc.Stmt) ([]ipc.Result, error) {
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

func (r remote) each(ctx context.Context, statements []ipc.Stmt) ([]ipc.Result, error) {
	results := make([]ipc.Result, 0, len(statements))
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

func textResult(read *pgconn.Result) ipc.Result {
	result := ipc.Result{Processed: read.CommandTag.RowsAffected()}
	for _, row := range read.Rows {
		texts := make([]*string, len(row))
		for i, value := range row {
			if value != nil {
				texts[i] = ipc.Text(string(value))
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

// holdExtension begins a transaction and sees to it that a name in the schema
// "bdr" is the extension's until it ends: DROP EXTENSION needs more than this lock,
// and a table of that name which is a user's is no member. %s is the mode of
// the transaction.
const holdExtension = `BEGIN %s; LOCK TABLE bdr.peer_state IN ACCESS SHARE MODE;
SELECT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
 WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
  AND d.objid OPERATOR(pg_catalog.=) 'bdr.peer_state'::pg_catalog.regclass
  AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
  AND d.deptype OPERATOR(pg_catalog.=) 'e' AND e.extname OPERATOR(pg_catalog.=) 'bdr')`

// Transaction runs work in a transaction of a connection to another database,
// in which the extension is installed and stays so. What work reads from our
// functions and tables there is ours (docs/decisions/0019-ours-by-membership.md).
func Transaction(ctx context.Context, conn *pgconn.PgConn, mode string, work func() error) error {
	err := hold(ctx, conn, mode)
	if err == nil {
		err = work()
	}
	end := "COMMIT"
	if err != nil {
		end = "ROLLBACK"
	}
	if _, endErr := conn.Exec(ctx, end).ReadAll(); err == nil && endErr != nil {
		err = remote{conn}.wrap(ctx, endErr)
	}
	return err
}

func hold(ctx context.Context, conn *pgconn.PgConn, mode string) error {
	results, err := conn.Exec(ctx, fmt.Sprintf(holdExtension, mode)).ReadAll()
	fault := pgerr.From(err)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && fault.Code != pgerr.UndefinedTable && fault.Code != pgerr.UndefinedSchema:
		return fault
	case err != nil || len(results) != 3 || len(results[2].Rows) != 1 || string(results[2].Rows[0][0]) != "t":
		return pgerr.New(pgerr.WrongState, "extension \"bdr\" is not installed in the peer's database").
			WithHint("Run CREATE EXTENSION bdr there, or part the node.")
	}
	return nil
}
