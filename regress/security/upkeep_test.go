package security

import (
	"testing"

	"bdr/gosrc/pgtest"
)

// TestPublicationForAllTables exists because PostgreSQL refuses DELETE of a
// published table that has no replica identity: with a publication of a user's for
// all tables our own clean-up failed, and what is remembered of versions piled
// up.
func TestPublicationForAllTables(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(map[string]string{"bdr.watermark_interval": "50ms"}))
	a, b := c.Nodes[0], c.Nodes[1]
	for _, n := range c.Nodes {
		n.Exec("CREATE TABLE t (id int PRIMARY KEY)", "CREATE PUBLICATION everything FOR ALL TABLES")
	}
	remember(c, a, b)
	b.Wait(replicated, "SELECT count(*) FROM bdr.remembered_version", "0")

	b.Exec("ALTER TABLE bdr.remembered_version REPLICA IDENTITY NOTHING")
	remember(c, a, b)
	b.Wait(replicated, "SELECT worker_role || ' ' || error_sqlstate || ' ' || (error_retries > 0) FROM bdr.worker_errors", "manager 55000 true")
	b.Wait(replicated, "SELECT string_agg(event_sub_type, ' ' ORDER BY event_time) FROM bdr.event_summary WHERE event_type = 'upkeep'", "error")
	b.Exec("ALTER TABLE bdr.remembered_version REPLICA IDENTITY FULL")
	b.Wait(replicated, "SELECT count(*) FROM bdr.worker_errors", "0")
	b.Wait(replicated, "SELECT string_agg(event_sub_type, ' ' ORDER BY event_time) FROM bdr.event_summary WHERE event_type = 'upkeep'", "error resumed")
	b.Wait(replicated, "SELECT count(*) FROM bdr.remembered_version", "0")
	c.RequireConverged()
}

// remember has b remember a deletion that found no row.
func remember(c *pgtest.Cluster, a, b *pgtest.Node) {
	a.Exec("INSERT INTO t VALUES (1)")
	b.Wait(replicated, "SELECT count(*) FROM t", "1")
	b.Exec("BEGIN; SET LOCAL bdr.xact_replication = off; DELETE FROM t; COMMIT")
	a.Exec("DELETE FROM t")
	b.Wait(replicated, "SELECT count(*) > 0 FROM bdr.conflict_history WHERE conflict_type = 'delete_missing' AND remote_commit_lsn <= (SELECT last_xact_replay_lsn FROM bdr.subscription_summary)", "t")
}
