package apply

import (
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// How many values are made by hand of each value of each type.
var valuesMax = flag.Int("values", 40, "how many values are made by hand of each sound one")

// TestHandMadeValues exists because what a peer sends is not believed. It takes
// values as they travel, changes them by hand in many ways, and has them
// applied. Whatever was taken must be a value of its type: it can be shown,
// sent, compared, indexed and worked with, without a crash, a failed assertion
// or an error that no value of the type can make.
//
// BDR_SEED makes other values.
func TestHandMadeValues(t *testing.T) {
	handMadeValues(t, clustertest.SeedOr(10), *valuesMax)
}

func handMadeValues(t *testing.T, seed uint64, count int) {
	t.Helper()
	t.Logf("BDR_SEED=%d", seed)
	c := pgtest.NewCluster(t, 1, pgtest.WithMembers(0))
	c.Nodes[0].LoadTestFunctions()
	c.Nodes[0].Exec("CREATE TYPE mood AS ENUM ('sad', 'happy')", "CREATE TYPE pair AS (a int, b text)",
		"CREATE FUNCTION not_always() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'what is true of every value is not'; END $$")
	for i, made := range madeTypes {
		t.Run(made.title(), func(t *testing.T) {
			hand := &valueMaker{t: t, n: c.Nodes[0].For(t), madeType: made, random: rand.New(rand.NewPCG(seed, uint64(i)))}
			for _, architecture := range []string{clustertest.OwnArchitecture, "foreign"} {
				hand.make(architecture, count)
			}
		})
	}
	if log := c.Nodes[0].LogTail(100000); strings.Contains(log, "terminated by signal") || strings.Contains(log, "PANIC") {
		t.Error("a process crashed")
	}
}

// A madeType is a type, values of it as text, and what is done with a value v;
// what begins with "always" is true of every value. w is a sound value. Indexes are access methods, with an operator class where
// there are several.
type madeType struct {
	name    string
	values  []string
	does    []string
	indexes []string
}

func (m madeType) title() string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(` "(),`, r) {
			return '_'
		}
		return r
	}, m.name)
}

var (
	ordered     = []string{"btree", "hash"}
	inRanges    = []string{"btree", "hash", "gist", "brin"}
	textDoes    = []string{"v || w", "length(v)", "upper(v::text)", "v::text LIKE '%a_'", "substr(v::text, 2, 2)", "reverse(v::text)", "md5(v::text)", "regexp_replace(v::text, '.', 'x')", "to_tsvector('english', v::text)"}
	arrayDoes   = []string{"v || w", "w || v", "v[1:2]", "array_append(v, NULL)", "array_remove(v, v[1])", "array_positions(v, v[1])", "cardinality(v)", "array_dims(v)", "v @> w", "(SELECT count(u::text) FROM unnest(v) u)", "array_to_json(v)", "array_to_string(v, ',')", "trim_array(v, 0)"}
	rangeDoes   = []string{"lower(v)", "upper(v)", "isempty(v)", "v && w", "v @> w", "range_merge(v, w)", "v -|- w"}
	rangesDoes  = []string{"v + w", "v * w", "v - w", "range_merge(v)", "(SELECT count(lower(u)) FROM unnest(v) u)", "v @> w"}
	numericDoes = []string{"-v", "abs(v)", "sign(v)", "v < 1", "v + 1", "v * v", "v - v", "trunc(v, 2)", "round(v, 3)", "scale(v)", "min_scale(v)", "trim_scale(v)", "v::float8", "to_char(v, '999.9')", "width_bucket(v, 0, 10, 5)", "hash_numeric(v)"}
)

// madeTypes are the types that may travel in internal form, and those with an
// inside that travel in another one.
var madeTypes = []madeType{
	{"boolean", []string{"true"}, []string{"NOT v", "v::int", "v::text"}, ordered},
	{"int2", []string{"-2"}, []string{"v::int8 + 1"}, ordered},
	{"int4", []string{"7"}, []string{"v::int8 + 1"}, ordered},
	{"int8", []string{"9"}, []string{"v::numeric + 1"}, ordered},
	{"oid", []string{"7"}, []string{"v::int8"}, ordered},
	{"float4", []string{"0.1"}, []string{"v::float8", "v = 'NaN'"}, ordered},
	{"float8", []string{"0.1"}, []string{"v = 'NaN'", "v < 0"}, ordered},
	{"money", []string{"1.50"}, []string{"v::numeric"}, []string{"btree"}},
	{`"char"`, []string{"q"}, []string{"ascii(v::text)"}, []string{"btree"}},
	{"name", []string{"a name", strings.Repeat("n", 63)}, []string{"v::text", "length(v)", "v || w", "v LIKE 'a%'", "quote_ident(v)"}, ordered},
	{"uuid", []string{"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}, nil, ordered},
	{"macaddr", []string{"08:00:2b:01:02:03"}, []string{"trunc(v)", "v::macaddr8"}, ordered},
	{"macaddr8", []string{"08:00:2b:01:02:03:04:05"}, []string{"trunc(v)", "~v"}, ordered},
	{"xid8", []string{"7"}, nil, ordered},
	{"pg_lsn", []string{"16/B374D848"}, []string{"v - '0/0'::pg_lsn"}, ordered},
	{"tid", []string{"(1,2)"}, []string{"v = w"}, ordered},
	{"date", []string{"2000-02-29", "infinity"}, []string{"isfinite(v)", "extract(year FROM v)", "extract(doy FROM v)", "v - w", "to_char(v, 'YYYY-MM-DD BC Day')", "v::timestamp", "v::timestamptz", "date_bin('1 day', v, '2001-01-01')", "to_json(v)"}, ordered},
	{"time", []string{"12:34:56.789012", "24:00"}, []string{"extract(hour FROM v)", "v + interval '1 hour'", "v::interval", "v::timetz", "to_char(v, 'HH24:MI:SS.US')", "to_json(v)"}, ordered},
	{"time(3)", []string{"12:34:56.789"}, []string{"always v::time(3) = v"}, ordered},
	{"timetz", []string{"12:34+05:30"}, []string{"extract(timezone FROM v)", "v + interval '1 hour'", "v AT TIME ZONE 'UTC'", "v::time", "v < w", "to_json(v)"}, ordered},
	{"timestamp", []string{"2026-02-03 04:05:06.7", "-infinity"}, []string{"isfinite(v)", "extract(century FROM v)", "to_char(v, 'YYYY-MM-DD HH24:MI:SS.US Day')", "date_trunc('month', v)", "v::date", "v::time", "to_json(v)", "age(v, v)"}, ordered},
	{"timestamp(0)", []string{"2026-02-03 04:05:06"}, []string{"always v::timestamp(0) = v"}, ordered},
	{"timestamptz", []string{"2026-02-03 04:05:06.7+09"}, []string{"isfinite(v)", "extract(epoch FROM v)", "date_trunc('month', v)", "v AT TIME ZONE 'UTC'", "to_json(v)", "to_char(v, 'TZ OF J')"}, ordered},
	{"interval", []string{"1 year -2 days 3.5 s", "0"}, []string{"extract(epoch FROM v)", "v < w", "to_char(v, 'YYYY HH24')", "justify_hours(v)"}, ordered},
	{"interval day to second(0)", []string{"1 day 02:03:04"}, []string{"v < w"}, ordered},
	{"text", []string{"", "a", "ünï ☃ 𝄞", strings.Repeat("wide ", 40)}, textDoes, append([]string{"gin (to_tsvector('simple', v))", "btree (v text_pattern_ops)"}, ordered...)},
	{"varchar", []string{"abc", "ü☃"}, textDoes, ordered},
	{"varchar(10)", []string{"abc", "ü☃", "0123456789"}, append([]string{"always length(v) <= 10"}, textDoes...), ordered},
	{"char(5)", []string{"ab", "ü☃", "12345"}, append([]string{"always octet_length(v) >= 5 AND length(v::bpchar) <= 5"}, textDoes...), ordered},
	{"bpchar", []string{"ab  "}, textDoes, ordered},
	{"refcursor", []string{"c"}, []string{"v::text"}, nil},
	{"bytea", []string{`\x`, `\x00ff5c`}, []string{"md5(v)", "v || w", "encode(v, 'base64')"}, ordered},
	{"json", []string{`{"a": 1,  "b": [1, null, "ü"]}`, "null", `"\ud834\udd1e"`}, []string{"v->'a'", "v #> '{b,1}'", "json_typeof(v)", "json_strip_nulls(v)", "(v::text)::json"}, nil},
	{"xml", []string{"<a>b</a>", "no element", `<?xml version="1.0"?><ü>☃</ü>`}, []string{"xmlconcat(v, v)", "xpath('//a', xmlelement(name r, v))", "v IS DOCUMENT"}, nil},
	{"numeric", []string{"0", "1.50", "-12345678901234567890.0123456789", "NaN", "-Infinity", "1e-300", "1e300"}, numericDoes, ordered},
	{"numeric(8,2)", []string{"5.5", "-123456.78"}, append([]string{"always abs(v) < 1000000 AND scale(v) = 2 OR v = 'NaN'"}, numericDoes...), ordered},
	{"inet", []string{"10.1.2.3/8", "::1", "2001:db8::/32"}, []string{"host(v)", "text(v)", "abbrev(v)", "broadcast(v)", "network(v)", "netmask(v)", "~v", "v << w", "inet_merge(v, v)", "set_masklen(v, 1)"}, []string{"btree", "hash", "gist (v inet_ops)", "spgist", "brin"}},
	{"cidr", []string{"10.0.0.0/8", "2001:db8::/32"}, []string{"abbrev(v)", "broadcast(v)", "v << w", "always network(v) = v", "set_masklen(v, 1)"}, []string{"btree", "hash", "spgist"}},
	{"jsonb", []string{`{"a": [1, null, {"b": 1.50, "c": "ü"}], "d": true, "e": {}}`, "1.50", `"x"`, "[]", `{"k1":1,"k2":2,"k3":[[]],"k4":"four"}`}, []string{"jsonb_pretty(v)", "v || w", "v - 'a'", "v #- '{a,0}'", "jsonb_set(jsonb_build_array(v), '{0}', v)", "v @> w", "v ? 'd'", "v->'a'",
		"(SELECT count(p::text) FROM jsonb_path_query(v, '$.**') p)", "jsonb_typeof(v)", "jsonb_strip_nulls(v)", "to_tsvector('simple', v)", "jsonb_path_query_array(v, '$[*] ? (@ > 0)')", "always (v::text)::jsonb = v", "v::json"},
		[]string{"btree", "hash", "gin", "gin (v jsonb_path_ops)"}},
	{"int[]", []string{"{1,2,3}", "{}", "[0:1][2:3]={{1,NULL},{3,4}}"}, arrayDoes, append([]string{"gin"}, ordered...)},
	{"int8[]", []string{"{1,NULL,3}"}, arrayDoes, append([]string{"gin"}, ordered...)},
	{"text[]", []string{`{a,NULL,"long long long"}`, "{ü,☃}"}, arrayDoes, append([]string{"gin"}, ordered...)},
	{"varchar(5)[]", []string{"{abc,NULL}"}, append([]string{"always v::varchar(5)[] = v"}, arrayDoes...), ordered},
	{"numeric[]", []string{"{1.5,NULL,-1e-20}"}, arrayDoes, append([]string{"gin"}, ordered...)},
	{"bool[]", []string{"{t,f}"}, arrayDoes, ordered},
	{"date[]", []string{"{2000-01-01,infinity}"}, arrayDoes, ordered},
	{"timetz[]", []string{"{12:34+05,01:02-03}"}, arrayDoes, ordered},
	{"timestamptz[]", []string{"{2000-01-01}"}, arrayDoes, ordered},
	{"name[]", []string{"{n,NULL}"}, arrayDoes, ordered},
	{"jsonb[]", []string{`{1,NULL,"[[]]","{\"a\": 1}"}`}, []string{"v || w", "array_to_json(v)", "(SELECT count(u::text) FROM unnest(v) u)"}, ordered},
	{"json[]", []string{`{1,NULL,"[[]]"}`}, []string{"v || w", "array_to_json(v)"}, nil},
	{"inet[]", []string{"{::1,1.2.3.4}"}, arrayDoes, ordered},
	{"uuid[]", []string{"{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"}, arrayDoes, ordered},
	{"interval[]", []string{"{1 day}"}, arrayDoes, nil},

	// below: not in internal form
	{"bit(5)", []string{"10101"}, []string{"v || w", "v & w", "~v", "v << 1", "length(v)", "get_bit(v, 1)"}, []string{"btree"}},
	{"varbit(20)", []string{"1110001110001", ""}, []string{"v || w", "~v", "v << 1", "length(v)", "bit_count(v)"}, []string{"btree"}},
	{"varbit[]", []string{"{1,101,111111111}"}, arrayDoes, []string{"btree"}},
	{"tsvector", []string{"a:1A fat:2,3B cat", "a b c d", ""}, []string{"v || v", "v || w", "setweight(v, 'A')", "ts_delete(v, 'a')", "strip(v)", "length(v)", "v @@ 'a & !b'", "tsvector_to_array(v)", "ts_rank(v, 'a | cat')", "ts_filter(v, '{a}')",
		"(SELECT count(lexeme) FROM unnest(v))"}, []string{"btree", "gin", "gist"}},
	{"tsvector[]", []string{`{a:1,"b c"}`}, []string{"v || w", "v[1] || v[1]"}, []string{"btree"}},
	{"tsquery", []string{"a & (b | !c:*)"}, []string{"v && w", "!!v", "numnode(v)", "querytree(v)", "ts_rewrite(v, 'a', 'b')", "v <-> w", "'a b'::tsvector @@ v"}, []string{"btree", "gist"}},
	{"jsonpath", []string{"$.a[*] ? (@ > 1)"}, []string{"jsonb_path_query_array('[1]', v, '{}', true)"}, nil},
	{"pg_snapshot", []string{"10:20:10,14"}, []string{"pg_snapshot_xmin(v)", "pg_visible_in_snapshot('11', v)"}, nil},
	{"int4range", []string{"[1,5)", "empty", "(,3)"}, rangeDoes, inRanges[:3]},
	{"numrange", []string{"[1.5,22222222222.5)", "(,)"}, rangeDoes, inRanges[:3]},
	{"tstzrange", []string{"[2001-01-01,)"}, rangeDoes, inRanges[:3]},
	{"numrange[]", []string{`{"[1,2.5)",empty}`}, []string{"v || w", "(SELECT count(u::text) FROM unnest(v) u)"}, ordered},
	{"int4multirange", []string{"{[1,2),[4,5),[7,9)}"}, rangesDoes, inRanges[:3]},
	{"nummultirange", []string{"{[1,2),[4,5),[7,9)}"}, rangesDoes, inRanges[:3]},
	{"point", []string{"(1,2)"}, []string{"v + point(1,1)", "v <-> w", "circle(v, 1)"}, []string{"gist"}},
	{"lseg", []string{"[(0,0),(1,1)]"}, []string{"v ?# w", "length(v)"}, nil},
	{"line", []string{"{1,2,3}"}, []string{"v ?|| w"}, nil},
	{"box", []string{"((0,0),(1,1))"}, []string{"area(v)", "v && w", "polygon(v)"}, []string{"gist"}},
	{"circle", []string{"<(1,2),3>"}, []string{"area(v)", "v && w", "polygon(4, circle(center(v), 1))"}, []string{"gist"}},
	{"path", []string{"[(0,0),(1,1),(2,0)]", "((0,0))"}, []string{"npoints(v)", "isopen(v)", "pclose(v)", "length(v)", "v + w"}, nil},
	{"polygon", []string{"((0,0),(1,1),(2,0))"}, []string{"npoints(v)", "v && w", "v @> w", "box(v)", "v ~= w", "path(v)"}, []string{"gist"}},
	{"int2vector", []string{"1 2 3"}, []string{"v[0]", "v::int2[]", "array_dims(v)"}, nil},
	{"oidvector", []string{"4 5"}, []string{"v[0]", "v::oid[]"}, ordered},
	{"mood", []string{"sad"}, []string{"enum_range(v)"}, ordered},
	{"pair", []string{`(1,"x y")`}, []string{"(v).b"}, []string{"btree"}},
	{"regclass", []string{"pg_class"}, []string{"v::oid"}, []string{"btree"}},
}

// A valueMaker makes values of one type.
type valueMaker struct {
	madeType
	t      *testing.T
	n      *pgtest.Node
	random *rand.Rand
	conn   *pgconn.PgConn

	format                  byte
	refused, taken, limited int
	failures                map[string]int
}

func (m *valueMaker) make(architecture string, count int) {
	relation, sent := m.sent(architecture)
	m.format, m.refused, m.taken, m.limited, m.failures = sent[0].format, 0, 0, 0, map[string]int{}
	m.connect()
	for _, value := range sent {
		m.apply(relation, value)
	}
	if m.taken != len(sent) || len(m.failures) > 0 {
		m.t.Fatalf("%d of %d sound values were taken: %v", m.taken, len(sent), m.failures)
	}
	for _, value := range sent {
		for range count {
			m.apply(relation, m.changed(value))
		}
	}
	_, err := pgtest.RunOn(m.conn, "ROLLBACK", 10*time.Second)
	m.n.Must(err)
	m.t.Logf("form %c: of %d values %d were refused, %d taken; of these %d at a limit of an operation", sent[0].format, m.refused+m.taken, m.refused, m.taken, m.limited)
	for failure, times := range m.failures {
		m.t.Errorf("%d values: %s", times, failure)
	}
}

func (m *valueMaker) connect() {
	pgtest.Eventually(m.t, clustertest.ResumeLimit, "the server answers", func() (bool, string) {
		var err error
		m.conn, err = m.n.Connect(m.n.Database)
		return err == nil, fmt.Sprint(err)
	})
	conn := m.conn
	m.t.Cleanup(func() { conn.Close(m.t.Context()) })
	_, err := pgtest.RunOn(m.conn, "SET client_min_messages = error", 10*time.Second)
	m.n.Must(err)
}

// A sentValue is an inserted row that ends with the value.
type sentValue struct {
	head       []byte // of the message, until the value
	format     byte
	kind       byte
	header     bool // a varlena's header is before the bytes
	bytes      []byte
	lastLength int
}

// sent has the table made, and its sound values as they travel.
func (m *valueMaker) sent(architecture string) (relation []byte, values []sentValue) {
	m.n.Exec("DROP TABLE IF EXISTS made", "CREATE TABLE made (id int PRIMARY KEY, v "+m.name+")")
	m.n.Exec("DROP TABLE IF EXISTS indexed", "CREATE TABLE indexed (LIKE made)")
	for _, index := range m.indexes {
		if !strings.Contains(index, "(") {
			index += " (v)"
		}
		if strings.HasPrefix(index, "gin") {
			index += " WITH (fastupdate = off)"
		}
		m.n.Exec("CREATE INDEX ON indexed USING " + index)
	}
	clustertest.CreateSlot(m.n, "values")
	defer m.n.Exec("SELECT pg_drop_replication_slot('values')")
	for i, value := range m.values {
		m.n.Exec(fmt.Sprintf("INSERT INTO made VALUES (%d, '%s')", i+1, strings.ReplaceAll(value, "'", "''")))
	}
	defer m.n.Exec("DELETE FROM made WHERE id > 1", "UPDATE made SET id = 100")
	for _, message := range sentMessages(m.n, "values", architecture) {
		switch message[0] {
		case 'R':
			relation = message
		case 'I':
			values = append(values, m.split(relation, message))
		}
	}
	if len(values) != len(m.values) {
		m.t.Fatalf("%d values were sent", len(values))
	}
	return relation, values
}

func sentMessages(n *pgtest.Node, slot, architecture string) (messages [][]byte) {
	var list []string
	for name, value := range clustertest.StreamOptions(map[string]string{"architecture": architecture, "server_version": n.Value("SHOW server_version_num")}) {
		list = append(list, fmt.Sprintf("'%s', '%s'", name, value))
	}
	for _, row := range n.Rows(fmt.Sprintf("SELECT encode(data, 'hex') FROM pg_logical_slot_get_binary_changes('%s', NULL, NULL, %s)", slot, strings.Join(list, ", "))) {
		frame, err := hex.DecodeString(row[0])
		n.Must(err)
		for rest := frame[8:]; len(rest) > 0; {
			length := 5 + binary.BigEndian.Uint32(rest[1:])
			messages = append(messages, rest[:length])
			rest = rest[length:]
		}
	}
	return messages
}

// describedV is where the column v is described: flags, format, oid, typmod, attlen, name.
func describedV(relation []byte) int { return bytesLast(relation, []byte("\x00\x01v")) - 12 }

func bytesLast(b, what []byte) int { return strings.LastIndex(string(b), string(what)) }

func (m *valueMaker) split(relation, message []byte) sentValue {
	const tuple = 5 + 4 // behind the message's header and the relation
	at := tuple + 2
	if message[at] == 's' {
		at++
	}
	at += 1 + 4
	v := describedV(relation)
	value := sentValue{head: message[:at], kind: message[at], format: relation[v+1]}
	at++
	switch value.kind {
	case 's':
		at++
	case 'l':
		at += 4
	}
	value.bytes = message[at:]
	value.header = value.format == 'i' && value.kind != 'f'
	if value.header {
		value.bytes = clustertest.WithoutHeader(value.bytes)
	}
	return value
}

// message puts the row together again.
func (v sentValue) message(random *rand.Rand) []byte {
	b := v.bytes
	if v.header {
		if len(b) < 127 && len(b) > 0 && random.IntN(2) == 0 {
			b = slices.Concat([]byte{byte(len(b)+1)<<1 | 1}, b)
		} else {
			b = slices.Concat(binary.LittleEndian.AppendUint32(nil, uint32(len(b)+4)<<2), b)
		}
	}
	message := append(slices.Clone(v.head), v.kind)
	switch {
	case v.kind != 'f' && len(b) > 255:
		message[len(message)-1] = 'l'
		message = binary.BigEndian.AppendUint32(message, uint32(len(b)))
	case v.kind == 's':
		message = append(message, byte(len(b)))
	case v.kind == 'l':
		message = binary.BigEndian.AppendUint32(message, uint32(len(b)))
	}
	message = append(message, b...)
	binary.BigEndian.PutUint32(message[1:], uint32(len(message)-5))
	return message
}

// apply has one value applied, looks at it, and rolls back.
func (m *valueMaker) apply(relation []byte, value sentValue) {
	messages := slices.Concat(relation, value.message(m.random))
	_, err := pgtest.RunOn(m.conn, fmt.Sprintf("ROLLBACK; BEGIN; SELECT bdr_test.apply('\\x%x')", messages), 30*time.Second)
	if err != nil {
		m.refused++
		m.judge("was refused by", err, messages)
		return
	}
	m.taken++
	for _, sql := range m.looks() {
		if _, err = pgtest.RunOn(m.conn, sql, 60*time.Second); err != nil {
			m.judge(sql+" of what was taken:", err, messages)
			return
		}
	}
}

// looks goes through all functions that a value of any type has, those of this
// type, and its indexes.
func (m *valueMaker) looks() []string {
	does, always := m.expressions()
	looks := []string{fmt.Sprintf("SELECT CASE WHEN NOT (%s) THEN not_always() END FROM made", strings.Join(always, " AND ")),
		fmt.Sprintf("SELECT %s FROM made, LATERAL (SELECT v AS w FROM made WHERE id = 100) sound", strings.Join(does, ", ")),
		"COPY made TO STDOUT"}
	if m.name != "regclass" && m.name != "pair" {
		looks = append(looks, "COPY made TO STDOUT (FORMAT binary)")
	}
	if len(m.indexes) > 0 {
		looks = append(looks, "INSERT INTO indexed TABLE made")
	}
	if slices.Contains(m.indexes, "btree") {
		looks = append(looks, "SELECT count(*) OVER (ORDER BY v) FROM (SELECT v FROM made UNION ALL (SELECT DISTINCT v FROM made)) both_times")
	}
	return looks
}

// expressions are what can be done with every value, and what is true of it: an
// error in that is never one of its limits.
func (m *valueMaker) expressions() (does, always []string) {
	for _, do := range append([]string{"v::text", "row_to_json(made)", "pg_column_size(v)"}, m.does...) {
		if truth, found := strings.CutPrefix(do, "always "); found {
			always = append(always, "("+truth+")")
		} else {
			does = append(does, "("+do+") IS NULL")
		}
	}
	if !slices.Contains(notReadAgain, m.name) {
		always = append(always, fmt.Sprintf("((v::text)::%s IS NULL) = (v IS NULL)", m.name))
	}
	if m.name != `"char"` {
		always = append(always, "convert_from(convert_to(v::text, 'UTF8'), 'UTF8') = v::text")
	}
	return does, append(always, "true")
}

// notReadAgain are types whose text is not always one that they take, by their
// nature: an interval may be shown beyond what is read, and tsvectorrecv takes
// an empty lexeme.
var notReadAgain = []string{"interval", "interval[]", `"char"`, "jsonpath", "tsvector", "tsvector[]"}

// limits are errors that sound values of a type make too.
var limits = []string{
	"22003", "22008", "2201G", "2202E", "22023", "0A000", // what an operation does not do
	"54000",          // too long for an index
	"22P02", "22P05", // escapes in json are looked at when they are used
	"2200M", // a declaration or a doctype of XML inside another element
}

// judge takes an error for what it is. Being refused is an error of the peer or
// of the value, never of the server.
func (m *valueMaker) judge(what string, err error, messages []byte) {
	found := pgtest.PgError(err)
	if found == nil || strings.HasPrefix(found.Code, "57") {
		m.failures[fmt.Sprintf("%s the session's end: %v\nmessages %x", what, err, messages)]++
		m.connect()
		return
	}
	refused := strings.HasPrefix(what, "was refused")
	strict := strings.HasPrefix(what, "SELECT CASE")
	switch {
	case refused && (found.Code == "08P01" || strings.HasPrefix(found.Code, "22")):
	case refused && m.format != 'i' && !slices.Contains([]string{"53", "58"}, found.Code[:2]) && found.Code != "XX001": // a receive function has words of its own
	case !refused && !strict && slices.Contains(limits, found.Code):
		m.limited++
	default:
		// alike are those that differ in the value that is named
		message, _, _ := strings.Cut(found.Message, ": ")
		key := fmt.Sprintf("%s %s: %s", what, found.Code, message)
		if m.failures[key] == 0 {
			m.t.Logf("%s\nmessages %x", found.Message, messages)
		}
		m.failures[key]++
	}
}

// oddBytes are bytes that texts, counts and flags trip over.
var oddBytes = []byte{0, 1, 0x20, 0x41, 0x61, 0x7f, 0x80, 0xc0, 0xed, 0xf8, 0xfe, 0xff}

// changed returns the value with one to three things wrong.
func (m *valueMaker) changed(value sentValue) sentValue {
	b := slices.Clone(value.bytes)
	for range 1 + m.random.IntN(3) {
		b = changeBytes(m.random, b)
	}
	if value.kind == 'f' {
		b = append(b, make([]byte, len(value.bytes))...)[:len(value.bytes)]
	}
	value.bytes = b
	// as if the header were part of the value
	value.header = value.header && m.random.IntN(30) > 0
	return value
}

func changeBytes(random *rand.Rand, b []byte) []byte {
	if len(b) == 0 {
		return append(b, oddBytes[random.IntN(len(oddBytes))])
	}
	at := random.IntN(len(b))
	order := []binary.AppendByteOrder{binary.BigEndian, binary.LittleEndian}[random.IntN(2)]
	switch random.IntN(10) {
	case 0, 1:
		b[at] ^= 1 << random.IntN(8)
	case 2:
		b[at] = oddBytes[random.IntN(len(oddBytes))]
	case 3:
		b = slices.Delete(b, at, min(at+1+random.IntN(8), len(b)))
	case 4:
		b = slices.Insert(b, at, b[random.IntN(at+1):min(at+1+random.IntN(12), len(b))]...)
	case 5: // a whole number
		return putAligned(b, at, order.AppendUint32(nil, clustertest.Extremes[random.IntN(len(clustertest.Extremes))]))
	case 6: // a digit or a length
		return putAligned(b, at, order.AppendUint16(nil, uint16([]int{0, 1, 9999, 10000, 0x3fff, 0x8000, 0xffff}[random.IntN(7)])))
	case 7: // a time
		return putAligned(b, at, order.AppendUint64(nil, uint64(clustertest.Extremes[random.IntN(len(clustertest.Extremes))])<<(8*random.IntN(5))))
	case 8: // two entries change places
		from, to := at&^3, random.IntN(len(b))&^3
		if max(from, to)+4 <= len(b) {
			for i := range 4 {
				b[from+i], b[to+i] = b[to+i], b[from+i]
			}
		}
	case 9: // an entry twice
		from, to := at&^3, random.IntN(len(b))&^3
		if max(from, to)+4 <= len(b) {
			copy(b[to:to+4], b[from:from+4])
		}
	}
	return b
}

func putAligned(b []byte, at int, what []byte) []byte {
	copy(b[at-at%len(what):], what)
	return b
}
