package security

import (
	"os"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
)

// TestSchemaOfAUser exists because bdr is preloaded for all databases of a
// server: in one without the extension whoever may create a schema had one called
// "bdr", and any DROP TABLE wrote into his table as into ours. That was a crash of
// the server, or, with columns of other types, memory of the backend in his rows.
func TestSchemaOfAUser(t *testing.T) {
	c := pgtest.NewCluster(t, 1, pgtest.WithMembers(0))
	a := c.Nodes[0]
	a.Exec("DROP EXTENSION bdr", "CREATE ROLE u LOGIN", "GRANT CREATE ON DATABASE app TO u")
	for _, columns := range []string{"nspname name, relname name, t text", "nspname bytea, relname bytea, t bytea", "t int", "nspname name, relname name, drop_time timestamptz"} {
		u := a.As(user, "")
		u.Exec("CREATE SCHEMA bdr", "CREATE TABLE bdr.dropped_table ("+columns+")", "CREATE INDEX dropped_table_relname_idx ON bdr.dropped_table ((1))",
			"CREATE TABLE bdr.node (node_id oid, node_group_id oid, node_state oid)", "CREATE TABLE bdr.local_node (node_id oid)",
			"INSERT INTO bdr.local_node VALUES (1)", "INSERT INTO bdr.node VALUES (1, 1, 8)",
			"CREATE TABLE bdr.keyless (n int)", "INSERT INTO bdr.keyless VALUES (1)", "UPDATE bdr.keyless SET n = 2",
			"CREATE SCHEMA other", "CREATE TABLE other.t (id int)", "DROP TABLE other.t", "DROP SCHEMA other")
		if rows, err := u.Run("SELECT count(*) FROM bdr.dropped_table"); err != nil || rows[0][0] != "0" {
			t.Errorf("a table of u with columns (%s) was taken for ours: %v %v", columns, rows, err)
		}
		u.Exec("DROP SCHEMA bdr CASCADE")
	}
}

// TestMemoryOfAUser is the same for the output plugin: whoever may read a slot
// had it decode his table as if it were our memory of versions.
func TestMemoryOfAUser(t *testing.T) {
	c := pgtest.NewCluster(t, 1, pgtest.WithMembers(0))
	a := c.Nodes[0]
	a.Exec("DROP EXTENSION bdr", "CREATE ROLE u LOGIN REPLICATION", "GRANT CREATE ON DATABASE app TO u")
	u := a.As(user, "")
	u.Exec("SELECT pg_create_logical_replication_slot('s', 'bdr_output')", "CREATE SCHEMA bdr",
		"CREATE TABLE bdr.remembered_version (a int, b int, c int, d int, e int, f int)",
		"CREATE TABLE bdr.evicted_row (relation oid, b bigint, c text[], d int)",
		"CREATE SCHEMA u", "CREATE TABLE u.t (id int)",
		"INSERT INTO bdr.evicted_row SELECT 'u.t'::regclass, 1, NULL, 2",
		"INSERT INTO bdr.remembered_version SELECT 'u.t'::regclass::oid::int, 2, 3, 4, 5, 6")
	options := `'proto_min', '2', 'proto_max', '2', 'server_version', current_setting('server_version_num'), 'encoding', 'UTF8',
		'architecture', 'le:datum8', 'origins', 'all', 'node_id', '7'`
	if _, err := u.Run("SELECT data FROM pg_logical_slot_peek_binary_changes('s', NULL, NULL, " + options + ")"); err != nil {
		t.Errorf("peek: %s", pgtest.Explain(err))
	}
}

const takeover = "BEGIN ALTER ROLE u SUPERUSER; EXCEPTION WHEN insufficient_privilege THEN NULL; END;"

// TestFunctionOfAUser exists because a manager calls a function of its peers:
// where the extension was dropped, that was a function of whoever took the name,
// and ran as the superuser of the connection string. A server that does not load
// bdr any more has nothing that refuses the DROP.
func TestFunctionOfAUser(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	b := c.Nodes[1]
	b.Exec("CREATE ROLE u LOGIN", "GRANT CREATE ON DATABASE app TO u")
	b.Must(b.Configure(map[string]string{"shared_preload_libraries": "", "log_statement": "all"}))
	b.Must(b.Restart())
	b.Exec("SELECT bdr.internal_uninstall_sequences()")
	b.CloseSessions() // in that one the library is loaded
	b.Exec("DROP EXTENSION bdr CASCADE")
	u := b.As(user, "")
	u.Exec("CREATE SCHEMA bdr", "GRANT USAGE ON SCHEMA bdr TO PUBLIC",
		"CREATE FUNCTION bdr.internal_rpc(message bytea) RETURNS bytea LANGUAGE plpgsql AS $$BEGIN "+takeover+" RETURN message; END$$")
	made := calls(t, b)
	pgtest.Eventually(t, replicated, "the peer's manager calls", func() (bool, string) { return calls(t, b) > made+2, "" })
	requireOrdinary(t, b)
}

// calls counts statements about the function in the server's log. One that is
// followed by another has come to its end, if they come one at a time.
func calls(t *testing.T, n *pgtest.Node) int {
	t.Helper()
	log, err := os.ReadFile(n.LogPath())
	n.Must(err)
	return strings.Count(string(log), "internal_rpc")
}

// TestViewOfAUser exists because a database may have a label and no extension,
// as after pg_dump and restore without it: the manager read a view of u for
// our table.
func TestViewOfAUser(t *testing.T) {
	c := pgtest.NewCluster(t, 1, pgtest.WithMembers(0))
	a := c.Nodes[0]
	a.Exec("DROP EXTENSION bdr", "CREATE ROLE u LOGIN", "GRANT CREATE ON DATABASE app TO u")
	u := a.As(user, "")
	u.Exec("CREATE SCHEMA bdr", "GRANT USAGE ON SCHEMA bdr TO PUBLIC",
		"CREATE FUNCTION bdr.f() RETURNS oid LANGUAGE plpgsql AS $$BEGIN "+takeover+" RETURN 1; END$$",
		"CREATE VIEW bdr.local_node AS SELECT bdr.f() AS node_id, '00000000-0000-0000-0000-000000000001'::uuid AS node_uuid")
	a.Exec("SECURITY LABEL FOR bdr ON DATABASE app IS 'node'",
		"CREATE FUNCTION public.wait_for_join_completion(verbose_progress boolean) RETURNS text LANGUAGE c AS 'bdr', 'bdr_call'")
	// the manager answers when it has read the catalog
	if err := a.Try("SELECT public.wait_for_join_completion(false)"); err == nil {
		t.Error("a database without the extension is a node")
	}
	requireOrdinary(t, a)
}
