package pgtest

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Role is an ordinary role of a node in a session of its own: what an attacker
// or a careless user has.
type Role struct {
	Name string
	node *Node
	conn *pgconn.PgConn
}

// As logs in as a role; the session ends with the test. options are what the
// role itself puts into its connection string, such as "replication=database".
func (n *Node) As(role, options string) *Role {
	n.t.Helper()
	conn, err := n.login(role, options)
	if err != nil {
		n.t.Fatalf("%s: log in as %s: %v", n.Name, role, err)
	}
	n.t.Cleanup(func() { closeQuietly(conn) })
	return &Role{Name: role, node: n, conn: conn}
}

// TryLogin logs in as a role, which may be refused.
func (n *Node) TryLogin(role, options string) error {
	conn, err := n.login(role, options)
	if err == nil {
		closeQuietly(conn)
	}
	return err
}

func (n *Node) login(role, options string) (*pgconn.PgConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return pgconn.Connect(ctx, fmt.Sprintf("host=127.0.0.1 port=%d dbname=%s user=%s %s", n.Port, n.Database, role, options))
}

// Exec runs statements, each in its own transaction unless the role opened one.
func (r *Role) Exec(statements ...string) {
	r.node.t.Helper()
	for _, sql := range statements {
		if _, err := r.Run(sql); err != nil {
			r.node.t.Fatalf("%s as %s: %s\n%s", r.node.Name, r.Name, Explain(err), sql)
		}
	}
}

// Try runs SQL that may fail.
func (r *Role) Try(sql string) error {
	_, err := r.Run(sql)
	return err
}

// Run runs SQL and returns the rows of the last statement that has any.
func (r *Role) Run(sql string) ([][]string, error) { return RunOn(r.conn, sql, statementTimeout) }
