package output

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/pgtest"
	"bdr/gosrc/stream"
	"bdr/gosrc/wire"
	"bdr/regress/cluster/clustertest"
)

// These tests exist because bdr_output is half of a protocol whose other half
// is written elsewhere, and because a frame that waits a little too long, or a
// keepalive that comes a little too early, loses nothing until something else
// goes wrong. They read the stream of one plain server, without bdr.so.

var updateGolden = flag.Bool("update-golden", false, "write regress/wire from this run")

const goldenDirectory = "../../wire"

// writeGolden keeps the frames for readers that have no server at hand.
func writeGolden(t *testing.T, name string, frames [][]byte) {
	t.Helper()
	if !*updateGolden {
		return
	}
	var text strings.Builder
	fmt.Fprintf(&text, "# %s: frames of a real bdr_output, one per line, and what they say.\n", name)
	reader := clustertest.NewFrameReader(false)
	for _, f := range frames {
		lines, err := reader.Frame(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			fmt.Fprintf(&text, "# %s\n", line)
		}
		fmt.Fprintf(&text, "%s\n", hex.EncodeToString(f))
	}
	if err := os.WriteFile(filepath.Join(goldenDirectory, name+".hex"), []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestGoldenFrames keeps the second reader honest without a server, and shows a
// change of the format as a change of these files.
func TestGoldenFrames(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(goldenDirectory, "*.hex"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden frames: %v", err)
	}
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := clustertest.NewFrameReader(false)
		var expected []string
		for _, line := range strings.Split(strings.TrimSpace(string(content)), "\n")[1:] {
			if comment, ok := strings.CutPrefix(line, "# "); ok {
				expected = append(expected, comment)
				continue
			}
			frame, err := hex.DecodeString(line)
			if err != nil {
				t.Fatal(err)
			}
			lines, err := text.Frame(frame)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(lines, expected) {
				t.Errorf("%s:\n got %q\nwant %q", path, lines, expected)
			}
			expected = nil
		}
	}
}

// Every kind of change, in internal form.
func TestOutputChanges(t *testing.T) {
	n := clustertest.Publisher(t, nil)
	n.Exec(`CREATE TABLE orders (id int PRIMARY KEY, note text, price numeric)`)
	at := clustertest.CreateSlot(n, "s")
	n.Exec(`INSERT INTO orders VALUES (1, 'one', NULL), (2, NULL, 1)`,
		`UPDATE orders SET note = 'uno' WHERE id = 1`,
		`UPDATE orders SET id = 10 WHERE id = 1`,
		`DELETE FROM orders WHERE id = 2`,
		`BEGIN; CREATE TABLE empty (a int); COMMIT`,
		`BEGIN; INSERT INTO orders VALUES (3, 'rolled back', 3); ROLLBACK`,
		`TRUNCATE orders`,
		`TRUNCATE orders RESTART IDENTITY CASCADE`)
	r := clustertest.OpenStream(t, n, "s", at, nil)
	r.UntilMessage(n, "end")
	clustertest.RequireLines(t, r.Lines(), `
STARTUP protocol 2 server 1 formats i encoding UTF8
BEGIN xid 1 commit 1 end 1 time 1 origin 0 at 1
RELATION 1 public.orders d (*id i pg_catalog.int4(-1) oid 1 len 4, note i pg_catalog.text(-1) oid 1 len -1, price i pg_catalog.numeric(-1) oid 1 len -1)
INSERT public.orders (id=1 note="one" price=null)
INSERT public.orders (id=2 note=null price=0x00800100)
COMMIT commit 1 end 1 changes 2
BEGIN xid 1 commit 1 end 1 time 1 origin 0 at 1
UPDATE public.orders n (id=1 note="uno" price=null)
COMMIT commit 1 end 1 changes 1
BEGIN xid 1 commit 1 end 1 time 1 origin 0 at 1
UPDATE public.orders k (id=1 note=null price=null) (id=10 note="uno" price=null)
COMMIT commit 1 end 1 changes 1
BEGIN xid 1 commit 1 end 1 time 1 origin 0 at 1
DELETE public.orders k (id=2 note=null price=null)
COMMIT commit 1 end 1 changes 1
BEGIN xid 1 commit 1 end 1 time 1 origin 0 at 1
TRUNCATE flags 0 public.orders
COMMIT commit 1 end 1 changes 1
BEGIN xid 1 commit 1 end 1 time 1 origin 0 at 1
TRUNCATE flags 3 public.orders
COMMIT commit 1 end 1 changes 1
MESSAGE at 1 "end"`)
	writeGolden(t, "changes", r.Frames)
}

// What is not for peers stays here; rows that nobody could find do too.
func TestOutputSkips(t *testing.T) {
	n := clustertest.Publisher(t, nil)
	n.Exec(`CREATE SCHEMA bdr`, `CREATE TABLE bdr.own (a int PRIMARY KEY)`, `CREATE UNLOGGED TABLE unlogged (a int PRIMARY KEY)`,
		`CREATE TABLE keyless (a int)`, `CREATE TABLE nothing (a int PRIMARY KEY)`, `ALTER TABLE nothing REPLICA IDENTITY NOTHING`,
		`CREATE TABLE parts (a int PRIMARY KEY) PARTITION BY RANGE (a)`,
		`CREATE TABLE part1 PARTITION OF parts FOR VALUES FROM (0) TO (10)`,
		`CREATE MATERIALIZED VIEW seen AS SELECT a FROM keyless`)
	at := clustertest.CreateSlot(n, "s")
	n.Exec(`INSERT INTO bdr.own VALUES (1)`, `INSERT INTO unlogged VALUES (1)`, `REFRESH MATERIALIZED VIEW seen`,
		`CREATE TEMP TABLE passing AS SELECT 1 AS a`, `TRUNCATE bdr.own`,
		`BEGIN; INSERT INTO keyless VALUES (1); UPDATE keyless SET a = 2; DELETE FROM keyless; COMMIT`,
		`BEGIN; INSERT INTO nothing VALUES (1); UPDATE nothing SET a = 2; DELETE FROM nothing; COMMIT`,
		`INSERT INTO parts VALUES (1)`, `TRUNCATE parts`, `TRUNCATE bdr.own, part1`)
	r := clustertest.OpenStream(t, n, "s", at, nil)
	r.UntilMessage(n, "end")
	clustertest.RequireLines(t, r.Lines(), `
STARTUP protocol 2 server 1 formats i encoding UTF8
BEGIN xid 1 commit 1 end 1 time 1 origin 0 at 1
RELATION 1 public.keyless d (a i pg_catalog.int4(-1) oid 1 len 4)
INSERT public.keyless (a=1)
COMMIT commit 1 end 1 changes 1
BEGIN xid 1 commit 1 end 1 time 1 origin 0 at 1
RELATION 1 public.nothing n (a i pg_catalog.int4(-1) oid 1 len 4)
INSERT public.nothing (a=1)
COMMIT commit 1 end 1 changes 1
BEGIN xid 1 commit 1 end 1 time 1 origin 0 at 1
RELATION 1 public.part1 d partition of public.parts unique (*a i pg_catalog.int4(-1) oid 1 len 4)
INSERT public.part1 (a=1)
COMMIT commit 1 end 1 changes 1
BEGIN xid 1 commit 1 end 1 time 1 origin 0 at 1
RELATION 1 public.parts d partitioned (*a i pg_catalog.int4(-1) oid 1 len 4)
TRUNCATE flags 0 public.parts public.part1<public.parts
COMMIT commit 1 end 1 changes 1
BEGIN xid 1 commit 1 end 1 time 1 origin 0 at 1
TRUNCATE flags 0 public.part1
COMMIT commit 1 end 1 changes 1
MESSAGE at 1 "end"`)
	if log := n.LogTail(1000); strings.Count(log, "of table \"public.keyless\" is not replicated") != 1 {
		t.Error("the log does not say once that changes of keyless are not replicated")
	}
}

// Replica identities and what lies in TOAST tables.
func TestOutputIdentitiesAndToast(t *testing.T) {
	n := clustertest.Publisher(t, nil)
	n.Exec(`CREATE TABLE plain (id int PRIMARY KEY, big text, n int)`, `ALTER TABLE plain ALTER big SET STORAGE EXTERNAL`,
		`CREATE TABLE whole (LIKE plain INCLUDING ALL)`, `ALTER TABLE whole REPLICA IDENTITY FULL`,
		`CREATE TABLE indexed (id int PRIMARY KEY, a int NOT NULL, b int NOT NULL, UNIQUE (b, a))`,
		`ALTER TABLE indexed REPLICA IDENTITY USING INDEX indexed_b_a_key`,
		`CREATE TABLE inlined (id int PRIMARY KEY, c text)`)
	at := clustertest.CreateSlot(n, "s")
	n.Exec(`INSERT INTO plain VALUES (1, repeat('x', 9000), 1)`, `UPDATE plain SET n = 2`, `UPDATE plain SET big = repeat('y', 8000)`,
		`INSERT INTO whole VALUES (1, repeat('x', 9000), 1)`, `UPDATE whole SET n = 2`, `DELETE FROM whole`,
		`INSERT INTO indexed VALUES (1, 2, 3)`, `UPDATE indexed SET id = 2`, `UPDATE indexed SET a = 4`, `DELETE FROM indexed`,
		`INSERT INTO inlined VALUES (1, repeat('z', 20000))`, `UPDATE inlined SET c = repeat('w', 100000)`, `UPDATE inlined SET c = repeat('v', 126)`)
	r := clustertest.OpenStream(t, n, "s", at, nil)
	r.UntilMessage(n, "end")
	var got []string
	for _, line := range r.Lines() {
		if !strings.HasPrefix(line, "BEGIN") && !strings.HasPrefix(line, "COMMIT") && !strings.HasPrefix(line, "STARTUP") {
			got = append(got, line)
		}
	}
	clustertest.RequireLines(t, got, `
RELATION 1 public.plain d (*id i pg_catalog.int4(-1) oid 1 len 4, big i pg_catalog.text(-1) oid 1 len -1, n i pg_catalog.int4(-1) oid 1 len 4)
INSERT public.plain (id=1 big=9000 bytes of "x" n=1)
UPDATE public.plain n (id=1 big=unchanged n=2)
UPDATE public.plain n (id=1 big=8000 bytes of "y" n=2)
RELATION 1 public.whole f (*id i pg_catalog.int4(-1) oid 1 len 4, *big i pg_catalog.text(-1) oid 1 len -1, *n i pg_catalog.int4(-1) oid 1 len 4)
INSERT public.whole (id=1 big=9000 bytes of "x" n=1)
UPDATE public.whole f (id=1 big=9000 bytes of "x" n=1) (id=1 big=9000 bytes of "x" n=2)
DELETE public.whole f (id=1 big=9000 bytes of "x" n=2)
RELATION 1 public.indexed i (id i pg_catalog.int4(-1) oid 1 len 4, *a i pg_catalog.int4(-1) oid 1 len 4, *b i pg_catalog.int4(-1) oid 1 len 4)
INSERT public.indexed (id=1 a=2 b=3)
UPDATE public.indexed n (id=2 a=2 b=3)
UPDATE public.indexed k (id=null a=2 b=3) (id=2 a=4 b=3)
DELETE public.indexed k (id=null a=4 b=3)
RELATION 1 public.inlined d (*id i pg_catalog.int4(-1) oid 1 len 4, c i pg_catalog.text(-1) oid 1 len -1)
INSERT public.inlined (id=1 c=20000 bytes of "z")
UPDATE public.inlined n (id=1 c=100000 bytes of "w")
UPDATE public.inlined n (id=1 c=126 bytes of "v")
MESSAGE at 1 "end"`)
}

const typesTable = `CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS numeric(8,2) CHECK (VALUE > 0); CREATE DOMAIN feeling AS mood; CREATE SEQUENCE counted;
CREATE TABLE kinds (id bigint PRIMARY KEY, s smallint, f float8, d positive, m mood, fm feeling, p pair, a int[], ma mood[],
	c regclass, ca regclass[], o oid, r int4range, j jsonb, u uuid, v varchar(10), b bytea, ts timestamptz, i interval, x money,
	ac aclitem, n name, gone text, g bigint GENERATED ALWAYS AS (id * 2) STORED);
ALTER TABLE kinds DROP COLUMN gone`

const typesRow = `INSERT INTO kinds VALUES (1, -2, 1.5, 3.25, 'happy', 'sad', (1, 'x y'), '{1,NULL}', '{sad,happy}', 'counted', '{counted,pg_class}',
	42, '[1,5)', '{"k": 1}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'v', '\xdead', '2020-01-01 00:00:00+00', '1 mon 2 days', 12.34,
	'=r/postgres', 'nm')`

// Which form each type travels in, and that text does not depend on settings.
func TestOutputTypes(t *testing.T) {
	n := clustertest.Publisher(t, map[string]string{"datestyle": "german", "intervalstyle": "sql_standard", "bytea_output": "escape",
		"extra_float_digits": "-15", "timezone": "Asia/Tokyo"})
	n.Exec(typesTable)
	at := clustertest.CreateSlot(n, "internal")
	clustertest.CreateSlot(n, "foreign")
	n.Exec(typesRow)

	r := clustertest.OpenStream(t, n, "internal", at, nil)
	r.UntilMessage(n, "end")
	row := r.Lines()[3]
	clustertest.RequireContains(t, row, `id=1 s=-2 f=0x000000000000f83f`, `m="happy" fm="sad" p="(1,\"x y\")"`, `ma="{sad,happy}"`, `c="public.counted"`,
		`ca="{public.counted,pg_class}"`, `o=0x2a000000`, `u=0xa0eebc999c0b4ef8bb6d6bb9bd380a11`, `v="v"`, `b=0xdead`, `x=1234`,
		`ac="=r/postgres"`, `n=nm`)
	if strings.Contains(row, " g=") || strings.Contains(row, "gone") {
		t.Errorf("generated or dropped column: %s", row)
	}
	writeGolden(t, "types_internal", r.Frames)

	r = clustertest.OpenStream(t, n, "foreign", at, map[string]string{"architecture": "be:datum4"})
	r.Until("the row", 10*time.Second, func() bool { return r.Commits == 1 })
	if lines := r.Lines(); lines[0] != "STARTUP protocol 2 server 1 formats b encoding UTF8" {
		t.Error(lines[0])
	}
	clustertest.RequireContains(t, r.Lines()[3], `id=0x0000000000000001 s=0xfffe f=0x3ff8000000000000`, `m="happy" fm="sad"`, `c="public.counted"`,
		`x=0x00000000000004d2`, `v="v"`, `b=0xdead`, `a=0x000000010000000100000017`, `n=0x6e6d`)
	writeGolden(t, "types_foreign", r.Frames)
}

// To another major version nothing goes in internal form, and as text what the
// functions of the type do not carry over: an infinite interval is a finite one
// before 17, and xml_send leaves out the declaration.
func TestOutputToOtherMajors(t *testing.T) {
	n := clustertest.Publisher(t, nil)
	n.Exec("CREATE TABLE kinds (id int PRIMARY KEY, i interval, a interval[], x xml)")
	own := pgtest.Major(t)
	starts := map[int]lsn.LSN{}
	for _, major := range []int{15, 17, 18} {
		starts[major] = clustertest.CreateSlot(n, fmt.Sprint("to_", major))
	}
	n.Exec(`INSERT INTO kinds VALUES (1, '1 day', '{1 mon}', '<?xml version="1.0"?><a/>')`)
	for major, at := range starts {
		r := clustertest.OpenStream(t, n, fmt.Sprint("to_", major), at, map[string]string{"server_version": fmt.Sprint(major, "0001")})
		r.Until("the row", 10*time.Second, func() bool { return r.Commits == 1 })
		forms, row := "b b t", `x="<?xml version=\"1.0\"?><a/>"`
		switch {
		case major == own:
			forms, row = "i i i", "x=0x"
		case (major < 17) != (own < 17):
			forms = "t t t"
			row = `i="1 day" a="{\"1 mon\"}" ` + row
		}
		f := strings.Fields(forms)
		clustertest.RequireContains(t, r.Lines()[2], "i "+f[0]+" pg_catalog.interval", "a "+f[1]+" pg_catalog._interval", "x "+f[2]+" pg_catalog.xml")
		clustertest.RequireContains(t, r.Lines()[3], row)
	}
}

// RELATION comes again when, and only when, the definition has changed.
func TestOutputDefinitionsChange(t *testing.T) {
	n := clustertest.Publisher(t, nil)
	n.Exec(`CREATE TABLE a (id int PRIMARY KEY, v text)`, `CREATE TYPE mood AS ENUM ('sad')`, `CREATE TABLE b (id int PRIMARY KEY, m mood)`)
	at := clustertest.CreateSlot(n, "s")
	r := clustertest.OpenStream(t, n, "s", at, nil)
	n.Exec(`INSERT INTO a VALUES (1, 'x')`, `ANALYZE a`, `CREATE TEMP TABLE other (x int)`, `INSERT INTO a VALUES (2, 'x')`)
	r.UntilMessage(n, "1")
	n.Exec(`ALTER TABLE a ADD COLUMN n int DEFAULT 5`, `INSERT INTO a VALUES (3, 'x')`, `UPDATE a SET v = 'y' WHERE id = 1`,
		`BEGIN; INSERT INTO a VALUES (4, 'x'); ALTER TABLE a DROP COLUMN v; INSERT INTO a VALUES (5); ALTER TABLE a RENAME TO aa; INSERT INTO aa VALUES (6); COMMIT`,
		`ALTER TABLE aa ALTER COLUMN n TYPE bigint`, `INSERT INTO aa VALUES (7)`)
	r.UntilMessage(n, "2")
	n.Exec(`INSERT INTO b VALUES (1, 'sad')`, `ALTER TYPE mood ADD VALUE 'happy'`, `INSERT INTO b VALUES (2, 'happy')`, `ALTER TYPE mood RENAME TO humour`,
		`INSERT INTO b VALUES (3, 'sad')`, `ALTER SCHEMA public RENAME TO public2`, `INSERT INTO public2.b VALUES (4, 'sad')`)
	r.UntilMessage(n, "3")
	var got []string
	for _, line := range r.Lines() {
		if strings.HasPrefix(line, "RELATION") || strings.HasPrefix(line, "INSERT") || strings.HasPrefix(line, "UPDATE") {
			got = append(got, line)
		}
	}
	clustertest.RequireLines(t, got, `
RELATION 1 public.a d (*id i pg_catalog.int4(-1) oid 1 len 4, v i pg_catalog.text(-1) oid 1 len -1)
INSERT public.a (id=1 v="x")
INSERT public.a (id=2 v="x")
RELATION 1 public.a d (*id i pg_catalog.int4(-1) oid 1 len 4, v i pg_catalog.text(-1) oid 1 len -1, n i pg_catalog.int4(-1) oid 1 len 4)
INSERT public.a (id=3 v="x" n=5)
UPDATE public.a n (id=1 v="y" n=5)
INSERT public.a (id=4 v="x" n=5)
RELATION 1 public.a d (*id i pg_catalog.int4(-1) oid 1 len 4, n i pg_catalog.int4(-1) oid 1 len 4)
INSERT public.a (id=5 n=5)
RELATION 1 public.aa d (*id i pg_catalog.int4(-1) oid 1 len 4, n i pg_catalog.int4(-1) oid 1 len 4)
INSERT public.aa (id=6 n=5)
RELATION 1 public.aa d (*id i pg_catalog.int4(-1) oid 1 len 4, n i pg_catalog.int8(-1) oid 1 len 8)
INSERT public.aa (id=7 n=5)
RELATION 1 public.b d (*id i pg_catalog.int4(-1) oid 1 len 4, m t public.mood(-1) oid 1 len 4)
INSERT public.b (id=1 m="sad")
INSERT public.b (id=2 m="happy")
RELATION 1 public.b d (*id i pg_catalog.int4(-1) oid 1 len 4, m t public.humour(-1) oid 1 len 4)
INSERT public.b (id=3 m="sad")
RELATION 1 public2.b d (*id i pg_catalog.int4(-1) oid 1 len 4, m t public2.humour(-1) oid 1 len 4)
INSERT public2.b (id=4 m="sad")`)
}

const sentWithOriginsNone = `
ORIGIN_PROGRESS node 7 until 1
BEGIN xid 1 commit 1 end 1 time 1 origin 0 at 1
RELATION 1 public.t d (*v i pg_catalog.text(-1) oid 1 len -1)
INSERT public.t (v="local")
COMMIT commit 1 end 1 changes 1
BEGIN xid 1 commit 1 end 1 time 1 origin 0 at 1
INSERT public.t (v="native")
COMMIT commit 1 end 1 changes 1
ORIGIN_PROGRESS node 8 until 1
BEGIN xid 1 commit 1 end 1 time 1 origin 0 at 1
INSERT public.t (v="local too")
COMMIT commit 1 end 1 changes 1
BEGIN xid 1 commit 1 end 1 time 1 origin 0 at 1
INSERT public.t (v="of another database")
COMMIT commit 1 end 1 changes 1`

const sentWithOriginsAll = `
BEGIN xid 1 commit 1 end 1 time 1 origin 0 at 1
RELATION 1 public.t d (*v i pg_catalog.text(-1) oid 1 len -1)
INSERT public.t (v="local")
COMMIT commit 1 end 1 changes 1
BEGIN xid 1 commit 1 end 1 time 1 origin 0 at 1
INSERT public.t (v="native")
COMMIT commit 1 end 1 changes 1
BEGIN xid 1 commit 1 end 1 time 1 origin 8 at 1
INSERT public.t (v="from 8")
COMMIT commit 1 end 1 changes 1
BEGIN xid 1 commit 1 end 1 time 1 origin 0 at 1
INSERT public.t (v="copied")
COMMIT commit 1 end 1 changes 1
BEGIN xid 1 commit 1 end 1 time 1 origin 0 at 1
INSERT public.t (v="local too")
COMMIT commit 1 end 1 changes 1
BEGIN xid 1 commit 1 end 1 time 1 origin 0 at 1
INSERT public.t (v="of another database")
COMMIT commit 1 end 1 changes 1`

// A change that is sent back goes round for ever; one that is taken for a
// peer's is lost. Ids of origins are reused, and an origin may be as young as
// the transaction that it is first used in.
func TestOutputOrigins(t *testing.T) {
	n := clustertest.Publisher(t, nil)
	n.Exec(`CREATE TABLE t (v text PRIMARY KEY)`)
	at := clustertest.CreateSlot(n, "none")
	clustertest.CreateSlot(n, "all")
	live := clustertest.OpenStream(t, n, "none", at, nil)
	writeUnderOrigins(n, live)
	live.UntilMessage(n, "end")
	clustertest.RequireLines(t, withoutMessages(live.Lines()), sentWithOriginsNone)
	live.Stream.Close()

	late := reopen(t, n, "none", at, nil)
	late.UntilMessage(n, "late")
	clustertest.RequireLines(t, withoutMessages(late.Lines()), sentWithOriginsNone)
	if strings.Contains(strings.Join(append(late.Messages, live.Messages...), " "), "of 7") {
		t.Error("a message of node 7 went back to it")
	}

	all := clustertest.OpenStream(t, n, "all", at, map[string]string{"origins": "all"})
	all.UntilMessage(n, "all")
	clustertest.RequireLines(t, withoutMessages(all.Lines()), sentWithOriginsAll)
	writeGolden(t, "origins_all", all.Frames)
}

// A message of ours can end a subscription or have dead rows forgotten, and
// pg_logical_emit_message() is everybody's.
func TestOutputLeavesForgedMessagesOut(t *testing.T) {
	n := clustertest.Publisher(t, nil)
	n.Exec("CREATE ROLE forger", "GRANT CREATE ON SCHEMA public TO forger", "SELECT pg_replication_origin_create('of_others')")
	r := clustertest.OpenStream(t, n, "s", clustertest.CreateSlot(n, "s"), nil)
	const forged = `SELECT pg_logical_emit_message(false, 'bdr', '{"farewell": 7}'); SELECT pg_logical_emit_message(false, 'bdr_watermark', '\x7fffffffffffffff0000000000000000'::bytea);
		BEGIN; CREATE TABLE IF NOT EXISTS t (); SELECT pg_logical_emit_message(false, 'bdr', 'x'); SELECT pg_logical_emit_message(true, 'bdr', 'y'); COMMIT`
	n.Exec("SET ROLE forger", forged, "RESET ROLE")
	clustertest.InOrigin(n, "of_others", "0/1", "SELECT pg_logical_emit_message(false, 'bdr', 'z')")
	n.Exec("BEGIN; SELECT pg_replication_origin_session_setup('" + clustertest.MessageOrigin(n) + `'); SELECT pg_logical_emit_message(true, 'bdr', 'in a transaction'); COMMIT;
		SELECT pg_replication_origin_session_reset()`)
	r.UntilMessage(n, "end")
	clustertest.RequireLines(t, r.Lines(), `
STARTUP protocol 2 server 1 formats i encoding UTF8
MESSAGE at 1 "end"`)
}

// writeUnderOrigins uses one origin id for four owners in turn.
func writeUnderOrigins(n *pgtest.Node, live *clustertest.Reader) {
	ours := "bdr_" + n.Value("SELECT oid FROM pg_database WHERE datname = current_database()")
	create := func(name string) { n.Exec("SELECT pg_replication_origin_create('" + name + "')") }
	drop := func(name string) { n.Exec("SELECT pg_replication_origin_drop('" + name + "')") }
	create(ours + "_7")
	clustertest.InOrigin(n, ours+"_7", "0/700", `INSERT INTO t VALUES ('from 7');
		SELECT pg_logical_emit_message(false, 'bdr', 'of 7')`)
	clustertest.InOrigin(n, ours+"_7", "0/701", `INSERT INTO t VALUES ('again from 7')`)
	n.Exec(`INSERT INTO t VALUES ('local')`)
	live.UntilMessage(n, "1")
	drop(ours + "_7")
	create("native")
	clustertest.InOrigin(n, "native", "0/1", `INSERT INTO t VALUES ('native')`)
	live.UntilMessage(n, "2")
	drop("native")
	create(ours + "_8")
	clustertest.InOrigin(n, ours+"_8", "0/800", `INSERT INTO t VALUES ('from 8')`)
	drop(ours + "_8")
	n.Exec(`BEGIN; SELECT pg_replication_origin_create('`+ours+`_copy_1'); SELECT pg_replication_origin_session_setup('`+ours+`_copy_1');
		INSERT INTO t VALUES ('copied'); COMMIT; SELECT pg_replication_origin_session_reset()`,
		`INSERT INTO t VALUES ('local too')`)
	drop(ours + "_copy_1")
	create("bdr_1_8")
	clustertest.InOrigin(n, "bdr_1_8", "0/1", `INSERT INTO t VALUES ('of another database')`)
	n.Exec("CREATE EXTENSION bdr", "LOAD 'bdr'", `BEGIN; SET LOCAL bdr.xact_replication = off; INSERT INTO t VALUES ('kept here'); COMMIT`,
		`BEGIN; SELECT bdr.difference_fix_session_setup(); INSERT INTO t VALUES ('repair'); COMMIT`,
		`INSERT INTO t VALUES ('another repair')`, `SELECT bdr.difference_fix_session_reset()`)
}

func withoutMessages(lines []string) []string {
	return slices.DeleteFunc(lines, func(line string) bool {
		return strings.HasPrefix(line, "MESSAGE") || strings.HasPrefix(line, "STARTUP")
	})
}

// reopen waits for the old walsender to let go of the slot.
func reopen(t *testing.T, n *pgtest.Node, slot string, at lsn.LSN, options map[string]string) *clustertest.Reader {
	t.Helper()
	n.Wait(10*time.Second, fmt.Sprintf("SELECT active FROM pg_replication_slots WHERE slot_name = '%s'", slot), "f")
	return clustertest.OpenStream(t, n, slot, at, options)
}

// Frames wait for each other only while that costs nobody anything.
func TestOutputPendingFramesLeave(t *testing.T) {
	n := clustertest.Publisher(t, nil)
	n.Exec(`CREATE TABLE t (id serial PRIMARY KEY, v text)`, `CREATE DATABASE busy`)
	r := clustertest.OpenStream(t, n, "s", clustertest.CreateSlot(n, "s"), nil)
	r.UntilMessage(n, "start")

	t.Run("single commits arrive at once", func(t *testing.T) {
		slowest := slowestCommit(n, r, func(i int) bool { return i == 200 })
		t.Logf("slowest of 200: %v", slowest)
		if slowest > time.Second {
			t.Errorf("a commit took %v", slowest)
		}
	})
	t.Run("WAL of another database holds nothing up", func(t *testing.T) {
		done := make(chan error, 1)
		go func() {
			_, err := n.RunTimeout("busy", foreignWAL, time.Minute)
			done <- err
		}()
		slowest := slowestCommit(n, r, func(int) bool {
			select {
			case err := <-done:
				n.Must(err)
				return true
			default:
				return false
			}
		})
		t.Logf("slowest beside a busy database: %v", slowest)
	})
	t.Run("a question is answered after what is pending", func(t *testing.T) {
		for range 50 {
			want := r.Commits + 20
			n.Exec(smallTransactions(20))
			n.Must(r.Stream.Confirm(r.Last, r.Last, r.Last, true))
			r.Until("20 commits", 10*time.Second, func() bool { return r.Commits == want })
		}
	})
}

// Those that wait for a subscriber share frames, but not with what comes after
// a long stretch of WAL that is not theirs.
func TestOutputPendingFramesAreShared(t *testing.T) {
	n := clustertest.Publisher(t, nil)
	n.Exec(`CREATE TABLE t (id serial PRIMARY KEY, v text)`, `CREATE DATABASE busy`)
	at := clustertest.CreateSlot(n, "s")
	n.Exec(smallTransactions(2000))
	r := clustertest.OpenStream(t, n, "s", at, nil)
	r.Until("2000 commits", 20*time.Second, func() bool { return r.Commits == 2000 })
	t.Logf("2000 transactions in %d frames", len(r.Frames))
	if len(r.Frames) > 100 {
		t.Errorf("2000 transactions came in %d frames", len(r.Frames))
	}
	r.Stream.Close()

	n.Exec(`INSERT INTO t (v) VALUES ('before')`)
	_, err := n.RunTimeout("busy", foreignWAL, time.Minute)
	n.Must(err)
	clustertest.EmitMessage(n, "after")
	n.Exec(`SELECT pg_logical_emit_message(true, 'other', 'flushes it')`)
	r = reopen(t, n, "s", r.Last, nil)
	r.Until("the commit", 20*time.Second, func() bool { return r.Commits == 1 })
	if len(r.Messages) > 0 {
		t.Error("a commit waited while WAL of another database was decoded")
	}
	r.Until("the message", 20*time.Second, func() bool { return len(r.Messages) == 1 })
}

const foreignWAL = `CREATE TABLE b AS SELECT g, repeat('x', 100) AS v FROM generate_series(1, 1000000) g`

func smallTransactions(n int) string {
	return fmt.Sprintf(`DO $$ BEGIN FOR i IN 1..%d LOOP INSERT INTO t (v) VALUES ('x'); COMMIT; END LOOP; END $$`, n)
}

// slowestCommit commits one row at a time until enough, and returns the longest
// time from statement to arrival.
func slowestCommit(n *pgtest.Node, r *clustertest.Reader, enough func(i int) bool) (slowest time.Duration) {
	r.T.Helper()
	for i := 0; !enough(i); i++ {
		began, want := time.Now(), r.Commits+1
		n.Exec(`INSERT INTO t (v) VALUES ('x')`)
		r.Until("one commit", 10*time.Second, func() bool { return r.Commits >= want })
		slowest = max(slowest, time.Since(began))
	}
	return slowest
}

// A walsender that waits for an answer sends no further keepalives, which would
// take pending frames along.
func TestOutputSendsWhileItWaitsForAnAnswer(t *testing.T) {
	n := clustertest.Publisher(t, map[string]string{"wal_sender_timeout": "6s"})
	n.Exec(`CREATE TABLE t (id serial PRIMARY KEY, v text)`)
	at := clustertest.CreateSlot(n, "s")
	r := clustertest.OpenStream(t, n, "s", at, nil)
	r.Until("the question", 10*time.Second, func() bool { return r.Asked })
	began := time.Now()
	n.Exec(`INSERT INTO t (v) VALUES ('x')`)
	r.Until("the commit", 5*time.Second, func() bool { return r.Commits == 1 })
	if waited := time.Since(began); waited > time.Second {
		t.Errorf("a commit took %v", waited)
	}
}

// However a session ends, the walsender's connection is as it was before: an
// error must not leave our functions in it without their state.
func TestOutputSessionEnds(t *testing.T) {
	n := clustertest.Publisher(t, nil)
	n.Exec(`CREATE TABLE t (id serial PRIMARY KEY, v text)`)
	clustertest.CreateSlot(n, "s")
	conn, err := stream.Connect(t.Context(), n.NodeDSN, stream.Replication, "ends")
	n.Must(err)
	defer conn.Close(context.Background())
	options := clustertest.StreamOptions(map[string]string{"server_version": n.Value("SHOW server_version_num")})
	var list []string
	for name, value := range options {
		list = append(list, fmt.Sprintf("%s '%s'", name, value))
	}
	start := "START_REPLICATION SLOT s LOGICAL 0/0 (" + strings.Join(list, ", ") + ")"
	for _, end := range []string{"error", "error", "stop"} { // the server starts no second stream after a stop
		send(t, conn, &pgproto3.Query{String: start})
		receive[*pgproto3.CopyBothResponse](t, conn)
		receive[*pgproto3.CopyData](t, conn)
		n.Exec(`INSERT INTO t (v) VALUES ('x')`)
		if end == "stop" {
			send(t, conn, &pgproto3.CopyDone{})
			receive[*pgproto3.CopyDone](t, conn)
			receive[*pgproto3.CommandComplete](t, conn)
		} else {
			n.Exec(`SELECT pg_cancel_backend(active_pid) FROM pg_replication_slots`)
			receive[*pgproto3.ErrorResponse](t, conn)
		}
		receive[*pgproto3.ReadyForQuery](t, conn)
		// search_path stays pinned, as it is for the text form of values.
		if _, err := conn.Exec(t.Context(), "SELECT count(*) FROM public.t").ReadAll(); err != nil {
			t.Fatalf("after %s: %v", end, err)
		}
	}
}

func send(t *testing.T, conn *pgconn.PgConn, m pgproto3.FrontendMessage) {
	t.Helper()
	conn.Frontend().Send(m)
	if err := conn.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
}

// receive skips what is not a T; an error of the server ends the test.
func receive[T pgproto3.BackendMessage](t *testing.T, conn *pgconn.PgConn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var seen []string
	for {
		m, err := conn.ReceiveMessage(ctx)
		if err != nil {
			t.Fatalf("waiting for %T after %v: %v", *new(T), seen, err)
		}
		seen = append(seen, fmt.Sprintf("%T", m))
		if _, ok := m.(T); ok {
			return
		}
		if refused, ok := m.(*pgproto3.ErrorResponse); ok {
			t.Fatalf("waiting for %T: %s", *new(T), refused.Message)
		}
	}
}

// The SQL functions write each transaction when it ends, and leave the settings
// of their session alone.
func TestOutputThroughSQL(t *testing.T) {
	n := clustertest.Publisher(t, map[string]string{"datestyle": "german"})
	n.Exec(`CREATE TABLE t (id int PRIMARY KEY, d date)`)
	clustertest.CreateSlot(n, "s")
	n.Exec(`INSERT INTO t VALUES (1, '2020-01-02')`, `INSERT INTO t VALUES (2, NULL)`)
	var list []string
	for name, value := range clustertest.StreamOptions(map[string]string{"architecture": "other"}) {
		list = append(list, fmt.Sprintf("'%s', '%s'", name, value))
	}
	changes := "SELECT encode(data, 'hex') FROM pg_logical_slot_%s_binary_changes('s', NULL, NULL, " + strings.Join(list, ", ") + ")"
	conn := n.Session()
	rows, err := pgtest.RunOn(conn, fmt.Sprintf(changes, "peek")+"; SHOW datestyle", 10*time.Second)
	n.Must(err)
	if rows[0][0] != "German, DMY" {
		t.Errorf("DateStyle is %s afterwards", rows[0][0])
	}
	rows, err = pgtest.RunOn(conn, fmt.Sprintf(changes, "get"), 10*time.Second)
	n.Must(err)
	if len(rows) != 2 {
		t.Fatalf("%d frames, expected one per transaction", len(rows))
	}
	if _, err := pgtest.RunOn(conn, "SELECT * FROM pg_logical_slot_get_binary_changes('s', NULL, NULL, 'a', 'b')", 10*time.Second); err == nil {
		t.Error("a wrong option was taken")
	}
	n.Exec("CREATE TABLE later (id int)") // invalidations reach no session
}

// A fast shutdown ends the walsender after everything has been sent and
// confirmed, as it does without us.
func TestOutputShutdownSendsEverything(t *testing.T) {
	n := clustertest.Publisher(t, nil)
	n.Exec(`CREATE TABLE t (id serial PRIMARY KEY, v text)`)
	at := clustertest.CreateSlot(n, "s")
	r := clustertest.OpenStream(t, n, "s", at, nil)
	r.Keep = false
	n.Exec(smallTransactions(20000))
	stopped := make(chan error, 1)
	go func() {
		_, err := n.Stop(pgtest.Fast)
		stopped <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		err := r.Next(ctx)
		var ended *pgerr.Error
		if errors.As(err, &ended) && ended.Code == pgerr.AdminShutdown {
			break
		}
		if err != nil {
			t.Fatalf("after %d commits: %v", r.Commits, err)
		}
		if r.Asked && !r.Tracker.InTransaction() {
			r.Asked = false
			n.Must(r.Stream.Confirm(r.Promised, r.Promised, r.Promised, false))
		}
	}
	n.Must(<-stopped)
	if r.Commits != 20000 {
		t.Errorf("%d commits were sent, expected 20000", r.Commits)
	}
}

// A large transaction passes through; nobody keeps it.
func TestOutputLargeTransactionStreamsThrough(t *testing.T) {
	n := clustertest.Publisher(t, map[string]string{"logical_decoding_work_mem": "4MB"})
	n.Exec(`CREATE TABLE t (id int PRIMARY KEY, v text)`)
	at := clustertest.CreateSlot(n, "s")
	n.Exec(`INSERT INTO t SELECT g, repeat('x', 50) FROM generate_series(1, 300000) g`)
	r := clustertest.OpenStream(t, n, "s", at, nil)
	r.Keep = false
	pid, err := strconv.Atoi(n.Value("SELECT active_pid FROM pg_replication_slots WHERE slot_name = 's'"))
	n.Must(err)
	sender := pgtest.Process{PID: pid}
	peak := 0
	for frames := 0; r.Commits == 0; frames++ {
		if err := r.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		if frames%50 == 0 {
			peak = max(peak, sender.AnonymousKilobytes())
		}
	}
	t.Logf("walsender: at most %d kB of its own", peak)
	if peak > 40*1024 {
		t.Errorf("walsender grew to %d kB", peak)
	}
	if r.Changes != 300000 {
		t.Errorf("%d changes", r.Changes)
	}
}

// A value of many megabytes travels in pieces; the buffers shrink again.
func TestOutputLargeValue(t *testing.T) {
	n := clustertest.Publisher(t, nil)
	n.Exec(`CREATE TABLE t (id int PRIMARY KEY, v text)`)
	at := clustertest.CreateSlot(n, "s")
	r := clustertest.OpenStream(t, n, "s", at, nil)
	n.Exec(`INSERT INTO t VALUES (1, repeat('0123456789', 20 * 1000 * 1000))`, `INSERT INTO t VALUES (2, 'small')`)
	r.Until("both rows", 60*time.Second, func() bool { return r.Commits == 2 })
	clustertest.RequireContains(t, strings.Join(r.Lines(), "\n"), `INSERT public.t (id=1 v=200000000 bytes of "0")`, `INSERT public.t (id=2 v="small")`)
}

// A Receive that is given up loses nothing, at any point of a message.
func TestReceiveIsInterrupted(t *testing.T) {
	n := clustertest.Publisher(t, nil)
	n.Exec(`CREATE TABLE t (id int PRIMARY KEY, v text)`)
	at := clustertest.CreateSlot(n, "s")
	r := clustertest.OpenStream(t, n, "s", at, nil)
	r.UntilMessage(n, "start")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	began := time.Now()
	var err error
	for err == nil { // keepalives may come first
		err = r.Next(ctx)
	}
	if waited := time.Since(began); !errors.Is(err, context.Canceled) || waited > time.Second {
		t.Fatalf("cancelled Receive: %v after %v", err, waited)
	}
	n.Exec(`INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(1, 50000) g`)
	interrupts := 0
	for r.Commits == 0 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(interrupts%7)*50*time.Microsecond)
		err := r.Next(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			interrupts++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d interruptions", interrupts)
	if r.Changes != 50000 {
		t.Errorf("%d changes", r.Changes)
	}
}

// What a stream refuses, it refuses with a code and in words.
func TestOutputRefusesOptions(t *testing.T) {
	n := clustertest.Publisher(t, nil)
	at := clustertest.CreateSlot(n, "s")
	for name, change := range map[string]map[string]string{
		"unrecognized option":                        {"colour": "red"},
		"no common protocol":                         {"proto_min": "4", "proto_max": "9"},
		"versions 0 to 1, this server writes 2 to 3": {"proto_min": "0", "proto_max": "1"},
		"invalid value":                              {"node_id": "x"},
		`value for option "orig`:                     {"origins": "some"},
		`encoding "LATIN1"`:                          {"encoding": "LATIN1"},
		`option "proto_max": "-1`:                    {"proto_max": "-1"},
	} {
		n.Wait(10*time.Second, "SELECT active FROM pg_replication_slots", "f")
		_, err := stream.Open(t.Context(), stream.Config{DSN: n.NodeDSN, Slot: "s", Start: at, Options: clustertest.StreamOptions(change)})
		var refused *pgerr.Error
		if !errors.As(err, &refused) || refused.Code != clustertest.BadArgument || !strings.Contains(err.Error(), name) {
			t.Errorf("%v: %v", change, err)
		} else if refused.Hint == "" {
			t.Errorf("%v: no hint", change)
		}
	}
	_, err := stream.Open(t.Context(), stream.Config{DSN: n.NodeDSN + " password=" + clustertest.Secret + " port=1", Slot: "s"})
	var unreachable *pgerr.Error
	if !errors.As(err, &unreachable) || unreachable.Code != clustertest.LostPeer || strings.Contains(fmt.Sprintf("%+v", unreachable), clustertest.Secret) || unreachable.Detail == "" {
		t.Errorf("unreachable server: %+v", err)
	}
}

// A statement stands between the rows around it; who does not know the message
// gets no row that needs it.
func TestOutputStatements(t *testing.T) {
	n := pgtest.NewCluster(t, 1, pgtest.WithSettings(map[string]string{"bdr.ddl_replication": "on"})).Nodes[0]
	n.Exec("CREATE ROLE plain", "GRANT CREATE ON SCHEMA public TO plain")
	at := clustertest.CreateSlot(n, "s")
	n.Exec("BEGIN; SET LOCAL ROLE plain; CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1); ALTER TABLE t ADD b int; COMMIT",
		"CREATE EXTENSION hstore", "CREATE TABLE u AS SELECT 1 AS one WHERE false", "SELECT bdr.internal_message('end')")
	r := clustertest.OpenStream(t, n, "s", at, map[string]string{"proto_max": "3"})
	r.UntilMessage(n, "end")
	var lines []string
	for _, line := range r.Lines() {
		if line, _, found := strings.Cut(line, " settings "); found || strings.HasPrefix(line, "INSERT") || strings.HasPrefix(line, "COMMIT") {
			lines = append(lines, line)
		}
	}
	clustertest.RequireLines(t, lines, `
STATEMENT flags 0 role plain "CREATE TABLE t (a int PRIMARY KEY)"
INSERT public.t (a=1)
STATEMENT flags 0 role plain "ALTER TABLE t ADD b int"
COMMIT commit 1 end 1 changes 3
STATEMENT flags 1 role postgres "CREATE EXTENSION hstore"
COMMIT commit 1 end 1 changes 1
STATEMENT flags 1 role postgres "CREATE TABLE public.u (one integer)"
COMMIT commit 1 end 1 changes 1`)
	writeGolden(t, "statements", r.Frames)
	r.Stream.Close()
	n.Wait(10*time.Second, "SELECT active FROM pg_replication_slots WHERE slot_name = 's'", "f")
	r = clustertest.OpenStream(t, n, "s", at, nil)
	for {
		err := r.Next(t.Context())
		if err == nil {
			continue
		}
		if refused := pgerr.From(err); !strings.Contains(refused.Message, "cannot send DDL to a subscriber that reads protocol version 2") {
			t.Errorf("%+v", refused)
		}
		break
	}
}

// A statement that goes with other sets than the default one says so, and comes to
// whoever has one of them.
func TestOutputStatementsOfSets(t *testing.T) {
	n := pgtest.NewCluster(t, 1, pgtest.WithSettings(map[string]string{"bdr.ddl_replication": "on"})).Nodes[0]
	n.Exec("SELECT bdr.create_replication_set('s')", "SELECT bdr.create_replication_set('other')", "SELECT bdr.replication_set_add_ddl_filter('s', 'views', 'VIEW')",
		"SELECT bdr.replication_set_add_ddl_filter('other', 'own', NULL, query_match := 'own', exclusive := true)",
		"SELECT bdr.alter_node_replication_sets('"+n.Name+"', '{app_group,s}')")
	at := clustertest.CreateSlot(n, "s")
	n.Exec("CREATE TABLE t (a int PRIMARY KEY)", "CREATE VIEW v AS SELECT 1 AS one", "CREATE VIEW own AS SELECT 1 AS one",
		"SELECT bdr.alter_node_replication_sets('"+n.Name+"', '{other,s}')", "CREATE VIEW own2 AS SELECT 1 AS one", "CREATE TABLE u (a int)")
	const (
		table = `STATEMENT flags 1 role postgres "CREATE TABLE t (a int PRIMARY KEY)"`
		view  = `STATEMENT flags 3 role postgres sets app_group s "CREATE VIEW v AS SELECT 1 AS one"`
		own   = `STATEMENT flags 3 role postgres sets other "CREATE VIEW own2 AS SELECT 1 AS one"`
	)
	for _, test := range []struct{ sets, want string }{{"app_group", table + "\n" + view}, {"s", view}, {`"other"`, own}, {"other, s", view + "\n" + own}, {"none", ""}} {
		n.Wait(10*time.Second, "SELECT active FROM pg_replication_slots WHERE slot_name = 's'", "f")
		r := clustertest.OpenStream(t, n, "s", at, map[string]string{"proto_max": "3", "replication_sets": test.sets})
		r.UntilMessage(n, "end")
		var lines []string
		for _, line := range r.Lines() {
			if line, _, found := strings.Cut(line, " settings "); found {
				lines = append(lines, line)
			}
		}
		clustertest.RequireLines(t, lines, test.want)
		r.Stream.Close()
	}
}

// Of two versions that both ends know the higher one is used, and the hint of a
// refusal names the end that is behind.
func TestOutputChoosesProtocol(t *testing.T) {
	n := clustertest.Publisher(t, nil)
	n.Exec("CREATE TABLE t (a int PRIMARY KEY)")
	at := clustertest.CreateSlot(n, "s")
	n.Exec("INSERT INTO t VALUES (1)")
	for _, known := range []struct{ min, max int }{{2, 2}, {1, 2}, {2, 9}, {0, 3}} {
		n.Wait(10*time.Second, "SELECT active FROM pg_replication_slots", "f")
		r := clustertest.OpenStream(t, n, "s", at, map[string]string{"proto_min": fmt.Sprint(known.min), "proto_max": fmt.Sprint(known.max)})
		for r.Commits == 0 {
			if err := r.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := int(r.Frames[0][1]); got != min(known.max, wire.VersionMax) {
			t.Errorf("of %d to %d version %d was chosen", known.min, known.max, got)
		}
		r.Stream.Close()
	}
	for hint, change := range map[string]map[string]string{
		"on the subscriber": {"proto_min": "0", "proto_max": "1"}, "on this server": {"proto_min": "4", "proto_max": "9"},
	} {
		n.Wait(10*time.Second, "SELECT active FROM pg_replication_slots", "f")
		_, err := stream.Open(t.Context(), stream.Config{DSN: n.NodeDSN, Slot: "s", Start: at, Options: clustertest.StreamOptions(change)})
		if refused := pgerr.From(err); !strings.Contains(refused.Hint, hint) {
			t.Errorf("%v: %+v", change, refused)
		}
	}
}

// Slots are made and dropped over the replication protocol.
func TestSlots(t *testing.T) {
	n := clustertest.Publisher(t, nil)
	conn, err := stream.Connect(t.Context(), n.NodeDSN, stream.Replication, "slots")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	name := stream.SlotName(5, 77)
	slot, err := stream.CreateSlot(t.Context(), conn, name, true)
	if err != nil || slot.Name != "bdr_5_77" || slot.ConsistentPoint == lsn.Zero || slot.Snapshot == "" {
		t.Fatalf("%+v, %v", slot, err)
	}
	n.Exec("BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '" + slot.Snapshot + "'; COMMIT")
	_, err = stream.CreateSlot(t.Context(), conn, name, false)
	if !errors.Is(err, pgerr.New(clustertest.ExistsAlready, "")) {
		t.Errorf("second slot of the same name: %v", err)
	}
	for range 2 {
		if err := stream.DropSlot(t.Context(), conn, name, true); err != nil {
			t.Error(err)
		}
	}
	if left := n.Value("SELECT count(*) FROM pg_replication_slots"); left != "0" {
		t.Errorf("%s slots are left", left)
	}
}
