package mixed

import (
	"slices"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// largestInterval is finite up to PostgreSQL 16 (TestRefusedValues).
const largestInterval = "2147483647 mons 2147483647 days 2562047788:00:54.775807"

// TestTypes exists because a value in internal form means something only to a
// server of the same major version: values of all types go from each major version
// to each other one, as columns, in arrays, and as the keys that rows are found by.
func TestTypes(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithMajors(15, 17, 18), pgtest.WithProxies(), pgtest.WithMembers(0), pgtest.WithSettings(clustertest.QuickRetries))
	forms := clustertest.ListenForms(allLinks(c)...)
	for i := range c.Nodes {
		c.Member(i)
	}
	c.WaitMesh(c.Nodes...)
	c.ExecAll(`CREATE TABLE "Odd Table" (id int PRIMARY KEY)`)
	clustertest.MakeUserTypes(c)
	var classes []clustertest.TypeClass
	for _, class := range slices.Concat(clustertest.BuiltinTypes, clustertest.UserTypes) {
		classes = append(classes, class.Without(largestInterval))
	}
	classes = append(classes, clustertest.ContribTypes(t, c))
	clustertest.RequireEveryBuiltinType(t, c.Nodes[2])
	t.Run("from_15_and_17", func(t *testing.T) { clustertest.TypesTravel(t, c.For(t), classes...) })
	c.Nodes[0], c.Nodes[1], c.Nodes[2] = c.Nodes[2], c.Nodes[0], c.Nodes[1]
	t.Run("from_18_and_15", func(t *testing.T) { clustertest.TypesTravel(t, c.For(t), classes...) })
	if internal, all, err := forms.In('i'); err != nil || len(internal) > 0 || all < 100 {
		t.Errorf("of %d types these came in internal form: %v (%v)", all, internal, err)
	}
	if of15 := forms.Of("interval"); of15 != "bt" && of15 != "tb" { // b between 17 and 18
		t.Errorf("intervals came in the forms %q", of15)
	}
	for _, n := range c.Nodes {
		clustertest.RequireNoErrors(t, n)
		if got := n.Value("SELECT count(*) FROM bdr.conflict_history WHERE conflict_type::text <> 'update_origin_change'"); got != "0" {
			t.Errorf("%s: %s conflicts, and nobody wrote at the same time", n.Name, got)
		}
	}
}

func allLinks(c *pgtest.Cluster) (links []*pgtest.Link) {
	for _, from := range c.Nodes {
		for _, to := range c.Nodes {
			if from != to {
				links = append(links, c.Link(from, to))
			}
		}
	}
	return links
}
