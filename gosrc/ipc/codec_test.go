package ipc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
)

// bodies are decoders by name, and a body that each takes.
var bodies = []struct {
	name   string
	valid  []byte
	decode func([]byte) (any, error)
}{
	{"hello", helloBody("v", 'b', 7), func(b []byte) (any, error) { return decodeHello(b) }},
	{"request", requestBody("f", Text("x"), nil), func(b []byte) (any, error) { return decodeRequest(b) }},
	{"rows", rowsBody(3, Text("x"), nil), func(b []byte) (any, error) { return decodeResults(b) }},
	{"launched", []byte{0, 0, 0, 9}, func(b []byte) (any, error) { return decodeLaunched(b) }},
	{"settings", []byte("\x00\x01\x00\x00\x00\x01a\xff\xff\xff\xff"), func(b []byte) (any, error) { return decodeSettings(b) }},
	{"progress", make([]byte, 17*8), func(b []byte) (any, error) { return decodeProgress(b) }},
	{"heard", []byte{3}, func(b []byte) (any, error) { return decodeHeard(b) }},
	{"returned", []byte("\x01\xff\xff\xff\xff\x00\x00\x00\x02ab"), func(b []byte) (any, error) { return decodeReturned(b) }},
	{"failed", make([]byte, 4+8+8+4+4+4), func(b []byte) (any, error) { return decodeFailed(b) }},
	{"conflict", make([]byte, 1+13+13+1), func(b []byte) (any, error) { return decodeConflict(b) }},
	{"facts", []byte(factsBody), func(b []byte) (any, error) { return decodeFacts(b) }},
	{"fetch", fetchBody(), func(b []byte) (any, error) { return decodeFetch(b) }},
	{"fault", encodeFault(errors.New("x")), func(b []byte) (any, error) {
		err := decodeFault(b)
		var fault *pgerr.Error
		if errors.As(err, &fault) {
			return nil, nil
		}
		return nil, err
	}},
}

// factsBody is an update that changed its key, under two constraints, which found one row.
const factsBody = "\x07\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x08" + "\x00\x02\x01\x02" +
	"\x00\x01\x03\x01\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x06\x00\x02\x00\x00\x00\x01"

// A body that is one byte short or long comes from another build: it must be
// refused, not guessed at.
func TestBodiesMustFit(t *testing.T) {
	for _, b := range bodies {
		t.Run(b.name, func(t *testing.T) {
			if _, err := b.decode(b.valid); err != nil {
				t.Fatal(err)
			}
			for n := range b.valid {
				if _, err := b.decode(b.valid[:n]); err == nil {
					t.Errorf("took %d of %d bytes", n, len(b.valid))
				}
			}
			if _, err := b.decode(append(bytes.Clone(b.valid), 0)); err == nil {
				t.Error("took a byte too many")
			}
		})
	}
}

// No bytes may crash the manager or make it allocate without bounds.
func FuzzBodies(f *testing.F) {
	for i, b := range bodies {
		f.Add(uint8(i), b.valid)
	}
	f.Add(uint8(2), []byte("\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff"))
	f.Fuzz(func(_ *testing.T, which uint8, body []byte) {
		_, _ = bodies[int(which)%len(bodies)].decode(body)
	})
}

// What is sent must come back; a NULL is not an empty text.
func TestRoundTrips(t *testing.T) {
	results, err := decodeResults(rowsBody(3, Text(""), nil))
	want := []Result{{Processed: 3, Rows: [][]*string{{Text(""), nil}}}}
	if err != nil || !reflect.DeepEqual(results, want) {
		t.Errorf("got %v %v", results, err)
	}
	fault := pgerr.New(pgerr.WrongState, "m").WithDetail("d").WithHint("h")
	fault.Context = "c"
	if got := decodeFault(encodeFault(fmt.Errorf("w: %w", fault))); got.(*pgerr.Error).Message != "w: m" ||
		got.(*pgerr.Error).Detail != "d" || got.(*pgerr.Error).Hint != "h" || got.(*pgerr.Error).Context != "c" {
		t.Errorf("got %#v", got)
	}
}

// The order of the fields is the protocol.
func TestLayouts(t *testing.T) {
	setup := encodeSetup(Setup{Subscription: 1, PeerNode: 2, LocalNode: 3, Mode: ModeCatchUp, PeerName: "p", First: 4})
	if want := "\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03m\x00\x00\x00\x01p\x00\x00\x00\x00\x00\x00\x00\x04"; string(setup) != want {
		t.Errorf("SETUP %q", setup)
	}
	decision := encodeDecision(Decision{Action: 2, Resolution: "skip", Rule: "r"})
	if want := "\x02\x00\x00\x00\x04skip\x00\x00\x00\x01r"; string(decision) != want {
		t.Errorf("DECISION %q", decision)
	}
	var e encoder
	for i := range uint64(17) {
		e.u64(i + 1)
	}
	p, err := decodeProgress(e)
	if want := (Progress{Applied: lsn.LSN(1), Flushed: lsn.LSN(2), CommitTime: 3, Commits: 4, Inserts: 5, Updates: 6,
		Deletes: 7, Truncates: 8, Conflicts: 9, Skipped: 10, Aborts: 11, Deadlocks: 12, ApplyTime: 13 * time.Microsecond,
		Rows: 14, Keepalive: 15, Sent: 16, Received: 17}); err != nil || p != want {
		t.Errorf("PROGRESS %+v %v", p, err)
	}
	f, err := decodeFailed([]byte("\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x04\x00\x00\x00\x01s\xff\xff\xff\xff"))
	if want := (Failed{XID: 1, End: lsn.LSN(2), CommitTime: 3, Change: 4, Schema: "s"}); err != nil || f != want {
		t.Errorf("FAILED %+v %v", f, err)
	}
	c, err := decodeConflict([]byte("\x02\x01\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x08\x01"))
	if want := (Conflict{Type: 2, Local: Version{true, 5, 6}, Remote: Version{false, 7, 8}, Complete: true}); err != nil || c != want {
		t.Errorf("CONFLICT %+v %v", c, err)
	}
	facts, err := decodeFacts([]byte(factsBody))
	if want := (Facts{Reload: true, KeyChanged: true, RowVersion: true, Operation: 2, Image: 1, Remote: Version{true, 7, 8}, Constraints: []byte{1, 2},
		Found: []Found{{true, true, []int{0, 1}, Version{true, 5, 6}}}}); err != nil || !reflect.DeepEqual(facts, want) {
		t.Errorf("FACTS %+v %v", facts, err)
	}
	plan := encodePlan(Plan{Type: 1, Action: 2, Resolution: "r", Rule: "s", Decisive: -1, Fates: []byte{4}, Remember: []int{1}})
	if want := "\x01\x02\x00\x00\x00\x01r\x00\x00\x00\x01s\x00\x00\x00\x01\x04\x00\x01\x00\x01"; string(plan) != want {
		t.Errorf("PLAN %q", plan)
	}
}

// Statements cast text, so the form of each argument matters.
func TestArguments(t *testing.T) {
	when := time.Date(2024, 2, 29, 12, 0, 0, 123456000, time.FixedZone("x", 3600))
	tests := []struct {
		value any
		want  string
	}{
		{"a", "a"}, {Text("b"), "b"}, {true, "true"}, {uint32(4294967295), "4294967295"}, {int64(-1), "-1"},
		{lsn.LSN(0x100000002), "1/2"}, {[]byte{0, 255}, `\x00ff`}, {[]string{`a"b`, `c\`, ""}, `{"a\"b","c\\",""}`},
		{when, "2024-02-29 11:00:00.123456+00"}, {1.5, "1.5"},
	}
	for _, tt := range tests {
		if got, err := argument(tt.value); err != nil || *got != tt.want {
			t.Errorf("%v: %v %v", tt.value, got, err)
		}
	}
	for _, null := range []any{nil, (*string)(nil), []byte(nil)} {
		if got, err := argument(null); err != nil || got != nil {
			t.Errorf("%#v is not NULL", null)
		}
	}
	for _, bad := range []any{"a\x00b", struct{}{}} {
		if _, err := argument(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// A length from the wire is a claim: memory follows the bytes that come.
func TestReadLimits(t *testing.T) {
	tests := map[string]struct {
		bytes string
		end   bool
	}{
		"nothing":     {"", true},
		"no_kind":     {"\x00\x00\x00\x00x", false},
		"too_long":    {"\xff\xff\xff\xffr", false},
		"unknown":     {"\x00\x00\x00\x01?", false},
		"cut_header":  {"\x00\x00", true},
		"cut_body":    {"\x40\x00\x00\x01r12345", true},
		"cut_at_body": {"\x00\x00\x00\x05r", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			one, other := net.Pipe()
			go func() {
				_, _ = io.WriteString(other, tt.bytes)
				other.Close()
			}()
			_, err := newConn(one).read()
			if err == nil || isEnd(err) != tt.end {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Bodies beyond the first allocation arrive whole.
func TestLargeBody(t *testing.T) {
	one, other := net.Pipe()
	body := []byte(strings.Repeat("0123456789abcdef", 5*allocBytesMax/16))
	go func() { _ = newConn(other).write(kindApply, nil, body) }()
	m, err := newConn(one).read()
	if err != nil || !bytes.Equal(m.body, body) {
		t.Errorf("got %d bytes, %v", len(m.body), err)
	}
}

func fetchBody() []byte {
	var e encoder
	e.u32(700)
	e.u64(99)
	e.u32(16400)
	e.str("s")
	e.str("r")
	e.u16(2)
	e.str("k")
	e.str("1")
	e.str("l")
	e.text(nil)
	e.u16(1)
	e.str("v")
	e.u8('b')
	return e
}

// What a writer asks for must come out as it went in.
func TestDecodeFetch(t *testing.T) {
	got, err := decodeFetch(fetchBody())
	want := Fetch{XID: 700, CommitTime: 99, Table: 16400, Schema: "s", Relation: "r", Key: []KeyValue{{"k", Text("1")}, {"l", nil}},
		Columns: []FetchColumn{{"v", true}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got := Present().And(nil).And([]byte{}).And([]byte("ab")); string(got) != "\x01\x00\x03\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x02ab" {
		t.Errorf("got %q", got)
	}
}
