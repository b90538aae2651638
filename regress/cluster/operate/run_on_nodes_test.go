package operate

import (
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestRunOnNodes exists because it is how a DBA asks, and changes, all nodes at once:
// one that is away must not hide what the others say.
func TestRunOnNodes(t *testing.T) {
	c := pgtest.NewCluster(t, 3)
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE SCHEMA s", "ALTER DATABASE "+a.Database+" SET bdr.ddl_replication = on", "CREATE ROLE plain")
	a.CloseSessions()
	ask := func(call string) string {
		t.Helper()
		return a.Value("SELECT string_agg(n->>'node_name' || '=' || (n->>'response'), ' ') FROM json_array_elements(" + call + ") n")
	}
	const rows = `[{"command_status":"SELECT 1","command_tuples":[{"n":1,"t":"a\"b","u":null,"b":true,"f":"1.5"}]}]`
	query := `$$SELECT 1 AS n, 'a"b' AS t, NULL AS u, true AS b, 1.5 AS f$$`
	for _, test := range []struct{ name, call, want string }{
		{"all", "bdr.run_on_all_nodes(" + query + ")", "node1=" + rows + " node2=" + rows + " node3=" + rows},
		{"some", "bdr.run_on_nodes('{node3,node1}', " + query + ")", "node3=" + rows + " node1=" + rows},
		{"group", "bdr.run_on_group('" + a.Value("SELECT node_group_name FROM bdr.node_group") + "', " + query + ")", "node1=" + rows + " node2=" + rows + " node3=" + rows},
		{"no_group", "bdr.run_on_group('none', " + query + ")", "<NULL>"},
		{"error", "bdr.run_on_nodes('{node2}', 'SELECT 1 AS n; SELECT 1/0; SELECT 2')", `node2=[{"command_status":"SELECT 1","command_tuples":[{"n":1}]},{"error":"division by zero","sqlstate":"22012","detail":"","hint":""}]`},
		{"copy", "bdr.run_on_nodes('{node2}', 'COPY bdr.node_group FROM STDIN')", `node2=[{"error":"COPY from stdin failed: COPY FROM STDIN is not supported here","sqlstate":"57014","detail":"","hint":""}]`},
		{"ddl_stays_there", "bdr.run_on_nodes('{node1,node2}', 'CREATE TABLE public.t (id int PRIMARY KEY)')", `node1=[{"command_status":"CREATE TABLE","command_tuples":0}] node2=[{"command_status":"CREATE TABLE","command_tuples":0}]`},
		{"rows_are_replicated", "bdr.run_on_nodes('{node2}', 'INSERT INTO t VALUES (1), (2)')", `node2=[{"command_status":"INSERT 0 2","command_tuples":2}]`},
		{"large", "bdr.run_on_nodes('{node2}', $$SELECT repeat('x', 20000000)$$)", `node2=[{"error":"the answer of the node is larger than 16777216 bytes","sqlstate":"54000","detail":"","hint":""}]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := ask(test.call); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM t", "2")
	a.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM t", "2")
	clustertest.RequireRefused(t, a, "SELECT bdr.run_on_nodes('{node9}', 'SELECT 1')", "42704", "node \"node9\" does not exist")
	clustertest.RequireRefused(t, a, "SET ROLE plain; SELECT bdr.run_on_all_nodes('SELECT 1')", "42501", "permission denied")
	a.Exec("GRANT USAGE ON SCHEMA bdr TO plain; GRANT EXECUTE ON FUNCTION bdr.internal_run_on_node(text, text) TO plain")
	clustertest.RequireRefused(t, a, "SET ROLE plain; SELECT bdr.internal_run_on_node('node2', 'SELECT 1')", "42501", "permission denied")

	t.Run("cancelled", func(t *testing.T) {
		began := time.Now()
		clustertest.RequireRefused(t, a, "SET statement_timeout = '1s'; SELECT bdr.run_on_nodes('{node2}', 'SELECT pg_sleep(60)')", "57014", "")
		if took := time.Since(began); took > clustertest.ResumeLimit {
			t.Errorf("it took %v to cancel", took)
		}
		b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)' AND state = 'active'", "0")
	})
	t.Run("one_is_away", func(t *testing.T) {
		_, err := b.Stop(pgtest.Fast)
		b.Must(err)
		got := ask("bdr.run_on_all_nodes('SELECT 1 AS n')")
		if strings.Count(got, `"n":1`) != 2 || !strings.Contains(got, `node2=[{"error":"could not connect to`) {
			t.Error(got)
		}
	})
}
