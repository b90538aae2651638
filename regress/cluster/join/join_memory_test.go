package join

import (
	"context"
	"fmt"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestJoinCarriesUnseenVersions exists because a row that lost on the source of a
// join, or was evicted there, leaves nothing in the rows that the new node gets.
// A peer may send it something older than that: a value that the loser took, a
// row with the key of the evicted one.
//
// One lock on the source keeps the new node from hearing the peers until all has
// been written; another keeps the older rows away from the source.
func TestJoinCarriesUnseenVersions(t *testing.T) {
	c := pgtest.NewCluster(t, 4, pgtest.WithProxies(), pgtest.WithMembers(3), pgtest.WithSettings(clustertest.Impatient))
	source, peer, third, joining := c.Nodes[0], c.Nodes[1], c.Nodes[2], c.Nodes[3]
	for _, n := range c.Nodes[:3] {
		n.Exec("CREATE TABLE gate (id int PRIMARY KEY)", "CREATE TABLE last_gate (id int PRIMARY KEY)", "CREATE TABLE open_gate (id int PRIMARY KEY)",
			"CREATE TYPE color AS ENUM ('red', 'green')",
			"CREATE TABLE item (id int, part color, u int UNIQUE, w text CONSTRAINT item_w UNIQUE, PRIMARY KEY (part, id))")
	}
	gate, lastGate := source.Session(), source.Session()
	lock := func(sql string) { _, err := gate.Exec(context.Background(), sql).ReadAll(); source.Must(err) }
	lock("BEGIN; LOCK TABLE gate IN EXCLUSIVE MODE")
	_, err := lastGate.Exec(context.Background(), "BEGIN; LOCK TABLE last_gate IN EXCLUSIVE MODE").ReadAll()
	source.Must(err)
	third.Exec("INSERT INTO gate VALUES (1)")
	source.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM pg_locks WHERE relation = 'gate'::regclass AND NOT granted", "1")

	joining.CreateNode()
	joining.StartJoin(source)
	reads := fmt.Sprintf(`SELECT count(*) FROM pg_stat_replication r JOIN pg_replication_slots s ON s.active_pid = r.pid
		WHERE r.state = 'streaming' AND s.slot_name LIKE '%%\_%s'`, joining.Value("SELECT node_id FROM bdr.local_node"))
	source.Wait(clustertest.ResumeLimit, reads, "1")

	// behind the barriers: the source can be past them
	third.Exec("INSERT INTO gate VALUES (2)")
	peer.Exec("INSERT INTO open_gate VALUES (2)")
	source.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM open_gate", "1")

	cut := []*pgtest.Link{c.Link(peer, source), c.Link(third, source), c.Link(source, third), c.Link(peer, third), c.Link(third, peer)}
	for _, l := range cut {
		l.Cut()
	}
	source.Exec("INSERT INTO item VALUES (5, 'red', 7, 'a')") // evicted by the row with u 7
	peer.Exec("BEGIN; INSERT INTO last_gate VALUES (1); INSERT INTO item VALUES (3, 'green', 3, 'b'), (5, 'red', 9, 'c'); COMMIT")
	third.Exec("INSERT INTO item VALUES (2, 'red', 1, 'b'), (6, 'red', 7, 'd')") // loses, but took w b; wins
	source.Exec("INSERT INTO item VALUES (1, 'red', 1, 'e')")
	lock("ROLLBACK")
	for _, l := range cut {
		l.Heal()
	}
	rows := "SELECT string_agg(part || ' ' || id, ', ' ORDER BY part, id) FROM item"
	joining.Wait(clustertest.ResumeLimit, rows, "red 1, red 6")
	const memory = `SELECT string_agg(m.relation::regclass || ' ' || m.index_name || ' ' || m.key_values::text || ' ' || m.commit_time || ' ' || m.node_id, ', '
		ORDER BY m.index_name) FROM bdr.remembered_version m`
	if want, got := source.Value(memory), joining.Value(memory); got != want || got == "" {
		t.Errorf("the new node remembers %s, the source %s", got, want)
	}

	joining.Wait(clustertest.ResumeLimit, "SELECT peer_state_name FROM bdr.local_node_summary", "ACTIVE")
	joining.Wait(clustertest.ResumeLimit, rows, "red 1, red 5, red 6")
	_, err = lastGate.Exec(context.Background(), "ROLLBACK").ReadAll()
	source.Must(err)
	c.WaitMesh(c.Nodes...)
	c.RequireConverged()
	source.Wait(clustertest.ResumeLimit, rows, "red 1, red 5, red 6")
}
