package sequence

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// requireKind requires that all nodes have the kind of a sequence by now.
func requireKind(t *testing.T, sequence, kind string, nodes ...*pgtest.Node) {
	t.Helper()
	for _, n := range nodes {
		n.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT seqkind FROM bdr.sequences WHERE relname = '%s'", sequence), kind)
	}
}

// requireSameChunks requires that all nodes know the same of who may make what, and
// that no value is in two chunks.
func requireSameChunks(t *testing.T, nodes ...*pgtest.Node) {
	t.Helper()
	const query = `SELECT coalesce(string_agg(format('%s %s-%s %s', seq_key, first_value, last_value, node_id), ', ' ORDER BY seq_key, first_value), '')
 || (SELECT coalesce(string_agg(format('; %s %s %s', seq_key, allocated_up_to, nallocs), '' ORDER BY seq_key), '') FROM bdr.sequence_allocation) FROM bdr.sequence_chunk`
	want := nodes[0].Value(query)
	for _, n := range nodes[1:] {
		n.Wait(clustertest.ResumeLimit, query, want)
	}
	const overlaps = `SELECT count(*) FROM bdr.sequence_chunk a JOIN bdr.sequence_chunk b ON a.seq_key = b.seq_key
 AND a.first_value < b.first_value AND a.last_value >= b.first_value`
	if got := nodes[0].Value(overlaps); got != "0" {
		t.Errorf("%s chunks overlap: %s", got, want)
	}
}

// eachAtOnce runs something on all nodes at the same time.
func eachAtOnce(nodes []*pgtest.Node, f func(n *pgtest.Node)) {
	var wait sync.WaitGroup
	for _, n := range nodes {
		wait.Go(func() { f(n) })
	}
	wait.Wait()
}

// TestGalloc exists because no two nodes may make the same number, whoever needs
// chunks at the same time, and because a smallint must last.
func TestGalloc(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	a := c.Nodes[0]
	c.ExecAll("SET bdr.default_sequence_kind = 'local'; CREATE TABLE t (id smallserial PRIMARY KEY, who text)")
	a.Exec("INSERT INTO t (who) SELECT 'before' FROM generate_series(1, 10)")
	c.RequireConverged()
	a.Exec("SELECT bdr.alter_sequence_set_kind('t_id_seq', 'galloc')")
	requireKind(t, "t_id_seq", "galloc", c.Nodes...)

	eachAtOnce(c.Nodes, func(n *pgtest.Node) {
		for range 50 {
			n.Exec(fmt.Sprintf("INSERT INTO t (who) SELECT '%s' FROM generate_series(1, 50)", n.Name))
		}
	})
	c.RequireConverged()
	if got := a.Value("SELECT count(DISTINCT id) || ' ' || (min(id) FILTER (WHERE who <> 'before') > 10) FROM t"); got != "7510 true" {
		t.Errorf("%s rows", got)
	}
	for _, n := range c.Nodes {
		if got := n.Value("SELECT count(*) FROM bdr.conflict_history"); got != "0" {
			t.Errorf("%s: %s conflicts", n.Name, got)
		}
	}
	requireSameChunks(t, c.Nodes...)

	t.Run("setval", func(t *testing.T) {
		a.Exec("SELECT setval('t_id_seq', 20000)")
		requireSameChunks(t, c.Nodes...)
		for _, n := range c.Nodes {
			n.Wait(clustertest.ResumeLimit, "SELECT nextval('t_id_seq') > 20000", "t")
		}
	})
	t.Run("exhausted", func(t *testing.T) {
		a.Exec("SELECT setval('t_id_seq', 32700)")
		var made []string
		for range 3 {
			for _, n := range c.Nodes {
				n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.sequence_chunk WHERE first_value <= 32700", "0")
			}
		}
		for _, n := range c.Nodes {
			rows, err := n.Run(n.Database, "SELECT nextval('t_id_seq') FROM generate_series(1, 67)")
			if err != nil {
				if !strings.Contains(err.Error(), "reached maximum value") {
					t.Errorf("%s: %v", n.Name, err)
				}
				continue
			}
			made = append(made, rows[0][0], rows[len(rows)-1][0])
		}
		if fmt.Sprint(made) != "[32701 32767]" {
			t.Errorf("the last values went to %v", made)
		}
	})
}

// TestGallocWithoutMajority exists because a node must go on with what it has, say
// why it cannot when that is used up, and go on by itself.
func TestGallocWithoutMajority(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	a := c.Nodes[0]
	c.ExecAll("CREATE SEQUENCE s AS smallint")
	requireKind(t, "s", "galloc", c.Nodes...)
	a.Exec("SELECT nextval('s')")
	a.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.galloc_chunk_info('s')", "3")
	for _, n := range c.Nodes[1:] {
		_, err := n.Stop(pgtest.Immediate)
		n.Must(err)
	}
	if got := a.Value("SELECT count(DISTINCT nextval('s')) FROM generate_series(1, 2999)"); got != "2999" {
		t.Errorf("made %s values of three chunks", got)
	}
	begun := time.Now()
	clustertest.RequireRefused(t, a, "SELECT nextval('s')", "55000", "could not get values for sequence public.s")
	if d := time.Since(begun); d < 2*time.Second || d > 25*time.Second {
		t.Errorf("refused after %s", d)
	}
	a.Must(c.Nodes[1].Start())
	pgtest.Eventually(t, clustertest.ResumeLimit, "values come again", func() (bool, string) {
		rows, err := a.Run(a.Database, "SELECT nextval('s') > 3000")
		return err == nil && rows[0][0] == "t", fmt.Sprint(rows, err)
	})
}
