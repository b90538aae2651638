// Package security attacks clusters of real servers, as those who may want more
// than they were granted: ordinary roles, owners of a database, roles with
// REPLICATION, peers. Every test was seen to succeed as an attack, on the code
// that it made us change. docs/security.md says who can reach what.
package security

import (
	"testing"
	"time"

	"bdr/gosrc/pgtest"
)

// Settings and limits of these tests.
const (
	replicated = 60 * time.Second // until a change is on the other nodes
	user       = "u"              // an ordinary role with a schema of its own
)

// impatient servers try again soon, whatever has failed however often.
var impatient = map[string]string{"bdr.max_worker_backoff_delay": "1s"}

// addUser makes the ordinary role and its schema on each node.
func addUser(nodes ...*pgtest.Node) {
	for _, n := range nodes {
		n.Exec("CREATE ROLE "+user+" LOGIN", "CREATE SCHEMA "+user+" AUTHORIZATION "+user)
	}
}

// pairWithUser is a cluster of two in which the ordinary role is on both nodes.
func pairWithUser(t *testing.T) (c *pgtest.Cluster, a, b *pgtest.Node) {
	t.Helper()
	c = pgtest.NewCluster(t, 2, pgtest.WithSettings(impatient))
	addUser(c.Nodes...)
	return c, c.Nodes[0], c.Nodes[1]
}

// sourceAndJoiner is a member with the ordinary role and its schema, and a server
// that is no node yet and has the role only.
func sourceAndJoiner(t *testing.T) (c *pgtest.Cluster, source, joiner *pgtest.Node) {
	t.Helper()
	c = pgtest.NewCluster(t, 2, pgtest.WithMembers(1), pgtest.WithSettings(impatient))
	source, joiner = c.Nodes[0], c.Nodes[1]
	addUser(source)
	joiner.Exec("CREATE ROLE " + user + " LOGIN")
	return c, source, joiner
}

// requireOrdinary fails the test if the role is more than it was made.
func requireOrdinary(t *testing.T, nodes ...*pgtest.Node) {
	t.Helper()
	for _, n := range nodes {
		if n.Value("SELECT rolsuper OR rolcreaterole OR rolreplication FROM pg_roles WHERE rolname = '"+user+"'") != "f" {
			t.Errorf("%s: %s has made itself more than an ordinary role", n.Name, user)
		}
	}
}

// TestOrdinaryUser exists so that the others can rely on what it checks: the
// role that attacks has no rights, and its rows replicate.
func TestOrdinaryUser(t *testing.T) {
	c, a, b := pairWithUser(t)
	for _, n := range c.Nodes {
		n.As(user, "").Exec("CREATE TABLE u.t (id int PRIMARY KEY, v text)")
	}
	a.As(user, "").Exec("INSERT INTO u.t VALUES (1, 'from a')")
	b.Wait(replicated, "SELECT v FROM u.t WHERE id = 1", "from a")
	if err := b.As(user, "").Try("ALTER ROLE u SUPERUSER"); err == nil {
		t.Error("an ordinary role made itself a superuser")
	}
	requireOrdinary(t, a, b)
	c.RequireConverged()
}
