package sequence

import (
	"fmt"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// changes that must be refused, and leave all nodes as they were. The statements are
// run on the second node before.
var refusedChanges = []struct{ name, before, call, code, text string }{
	{"no_such_kind", "", "SELECT bdr.alter_sequence_set_kind('s', 'serial')", "22023", "unknown kind of sequence"},
	{"start_too_low", "", "SELECT bdr.alter_sequence_set_kind('s', 'galloc', 0)", "22023", "start must be at least 1"},
	{"no_sequence", "", "SELECT bdr.alter_sequence_set_kind('t', 'galloc')", "42809", "is not a sequence"},
	{"own_sequence", "", "SELECT bdr.alter_sequence_set_kind('bdr.id_clock', 'galloc')", "55000", "bdr's own"},
	{"narrow", "", "SELECT bdr.alter_sequence_set_kind('small', 'snowflakeid')", "55000", "cannot be of kind snowflakeid"},
	{"cycle", "", "SELECT bdr.alter_sequence_set_kind('cycle', 'galloc')", "55000", "CYCLE"},
	{"descending", "", "SELECT bdr.alter_sequence_set_kind('down', 'timeshard')", "55000", "cannot be of kind timeshard"},
	{"unlogged", "", "SELECT bdr.alter_sequence_set_kind('unlogged', 'galloc')", "55000", "temporary or unlogged"},
	{"temporary", "", "CREATE TEMP SEQUENCE x; SELECT bdr.alter_sequence_set_kind('x', 'galloc')", "55000", "temporary or unlogged"},
	{"too_large", "", "SELECT bdr.alter_sequence_set_kind('s', 'galloc', 1::bigint << 57)", "55000", "cannot change the kind"},
	{"unfit_there", "ALTER SEQUENCE s AS int", "SELECT bdr.alter_sequence_set_kind('s', 'snowflakeid')", "55000", "node2"},
	{"cycle_there", "ALTER SEQUENCE s CYCLE", "SELECT bdr.alter_sequence_set_kind('s', 'galloc')", "55000", "node2"},
	{"unlogged_there", "ALTER SEQUENCE s SET UNLOGGED", "SELECT bdr.alter_sequence_set_kind('s', 'galloc')", "55000", "node2"},
	{"ids_of_the_future", "INSERT INTO t (id) VALUES (bdr.timestamp_to_snowflakeid(now() + interval '1 hour'))", "SELECT bdr.alter_sequence_set_kind('t_id_seq', 'snowflakeid')", "55000", "ids of that size"},
	{"values_beyond_galloc", "INSERT INTO t (id) VALUES (1::bigint << 57)", "SELECT bdr.alter_sequence_set_kind('t_id_seq', 'galloc')", "55000", "cannot change the kind"},
	{"not_the_owner", "", "SET ROLE stranger; SELECT bdr.alter_sequence_set_kind('s', 'galloc')", "42501", "must be owner of sequence s"},
	{"not_the_owner_there", "ALTER SEQUENCE s OWNER TO stranger", "SET ROLE owner; SELECT bdr.alter_sequence_set_kind('s', 'galloc')", "42501", "node2"},
	{"no_role_there", "", "CREATE ROLE only_here; ALTER SEQUENCE s OWNER TO only_here; SET ROLE only_here; SELECT bdr.alter_sequence_set_kind('s', 'galloc')", "42501", "node2"},
	{"used_here", "", "BEGIN; SELECT nextval('s'); SELECT bdr.alter_sequence_set_kind('s', 'galloc')", "55006", "This transaction has used it"},
	{"read_only", "", "BEGIN READ ONLY; SELECT bdr.alter_sequence_set_kind('s', 'galloc')", "25006", "read-only"},
}

// TestRefusedChanges exists because a change that one node cannot carry out must not
// be carried out by any, and the error must say which node it is.
func TestRefusedChanges(t *testing.T) {
	c := newCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE ROLE owner", "CREATE ROLE stranger")
	for i, r := range refusedChanges {
		t.Run(r.name, func(t *testing.T) {
			c := c.For(t)
			schema := fmt.Sprintf("changes_%d", i)
			var sessions []*session
			for _, n := range c.Nodes {
				s := open(t, n, local, schema)
				s.exec("CREATE SEQUENCE s; ALTER SEQUENCE s OWNER TO owner", "CREATE SEQUENCE small AS int", "CREATE SEQUENCE cycle CYCLE", "CREATE SEQUENCE down INCREMENT -1", "CREATE UNLOGGED SEQUENCE unlogged",
					"CREATE TABLE t (id bigserial PRIMARY KEY)", "SELECT nextval('s'), nextval('t_id_seq'), nextval('small')", "GRANT USAGE, CREATE ON SCHEMA "+schema+" TO owner, stranger, PUBLIC")
				sessions = append(sessions, s)
			}
			if r.before != "" {
				sessions[1].exec(r.before)
			}
			statements := strings.Split(r.call, "; ")
			sessions[0].exec(statements[:len(statements)-1]...)
			sessions[0].refused(statements[len(statements)-1], r.code, r.text)
			for _, n := range c.Nodes {
				n.Wait(clustertest.ResumeLimit, unsettled, "0")
				s := open(t, n, local, schema)
				if got := s.value("SELECT string_agg(DISTINCT seqkind, ' ') FROM bdr.sequences WHERE nspname = current_schema"); got != local {
					t.Errorf("%s: sequences are %s", n.Name, got)
				}
				if got := s.value("SELECT concat_ws(' ', (SELECT last_value FROM s), nextval('s'), nextval('t_id_seq'), nextval('small'), pg_sequence_last_value('s'))"); got != "1 2 2 2 2" && got != "2 3 2 2 3" {
					t.Errorf("%s: sequences go on with %s", n.Name, got)
				}
				if r.name != "unlogged_there" {
					s.exec("ALTER SEQUENCE s RESTART 50", "ALTER SEQUENCE small INCREMENT 5")
				}
			}
		})
	}
	c.RequireConvergedAmong(a, b)
}

// TestStartOfTheNewKind exists because values of the new kind must be behind those of
// all nodes: what sequences have given, what is in columns, and what the caller says.
func TestStartOfTheNewKind(t *testing.T) {
	c := newCluster(t, 3)
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	c.ExecAll("SET bdr.default_sequence_kind = local", "CREATE TABLE t (id serial PRIMARY KEY, i int GENERATED BY DEFAULT AS IDENTITY, who text)", "CREATE SEQUENCE free", "CREATE SEQUENCE lone",
		"CREATE DOMAIN key AS bigint CHECK (VALUE > 0)", "CREATE TABLE o (k key PRIMARY KEY)", "CREATE SEQUENCE of_domain OWNED BY o.k", "ALTER TABLE o ALTER k SET DEFAULT nextval('of_domain')",
		"CREATE TABLE p (id bigserial, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k)", "CREATE TABLE p1 PARTITION OF p DEFAULT")
	b.Exec("SELECT setval('t_id_seq', 500)", "INSERT INTO t (id, i) VALUES (100, 7000)", "SELECT setval('free', 44, false)", "DROP SEQUENCE lone")
	d.Exec("INSERT INTO t (id, i) VALUES (300, 6)", "INSERT INTO o VALUES (4000)", "INSERT INTO p VALUES (900, 1)", "SELECT setval('free', 33)")
	c.RequireConverged()
	for _, step := range []struct {
		call  string
		above int64
	}{
		{"alter_sequence_set_kind('t_id_seq', 'galloc')", 500},
		{"alter_sequence_set_kind('t_i_seq', 'galloc')", 7000},
		{"alter_sequence_set_kind('of_domain', 'galloc')", 4000},
		{"alter_sequence_set_kind('p_id_seq', 'galloc')", 900},
		{"alter_sequence_set_kind('free', 'galloc')", 43},
		{"alter_sequence_set_kind('free', 'galloc', 77000000000)", 76999999999},
		{"alter_sequence_set_kind('free', 'local')", 76999999999},
		{"alter_sequence_set_kind('free', 'local', 99000000000)", 98999999999},
		{"alter_sequence_set_kind('free', 'galloc')", 98999999999},
		{"alter_sequence_set_kind('lone', 'galloc', 10)", 9},
	} {
		a.Exec("SELECT bdr." + step.call)
		name := step.call[strings.Index(step.call, "'")+1:]
		name = name[:strings.Index(name, "'")]
		seen := map[string]string{}
		for _, n := range c.Nodes {
			if name == "lone" && n.Name == b.Name {
				continue
			}
			v := (&session{n.Session(), t, n}).number("SELECT nextval('" + name + "')")
			if before := seen[fmt.Sprint(v)]; v <= step.above || before != "" && !strings.Contains(step.call, "local") {
				t.Errorf("%s, %s: %d on %s, and on %q", step.call, name, v, n.Name, before)
			}
			seen[fmt.Sprint(v)] = n.Name
		}
	}
	for _, n := range c.Nodes {
		n.Exec("INSERT INTO t (who) SELECT 'x' FROM generate_series(1, 100)")
	}
	b.Exec("SET bdr.default_sequence_kind = galloc", "CREATE SEQUENCE lone")
	if got := b.Value("SELECT nextval('lone') > 9"); got != "t" {
		t.Error("the sequence that was made later begins before the others")
	}
	c.RequireConverged()
	requireSameChunks(t, c.Nodes...)
}

// TestChangesAtOnce exists because two administrators may change one sequence from two
// nodes: all nodes must have one kind in the end, and nobody may be told otherwise.
func TestChangesAtOnce(t *testing.T) {
	c := newCluster(t, 3)
	c.ExecAll("SET bdr.default_sequence_kind = snowflakeid", "CREATE TABLE t (id bigserial PRIMARY KEY, who text)")
	script := "INSERT INTO t (who) VALUES ('x');"
	var loads []*pgtest.Pgbench
	for _, n := range c.Nodes {
		loads = append(loads, n.StartPgbench("-c", "2", "-R", "100", "-T", "600", "-f", n.Script(script)))
	}
	changed := 0
	for round := range 5 {
		errs := make([]error, 3)
		eachAtOnce([]*pgtest.Node{c.Nodes[0], c.Nodes[1], c.Nodes[2]}, func(n *pgtest.Node) {
			i := int(n.Name[4] - '1')
			errs[i] = n.Try(fmt.Sprintf("SELECT bdr.alter_sequence_set_kind('t_id_seq', '%s')", idKinds[(round+i)%2]))
		})
		for i, err := range errs {
			if e := pgtest.PgError(err); err != nil && (e == nil || e.Code != "55006") {
				t.Errorf("node%d: %s", i+1, pgtest.Explain(err))
			}
			if err == nil {
				changed++
			}
		}
		kind := kindOf(c.Nodes[0], "t_id_seq")
		requireKind(t, "t_id_seq", kind, c.Nodes...)
	}
	if changed < 5 {
		t.Errorf("%d changes were carried out in 5 rounds", changed)
	}
	for _, load := range loads {
		load.Stop()
	}
	c.RequireConverged()
	for _, n := range c.Nodes {
		if got := n.Value("SELECT count(*) FROM bdr.conflict_history"); got != "0" {
			t.Errorf("%s: %s conflicts, so values that were made twice", n.Name, got)
		}
		n.Wait(clustertest.ResumeLimit, unsettled, "0")
	}
}

// TestNodeDiesWhileAKindChanges exists because a node may have stopped its sequence, and
// die before it hears how the change has ended: nextval must work there afterwards, with
// the kind that all have.
func TestNodeDiesWhileAKindChanges(t *testing.T) {
	c := newCluster(t, 3)
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	c.ExecAll("SET bdr.default_sequence_kind = galloc", "CREATE TABLE t (id bigserial PRIMARY KEY, who text)")
	for _, n := range c.Nodes {
		n.Exec("INSERT INTO t (who) SELECT 'x' FROM generate_series(1, 10)")
	}
	release, _ := clustertest.Hold(t, d, "SELECT nextval('t_id_seq')")
	done := make(chan error, 1)
	go func() { done <- a.Try("SELECT bdr.alter_sequence_set_kind('t_id_seq', 'snowflakeid')") }()
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM bdr.sequence_kind WHERE stopped_by IS NOT NULL", "1")
	b.Must(b.Kill9())
	if err := <-done; err == nil || pgtest.PgError(err).Code != "55P03" {
		t.Errorf("the change ends with %v", err)
	}
	release()
	b.Must(b.Start())
	for _, n := range c.Nodes {
		n.Wait(clustertest.ResumeLimit, unsettled, "0")
		n.Exec("INSERT INTO t (who) SELECT 'x' FROM generate_series(1, 10)")
	}
	requireKind(t, "t_id_seq", galloc, c.Nodes...)
	c.WaitMesh(c.Nodes...)
	a.Exec("SELECT bdr.alter_sequence_set_kind('t_id_seq', 'snowflakeid')")
	for _, n := range c.Nodes {
		n.Exec("INSERT INTO t (who) SELECT 'x' FROM generate_series(1, 10)")
		drawn{}.require(t, n, snowflakeid, "afterwards", []string{n.Value("SELECT nextval('t_id_seq')")})
	}
	c.RequireConverged()
	if got := a.Value("SELECT count(*) FROM t"); got != "90" {
		t.Errorf("%s of 90 rows", got)
	}
}

// TestOwnerChangesAllSequences exists because the one who owns an application's tables is
// no superuser, and changes what is there in one call, on all nodes.
func TestOwnerChangesAllSequences(t *testing.T) {
	c := newCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE ROLE owner LOGIN", "CREATE SCHEMA app AUTHORIZATION owner", "SET bdr.default_sequence_kind = local", "CREATE SEQUENCE of_another",
		"SET ROLE owner; CREATE TABLE app.wide (id bigserial PRIMARY KEY, k int); CREATE TABLE app.narrow (id serial PRIMARY KEY, k int); CREATE SEQUENCE app.cycle CYCLE; CREATE UNLOGGED SEQUENCE app.unlogged; RESET ROLE")
	a.Exec("INSERT INTO app.wide (k) SELECT generate_series(1, 10)", "INSERT INTO app.narrow (k) SELECT generate_series(1, 10)")
	c.RequireConverged()
	owner := a.As("owner", "")
	rows, err := owner.Run("SELECT string_agg(sequence || ' ' || new_kind || ' ' || left(result, 7), ', ' ORDER BY sequence::text) FROM bdr.alter_all_sequences_set_kind()")
	a.Must(err)
	if got := rows[0][0]; !strings.Contains(got, "app.narrow_id_seq galloc changed") || !strings.Contains(got, "app.wide_id_seq snowflakeid changed") || strings.Contains(got, "of_another") || strings.Count(got, "changed") != 2 {
		t.Errorf("the owner's sequences: %s", got)
	}
	for _, n := range []*pgtest.Node{a, b} {
		requireKind(t, "wide_id_seq", snowflakeid, n)
		requireKind(t, "narrow_id_seq", galloc, n)
		requireKind(t, "of_another", local, n)
		n.Exec("INSERT INTO app.wide (k) SELECT generate_series(1, 10)", "INSERT INTO app.narrow (k) SELECT generate_series(1, 10)")
	}
	c.RequireConverged()
	owner.Exec("BEGIN", "SELECT bdr.alter_sequence_set_kind('app.wide_id_seq', 'timeshard')", "ROLLBACK") // at once, whatever becomes of it
	requireKind(t, "wide_id_seq", timeshard, a, b)
}
