package catalog

import (
	"context"

	"bdr/gosrc/ipc"
)

// A Runner runs the statements of one transaction; *ipc.Main and
// *ipc.Request are two.
type Runner interface {
	Run(ctx context.Context, statements ...ipc.Stmt) ([]ipc.Result, error)
}

// Server is what peers must know of this server to choose the form of values.
type Server struct {
	Version          string // server_version_num
	Architecture     string
	Encoding         string
	SystemIdentifier string
}

// SelectServer reads Server; only where the extension is installed.
func SelectServer() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pg_catalog.current_setting('server_version_num'), bdr.internal_architecture(),
 pg_catalog.current_setting('server_encoding'), system_identifier FROM pg_catalog.pg_control_system()`}
}

// ServerOf decodes what SelectServer returned.
func ServerOf(r ipc.Result) (Server, error) {
	if len(r.Rows) == 0 {
		return Server{}, (&columns{}).done()
	}
	c := columns{row: r.Rows[0]}
	s := Server{Version: c.text(), Architecture: c.text(), Encoding: c.text(), SystemIdentifier: c.text()}
	return s, c.done()
}

// SelectVersions reads which PostgreSQL this is, and of which version of bdr the SQL objects are.
func SelectVersions() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pg_catalog.current_setting('server_version'),
 (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'bdr')`}
}

// VersionsOf decodes what SelectVersions returned.
func VersionsOf(r ipc.Result) (postgres, extension string, err error) {
	if len(r.Rows) == 0 {
		return "", "", (&columns{}).done()
	}
	c := columns{row: r.Rows[0]}
	postgres, extension = c.text(), c.text()
	return postgres, extension, c.done()
}

// LimitLockWait keeps the statements that follow it in a transaction from
// waiting for ever for a lock, which the transaction of a caller may hold that
// waits for us.
func LimitLockWait() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pg_catalog.set_config('lock_timeout', '10s', true)`}
}
