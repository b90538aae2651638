//go:build soak

package cluster

import (
	"testing"
	"time"

	"bdr/gosrc/pgtest"
)

// TestSoakSilence exists because a network that lost its route tells nobody:
// whoever reads the stream must notice, the writer or, with TLS, the manager.
// It takes more than a minute.
func TestSoakSilence(t *testing.T) {
	for name, options := range map[string][]pgtest.Option{"plain": nil, "tls": {pgtest.WithTLS()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options = append(options, pgtest.WithProxies(), pgtest.WithSettings(map[string]string{"wal_sender_timeout": "0"}))
			c := pgtest.NewCluster(t, 2, options...)
			c.ExecAll("CREATE TABLE t (id int PRIMARY KEY)")
			a, b := c.Nodes[0], c.Nodes[1]
			a.Exec("INSERT INTO t VALUES (1)")
			c.RequireConverged()
			if lent := hasServerConnection(waitWriter(t, b)); lent != (name == "plain") {
				t.Fatalf("the stream is lent: %v", lent)
			}
			began := time.Now()
			c.Link(b, a).Cut()
			a.Exec("INSERT INTO t VALUES (2)")
			pgtest.Eventually(t, 100*time.Second, "the silence is noticed", func() (bool, string) {
				return b.LogContains("nothing was heard"), "it is not"
			})
			if took := time.Since(began); took < 45*time.Second || took > 75*time.Second {
				t.Errorf("it took %s", took)
			}
			c.Link(b, a).Heal()
			c.WaitMesh(a, b)
			c.RequireConverged()
		})
	}
}
