package sequence

import (
	"fmt"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestJoinCopiesKinds exists because a new node must make values of the kinds that the
// group has, and of numbers that nobody else had lately.
func TestJoinCopiesKinds(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithMembers(2))
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	for _, n := range []*pgtest.Node{a, b} {
		n.Exec(`SET bdr.default_sequence_kind = 'local';
 CREATE TABLE given (id serial PRIMARY KEY, who text);
 CREATE TABLE made (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, who text);
 CREATE SCHEMA "O'Neill"; CREATE SEQUENCE "O'Neill"."Plain s" START 7`)
	}
	a.Exec("SELECT bdr.alter_sequence_set_kind('given_id_seq', 'galloc'), bdr.alter_sequence_set_kind('made_id_seq', 'snowflakeid')")
	a.Exec(`SELECT nextval('"O''Neill"."Plain s"'), nextval('"O''Neill"."Plain s"')`)
	requireKind(t, "made_id_seq", "snowflakeid", a, b)
	d.CreateNode()
	d.Join(a)
	c.WaitMesh(c.Nodes...)
	const kinds = "SELECT string_agg(relname || ' ' || seqkind, ', ' ORDER BY relname) FROM bdr.sequences"
	if got := d.Value(kinds); got != "Plain s local, given_id_seq galloc, made_id_seq snowflakeid" {
		t.Errorf("the new node has %s", got)
	}
	if got := d.Value(`SELECT nextval('"O''Neill"."Plain s"')`); got != "9" {
		t.Errorf("the local sequence goes on with %s", got)
	}
	eachAtOnce(c.Nodes, func(n *pgtest.Node) {
		for range 10 {
			n.Exec(fmt.Sprintf("INSERT INTO given (who) SELECT '%s' FROM generate_series(1, 10)", n.Name),
				fmt.Sprintf("INSERT INTO made (who) SELECT '%s' FROM generate_series(1, 10)", n.Name))
		}
	})
	c.RequireConverged()
	if got := d.Value("SELECT (SELECT count(*) FROM given) || ' ' || (SELECT count(*) FROM made)"); got != "300 300" {
		t.Errorf("%s rows", got)
	}
	requireSameChunks(t, c.Nodes...)
	numbersInTurn(t, a, b, d)
}

const numbers = "SELECT string_agg(node_name || ' ' || seq_id, ', ' ORDER BY node_name) FROM bdr.node WHERE node_state <> 12"

// numbersInTurn takes a node out and in again: it gets another number.
func numbersInTurn(t *testing.T, a, b, d *pgtest.Node) {
	t.Helper()
	if got := a.Value(numbers); got != "node1 1, node2 2, node3 3" {
		t.Errorf("numbers %s", got)
	}
	a.Exec("SELECT bdr.part_node(node_name := 'node3')", "SELECT bdr.drop_node('node3')")
	d.Wait(clustertest.ResumeLimit, "SELECT peer_state_name FROM bdr.node_summary WHERE node_name = 'node3'", "PARTED")
	d.Exec("SELECT bdr.drop_node('node3')")
	requireKind(t, "made_id_seq", "local", d)
	requireKind(t, "given_id_seq", "local", d)
	if got := d.Value("SELECT (SELECT count(*) FROM bdr.sequence_chunk) + (SELECT count(*) FROM bdr.sequence_allocation) + (SELECT count(*) FROM bdr.sequence_switch)"); got != "0" {
		t.Errorf("%s rows of the group are left", got)
	}
	d.Exec(`DROP TABLE given, made; DROP SCHEMA "O'Neill" CASCADE`)
	d.CreateNode()
	d.Join(b)
	if got := b.Value(numbers); got != "node1 1, node2 2, node3 4" {
		t.Errorf("numbers %s", got)
	}
	if got := d.Value("INSERT INTO made (who) VALUES ('again') RETURNING bdr.extract_nodeid_from_snowflakeid(id)"); got != "4" {
		t.Errorf("ids are of node %s", got)
	}
	d.Exec("INSERT INTO given (who) VALUES ('again')")
}
