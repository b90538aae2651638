package conflict

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgtest"
)

// gateTables let a test choose when a transaction is applied: each begins with
// a row of gate, and a trigger that fires for applied rows makes the writer wait
// there, before it has any other lock. Nothing is disabled, and no stream ends.
var gateTables = []string{
	"CREATE TABLE gate (origin int, n int, PRIMARY KEY (origin, n))",
	`CREATE FUNCTION gate_wait() RETURNS trigger LANGUAGE plpgsql AS
 $$ BEGIN PERFORM pg_catalog.pg_advisory_xact_lock_shared(NEW.origin, NEW.n); RETURN NEW; END $$`,
	"CREATE TRIGGER wait BEFORE INSERT ON gate FOR EACH ROW EXECUTE FUNCTION gate_wait()",
	"ALTER TABLE gate ENABLE REPLICA TRIGGER wait",
}

// gateLimit is how long a transaction may take behind an open gate, with what
// its writer has to try again.
const gateLimit = 20 * time.Second

// gates are what stands before each transaction on each node but its own.
type gates struct {
	keys []*pgconn.PgConn // by node: the session that holds its gates shut
	last []int            // by node: its last transaction with a gate
}

func newGates(c *pgtest.Cluster) *gates {
	c.ExecAll(gateTables...)
	g := &gates{last: make([]int, len(c.Nodes))}
	for _, n := range c.Nodes {
		g.keys = append(g.keys, n.Session())
	}
	return g
}

// shut prepares a node's next transaction. It returns its number, and the
// statement that it must begin with.
func (g *gates) shut(from int) (int, string, error) {
	g.last[from]++
	n := g.last[from]
	for to := range g.keys {
		if to == from {
			continue
		}
		if _, err := pgtest.RunOn(g.keys[to], fmt.Sprintf("SELECT pg_advisory_lock(%d, %d)", from, n), gateLimit); err != nil {
			return 0, "", err
		}
	}
	return n, fmt.Sprintf("INSERT INTO gate VALUES (%d, %d)", from, n), nil
}

// open lets a node apply transactions of others, given as origin and number, all
// at the same moment.
func (g *gates) open(to int, transactions ...[2]int) error {
	var calls []string
	for _, one := range transactions {
		calls = append(calls, fmt.Sprintf("pg_advisory_unlock(%d, %d)", one[0], one[1]))
	}
	_, err := pgtest.RunOn(g.keys[to], "SELECT "+strings.Join(calls, ", "), gateLimit)
	return err
}

// awaitSQL looks for the transaction; a writer that failed at it again and again
// will not get further.
const awaitSQL = `DO $$ DECLARE began timestamptz := clock_timestamp(); late interval; BEGIN
WHILE NOT EXISTS (SELECT FROM gate WHERE origin = %d AND n = %d) LOOP
	PERFORM pg_sleep(0.0005);
	late := clock_timestamp() - began;
	IF late > interval '%d ms' OR late > interval '2 s' AND EXISTS (SELECT FROM bdr.worker_errors WHERE error_retries > 5) THEN
		RAISE 'not applied after %%: %%', late, (SELECT coalesce(string_agg(concat_ws(' ', error_sqlstate, error_message, error_detail), '; '),
			'no error is shown') FROM bdr.worker_errors);
	END IF;
END LOOP; END $$`

// await returns when the transaction can be seen.
func (g *gates) await(to, from, n int) error {
	_, err := pgtest.RunOn(g.keys[to], fmt.Sprintf(awaitSQL, from, n, gateLimit.Milliseconds()), 2*gateLimit)
	return err
}

// results runs statements and returns the rows of each.
func results(conn *pgconn.PgConn, sql string) ([][][][]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*gateLimit)
	defer cancel()
	all, err := conn.Exec(ctx, sql).ReadAll()
	var out [][][][]byte
	for _, one := range all {
		out = append(out, one.Rows)
	}
	return out, err
}
