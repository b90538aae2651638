package sequence

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"bdr/gosrc/pgtest"
)

// TestFastPath exists because a message of the protocol calls a function by its number,
// past the planner: it must be refused, as the server's own function would be wrong.
func TestFastPath(t *testing.T) {
	n := newCluster(t, 1).Nodes[0]
	for _, kind := range allKinds {
		t.Run(kind, func(t *testing.T) {
			n := n.For(t)
			s := open(t, n, kind, kind)
			s.exec("CREATE SEQUENCE s")
			seq := binary.BigEndian.AppendUint32(nil, uint32(s.number("SELECT 's'::regclass::oid")))
			one := binary.BigEndian.AppendUint64(nil, 1)
			before := s.number("SELECT nextval('s')")
			for _, call := range []struct {
				function string
				args     [][]byte
			}{
				{"nextval(regclass)", [][]byte{seq}},
				{"currval(regclass)", [][]byte{seq}},
				{"lastval()", nil},
				{"setval(regclass, bigint)", [][]byte{seq, one}},
				{"setval(regclass, bigint, boolean)", [][]byte{seq, one, {0}}},
				{"pg_sequence_last_value(regclass)", [][]byte{seq}},
			} {
				oid := s.number("SELECT 'pg_catalog." + call.function + "'::regprocedure::oid")
				_, err := fastPath(s.PgConn, uint32(oid), call.args)
				if e := pgtest.PgError(err); e == nil || e.Code != "0A000" || !strings.Contains(e.Message, "cannot be called this way") || e.Hint == "" {
					t.Errorf("%s: %v", call.function, err)
				}
			}
			oid := s.number("SELECT 'bdr.seq_nextval_identity(regclass)'::regprocedure::oid")
			got, err := fastPath(s.PgConn, uint32(oid), [][]byte{seq})
			n.Must(err)
			if v := int64(binary.BigEndian.Uint64(got)); v <= before {
				t.Errorf("%d after %d", v, before)
			}
			user := n.As("postgres", "")
			user.Exec("CREATE ROLE fast_" + kind + " LOGIN")
			conn, err := pgconn.Connect(t.Context(), fmt.Sprintf("host=127.0.0.1 port=%d dbname=%s user=fast_%s", n.Port, n.Database, kind))
			n.Must(err)
			defer conn.Close(context.Background())
			if _, err := fastPath(conn, uint32(oid), [][]byte{seq}); pgtest.PgError(err) == nil || pgtest.PgError(err).Code != denied {
				t.Errorf("a user without rights on the sequence: %v", err)
			}
		})
	}
}

// fastPath calls a function by its number with arguments in binary.
func fastPath(c *pgconn.PgConn, function uint32, args [][]byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c.Frontend().Send(&pgproto3.FunctionCall{Function: function, ArgFormatCodes: []uint16{1}, Arguments: args, ResultFormatCode: 1})
	if err := c.Frontend().Flush(); err != nil {
		return nil, err
	}
	var result []byte
	var failed error
	for {
		message, err := c.ReceiveMessage(ctx)
		if err != nil && pgtest.PgError(err) == nil {
			return nil, err
		}
		switch m := message.(type) {
		case *pgproto3.FunctionCallResponse:
			result = slices.Clone(m.Result)
		case *pgproto3.ErrorResponse:
			failed = pgconn.ErrorResponseToPgError(m)
		case *pgproto3.ReadyForQuery:
			return result, failed
		}
	}
}

// TestServersOwnFunction exists because C code of contrib, and an alias of the C function,
// call the server's nextval: that must fail, and never give a value that exists.
func TestServersOwnFunction(t *testing.T) {
	n := newCluster(t, 1).Nodes[0]
	n.Exec("CREATE EXTENSION autoinc", "CREATE FUNCTION alias(regclass) RETURNS bigint LANGUAGE internal STRICT AS 'nextval_oid'")
	for _, kind := range allKinds {
		t.Run(kind, func(t *testing.T) {
			s := open(t, n.For(t), kind, kind)
			s.exec("CREATE SEQUENCE s", "CREATE TABLE t (id int, v text)", fmt.Sprintf("CREATE TRIGGER number BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION autoinc(id, '%s.s')", kind))
			before := s.number("SELECT nextval('s')")
			for _, sql := range []string{"INSERT INTO t (v) VALUES ('x')", "SELECT alias('s')", "SELECT alias('s') FROM generate_series(1, 3)"} {
				if kind == local {
					s.exec(sql)
				} else {
					s.refused(sql, "2200H", "reached maximum value of sequence")
				}
			}
			if v := s.number("SELECT nextval('s')"); v <= before {
				t.Errorf("%d after %d", v, before)
			}
		})
	}
}

// everything draws from a sequence of each kind, by nextval and by an identity column.
const everything = "all_%[1]s"

func makeOfEachKind(n *pgtest.Node) {
	for _, kind := range allKinds {
		n.Exec("SET bdr.default_sequence_kind = "+kind, fmt.Sprintf("CREATE TABLE "+everything+" (id bigint GENERATED ALWAYS AS IDENTITY, s bigserial, v text); ALTER TABLE "+everything+" REPLICA IDENTITY FULL", kind))
	}
	n.Exec("RESET bdr.default_sequence_kind")
}

// draw has each sequence make values, which must be larger than those before: made
// before, they are what is in the table.
func draw(t *testing.T, n *pgtest.Node, kinds ...string) {
	t.Helper()
	for _, kind := range kinds {
		table := fmt.Sprintf(everything, kind)
		n.Exec(fmt.Sprintf("INSERT INTO %s (v) SELECT 'x' FROM generate_series(1, 10)", table))
		requireNoneTwice(t, n, table)
	}
}

func requireNoneTwice(t *testing.T, n *pgtest.Node, table string) {
	t.Helper()
	if got := n.Value(fmt.Sprintf("SELECT count(*) - count(DISTINCT id) + count(*) - count(DISTINCT s) FROM %s", table)); got != "0" {
		t.Errorf("%s: %s values in %s are there twice", n.Name, got, table)
	}
}

// TestServerWithoutBDR exists because somebody may start a server without the library:
// then nothing may make values that are not the sequence's own. nextval leads to the
// library, which is loaded then, so that a chunk can be used up.
func TestServerWithoutBDR(t *testing.T) {
	n := newCluster(t, 1).Nodes[0]
	makeOfEachKind(n)
	draw(t, n, allKinds...)
	n.Must(n.Configure(map[string]string{"shared_preload_libraries": ""}))
	n.Must(n.Restart())
	for _, kind := range globalKinds {
		for _, sql := range []string{
			"INSERT INTO %s (v) VALUES ('x') RETURNING s", "INSERT INTO %s (s, v) VALUES (0, 'x')", "INSERT INTO %s (id, v) OVERRIDING SYSTEM VALUE VALUES (-1, 'x')",
			"SELECT nextval('%s_s_seq')", "SELECT nextval('%s_id_seq')", "SELECT bdr.seq_nextval('%s_s_seq')",
		} {
			sql = fmt.Sprintf(sql, fmt.Sprintf(everything, kind))
			_, err := pgtest.RunOn(n.Session(), sql, time.Minute)
			if err == nil && (kind != galloc || strings.Contains(sql, "VALUES (0")) {
				t.Errorf("%s: done without bdr", sql)
			}
		}
	}
	n.Must(n.Configure(map[string]string{"shared_preload_libraries": "bdr"}))
	n.Must(n.Restart())
	for _, kind := range allKinds {
		n.Exec("DELETE FROM " + fmt.Sprintf(everything, kind) + " WHERE id = -1")
	}
	draw(t, n, allKinds...)
	for _, kind := range allKinds {
		requireItsKind(t, n, fmt.Sprintf(everything, kind)+"_id_seq", kind)
	}
}

// exhaustedPages counts sequences that are not local whose page does not say that the
// maximum has been reached, by a server's function that nobody redirects.
const exhaustedPages = `SELECT count(*) FROM bdr.sequences s, LATERAL (SELECT format('%I.%I', s.nspname, s.relname)::regclass AS seq) r,
 LATERAL (SELECT raw FROM page(r.seq) raw) p WHERE s.seqkind <> 'local' AND p.raw <> (SELECT seqmax FROM pg_sequence WHERE seqrelid = r.seq)`

// TestPagesStay exists because a statement that fails, or is taken back, leaves what it
// did to pages of sequences: they must not be the server's own for that.
func TestPagesStay(t *testing.T) {
	n := newCluster(t, 1).Nodes[0]
	n.Exec("CREATE FUNCTION page(regclass) RETURNS bigint LANGUAGE internal STRICT AS 'pg_sequence_last_value'", "CREATE ROLE somebody LOGIN")
	makeOfEachKind(n)
	draw(t, n, allKinds...)
	somebody := n.As("somebody", "")
	for _, sql := range []string{
		"DROP EXTENSION bdr", "DROP EXTENSION bdr CASCADE", "BEGIN; DROP EXTENSION bdr; ROLLBACK", "DROP SCHEMA bdr CASCADE",
		"BEGIN; TRUNCATE all_galloc RESTART IDENTITY; ROLLBACK", "ALTER TABLE all_galloc SET UNLOGGED", "ALTER SEQUENCE all_galloc_s_seq SET UNLOGGED",
		"ALTER SEQUENCE all_galloc_s_seq RESTART", "BEGIN; ALTER TABLE all_galloc ALTER v TYPE varchar, ALTER id DROP IDENTITY; ROLLBACK",
	} {
		_ = somebody.Try(sql)
		_ = n.Try(sql)
		_ = n.Try("ROLLBACK")
		if got := n.Value(exhaustedPages); got != "0" {
			t.Errorf("after %s: %s pages are not exhausted", sql, got)
		}
	}
	draw(t, n, allKinds...)
	for _, kind := range allKinds {
		requireItsKind(t, n, fmt.Sprintf(everything, kind)+"_id_seq", kind)
	}
	if v, err := strconv.Atoi(n.Value("SELECT max(s) FROM all_galloc")); err != nil || v != 20 {
		t.Errorf("galloc has come to %d, %v", v, err)
	}
}
