package apply

import (
	"fmt"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestPartitionedTables exists because changes are sent as changes of
// partitions, and nodes may have cut a table into other ones: each row must
// find its place everywhere.
func TestPartitionedTables(t *testing.T) {
	c := pgtest.NewCluster(t, 3, pgtest.WithSettings(clustertest.Impatient))
	for _, part := range []struct {
		name string
		run  func(*testing.T, *pgtest.Cluster)
	}{
		{"range_list_hash_default_two_levels", everyPartitioning},
		{"rows_move_between_partitions", rowsMove},
		{"columns_lie_in_another_order", partitionColumnsDiffer},
		{"range_hash_and_plain", partitionedDifferently},
		{"same_names_other_bounds", otherBounds},
		{"key_does_not_name_the_leaf", keyWithoutPartition},
		{"equal_keys_in_two_partitions", equalKeysInTwoPartitions},
		{"conflicts_in_leaves", conflictsInLeaves},
		{"truncate_of_roots_and_leaves", truncatePartitions},
		{"attach_and_detach_while_rows_come", attachAndDetach},
		{"missing_partition_waits_for_it", missingPartition},
		{"triggers_of_partitions", partitionTriggers},
		{"expressions_collations_and_defaults", partitionExpressions},
		{"renamed_root", renamedRoot},
		{"definition_changes_between_rows", definitionChanges},
		{"large_transaction_with_a_conflict", largeRoutedTransaction},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, c.For(t)) })
	}
}

// places shows which partition each row is in.
func places(n *pgtest.Node, table string) string {
	return n.Value(fmt.Sprintf("SELECT coalesce(string_agg(id || ' in ' || tableoid::regclass, ', ' ORDER BY id), 'none') FROM %s", table))
}

func everyPartitioning(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE pr (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id)",
		"CREATE TABLE pr1 PARTITION OF pr FOR VALUES FROM (MINVALUE) TO (100)",
		"CREATE TABLE pr2 PARTITION OF pr FOR VALUES FROM (100) TO (200)",
		"CREATE TABLE prd PARTITION OF pr DEFAULT",
		"CREATE TABLE pl (id int, k text, PRIMARY KEY (id, k)) PARTITION BY LIST (k)",
		"CREATE TABLE pl1 PARTITION OF pl FOR VALUES IN ('a', 'b')",
		"CREATE TABLE pl2 PARTITION OF pl FOR VALUES IN ('c')",
		"CREATE TABLE ph (id int PRIMARY KEY, v text) PARTITION BY HASH (id)",
		"CREATE TABLE ph0 PARTITION OF ph FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
		"CREATE TABLE ph1 PARTITION OF ph FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
		"CREATE TABLE p2 (id int, k text, PRIMARY KEY (id, k)) PARTITION BY RANGE (id)",
		"CREATE TABLE p2a PARTITION OF p2 FOR VALUES FROM (0) TO (100) PARTITION BY LIST (k)",
		"CREATE TABLE p2a1 PARTITION OF p2a FOR VALUES IN ('a')",
		"CREATE TABLE p2ad PARTITION OF p2a DEFAULT",
		"CREATE TABLE p2d PARTITION OF p2 DEFAULT PARTITION BY HASH (id)",
		"CREATE TABLE p2d0 PARTITION OF p2d FOR VALUES WITH (MODULUS 1, REMAINDER 0)")
	for i, n := range c.Nodes {
		base := i * 10
		n.Exec(fmt.Sprintf("INSERT INTO pr SELECT g, 'n%d' FROM generate_series(%d, 300, 30) g", i, base),
			fmt.Sprintf("INSERT INTO pl SELECT g, substr('abc', 1 + g %% 3, 1) FROM generate_series(%d, 300, 30) g", base),
			fmt.Sprintf("INSERT INTO ph SELECT g, 'n%d' FROM generate_series(%d, 300, 30) g", i, base),
			fmt.Sprintf("INSERT INTO p2 SELECT g, substr('abc', 1 + g %% 3, 1) FROM generate_series(%d, 300, 30) g", base))
	}
	c.RequireConverged()
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf("UPDATE pr SET v = v || ' then %d' WHERE id %% 30 = %d", i, (i+1)%3*10),
			fmt.Sprintf("UPDATE ph SET v = NULL WHERE id = %d", 30+i*10),
			fmt.Sprintf("DELETE FROM p2 WHERE id = %d", 60+i*10),
			fmt.Sprintf("DELETE FROM pl WHERE id = %d", 90+i*10))
	}
	c.RequireConverged()
	if got := c.Nodes[1].Value("SELECT (SELECT count(*) FROM pr WHERE v ~ 'then') || ' ' || (SELECT count(*) FROM p2)"); got != "31 28" {
		t.Errorf("rows changed and left: %s", got)
	}
	for _, table := range []string{"pr", "pl", "ph", "p2"} {
		if a, b := places(c.Nodes[0], table), places(c.Nodes[2], table); a != b {
			t.Errorf("rows of %s lie in other partitions:\n%s\n%s", table, a, b)
		}
	}
}

func rowsMove(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE mv (id int, part int, big text, PRIMARY KEY (id, part)) PARTITION BY LIST (part)",
		"ALTER TABLE mv ALTER big SET STORAGE EXTERNAL",
		"CREATE TABLE mv1 PARTITION OF mv FOR VALUES IN (1)", "CREATE TABLE mv2 PARTITION OF mv FOR VALUES IN (2)")
	// on the third node, one leaf holds both
	c.Nodes[2].Exec("DROP TABLE mv1, mv2", "CREATE TABLE mv12 PARTITION OF mv FOR VALUES IN (1, 2)")
	c.Nodes[0].Exec("INSERT INTO mv SELECT g, 1, repeat(md5(g::text), 200) FROM generate_series(1, 10) g")
	c.RequireConverged()
	c.Nodes[1].Exec("UPDATE mv SET part = 2 WHERE id <= 5", "UPDATE mv SET id = id + 100, part = 3 - part WHERE id IN (1, 10)")
	c.RequireConverged()
	c.Nodes[2].Exec("UPDATE mv SET part = 2 WHERE id = 6", "UPDATE mv SET part = 3 - part")
	c.RequireConverged()
	const want = "2 in mv1, 3 in mv1, 4 in mv1, 5 in mv1, 6 in mv1, 7 in mv2, 8 in mv2, 9 in mv2, 101 in mv2, 110 in mv1"
	if got := places(c.Nodes[0], "mv"); got != want {
		t.Errorf("rows lie in %s", got)
	}
	if got := c.Nodes[0].Value("SELECT count(*) FROM mv WHERE length(big) = 6400"); got != "10" {
		t.Errorf("%s rows kept their large value", got)
	}
}

func partitionColumnsDiffer(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE pc (gone int, id int, a text, b int, PRIMARY KEY (id)) PARTITION BY RANGE (id)", "ALTER TABLE pc DROP gone")
	c.Nodes[0].Exec("CREATE TABLE pc1 (b int, a text, away date, id int NOT NULL)", "ALTER TABLE pc1 DROP away",
		"ALTER TABLE pc ATTACH PARTITION pc1 FOR VALUES FROM (0) TO (100)",
		"CREATE TABLE pc2 PARTITION OF pc FOR VALUES FROM (100) TO (200)")
	c.Nodes[1].Exec("CREATE TABLE pc1 PARTITION OF pc FOR VALUES FROM (0) TO (100)",
		"CREATE TABLE pc2 (a text, id int NOT NULL, b int)", "ALTER TABLE pc ATTACH PARTITION pc2 FOR VALUES FROM (100) TO (200)")
	c.Nodes[2].Exec("CREATE TABLE sub (away int, a text, b int, id int NOT NULL) PARTITION BY HASH (id)", "ALTER TABLE sub DROP away",
		"CREATE TABLE sub0 (b int, id int NOT NULL, a text)", "ALTER TABLE sub ATTACH PARTITION sub0 FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
		"CREATE TABLE sub1 PARTITION OF sub FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
		"ALTER TABLE pc ATTACH PARTITION sub DEFAULT")
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf("INSERT INTO pc (id, a, b) SELECT g, 'a' || g, g * 2 FROM generate_series(%d, 199, 30) g", i*10))
	}
	c.RequireConverged()
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf("UPDATE pc SET a = a || '!', b = b + 1 WHERE id IN (%d, %d)", 30+i*10, 120+i*10),
			fmt.Sprintf("UPDATE pc SET id = 199 - id WHERE id = %d", i*10),
			fmt.Sprintf("DELETE FROM pc WHERE id IN (%d, %d)", 60+i*10, 150+i*10))
	}
	c.RequireConverged()
	if got := c.Nodes[2].Value("SELECT count(*) || ' ' || sum(b) FROM pc WHERE a LIKE '%!'"); got != "6 1026" {
		t.Errorf("changed rows: %s", got)
	}
}

func partitionedDifferently(t *testing.T, c *pgtest.Cluster) {
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	a.Exec("CREATE TABLE pd (id int PRIMARY KEY, v text, big text) PARTITION BY RANGE (id)",
		"CREATE TABLE pd_r1 PARTITION OF pd FOR VALUES FROM (0) TO (50)", "CREATE TABLE pd_r2 PARTITION OF pd FOR VALUES FROM (50) TO (1000)")
	b.Exec("CREATE TABLE pd (id int PRIMARY KEY, v text, big text) PARTITION BY HASH (id)",
		"CREATE TABLE pd_h0 PARTITION OF pd FOR VALUES WITH (MODULUS 3, REMAINDER 0)",
		"CREATE TABLE pd_h1 PARTITION OF pd FOR VALUES WITH (MODULUS 3, REMAINDER 1)",
		"CREATE TABLE pd_h2 PARTITION OF pd FOR VALUES WITH (MODULUS 3, REMAINDER 2)")
	d.Exec("CREATE TABLE pd (id int PRIMARY KEY, v text, big text)")
	c.ExecAll("ALTER TABLE pd ALTER big SET STORAGE EXTERNAL")
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf("INSERT INTO pd SELECT g, 'from %d', repeat('x', 5000) FROM generate_series(%d, 99, 3) g", i, i))
	}
	c.RequireConverged()
	for i, n := range c.Nodes {
		other := (i + 1) % 3
		n.Exec(fmt.Sprintf("UPDATE pd SET v = 'by %d' WHERE id %% 3 = %d AND id < 60", i, other), // big is not sent
			fmt.Sprintf("UPDATE pd SET id = id + 100 WHERE id %% 3 = %d AND id >= 90", other),
			fmt.Sprintf("DELETE FROM pd WHERE id %% 3 = %d AND id BETWEEN 70 AND 80", other))
	}
	c.RequireConverged()
	const summary = "SELECT count(*) || ' ' || count(*) FILTER (WHERE v LIKE 'by %') || ' ' || count(*) FILTER (WHERE id >= 190) || ' ' || min(length(big)) FROM pd"
	if got := b.Value(summary); got != "89 60 10 5000" {
		t.Errorf("rows, changed, moved, length: %s", got)
	}
	// the other way round, all rows as old rows
	c.ExecAll("ALTER TABLE pd REPLICA IDENTITY FULL")
	for _, n := range []*pgtest.Node{a, b} {
		n.Exec("DO $$ DECLARE r regclass; BEGIN FOR r IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'pd'::regclass LOOP EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', r); END LOOP; END $$")
	}
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf("UPDATE pd SET id = id + 300 WHERE id = %d", 30+i), fmt.Sprintf("DELETE FROM pd WHERE id = %d", 40+i))
	}
	c.RequireConverged()
}

func otherBounds(t *testing.T, c *pgtest.Cluster) {
	for i, n := range c.Nodes {
		bound := 10 * (i + 1)
		n.Exec("CREATE TABLE ob (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
			fmt.Sprintf("CREATE TABLE ob1 PARTITION OF ob FOR VALUES FROM (0) TO (%d)", bound),
			fmt.Sprintf("CREATE TABLE ob2 PARTITION OF ob FOR VALUES FROM (%d) TO (100)", bound))
	}
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf("INSERT INTO ob SELECT g, 'from %d' FROM generate_series(%d, 59, 3) g", i, i))
	}
	c.RequireConverged()
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf("UPDATE ob SET v = 'by %d' WHERE id %% 3 = %d", i, (i+1)%3))
	}
	c.RequireConverged()
	for i, n := range c.Nodes {
		// stays in its partition here, leaves it elsewhere
		n.Exec(fmt.Sprintf("UPDATE ob SET id = %d WHERE id = %d", 80+i, 12+i), fmt.Sprintf("UPDATE ob SET id = %d WHERE id = %d", 90+i, 24+i),
			fmt.Sprintf("DELETE FROM ob WHERE id = %d", 15+i))
	}
	c.RequireConverged()
	if got := c.Nodes[1].Value("SELECT count(*) || ' ' || count(*) FILTER (WHERE v LIKE 'by %') || ' ' || count(*) FILTER (WHERE id >= 80) FROM ob"); got != "57 57 6" {
		t.Errorf("rows, changed, moved: %s", got)
	}
}

// The peer's key is shorter than ours: all leaves are looked at.
func keyWithoutPartition(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE TABLE kw (id int PRIMARY KEY, region text NOT NULL, v text)")
	b.Exec("CREATE TABLE kw (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region)",
		"CREATE TABLE kw_eu PARTITION OF kw FOR VALUES IN ('eu')",
		"CREATE TABLE kw_other PARTITION OF kw DEFAULT PARTITION BY LIST (region)",
		"CREATE TABLE kw_us PARTITION OF kw_other FOR VALUES IN ('us')")
	c.Nodes[2].Exec("CREATE TABLE kw (id int PRIMARY KEY, region text NOT NULL, v text) PARTITION BY RANGE (id)",
		"CREATE TABLE kw_eu PARTITION OF kw FOR VALUES FROM (0) TO (1000)")
	a.Exec("INSERT INTO kw SELECT g, CASE WHEN g % 2 = 0 THEN 'eu' ELSE 'us' END, '' FROM generate_series(1, 10) g")
	c.RequireConverged()
	a.Exec("UPDATE kw SET v = 'a' WHERE id <= 4", "UPDATE kw SET region = 'eu' WHERE id = 5", "DELETE FROM kw WHERE id IN (6, 7)")
	b.Exec("UPDATE kw SET v = 'b' WHERE id IN (8, 9)")
	c.RequireConverged()
	c.Nodes[2].Exec("UPDATE kw SET v = 'c', region = 'us' WHERE id = 10", "DELETE FROM kw WHERE id = 1")
	c.RequireConverged()
	if got := places(b, "kw"); got != "2 in kw_eu, 3 in kw_us, 4 in kw_eu, 5 in kw_eu, 8 in kw_eu, 9 in kw_us, 10 in kw_us" {
		t.Errorf("rows lie in %s", got)
	}
}

// A key that is unique in its partition only must not find a row of another
// partition when its own is missing.
func equalKeysInTwoPartitions(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE ek (id int, region text, v text) PARTITION BY LIST (region)",
		"CREATE TABLE ek_a PARTITION OF ek (PRIMARY KEY (id)) FOR VALUES IN ('a')",
		"CREATE TABLE ek_b PARTITION OF ek (PRIMARY KEY (id)) FOR VALUES IN ('b')")
	c.Nodes[0].Exec("INSERT INTO ek VALUES (1, 'a', ''), (1, 'b', ''), (2, 'a', ''), (2, 'b', '')")
	c.RequireConverged()
	c.Nodes[0].Exec("UPDATE ek SET v = 'changed' WHERE id = 1 AND region = 'b'")
	c.RequireConverged()
	apart(c, func() {
		for _, n := range c.Nodes {
			n.Exec("DELETE FROM ek WHERE id = 2 AND region = 'a'")
		}
	})
	c.RequireConverged()
	if got := places(c.Nodes[2], "ek"); got != "1 in ek_a, 1 in ek_b, 2 in ek_b" {
		t.Errorf("rows lie in %s", got)
	}
}

// What meets a conflict meets it in the leaf where the row is.
func conflictsInLeaves(t *testing.T, c *pgtest.Cluster) {
	c.Nodes[0].Exec("CREATE TABLE pcf (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
		"CREATE TABLE pcf1 PARTITION OF pcf FOR VALUES FROM (0) TO (100)")
	c.Nodes[1].Exec("CREATE TABLE pcf (id int PRIMARY KEY, v text) PARTITION BY HASH (id)",
		"CREATE TABLE pcf_0 PARTITION OF pcf FOR VALUES WITH (MODULUS 1, REMAINDER 0)")
	c.Nodes[2].Exec("CREATE TABLE pcf (id int PRIMARY KEY, v text)")
	apart(c, func() {
		for i, n := range c.Nodes {
			n.Exec(fmt.Sprintf("INSERT INTO pcf SELECT g, 'from %d' FROM generate_series(1, 5) g", i),
				fmt.Sprintf("UPDATE pcf SET v = v || ' later' WHERE id = %d", i+1))
		}
	})
	c.RequireConverged()
	for i, n := range c.Nodes {
		n.Exec(fmt.Sprintf("UPDATE pcf SET v = 'end %d' WHERE id = 4", i))
		c.WaitDrained(c.Nodes...)
	}
	c.RequireConverged()
	if got := c.Nodes[1].Value("SELECT v FROM pcf WHERE id = 4"); got != "end 2" {
		t.Errorf("the last of three updates is not the one that stayed: %s", got)
	}
	if got := c.Nodes[1].Value("SELECT count(*) > 0 FROM bdr.conflict_history WHERE reloid = 'pcf_0'::regclass AND conflict_type = 'insert_exists'"); got != "t" {
		t.Error("no conflict was written down for the leaf")
	}
}

// apart runs something while no node hears of the others.
func apart(c *pgtest.Cluster, run func()) {
	for _, n := range c.Nodes {
		n.Exec("SELECT bdr.alter_subscription_disable(immediate := true)")
	}
	run()
	for _, n := range c.Nodes {
		n.Exec("SELECT bdr.alter_subscription_enable()")
	}
}

func truncatePartitions(t *testing.T, c *pgtest.Cluster) {
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	a.Exec("CREATE TABLE tp (id int PRIMARY KEY) PARTITION BY RANGE (id)", "CREATE TABLE tp1 PARTITION OF tp FOR VALUES FROM (0) TO (10)",
		"CREATE TABLE tp2 PARTITION OF tp FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (id)",
		"CREATE TABLE tp2a PARTITION OF tp2 FOR VALUES FROM (10) TO (20)")
	b.Exec("CREATE TABLE tp (id int PRIMARY KEY) PARTITION BY HASH (id)", "CREATE TABLE tp_h PARTITION OF tp FOR VALUES WITH (MODULUS 1, REMAINDER 0)")
	d.Exec("CREATE TABLE tp (id int PRIMARY KEY)")
	c.ExecAll("CREATE TABLE tpfk (id int PRIMARY KEY REFERENCES tp)")
	fill := func() {
		t.Helper()
		a.Exec("INSERT INTO tp SELECT g FROM generate_series(1, 19) g", "INSERT INTO tpfk SELECT id FROM tp")
		c.RequireConverged()
	}
	for _, n := range c.Nodes {
		fill()
		n.Exec("TRUNCATE tp CASCADE")
		c.RequireConverged()
		if got := a.Value("SELECT (SELECT count(*) FROM tp) || ' ' || (SELECT count(*) FROM tpfk)"); got != "0 0" {
			t.Errorf("%s truncated, rows left: %s", n.Name, got)
		}
	}
	// one partition, which the others do not have: an error that says so
	c.ExecAll("DROP TABLE tpfk")
	a.Exec("INSERT INTO tp SELECT g FROM generate_series(10, 19) g")
	c.RequireConverged()
	a.Exec("TRUNCATE tp2")
	for _, n := range []*pgtest.Node{b, d} {
		waitForError(n, a, `partition "public.tp2a"`)
	}
	const anew = "CREATE TABLE tp (id int PRIMARY KEY) PARTITION BY RANGE (id); ALTER TABLE tp ATTACH PARTITION tp2 FOR VALUES FROM (10) TO (20); CREATE TABLE tp1 PARTITION OF tp DEFAULT"
	b.Exec("BEGIN; ALTER TABLE tp DETACH PARTITION tp_h; DROP TABLE tp; ALTER TABLE tp_h RENAME TO tp2; " + anew + "; COMMIT")
	d.Exec("BEGIN; ALTER TABLE tp RENAME TO tp2; " + anew + "; COMMIT")
	c.RequireConverged()
	if got := b.Value("SELECT count(*) FROM tp"); got != "0" {
		t.Errorf("%s rows of the truncated partition are left", got)
	}
	a.Exec("INSERT INTO tp SELECT g FROM generate_series(1, 19) g")
	c.RequireConverged()
	a.Exec("TRUNCATE tp2")
	c.RequireConverged()
	if got := d.Value("SELECT count(*) FROM tp"); got != "9" {
		t.Errorf("%s rows of the other partition are left", got)
	}
	d.Exec("TRUNCATE tp")
	c.RequireConverged()
}

// waitForError returns when a node reports that a change of origin cannot be
// applied there, and why.
func waitForError(n, origin *pgtest.Node, cause string) {
	n.Wait(clustertest.ResumeLimit, fmt.Sprintf("SELECT position($x$%s$x$ in coalesce(last_error, '')) > 0 FROM bdr.subscription_summary WHERE origin_name = '%s'",
		cause, origin.Name), "t")
}

func attachAndDetach(t *testing.T, c *pgtest.Cluster) {
	c.ExecAll("CREATE TABLE ad (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
		"CREATE TABLE ad1 PARTITION OF ad FOR VALUES FROM (0) TO (1000)", "CREATE TABLE ad2 (id int PRIMARY KEY, v text)")
	insert := func(n *pgtest.Node, table string, id int) {
		n.Exec(fmt.Sprintf("INSERT INTO %s VALUES (%d, 'x'); UPDATE %s SET v = v || 'y' WHERE id = %d", table, id, table, id))
	}
	insert(c.Nodes[2], "ad2", 1000)
	for i, n := range c.Nodes {
		n.Exec("ALTER TABLE ad ATTACH PARTITION ad2 FOR VALUES FROM (1000) TO (2000)")
		insert(n, "ad", 1010+i)
		insert(c.Nodes[(i+1)%3], "ad2", 1020+i)
	}
	c.RequireConverged()
	if got := c.Nodes[1].Value("SELECT count(*) FROM ad2 WHERE v = 'xy'"); got != "7" {
		t.Errorf("%s rows came while partitions were attached", got)
	}
	for i, n := range c.Nodes {
		n.Exec("ALTER TABLE ad DETACH PARTITION ad2")
		insert(n, "ad2", 1030+i)
		insert(c.Nodes[(i+1)%3], "ad2", 1040+i)
		c.WaitDrained(c.Nodes...)
	}
	insert(c.Nodes[0], "ad2", 1)
	insert(c.Nodes[1], "ad", 1)
	c.RequireConverged()
	if got := c.Nodes[2].Value("SELECT (SELECT count(*) FROM ad2) || ' ' || (SELECT count(*) FROM ad)"); got != "14 1" {
		t.Errorf("rows after all were detached: %s", got)
	}
	for i, n := range c.Nodes {
		n.Exec("ALTER TABLE ad ADD CONSTRAINT bounds CHECK (id >= 0)")
		insert(n, "ad", 10+i)
		n.Exec("ALTER TABLE ad DROP CONSTRAINT bounds", "ALTER TABLE ad DETACH PARTITION ad1 CONCURRENTLY")
	}
	c.RequireConverged()
}

func missingPartition(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE mp (id int PRIMARY KEY) PARTITION BY RANGE (id)", "CREATE TABLE mp1 PARTITION OF mp FOR VALUES FROM (0) TO (10)")
	a.Exec("CREATE TABLE mp2 PARTITION OF mp FOR VALUES FROM (10) TO (20)", "INSERT INTO mp VALUES (1), (15)")
	waitForError(b, a, `no partition of table "mp"`)
	waitForError(c.Nodes[2], a, `no partition of table "mp"`)
	b.Exec("CREATE TABLE other_name PARTITION OF mp FOR VALUES FROM (10) TO (30)")
	c.Nodes[2].Exec("CREATE TABLE mpd PARTITION OF mp DEFAULT")
	c.RequireConverged()
	if got := places(b, "mp") + "; " + places(c.Nodes[2], "mp"); got != "1 in mp1, 15 in other_name; 1 in mp1, 15 in mpd" {
		t.Errorf("rows lie in %s", got)
	}
}

func partitionTriggers(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE TABLE pt (id int PRIMARY KEY, v text)")
	c.Nodes[2].Exec("CREATE TABLE pt (id int PRIMARY KEY, v text)")
	b.Exec("CREATE TABLE pt (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
		"CREATE TABLE pt1 PARTITION OF pt FOR VALUES FROM (0) TO (10)", "CREATE TABLE pt2 PARTITION OF pt FOR VALUES FROM (10) TO (20)",
		"CREATE UNLOGGED TABLE pt_log (nr serial, what text)",
		`CREATE FUNCTION pt_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO public.pt_log (what) VALUES (TG_TABLE_NAME || ' ' || TG_OP || ' ' || coalesce(OLD.id::text, '-') || ' ' || coalesce(NEW.id::text, '-'));
		RETURN NULL; END $$`,
		"CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON pt FOR EACH ROW EXECUTE FUNCTION pt_note()",
		"ALTER TABLE pt ENABLE REPLICA TRIGGER note")
	a.Exec("INSERT INTO pt VALUES (1, 'x')", "UPDATE pt SET v = 'y'", "UPDATE pt SET id = 11", "DELETE FROM pt")
	c.RequireConverged()
	const want = "pt1 INSERT - 1; pt1 UPDATE 1 1; pt1 DELETE 1 -; pt2 INSERT - 11; pt2 DELETE 11 -"
	if got := b.Value("SELECT string_agg(what, '; ' ORDER BY nr) FROM pt_log"); got != want {
		t.Errorf("triggers saw %s", got)
	}
}

func partitionExpressions(t *testing.T, c *pgtest.Cluster) {
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	a.Exec("CREATE TABLE px (id int PRIMARY KEY, who text, n numeric)")
	b.Exec("CREATE TABLE px (id int, who text, n numeric, area int DEFAULT 7) PARTITION BY RANGE (lower(who), n)",
		"CREATE TABLE px_am PARTITION OF px FOR VALUES FROM ('a', MINVALUE) TO ('m', MAXVALUE)",
		"CREATE TABLE px_rest PARTITION OF px DEFAULT PARTITION BY LIST (area)",
		"CREATE TABLE px_7 PARTITION OF px_rest FOR VALUES IN (7)", "CREATE TABLE px_null PARTITION OF px_rest FOR VALUES IN (NULL)",
		"CREATE INDEX ON px (id)")
	d.Exec("CREATE TABLE px (id int, who text, n numeric) PARTITION BY HASH (n, who)",
		"CREATE TABLE px_h0 PARTITION OF px FOR VALUES WITH (MODULUS 4, REMAINDER 0)", "CREATE TABLE px_h1 PARTITION OF px FOR VALUES WITH (MODULUS 4, REMAINDER 1)",
		"CREATE TABLE px_h2 PARTITION OF px FOR VALUES WITH (MODULUS 4, REMAINDER 2)", "CREATE TABLE px_h3 PARTITION OF px FOR VALUES WITH (MODULUS 4, REMAINDER 3)")
	a.Exec("INSERT INTO px VALUES (1, 'Anna', 1.0), (2, 'Zoe', 1.00), (3, NULL, 'NaN'), (4, 'm', NULL), (5, 'ben', -1)")
	c.ExecAll("SELECT 1")
	c.WaitDrained(c.Nodes...)
	a.Exec("UPDATE px SET who = 'Xaver' WHERE id = 1", "UPDATE px SET n = 5, who = 'carl' WHERE id = 3", "DELETE FROM px WHERE id = 4")
	c.WaitDrained(c.Nodes...)
	if got := places(b, "px"); got != "1 in px_7, 2 in px_7, 3 in px_am, 5 in px_am" {
		t.Errorf("rows lie in %s", got)
	}
	const content = "SELECT string_agg(ROW(id, who, n)::text, ' ' ORDER BY id) FROM px"
	for _, n := range []*pgtest.Node{b, d} {
		if want, got := a.Value(content), n.Value(content); got != want {
			t.Errorf("%s has %s, expected %s", n.Name, got, want)
		}
	}
	c.ExecAll("DROP TABLE px")
}

func renamedRoot(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE TABLE rr (id int PRIMARY KEY) PARTITION BY RANGE (id)", "CREATE TABLE rr1 PARTITION OF rr FOR VALUES FROM (0) TO (100)")
	b.Exec("CREATE TABLE rr (id int PRIMARY KEY)")
	c.Nodes[2].Exec("CREATE TABLE rr1 (id int PRIMARY KEY)") // no root: the partition's name counts
	a.Exec("INSERT INTO rr VALUES (1)")
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM rr", "1")
	c.Nodes[2].Wait(clustertest.ResumeLimit, "SELECT count(*) FROM rr1", "1")
	c.ExecAll("CREATE SCHEMA rs")
	a.Exec("ALTER TABLE rr RENAME TO rx", "ALTER TABLE rx SET SCHEMA rs")
	b.Exec("ALTER TABLE rr RENAME TO rx", "ALTER TABLE rx SET SCHEMA rs")
	a.Exec("INSERT INTO rs.rx VALUES (2)")
	b.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM rs.rx", "2")
	c.Nodes[2].Wait(clustertest.ResumeLimit, "SELECT count(*) FROM rr1", "2")
	c.Nodes[2].Exec("CREATE TABLE rs.rx (id int PRIMARY KEY)", "INSERT INTO rs.rx SELECT * FROM rr1") // now it counts
	c.WaitDrained(c.Nodes...)
	a.Exec("INSERT INTO rs.rx VALUES (3)", "ALTER SCHEMA rs RENAME TO rs2")
	for _, n := range []*pgtest.Node{b, c.Nodes[2]} {
		n.Wait(clustertest.ResumeLimit, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM rs.rx", "1 2 3")
	}
	b.Exec("ALTER SCHEMA rs RENAME TO rs2")
	c.Nodes[2].Exec("ALTER SCHEMA rs RENAME TO rs2", "DROP TABLE rr1")
	a.Exec("UPDATE rs2.rx SET id = 10 + id")
	c.RequireConverged()
}

// differentShapes makes one table that is cut by range, by hash and not at all.
func differentShapes(c *pgtest.Cluster, name, columns string) {
	for i, by := range []string{" PARTITION BY RANGE (id)", " PARTITION BY HASH (id)", ""} {
		c.Nodes[i].Exec(fmt.Sprintf("CREATE TABLE %s (%s)%s", name, columns, by))
	}
	for i := range 2 {
		c.Nodes[0].Exec(fmt.Sprintf("CREATE TABLE %[1]s_r%[2]d PARTITION OF %[1]s FOR VALUES FROM (%[3]d) TO (%[4]d)", name, i, i*5000, i*5000+5000))
		c.Nodes[1].Exec(fmt.Sprintf("CREATE TABLE %[1]s_h%[2]d PARTITION OF %[1]s FOR VALUES WITH (MODULUS 2, REMAINDER %[2]d)", name, i))
	}
}

func definitionChanges(t *testing.T, c *pgtest.Cluster) {
	differentShapes(c, "dc", "id int PRIMARY KEY, v text")
	for i, n := range c.Nodes {
		atOnce(n, fmt.Sprintf("INSERT INTO dc SELECT g FROM generate_series(%d, 20, 3) g", i), fmt.Sprintf("UPDATE dc SET v = 'x' WHERE id = %d", i))
	}
	c.RequireConverged()
	for _, n := range c.Nodes[1:] {
		n.Exec("ALTER TABLE dc ADD w int", "ALTER TABLE dc ALTER v TYPE varchar(100)")
	}
	atOnce(c.Nodes[0], "INSERT INTO dc VALUES (21, 'before')", "UPDATE dc SET v = 'b' WHERE id = 0", "ALTER TABLE dc ADD w int", "INSERT INTO dc VALUES (22, 'after', 1), (5001, 'after', 2)",
		"UPDATE dc SET w = id, id = id + 6000 WHERE id IN (1, 21)", "ALTER TABLE dc ALTER v TYPE varchar(100)", "DELETE FROM dc WHERE id = 2", "INSERT INTO dc VALUES (2, 'anew', 3)")
	c.RequireConverged()
	if got := c.Nodes[1].Value("SELECT count(*) || ' ' || sum(w) FROM dc"); got != "24 28" {
		t.Errorf("rows and sum: %s", got)
	}
	c.Nodes[2].Exec("UPDATE dc SET w = 7 WHERE id > 5000")
	c.RequireConverged()
}

// More than one unit of what is rolled back at a conflict.
func largeRoutedTransaction(t *testing.T, c *pgtest.Cluster) {
	differentShapes(c, "lr", "id int PRIMARY KEY, v text")
	apart(c, func() {
		c.Nodes[0].Exec("INSERT INTO lr SELECT g, 'early' FROM generate_series(0, 9999, 1111) g")
		atOnce(c.Nodes[1], "INSERT INTO lr SELECT g, repeat(md5(g::text), 60) FROM generate_series(0, 9999) g", "UPDATE lr SET v = 'u' WHERE id % 100 = 7")
		c.Nodes[2].Exec("INSERT INTO lr SELECT g, 'late' FROM generate_series(1, 9999, 3333) g")
	})
	c.RequireConverged()
	if got := c.Nodes[0].Value("SELECT count(*) || ' ' || count(*) FILTER (WHERE v = 'u') || ' ' || string_agg(v, ',') FILTER (WHERE length(v) IN (4, 5)) FROM lr"); got != "10000 100 late,late,late" {
		t.Errorf("rows: %s", got)
	}
}
