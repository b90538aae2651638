package apply

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestToast exists because a large value does not lie in its row: what an
// update leaves alone is not sent and must stay, and what was stored in one way
// here may be stored in another way there.
func TestToast(t *testing.T) {
	c := pgtest.NewCluster(t, 2)
	// incompressible is n characters that no method makes shorter by much
	c.ExecAll(`CREATE FUNCTION incompressible(n int, seed int) RETURNS text LANGUAGE sql AS
		$$ SELECT left(string_agg(md5(g::text || seed), ''), n) FROM generate_series(1, n / 32 + 1) g $$`)
	for _, part := range []struct {
		name string
		run  func(*testing.T, *pgtest.Cluster)
	}{
		{"every_storage_and_compression", everyStorage},
		{"unchanged_values_are_not_sent", unchangedIsNotSent},
		{"toasted_replica_identity", toastedIdentity},
		{"identity_full", toastedFull},
		{"a_value_of_100_MB", hugeValue},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, c.For(t)) })
	}
}

// everyStorage stores each way here in another way there.
func everyStorage(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	methods := []string{"pglz"}
	if a.Try("CREATE TABLE probe (v text COMPRESSION lz4)") == nil {
		methods = append(methods, "lz4")
	} else {
		t.Log("this server was built without lz4")
	}
	a.Exec("DROP TABLE IF EXISTS probe")
	storages := []string{"EXTERNAL", "EXTENDED", "MAIN", "PLAIN"}
	var tables []string
	for i, storage := range storages {
		for k, method := range methods {
			name := strings.ToLower(storage) + "_" + method
			tables = append(tables, name)
			create := "CREATE TABLE %s (id int PRIMARY KEY, n int, v text COMPRESSION %s); ALTER TABLE %[1]s ALTER v SET STORAGE %[3]s"
			a.Exec(fmt.Sprintf(create, name, method, storage))
			b.Exec(fmt.Sprintf(create, name, methods[len(methods)-1-k], storages[len(storages)-2-min(i, 2)]))
		}
	}
	for _, name := range tables {
		wide := 6000
		if !strings.HasPrefix(name, "plain") {
			wide = 200000
		}
		a.Exec(fmt.Sprintf("INSERT INTO %s VALUES (1, 0, repeat('compressible ', 500)), (2, 0, incompressible(6000, 1)), (3, 0, NULL), (4, 0, repeat('x', %d)), (5, 0, 'short')", name, wide))
	}
	c.RequireConverged()
	for _, name := range tables {
		b.Exec("UPDATE " + name + " SET n = n + 1")
	}
	c.RequireConverged()
	for _, name := range tables {
		a.Exec(fmt.Sprintf("UPDATE %s SET v = NULL WHERE id = 2; UPDATE %[1]s SET v = incompressible(5000, 2) WHERE id = 3; UPDATE %[1]s SET v = v || 'tail' WHERE id IN (1, 4); DELETE FROM %[1]s WHERE id = 5", name))
	}
	c.RequireConverged()
	for _, name := range tables {
		b.Exec(fmt.Sprintf("UPDATE %s SET v = 'short again', id = id + 10 WHERE id = 1; UPDATE %[1]s SET n = 7, id = id + 10 WHERE id IN (3, 4)", name))
	}
	c.RequireConverged()
	if got := b.Value("SELECT count(DISTINCT pg_column_compression(v)) FROM extended_pglz"); got != "1" {
		t.Errorf("%s compression methods in one table", got)
	}
}

// sent reads what a table's changes look like in the stream, through a slot of
// the test's own.
type sent struct {
	n    *pgtest.Node
	text *clustertest.FrameReader
}

func watchSent(n *pgtest.Node) *sent {
	clustertest.CreateSlot(n, "watch")
	return &sent{n, clustertest.NewFrameReader(true)}
}

// lines are the changes since the last call.
func (s *sent) lines() (lines []string) {
	var list []string
	for name, value := range clustertest.StreamOptions(map[string]string{"server_version": s.n.Value("SHOW server_version_num")}) {
		list = append(list, fmt.Sprintf("'%s', '%s'", name, value))
	}
	for _, row := range s.n.Rows("SELECT encode(data, 'hex') FROM pg_logical_slot_get_binary_changes('watch', NULL, NULL, " + strings.Join(list, ", ") + ")") {
		frame, err := hex.DecodeString(row[0])
		s.n.Must(err)
		more, err := s.text.Frame(frame)
		s.n.Must(err)
		for _, line := range more {
			if strings.HasPrefix(line, "INSERT") || strings.HasPrefix(line, "UPDATE") || strings.HasPrefix(line, "DELETE") {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

func (s *sent) end() { s.n.Exec("SELECT pg_drop_replication_slot('watch')") }

func unchangedIsNotSent(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE toasted (id int PRIMARY KEY, n int, one text, two text, j jsonb, small text)",
		"ALTER TABLE toasted ALTER one SET STORAGE EXTERNAL, ALTER two SET STORAGE EXTERNAL, ALTER j SET STORAGE EXTERNAL")
	a.Exec("INSERT INTO toasted VALUES (1, 0, repeat('a', 9000), repeat('b', 9000), to_jsonb(repeat('c', 9000)), repeat('d', 1000))")
	c.RequireConverged()
	chunks := "SELECT string_agg(DISTINCT chunk_id::text, ',') FROM " +
		b.Value("SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 'toasted'::regclass")
	before := b.Value(chunks)

	watch := watchSent(a)
	defer watch.end()
	a.Exec("UPDATE toasted SET n = 1")
	clustertest.RequireLines(t, watch.lines(), `UPDATE public.toasted n (id=1 n=1 one=unchanged two=unchanged j=unchanged small=1000 bytes of "d")`)
	c.RequireConverged()
	if after := b.Value(chunks); after != before {
		t.Errorf("values that did not change were stored again: chunks %s, before %s", after, before)
	}
	a.Exec("UPDATE toasted SET one = repeat('e', 8000)", "UPDATE toasted SET two = NULL, id = 2", "UPDATE toasted SET two = repeat('f', 7000), one = NULL")
	clustertest.RequireLines(t, watch.lines(), `
UPDATE public.toasted n (id=1 n=1 one=8000 bytes of "e" two=unchanged j=unchanged small=1000 bytes of "d")
UPDATE public.toasted k (id=1 n=null one=null two=null j=null small=null) (id=2 n=1 one=unchanged two=null j=unchanged small=1000 bytes of "d")
UPDATE public.toasted n (id=2 n=1 one=null two=7000 bytes of "f" j=unchanged small=1000 bytes of "d")`)
	c.RequireConverged()
	if got := b.Value("SELECT length(two) || ' ' || length(j::text) || ' ' || (one IS NULL) FROM toasted"); got != "7000 9002 true" {
		t.Errorf("values on the receiver: %s", got)
	}
}

// A key of 22000 characters is compressed in the index and lies in the TOAST
// table of the row.
func toastedIdentity(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE wide_key (k text PRIMARY KEY, n int, other text)",
		"CREATE TABLE wide_index (id int, k text NOT NULL, n int, UNIQUE (k))", "ALTER TABLE wide_index REPLICA IDENTITY USING INDEX wide_index_k_key")
	a.Exec("INSERT INTO wide_key SELECT incompressible(1900, g) || repeat('x', 20000), g FROM generate_series(1, 4) g",
		"INSERT INTO wide_key VALUES (repeat('y', 50000), 5)",
		"INSERT INTO wide_index SELECT g, incompressible(1900, g) || repeat('x', 20000), g FROM generate_series(1, 4) g")
	if got := a.Value("SELECT pg_relation_size(reltoastrelid) > 0 FROM pg_class WHERE oid = 'wide_key'::regclass"); got != "t" {
		t.Fatal("no key lies in the TOAST table")
	}
	c.RequireConverged()
	b.Exec("UPDATE wide_key SET n = n + 10", "UPDATE wide_index SET n = n + 10, id = 7")
	c.RequireConverged()
	a.Exec("UPDATE wide_key SET other = incompressible(9000, 9)", "UPDATE wide_key SET k = k || 'z' WHERE n IN (11, 15)", "UPDATE wide_index SET k = 'short' WHERE n = 11",
		"DELETE FROM wide_key WHERE n = 12", "DELETE FROM wide_index WHERE n = 12")
	c.RequireConverged()
	b.Exec("UPDATE wide_key SET k = 'short', n = 0 WHERE n = 11", "UPDATE wide_key SET n = n + 100", "DELETE FROM wide_index")
	c.RequireConverged()
	if got := a.Value("SELECT count(*) || ' ' || sum(n) FROM wide_key"); got != "4 442" {
		t.Errorf("rows and sum: %s", got)
	}
	// a row that is missing on the other node is inserted: its key came with the
	// old row. What such an origin deletes is not sent.
	origin := b.Value("SELECT 'bdr_' || oid || '_test' FROM pg_database WHERE datname = current_database()")
	b.Exec("SELECT pg_replication_origin_create('" + origin + "')")
	clustertest.InOrigin(b, origin, "0/1", "DELETE FROM wide_key WHERE n = 113")
	a.Exec("UPDATE wide_key SET n = 0, other = 'small' WHERE n = 113")
	c.RequireConverged()
	if got := b.Value("SELECT count(*) || ' ' || max(length(k)) FROM wide_key WHERE other = 'small'"); got != "1 21900" {
		t.Errorf("the row that was missing: %s", got)
	}
}

func toastedFull(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE full_rows (n int, one text, x xml, j json, e text)", "ALTER TABLE full_rows REPLICA IDENTITY FULL",
		"ALTER TABLE full_rows ALTER one SET STORAGE EXTERNAL, ALTER e SET STORAGE EXTENDED")
	for range 2 { // every row twice
		a.Exec("INSERT INTO full_rows SELECT g, repeat(g::text, 9000), xmlparse(content repeat('<a/>', 3000)), to_json(repeat('j', 9000)), incompressible(9000, g) FROM generate_series(1, 3) g",
			"INSERT INTO full_rows (n) VALUES (NULL)")
	}
	c.RequireConverged()
	watch := watchSent(a)
	a.Exec("UPDATE full_rows SET n = n + 10 WHERE ctid IN (SELECT min(ctid) FROM full_rows GROUP BY n)")
	clustertest.RequireContains(t, strings.Join(watch.lines(), "\n"), `UPDATE public.full_rows f (n=1 one=9000 bytes of "1"`, `(n=11 one=9000 bytes of "1"`)
	watch.end()
	c.RequireConverged()
	b.Exec("UPDATE full_rows SET one = NULL WHERE n = 11", "UPDATE full_rows SET one = 'x', e = e || 'tail' WHERE n = 2", "DELETE FROM full_rows WHERE n IN (3, 12)",
		"DELETE FROM full_rows WHERE ctid = (SELECT min(ctid) FROM full_rows WHERE n IS NULL)")
	c.RequireConverged()
	if got := a.Value("SELECT string_agg(coalesce(n::text, '-'), ' ' ORDER BY n) FROM full_rows"); got != "1 2 11 13 -" {
		t.Errorf("rows: %s", got)
	}
}

// A value of 100 MB is in memory a few times on its way; nothing of it stays
// behind in the processes.
func hugeValue(t *testing.T, c *pgtest.Cluster) {
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE huge (id int PRIMARY KEY, n int, v text)", "ALTER TABLE huge ALTER v SET STORAGE EXTERNAL")
	watched := []*memoryPeak{{name: "walsender", n: a, words: []string{clustertest.WalsenderTitle, "postgres"}},
		{name: "manager", n: b, words: []string{clustertest.ManagerTitle}}, {name: "writer", n: b, words: []string{clustertest.WriterTitle}}}
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			for _, w := range watched {
				w.look()
			}
			select {
			case <-stop:
				return
			case <-time.After(30 * time.Millisecond):
			}
		}
	}()
	a.Exec("INSERT INTO huge VALUES (1, 0, repeat('0123456789', 10 * 1000 * 1000))")
	c.WaitDrained(a)
	close(stop)
	<-done
	a.Exec("UPDATE huge SET n = 1")
	c.WaitDrained(a)
	for _, w := range watched {
		t.Logf("%s: %d MB before, at most %d MB, %d MB afterwards", w.name, w.before/1024, w.peak/1024, w.now()/1024)
	}
	if got := b.Value("SELECT n || ' ' || length(v) || ' ' || md5(v) FROM huge"); got != a.Value("SELECT '1 100000000 ' || md5(v) FROM huge") {
		t.Errorf("on the receiver: %s", got)
	}
	if now := watched[2].now(); now > 30*1024 {
		t.Errorf("the writer keeps %d kB", now)
	}
	a.Exec("UPDATE huge SET v = NULL", "DELETE FROM huge")
	c.RequireConverged()
}

// A memoryPeak follows the memory of one process.
type memoryPeak struct {
	name         string
	n            *pgtest.Node
	words        []string
	before, peak int
}

func (m *memoryPeak) now() int {
	sum := 0
	for _, p := range m.n.ProcessesTitled(m.words...) {
		sum += p.AnonymousKilobytes()
	}
	return sum
}

func (m *memoryPeak) look() {
	now := m.now()
	if m.before == 0 {
		m.before = now
	}
	m.peak = max(m.peak, now)
}
