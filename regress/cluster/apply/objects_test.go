package apply

import (
	"fmt"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestSchemaObjects exists because users hang all kinds of things on their
// tables: what writes rows of its own must not do so twice, what checks them
// must not be skipped, and what belongs to one node must stay there.
func TestSchemaObjects(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithSettings(clustertest.Impatient))
	for _, part := range []struct {
		name string
		run  func(*testing.T, *pgtest.Cluster)
	}{
		{"inheritance", inheritance},
		{"foreign_keys", foreignKeys},
		{"exclusion_constraint", exclusionConstraint},
		{"every_kind_of_index", everyIndex},
		{"rules_do_not_fire", rulesStaySilent},
		{"which_triggers_fire", whichTriggersFire},
		{"triggers_change_and_veto", triggersChangeAndVeto},
		{"triggers_write_elsewhere", triggersWriteElsewhere},
		{"deferred_constraint_trigger", deferredTrigger},
		{"row_security", rowSecurity},
		{"check_constraints", checkConstraints},
		{"unlogged_and_temporary", unloggedAndTemporary},
		{"what_stays_here", whatStaysHere},
		{"odd_names", oddNames},
		{"tablespaces", tablespaces},
		{"generated_and_identity_columns", generatedColumns},
		{"zero_columns", zeroColumns},
		{"as_many_columns_as_there_can_be", manyColumns},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, c.For(t)) })
	}
}

func inheritance(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE inh (id int PRIMARY KEY, v text)", "CREATE TABLE inh_kid (extra int, PRIMARY KEY (id)) INHERITS (inh)",
		"CREATE TABLE inh_other (PRIMARY KEY (id)) INHERITS (inh)")
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf("INSERT INTO inh SELECT g, 'p' FROM generate_series(%d, 30, 3) g", i), // the same keys in all three
			fmt.Sprintf("INSERT INTO inh_kid SELECT g, 'k', g FROM generate_series(%d, 30, 3) g", i),
			fmt.Sprintf("INSERT INTO inh_other SELECT g, 'o' FROM generate_series(%d, 30, 3) g", i))
	}
	c.RequireConverged()
	c.Nodes[0].Exec("UPDATE inh SET v = v || '!' WHERE id % 2 = 0", "DELETE FROM ONLY inh WHERE id = 5")
	c.Nodes[1].Exec("UPDATE ONLY inh SET v = 'only' WHERE id = 7", "DELETE FROM inh WHERE id = 9")
	c.RequireConverged()
	const summary = "SELECT (SELECT string_agg(n::text, ' ' ORDER BY r) FROM (SELECT tableoid::regclass::text AS r, count(*) AS n FROM inh GROUP BY 1) x)"
	if got := c.Nodes[2].Value(summary); got != "29 30 30" {
		t.Errorf("rows of inh, inh_kid, inh_other: %s", got)
	}
	c.Nodes[2].Exec("TRUNCATE ONLY inh")
	c.RequireConverged()
	if got := c.Nodes[0].Value(summary); got != "30 30" {
		t.Errorf("rows after TRUNCATE ONLY: %s", got)
	}
	c.Nodes[0].Exec("TRUNCATE inh")
	c.RequireConverged()
	if got := c.Nodes[1].Value("SELECT count(*) FROM inh"); got != "0" {
		t.Errorf("%s rows after TRUNCATE", got)
	}
}

func foreignKeys(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE fk_p (id int PRIMARY KEY, up int REFERENCES fk_p DEFERRABLE INITIALLY DEFERRED)",
		"CREATE TABLE fk_c (id int PRIMARY KEY, p int REFERENCES fk_p ON DELETE CASCADE ON UPDATE CASCADE)",
		"CREATE TABLE fk_n (id int PRIMARY KEY, p int REFERENCES fk_p ON DELETE SET NULL ON UPDATE SET NULL)",
		"CREATE TABLE fk_g (id int PRIMARY KEY, c int REFERENCES fk_c ON DELETE CASCADE)")
	const conflicts = "SELECT coalesce(string_agg(concat_ws(' ', relname, conflict_type, key_tuple), '; '), 'none') FROM bdr.conflict_history WHERE relname LIKE 'fk_%' AND conflict_type <> 'update_origin_change'"
	c.Nodes[0].Exec("BEGIN; INSERT INTO fk_p SELECT g, 21 - g FROM generate_series(1, 20) g; INSERT INTO fk_c SELECT g, g FROM generate_series(1, 20) g;" +
		"INSERT INTO fk_n SELECT g, g FROM generate_series(1, 20) g; INSERT INTO fk_g SELECT g, g FROM generate_series(1, 20) g; COMMIT")
	c.RequireConverged()
	c.Nodes[1].Exec("BEGIN; UPDATE fk_p SET up = NULL; DELETE FROM fk_p WHERE id <= 5; COMMIT", "UPDATE fk_p SET id = id + 100 WHERE id IN (6, 7)")
	c.RequireConverged()
	c.Nodes[2].Exec("DELETE FROM fk_c WHERE p = 107", "DELETE FROM fk_p WHERE id = 8")
	c.RequireConverged()
	const summary = `SELECT concat_ws(' ', (SELECT count(*) FROM fk_p), (SELECT count(*) FROM fk_c), (SELECT count(*) FROM fk_c WHERE p > 100),
		(SELECT count(*) FROM fk_n WHERE p IS NULL), (SELECT count(*) FROM fk_g))`
	if got := c.Nodes[0].Value(summary); got != "14 13 1 8 13" {
		t.Errorf("rows: %s", got)
	}
	for _, n := range c.Nodes {
		if got := n.Value(conflicts); got != "none" {
			t.Errorf("%s: actions ran twice: %s", n.Name, got)
		}
	}
}

func exclusionConstraint(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE ex (id int PRIMARY KEY, during int4range, CONSTRAINT no_overlap EXCLUDE USING gist (during WITH &&))")
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("INSERT INTO ex SELECT g, int4range(g * 10, g * 10 + 10) FROM generate_series(1, 10) g", "UPDATE ex SET during = '[500,600)' WHERE id = 3")
	c.RequireConverged()
	apart(c, func() {
		a.Exec("INSERT INTO ex VALUES (20, '[1000,1010)'), (21, '[1100,1110)')")
		b.Exec("INSERT INTO ex VALUES (30, '[1005,1015)')")
	})
	c.RequireConverged()
	if got := a.Value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM ex WHERE id >= 20"); got != "21 30" {
		t.Errorf("rows left: %s", got)
	}
}

func everyIndex(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll(`CREATE TABLE ix (id int PRIMARY KEY, name text, tags int[], at point, n int, gone bool DEFAULT false)`,
		"CREATE UNIQUE INDEX ix_lower ON ix (lower(name))", "CREATE UNIQUE INDEX ix_partial ON ix (n) WHERE NOT gone",
		"CREATE INDEX ix_brin ON ix USING brin (n)", "CREATE INDEX ix_gin ON ix USING gin (tags)", "CREATE INDEX ix_gist ON ix USING gist (at)",
		"CREATE INDEX ix_hash ON ix USING hash (name)", "CREATE INDEX ix_spgist ON ix USING spgist (at)", "CREATE INDEX ix_cover ON ix (n) INCLUDE (name)",
		"CREATE INDEX ix_expr ON ix ((n % 7), (name || '!')) WHERE n > 10")
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf("INSERT INTO ix SELECT g, 'Name' || g, ARRAY[g, g + 1], point(g, g), g FROM generate_series(%d, 150, 3) g", i+1))
	}
	c.RequireConverged()
	c.Nodes[1].Exec("UPDATE ix SET name = 'CHANGED' || id, tags = tags || 1000, at = point(0, id), gone = true, n = 1 WHERE id % 5 = 0",
		"DELETE FROM ix WHERE id % 11 = 0", "UPDATE ix SET n = n + 1000 WHERE id = 4")
	c.RequireConverged()
	for _, condition := range []string{"lower(name) = 'changed30'", "n = 30 AND NOT gone", "n BETWEEN 20 AND 40", "tags @> '{1000}'", "at <@ box '((0,0),(50,50))'",
		"name = 'Name7'", "n = 1004", "n % 7 = 3 AND name || '!' > 'Name' AND n > 10"} {
		count := func(n *pgtest.Node, scans string) string {
			return n.Value(fmt.Sprintf("SET LOCAL enable_%s = off; SELECT count(*) || ' ' || coalesce(sum(id), 0) FROM ix WHERE %s", scans, condition))
		}
		want := count(c.Nodes[1], "indexscan")
		for _, n := range c.Nodes {
			if got := count(n, "seqscan"); got != want {
				t.Errorf("%s by index: %s has %s, expected %s", condition, n.Name, got, want)
			}
		}
	}
	// the expression index finds the row that is in the way
	apart(c, func() {
		c.Nodes[0].Exec("INSERT INTO ix VALUES (501, 'Twice', '{}', '(1,1)', 501)")
		c.Nodes[2].Exec("INSERT INTO ix VALUES (502, 'tWICE', '{}', '(1,1)', 502)")
	})
	c.RequireConverged()
	if got := c.Nodes[1].Value("SELECT string_agg(id || name, ' ') FROM ix WHERE id > 500"); got != "502tWICE" {
		t.Errorf("the later of two rows with one name: %s", got)
	}
}

func rulesStaySilent(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE ru (id int PRIMARY KEY, v text)", "CREATE TABLE ru_log (what text)")
	c.Nodes[0].Exec("INSERT INTO ru VALUES (0, ''), (3, '')")
	c.RequireConverged()
	for _, n := range c.Nodes[1:] {
		n.Exec("CREATE RULE r1 AS ON INSERT TO ru DO ALSO INSERT INTO ru_log VALUES ('insert')", "CREATE RULE r2 AS ON UPDATE TO ru DO INSTEAD NOTHING",
			"CREATE RULE r3 AS ON DELETE TO ru DO INSTEAD INSERT INTO ru_log VALUES ('delete')",
			"ALTER TABLE ru ENABLE ALWAYS RULE r2", "ALTER TABLE ru ENABLE REPLICA RULE r1")
	}
	c.Nodes[0].Exec("INSERT INTO ru VALUES (1, 'x'), (2, 'x')", "UPDATE ru SET v = 'y' WHERE id = 1", "DELETE FROM ru WHERE id = 2")
	c.RequireConverged()
	if got := c.Nodes[1].Value("SELECT (SELECT string_agg(id || v, ' ' ORDER BY id) FROM ru) || ' ' || (SELECT count(*) FROM ru_log)"); got != "0 1y 3 0" {
		t.Errorf("rows and log: %s", got)
	}
}

const noteTrigger = `CREATE FUNCTION %[1]s_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO public.%[1]s_log (what) VALUES (concat_ws(' ', TG_NAME, TG_OP, current_setting('session_replication_role'), current_user = session_user));
	RETURN NULL; END $$`

func whichTriggersFire(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE tr (id int PRIMARY KEY, v text)", "CREATE UNLOGGED TABLE tr_log (nr serial, what text)", fmt.Sprintf(noteTrigger, "tr"))
	b := c.Nodes[1]
	for _, mode := range []string{"ORIGIN", "REPLICA", "ALWAYS", "DISABLED"} {
		name := strings.ToLower(mode)
		b.Exec(fmt.Sprintf("CREATE TRIGGER row_%s AFTER INSERT OR UPDATE OR DELETE ON tr FOR EACH ROW EXECUTE FUNCTION tr_note()", name),
			fmt.Sprintf("CREATE TRIGGER statement_%s AFTER INSERT OR UPDATE OR DELETE ON tr FOR EACH STATEMENT EXECUTE FUNCTION tr_note()", name),
			fmt.Sprintf("CREATE TRIGGER transition_%s AFTER INSERT ON tr REFERENCING NEW TABLE AS new FOR EACH STATEMENT EXECUTE FUNCTION tr_note()", name),
			fmt.Sprintf("CREATE TRIGGER when_%s AFTER INSERT OR UPDATE ON tr FOR EACH ROW WHEN (NEW.v = 'seen') EXECUTE FUNCTION tr_note()", name))
		if mode == "ORIGIN" {
			continue
		}
		enable := "ENABLE " + mode
		if mode == "DISABLED" {
			enable = "DISABLE"
		}
		for _, kind := range []string{"row", "statement", "transition", "when"} {
			b.Exec(fmt.Sprintf("ALTER TABLE tr %s TRIGGER %s_%s", enable, kind, name))
		}
	}
	c.Nodes[0].Exec("INSERT INTO tr VALUES (1, 'x'), (2, 'x')", "UPDATE tr SET v = 'seen' WHERE id = 1", "DELETE FROM tr WHERE id = 2")
	c.RequireConverged()
	const want = "row_always INSERT replica t; row_replica INSERT replica t; row_always INSERT replica t; row_replica INSERT replica t; " +
		"row_always UPDATE replica t; row_replica UPDATE replica t; when_always UPDATE replica t; when_replica UPDATE replica t; " +
		"row_always DELETE replica t; row_replica DELETE replica t"
	if got := b.Value("SELECT string_agg(what, '; ' ORDER BY nr) FROM tr_log"); got != want {
		t.Errorf("triggers that fired: %s", got)
	}
}

func triggersChangeAndVeto(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE tv (id int PRIMARY KEY, v text, w text)")
	b.Exec(`CREATE FUNCTION tv_edit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF OLD.v = 'keep' THEN RETURN NULL; END IF;
		IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
		IF NEW.v = 'never' THEN RETURN NULL; END IF;
		NEW.w := TG_OP || ' ' || coalesce(OLD.v, '-') || ' ' || coalesce(NEW.w, '-'); RETURN NEW; END $$`,
		"CREATE TRIGGER edit BEFORE INSERT OR UPDATE OR DELETE ON tv FOR EACH ROW EXECUTE FUNCTION tv_edit()", "ALTER TABLE tv ENABLE ALWAYS TRIGGER edit")
	a.Exec("INSERT INTO tv VALUES (1, 'a', 'x'), (2, 'never', 'x'), (3, 'keep', NULL), (4, 'd', NULL)",
		"BEGIN; UPDATE tv SET v = 'b' WHERE id = 1; UPDATE tv SET w = 'z' WHERE id = 1; UPDATE tv SET v = 'gone' WHERE id = 3; DELETE FROM tv WHERE id IN (3, 4); COMMIT",
		"INSERT INTO tv SELECT g, 'many', NULL FROM generate_series(10, 1200) g")
	c.WaitDrained(c.Nodes...)
	if got := b.Value("SELECT string_agg(concat_ws('/', id, v, w), ', ' ORDER BY id) FROM tv WHERE id < 10"); got != "1/b/UPDATE b z, 3/keep/INSERT - -" {
		t.Errorf("rows on the node with triggers: %s", got)
	}
	if got := b.Value("SELECT count(*) FROM tv WHERE w = 'INSERT - -'"); got != "1192" {
		t.Errorf("%s of 1192 inserted rows were changed", got)
	}
	if got := a.Value("SELECT string_agg(concat_ws('/', id, v, w), ', ' ORDER BY id) FROM tv WHERE id < 10"); got != "1/b/z, 2/never/x" {
		t.Errorf("rows on the origin: %s", got)
	}
	c.ExecAll("DROP TABLE tv")
}

// What a trigger writes while a change is applied belongs to that change: it
// is not sent on, and so does not go round.
func triggersWriteElsewhere(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE te (id int PRIMARY KEY, v int)", "CREATE TABLE te_audit (id int, node text)", "CREATE TABLE te_sum (id int PRIMARY KEY, total int)",
		`CREATE FUNCTION te_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO public.te_audit VALUES (NEW.id, (SELECT node_name FROM bdr.local_node_summary));
		INSERT INTO public.te_sum VALUES (1, NEW.v) ON CONFLICT (id) DO UPDATE SET total = te_sum.total + EXCLUDED.total;
		RETURN NULL; END $$`,
		"CREATE TRIGGER note AFTER INSERT ON te FOR EACH ROW EXECUTE FUNCTION te_note()", "ALTER TABLE te ENABLE REPLICA TRIGGER note")
	c.Nodes[0].Exec("INSERT INTO te SELECT g, g FROM generate_series(1, 10) g", "INSERT INTO te VALUES (11, 100)")
	c.WaitDrained(c.Nodes...)
	c.WaitDrained(c.Nodes...)
	for i, n := range c.Nodes {
		want := fmt.Sprintf("11 1 %s 155", n.Name)
		if i == 0 {
			want = "0 0 - 0"
		}
		if got := n.Value(`SELECT concat_ws(' ', count(*), count(DISTINCT node), coalesce(max(node), '-'), coalesce((SELECT total FROM te_sum), 0)) FROM te_audit`); got != want {
			t.Errorf("%s: written by triggers %s, expected %s", n.Name, got, want)
		}
	}
	c.ExecAll("DROP TABLE te, te_audit, te_sum")
}

func deferredTrigger(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE dt (id int PRIMARY KEY, v int)", "CREATE UNLOGGED TABLE dt_log (nr serial, what text)")
	b.Exec(`CREATE FUNCTION dt_check() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO public.dt_log (what) SELECT NEW.id || ' saw ' || count(*) FROM public.dt;
		IF (SELECT v FROM public.dt WHERE id = NEW.id) < 0 THEN RAISE EXCEPTION 'negative total'; END IF; RETURN NULL; END $$`,
		"CREATE CONSTRAINT TRIGGER late AFTER INSERT ON dt DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dt_check()",
		"ALTER TABLE dt ENABLE ALWAYS TRIGGER late")
	a.Exec("BEGIN; INSERT INTO dt VALUES (1, -1); INSERT INTO dt VALUES (2, 1); UPDATE dt SET v = 5 WHERE id = 1; COMMIT")
	c.RequireConverged()
	if got := b.Value("SELECT string_agg(what, '; ' ORDER BY nr) FROM dt_log"); got != "1 saw 2; 2 saw 2" {
		t.Errorf("the deferred trigger wrote: %s", got)
	}
	a.Exec("INSERT INTO dt VALUES (3, -1)")
	waitForError(b, a, "negative total")
	b.Exec("ALTER TABLE dt DISABLE TRIGGER late")
	c.RequireConverged()
}

func rowSecurity(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE ROLE rls_user LOGIN", "CREATE TABLE rl (id int PRIMARY KEY, who text, big text)", "ALTER TABLE rl OWNER TO rls_user", "GRANT CREATE ON SCHEMA public TO rls_user",
		"ALTER TABLE rl ENABLE ROW LEVEL SECURITY", "ALTER TABLE rl FORCE ROW LEVEL SECURITY", "CREATE POLICY own ON rl USING (who = current_user) WITH CHECK (who = current_user)")
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf("SET ROLE rls_user; INSERT INTO rl VALUES (%d, 'rls_user'); RESET ROLE", i), fmt.Sprintf("INSERT INTO rl VALUES (%d, 'somebody')", 10+i))
	}
	c.RequireConverged()
	c.Nodes[1].Exec("SET ROLE rls_user; UPDATE rl SET big = 'mine'; DELETE FROM rl WHERE id = 2; RESET ROLE", "UPDATE rl SET big = 'theirs' WHERE who = 'somebody'", "DELETE FROM rl WHERE id = 10")
	c.RequireConverged()
	if got := c.Nodes[2].Value("SELECT string_agg(id || big, ' ' ORDER BY id) FROM rl"); got != "0mine 1mine 11theirs 12theirs" {
		t.Errorf("rows: %s", got)
	}
}

func checkConstraints(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE ck (id int PRIMARY KEY, v int, CONSTRAINT volatile CHECK (random() >= 0 AND v IS DISTINCT FROM (random() * 0 - 1)::int))")
	a.Exec("INSERT INTO ck VALUES (1, 500), (2, 5)")
	c.RequireConverged()
	c.ExecAll("ALTER TABLE ck ADD CONSTRAINT low CHECK (v < 100) NOT VALID") // id 1 stays as it is
	a.Exec("INSERT INTO ck SELECT g, g FROM generate_series(10, 50) g", "UPDATE ck SET v = 6 WHERE id = 2", "DELETE FROM ck WHERE id = 1")
	c.RequireConverged()
	a.Exec("ALTER TABLE ck DROP CONSTRAINT low", "INSERT INTO ck VALUES (60, 1000)")
	waitForError(b, a, `"low"`)
	waitForError(c.Nodes[2], a, `"low"`)
	b.Exec("ALTER TABLE ck DROP CONSTRAINT low")
	c.Nodes[2].Exec("ALTER TABLE ck DROP CONSTRAINT low")
	c.RequireConverged()
}

func unloggedAndTemporary(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE UNLOGGED TABLE ul (id int PRIMARY KEY, v text)", "CREATE TABLE lo (id int PRIMARY KEY)")
	a.Exec("BEGIN; INSERT INTO ul VALUES (1, 'a'); CREATE TEMP TABLE lo_temp (id int PRIMARY KEY) ON COMMIT DROP; INSERT INTO lo_temp VALUES (1); INSERT INTO lo VALUES (1); COMMIT",
		"CREATE TEMP TABLE lo (id int PRIMARY KEY); INSERT INTO lo VALUES (77); DROP TABLE pg_temp.lo")
	c.RequireConverged()
	if got := b.Value("SELECT (SELECT count(*) FROM ul) || ' ' || (SELECT count(*) FROM lo)"); got != "0 1" {
		t.Errorf("rows of the unlogged and the ordinary table: %s", got)
	}
	// rows written while a table was unlogged are not sent when it no longer is
	c.ExecAll("ALTER TABLE ul SET LOGGED")
	a.Exec("INSERT INTO ul VALUES (2, 'b')")
	b.Wait(clustertest.ResumeLimit, "SELECT string_agg(id::text, ' ') FROM ul", "2")
	a.Exec("TRUNCATE ul")
	c.RequireConverged()
	c.ExecAll("ALTER TABLE ul SET UNLOGGED")
	a.Exec("INSERT INTO ul VALUES (3, 'c')", "INSERT INTO lo VALUES (3)")
	c.RequireConverged()
	if got := b.Value("SELECT count(*) FROM ul"); got != "0" {
		t.Errorf("%s rows of a table that is unlogged again", got)
	}
	// unlogged on some nodes only: what arrives would be gone after a crash, so it waits
	a.Exec("ALTER TABLE ul SET LOGGED", "TRUNCATE ul", "INSERT INTO ul VALUES (4, 'd')", "UPDATE ul SET v = 'e'")
	for _, n := range c.Nodes[1:] {
		n.Wait(clustertest.ResumeLimit, "SELECT error_sqlstate FROM bdr.worker_errors", "55000")
		n.Exec("ALTER TABLE ul SET LOGGED")
		n.Wait(clustertest.ResumeLimit, "SELECT string_agg(id || v, ' ') FROM ul", "4e")
	}
	c.WaitDrained(c.Nodes...)
	c.ExecAll("DROP TABLE ul")
}

// Everything here is documented in docs/what-is-replicated.md.
func whatStaysHere(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("SET bdr.default_sequence_kind = 'local'; CREATE TABLE st (id serial PRIMARY KEY, v text)", "CREATE MATERIALIZED VIEW st_mv AS SELECT count(*) AS n FROM st", "CREATE UNIQUE INDEX ON st_mv (n)",
		"CREATE VIEW st_view AS SELECT id, v FROM st WHERE v <> 'hidden'",
		`CREATE FUNCTION st_write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO st VALUES (NEW.id, 'by view ' || NEW.v), (NEW.id + 1000, 'too'); RETURN NEW; END $$`,
		"CREATE TRIGGER st_instead INSTEAD OF INSERT ON st_view FOR EACH ROW EXECUTE FUNCTION st_write()",
		"CREATE EXTENSION file_fdw", "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw",
		"CREATE EXTENSION postgres_fdw", "CREATE TABLE st_target (id int PRIMARY KEY)")
	for _, n := range c.Nodes {
		n.Exec(fmt.Sprintf("CREATE SERVER self FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '%d', dbname 'app')", n.Port),
			"CREATE USER MAPPING FOR postgres SERVER self OPTIONS (user 'postgres')", "CREATE FOREIGN TABLE st_foreign (id int) SERVER self OPTIONS (table_name 'st_target')")
	}
	a.Exec("INSERT INTO st (v) VALUES ('one'), ('hidden')", "INSERT INTO st_view VALUES (10, 'x')", "UPDATE st_view SET v = 'updated' WHERE id = 1",
		"REFRESH MATERIALIZED VIEW st_mv", "REFRESH MATERIALIZED VIEW CONCURRENTLY st_mv", "INSERT INTO st_foreign VALUES (1), (2)", "SELECT lo_from_bytea(4711, 'large')",
		"SELECT setval('st_id_seq', 100)", "COMMENT ON TABLE st IS 'here'", "ANALYZE st", "NOTIFY st", "GRANT SELECT ON st TO PUBLIC")
	c.RequireConverged() // st_target: written here, by a foreign table
	if got := b.Value(`SELECT concat_ws(' ', (SELECT string_agg(id || v, ',' ORDER BY id) FROM st), (SELECT n FROM st_mv), (SELECT count(*) FROM pg_largeobject_metadata WHERE oid = 4711),
		(SELECT last_value FROM st_id_seq), coalesce(obj_description('st'::regclass), '-'), (SELECT count(*) FROM st_target))`); got != "1updated,2hidden,10by view x,1010too 0 0 1 - 2" {
		t.Errorf("what is on the other node: %s", got)
	}
}

func oddNames(t *testing.T, c *pgtest.Cluster) {
	long := strings.Repeat("ü", 31)
	c.ExecAll(`CREATE SCHEMA "Sch.ema ""q"" 'x' \y"`, `CREATE SCHEMA "BDR"`, fmt.Sprintf(`CREATE SCHEMA "%s"`, long),
		`CREATE TABLE "Sch.ema ""q"" 'x' \y"."Ta.ble ""t"" '" ("xmin " int PRIMARY KEY, "user" text, "new" text, "OLD" text, "a.b""c" int, "oid" int, "?column?" int, "%s" text)`,
		`CREATE TABLE "BDR"."select" ("from" int PRIMARY KEY, "where" text)`, `CREATE TYPE "BDR"."Ty pe" AS ENUM ('A', 'b "c"')`,
		fmt.Sprintf(`CREATE TABLE "%[1]s"."%[1]s" ("%[1]s" "BDR"."Ty pe"[] , id int, CONSTRAINT "%[1]s" CHECK (id >= 0), PRIMARY KEY (id))`, long),
		`CREATE TABLE "*" (" " int PRIMARY KEY, "	" text)`)
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf(`INSERT INTO "Sch.ema ""q"" 'x' \y"."Ta.ble ""t"" '" VALUES (%d, 'u', 'n', 'o', 1, 2, 3, 'p')`, i),
			fmt.Sprintf(`INSERT INTO "BDR"."select" VALUES (%d, 'x')`, i), fmt.Sprintf(`INSERT INTO "%s"."%s" VALUES ('{A,"b \"c\""}', %d)`, long, long, i),
			fmt.Sprintf(`INSERT INTO "*" VALUES (%d, '')`, i))
	}
	c.RequireConverged()
	c.Nodes[1].Exec(`UPDATE "Sch.ema ""q"" 'x' \y"."Ta.ble ""t"" '" SET "oid" = 9, "a.b""c" = NULL`, `UPDATE "BDR"."select" SET "from" = "from" + 10`,
		fmt.Sprintf(`DELETE FROM "%s"."%s" WHERE id = 0`, long, long), `TRUNCATE "*"`)
	c.RequireConverged()
	if got := c.Nodes[2].Value(fmt.Sprintf(`SELECT (SELECT sum("oid") FROM "Sch.ema ""q"" 'x' \y"."Ta.ble ""t"" '") || ' ' || (SELECT count(*) FROM "%s"."%s")`, long, long)); got != "27 2" {
		t.Errorf("sum and rows: %s", got)
	}
}

func tablespaces(t *testing.T, c *pgtest.Cluster) {
	session := c.Nodes[0].Session()
	for _, sql := range []string{"SET allow_in_place_tablespaces = on", "CREATE TABLESPACE elsewhere LOCATION ''"} {
		_, err := pgtest.RunOn(session, sql, clustertest.ResumeLimit)
		c.Nodes[0].Must(err)
	}
	c.Nodes[0].Exec("CREATE TABLE ts (id int PRIMARY KEY USING INDEX TABLESPACE elsewhere, v text) TABLESPACE elsewhere")
	for _, n := range c.Nodes[1:] {
		n.Exec("CREATE TABLE ts (id int PRIMARY KEY, v text)")
	}
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf("INSERT INTO ts SELECT g, repeat('v', 3000) FROM generate_series(%d, 30, 3) g", i), fmt.Sprintf("UPDATE ts SET v = 'x' WHERE id = %d", i))
	}
	c.RequireConverged()
	c.Nodes[0].Exec("ALTER TABLE ts SET TABLESPACE pg_default", "INSERT INTO ts VALUES (100, 'moved')")
	c.RequireConverged()
}

func generatedColumns(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll(`CREATE TABLE ge (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED UNIQUE, b text,
		label text GENERATED ALWAYS AS (upper(b) || '!') STORED, by_default int GENERATED BY DEFAULT AS IDENTITY)`, "CREATE INDEX ON ge (label)")
	c.Nodes[2].Exec("ALTER TABLE ge DROP COLUMN label", "ALTER TABLE ge ADD label text GENERATED ALWAYS AS (b || '?') STORED") // each computes its own
	c.Nodes[0].Exec("INSERT INTO ge (a, b) SELECT g, 'b' || g FROM generate_series(1, 20) g", "INSERT INTO ge (id, a, b) OVERRIDING SYSTEM VALUE VALUES (1000, 1000, NULL)",
		"UPDATE ge SET a = a + 100 WHERE id <= 5", "UPDATE ge SET b = 'changed' WHERE id = 7", "DELETE FROM ge WHERE twice = 20")
	c.WaitDrained(c.Nodes...)
	for i, n := range c.Nodes {
		mark := []string{"CHANGED!", "CHANGED!", "changed?"}[i]
		if got := n.Value("SET LOCAL enable_seqscan = off; SELECT count(*) || ' ' || sum(twice) || ' ' || (SELECT count(*) FROM ge WHERE label = '" + mark + "') FROM ge"); got != "20 3400 1" {
			t.Errorf("%s: rows, sum, changed: %s", n.Name, got)
		}
	}
	c.ExecAll("DROP TABLE ge")
}

func zeroColumns(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE zc ()", "CREATE TABLE zc_full ()", "ALTER TABLE zc_full REPLICA IDENTITY FULL", "CREATE TABLE zc_gone (a int, b int)", "ALTER TABLE zc_gone DROP a, DROP b")
	c.Nodes[0].Exec("INSERT INTO zc DEFAULT VALUES", "INSERT INTO zc_full SELECT FROM generate_series(1, 5)", "INSERT INTO zc_gone SELECT FROM generate_series(1, 3)")
	c.RequireConverged()
	c.Nodes[1].Exec("DELETE FROM zc_full WHERE ctid IN (SELECT ctid FROM zc_full LIMIT 2)", "INSERT INTO zc SELECT FROM generate_series(1, 2)")
	c.RequireConverged()
	if got := c.Nodes[2].Value("SELECT (SELECT count(*) FROM zc) || ' ' || (SELECT count(*) FROM zc_full) || ' ' || (SELECT count(*) FROM zc_gone)"); got != "3 3 3" {
		t.Errorf("rows: %s", got)
	}
}

func manyColumns(t *testing.T, c *pgtest.Cluster) {
	var columns []string
	for i := range 1600 {
		columns = append(columns, fmt.Sprintf("c%d int", i))
	}
	c.ExecAll("CREATE TABLE mc (" + strings.Join(columns, ", ") + ", PRIMARY KEY (c0))")
	values := make([]string, 1600)
	for i := range values {
		values[i] = fmt.Sprintf("g + %d", i)
	}
	c.Nodes[0].Exec("INSERT INTO mc SELECT " + strings.Join(values, ", ") + " FROM generate_series(1, 20) g")
	c.RequireConverged()
	c.Nodes[1].Exec("UPDATE mc SET c1599 = -1, c700 = NULL WHERE c0 <= 10", "UPDATE mc SET c0 = -c0 WHERE c0 > 15", "DELETE FROM mc WHERE c0 = 12")
	c.RequireConverged()
	if got := c.Nodes[2].Value("SELECT count(*) || ' ' || count(c700) || ' ' || sum(c1599) FROM mc"); got != "19 9 14524" {
		t.Errorf("rows, values, sum: %s", got)
	}
	// wide by its values: 200 large ones in a row
	wide := make([]string, 200)
	for i := range wide {
		wide[i] = fmt.Sprintf("t%d text", i)
	}
	c.ExecAll("CREATE TABLE wr (id int PRIMARY KEY, " + strings.Join(wide, ", ") + ")")
	c.Nodes[2].Exec("INSERT INTO wr SELECT g" + strings.Repeat(", repeat(md5(g::text), 300)", 200) + " FROM generate_series(1, 5) g")
	c.RequireConverged()
	c.Nodes[0].Exec("UPDATE wr SET t7 = 'small' WHERE id = 2")
	c.RequireConverged()
	c.ExecAll("DROP TABLE mc, wr")
}
