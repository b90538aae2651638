package join

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

func createNode(name, dsn string) string {
	return fmt.Sprintf("SELECT bdr.create_node(node_name := %s, local_dsn := '%s')", name, dsn)
}

func joinThrough(dsn string) string {
	return fmt.Sprintf("SELECT bdr.join_node_group(join_target_dsn := '%s', wait_for_completion := true)", dsn)
}

// TestServerSettingsAreChecked exists because a missing line in postgresql.conf
// is the first thing that goes wrong. One error names the line; with the line
// in place the same call works.
func TestServerSettingsAreChecked(t *testing.T) {
	c := pgtest.NewCluster(t, 1, pgtest.WithMembers(0))
	n := c.Nodes[0]
	call := createNode("'one'", n.NodeDSN)
	knows := n.Value("SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'") == "1"
	for _, s := range []struct{ name, wrong, right, code string }{
		{"shared_preload_libraries", "", "bdr", clustertest.WrongState},
		{"wal_level", "replica", "logical", clustertest.WrongState},
		{"track_commit_timestamp", "off", "on", clustertest.WrongState},
		{"output_plugin_libraries", "pgoutput", "pgoutput, test_decoding, bdr_output", clustertest.WrongState},
		{"max_replication_slots", "0", "24", clustertest.LacksResource},
		{"max_wal_senders", "0", "24", clustertest.LacksResource},
		{"max_worker_processes", "2", "32", clustertest.BusyStarting}, // not even the manager can start
	} {
		if s.name == "output_plugin_libraries" && !knows {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			n := n.For(t)
			n.Must(n.Configure(map[string]string{s.name: s.wrong}))
			n.Must(n.Restart())
			clustertest.RequireRefusal(t, n, clustertest.Refused(s.name, call, s.code, s.name))
			n.Must(n.Configure(map[string]string{s.name: s.right}))
			n.Must(n.Restart())
		})
	}
	n.Exec(call)
}

// TestCreateNodeRefusals exists because a node that was made wrongly cannot
// be repaired by its user: what other nodes could not use is refused here.
func TestCreateNodeRefusals(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithMembers(0))
	n, other := c.Nodes[0], c.Nodes[1]
	n.Exec("CREATE ROLE "+pgtest.PasswordRole+" SUPERUSER LOGIN PASSWORD 'right'", "CREATE DATABASE elsewhere")
	password := strings.Replace(n.NodeDSN, "user=postgres", "user="+pgtest.PasswordRole+" password="+clustertest.Secret, 1)
	for _, r := range []clustertest.Refusal{
		clustertest.Refused("name_null", createNode("NULL", n.NodeDSN), clustertest.BadArgument, "node_name"),
		clustertest.Refused("name_empty", createNode("''", n.NodeDSN), clustertest.BadName, `""`),
		clustertest.Refused("name_upper_case", createNode("'Node'", n.NodeDSN), clustertest.BadName, `"Node"`),
		clustertest.Refused("name_with_blank", createNode("'my node'", n.NodeDSN), clustertest.BadName, `"my node"`),
		clustertest.Refused("name_too_long", createNode("'"+strings.Repeat("n", 64)+"'", n.NodeDSN), clustertest.BadName, "63"),
		clustertest.Refused("dsn_null", "SELECT bdr.create_node(node_name := 'one', local_dsn := NULL)", clustertest.BadArgument, "local_dsn"),
		clustertest.Refused("dsn_malformed", createNode("'one'", "this is no dsn"), clustertest.BadArgument),
		clustertest.Refused("dsn_of_another_database", createNode("'one'", n.DSN("elsewhere")), clustertest.BadArgument, "elsewhere"),
		clustertest.Refused("dsn_of_another_server", createNode("'one'", other.NodeDSN), clustertest.BadArgument, "another server"),
		clustertest.Refused("dsn_without_listener", createNode("'one'", "host=127.0.0.1 port=1 dbname=app"), clustertest.LostPeer, "local_dsn"),
		clustertest.Refused("dsn_with_wrong_password", createNode("'one'", password), clustertest.BadPassword, "local_dsn"),
		clustertest.Refused("kind_unknown", "SELECT bdr.create_node('one', '"+n.NodeDSN+"', 'strange')", clustertest.BadArgument, "strange"),
		clustertest.Refused("group_before_node", "SELECT bdr.create_node_group('g')", clustertest.WrongState),
		clustertest.Refused("join_before_node", joinThrough(other.NodeDSN), clustertest.WrongState),
		clustertest.Refused("wait_before_node", "SELECT bdr.wait_for_join_completion()", clustertest.WrongState),
		clustertest.Refused("part_before_node", "SELECT bdr.part_node('x')", clustertest.WrongState),
	} {
		t.Run(r.Name, func(t *testing.T) { clustertest.RequireRefusal(t, n.For(t), r) })
	}
	t.Run("not_superuser", func(t *testing.T) {
		n.Exec("CREATE ROLE somebody LOGIN")
		err := n.Try("SET ROLE somebody; " + createNode("'one'", n.NodeDSN))
		if e := pgtest.PgError(err); e == nil || e.Code != clustertest.NotPermitted {
			t.Errorf("expected %s, got %v", clustertest.NotPermitted, err)
		}
	})
	n.CreateNode()
	for _, r := range []clustertest.Refusal{
		clustertest.Refused("second_node", createNode("'two'", n.NodeDSN), clustertest.ExistsAlready, `"node1"`),
		clustertest.Refused("group_name_malformed", "SELECT bdr.create_node_group('My Group')", clustertest.BadName, `"My Group"`),
		clustertest.Refused("group_name_null", "SELECT bdr.create_node_group(NULL)", clustertest.BadArgument, "node_group_name"),
		clustertest.Refused("group_without_joining", "SELECT bdr.create_node_group('g', join_node_group := false)", clustertest.BadArgument, "parent"),
		clustertest.Refused("group_in_transaction", "BEGIN; SELECT bdr.create_node_group('g')", clustertest.InTransaction, "transaction block"),
		clustertest.Refused("wait_without_group", "SELECT bdr.wait_for_join_completion()", clustertest.WrongState),
	} {
		t.Run(r.Name, func(t *testing.T) { clustertest.RequireRefusal(t, n.For(t), r) })
	}
}

// TestJoinRefusals exists because a join that fails half way leaves slots on
// every other node, and a slot that nobody reads fills a disk: what can be
// known before is refused before, on both sides.
func TestJoinRefusals(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithMembers(1))
	member, n, stranger := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	member.Exec("CREATE ROLE "+pgtest.PasswordRole+" SUPERUSER LOGIN PASSWORD 'right'", "CREATE DATABASE bare")
	n.CreateNode()
	password := strings.Replace(member.NodeDSN, "user=postgres", "user="+pgtest.PasswordRole+" password="+clustertest.Secret, 1)
	for _, r := range []clustertest.Refusal{
		clustertest.Refused("target_null", "SELECT bdr.join_node_group(NULL)", clustertest.BadArgument, "join_target_dsn"),
		clustertest.Refused("target_unreachable", joinThrough("host=127.0.0.1 port=1 dbname=app"), clustertest.LostPeer, "port=1"),
		clustertest.Refused("target_wrong_password", joinThrough(password), clustertest.BadPassword, "join_target_dsn"),
		clustertest.Refused("target_no_such_database", joinThrough(member.DSN("nowhere")), clustertest.NoSuchBase, "nowhere"),
		clustertest.Refused("target_without_extension", joinThrough(member.DSN("bare")), clustertest.WrongState, "bare"),
		clustertest.Refused("target_no_node", joinThrough(stranger.NodeDSN), clustertest.WrongState, "join target"),
		clustertest.Refused("target_is_itself", joinThrough(n.NodeDSN), clustertest.BadArgument, "itself"),
		clustertest.Refused("group_unknown", "SELECT bdr.join_node_group('"+member.NodeDSN+"', 'other_group')", clustertest.NoSuchObject, `"other_group"`),
		clustertest.Refused("structure_unknown", "SELECT bdr.join_node_group('"+member.NodeDSN+"', synchronize_structure := 'some')", clustertest.BadArgument, "some"),
		clustertest.Refused("in_transaction", "BEGIN; "+joinThrough(member.NodeDSN), clustertest.InTransaction, "transaction block"),
	} {
		t.Run(r.Name, func(t *testing.T) { clustertest.RequireRefusal(t, n.For(t), r, member.For(t)) })
	}
	t.Run("database_not_empty", func(t *testing.T) {
		n := n.For(t)
		n.Exec("CREATE TABLE public.in_the_way (id int)")
		clustertest.RequireRefusal(t, n, clustertest.Refused("", joinThrough(member.NodeDSN), clustertest.WrongState, "in_the_way"), member)
		n.Exec("DROP TABLE public.in_the_way")
	})
	t.Run("name_taken", func(t *testing.T) {
		s := stranger.For(t)
		s.Exec(createNode("'node1'", s.NodeDSN))
		clustertest.RequireRefusal(t, s, clustertest.Refused("", joinThrough(member.NodeDSN), clustertest.ExistsAlready, `"node1"`), member)
	})
	t.Run("other_encoding", func(t *testing.T) {
		s := *stranger.For(t)
		s.Exec("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
		s.Database = "latin"
		s.Exec("CREATE EXTENSION bdr", createNode("'latin'", s.DSN("latin")))
		clustertest.RequireRefusal(t, &s, clustertest.Refused("", joinThrough(member.NodeDSN), clustertest.WrongState, "LATIN1", "UTF8"), member)
	})
	t.Run("other_locale_provider", func(t *testing.T) {
		pgtest.Since(t, 17, "the builtin locale provider")
		s := *stranger.For(t)
		s.Exec("CREATE DATABASE builtin TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'")
		s.Database = "builtin"
		s.Exec("CREATE EXTENSION bdr", createNode("'builtin'", s.DSN("builtin")))
		clustertest.RequireRefusal(t, &s, clustertest.Refused("", joinThrough(member.NodeDSN), clustertest.WrongState, "locale provider"), member)
	})
	n.Join(member)
	c.WaitMesh(member, n)
	requireMemberRefusals(t, member, n)
}

func requireMemberRefusals(t *testing.T, member, n *pgtest.Node) {
	for _, r := range []clustertest.Refusal{
		clustertest.Refused("join_twice", joinThrough(member.NodeDSN), clustertest.WrongState),
		clustertest.Refused("group_as_member", "SELECT bdr.create_node_group('another')", clustertest.WrongState),
		clustertest.Refused("part_unknown", "SELECT bdr.part_node('nobody')", clustertest.NoSuchObject, `"nobody"`),
		clustertest.Refused("part_itself_and_wait", "SELECT bdr.part_node('node2', wait_for_completion := true)", clustertest.BadArgument),
		clustertest.Refused("drop_unknown", "SELECT bdr.drop_node('nobody')", clustertest.NoSuchObject, `"nobody"`),
		clustertest.Refused("drop_active", "SELECT bdr.drop_node('node1')", clustertest.WrongState, `"node1"`),
		clustertest.Refused("subscription_unknown", "SELECT bdr.alter_subscription_disable('nothing')", clustertest.NoSuchObject, `"nothing"`),
		clustertest.Refused("slot_unknown", "SELECT bdr.wait_slot_confirm_lsn('no_slot', NULL)", clustertest.NoSuchObject, `"no_slot"`),
		clustertest.Refused("wait_for_unknown_node", "SELECT bdr.wait_node_confirm_lsn('nobody', NULL)", clustertest.NoSuchObject, `"nobody"`),
		clustertest.Refused("drop_extension", "DROP EXTENSION bdr CASCADE", clustertest.ObjectInUse, "part_node"),
	} {
		t.Run(r.Name, func(t *testing.T) { clustertest.RequireRefusal(t, n.For(t), r, member.For(t)) })
	}
}

// TestResourcesRunOut exists because a cluster grows until a limit of one of
// its nodes is met: the join that meets it is refused before it changes
// anything, whichever side lacks what.
func TestResourcesRunOut(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithMembers(1))
	member, n := c.Nodes[0], c.Nodes[1]
	n.CreateNode()
	for _, setting := range []string{"max_replication_slots", "max_wal_senders"} {
		t.Run(setting, func(t *testing.T) {
			member := member.For(t)
			member.Must(member.Configure(map[string]string{setting: "0"}))
			member.Must(member.Restart())
			member.Wait(clustertest.ResumeLimit, "SELECT leader_name FROM bdr.get_raft_status()", "node1")
			clustertest.RequireRefusal(t, n.For(t), clustertest.Refused(setting, joinThrough(member.NodeDSN), clustertest.LacksResource, setting), member)
			member.Must(member.Configure(map[string]string{setting: "24"}))
			member.Must(member.Restart())
		})
	}
	member.Wait(clustertest.ResumeLimit, "SELECT leader_name FROM bdr.get_raft_status()", "node1")
	n.Join(member)
	c.WaitMesh(member, n)
	c.RequireConverged()
}

// TestPasswordsAreNotLogged exists because logs are read by people who may not know
// the passwords of other servers.
func TestPasswordsAreNotLogged(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithMembers(1))
	member, n := c.Nodes[0], c.Nodes[1]
	member.Exec("CREATE ROLE " + pgtest.PasswordRole + " SUPERUSER LOGIN PASSWORD 'right'")
	n.CreateNode()
	// The statement itself is logged with its error by PostgreSQL, so it is kept from that.
	n.Must(n.Configure(map[string]string{"log_min_error_statement": "panic"}))
	n.Must(n.Reload())
	dsn := strings.Replace(member.NodeDSN, "user=postgres", "user="+pgtest.PasswordRole+" password="+clustertest.Secret, 1)
	n.Wait(clustertest.ResumeLimit, "SHOW log_min_error_statement", "panic")
	if err := n.Try(joinThrough(dsn)); err == nil || strings.Contains(pgtest.Explain(err), clustertest.Secret) {
		t.Errorf("the error shows the password, or there is none: %v", err)
	}
	log, err := os.ReadFile(n.LogPath())
	n.Must(err)
	if strings.Contains(string(log), clustertest.Secret) {
		t.Error("the log shows the password")
	}
}
