package clustertest

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// A frameReader turns frames into text, one line per message, rows included.
// It is a second reader beside the C writer's, for tests only, and as such
// trusts nothing: bytes left over are an error.
type FrameReader struct {
	relations map[uint32]sentRelation
	pieces    []byte // of a message of which the last piece has not come
	masked    bool   // leave out positions, xids, oids and times, which differ from run to run
}

type sentRelation struct {
	name    string
	columns []sentColumn
}

type sentColumn struct {
	name, kind string // kind is the type's name
	format     byte
	length     int16
}

// Castagnoli is the polynomial of a frame's checksum.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// NewFrameReader reads frames as text; masked leaves out what differs between runs.
func NewFrameReader(masked bool) *FrameReader {
	return &FrameReader{relations: map[uint32]sentRelation{}, masked: masked}
}

// cursor panics with badFrame on short input; frame recovers it.
type cursor struct {
	rest []byte
	size int // of what rest was at the beginning
}

type badFrame string

func (c *cursor) take(n int) []byte {
	if n < 0 || len(c.rest) < n {
		panic(badFrame(fmt.Sprintf("%d bytes left, expected %d", len(c.rest), n)))
	}
	b := c.rest[:n]
	c.rest = c.rest[n:]
	return b
}

// aligned takes a value with what stands before it.
func (c *cursor) aligned(n, padding int) []byte {
	c.take(padding)
	if at := c.size - len(c.rest); at%8 != 0 || padding > 7 {
		panic(badFrame(fmt.Sprintf("a value begins at byte %d, after %d of padding", at, padding)))
	}
	return c.take(n)
}

func (c *cursor) u8() byte     { return c.take(1)[0] }
func (c *cursor) u16() uint16  { return binary.BigEndian.Uint16(c.take(2)) }
func (c *cursor) u32() uint32  { return binary.BigEndian.Uint32(c.take(4)) }
func (c *cursor) u64() uint64  { return binary.BigEndian.Uint64(c.take(8)) }
func (c *cursor) name() string { return string(c.take(int(c.u16()))) }

// Frame returns the messages of one frame as lines.
func (f *FrameReader) Frame(b []byte) (lines []string, err error) {
	defer func() {
		if r := recover(); r != nil {
			reason, ok := r.(badFrame)
			if !ok {
				panic(r)
			}
			err = fmt.Errorf("%s after %q", string(reason), lines)
		}
	}()
	c := &cursor{rest: b}
	if header := c.take(4); !isFrame(header) {
		return nil, fmt.Errorf("frame header %x", header)
	}
	if sum := c.u32(); sum != crc32.Checksum(c.rest, Castagnoli) {
		return nil, fmt.Errorf("checksum %08x of a frame of %d bytes is wrong", sum, len(b))
	}
	for len(c.rest) > 0 {
		kind := c.u8()
		bytes := c.take(int(c.u32()))
		if kind == 'W' && len(bytes) == 16 {
			continue // a watermark comes when it comes
		}
		if kind == 'P' {
			f.pieces = append(f.pieces, bytes[2:]...)
			if bytes[1] == 0 {
				continue
			}
			kind, bytes, f.pieces = bytes[0], f.pieces, nil
		}
		body := &cursor{bytes, len(bytes)}
		lines = append(lines, f.message(kind, body))
		if len(body.rest) > 0 {
			return lines, fmt.Errorf("%d bytes left over in %q", len(body.rest), lines[len(lines)-1])
		}
	}
	return lines, nil
}

func (f *FrameReader) message(kind byte, c *cursor) string {
	switch kind {
	case 'S':
		return fmt.Sprintf("STARTUP protocol %d server %d formats %c encoding %s", c.u16(), f.volatile(uint64(c.u32())), c.u8(), c.name())
	case 'R':
		return f.relation(c)
	case 'B':
		return fmt.Sprintf("BEGIN xid %d commit %d end %d time %d origin %d at %d", f.volatile(uint64(c.u32())), f.volatile(c.u64()),
			f.volatile(c.u64()), f.volatile(c.u64()), c.u32(), f.volatile(c.u64()))
	case 'C':
		return fmt.Sprintf("COMMIT commit %d end %d changes %d", f.volatile(c.u64()), f.volatile(c.u64()), c.u32())
	case 'I':
		r := f.relations[c.u32()]
		return fmt.Sprintf("INSERT %s %s", r.name, r.row(c))
	case 'U':
		return f.update(c)
	case 'D':
		r := f.relations[c.u32()]
		return fmt.Sprintf("DELETE %s %c %s", r.name, c.u8(), r.row(c))
	case 'T':
		return f.truncate(c)
	case 'Q':
		return statement(c)
	case 'V':
		return f.seen(c)
	case 'F':
		return f.forget(c)
	case 'W':
		return fmt.Sprintf("WATERMARK %d awaited %d", f.volatile(c.u64()), f.volatile(c.u64()))
	case 'M':
		return fmt.Sprintf("MESSAGE at %d %q", f.volatile(c.u64()), c.take(len(c.rest)))
	}
	panic(badFrame(fmt.Sprintf("unknown kind %q", kind)))
}

// isFrame says whether a frame begins there, of a version that there is.
func isFrame(b []byte) bool {
	return strings.HasPrefix(string(b), "B\x02\x00\x00") || strings.HasPrefix(string(b), "B\x03\x00\x00")
}

// statement leaves the values of settings out: those are the server's.
func statement(c *cursor) string {
	flags, who := c.u8(), c.name()
	if flags&2 != 0 { // replication sets
		who += " sets"
		for range c.u16() {
			who += " " + c.name()
		}
	}
	var settings []string
	for range c.u16() {
		settings = append(settings, c.name())
		c.name()
	}
	return fmt.Sprintf("STATEMENT flags %d role %s %q settings %s", flags, who, c.take(len(c.rest)), strings.Join(settings, " "))
}

func (f *FrameReader) forget(c *cursor) string {
	text := "FORGET"
	for len(c.rest) > 0 {
		relid := c.u32()
		text += " " + f.relations[relid].name
		delete(f.relations, relid)
	}
	return text
}

func (f *FrameReader) seen(c *cursor) string {
	nodes := make([]string, c.u16())
	for i := range nodes {
		nodes[i] = fmt.Sprintf("node %d until %d", c.u32(), f.volatile(c.u64()))
	}
	return "ORIGIN_PROGRESS " + strings.Join(nodes, ", ")
}

// volatile hides what differs from run to run.
func (f *FrameReader) volatile(v uint64) uint64 {
	if f.masked && v != 0 {
		return 1
	}
	return v
}

func (f *FrameReader) relation(c *cursor) string {
	relid, identity, flags := c.u32(), c.u8(), c.u8()
	r := sentRelation{name: c.name() + "." + c.name()}
	root := c.name() + "." + c.name()
	owner, rootOwner := c.name(), c.name()
	for _, flag := range []byte{16, 32} { // the owners of then
		if flags&flag != 0 {
			owner += " before " + c.name()
		}
	}
	var columns []string
	for range c.u16() {
		flags := c.u8()
		column := sentColumn{format: c.u8()}
		typeOID, typmod := f.volatile(uint64(c.u32())), int32(c.u32())
		column.length = int16(c.u16())
		column.name = c.name()
		schema := c.name()
		column.kind = c.name()
		columns = append(columns, fmt.Sprintf("%s%s %c %s.%s(%d) oid %d len %d", strings.Repeat("*", int(flags)), column.name, column.format,
			schema, column.kind, typmod, typeOID, column.length))
		r.columns = append(r.columns, column)
	}
	f.relations[relid] = r
	return fmt.Sprintf("RELATION %d %s %c%s%s (%s)", f.volatile(uint64(relid)), r.name, identity, partitioning(flags, root), owners(flags, owner, rootOwner),
		strings.Join(columns, ", "))
}

func partitioning(flags byte, root string) (text string) {
	if flags&1 != 0 {
		text += " partitioned"
	}
	if root != "." {
		text += " partition of " + root
	}
	if flags&2 != 0 {
		text += " unique"
	}
	return text
}

func (f *FrameReader) update(c *cursor) string {
	r := f.relations[c.u32()]
	old := c.u8()
	text := fmt.Sprintf("UPDATE %s %c", r.name, old)
	if old != 'n' {
		text += " " + r.row(c)
	}
	return text + " " + r.row(c)
}

func (f *FrameReader) truncate(c *cursor) string {
	text := fmt.Sprintf("TRUNCATE flags %d", c.u8())
	for range c.u32() {
		text += " " + f.relations[c.u32()].name
		if above := c.u32(); above != 0 {
			text += "<" + f.relations[above].name
		}
	}
	return text
}

// owners says nothing of the bootstrap superuser, who owns most tables of tests.
func owners(flags byte, owner, root string) (text string) {
	if owner != "postgres" || flags&4 == 0 {
		text += fmt.Sprintf(" of %q superuser %v", owner, flags&4 != 0)
	}
	if root != "" && (root != "postgres" || flags&8 == 0) {
		text += fmt.Sprintf(" root of %q superuser %v", root, flags&8 != 0)
	}
	return text
}

func (r sentRelation) row(c *cursor) string {
	if n := int(c.u16()); n != len(r.columns) {
		panic(badFrame(fmt.Sprintf("%d columns in row of %q, expected %d", n, r.name, len(r.columns))))
	}
	var values []string
	for _, column := range r.columns {
		values = append(values, column.name+"="+column.value(c))
	}
	return "(" + strings.Join(values, " ") + ")"
}

func (s sentColumn) value(c *cursor) string {
	switch kind := c.u8(); kind {
	case 'n':
		return "null"
	case 'u':
		return "unchanged"
	case 'f':
		return s.fixed(c.take(int(s.length)))
	case 's':
		return s.sized(c.take(int(c.u8())))
	case 'l':
		return s.sized(c.take(int(c.u32())))
	case 'a':
		return s.sized(c.aligned(int(c.u32()), int(c.u8())))
	default:
		panic(badFrame(fmt.Sprintf("value kind %q", kind)))
	}
}

// fixed reads internal form as a little-endian machine writes it.
func (s sentColumn) fixed(b []byte) string {
	switch s.kind {
	case "int2":
		return strconv.Itoa(int(int16(binary.LittleEndian.Uint16(b))))
	case "int4":
		return strconv.Itoa(int(int32(binary.LittleEndian.Uint32(b))))
	case "int8", "money":
		return strconv.FormatInt(int64(binary.LittleEndian.Uint64(b)), 10)
	case "name":
		return strings.TrimRight(string(b), "\x00")
	}
	return "0x" + hex.EncodeToString(b)
}

func (s sentColumn) sized(b []byte) string {
	if s.format == 'i' {
		b = WithoutHeader(b)
	}
	text := s.format == 't' || s.kind == "text" || s.kind == "varchar" || s.kind == "bpchar"
	switch {
	case len(b) > 100:
		return fmt.Sprintf("%d bytes of %q", len(b), b[:1])
	case text:
		return strconv.Quote(string(b))
	}
	return "0x" + hex.EncodeToString(b)
}

// WithoutHeader checks the length word of a varlena.
func WithoutHeader(b []byte) []byte {
	switch {
	case len(b) > 0 && b[0]&1 == 1:
		if int(b[0]>>1) == len(b) {
			return b[1:]
		}
	case len(b) >= 4:
		if word := binary.LittleEndian.Uint32(b); word&3 == 0 && int(word>>2) == len(b) {
			return b[4:]
		}
	}
	panic(badFrame(fmt.Sprintf("varlena header %x of %d bytes", b[:min(4, len(b))], len(b))))
}

const OwnArchitecture = "le:datum8:float8byval:maxalign8:toast2k:blcksz8192:namedata64"

// Extremes are what lengths, counts and offsets are replaced by.
var Extremes = []uint32{0, 1, 2, 3, 4, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x0fffffff, 0x10000000, 0x3fffffff, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff}
