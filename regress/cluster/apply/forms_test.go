package apply

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// internalTypes are the types that are taken in internal form, as this test
// knows them: extension/base/form.c has the list that counts.
var internalTypes = strings.Fields(`bool int2 int4 int8 float4 float8 numeric money oid text varchar bpchar name char refcursor bytea uuid
	date time timetz timestamp timestamptz interval jsonb json xml inet cidr macaddr macaddr8`)

// textTypes hold OIDs, or cannot be received.
var textTypes = strings.Fields(`regproc regprocedure regoper regoperator regclass regcollation regtype regrole regnamespace regconfig regdictionary
	aclitem gtsvector pg_node_tree pg_ndistinct pg_dependencies pg_mcv_list pg_brin_bloom_summary pg_brin_minmax_multi_summary int2vector oidvector tsquery pg_snapshot txid_snapshot`)

// TestFormsOfPeers exists because the sender does not decide in which form a
// value is taken. For each type of the server, arrays and pseudo-types too, the
// peer says that its values come in internal or in send/recv form; the writer
// takes that for the types of its own list only.
func TestFormsOfPeers(t *testing.T) {
	f := newForger(t)
	f.describe("text")
	internal, binaries := 0, 0
	for _, row := range f.n.Rows(`SELECT t.oid, t.typname, t.typlen, coalesce(e.typname, t.typname), coalesce(e.typtype, t.typtype) FROM pg_type t
		LEFT JOIN pg_type e ON e.typarray = t.oid ORDER BY t.oid`) {
		oid, err := strconv.ParseUint(row[0], 10, 32)
		f.n.Must(err)
		typlen, err := strconv.Atoi(row[2])
		f.n.Must(err)
		builtin := oid < 12000 && slices.Contains([]string{"b", "r", "m"}, row[4])
		mayBeInternal := builtin && slices.Contains(internalTypes, row[3])
		mayBeBinary := builtin && !slices.Contains(textTypes, row[3])
		for form, allowed := range map[byte]bool{'i': mayBeInternal, 'b': mayBeBinary} {
			err := f.apply(lie{form: form, oid: uint32(oid), typmod: -1, attlen: int16(typlen), kind: 'n'})
			found := pgtest.PgError(err)
			switch {
			case allowed && err != nil:
				t.Errorf("%s in form %c: %v", row[1], form, err)
			case !allowed && (found == nil || found.Code != "08P01" || !strings.Contains(found.Detail, `Column "v"`)):
				t.Errorf("%s in form %c: %v", row[1], form, err)
			}
		}
		if mayBeInternal {
			internal++
		}
		if mayBeBinary {
			binaries++
		}
	}
	if internal != 2*len(internalTypes) || binaries < 100 {
		t.Errorf("%d types and arrays may come in internal form, %d in send/recv form", internal, binaries)
	}
}

// A lie is what a peer says about the column v and sends for it.
type lie struct {
	what, column string // what is not so; the column here
	form         byte
	oid          uint32
	typmod       int32
	attlen       int16
	kind         byte
	value        string
	code, stored string // the error, or what becomes of the value
}

// packed has a header of one byte, as short values have.
func packed(payload string) string { return string([]byte{byte(len(payload)+1)<<1 | 1}) + payload }

// twoDecimals is the type modifier of numeric(4,2).
const twoDecimals = 4<<16 + 2 + 4

var lies = []lie{
	{"a longer text", "varchar(5)", 'i', 1043, 9, -1, 's', packed("123456"), "22001", ""},
	{"blanks behind the limit", "varchar(5)", 'i', 1043, 9, -1, 's', packed("12345  "), "", "12345"},
	{"a longer text of a longer column", "varchar(5)", 'i', 1043, 19, -1, 's', packed("123456"), "22001", ""},
	{"a text of 300 bytes", "varchar(5)", 'i', 1043, 9, -1, 'l', "\xc0\x04\x00\x00" + strings.Repeat("x", 300), "22001", ""},
	{"no blanks", "char(5)", 'i', 1042, 9, -1, 's', packed("ab"), "", "ab   "},
	{"a longer char", "char(5)", 'i', 1042, 9, -1, 's', packed("abcdef"), "22001", ""},
	{"a number", "numeric(4,2)", 'i', 1700, twoDecimals, -1, 's', packed("\x00\x81\x0c\x00\xb8\x0b"), "", "12.30"},
	{"a number that is too large", "numeric(4,2)", 'i', 1700, twoDecimals, -1, 's', packed("\x00\x81\x64\x00"), "22003", ""},
	{"an infinite number", "numeric(4,2)", 'i', 1700, twoDecimals, -1, 's', packed("\x00\xd0"), "22003", ""},
	{"more decimals", "numeric(4,2)", 'i', 1700, twoDecimals, -1, 's', packed("\x00\x82\x0c\x00\x80\x0d"), "", "12.35"},
	{"decimals that are not shown", "numeric", 'i', 1700, -1, -1, 's', packed("\x00\x81\x0c\x00\x80\x0d"), "08P01", ""},
	{"a digit of 10000", "numeric", 'i', 1700, -1, -1, 's', packed("\x00\x80\x10\x27"), "08P01", ""},
	{"a more exact time", "timestamp(0)", 'i', 1114, 0, 8, 'f', "\x41\x42\x0f\x00\x00\x00\x00\x00", "", "2000-01-01 00:00:01"},
	{"a time after midnight", "time", 'i', 1083, -1, 8, 'f', "\x00\x00\x00\x00\x00\x00\x00\x01", "08P01", ""},
	{"an array with a type modifier", "varchar(5)[]", 'i', 1015, 9, -1, 'n', "", "08P01", ""},
	{"an array without its type modifier", "varchar(5)[]", 'i', 1015, -1, -1, 's',
		"\x90\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x13\x04\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x30\x00\x00\x0012345678", "22001", ""},
	{"an array of something else", "int8[]", 'i', 1016, -1, -1, 's', "\x70\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x17\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x0012345678", "08P01", ""},
	{"another length", "int4", 'i', 23, -1, 8, 'f', "12345678", "08P01", ""},
	{"a variable length", "int4", 'i', 23, -1, -1, 's', packed("1"), "08P01", ""},
	{"a fixed length", "text", 'i', 25, -1, 8, 'f', "12345678", "08P01", ""},
	{"a type that does not exist", "text", 'i', 9, -1, -1, 's', packed("1"), "08P01", ""},
	{"a type of users", "text", 'b', 20000, -1, -1, 's', "1", "08P01", ""},
	{"a record", "text", 'b', 2249, -1, -1, 's', "\x00\x00\x00\x00", "08P01", ""},
	{"an oid", "regclass", 'b', 2205, -1, 4, 's', "\x00\x00\x04\xeb", "08P01", ""},
	{"a text", "int4", 'i', 25, -1, -1, 's', packed("12"), "", "12"},
	{"a text that is no number", "int4", 'i', 25, -1, -1, 's', packed("x"), "22P02", ""},
	{"bytes that are no text", "text", 'i', 25, -1, -1, 's', packed("a\xff"), "08P01", ""},
	{"bytes that are no text, sent as text", "text", 't', 25, -1, -1, 's', "a\xff", "22021", ""},
	{"bytes that are no text, in send form", "text", 'b', 25, -1, -1, 's', "a\xff", "22021", ""},
	{"a zero byte", "text", 'i', 25, -1, -1, 's', packed("a\x00b"), "08P01", ""},
	{"a zero byte, sent as text", "text", 't', 25, -1, -1, 's', "a\x00b", "08P01", ""},
	{"a zero byte, in send form", "text", 'b', 25, -1, -1, 's', "a\x00b", "22021", ""},
	{"no json", "json", 'i', 114, -1, -1, 's', packed("{"), "08P01", ""},
	{"no xml", "xml", 'i', 142, -1, -1, 's', packed("<a>"), "08P01", ""},
	{"overlapping lexemes", "tsvector", 'i', 3614, -1, -1, 's', "\x60\x00\x00\x00\x02\x00\x00\x00\x0e\x00\x00\x00\x0e\x00\x00\x00abcdefgh", "08P01", ""},
	{"an external value", "text", 'i', 25, -1, -1, 's', "\x01\x12" + strings.Repeat("\x00", 16), "08P01", ""},
	{"a compressed value", "text", 'i', 25, -1, -1, 's', "\x32\x00\x00\x00\x04\x00\x00\x00\x00abc", "08P01", ""},
}

// TestLiesOfPeers exists because what a peer says about a column need not be
// so: the length, the type modifier and the type are this node's own.
func TestLiesOfPeers(t *testing.T) {
	f := newForger(t)
	for _, lie := range lies {
		t.Run(lie.what, func(t *testing.T) {
			f.describe(lie.column)
			err := f.apply(lie)
			switch found := pgtest.PgError(err); {
			case err == nil && lie.code != "":
				t.Errorf("was taken; expected %s", lie.code)
			case err == nil:
				rows, err := pgtest.RunOn(f.conn, "SELECT v FROM forged", 10*time.Second)
				if err != nil || len(rows) != 1 || rows[0][0] != lie.stored {
					t.Errorf("stored as %v (%v), expected %q", rows, err, lie.stored)
				}
			case found == nil || found.Code != lie.code:
				t.Errorf("%v; expected code %q", err, lie.code)
			case found.Code == "08P01" && !strings.Contains(found.Detail, `olumn "v"`):
				t.Errorf("the column is not named: %s", found.Detail)
			}
		})
	}
}

// A forger sends rows of a table forged (id int4, v ...) as a peer that lies.
type forger struct {
	n        *pgtest.Node
	conn     *pgconn.PgConn
	relation []byte
}

func newForger(t *testing.T) *forger {
	n := pgtest.NewCluster(t, 1, pgtest.WithMembers(0)).Nodes[0]
	n.LoadTestFunctions()
	return &forger{n: n, conn: n.Session()}
}

// describe makes the table, and has RELATION of it as it is.
func (f *forger) describe(column string) {
	_, err := pgtest.RunOn(f.conn, "ROLLBACK", 10*time.Second)
	f.n.Must(err)
	f.n.Exec("DROP TABLE IF EXISTS forged", "CREATE TABLE forged (id int PRIMARY KEY, v "+column+")")
	clustertest.CreateSlot(f.n, "forged")
	f.n.Exec("INSERT INTO forged VALUES (1)")
	for _, message := range sentMessages(f.n, "forged", clustertest.OwnArchitecture) {
		if message[0] == 'R' {
			f.relation = message
		}
	}
	f.n.Exec("SELECT pg_drop_replication_slot('forged')", "DELETE FROM forged")
}

// apply leaves the transaction open, in which the row was inserted.
func (f *forger) apply(l lie) error {
	relation := slices.Clone(f.relation)
	v := describedV(relation)
	relation[v+1] = l.form
	binary.BigEndian.PutUint32(relation[v+2:], l.oid)
	binary.BigEndian.PutUint32(relation[v+6:], uint32(l.typmod))
	binary.BigEndian.PutUint16(relation[v+10:], uint16(l.attlen))
	row := slices.Concat([]byte{'I', 0, 0, 0, 0}, relation[5:9], []byte{0, 2, 'f', 1, 0, 0, 0, l.kind})
	switch l.kind {
	case 's':
		row = append(row, byte(len(l.value)))
	case 'l':
		row = binary.BigEndian.AppendUint32(row, uint32(len(l.value)))
	}
	row = append(row, l.value...)
	binary.BigEndian.PutUint32(row[1:], uint32(len(row)-5))
	_, err := pgtest.RunOn(f.conn, fmt.Sprintf("ROLLBACK; BEGIN; SELECT bdr_test.apply('\\x%x%x')", relation, row), 30*time.Second)
	return err
}
