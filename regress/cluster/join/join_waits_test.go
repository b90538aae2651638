package join

import (
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// joinLimit is for a join of a small database, and for what follows it.
const joinLimit = 60 * time.Second

// beforeJoin is a member and a server that is no node yet.
func beforeJoin(t *testing.T) (c *pgtest.Cluster, source, joiner *pgtest.Node) {
	t.Helper()
	c = pgtest.NewCluster(t, 2, pgtest.WithMembers(1), pgtest.WithSettings(clustertest.QuickRetries))
	return c, c.Nodes[0], c.Nodes[1]
}

// A slot waits for every transaction that was there before it, also for one that
// somebody has prepared and forgotten, in whichever database.
func TestJoinSaysWhatItWaitsFor(t *testing.T) {
	_, a, b := beforeJoin(t)
	a.Exec("CREATE TABLE t (id int PRIMARY KEY)", "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'for''gotten'")
	b.Must(runIn(b, "postgres", "BEGIN; CREATE TABLE t (id int); PREPARE TRANSACTION 'here'"))
	b.CreateNode()
	b.StartJoin(a)
	waits := func(words ...string) {
		t.Helper()
		pgtest.Eventually(t, joinLimit, "join_progress names "+strings.Join(words, ", "), func() (bool, string) {
			said := b.Value("SELECT coalesce(max(waiting_for), '') FROM bdr.join_progress")
			for _, w := range words {
				if !strings.Contains(said, w) {
					return false, said
				}
			}
			return b.LogContains(words[0]), said
		})
	}
	waits(`node "node1"`, "COMMIT PREPARED 'for''gotten'", "ROLLBACK PREPARED 'for''gotten'", "database app")
	a.Exec("COMMIT PREPARED 'for''gotten'")
	waits(`node "node2"`, "COMMIT PREPARED 'here'", "database postgres")
	b.Must(runIn(b, "postgres", "ROLLBACK PREPARED 'here'"))
	b.Exec("SELECT bdr.wait_for_join_completion()")
	b.Wait(joinLimit, "SELECT count(*) FROM t", "1")
}

// Databases may be read only by default, and the session that joins too. What
// writes in the caller's transaction, as create_node does, needs one that may.
func TestJoinOfReadOnlyDatabases(t *testing.T) {
	c, a, b := beforeJoin(t)
	a.Exec("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
	for _, n := range c.Nodes {
		n.Exec("ALTER DATABASE app SET default_transaction_read_only = on")
		n.CloseSessions()
		n.Must(n.Restart())
	}
	b.Exec("BEGIN READ WRITE; SELECT bdr.create_node(node_name := 'node2', local_dsn := '" + b.NodeDSN + "'); COMMIT")
	b.Join(a)
	b.Wait(joinLimit, "SELECT count(*) FROM t", "1")
	a.Exec("BEGIN READ WRITE; INSERT INTO t VALUES (2); COMMIT")
	b.Wait(joinLimit, "SELECT count(*) FROM t", "2")
}

// An extension names the tables of its own in which users have rows: these rows
// are copied, as pg_dump does, and not those that the extension brings itself.
func TestJoinCopiesConfigurationOfExtensions(t *testing.T) {
	c, a, b := beforeJoin(t)
	for _, n := range c.Nodes { // as if the extension's script had done it
		n.Exec("CREATE TABLE options (name text PRIMARY KEY, value text, own boolean)", "SET bdr.default_sequence_kind = 'local'; CREATE SEQUENCE numbers",
			"INSERT INTO options VALUES ('brought', '"+n.Name+"', false)",
			"ALTER EXTENSION plpgsql ADD TABLE options", "ALTER EXTENSION plpgsql ADD SEQUENCE numbers",
			`UPDATE pg_extension SET extconfig = ARRAY['options'::regclass::oid, 'numbers'::regclass::oid],
 extcondition = ARRAY['WHERE own', ''] WHERE extname = 'plpgsql'`)
	}
	a.Exec("INSERT INTO options VALUES ('set', 'on a', true)", "SELECT setval('numbers', 17)")
	c.Member(1)
	if rows := b.Value("SELECT string_agg(name || '=' || value, ',' ORDER BY name) FROM options"); rows != "brought=node2,set=on a" {
		t.Errorf("rows are %s", rows)
	}
	if at := b.Value("SELECT last_value FROM numbers"); at != "17" {
		t.Errorf("the sequence stands at %s", at)
	}
}

func runIn(n *pgtest.Node, database, sql string) error {
	_, err := n.Run(database, sql)
	return err
}
