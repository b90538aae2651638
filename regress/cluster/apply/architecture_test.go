package apply

import (
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// otherArchitecture is what no machine of these tests is.
const otherArchitecture = "be:datum4:float8byref:maxalign4:toast2k:blcksz8192:namedata64"

// TestOtherArchitecture exists because internal form is bytes of a machine: a node
// that says that it is another one neither sends nor gets a value in that form,
// whatever its type, and all arrive.
func TestOtherArchitecture(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithProxies(), pgtest.WithMembers(0), pgtest.WithSettings(clustertest.QuickRetries))
	a, b := c.Nodes[0], c.Nodes[1]
	b.Must(b.Configure(map[string]string{"bdr.debug_architecture": otherArchitecture}))
	b.Must(b.Restart())
	forms := clustertest.ListenForms(c.Link(a, b), c.Link(b, a))
	c.Member(0)
	c.Member(1)
	c.WaitMesh(a, b)
	c.ExecAll(`CREATE TABLE "Odd Table" (id int PRIMARY KEY)`)
	clustertest.MakeUserTypes(c)
	clustertest.TypesTravel(t, c, clustertest.BuiltinTypes...)
	clustertest.TypesTravel(t, c, clustertest.UserTypes...)
	requireNotInternal(t, forms)
	for _, n := range c.Nodes {
		clustertest.RequireNoErrors(t, n)
	}

	t.Run("and_in_that_form_when_they_are_alike", func(t *testing.T) {
		b.Must(b.Configure(map[string]string{"bdr.debug_architecture": ""}))
		b.Must(b.Restart())
		c.WaitMesh(a, b)
		c.ExecAll("CREATE TABLE alike (id int PRIMARY KEY, i interval)")
		a.Exec("INSERT INTO alike VALUES (1, '1 day')")
		c.RequireConverged()
		if got := forms.Of("interval"); got != "bi" {
			t.Errorf("intervals came in the forms %q", got)
		}
	})
}

func requireNotInternal(t *testing.T, forms *clustertest.Forms) {
	t.Helper()
	internal, all, err := forms.In('i')
	if err != nil {
		t.Error(err)
	}
	if len(internal) > 0 || all < 100 {
		t.Errorf("of %d types these came in internal form: %v", all, internal)
	}
}
