package security

import (
	"testing"

	"bdr/gosrc/pgtest"
)

// TestTruncateStaysWithItsOwner exists because TRUNCATE ... CASCADE takes along
// what refers to the table. Where it ran, its user needed the right for each; a
// table that refers to it on this node only was emptied without anybody's.
func TestTruncateStaysWithItsOwner(t *testing.T) {
	c, a, b := pairWithUser(t)
	for _, n := range c.Nodes {
		n.Exec("CREATE ROLE v LOGIN", "CREATE SCHEMA v AUTHORIZATION v")
		n.As(user, "").Exec("CREATE TABLE u.t (id int PRIMARY KEY)", "CREATE TABLE u.own (id int PRIMARY KEY, t int)", "GRANT REFERENCES ON u.t TO v", "GRANT USAGE ON SCHEMA u TO v")
		n.As("v", "").Exec("CREATE TABLE v.refers (id int PRIMARY KEY, t int)", "CREATE TABLE v.further (id int PRIMARY KEY, r int)")
	}
	b.As("v", "").Exec("ALTER TABLE v.refers ADD FOREIGN KEY (t) REFERENCES u.t", "ALTER TABLE v.further ADD FOREIGN KEY (r) REFERENCES v.refers",
		"INSERT INTO v.refers VALUES (1, NULL)", "INSERT INTO v.further VALUES (1, 1)")
	b.As(user, "").Exec("ALTER TABLE u.own ADD FOREIGN KEY (t) REFERENCES u.t", "INSERT INTO u.own VALUES (1, NULL)")
	c.WaitDrained(c.Nodes...)
	attack := func() {
		t.Helper()
		a.As(user, "").Exec("INSERT INTO u.t VALUES (1) ON CONFLICT DO NOTHING", "TRUNCATE u.t CASCADE")
	}
	refused := func(table string) {
		t.Helper()
		b.Wait(replicated, "SELECT count(*) FROM bdr.worker_errors WHERE error_message LIKE 'cannot truncate table \""+table+"\" of role \"v\"%'", "1")
	}
	attack()
	refused("v.refers")
	if got := b.Value("SELECT (SELECT count(*) FROM v.refers) || ' ' || (SELECT count(*) FROM v.further) || ' ' || (SELECT count(*) FROM u.own)"); got != "1 1 1" {
		t.Fatalf("rows left: %s", got)
	}
	// each way out that the error names
	b.As("v", "").Exec("GRANT TRUNCATE ON v.refers TO u")
	refused("v.further")
	b.As("v", "").Exec("DELETE FROM v.further")
	c.WaitDrained(c.Nodes...)
	if got := b.Value("SELECT (SELECT count(*) FROM v.refers) || ' ' || (SELECT count(*) FROM v.further) || ' ' || (SELECT count(*) FROM u.own)"); got != "0 0 0" {
		t.Errorf("rows left: %s", got)
	}
	b.As("v", "").Exec("REVOKE TRUNCATE ON v.refers FROM u", "INSERT INTO v.refers VALUES (2, NULL)")
	attack()
	refused("v.refers")
	b.As("v", "").Exec("ALTER TABLE v.refers DROP CONSTRAINT refers_t_fkey")
	c.WaitDrained(c.Nodes...)
	if got := b.Value("SELECT count(*) FROM v.refers"); got != "1" {
		t.Errorf("%s rows of v are left", got)
	}
	// what the origin truncated as well goes in any case, and so does what refers to a superuser's table and is one's
	c.ExecAll("CREATE TABLE ours (id int PRIMARY KEY)")
	c.ExecAll("CREATE TABLE v.theirs (id int)", "ALTER TABLE v.theirs OWNER TO v")
	b.Exec("CREATE TABLE also_ours (id int REFERENCES ours)", "ALTER TABLE v.theirs ADD FOREIGN KEY (id) REFERENCES ours")
	a.Exec("TRUNCATE ours CASCADE")
	c.WaitDrained(c.Nodes...)
	b.Exec("INSERT INTO v.theirs VALUES (NULL)")
	a.Exec("TRUNCATE ours CASCADE")
	refused("v.theirs")
	b.Exec("DROP TABLE v.theirs")
	c.WaitDrained(c.Nodes...)
}

// TestTruncateAndPartitionsOfAdministrators exists because an administrator's
// partition of u's table, which goes with it, gives u no right to his tables.
func TestTruncateAndPartitionsOfAdministrators(t *testing.T) {
	c, a, b := pairWithUser(t)
	c.ExecAll("CREATE TABLE admins (id int)")
	for _, n := range c.Nodes {
		n.As(user, "").Exec("CREATE TABLE u.p (id int PRIMARY KEY) PARTITION BY RANGE (id)")
		n.Exec("CREATE TABLE low PARTITION OF u.p FOR VALUES FROM (0) TO (100)")
	}
	b.Exec("ALTER TABLE admins ADD FOREIGN KEY (id) REFERENCES u.p", "INSERT INTO admins VALUES (NULL)")
	a.As(user, "").Exec("TRUNCATE u.p CASCADE")
	b.Wait(replicated, "SELECT count(*) FROM bdr.worker_errors WHERE error_message LIKE 'cannot truncate table \"public.admins\" of role %'", "1")
	b.Exec("DROP TABLE admins")
	c.WaitDrained(c.Nodes...)
}

// TestTruncateRestartsSequencesOfSeveralOwners exists because TRUNCATE fires
// triggers as the owner of their table, who may not own what it restarts: that
// stopped the subscription, for a statement that had succeeded.
func TestTruncateRestartsSequencesOfSeveralOwners(t *testing.T) {
	c, a, b := pairWithUser(t)
	for _, n := range c.Nodes {
		n.Exec("SET bdr.default_sequence_kind = 'local'; CREATE TABLE ours (id serial, k int GENERATED ALWAYS AS IDENTITY)", "SELECT setval('ours_id_seq', 100)")
		n.As(user, "").Exec(attack, "SET bdr.default_sequence_kind = 'local'; CREATE TABLE u.t (id serial)", "SELECT setval('u.t_id_seq', 100)",
			"CREATE TRIGGER fire AFTER TRUNCATE ON u.t FOR EACH STATEMENT EXECUTE FUNCTION u.fire()", "ALTER TABLE u.t ENABLE ALWAYS TRIGGER fire")
	}
	b.As(user, "").Exec(armed)
	a.Exec("TRUNCATE ours, u.t RESTART IDENTITY")
	c.WaitDrained(c.Nodes...)
	if !b.LogContains("bdr writer  LOG:  grabbed in AFTER trigger as u") {
		t.Error("the trigger did not fire as u")
	}
	requireOrdinary(t, b)
	if got := b.Value("SELECT nextval('ours_id_seq') || ' ' || nextval('u.t_id_seq') || ' ' || nextval('ours_k_seq')"); got != "1 1 1" {
		t.Errorf("the sequences stand at %s", got)
	}
}

// TestTruncateOfAPartitionThatIsNotHere exists because a node that has cut a table
// in another way cannot tell which rows were in the partition that was truncated.
// It stops with an error; whoever says so goes on without.
func TestTruncateOfAPartitionThatIsNotHere(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(impatient))
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)", "CREATE TABLE rest PARTITION OF p DEFAULT")
	a.Exec("CREATE TABLE low PARTITION OF p FOR VALUES FROM (0) TO (10)", "INSERT INTO p VALUES (1), (11)")
	c.WaitDrained(c.Nodes...)
	a.Exec("TRUNCATE low")
	b.Wait(replicated, "SELECT count(*) FROM bdr.worker_errors WHERE error_message LIKE 'cannot truncate partition%'", "1")
	b.Exec("SELECT bdr.alter_node_set_conflict_resolver('node2', 'target_table_missing', 'skip')")
	c.WaitDrained(c.Nodes...)
	if got := b.Value("SELECT count(*) FROM p"); got != "2" {
		t.Errorf("%s rows are left", got)
	}
	b.Wait(replicated, "SELECT count(*) > 0 FROM bdr.conflict_history WHERE conflict_type = 'target_table_missing' AND relname = 'low'", "t")
}
