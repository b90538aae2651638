package sequence

import (
	"fmt"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestManySequences exists because all sequences of an application change their kind
// one after the other, from ids to ids, too: the clock of ids must not run ahead by that.
func TestManySequences(t *testing.T) {
	c := newCluster(t, 2)
	a := c.Nodes[0]
	c.ExecAll(fmt.Sprintf("SET bdr.default_sequence_kind = local; DO $$ BEGIN FOR i IN 1..%d LOOP EXECUTE format('CREATE TABLE t%%s (id bigserial, k int)', i); END LOOP; END $$", many),
		"RESET bdr.default_sequence_kind")
	a.Exec("INSERT INTO t1 (k) VALUES (1)")
	for _, kind := range []string{galloc, snowflakeid, timeshard, snowflakeid} {
		c.WaitDrained(c.Nodes...)
		if got := a.Value(fmt.Sprintf("SELECT string_agg(DISTINCT result, ' ') || count(*) FROM bdr.alter_all_sequences_set_kind('%s')", kind)); got != fmt.Sprintf("changed%d", many) {
			t.Fatalf("to %s: %s", kind, got)
		}
		for _, n := range c.Nodes {
			n.Wait(clustertest.ResumeLimit, "SELECT string_agg(DISTINCT seqkind, ' ') FROM bdr.sequences", kind)
			requireNear(t, n, kind)
			n.Exec("INSERT INTO t1 (k) VALUES (1)")
		}
	}
	requireSameChunks(t, c.Nodes...)
	c.RequireConverged()
	if got := a.Value("SELECT count(*) - count(DISTINCT id) FROM t1"); got != "0" {
		t.Errorf("%s values are there twice", got)
	}
}

const many = 70

// requireNear requires that ids are of this time, a few seconds more or less.
func requireNear(t *testing.T, n *pgtest.Node, kind string) {
	t.Helper()
	if kind == galloc {
		return
	}
	got := n.Value(fmt.Sprintf("SELECT extract(epoch FROM bdr.extract_timestamp_from_%s(nextval('t1_id_seq')) - clock_timestamp())::int BETWEEN -1 AND 10", kind))
	if got != "t" {
		t.Errorf("%s: ids of %s are of another time: %s", n.Name, kind, n.Value(fmt.Sprintf("SELECT bdr.extract_timestamp_from_%s(nextval('t1_id_seq')) - clock_timestamp()", kind)))
	}
}
