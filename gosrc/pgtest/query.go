package pgtest

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// statementTimeout ends a statement that hangs; tests that wait longer say so.
const statementTimeout = 120 * time.Second

// Null stands for SQL NULL in the text results of Run.
const Null = "<NULL>"

func (s *Server) connect(database string) (*pgconn.PgConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return pgconn.Connect(ctx, s.DSN(database)+" application_name=bdr_test options='"+s.Options+"'")
}

// Connect opens a session of the caller's own.
func (s *Server) Connect(database string) (*pgconn.PgConn, error) { return s.connect(database) }

// Run executes SQL text, one or more statements without parameters, on a kept
// session and returns the rows of the last one that has any, as text.
func (s *Server) Run(database, sql string) ([][]string, error) {
	return s.RunTimeout(database, sql, statementTimeout)
}

// RunTimeout is Run with its own time limit.
func (s *Server) RunTimeout(database, sql string, limit time.Duration) ([][]string, error) {
	conn, err := s.take(database)
	if err != nil {
		return nil, err
	}
	rows, err := RunOn(conn, sql, limit)
	s.give(database, conn)
	return rows, err
}

// take removes the kept session of a database, or opens one: two callers at a
// time never share a session.
func (s *Server) take(database string) (*pgconn.PgConn, error) {
	s.mu.Lock()
	conn := s.conns[database]
	delete(s.conns, database)
	s.mu.Unlock()
	if conn != nil && !conn.IsClosed() {
		return conn, nil
	}
	return s.connect(database)
}

func (s *Server) give(database string, conn *pgconn.PgConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if conn.IsClosed() || conn.TxStatus() != 'I' || s.conns[database] != nil || s.process == nil {
		closeQuietly(conn)
		return
	}
	s.conns[database] = conn
}

// CloseSessions ends the kept sessions, for a database that is to be dropped.
func (s *Server) CloseSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for database, conn := range s.conns {
		closeQuietly(conn)
		delete(s.conns, database)
	}
}

// RunOn is Run on a session of the caller's.
func RunOn(conn *pgconn.PgConn, sql string, limit time.Duration) ([][]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	reader := conn.Exec(ctx, sql)
	var last [][]string
	for reader.NextResult() {
		if rows := readRows(reader.ResultReader()); rows != nil {
			last = rows
		}
	}
	return last, reader.Close()
}

// readRows returns nil for a statement that returns no rows at all.
func readRows(r *pgconn.ResultReader) [][]string {
	if len(r.FieldDescriptions()) == 0 {
		_, _ = r.Close()
		return nil
	}
	rows := [][]string{}
	for r.NextRow() {
		values := r.Values()
		row := make([]string, len(values))
		for i, v := range values {
			row[i] = string(v)
			if v == nil {
				row[i] = Null
			}
		}
		rows = append(rows, row)
	}
	_, _ = r.Close()
	return rows
}

// PgError is the server's error inside err, nil when there is none.
func PgError(err error) *pgconn.PgError {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e
	}
	return nil
}

func closeQuietly(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}
