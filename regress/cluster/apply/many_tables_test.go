package apply

import (
	"fmt"
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// Bounds of growth, in KB, over rounds of tables that come and go.
const (
	tablesPerRound      = 250
	tableRounds         = 8
	writerTablesGrowth  = 8 * 1024
	senderTablesGrowth  = 8 * 1024
	writerLeavesGrowth  = 40 * 1024
	leavesWrittenInTurn = 2000
)

// TestTablesThatComeAndGo exists because jobs make tables, fill them and drop
// them, day by day: whoever remembers something of each grows without end, as
// writers did by some 25 kB, and walsenders by their part.
func TestTablesThatComeAndGo(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE kept (id int PRIMARY KEY, v text)")
	each := func(n *pgtest.Node, round int, statement string) {
		n.Exec(fmt.Sprintf("DO $do$ BEGIN FOR i IN 1..%d LOOP EXECUTE format($$%s$$, 't_%d_' || i); COMMIT; END LOOP; END $do$", tablesPerRound, statement, round))
	}
	var writer, sender []int
	for round := range tableRounds {
		for _, n := range c.Nodes {
			each(n, round, "CREATE TABLE %I (id int PRIMARY KEY, a text DEFAULT 'a', b numeric, c timestamptz, u int UNIQUE)")
		}
		each(a, round, "INSERT INTO %I SELECT g, 'v', g, now(), g FROM generate_series(1, 3) g")
		each(a, round, "UPDATE %I SET a = 'w'")
		c.WaitDrained(c.Nodes...)
		for _, n := range c.Nodes {
			each(n, round, "DROP TABLE %I")
		}
		a.Exec(fmt.Sprintf("INSERT INTO kept VALUES (%d, 'v')", round))
		c.WaitDrained(c.Nodes...)
		writer = append(writer, b.ProcessesTitled(clustertest.WriterTitle)[0].AnonymousKilobytes())
		sender = append(sender, a.ProcessesTitled(clustertest.WalsenderTitle)[0].AnonymousKilobytes())
	}
	t.Logf("writer %v KB, walsender %v KB", writer, sender)
	if grew := writer[tableRounds-1] - writer[1]; grew > writerTablesGrowth {
		t.Errorf("the writer grew by %d KB", grew)
	}
	if grew := sender[tableRounds-1] - sender[1]; grew > senderTablesGrowth {
		t.Errorf("the walsender grew by %d KB", grew)
	}
	c.RequireConverged()
}

// TestManyPartitionsInTurn exists because what is kept ready for a partition
// must not be kept for thousands of them at once; they are there again when
// they are needed.
func TestManyPartitionsInTurn(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	a, b := c.Nodes[0], c.Nodes[1]
	a.Exec("CREATE TABLE p (id int PRIMARY KEY, v text)")
	b.Exec("CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
		fmt.Sprintf("DO $$ BEGIN FOR i IN 0..%d LOOP EXECUTE format('CREATE TABLE p%%s PARTITION OF p FOR VALUES FROM (%%s) TO (%%s)', i, i, i + 1); END LOOP; END $$", leavesWrittenInTurn-1))
	in := func(from, to int, statement string) {
		a.Exec(fmt.Sprintf("DO $$ BEGIN FOR i IN %d..%d LOOP %s; COMMIT; END LOOP; END $$", from, to-1, statement))
		c.WaitDrained(c.Nodes...)
	}
	in(0, 100, "INSERT INTO p VALUES (i, 'v')")
	before := b.ProcessesTitled(clustertest.WriterTitle)[0].AnonymousKilobytes()
	in(100, leavesWrittenInTurn, "INSERT INTO p VALUES (i, 'v')")
	in(0, leavesWrittenInTurn, "UPDATE p SET v = 'w' WHERE id = i")
	after := b.ProcessesTitled(clustertest.WriterTitle)[0].AnonymousKilobytes()
	t.Logf("writer %d KB, then %d KB", before, after)
	if after-before > writerLeavesGrowth {
		t.Errorf("the writer grew by %d KB", after-before)
	}
	if got := b.Value("SELECT count(*) FROM p WHERE v = 'w'"); got != fmt.Sprint(leavesWrittenInTurn) {
		t.Errorf("%s rows were updated", got)
	}
}

// TestTooManyTablesAreForgotten exists because tables need not be dropped to be
// too many: the sender forgets those that it has not met for long, says so, and
// describes them again when they come up again.
func TestTooManyTablesAreForgotten(t *testing.T) {
	n := clustertest.Publisher(t, map[string]string{"max_locks_per_transaction": "6000", "fsync": "off"})
	const tables = 4300 // more than output/relation.c remembers
	n.Exec(fmt.Sprintf("DO $$ BEGIN FOR i IN 1..%d LOOP EXECUTE 'CREATE TABLE t' || i || '(a int)'; END LOOP; END $$", tables))
	at := clustertest.CreateSlot(n, "s")
	n.Exec(fmt.Sprintf("DO $$ BEGIN FOR i IN 1..%d LOOP EXECUTE 'INSERT INTO t' || i || ' VALUES (' || i || ')'; COMMIT; END LOOP; END $$", tables),
		fmt.Sprintf("INSERT INTO t%d VALUES (0)", tables), "INSERT INTO t1 VALUES (0)")
	r := clustertest.OpenStream(t, n, "s", at, nil)
	r.UntilMessage(n, "end")
	described, forgotten := map[string]int{}, 0
	for _, line := range r.Lines() { // which refuses a row of what was not described
		words := strings.Fields(line)
		switch words[0] {
		case "RELATION":
			described[words[2]]++
		case "FORGET":
			forgotten += len(words) - 1
		}
	}
	if forgotten < tables/8 || forgotten > tables/2 {
		t.Errorf("%d relations were forgotten", forgotten)
	}
	if last := fmt.Sprint("public.t", tables); described["public.t1"] != 2 || described[last] != 1 {
		t.Errorf("the oldest was described %d times, the newest %d times", described["public.t1"], described[last])
	}
}
