package sequence

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgtest"
)

// A right is what a role may do that was granted something on the sequence s and the
// table t, whose column id is an identity column; t2 has a serial one, and looked is a
// view of s. The code is that of the error, or none.
type right struct {
	grant string
	sql   string
	code  string
}

const denied = "42501"

var rights = []right{
	{"", "SELECT nextval('s')", denied},
	{"", "SELECT nextval('s'::text)", denied},
	{"", "SELECT currval('s')", denied},
	{"", "SELECT setval('s', 5)", denied},
	{"", "SELECT setval('s', 5, false)", denied},
	{"", "SELECT lastval()", "55000"},
	{"", "SELECT last_value FROM s", denied},
	{"", "SELECT (SELECT last_value FROM s)", denied},
	{"", "SELECT count(*) FROM s", denied},
	{"", "SELECT 1 / count(*) FROM pg_sequences WHERE sequencename = 's' AND last_value IS NULL", ""},
	{"", "SELECT definer_next()", ""},
	{"", "SELECT invoker_next()", denied},
	{"", "SELECT last_value FROM looked", denied},
	{"", "SELECT bdr.seq_nextval('s')", denied},
	{"", "SELECT bdr.seq_nextval_identity('s')", denied},
	{"", "SELECT * FROM bdr.seq_nextval_identity('t_id_seq')", denied},
	{"", "SELECT bdr.seq_currval('s')", denied},
	{"", "SELECT bdr.seq_setval('s', 5)", denied},
	{"", "SELECT bdr.seq_setval_called('s', 5, true)", denied},
	{"", "SELECT bdr.seq_row('s', 10)", denied},
	{"", "SELECT * FROM bdr.seq_row('s', 0)", denied},
	{"", "SELECT 1 / (last_value IS NULL)::int FROM bdr.seq_data('s')", ""},
	{"", "SELECT * FROM bdr.galloc_chunk_info('s')", denied},
	{"", "SELECT bdr.alter_sequence_set_kind('s', 'local')", denied},
	{"", "SELECT bdr.internal_uninstall_sequences()", denied},
	{"", "DROP EXTENSION bdr", denied},
	{"", "INSERT INTO t (k) VALUES (1)", denied},
	{"", "COPY t (k) FROM STDIN", denied},
	{"GRANT USAGE ON SEQUENCE s TO ROLE", "SELECT nextval('s'), currval('s'), lastval()", ""},
	{"GRANT USAGE ON SEQUENCE s TO ROLE", "SELECT setval('s', 5)", denied},
	{"GRANT USAGE ON SEQUENCE s TO ROLE", "SELECT last_value FROM s", denied},
	{"GRANT USAGE ON SEQUENCE s TO ROLE", "SELECT invoker_next()", ""},
	{"GRANT USAGE ON SEQUENCE s TO ROLE", "SELECT bdr.alter_sequence_set_kind('s', 'local')", denied},
	{"GRANT USAGE ON SEQUENCE s TO ROLE", "SELECT nextval('s'); REVOKE_IT; SELECT nextval('s')", denied},
	{"GRANT SELECT ON SEQUENCE s TO ROLE", "SELECT nextval('s')", denied},
	{"GRANT SELECT ON SEQUENCE s TO ROLE", "SELECT last_value FROM s UNION SELECT (SELECT last_value FROM s)", ""},
	{"GRANT SELECT ON SEQUENCE s TO ROLE", "SELECT 1 / (pg_sequence_last_value('s') IS NOT NULL)::int", ""},
	{"GRANT UPDATE ON SEQUENCE s TO ROLE", "SELECT nextval('s'), setval('s', nextval('s'))", ""},
	{"GRANT UPDATE ON SEQUENCE s TO ROLE", "SELECT nextval('s'); SELECT currval('s')", denied},
	{"GRANT UPDATE ON SEQUENCE s TO ROLE", "SELECT nextval('s'); SELECT lastval()", denied},
	{"GRANT SELECT ON looked TO ROLE", "SELECT last_value FROM looked", ""},
	{"GRANT SELECT ON looked TO ROLE", "SELECT (SELECT last_value FROM looked)", ""},
	{"GRANT SELECT ON looked TO ROLE", "SELECT last_value FROM s", denied},
	{"GRANT USAGE ON SEQUENCE t_id_seq TO ROLE", "INSERT INTO t (k) VALUES (1)", denied},
	{"GRANT INSERT ON t TO ROLE", "INSERT INTO t (k) VALUES (1), (2)", ""},
	{"GRANT INSERT ON t TO ROLE", "INSERT INTO t DEFAULT VALUES; SELECT lastval()", denied},
	{"GRANT INSERT ON t TO ROLE", "SELECT nextval('t_id_seq')", denied},
	{"GRANT INSERT ON t TO ROLE", "INSERT INTO t (k) VALUES (1) RETURNING id", denied},
	{"GRANT INSERT ON t TO ROLE", "COPY t (k) FROM STDIN", ""},
	{"GRANT INSERT ON t TO ROLE", "COPY t (k) FROM '/dev/null'", denied},
	{"GRANT INSERT ON t TO ROLE", "COPY t (k) FROM PROGRAM 'true'", denied},
	{"GRANT INSERT ON t, t2 TO ROLE; GRANT pg_read_server_files TO ROLE", "COPY t (k) FROM '/dev/null'", ""},
	{"GRANT INSERT ON t TO ROLE; GRANT pg_read_server_files TO ROLE", "COPY t (k) FROM PROGRAM 'true'", denied},
	{"GRANT INSERT ON t TO ROLE; GRANT pg_execute_server_program TO ROLE", "COPY t (k) FROM PROGRAM 'echo 1'", ""},
	{"GRANT INSERT (k) ON t TO ROLE", "COPY t (k) FROM STDIN", ""},
	{"GRANT INSERT (k) ON t TO ROLE", "COPY t (k, v) FROM STDIN", denied},
	{"GRANT INSERT (k) ON t TO ROLE", "COPY t FROM STDIN", denied},
	{"GRANT INSERT ON t TO ROLE", "BEGIN READ ONLY; COPY t (k) FROM STDIN", "25006"},
	{"GRANT INSERT ON t TO ROLE; ALTER TABLE t ENABLE ROW LEVEL SECURITY", "COPY t (k) FROM STDIN", "0A000"},
	{"GRANT INSERT ON t TO ROLE; ALTER TABLE t ADD g int GENERATED ALWAYS AS (k) STORED", "COPY t (k) FROM STDIN WHERE g > 0", "42P10"},
	{"GRANT INSERT ON t2 TO ROLE", "INSERT INTO t2 (k) VALUES (1)", denied},
	{"GRANT INSERT ON t2 TO ROLE", "COPY t2 (k) FROM STDIN", denied},
	{"GRANT INSERT ON t2 TO ROLE; GRANT USAGE ON SEQUENCE t2_id_seq TO ROLE", "INSERT INTO t2 (k) VALUES (1)", ""},
	{"GRANT INSERT ON t2 TO ROLE; GRANT USAGE ON SEQUENCE t2_id_seq TO ROLE", "COPY t2 (k) FROM STDIN", ""},
	{"GRANT pg_write_all_data TO ROLE", "SELECT nextval('s'), setval('s', nextval('s'))", ""},
	{"GRANT pg_write_all_data TO ROLE", "INSERT INTO t2 (k) VALUES (1)", ""},
	{"GRANT pg_read_all_data TO ROLE", "SELECT nextval('s')", denied},
	{"GRANT pg_read_all_data TO ROLE", "SELECT last_value FROM s", ""},
	{"GRANT OWNER TO ROLE", "SELECT nextval('s'), setval('s', nextval('s'))", ""},
	{"GRANT OWNER TO ROLE", "INSERT INTO t2 (k) VALUES (1)", ""},
}

// TestRights exists because a global sequence asks for the same rights as a local one:
// the expectations are those of PostgreSQL, for every kind.
func TestRights(t *testing.T) {
	n := newCluster(t, 1).Nodes[0]
	for _, kind := range allKinds {
		t.Run(kind, func(t *testing.T) {
			for i, r := range rights {
				t.Run(fmt.Sprint(i), func(t *testing.T) {
					requireRight(t, n.For(t), kind, fmt.Sprintf("%s_%d", kind, i), r)
				})
			}
		})
	}
}

func requireRight(t *testing.T, n *pgtest.Node, kind, name string, r right) {
	role, owner := "role_"+name, "owner_"+name
	s := open(t, n, kind, name)
	s.exec(fmt.Sprintf("CREATE ROLE %s LOGIN; CREATE ROLE %s; GRANT USAGE, CREATE ON SCHEMA %s TO %s; GRANT USAGE ON SCHEMA %s TO %s", role, owner, name, owner, name, role),
		"SET SESSION AUTHORIZATION "+owner, "CREATE SEQUENCE s", "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY, k int, v text)", "CREATE TABLE t2 (id bigserial, k int)",
		"CREATE VIEW looked AS SELECT last_value FROM s", "INSERT INTO t (k) VALUES (0)", "INSERT INTO t2 (k) VALUES (0)", "SELECT nextval('s')",
		"CREATE FUNCTION definer_next() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$ SELECT nextval('s') $$",
		"CREATE FUNCTION invoker_next() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN nextval('s'); END $$", "RESET SESSION AUTHORIZATION")
	grant := strings.NewReplacer("ROLE", role, "OWNER", owner).Replace(r.grant)
	if grant = strings.ReplaceAll(grant, "ENABLE "+role, "ENABLE ROW"); grant != "" {
		s.exec(grant)
	}
	as, err := pgconn.Connect(t.Context(), fmt.Sprintf("%s options='-c search_path=%s -c client_min_messages=error'", strings.Replace(n.DSN(n.Database), "user=postgres", "user="+role, 1), name))
	n.Must(err)
	defer as.Close(context.Background())
	err = runAll(as, r.sql, func() { s.exec(fmt.Sprintf("REVOKE ALL ON SEQUENCE s FROM %s", role)) })
	switch e := pgtest.PgError(err); {
	case err == nil && r.code != "":
		t.Errorf("%s, and then %s is allowed", r.grant, r.sql)
	case err != nil && (e == nil || e.Code != r.code):
		t.Errorf("%s, and then %s: %s, expected %q", r.grant, r.sql, pgtest.Explain(err), r.code)
	}
}

// runAll runs statements in a row, of which the last may be a COPY of one row.
func runAll(c *pgconn.PgConn, sql string, revoke func()) error {
	for _, statement := range strings.Split(sql, "; ") {
		var err error
		switch {
		case statement == "REVOKE_IT":
			revoke()
		case strings.Contains(statement, "STDIN"):
			_, err = c.CopyFrom(context.Background(), strings.NewReader("1\n"), statement)
		default:
			_, err = pgtest.RunOn(c, statement, time.Minute)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// TestRightsInATransaction exists because a session remembers that its user has rights:
// another user in the same transaction may not.
func TestRightsInATransaction(t *testing.T) {
	n := newCluster(t, 1).Nodes[0]
	n.Exec("CREATE ROLE may", "CREATE ROLE may_not", "CREATE ROLE dropped")
	for _, kind := range allKinds {
		t.Run(kind, func(t *testing.T) {
			s := open(t, n.For(t), kind, kind)
			s.exec("CREATE SEQUENCE s", fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO PUBLIC; GRANT USAGE ON SEQUENCE s TO may", kind))
			s.exec("PREPARE p AS SELECT nextval('s')", "SET plan_cache_mode = force_generic_plan", "EXECUTE p")
			for _, draw := range []string{"SELECT nextval('s')", "EXECUTE p", "INSERT INTO pg_temp.x SELECT nextval('s')"} {
				s.exec("CREATE TEMP TABLE x (v bigint); GRANT INSERT ON x TO PUBLIC")
				s.refused("BEGIN; SET LOCAL ROLE may; "+draw+"; SET LOCAL ROLE may_not; "+draw, denied, "permission denied for sequence s")
				s.refused("BEGIN; SET LOCAL ROLE may; "+draw+"; RESET ROLE; REVOKE USAGE ON SEQUENCE s FROM may; SET LOCAL ROLE may; "+draw, denied, "permission denied for sequence s")
				s.refused("BEGIN; "+draw+"; SET LOCAL ROLE may_not; "+draw, denied, "permission denied for sequence s")
				s.exec("BEGIN; SET LOCAL ROLE may; " + draw + "; RESET ROLE; " + draw + "; SET LOCAL ROLE may; " + draw + "; COMMIT; RESET ROLE; DROP TABLE x")
			}
		})
	}
}

// TestExecuteRevoked exists because a server may be set up with nextval for some only:
// who may not call it is told so, also where it leads to a function of ours.
func TestExecuteRevoked(t *testing.T) {
	n := newCluster(t, 1).Nodes[0]
	n.Exec("CREATE ROLE chosen LOGIN", "CREATE ROLE other LOGIN", "REVOKE EXECUTE ON FUNCTION nextval(regclass) FROM PUBLIC", "GRANT EXECUTE ON FUNCTION nextval(regclass) TO chosen")
	for _, kind := range allKinds {
		t.Run(kind, func(t *testing.T) {
			n := n.For(t)
			s := open(t, n, kind, kind)
			s.exec("CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY, k int)", "CREATE SEQUENCE s",
				fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO PUBLIC; GRANT ALL ON t, s TO chosen, other", kind))
			chosen, other := n.As("chosen", ""), n.As("other", "")
			chosen.Exec("SET search_path = "+kind, "SELECT nextval('s')", "INSERT INTO t (k) VALUES (1)")
			other.Exec("SET search_path = "+kind, "INSERT INTO t (k) VALUES (1)")
			for _, call := range []string{"nextval('s')", "bdr.seq_nextval('s')", "bdr.seq_nextval_identity('s')"} {
				if e := pgtest.PgError(other.Try("SELECT " + call)); e == nil || e.Code != denied || e.Message != "permission denied for function nextval" {
					t.Errorf("%s: %v", call, e)
				}
			}
		})
	}
}

// TestExtensionWithoutPublicRights exists because some databases give new functions to
// nobody: nextval of everybody must work there, too.
func TestExtensionWithoutPublicRights(t *testing.T) {
	c := pgtest.NewCluster(t, 1, pgtest.WithMembers(0))
	n := c.Nodes[0]
	n.Exec("DROP EXTENSION bdr", "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC", "ALTER DEFAULT PRIVILEGES REVOKE USAGE ON SCHEMAS FROM PUBLIC",
		"CREATE EXTENSION bdr", "CREATE ROLE somebody LOGIN", "CREATE SCHEMA s AUTHORIZATION somebody")
	c.Member(0)
	waitInstalled(n)
	somebody := n.As("somebody", "")
	for _, kind := range allKinds {
		somebody.Exec("SET search_path = s", "SET bdr.default_sequence_kind = "+kind, fmt.Sprintf("CREATE TABLE %[1]s (id bigint GENERATED ALWAYS AS IDENTITY, other bigserial, k int)", kind),
			"INSERT INTO "+kind+" (k) VALUES (1)", fmt.Sprintf("SELECT nextval('%[1]s_id_seq'), currval('%[1]s_id_seq'), lastval(), setval('%[1]s_id_seq', 5), setval('%[1]s_id_seq', 5, true)", kind),
			fmt.Sprintf("SELECT * FROM %s_other_seq", kind), "SELECT * FROM pg_sequences", "SELECT * FROM bdr.sequences", fmt.Sprintf("SELECT bdr.alter_sequence_set_kind('%s_id_seq', 'local')", kind),
			"SELECT bdr.sequence_candidates()", "SELECT bdr.alter_all_sequences_set_kind()", "SELECT bdr.extract_timestamp_from_snowflakeid(id), bdr.gen_ksuuid_v2(NULL) FROM "+kind)
	}
}
