package update

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestRollingUpdate exists because an update of a group must not stop it: three
// nodes get new files, and then new SQL objects, one after the other, under writes
// on all of them. What the version before does is what its commit does. On the
// way: files that come while a server runs, nodes of each version that want to
// join, and what an administrator sees in each state.
func TestRollingUpdate(t *testing.T) {
	u := &update{t: t, from: releases(t)[len(releases(t))-1]}
	u.old, u.new = u.build()
	u.c = pgtest.NewClusterOf(t, 3, u.old)
	u.c.ExecAll("CREATE TABLE own (node text, n text, PRIMARY KEY (node, n))", "CREATE TABLE shared (id int PRIMARY KEY, v text)")
	u.c.Nodes[0].Exec("INSERT INTO shared SELECT generate_series(1, 50)")
	u.startBenches()

	a, b, c := u.c.Nodes[0], u.c.Nodes[1], u.c.Nodes[2]
	u.replaceFiles(a)
	u.to = a.Value("SELECT bdr.bdr_version()")
	if u.to == u.from.version {
		t.Fatalf("the new files are those of %s", u.to)
	}
	u.requireState(a, u.to, u.from.version)
	u.requireWarned(a)
	late := u.joinOldGroup(a, b)
	u.updateObjects(a)
	u.requireState(a, u.to, u.to)
	u.requireOldRefused(c, a)
	u.requireSeen(a, b)

	u.filesUnderRunningServer(b)
	u.replaceFiles(b)
	u.replaceFiles(c)
	u.awaitWrites(200)
	u.requireState(b, u.to, u.from.version)
	u.updateObjects(b)
	u.requireOneBehind(b, c)
	u.requireNoGlobalSequences(a, c)
	u.requireNoReplicationSets(a, c)
	u.updateObjects(c)
	u.requireGlobalSequences()
	u.requireReplicationSets()
	u.awaitWrites(200)
	u.backAndForth(c)

	u.stopBenches()
	u.c.RequireConverged()
	u.requireStatus(a, "OK", "same versions")
	late.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM own", a.Value("SELECT count(*) FROM own"))
}

// update is the group and where its update is.
type update struct {
	t        *testing.T
	c        *pgtest.Cluster
	from     release
	to       string // "" until the first node has it
	old, new pgtest.Files
	benches  map[*pgtest.Node]*pgtest.Pgbench
}

func (u *update) build() (old, current pgtest.Files) {
	u.t.Helper()
	dir, err := pgtest.ScratchDirectory()
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { os.RemoveAll(dir) })
	old, err = pgtest.BuildRelease(dir, u.from.version, u.from.commit)
	if errors.Is(err, pgtest.ErrNoSource) {
		u.t.Skipf("this is a checkout without its history: %v", err)
	}
	if err != nil {
		u.t.Fatal(err)
	}
	if current, err = pgtest.Installed(); err != nil {
		u.t.Fatal(err)
	}
	return old, current
}

// startBenches writes on every node with clients that stop at the first error.
func (u *update) startBenches() {
	u.benches = map[*pgtest.Node]*pgtest.Pgbench{}
	for _, n := range u.c.Nodes {
		u.startBench(n)
	}
}

func (u *update) startBench(n *pgtest.Node) {
	u.t.Helper()
	script := filepath.Join(n.Dir, "bench.sql")
	text := "\\set id random(1, 50)\nINSERT INTO own VALUES (:node, gen_random_uuid());\nUPDATE shared SET v = :node WHERE id = :id;\n"
	if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
		u.t.Fatal(err)
	}
	u.benches[n] = n.StartPgbench("-c", "2", "-R", "40", "-T", "600", "-D", "node='"+n.Name+"'", "-f", script)
}

func (u *update) stopBenches() {
	for _, bench := range u.benches {
		bench.Stop()
	}
}

// awaitWrites returns when every node has so many more rows.
func (u *update) awaitWrites(rows int) {
	u.t.Helper()
	for _, n := range u.c.Nodes {
		var before int
		fmt.Sscan(n.Value("SELECT count(*) FROM own"), &before)
		n.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT count(*) >= %d FROM own", before+rows), "t")
	}
}

// replaceFiles is what docs/upgrade.md says: the application leaves the node, the
// server stops, gets the files, and starts.
func (u *update) replaceFiles(n *pgtest.Node) {
	u.t.Helper()
	u.exchange(n, u.new, func() {
		if u.to != "" { // the first node has more
			u.requireAbsent(u.c.Nodes[0], n)
		}
	})
	u.requireReplicating()
}

// exchange restarts a node that has no clients meanwhile, with other files.
func (u *update) exchange(n *pgtest.Node, files pgtest.Files, whileStopped func()) {
	u.t.Helper()
	u.benches[n].Stop()
	if _, err := n.Stop(pgtest.Fast); err != nil {
		u.t.Fatal(err)
	}
	whileStopped()
	n.Install(files)
	n.Must(n.Start())
	u.startBench(n)
}

// backAndForth gives a node the old library again, behind the update of its
// objects. Nobody should do that, but it harms nothing.
func (u *update) backAndForth(n *pgtest.Node) {
	u.t.Helper()
	for _, files := range []pgtest.Files{u.old, u.new} {
		u.exchange(n, files, func() {})
		u.requireReplicating()
	}
}

// updateObjects is the last step on a node.
func (u *update) updateObjects(n *pgtest.Node) {
	u.t.Helper()
	n.Exec("ALTER EXTENSION bdr UPDATE")
	u.requireReplicating()
}

func (u *update) requireReplicating() {
	u.t.Helper()
	for _, n := range u.c.Nodes {
		n.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.subscription_summary WHERE subscription_status <> 'replicating'", "0")
		for _, peer := range u.c.Nodes {
			mark := fmt.Sprintf("%s to %s %d", n.Name, peer.Name, time.Now().UnixNano())
			n.Exec(fmt.Sprintf("INSERT INTO own VALUES ('%s', '')", mark))
			peer.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT count(*) FROM own WHERE node = '%s'", mark), "1")
		}
	}
}

// requireState looks at a node and reads every view that it has.
func (u *update) requireState(n *pgtest.Node, library, objects string) {
	u.t.Helper()
	got := n.Value("SELECT bdr.bdr_version() || ' ' || extversion FROM pg_extension WHERE extname = 'bdr'")
	if got != library+" "+objects {
		u.t.Errorf("%s has library and objects %s, expected %s %s", n.Name, got, library, objects)
	}
	for _, other := range u.c.Nodes {
		views := other.Rows("SELECT oid::regclass FROM pg_class WHERE relnamespace = 'bdr'::regnamespace AND relkind = 'v' ORDER BY 1")
		for _, view := range views {
			other.Exec("SELECT * FROM " + view[0])
		}
		other.Exec("SELECT * FROM bdr.get_raft_status()")
		if got := other.Value("SELECT count(*) FROM bdr.worker_errors"); got != "0" {
			u.t.Errorf("%s: %v", other.Name, other.Rows("SELECT * FROM bdr.worker_errors"))
		}
	}
}

// requireWarned: the log says what is left to do.
func (u *update) requireWarned(n *pgtest.Node) {
	u.t.Helper()
	for _, text := range []string{fmt.Sprintf("are those of bdr %s, the server has loaded bdr %s", u.from.version, u.to), "Run ALTER EXTENSION bdr UPDATE"} {
		if !n.LogContains(text) {
			u.t.Errorf("the log of %s does not say %q", n.Name, text)
		}
	}
}

// joinOldGroup has a new node join through an old one. Without its SQL objects it
// must not, and nothing may have changed then.
func (u *update) joinOldGroup(host, through *pgtest.Node) *pgtest.Node {
	u.t.Helper()
	late := host.Beside("late", u.from.version)
	u.requireJoinRefused(late, through, "the SQL objects of this database are those of bdr", "ALTER EXTENSION bdr UPDATE")
	late.Exec("ALTER EXTENSION bdr UPDATE")
	late.Join(through)
	late.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.node_summary WHERE peer_state_name = 'ACTIVE'", "4")
	return late
}

// requireOldRefused: an old node does not join through one with new objects.
func (u *update) requireOldRefused(host, through *pgtest.Node) {
	u.t.Helper()
	early := host.Beside("early", u.from.version)
	u.requireJoinRefused(early, through, "another version of bdr", "ALTER EXTENSION bdr UPDATE")
	early.Exec("SELECT bdr.drop_node('early')", "DROP EXTENSION bdr")
}

func (u *update) requireJoinRefused(n, through *pgtest.Node, message, hint string) {
	u.t.Helper()
	before := through.Value("SELECT count(*) FROM bdr.node") + through.Value("SELECT count(*) FROM pg_replication_slots")
	err := pgtest.PgError(n.Try(fmt.Sprintf("SELECT bdr.join_node_group('%s')", through.NodeDSN)))
	if err == nil || !strings.Contains(err.Message, message) || !strings.Contains(err.Hint, hint) {
		u.t.Errorf("%s joins through %s: %+v", n.Database, through.Name, err)
	}
	after := through.Value("SELECT count(*) FROM bdr.node") + through.Value("SELECT count(*) FROM pg_replication_slots")
	if before != after || n.Value("SELECT count(*) FROM bdr.local_join") != "0" {
		u.t.Errorf("a refused join changed something: %s, before %s", after, before)
	}
}

// requireSeen: an updated node knows what an old one has.
func (u *update) requireSeen(updated, old *pgtest.Node) {
	u.t.Helper()
	updated.Wait(clustertest.ResumeLimit, fmt.Sprintf(`SELECT concat_ws(' ', bdr_version, extension_version, protocol_min, protocol_max,
		postgres_version = current_setting('server_version'), is_reachable, last_seen > now() - interval '1 minute')
		FROM bdr.group_versions_details WHERE node_name = '%s'`, old.Name), u.from.version+" "+u.from.version+" 2 2 t t t")
	u.requireStatus(updated, "WARNING", "different versions of bdr: late "+u.to+", node1 "+u.to+", node2 "+u.from.version)
}

func (u *update) requireStatus(n *pgtest.Node, status, message string) {
	u.t.Helper()
	n.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT status || ' ' || (message LIKE '%%%s%%') FROM bdr.monitor_group_versions()", message), status+" true")
}

// requireAbsent: of a node that is down the last is known.
func (u *update) requireAbsent(n, away *pgtest.Node) {
	u.t.Helper()
	n.Wait(clustertest.ResumeLimit, fmt.Sprintf(`SELECT concat_ws(' ', bdr_version, is_reachable) FROM bdr.group_versions_details
		WHERE node_name = '%s'`, away.Name), u.from.version+" f")
	u.requireStatus(n, "WARNING", "not reachable: "+away.Name)
}

// requireOneBehind: the last node whose objects are old is named.
func (u *update) requireOneBehind(n, behind *pgtest.Node) {
	u.t.Helper()
	u.requireStatus(n, "WARNING", "run ALTER EXTENSION bdr UPDATE on: "+behind.Name)
}

// filesUnderRunningServer puts new files under an old server. A manager that
// starts then is of the new version; it says so and does nothing. A walsender that
// starts then sends as before, and users write as before.
func (u *update) filesUnderRunningServer(n *pgtest.Node) {
	u.t.Helper()
	n.Install(u.new)
	n.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type IN ('bdr manager', 'walsender')`)
	pgtest.Eventually(u.t, clustertest.ResumeLimit, "the log asks for a restart", func() (bool, string) {
		return n.LogContains("restart the server"), n.LogTail(5)
	})
	if err := pgtest.PgError(n.Try("SELECT bdr.create_node_group('x')")); err == nil || !strings.Contains(err.Detail, "restart the server") {
		u.t.Errorf("a function of the manager: %+v", err)
	}
	n.Exec("INSERT INTO own VALUES ('written before the restart', '')")
	u.c.Nodes[0].Wait(clustertest.ResumeLimit, "SELECT count(*) FROM own WHERE node = 'written before the restart'", "1")
	if err := pgtest.PgError(n.Try("ALTER EXTENSION bdr UPDATE")); err == nil || !strings.Contains(err.Hint, "Restart the server") {
		u.t.Errorf("new objects for an old server: %+v", err)
	}
	if n.LogContains("server process") {
		u.t.Errorf("%s crashed: %s", n.Name, n.LogTail(20))
	}
}

// requireNoGlobalSequences: as long as a node would not carry out what the others
// agree on about sequences and locks, they agree on nothing.
func (u *update) requireNoGlobalSequences(n, behind *pgtest.Node) {
	u.t.Helper()
	for _, node := range u.c.Nodes {
		node.Exec("CREATE SEQUENCE numbers AS integer")
	}
	n.Exec("DROP SEQUENCE numbers", "SET bdr.default_sequence_kind = 'local'; CREATE SEQUENCE numbers AS integer; RESET bdr.default_sequence_kind")
	err := pgtest.PgError(n.Try("SELECT bdr.alter_sequence_set_kind('numbers', 'galloc')"))
	if err == nil || err.Code != "0A000" || !strings.Contains(err.Detail, behind.Name) || !strings.Contains(err.Hint, "ALTER EXTENSION bdr UPDATE") {
		u.t.Errorf("the kind of a sequence changes while %s has older SQL objects: %+v", behind.Name, err)
	}
	err = pgtest.PgError(n.Try("SELECT bdr.global_advisory_lock(1)"))
	if err == nil || err.Code != "0A000" || err.Message != "not all nodes have global locks" || !strings.Contains(err.Detail, behind.Name) {
		u.t.Errorf("a global lock while %s has older SQL objects: %+v", behind.Name, err)
	}
}

// requireGlobalSequences: they come with the update of the last node, and no manager
// has to be started again for it.
func (u *update) requireGlobalSequences() {
	u.t.Helper()
	u.c.Nodes[0].Exec("SELECT bdr.global_advisory_lock(1)")
	u.c.Nodes[0].Exec("SELECT bdr.alter_sequence_set_kind('numbers', 'galloc')")
	made := map[string]bool{}
	for _, n := range u.c.Nodes {
		n.Wait(clustertest.ResumeLimit, "SELECT seqkind FROM bdr.sequences WHERE relname = 'numbers'", "galloc")
		n.Wait(clustertest.ResumeLimit, "SELECT nextval('numbers') > 0", "t")
		made[n.Value("SELECT nextval('numbers')")] = true
	}
	if len(made) != len(u.c.Nodes) {
		u.t.Errorf("%d nodes made %v", len(u.c.Nodes), made)
	}
}

// requireNoReplicationSets: nobody agrees on what the last node would not carry out.
func (u *update) requireNoReplicationSets(n, behind *pgtest.Node) {
	u.t.Helper()
	err := pgtest.PgError(n.Try("SELECT bdr.create_replication_set('part')"))
	if err == nil || err.Code != "0A000" || !strings.Contains(err.Detail, behind.Name) || !strings.Contains(err.Message, "replication sets") {
		u.t.Errorf("a replication set is made while %s has older SQL objects: %+v", behind.Name, err)
	}
}

// requireReplicationSets: they come with the update of the last node.
func (u *update) requireReplicationSets() {
	u.t.Helper()
	u.c.Nodes[0].Exec("SELECT bdr.create_replication_set('part')", "SELECT bdr.replication_set_add_table('own', 'part')")
	for _, n := range u.c.Nodes {
		n.Wait(clustertest.ResumeLimit, "SELECT string_agg(relname, ' ') FROM bdr.tables WHERE set_name = 'part'", "own")
	}
}
