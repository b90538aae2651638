package failure

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// A longer search: go test -run TestDamagedMessages -damages 2000 -damage-seed 7
var (
	damageSeed = flag.Uint64("damage-seed", 15, "where the damages of messages start from")
	damagesMax = flag.Int("damages", 50, "how often each message is damaged")
)

// TestDamagedMessages exists because a value in internal form is stored as it
// came: bytes that its type's functions trip over later would take down every
// session that reads the row. Whatever is done to a message, applying it is an
// error, or leaves values that can be read, sorted, hashed and sent.
func TestDamagedMessages(t *testing.T) {
	c := pgtest.NewCluster(t, 1, pgtest.WithMembers(0))
	n := c.Nodes[0]
	n.LoadTestFunctions()
	n.Exec("CREATE EXTENSION hstore", "CREATE TYPE mood AS ENUM ('sad', 'happy')", "CREATE TYPE pair AS (a int, b text)",
		"CREATE DOMAIN positive AS numeric CHECK (VALUE > 0)")
	for _, kind := range damagedColumns {
		t.Run(kind.name, func(t *testing.T) {
			n := n.For(t)
			n.Exec("DROP TABLE IF EXISTS damaged, keyed", "CREATE TABLE damaged ("+kind.columns+")", "ALTER TABLE damaged REPLICA IDENTITY FULL",
				"CREATE TABLE keyed (id int PRIMARY KEY, "+kind.columns+")",
				"INSERT INTO damaged VALUES ("+kind.row+")", "INSERT INTO keyed VALUES (1, "+kind.row+")")
			for _, architecture := range []string{clustertest.OwnArchitecture, "foreign"} {
				relations, changes := messagesOf(n, kind, architecture)
				damageAll(t, n, kind, relations, changes)
			}
		})
	}
	if log := n.LogTail(100000); strings.Contains(log, "terminated by signal") || strings.Contains(log, "PANIC") {
		t.Error("a process crashed")
	}
}

// A damagedTable has columns, a row for them, and which of them can be sorted.
type damagedTable struct{ name, columns, row, sorted string }

// damagedColumns are all forms in which values travel.
var damagedColumns = []damagedTable{
	{"fixed", `b boolean, i2 int2, i4 int4, i8 int8, f float8, n name, t timetz, i interval, u uuid, p point, l lseg, c "char", m macaddr, ti tid, x xid8`,
		`true, 2, 4, 8, 0.5, 'name', '12:34+05', '1 day', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '(1,2)', '[(0,0),(1,1)]', 'c', '08:00:2b:01:02:03', '(1,2)', '7'`,
		"b, i2, i4, i8, f, n, t, i, u, c, m, ti, x"},
	{"texts", "t text, v varchar(20), c char(5), j json, x xml, y bytea", `'ünï', 'v', 'c', '{"a": 1}', '<a/>', '\x00ff'`, "t, v, c, y"},
	{"numbers", "n numeric, n2 numeric, na numeric[], d positive", "12345678901234567890.0123456789, 'NaN', '{1.5,NULL,-1e-20}', 3.25", "n, n2, na, d"},
	{"bits_and_addresses", "b bit(5), vb varbit, ba varbit[], i inet, c cidr, ia inet[]",
		"'10101', '1110001110001', '{1,101,111111111}', '10.1.2.3/8', '2001:db8::/32', '{::1,1.2.3.4}'", "b, vb, ba, i, c, ia"},
	{"shapes", "p path, pg polygon, c circle, pa path[]", "'[(0,0),(1,1),(2,0)]', '((0,0),(1,1),(2,0))', '<(1,2),3>', '{\"((0,0),(1,1))\"}'", ""},
	{"jsonb", "j jsonb, ja jsonb[], k jsonb", `'{"a": [1, null, {"b": 1.50, "c": "ü"}], "d": true, "e": {}}', ARRAY['1'::jsonb, NULL, '[[]]'],
		(SELECT jsonb_object_agg('k' || g, g) FROM generate_series(1, 40) g)`, "j, ja, k"},
	{"arrays", `i int[], m int[], t text[], n name[], ti timetz[], b boolean[], iv int2vector, ov oidvector`,
		`'{1,2,3}', '[0:1][2:3]={{1,NULL},{3,4}}', '{a,NULL,"long long long"}', '{n}', '{12:34+05,01:02-03}', '{t,f}', '1 2 3', '4 5'`, "i, m, t, n, ti, b, ov"},
	{"ranges", "i int4range, i8 int8range, n numrange, ts tstzrange, ra numrange[], im int4multirange, nm nummultirange",
		`'[1,5)', '(,9)', '[1.5,22222222222.5)', '[2001-01-01,)', '{"[1,2.5)",empty}', '{[1,2),[4,5),[7,9)}',
		(SELECT range_agg(numrange(g, g + 0.5)) FROM generate_series(1, 6) g)`, "i, i8, n, ts, ra, im, nm"},
	{"search", "v tsvector, va tsvector[], q tsquery, p jsonpath, s pg_snapshot", `'a:1A fat:2,3 cat', '{a:1,"b c"}', 'a & (b | !c:*)', '$.a[*] ? (@ > 1)', '10:20:10,14'`, "v, va, q"},
	{"as_text", "m mood, ma mood[], p pair, pa pair[], h hstore, r regclass, d positive", `'sad', '{happy,NULL}', '(1,"x y")', '{"(2,z)"}', 'a=>1,b=>NULL', 'damaged', 7`, "m, ma, p, pa, h, d"},
}

// messagesOf returns the messages of each kind of change to the two tables, and
// RELATION before them, without those that begin and end transactions. The
// changes are undone here, so that they can be applied.
func messagesOf(n *pgtest.Node, kind damagedTable, architecture string) (relations []byte, changes [][]byte) {
	clustertest.CreateSlot(n, "damage")
	defer n.Exec("SELECT pg_drop_replication_slot('damage')",
		"INSERT INTO damaged VALUES ("+kind.row+")", "INSERT INTO keyed VALUES (1, "+kind.row+")")
	first, _, _ := strings.Cut(kind.columns, " ")
	n.Exec("INSERT INTO damaged VALUES ("+kind.row+")", "INSERT INTO keyed VALUES (2, "+kind.row+")",
		fmt.Sprintf("UPDATE damaged SET %s = NULL WHERE ctid = (SELECT max(ctid) FROM damaged)", first), "UPDATE keyed SET id = 3 WHERE id = 2",
		"DELETE FROM damaged WHERE ctid = (SELECT max(ctid) FROM damaged)", "DELETE FROM keyed WHERE id = 3",
		fmt.Sprintf("UPDATE keyed SET %s = %[1]s WHERE id = 1", first), "TRUNCATE damaged, keyed")
	var list []string
	for name, value := range clustertest.StreamOptions(map[string]string{"architecture": architecture, "server_version": n.Value("SHOW server_version_num")}) {
		list = append(list, fmt.Sprintf("'%s', '%s'", name, value))
	}
	for _, row := range n.Rows("SELECT encode(data, 'hex') FROM pg_logical_slot_get_binary_changes('damage', NULL, NULL, " + strings.Join(list, ", ") + ")") {
		frame, err := hex.DecodeString(row[0])
		n.Must(err)
		for rest := frame[8:]; len(rest) > 0; {
			length := 5 + binary.BigEndian.Uint32(rest[1:])
			switch rest[0] {
			case 'R':
				relations = append(relations, rest[:length]...)
			case 'I', 'U', 'D', 'T', 'M':
				changes = append(changes, rest[:length])
			}
			rest = rest[length:]
		}
	}
	return relations, changes
}

// damageAll damages each message, applies it, looks at what is there then, and
// rolls back.
func damageAll(t *testing.T, n *pgtest.Node, kind damagedTable, relations []byte, changes [][]byte) {
	random := rand.New(rand.NewPCG(*damageSeed, 0))
	conn := n.Session()
	refused, unreadable, taken := 0, 0, 0
	apply := func(messages []byte) {
		_, err := pgtest.RunOn(conn, fmt.Sprintf("BEGIN; SELECT bdr_test.apply('\\x%x')", messages), 30*time.Second)
		applied := err == nil
		if applied {
			_, err = pgtest.RunOn(conn, lookAt(kind.sorted), 30*time.Second)
		}
		switch {
		case err == nil:
			taken++
		case pgtest.PgError(err) == nil || strings.HasPrefix(pgtest.PgError(err).Code, "57"):
			t.Fatalf("the session ended: %v\nmessages %x", err, messages)
		case applied:
			unreadable++
		default:
			refused++
		}
		_, err = pgtest.RunOn(conn, "ROLLBACK", 30*time.Second)
		n.Must(err)
	}
	for _, change := range changes {
		apply(slices.Concat(relations, change))
	}
	if refused+unreadable > 0 || taken < 8 {
		t.Fatalf("%d of %d sound messages were refused", refused, len(changes))
	}
	for range *damagesMax {
		apply(slices.Concat(damage(random, relations), changes[0]))
	}
	for _, change := range changes {
		for range *damagesMax {
			apply(slices.Concat(relations, damage(random, change)))
		}
		for range *damagesMax / 5 {
			apply(slices.Concat(relations, inPieces(random, damage(random, change))))
			apply(slices.Concat(relations, damage(random, inPieces(random, change))))
		}
	}
	t.Logf("%d damaged messages were refused, %d left values, %d values that are errors", refused, taken-len(changes), unreadable)
}

// inPieces cuts a message into PIECE messages.
func inPieces(random *rand.Rand, message []byte) (pieces []byte) {
	for rest, last := message[min(5, len(message)):], false; !last; {
		n := random.IntN(len(rest) + 1)
		last = n == len(rest) || random.IntN(10) == 0
		piece := append([]byte{'P', 0, 0, 0, 0, message[0], 0}, rest[:n]...)
		if last {
			piece[6] = 1
		}
		binary.BigEndian.PutUint32(piece[1:], uint32(len(piece)-5))
		pieces, rest = append(pieces, piece...), rest[n:]
	}
	return pieces
}

// lookAt makes the server's functions go through every value.
func lookAt(sorted string) string {
	sql := "SELECT count(one::text), count(two::text) FROM damaged one, keyed two; COPY damaged TO STDOUT"
	if sorted != "" {
		sql += fmt.Sprintf("; SELECT count(*) OVER (ORDER BY %s) FROM (TABLE damaged UNION ALL TABLE damaged) both_times", sorted)
	}
	return sql
}

// damage returns a message with one or two things wrong; its length mostly
// fits, or little else would be reached.
func damage(random *rand.Rand, message []byte) []byte {
	b := slices.Clone(message)
	for range 1 + random.IntN(2) {
		at := random.IntN(len(b))
		switch random.IntN(8) {
		case 0, 1, 2:
			b[at] ^= 1 << random.IntN(8)
		case 3:
			b[at] = byte(random.Uint32())
		case 4:
			b[at] = "nufsla\x00\xff"[random.IntN(8)]
		case 5:
			word := make([]byte, 4)
			order := []binary.ByteOrder{binary.BigEndian, binary.LittleEndian}[random.IntN(2)]
			order.PutUint32(word, clustertest.Extremes[random.IntN(len(clustertest.Extremes))]<<(2*random.IntN(2)))
			copy(b[at:], word)
		case 6:
			b = slices.Delete(b, at, min(at+1+random.IntN(8), len(b)))
		case 7:
			b = slices.Insert(b, at, b[random.IntN(len(b)):]...)
		}
		if len(b) < 5 {
			return b
		}
	}
	if random.IntN(20) > 0 && b[0] != 'R' {
		binary.BigEndian.PutUint32(b[1:], uint32(len(b)-5))
	}
	return b
}

// TestDamagedFramesInFlight exists because the whole path has to hold: damage
// on the way is found by the checksum before anything believes the frame, and
// what a sender damaged itself ends one writer at most. The stream starts again
// each time and nothing is lost, applied twice, left running or stuck.
func TestDamagedFramesInFlight(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithProxies(), pgtest.WithSettings(map[string]string{
		"bdr.min_worker_backoff_delay": "10ms", "bdr.max_worker_backoff_delay": "10ms"}))
	a, b := c.Nodes[0], c.Nodes[1]
	c.ExecAll("CREATE TABLE kept (id int PRIMARY KEY, v text)", "CREATE TABLE spoiled (id int PRIMARY KEY, t text, j jsonb, a int[], n numeric)")
	a.Exec("INSERT INTO spoiled SELECT g, 'text', '{\"a\": [1, 2.5]}', '{1,NULL}', 1.5 FROM generate_series(1, 100) g")
	c.RequireConverged()
	processes := len(b.Processes())
	manager := b.ProcessesTitled(clustertest.ManagerTitle)[0].PID

	link := c.Link(b, a)
	spoiler := &frameSpoiler{random: rand.New(rand.NewPCG(*damageSeed, 1)), left: 40}
	link.Change(spoiler.spoil)
	a.Exec("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
	i := 0
	pgtest.Eventually(t, clustertest.ResumeLimit, "all damages were done", func() (bool, string) {
		a.Exec(fmt.Sprintf("INSERT INTO kept VALUES (%d, 'v')", i), fmt.Sprintf("UPDATE spoiled SET n = n + 1, t = t || 'x' WHERE id = %d", 50+i%50),
			fmt.Sprintf("INSERT INTO spoiled VALUES (%d, 'new', '[]', '{}', 0)", 1000+i), fmt.Sprintf("DELETE FROM spoiled WHERE id = %d", i))
		i++
		left := spoiler.remaining()
		return left == 0, fmt.Sprint(left, " are left")
	})
	// damage that looks sound is in this table only; it also stops changes of it
	a.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM pg_replication_slots WHERE active", "1")
	link.Heal()
	a.Exec("TRUNCATE spoiled")
	c.RequireConverged()
	t.Logf("%d frames were damaged in flight, %d by a sender", spoiler.inFlight, spoiler.bySender)
	if errors := b.Value("SELECT nerror FROM bdr.stat_subscription"); errors == "0" {
		t.Error("no damage was noticed")
	}
	if got := b.ProcessesTitled(clustertest.ManagerTitle); len(got) != 1 || got[0].PID != manager {
		t.Errorf("the manager is another one: %v", got)
	}
	pgtest.Eventually(t, clustertest.ResumeLimit, "no process is left over", func() (bool, string) {
		now := b.Processes()
		return len(now) <= processes && len(b.ProcessesTitled(clustertest.WriterTitle)) == 1, fmt.Sprint(now)
	})
	for _, n := range c.Nodes {
		if n.LogContains("terminated by signal") || n.LogContains("PANIC") {
			t.Errorf("%s: a process crashed", n.Name)
		}
	}
}

// A frameSpoiler damages frames that change the table spoiled: every other one
// as a network would, and the rest as a sender that is not right, which then
// puts the checksum over it.
type frameSpoiler struct {
	mu                 sync.Mutex
	random             *rand.Rand
	left               int
	relid              uint32 // of the table spoiled, in the stream at hand
	inFlight, bySender int
}

func (s *frameSpoiler) remaining() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left
}

func (s *frameSpoiler) spoil(copyData []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	const header = 1 + 3*8
	if copyData[0] != 'w' || s.left == 0 {
		return copyData
	}
	frame := copyData[header:]
	rows := s.rowMessages(frame)
	if len(rows) == 0 {
		return copyData
	}
	s.left--
	if s.left%2 == 0 {
		s.inFlight++
		frame[s.random.IntN(len(frame))] ^= 1 << s.random.IntN(8)
		return copyData
	}
	s.bySender++
	row := rows[s.random.IntN(len(rows))]
	out := slices.Concat(copyData[:header], frame[:row[0]], damage(s.random, frame[row[0]:row[1]]), frame[row[1]:])
	binary.BigEndian.PutUint32(out[header+4:], crc32.Checksum(out[header+8:], clustertest.Castagnoli))
	return out
}

// rowMessages finds what changes the table spoiled. A change of the table kept
// must not be spoiled: nobody would notice another text in it.
func (s *frameSpoiler) rowMessages(frame []byte) (places [][2]int) {
	for at := 8; at < len(frame); {
		end := at + 5 + int(binary.BigEndian.Uint32(frame[at+1:]))
		relid := binary.BigEndian.Uint32(frame[at+5:])
		switch frame[at] {
		case 'R':
			if bytes.Contains(frame[at:end], []byte("spoiled")) {
				s.relid = relid
				places = append(places, [2]int{at, end})
			}
		case 'I', 'U', 'D':
			if relid == s.relid {
				places = append(places, [2]int{at, end})
			}
		}
		at = end
	}
	return places
}
