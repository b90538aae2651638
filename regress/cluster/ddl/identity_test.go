package ddl

import (
	"testing"

	"bdr/gosrc/pgtest"
)

// TestReplicaIdentityOfNewTables exists because a table without a key takes no UPDATE
// otherwise, and a dump makes every table without one first.
func TestReplicaIdentityOfNewTables(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(on))
	a := c.Nodes[0]
	a.Exec("CREATE ROLE app; GRANT CREATE ON SCHEMA public TO app")
	for _, test := range []struct {
		name, makes string
		want        string // table and identity of each, by name
	}{
		{"auto", "CREATE TABLE t1 (a int); CREATE TABLE t2 (a int PRIMARY KEY); CREATE UNLOGGED TABLE t3 (a int UNIQUE)", "t1 f, t2 d, t3 f"},
		{"a_key_comes", "CREATE TABLE t1 (a int); ALTER TABLE t1 ADD PRIMARY KEY (a)", "t1 d"},
		{"a_key_comes_with_its_column", "CREATE TABLE t1 (a int); ALTER TABLE t1 ADD b int GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "t1 d"},
		{"a_key_goes", "CREATE TABLE t1 (a int PRIMARY KEY); ALTER TABLE t1 DROP CONSTRAINT t1_pkey; CREATE TABLE t2 (a int, b int PRIMARY KEY); ALTER TABLE t2 DROP b", "t1 f, t2 f"},
		{"another_key", "CREATE TABLE t1 (a int PRIMARY KEY); ALTER TABLE t1 DROP CONSTRAINT t1_pkey, ADD b int DEFAULT 1 PRIMARY KEY", "t1 d"},
		{"a_key_that_is_none", "CREATE TABLE t1 (a int PRIMARY KEY DEFERRABLE); CREATE TABLE t2 (a int); ALTER TABLE t2 ADD PRIMARY KEY (a) DEFERRABLE", "t1 f, t2 f"},
		{"partitions", "CREATE TABLE t1 (a int) PARTITION BY LIST (a); CREATE TABLE t2 PARTITION OF t1 DEFAULT", "t1 f, t2 f"},
		{"key_of_partitions", "CREATE TABLE t1 (a int) PARTITION BY LIST (a); CREATE TABLE t2 PARTITION OF t1 DEFAULT; ALTER TABLE t1 ADD PRIMARY KEY (a)", "t1 d, t2 d"},
		{"key_of_a_table_above", "CREATE TABLE t1 (a int PRIMARY KEY) PARTITION BY LIST (a); CREATE TABLE t2 (a int NOT NULL); ALTER TABLE t1 ATTACH PARTITION t2 DEFAULT", "t1 d, t2 d"},
		{"query", "CREATE TABLE t1 AS SELECT 1 AS a; SELECT 2 AS a INTO t2", "t1 f, t2 f"},
		{"schema", "CREATE SCHEMA AUTHORIZATION app CREATE TABLE t1 (a int) CREATE TABLE t2 (a int PRIMARY KEY)", "t1 f, t2 d"},
		{"function", "DO $$BEGIN CREATE TABLE t1 (a int); INSERT INTO t1 VALUES (1); UPDATE t1 SET a = 2; END$$", "t1 f"},
		{"as_ordinary_user", "SET ROLE app; CREATE TABLE t1 (a int); RESET ROLE", "t1 f"},
		{"default", "SET bdr.default_replica_identity = 'default'; CREATE TABLE t1 (a int); RESET bdr.default_replica_identity", "t1 d"},
		{"full", "SET bdr.default_replica_identity = 'full'; CREATE TABLE t1 (a int PRIMARY KEY); ALTER TABLE t1 ADD UNIQUE (a); RESET bdr.default_replica_identity", "t1 f"},
		{"full_stays", "SET bdr.default_replica_identity = 'full'; CREATE TABLE t1 (a int); ALTER TABLE t1 ADD PRIMARY KEY (a); RESET bdr.default_replica_identity", "t1 f"},
		{"nothing", "SET bdr.default_replica_identity = 'nothing'; CREATE TABLE t1 (a int PRIMARY KEY); RESET bdr.default_replica_identity", "t1 n"},
		{"asked_for", "CREATE TABLE t1 (a int NOT NULL UNIQUE); ALTER TABLE t1 REPLICA IDENTITY USING INDEX t1_a_key", "t1 i"},
		{"temporary", "CREATE TEMP TABLE t1 (a int)", "t1 d"},
		{"dropped", "BEGIN; CREATE TABLE t1 (a int); DROP TABLE t1; CREATE TABLE t1 (a int); SAVEPOINT s; CREATE TABLE t2 (a int); ROLLBACK TO s; COMMIT", "t1 f"},
		{"not_replicated", "SET bdr.ddl_replication = off; CREATE TABLE t1 (a int); DROP TABLE t1; RESET bdr.ddl_replication", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := c.For(t)
			a := c.Nodes[0]
			t.Cleanup(func() { a.Exec("DROP TABLE IF EXISTS t2, t1, t3, app.t1, app.t2; DROP SCHEMA IF EXISTS app") })
			a.Exec(test.makes)
			const identities = "SELECT COALESCE(string_agg(relname || ' ' || relreplident::text, ', ' ORDER BY relname), '') FROM pg_class WHERE relkind IN ('r', 'p') AND relname ~ '^t[0-9]$'"
			if got := a.Value(identities); got != test.want {
				t.Errorf("%s, and not %s", got, test.want)
			}
			if test.name != "temporary" {
				for _, r := range a.Rows("SELECT oid::regclass FROM pg_class WHERE relkind = 'r' AND relname ~ '^t[0-9]$' AND relreplident = 'f' AND relpersistence = 'p'") {
					a.Exec("INSERT INTO "+r[0]+" VALUES (1)", "DELETE FROM "+r[0])
				}
			}
			c.RequireSameSchemas()
		})
	}
}
