package clustertest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgtest"
)

// clashValues is how many different keys and values there are.
const clashValues = 25

// clashInterval keeps a writer from committing faster than its row changes can
// be applied on two other nodes of a small machine.
const clashInterval = 4 * time.Millisecond

// Impatient servers try again soon, whatever has failed however often.
var Impatient = map[string]string{"bdr.max_worker_backoff_delay": "1s"}

// AddClashes writes to the clash tables from one node until the load ends.
func (l *Load) AddClashes(n *pgtest.Node, seed uint64) {
	x := clasher{rand.New(rand.NewPCG(seed, uint64(n.Port)))}
	ticker := time.NewTicker(clashInterval)
	l.Loop(n, func(conn *pgconn.PgConn) error {
		<-ticker.C
		_, err := pgtest.RunOn(conn, x.transaction(), time.Minute)
		if e := pgtest.PgError(err); e != nil && !conn.IsClosed() {
			_, otherwise := pgtest.RunOn(conn, "ROLLBACK", time.Minute)
			if slices.Contains(UserErrors, e.Code) {
				err = otherwise
			}
		}
		return err
	})
}

type clasher struct{ random *rand.Rand }

func (x clasher) value() int { return 1 + x.random.IntN(clashValues) }

// transaction is one to three changes.
func (x clasher) transaction() string {
	statements := []string{"BEGIN"}
	for range 1 + x.random.IntN(3) {
		if x.random.IntN(4) > 0 {
			statements = append(statements, x.change("clash", "%d")...)
		} else {
			statements = append(statements, x.change("overlap", "int4range(%[1]d, %[1]d + 2)")...)
		}
	}
	return strings.Join(append(statements, "COMMIT"), "; ")
}

// change is a change of a table whose column u takes values of a format.
func (x clasher) change(table, format string) []string {
	v := x.random.Int32()
	u := func(n int) string { return fmt.Sprintf(format, n) }
	insert := func(id int) string {
		return fmt.Sprintf("INSERT INTO %s VALUES (%d, %s, %d, %d, repeat('%d', %d))", table, id, u(x.value()), x.value(), v, v%10, x.random.IntN(2)*3000)
	}
	update := func(set string) []string {
		return []string{fmt.Sprintf("UPDATE %s SET v = %d%s WHERE id = %d", table, v, set, x.value())}
	}
	switch roll := x.random.IntN(20); {
	case roll < 6:
		return []string{insert(x.value())}
	case roll < 8:
		return update("")
	case roll < 9:
		return update(fmt.Sprintf(", big = repeat('%d', 3000)", v%10))
	case roll < 11:
		return update(", u = " + u(x.value()))
	case roll < 13:
		return update(fmt.Sprintf(", w = %d", x.value()))
	case roll < 15:
		return update(fmt.Sprintf(", id = %d", x.value()))
	case roll < 17:
		return []string{fmt.Sprintf("DELETE FROM %s WHERE id = %d", table, x.value())}
	case roll < 18:
		id := x.value()
		return []string{fmt.Sprintf("DELETE FROM %s WHERE id = %d", table, id), insert(id)}
	default:
		value := u(x.value()) // another row gets it
		return append([]string{fmt.Sprintf("UPDATE %s SET u = NULL WHERE u = %s", table, value)}, update(", u = "+value)...)
	}
}

// SeedOr is a seed of the caller's choice, so that a failure can be looked for
// again; what happens when is not in its hands.
func SeedOr(otherwise uint64) uint64 {
	if n, err := strconv.ParseUint(os.Getenv("BDR_SEED"), 10, 64); err == nil {
		return n
	}
	return otherwise
}

// UserErrors are errors that a user may get for what he wrote.
var UserErrors = []string{"23505", "23P01", "40P01"} // unique, exclusion, deadlock
