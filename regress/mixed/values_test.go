package mixed

import (
	"fmt"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// A refusedValue is one that a node has and that is no value on a node of another
// major version.
type refusedValue struct {
	name, value  string
	from         int // places of nodes
	refusedBy    []int
	column, code string
	message      string
}

var refusedValues = []refusedValue{
	{"an_infinite_interval", "'infinity'", 2, []int{0}, "i", "22007", `invalid input syntax for type interval: "infinity"`},
	{"one_in_an_array", "ARRAY['1 day', '-infinity']::interval[]", 1, []int{0}, "a", "22007", `invalid input syntax for type interval: "-infinity"`},
	{"one_in_a_composite", "ROW(1, 'infinity')", 2, []int{0}, "c", "22007", `invalid input syntax for type interval: "infinity"`},
	{"an_interval_that_would_be_infinite", "'" + largestInterval + "'", 0, []int{1, 2}, "i", "22008", `interval out of range: "178956970 years 7 mons`},
	{"one_in_an_array_that_would_be", "ARRAY['-2147483648 mons -2147483648 days'::interval - '2562047788:00:54.775807' - '1 us']", 0, []int{1, 2}, "a", "22008",
		`interval out of range: "-178956970 years -8 mons`},
	{"a_method_of_a_newer_jsonpath", "'$.a.bigint()'", 1, []int{0}, "j", "42601", `syntax error`},
	{"a_newer_privilege", "'postgres=m/postgres'", 2, []int{0}, "l", "22P02", "invalid mode character"},
}

// TestRefusedValues exists because a value that one major version has and another
// one does not must neither become something else there nor be left out: the
// subscription stops and says which column of which table it is about. Everybody
// else goes on; so does this one, after what the DBA decides.
func TestRefusedValues(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithMajors(15, 17, 18), pgtest.WithSettings(clustertest.QuickRetries))
	c.ExecAll("CREATE TYPE pair AS (n int, i interval)",
		"CREATE TABLE refused (id int PRIMARY KEY, i interval, a interval[], c pair, j jsonpath, l aclitem, note text)",
		"CREATE TABLE other (id int PRIMARY KEY)")
	for i, r := range refusedValues {
		t.Run(r.name, func(t *testing.T) { r.stops(t, c.For(t), i) })
	}
}

func (r refusedValue) stops(t *testing.T, c *pgtest.Cluster, id int) {
	from := c.Nodes[r.from]
	from.Exec(fmt.Sprintf("INSERT INTO other VALUES (%d)", 2*id), fmt.Sprintf("INSERT INTO refused (id, %s) VALUES (%d, %s)", r.column, id, r.value),
		fmt.Sprintf("INSERT INTO other VALUES (%d)", 2*id+1))
	stopped := map[string]bool{}
	for _, place := range r.refusedBy {
		stopped[c.Nodes[place].Name] = true
		r.requireStopped(t, c.Nodes[place])
	}
	for _, n := range c.Nodes {
		want := fmt.Sprint(2*id + 1)
		if stopped[n.Name] {
			want = fmt.Sprint(2 * id)
		}
		n.Wait(clustertest.ResumeLimit, "SELECT max(id) FROM other", want)
	}
	for _, place := range r.refusedBy {
		skipFirst(c.Nodes[place])
	}
	from.Exec(fmt.Sprintf("DELETE FROM refused WHERE id = %d", id))
	c.RequireConverged()
	for _, n := range c.Nodes {
		n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.worker_errors", "0")
	}
}

func (r refusedValue) requireStopped(t *testing.T, n *pgtest.Node) {
	t.Helper()
	n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.worker_errors", "1")
	row := n.Rows("SELECT error_sqlstate, error_message, error_hint, error_context FROM bdr.worker_errors")[0]
	if row[0] != r.code || !strings.Contains(row[1], r.message) || !strings.Contains(row[2], "another major version") ||
		!strings.Contains(row[3], `column "`+r.column+`"`) || !strings.Contains(row[3], `"public.refused"`) {
		t.Errorf("%s: %q", n.Name, row)
	}
}

// skipFirst leaves out the transaction that a node cannot apply.
func skipFirst(n *pgtest.Node) {
	failing := n.Rows("SELECT sub_name, remote_end_lsn FROM bdr.worker_errors")[0]
	n.Exec(fmt.Sprintf("SELECT bdr.alter_subscription_disable('%s', immediate := true)", failing[0]),
		fmt.Sprintf("SELECT bdr.alter_subscription_skip_changes_upto('%s', '%s')", failing[0], failing[1]),
		fmt.Sprintf("SELECT bdr.alter_subscription_enable('%s')", failing[0]))
}
