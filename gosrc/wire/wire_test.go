package wire

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bdr/gosrc/lsn"
)

// message and frame build bytes as output/frame.c does.
func message(kind Kind, body ...byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{byte(kind)}, uint32(len(body))), body...)
}

func frame(messages ...[]byte) []byte {
	return sealed('B', VersionMax, 0, slices.Concat(messages...))
}

// sealed is a frame with a header of the caller's, and the checksum that fits.
func sealed(magic, version, reserved byte, messages []byte) []byte {
	b := []byte{magic, version, 0, reserved}
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(messages, crc32.MakeTable(crc32.Castagnoli)))
	return append(b, messages...)
}

func startup() []byte {
	return message(KindStartup, append([]byte{0, 1, 0, 2, 0x49, 0xF0, 'i', 0, 4}, "UTF8"...)...)
}

func begin(end uint64) []byte {
	b := binary.BigEndian.AppendUint32(nil, 700)
	b = binary.BigEndian.AppendUint64(b, end-8)
	b = binary.BigEndian.AppendUint64(b, end)
	b = binary.BigEndian.AppendUint64(b, ^uint64(0)) // one microsecond before 2000
	b = binary.BigEndian.AppendUint32(b, 3)
	return message(KindBegin, binary.BigEndian.AppendUint64(b, 99)...)
}

func commit(end uint64, changes uint32) []byte {
	b := binary.BigEndian.AppendUint64(nil, end-8)
	b = binary.BigEndian.AppendUint64(b, end)
	return message(KindCommit, binary.BigEndian.AppendUint32(b, changes)...)
}

func logical(content string) []byte {
	return message(KindMessage, append(binary.BigEndian.AppendUint64(nil, 5), content...)...)
}

func watermark() []byte {
	return message(KindWatermark, binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, 7), ^uint64(1))...)
}

func piece(of Kind, flags byte) []byte { return message(KindPiece, byte(of), flags, 1, 2, 3) }

func insert() []byte { return message(KindInsert, 0, 0, 0, 1, 0, 1, 'n') }

func mustRead(t *testing.T, b []byte) Frame {
	t.Helper()
	f, err := ReadFrame(b)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestScanDecodesEvents(t *testing.T) {
	f := mustRead(t, frame(startup(), begin(100), insert(), insert(), commit(100, 2), watermark(), logical("")))
	var got []Event
	err := f.Scan(func(e Event) error {
		if m, ok := e.(Message); ok { // slices do not compare
			e = Begin{XID: uint32(len(m.Content)), OriginLSN: m.LSN}
		}
		got = append(got, e)
		return nil
	})
	want := []Event{
		Startup{Protocol: 1, ServerVersion: 150000, Formats: 'i', Encoding: "UTF8"},
		Begin{XID: 700, CommitLSN: 92, EndLSN: 100, CommitTime: -1, OriginNode: 3, OriginLSN: 99},
		Commit{CommitLSN: 92, EndLSN: 100, Changes: 2},
		Watermark{Time: 7, Awaited: -2},
		Begin{XID: 0, OriginLSN: 5},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
}

// A length that lies must be an error before anybody believes it.
func TestReadFrameRefuses(t *testing.T) {
	long := insert()
	long[4]++ // one byte more than there is
	damaged := frame(insert())
	damaged[len(damaged)-1] ^= 0x40
	for name, b := range map[string][]byte{
		"nothing":              {},
		"half a header":        frame()[:7],
		"other magic":          sealed('X', 1, 0, nil),
		"version 0":            sealed('B', 0, 0, nil),
		"version to come":      sealed('B', VersionMax+1, 0, nil),
		"reserved bytes":       sealed('B', VersionMax, 1, nil),
		"checksum":             damaged,
		"half a message":       frame(insert()[:4]),
		"body cut off":         frame(insert()[:11]),
		"length too large":     frame(long),
		"length of 4 GB":       frame([]byte{'I', 255, 255, 255, 255, 0, 0, 0, 0, 0, 0}),
		"body too short":       frame(message(KindInsert, 0, 0, 0, 1, 0)),
		"unknown kind":         frame(message('Z', 0, 0, 0, 0)),
		"seen without a count": frame(message(KindSeen, 0)),
		"half a piece":         frame(message(KindPiece, 'I')),
		"half a statement":     frame(message(KindStatement, 0, 0, 1)),
		"half a watermark":     frame(message(KindWatermark, 0, 0, 0, 0, 0, 0, 0, 1)),
		"second message short": frame(insert(), []byte{'C'}),
	} {
		if _, err := ReadFrame(b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Bodies that are long enough may still not add up.
func TestScanRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"name beyond the body": message(KindStartup, 0, 1, 0, 2, 0x49, 0xF0, 'i', 0, 5, 'U', 'T', 'F', '8'),
		"bytes left over":      append(commitLonger(), 0),
	} {
		f := mustRead(t, frame(b))
		if err := f.Scan(func(Event) error { return nil }); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func commitLonger() []byte {
	c := commit(100, 0)
	c[4]++
	return c
}

func TestTrackerFollowsTransactionsAcrossFrames(t *testing.T) {
	var tracker Tracker
	var ends []lsn.LSN
	note := func(e Event) error {
		if c, ok := e.(Commit); ok {
			ends = append(ends, c.EndLSN)
		}
		return nil
	}
	for i, step := range []struct {
		frame []byte
		open  bool
	}{
		{frame(startup()), false},
		{frame(begin(100), insert()), true},
		{frame(insert(), insert()), true},
		{frame(commit(100, 3), begin(200), commit(200, 0), logical("y"), watermark(), begin(300)), true},
		{frame(), true},
		{frame(commit(300, 0), begin(400), insert(), piece(KindUpdate, 0)), true},
		{frame(piece(KindUpdate, 0)), true},
		{frame(piece(KindUpdate, pieceLast), piece(KindInsert, pieceLast), commit(400, 3)), false},
		{frame(begin(500), message(KindStatement, 0, 0, 1, 'r', 0, 0, 'x'), piece(KindStatement, 0), piece(KindStatement, pieceLast), commit(500, 2)), false},
	} {
		if err := tracker.Track(mustRead(t, step.frame), note); err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if tracker.InTransaction() != step.open {
			t.Errorf("frame %d: in transaction %v", i, !step.open)
		}
	}
	if !slices.Equal(ends, []lsn.LSN{100, 200, 300, 400, 500}) {
		t.Errorf("commits at %v", ends)
	}
}

func TestTrackerRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"no startup":           frame(begin(100)),
		"second startup":       frame(startup(), startup()),
		"change outside":       frame(startup(), insert()),
		"truncate outside":     frame(startup(), message(KindTruncate, 0, 0, 0, 0, 0)),
		"begin inside":         frame(startup(), begin(100), begin(200)),
		"commit without begin": frame(startup(), commit(100, 0)),
		"commit of another":    frame(startup(), begin(100), commit(200, 0)),
		"changes are missing":  frame(startup(), begin(100), insert(), commit(100, 2)),
		"watermark inside":     frame(startup(), begin(100), watermark()),
		"forgetting inside":    frame(startup(), begin(100), message(KindForget, 0, 0, 0, 1)),
		"piece outside":        frame(startup(), piece(KindInsert, 0)),
		"piece of a commit":    frame(startup(), begin(100), piece(KindCommit, 0)),
		"piece with flags":     frame(startup(), begin(100), piece(KindInsert, 2)),
		"piece of another":     frame(startup(), begin(100), piece(KindInsert, 0), piece(KindUpdate, 1)),
		"row among pieces":     frame(startup(), begin(100), piece(KindInsert, 0), insert()),
		"commit among pieces":  frame(startup(), begin(100), piece(KindInsert, 0), commit(100, 0)),
		"pieces count as one":  frame(startup(), begin(100), piece(KindInsert, 0), piece(KindInsert, 1), commit(100, 2)),
		"loose message inside": frame(startup(), begin(100), logical("x")),
	} {
		var tracker Tracker
		if err := tracker.Track(mustRead(t, b), func(Event) error { return nil }); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// golden are the frames that a real bdr_output made, by file; regress/cluster
// writes them.
func golden(t testing.TB) map[string][][]byte {
	t.Helper()
	files, err := filepath.Glob("../../regress/wire/*.hex")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden frames: %v", err)
	}
	streams := map[string][][]byte{}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Fields(withoutComments(string(text))) {
			b, err := hex.DecodeString(line)
			if err != nil {
				t.Fatal(err)
			}
			streams[path] = append(streams[path], b)
		}
	}
	return streams
}

func withoutComments(text string) string {
	lines := strings.Split(text, "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "#") }), "\n")
}

func TestGoldenStreamsAreWellFormed(t *testing.T) {
	for path, frames := range golden(t) {
		var tracker Tracker
		commits := 0
		for i, b := range frames {
			err := tracker.Track(mustRead(t, b), func(e Event) error {
				if _, ok := e.(Commit); ok {
					commits++
				}
				return nil
			})
			if err != nil {
				t.Fatalf("%s, frame %d: %v", path, i, err)
			}
		}
		if tracker.InTransaction() || commits == 0 {
			t.Errorf("%s: %d commits, in transaction %v", path, commits, tracker.InTransaction())
		}
	}
}

// Whatever arrives, reading it is an error or it is not: never a panic, and
// never a slice beyond the frame.
func FuzzReadFrame(f *testing.F) {
	for _, frames := range golden(f) {
		for _, b := range frames {
			f.Add(b)
		}
	}
	f.Add(frame(startup(), begin(100), insert(), insert(), commit(100, 2), logical("in")))
	f.Add(frame(startup(), begin(100), piece(KindDelete, 0), piece(KindDelete, pieceLast), commit(100, 1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= headerBytes { // or hardly any input would get past the checksum
			binary.BigEndian.PutUint32(b[4:], crc32.Checksum(b[headerBytes:], castagnoli))
		}
		read, err := ReadFrame(b)
		if err != nil {
			return
		}
		total := headerBytes
		if err := read.each(func(_ Kind, body []byte) error {
			total += messageHeaderBytes + len(body)
			return nil
		}); err != nil || total != len(b) {
			t.Fatalf("%d of %d bytes in messages, %v", total, len(b), err)
		}
		_ = read.Scan(func(Event) error { return nil })
		var tracker Tracker
		_ = tracker.Track(read, func(Event) error { return nil })
	})
}

// Where frames end has no meaning: the same messages in one frame or in two are
// the same transactions, or the same mistake.
func FuzzTrackAcrossFrames(f *testing.F) {
	for _, frames := range golden(f) {
		var all []byte
		for i, b := range frames {
			all = append(all, b[headerBytes:]...)
			f.Add(all[:len(all):len(all)], uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, messages []byte, place uint8) {
		whole, err := ReadFrame(frame(messages))
		if err != nil {
			return
		}
		at, n := 0, uint8(0)
		_ = whole.each(func(_ Kind, body []byte) error {
			if n++; n <= place {
				at += messageHeaderBytes + len(body)
			}
			return nil
		})
		once, onceErr := track(whole)
		twice, twiceErr := track(mustRead(t, frame(messages[:at])), mustRead(t, frame(messages[at:])))
		if fmt.Sprint(once, onceErr) != fmt.Sprint(twice, twiceErr) {
			t.Fatalf("as one frame %v %v, cut after %d messages %v %v", once, onceErr, place, twice, twiceErr)
		}
	})
}

// track follows frames to the first error.
func track(frames ...Frame) (events []string, err error) {
	var tracker Tracker
	for _, f := range frames {
		err = tracker.Track(f, func(e Event) error {
			events = append(events, fmt.Sprintf("%+v", e))
			return nil
		})
		if err != nil {
			return events, err
		}
	}
	return append(events, fmt.Sprint(tracker.InTransaction())), nil
}
