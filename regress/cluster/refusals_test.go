package cluster

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
)

// refusal is a call that must not succeed: one error of this SQLSTATE, whose
// text holds these words, with a detail and a hint where a user has to do
// something about his set-up; and nothing may have changed.
type refusal struct {
	name  string
	call  string
	code  string
	words []string // in message, detail or hint
}

// The states that users meet (house-style.md, "Messages").
const (
	wrongState    = "55000"
	noSuchObject  = "42704"
	existsAlready = "42710"
	badArgument   = "22023"
	badName       = "42602"
	badPassword   = "28P01"
	noSuchBase    = "3D000"
	lostPeer      = "08006"
	busyStarting  = "57P03"
	objectInUse   = "55006"
	dependsOnIt   = "2BP01"
	lacksResource = "53400"
	notPermitted  = "42501"
	inTransaction = "25001"
)

// traces is everything that a refused call could have left behind.
const traces = `SELECT concat_ws(' / ',
	(SELECT string_agg(n::text, ',') FROM bdr.node n), (SELECT string_agg(n::text, ',') FROM bdr.local_node n),
	(SELECT string_agg(g::text, ',') FROM bdr.node_group g), (SELECT string_agg(s::text, ',') FROM bdr.subscription s),
	(SELECT string_agg(step, ',') FROM bdr.local_join),
	(SELECT string_agg(slot_name, ',' ORDER BY slot_name) FROM pg_replication_slots),
	(SELECT string_agg(roname, ',' ORDER BY roname) FROM pg_replication_origin),
	(SELECT count(*) FROM pg_shseclabel WHERE provider = 'bdr'),
	(SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace))`

func requireRefusal(t *testing.T, n *pgtest.Node, r refusal, others ...*pgtest.Node) {
	t.Helper()
	all := append([]*pgtest.Node{n}, others...)
	var before []string
	for _, o := range all {
		before = append(before, o.Value(traces))
	}
	err := n.Try(r.call)
	if err == nil {
		t.Fatalf("accepted: %s", r.call)
	}
	requireClearError(t, err, r)
	for i, o := range all {
		if after := o.Value(traces); after != before[i] {
			t.Errorf("%s changed:\n%s\n%s", o.Name, before[i], after)
		}
	}
}

func requireClearError(t *testing.T, err error, r refusal) {
	t.Helper()
	e := pgtest.PgError(err)
	if e == nil {
		t.Fatalf("not an error of the server: %v", err)
	}
	text := pgtest.Explain(err)
	if e.Code != r.code {
		t.Errorf("SQLSTATE %s, expected %s: %s", e.Code, r.code, text)
	}
	// A wrong argument that the message names in full needs no more words.
	plain := (e.Code == badArgument || e.Code == inTransaction) && len(r.words) > 0
	if !plain && e.Detail == "" && e.Hint == "" {
		t.Errorf("the error has neither detail nor hint: %s", text)
	}
	if r.code != noSuchObject && r.code != badArgument && len(r.words) > 0 && !plain && (e.Detail == "" || e.Hint == "") {
		t.Errorf("the error lacks a detail or a hint: %s", text)
	}
	if strings.ContainsAny(e.Message, "\n") || strings.HasSuffix(e.Message, ".") {
		t.Errorf("the message is not one line without a full stop: %s", text)
	}
	for _, word := range r.words {
		if !strings.Contains(text, word) {
			t.Errorf("the error does not mention %q: %s", word, text)
		}
	}
	if strings.Contains(text, secret) {
		t.Errorf("the error shows a password: %s", text)
	}
}

// secret is the wrong password of the tests; no message may show it.
const secret = "s3cr3t-pass"

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
		{"shared_preload_libraries", "", "bdr", wrongState},
		{"wal_level", "replica", "logical", wrongState},
		{"track_commit_timestamp", "off", "on", wrongState},
		{"output_plugin_libraries", "pgoutput", "pgoutput, test_decoding, bdr_output", wrongState},
		{"max_replication_slots", "0", "24", lacksResource},
		{"max_wal_senders", "0", "24", lacksResource},
		{"max_worker_processes", "2", "32", busyStarting}, // not even the manager can start
	} {
		if s.name == "output_plugin_libraries" && !knows {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			n := n.For(t)
			n.Must(n.Configure(map[string]string{s.name: s.wrong}))
			n.Must(n.Restart())
			requireRefusal(t, n, refusal{s.name, call, s.code, []string{s.name}})
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
	password := strings.Replace(n.NodeDSN, "user=postgres", "user="+pgtest.PasswordRole+" password="+secret, 1)
	for _, r := range []refusal{
		{"name_null", createNode("NULL", n.NodeDSN), badArgument, []string{"node_name"}},
		{"name_empty", createNode("''", n.NodeDSN), badName, []string{`""`}},
		{"name_upper_case", createNode("'Node'", n.NodeDSN), badName, []string{`"Node"`}},
		{"name_with_blank", createNode("'my node'", n.NodeDSN), badName, []string{`"my node"`}},
		{"name_too_long", createNode("'"+strings.Repeat("n", 64)+"'", n.NodeDSN), badName, []string{"63"}},
		{"dsn_null", "SELECT bdr.create_node(node_name := 'one', local_dsn := NULL)", badArgument, []string{"local_dsn"}},
		{"dsn_malformed", createNode("'one'", "this is no dsn"), badArgument, nil},
		{"dsn_of_another_database", createNode("'one'", n.DSN("elsewhere")), badArgument, []string{"elsewhere"}},
		{"dsn_of_another_server", createNode("'one'", other.NodeDSN), badArgument, []string{"another server"}},
		{"dsn_without_listener", createNode("'one'", "host=127.0.0.1 port=1 dbname=app"), lostPeer, []string{"local_dsn"}},
		{"dsn_with_wrong_password", createNode("'one'", password), badPassword, []string{"local_dsn"}},
		{"kind_unknown", "SELECT bdr.create_node('one', '" + n.NodeDSN + "', 'strange')", badArgument, []string{"strange"}},
		{"group_before_node", "SELECT bdr.create_node_group('g')", wrongState, nil},
		{"join_before_node", joinThrough(other.NodeDSN), wrongState, nil},
		{"wait_before_node", "SELECT bdr.wait_for_join_completion()", wrongState, nil},
		{"part_before_node", "SELECT bdr.part_node('x')", wrongState, nil},
	} {
		t.Run(r.name, func(t *testing.T) { requireRefusal(t, n.For(t), r) })
	}
	t.Run("not_superuser", func(t *testing.T) {
		n.Exec("CREATE ROLE somebody LOGIN")
		err := n.Try("SET ROLE somebody; " + createNode("'one'", n.NodeDSN))
		if e := pgtest.PgError(err); e == nil || e.Code != notPermitted {
			t.Errorf("expected %s, got %v", notPermitted, err)
		}
	})
	n.CreateNode()
	for _, r := range []refusal{
		{"second_node", createNode("'two'", n.NodeDSN), existsAlready, []string{`"node1"`}},
		{"group_name_malformed", "SELECT bdr.create_node_group('My Group')", badName, []string{`"My Group"`}},
		{"group_name_null", "SELECT bdr.create_node_group(NULL)", badArgument, []string{"node_group_name"}},
		{"group_without_joining", "SELECT bdr.create_node_group('g', join_node_group := false)", badArgument, []string{"parent"}},
		{"group_in_transaction", "BEGIN; SELECT bdr.create_node_group('g')", inTransaction, []string{"transaction block"}},
		{"wait_without_group", "SELECT bdr.wait_for_join_completion()", wrongState, nil},
	} {
		t.Run(r.name, func(t *testing.T) { requireRefusal(t, n.For(t), r) })
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
	password := strings.Replace(member.NodeDSN, "user=postgres", "user="+pgtest.PasswordRole+" password="+secret, 1)
	for _, r := range []refusal{
		{"target_null", "SELECT bdr.join_node_group(NULL)", badArgument, []string{"join_target_dsn"}},
		{"target_unreachable", joinThrough("host=127.0.0.1 port=1 dbname=app"), lostPeer, []string{"port=1"}},
		{"target_wrong_password", joinThrough(password), badPassword, []string{"join_target_dsn"}},
		{"target_no_such_database", joinThrough(member.DSN("nowhere")), noSuchBase, []string{"nowhere"}},
		{"target_without_extension", joinThrough(member.DSN("bare")), wrongState, []string{"bare"}},
		{"target_no_node", joinThrough(stranger.NodeDSN), wrongState, []string{"join target"}},
		{"target_is_itself", joinThrough(n.NodeDSN), badArgument, []string{"itself"}},
		{"group_unknown", "SELECT bdr.join_node_group('" + member.NodeDSN + "', 'other_group')", noSuchObject, []string{`"other_group"`}},
		{"structure_unknown", "SELECT bdr.join_node_group('" + member.NodeDSN + "', synchronize_structure := 'some')", badArgument, []string{"some"}},
		{"in_transaction", "BEGIN; " + joinThrough(member.NodeDSN), inTransaction, []string{"transaction block"}},
	} {
		t.Run(r.name, func(t *testing.T) { requireRefusal(t, n.For(t), r, member.For(t)) })
	}
	t.Run("database_not_empty", func(t *testing.T) {
		n := n.For(t)
		n.Exec("CREATE TABLE public.in_the_way (id int)")
		requireRefusal(t, n, refusal{"", joinThrough(member.NodeDSN), wrongState, []string{"in_the_way"}}, member)
		n.Exec("DROP TABLE public.in_the_way")
	})
	t.Run("name_taken", func(t *testing.T) {
		s := stranger.For(t)
		s.Exec(createNode("'node1'", s.NodeDSN))
		requireRefusal(t, s, refusal{"", joinThrough(member.NodeDSN), existsAlready, []string{`"node1"`}}, member)
	})
	t.Run("other_encoding", func(t *testing.T) {
		s := *stranger.For(t)
		s.Exec("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
		s.Database = "latin"
		s.Exec("CREATE EXTENSION bdr", createNode("'latin'", s.DSN("latin")))
		requireRefusal(t, &s, refusal{"", joinThrough(member.NodeDSN), wrongState, []string{"LATIN1", "UTF8"}}, member)
	})
	n.Join(member)
	c.WaitMesh(member, n)
	requireMemberRefusals(t, member, n)
}

func requireMemberRefusals(t *testing.T, member, n *pgtest.Node) {
	for _, r := range []refusal{
		{"join_twice", joinThrough(member.NodeDSN), wrongState, nil},
		{"group_as_member", "SELECT bdr.create_node_group('another')", wrongState, nil},
		{"part_unknown", "SELECT bdr.part_node('nobody')", noSuchObject, []string{`"nobody"`}},
		{"part_itself_and_wait", "SELECT bdr.part_node('node2', wait_for_completion := true)", badArgument, nil},
		{"drop_unknown", "SELECT bdr.drop_node('nobody')", noSuchObject, []string{`"nobody"`}},
		{"drop_active", "SELECT bdr.drop_node('node1')", wrongState, []string{`"node1"`}},
		{"subscription_unknown", "SELECT bdr.alter_subscription_disable('nothing')", noSuchObject, []string{`"nothing"`}},
		{"slot_unknown", "SELECT bdr.wait_slot_confirm_lsn('no_slot', NULL)", noSuchObject, []string{`"no_slot"`}},
		{"wait_for_unknown_node", "SELECT bdr.wait_node_confirm_lsn('nobody', NULL)", noSuchObject, []string{`"nobody"`}},
		{"drop_extension", "DROP EXTENSION bdr CASCADE", objectInUse, []string{"part_node"}},
	} {
		t.Run(r.name, func(t *testing.T) { requireRefusal(t, n.For(t), r, member.For(t)) })
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
			member.Wait(resumeLimit, "SELECT leader_name FROM bdr.get_raft_status()", "node1")
			requireRefusal(t, n.For(t), refusal{setting, joinThrough(member.NodeDSN), lacksResource, []string{setting}}, member)
			member.Must(member.Configure(map[string]string{setting: "24"}))
			member.Must(member.Restart())
		})
	}
	member.Wait(resumeLimit, "SELECT leader_name FROM bdr.get_raft_status()", "node1")
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
	dsn := strings.Replace(member.NodeDSN, "user=postgres", "user="+pgtest.PasswordRole+" password="+secret, 1)
	n.Wait(resumeLimit, "SHOW log_min_error_statement", "panic")
	if err := n.Try(joinThrough(dsn)); err == nil || strings.Contains(pgtest.Explain(err), secret) {
		t.Errorf("the error shows the password, or there is none: %v", err)
	}
	log, err := os.ReadFile(n.LogPath())
	n.Must(err)
	if strings.Contains(string(log), secret) {
		t.Error("the log shows the password")
	}
}
