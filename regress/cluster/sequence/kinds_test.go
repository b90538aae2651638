package sequence

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgtest"
)

// kinds are all that there are; how a test knows a value of each is decoded.
const (
	local       = "local"
	snowflakeid = "snowflakeid"
	timeshard   = "timeshard"
	galloc      = "galloc"
)

var (
	allKinds    = []string{local, snowflakeid, timeshard, galloc}
	globalKinds = []string{snowflakeid, timeshard, galloc}
	idKinds     = []string{snowflakeid, timeshard}
)

// decoded says of which kind a value is, by what is in it: the number of the node
// for ids, which are of the last minutes. A snowflakeid of a node cannot be taken
// for a timeshard id of the same node.
const decoded = `CASE
 WHEN v BETWEEN bdr.timestamp_to_snowflakeid(now() - interval '10 minutes') AND bdr.timestamp_to_snowflakeid(now() + interval '1 minute') THEN
  CASE (SELECT node_seq_id FROM bdr.node_summary WHERE node_name = (SELECT node_name FROM bdr.local_node_summary))
   WHEN bdr.extract_nodeid_from_snowflakeid(v) THEN 'snowflakeid'
   WHEN bdr.extract_nodeid_from_timeshard(v) THEN 'timeshard'
   ELSE 'an id of another node' END
 WHEN v BETWEEN 1 AND 1::bigint << 56 THEN 'a number' ELSE 'nothing that a sequence makes' END`

// drawn is all values of a kind that a test has seen: ids of all sequences of a kind
// on a node differ.
type drawn map[string]string // value: who got it

// require requires that the values, which a node has made, are of the kind, and that
// none was there before.
func (d drawn) require(t testing.TB, n *pgtest.Node, kind, who string, values []string) {
	t.Helper()
	want := kind
	if kind == galloc || kind == local {
		want = "a number"
		d = drawn{} // each sequence counts for itself
	}
	got := n.Rows(fmt.Sprintf("SELECT v, %s FROM unnest('{%s}'::bigint[]) v", decoded, strings.Join(values, ",")))
	for _, row := range got {
		if row[1] != want {
			t.Errorf("%s: %s is %s, expected %s", who, row[0], row[1], want)
		}
		if before := d[row[0]]; before != "" {
			t.Errorf("%s: %s has been given before, to %s", who, row[0], before)
		}
		d[row[0]] = who
	}
	if len(got) != len(values) {
		t.Errorf("%s: %d of %d values are there", who, len(got), len(values))
	}
}

// session is one of a test: its own schema, where new sequences are of one kind.
type session struct {
	*pgconn.PgConn
	t testing.TB
	n *pgtest.Node
}

// open opens a session on a node whose new sequences are of a kind.
func open(t testing.TB, n *pgtest.Node, kind, schema string) *session {
	t.Helper()
	s := &session{n.Session(), t, n}
	s.exec(fmt.Sprintf("CREATE SCHEMA IF NOT EXISTS %[1]s; SET search_path = %[1]s, public; SET bdr.default_sequence_kind = %[2]s; SET client_min_messages = warning", schema, kind))
	return s
}

func (s *session) run(sql string) ([][]string, error) {
	return pgtest.RunOn(s.PgConn, sql, time.Minute)
}

// rows runs one or more statements, each a transaction of its own where they are
// apart.
func (s *session) exec(statements ...string) (last [][]string) {
	s.t.Helper()
	for _, sql := range statements {
		rows, err := s.run(sql)
		if err != nil {
			s.t.Fatalf("%s: %s\n%s", s.n.Name, pgtest.Explain(err), sql)
		}
		last = rows
	}
	return last
}

// column is the first column of what a query returns.
func (s *session) column(sql string) []string {
	s.t.Helper()
	var values []string
	for _, row := range s.exec(sql) {
		values = append(values, row[0])
	}
	return values
}

func (s *session) value(sql string) string {
	s.t.Helper()
	values := s.column(sql)
	if len(values) != 1 {
		s.t.Fatalf("%s: not one value but %v\n%s", s.n.Name, values, sql)
	}
	return values[0]
}

func (s *session) number(sql string) int64 {
	s.t.Helper()
	v, err := strconv.ParseInt(s.value(sql), 10, 64)
	s.n.Must(err)
	return v
}

// refused requires an error with a state and a text somewhere in it.
func (s *session) refused(sql, code, text string) {
	s.t.Helper()
	_, err := s.run(sql)
	if e := pgtest.PgError(err); e == nil || e.Code != code || !strings.Contains(pgtest.Explain(err), text) {
		explained := "it was done"
		if err != nil {
			explained = pgtest.Explain(err)
		}
		s.t.Errorf("%s: %s, expected %s with %q\n%s", s.n.Name, explained, code, text, sql)
	}
	if s.TxStatus() != 'I' {
		_, _ = s.run("ROLLBACK")
	}
}

// copyIn is COPY FROM STDIN.
func (s *session) copyIn(sql, input string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := s.CopyFrom(ctx, strings.NewReader(input), sql)
	return err
}

// requireItsKind requires the kind that a sequence of a node has.
func requireItsKind(t testing.TB, n *pgtest.Node, sequence, want string) {
	t.Helper()
	if got := kindOf(n, sequence); got != want {
		t.Errorf("%s: sequence %s is %s, expected %s", n.Name, sequence, got, want)
	}
}

func kindOf(n *pgtest.Node, sequence string) string {
	return n.Value(fmt.Sprintf("SELECT seqkind FROM bdr.sequences WHERE format('%%I.%%I', nspname, relname)::regclass = '%s'::regclass", sequence))
}

// setKind changes the kind of a sequence on all nodes.
func setKind(n *pgtest.Node, sequence, kind string) {
	n.Exec(fmt.Sprintf("SELECT bdr.alter_sequence_set_kind('%s', '%s')", sequence, kind))
}

// newCluster is one whose nodes have sequences of all kinds.
func newCluster(t testing.TB, n int, options ...pgtest.Option) *pgtest.Cluster {
	t.Helper()
	c := pgtest.NewCluster(t, n, options...)
	waitInstalled(c.Nodes...)
	return c
}

// waitInstalled returns when nextval is redirected.
func waitInstalled(nodes ...*pgtest.Node) {
	for _, n := range nodes {
		n.Wait(time.Minute, "SELECT count(*) FROM pg_proc WHERE prosupport = 'bdr.seq_support'::regproc AND proname IN ('nextval', 'currval', 'lastval', 'setval')", "5")
	}
}
