package failure

import (
	"fmt"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestSenderFails exists because what a peer's sender cannot send stops the
// subscription as much as what cannot be applied: an administrator must see it,
// all the time, and be able to leave the transaction out. The output function of
// a type fails here, as any value would that is too large for its form.
func TestSenderFails(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(clustertest.QuickRetries))
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TYPE bad", "CREATE FUNCTION bad_in(cstring) RETURNS bad AS 'textin' LANGUAGE internal IMMUTABLE STRICT")
	a.Exec("CREATE FUNCTION bad_out(bad) RETURNS cstring AS 'trigger_out' LANGUAGE internal IMMUTABLE STRICT")
	b.Exec("CREATE FUNCTION bad_out(bad) RETURNS cstring AS 'textout' LANGUAGE internal IMMUTABLE STRICT")
	c.ExecAll("CREATE TYPE bad (INPUT = bad_in, OUTPUT = bad_out, INTERNALLENGTH = VARIABLE, STORAGE = extended)",
		"CREATE TABLE t (id int PRIMARY KEY, v bad)")
	a.Exec("INSERT INTO t VALUES (1)")
	c.RequireConverged()

	a.Exec("INSERT INTO t VALUES (2, 'not to be sent')", "INSERT INTO t VALUES (3)")
	failing := "FROM bdr.worker_errors WHERE worker_role = 'receiver' AND error_message LIKE '%cannot display a value%' AND error_context LIKE '%finished at%'"
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) "+failing, "1")
	for until := time.Now().Add(2 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if got := b.Value("SELECT count(*) " + failing); got != "1" {
			t.Fatalf("%s errors between two tries", got)
		}
		if state := b.Value("SELECT subscription_status FROM bdr.subscription_summary"); state != "down" && state != "connecting" {
			t.Fatalf("the subscription is %s", state)
		}
	}
	b.Wait(clustertest.ResumeLimit, "SELECT error_retries > 2 FROM bdr.worker_errors", "t")
	end := b.Value("SELECT substring(error_context FROM 'finished at ([0-9A-F/]+)') " + failing)
	sub := b.Value("SELECT sub_name FROM bdr.subscription_summary")
	b.Exec("SELECT bdr.alter_subscription_disable('"+sub+"')",
		fmt.Sprintf("SELECT bdr.alter_subscription_skip_changes_upto('%s', '%s')", sub, end),
		"SELECT bdr.alter_subscription_enable('"+sub+"')")
	b.Wait(clustertest.ResumeLimit, "SELECT string_agg(id::text, ',' ORDER BY id) FROM t", "1,3")
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.worker_errors", "0")
	b.Wait(clustertest.ResumeLimit, "SELECT subscription_status FROM bdr.subscription_summary", "replicating")
}
