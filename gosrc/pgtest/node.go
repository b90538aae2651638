package pgtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Node is one database of one server, for a test: what goes wrong fails it.
type Node struct {
	*Server
	Database string
	NodeDSN  string // as peers reach it; through a proxy when the cluster has them
	t        testing.TB
}

// For returns the node with failures going to a subtest, which shows the log
// when it has failed: the test around it may end much later.
func (n *Node) For(t testing.TB) *Node {
	t.Cleanup(func() {
		t.Helper()
		n.showLog(t)
	})
	copied := *n
	copied.t = t
	return &copied
}

// Exec runs statements, each in its own transaction.
func (n *Node) Exec(statements ...string) {
	n.t.Helper()
	for _, sql := range statements {
		if _, err := n.Run(n.Database, sql); err != nil {
			n.t.Fatalf("%s: %s\n%s", n.Name, Explain(err), sql)
		}
	}
}

// Try runs SQL that may fail.
func (n *Node) Try(sql string) error {
	_, err := n.Run(n.Database, sql)
	return err
}

// Rows runs a query.
func (n *Node) Rows(sql string) [][]string {
	n.t.Helper()
	rows, err := n.Run(n.Database, sql)
	if err != nil {
		n.t.Fatalf("%s: %s\n%s", n.Name, Explain(err), sql)
	}
	return rows
}

// Value runs a query with one row of one column.
func (n *Node) Value(sql string) string {
	n.t.Helper()
	rows := n.Rows(sql)
	if len(rows) != 1 || len(rows[0]) != 1 {
		n.t.Fatalf("%s: not one value but %v\n%s", n.Name, rows, sql)
	}
	return rows[0][0]
}

// Wait looks until a query returns this one value.
func (n *Node) Wait(limit time.Duration, sql, want string) {
	n.t.Helper()
	Eventually(n.t, limit, fmt.Sprintf("%s: %s = %q", n.Name, sql, want), func() (bool, string) {
		rows, err := n.Run(n.Database, sql)
		if err != nil {
			return false, Explain(err)
		}
		got := fmt.Sprint(rows)
		if len(rows) == 1 && len(rows[0]) == 1 {
			got = rows[0][0]
		}
		return got == want, got
	})
}

// KillProcess ends one process of the server the hard way. The postmaster ends all
// others and starts over: sessions can begin again when this returns, and until those
// others are gone one that could would have begun too early.
func (n *Node) KillProcess(p Process) {
	n.t.Helper()
	all := n.all()
	n.Must(syscall.Kill(p.PID, syscall.SIGKILL))
	Eventually(n.t, time.Minute, n.Name+" has started over", func() (bool, string) {
		for _, old := range all {
			if !old.Gone() {
				return false, old.Title
			}
		}
		err := n.Try("SELECT 1")
		return err == nil, fmt.Sprint(err)
	})
}

// Session opens a session that ends with the test.
func (n *Node) Session() *pgconn.PgConn {
	n.t.Helper()
	conn, err := n.Connect(n.Database)
	if err != nil {
		n.t.Fatalf("%s: %v", n.Name, err)
	}
	n.t.Cleanup(func() { closeQuietly(conn) })
	return conn
}

// Must fails the test on an error of the surroundings.
func (n *Node) Must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatalf("%s: %v", n.Name, err)
	}
}

// Explain is an error with the parts that PostgreSQL keeps apart.
func Explain(err error) string {
	e := PgError(err)
	if e == nil {
		return err.Error()
	}
	return fmt.Sprintf("%s (%s)\n  DETAIL: %s\n  HINT: %s\n  CONTEXT: %s", e.Message, e.Code, e.Detail, e.Hint, e.Where)
}

// Pgbench is a pgbench that runs beside the test.
type Pgbench struct {
	cmd    *exec.Cmd
	output bytes.Buffer
	node   *Node
}

// Script puts statements where a pgbench of this node can read them, for -f.
func (n *Node) Script(statements string) string {
	n.t.Helper()
	path := filepath.Join(n.Dir, "script.sql")
	n.Must(os.WriteFile(path, []byte(statements), 0o644))
	return path
}

// StartPgbench runs pgbench on the node with more arguments, until Stop.
func (n *Node) StartPgbench(arguments ...string) *Pgbench {
	n.t.Helper()
	b := &Pgbench{node: n}
	b.cmd = n.PgbenchCommand(n.DSN(n.Database), arguments...)
	b.cmd.Stdout, b.cmd.Stderr = &b.output, &b.output
	n.Must(b.cmd.Start())
	return b
}

// PgbenchCommand prepares a pgbench against the database that a connection
// string names.
func (s *Server) PgbenchCommand(dsn string, arguments ...string) *exec.Cmd {
	return s.Command("pgbench", append(append([]string{"-n"}, arguments...), dsn)...)
}

// Command prepares a program of the server's installation.
func (s *Server) Command(program string, arguments ...string) *exec.Cmd {
	return s.account.command(s.Dir, filepath.Join(s.bin, program), arguments...)
}

// Programs is the folder of the installation's programs.
func (s *Server) Programs() string { return s.bin }

// Stop ends pgbench. It must have been running until now: one that ended before
// ended on an error. SIGINT would be ignored where the tests run in the
// background of a shell.
func (b *Pgbench) Stop() {
	b.node.t.Helper()
	early := b.aborted() || b.cmd.Process.Signal(syscall.SIGTERM) != nil
	_ = b.cmd.Wait()
	if early {
		b.node.t.Errorf("%s: pgbench ended early, %v: %s", b.node.Name, b.cmd.ProcessState, b.output.String())
	}
	if strings.Contains(b.output.String(), "aborted") {
		b.node.t.Errorf("%s: pgbench failed: %s", b.node.Name, b.output.String())
	}
}

// failedTransactions are in a line of progress, which -P asks for.
var failedTransactions = regexp.MustCompile(`(?m)^progress: .* [1-9][0-9]* failed`)

// RequireNoneFailed requires, of a pgbench that was started with -P and has ended,
// that no transaction failed.
func (b *Pgbench) RequireNoneFailed() {
	b.node.t.Helper()
	text := b.output.String()
	if line := failedTransactions.FindString(text); line != "" || !strings.Contains(text, "progress: ") || strings.Contains(text, "error: ") {
		b.node.t.Errorf("%s: pgbench met errors: %s", b.node.Name, text)
	}
}

func (b *Pgbench) aborted() bool {
	return Process{PID: b.cmd.Process.Pid}.Gone()
}

// Pgbench runs pgbench to its end.
func (n *Node) Pgbench(arguments ...string) {
	n.t.Helper()
	b := n.StartPgbench(arguments...)
	if err := b.cmd.Wait(); err != nil {
		n.t.Fatalf("%s: pgbench: %v: %s", n.Name, err, b.output.String())
	}
}
