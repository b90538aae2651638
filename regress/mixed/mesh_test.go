package mixed

import (
	"fmt"
	"testing"

	"bdr/gosrc/pgtest"
)

// TestMajorsReplicate exists because a cluster moves from one major version to the
// next while it is written to: all of them write, and hold the same rows.
func TestMajorsReplicate(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithMajors(15, 17, 18))
	c.ExecAll("CREATE TABLE orders (id int PRIMARY KEY, what text, at timestamptz DEFAULT now())")
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf("INSERT INTO orders SELECT g, 'from %s' FROM generate_series(%d, %d) g", n.Name, i*1000+1, i*1000+100))
	}
	c.RequireConverged()
	for i, n := range c.Nodes {
		other := (i + 1) % 3 * 1000 // rows that another node made
		n.Exec(fmt.Sprintf("UPDATE orders SET what = 'changed by %s' WHERE id BETWEEN %d AND %d", n.Name, other+1, other+20),
			fmt.Sprintf("DELETE FROM orders WHERE id BETWEEN %d AND %d", other+31, other+50))
	}
	c.RequireConverged()
}
