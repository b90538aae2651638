package ipc

import (
	"encoding/binary"
	"time"

	"bdr/gosrc/lsn"
	"bdr/gosrc/pgerr"
)

// A decoder takes a body apart. The first bad length makes it fail for good;
// end also fails when bytes are left over, so a caller checks once.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) bytes(n int) []byte {
	if d.failed || n < 0 || n > len(d.rest) {
		d.failed = true
		return nil
	}
	taken := d.rest[:n:n]
	d.rest = d.rest[n:]
	return taken
}

func (d *decoder) u8() uint8 {
	if b := d.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) u16() uint16 {
	if b := d.bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if b := d.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if b := d.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// text returns nil for NULL.
func (d *decoder) text() *string {
	length := int32(d.u32())
	if d.failed || length == -1 {
		return nil
	}
	value := string(d.bytes(int(length)))
	return &value
}

// str is text that must not be NULL.
func (d *decoder) str() string {
	value := d.text()
	if value == nil {
		d.failed = true
		return ""
	}
	return *value
}

// optional is text with "" for NULL.
func (d *decoder) optional() string {
	if value := d.text(); value != nil {
		return *value
	}
	return ""
}

// rows makes no room for rows that cannot be in what is left.
func (d *decoder) rows() (columns int, values [][]*string) {
	columns = int(d.u16())
	n := int(d.u32())
	if columns == 0 || n > len(d.rest)/(4*columns) {
		d.failed = d.failed || n != 0
		return columns, nil
	}
	values = make([][]*string, n)
	for i := range values {
		values[i] = make([]*string, columns)
		for k := range values[i] {
			values[i][k] = d.text()
		}
	}
	return columns, values
}

func (d *decoder) version() Version {
	return Version{Known: d.u8() != 0, Time: int64(d.u64()), Node: d.u32()}
}

func (d *decoder) end(k kind) error {
	if d.failed {
		return violation("short body of %s", k)
	}
	if len(d.rest) > 0 {
		return violation("%d bytes left over after %s", len(d.rest), k)
	}
	return nil
}

// An encoder builds a body.
type encoder []byte

func (e *encoder) u8(v uint8)   { *e = append(*e, v) }
func (e *encoder) u16(v uint16) { *e = binary.BigEndian.AppendUint16(*e, v) }
func (e *encoder) u32(v uint32) { *e = binary.BigEndian.AppendUint32(*e, v) }
func (e *encoder) u64(v uint64) { *e = binary.BigEndian.AppendUint64(*e, v) }

func (e *encoder) str(v string) {
	e.u32(uint32(len(v)))
	*e = append(*e, v...)
}

func (e *encoder) text(v *string) {
	if v == nil {
		e.u32(^uint32(0))
		return
	}
	e.str(*v)
}

// optional sends "" as NULL.
func (e *encoder) optional(v string) {
	if v == "" {
		e.text(nil)
		return
	}
	e.str(v)
}

func (e *encoder) rows(r Rows) error {
	e.u16(uint16(r.Columns))
	e.u32(uint32(len(r.Values)))
	for _, row := range r.Values {
		if len(row) != r.Columns {
			return pgerr.New(pgerr.InternalError, "row of %d columns, expected %d", len(row), r.Columns)
		}
		for _, value := range row {
			e.text(value)
		}
	}
	return nil
}

type hello struct {
	version string
	role    byte
	pid     uint32
	token   uint64
}

func decodeHello(body []byte) (hello, error) {
	d := decoder{rest: body}
	h := hello{version: d.str(), role: d.u8(), pid: d.u32(), token: d.u64()}
	return h, d.end(kindHello)
}

func decodeRequest(body []byte) (*Request, error) {
	d := decoder{rest: body}
	r := &Request{Function: d.str(), User: d.str(), InTransaction: d.u8() != 0}
	n := int(d.u16())
	if n > len(d.rest)/4 {
		return nil, violation("short body of %s", kindRequest)
	}
	r.Args = make([]*string, n)
	for i := range r.Args {
		r.Args[i] = d.text()
	}
	return r, d.end(kindRequest)
}

func decodeResults(body []byte) ([]Result, error) {
	d := decoder{rest: body}
	n := int(d.u16())
	if n > len(d.rest)/14 {
		return nil, violation("short body of %s", kindRows)
	}
	results := make([]Result, n)
	for i := range results {
		results[i].Processed = int64(d.u64())
		_, results[i].Rows = d.rows()
	}
	return results, d.end(kindRows)
}

// decodeFault returns what the body says, or that it says nothing.
func decodeFault(body []byte) error {
	d := decoder{rest: body}
	code, message := d.str(), d.str()
	e := pgerr.New(code, "%s", message)
	e.Detail, e.Hint, e.Context = d.optional(), d.optional(), d.optional()
	if err := d.end(kindFault); err != nil {
		return err
	}
	return e
}

func decodeLaunched(body []byte) (uint32, error) {
	d := decoder{rest: body}
	pid := d.u32()
	return pid, d.end(kindLaunched)
}

func decodeSettings(body []byte) (map[string]string, error) {
	d := decoder{rest: body}
	settings := make(map[string]string)
	for n := int(d.u16()); n > 0 && !d.failed; n-- {
		name := d.str()
		settings[name] = d.optional()
	}
	return settings, d.end(kindSettings)
}

func decodeProgress(body []byte) (Progress, error) {
	d := decoder{rest: body}
	p := Progress{Applied: lsn.LSN(d.u64()), Flushed: lsn.LSN(d.u64()), CommitTime: int64(d.u64()),
		Commits: d.u64(), Inserts: d.u64(), Updates: d.u64(), Deletes: d.u64(), Truncates: d.u64(),
		Conflicts: d.u64(), Skipped: d.u64(), Aborts: d.u64(), Deadlocks: d.u64(), ApplyTime: time.Duration(d.u64()) * time.Microsecond,
		Rows: d.u64(), Keepalive: lsn.LSN(d.u64()), Sent: int64(d.u64()), Received: int64(d.u64())}
	return p, d.end(kindProgress)
}

func decodeHeard(body []byte) (Heard, error) {
	d := decoder{rest: body}
	flags := d.u8()
	h := Heard{ReplyRequested: flags&heardReply != 0, Silence: flags&heardSilence != 0}
	return h, d.end(kindHeard)
}

func decodeReturned(body []byte) (Returned, error) {
	d := decoder{rest: body}
	r := Returned{InTransaction: d.u8() != 0, Reason: d.optional(), Unread: d.bytes(int(int32(d.u32())))}
	return r, d.end(kindReturned)
}

func encodeHandoff(promised int64) []byte {
	var e encoder
	e.u64(uint64(promised))
	return e
}

func decodeFailed(body []byte) (Failed, error) {
	d := decoder{rest: body}
	f := Failed{XID: d.u32(), End: lsn.LSN(d.u64()), CommitTime: int64(d.u64()), Change: d.u32(), Schema: d.optional(), Relation: d.optional()}
	return f, d.end(kindFailed)
}

func decodeConflict(body []byte) (Conflict, error) {
	d := decoder{rest: body}
	c := Conflict{Type: d.u8(), Local: d.version(), Remote: d.version()}
	c.Complete = d.u8()&conflictComplete != 0
	return c, d.end(kindConflict)
}

func decodeFacts(body []byte) (Facts, error) {
	d := decoder{rest: body}
	flags := d.u8()
	f := Facts{Reload: flags&factsReload != 0, KeyChanged: flags&factsKeyChanged != 0, RowVersion: flags&factsRowVersion != 0, Operation: d.u8(), Image: d.u8(), Remote: d.version()}
	f.Constraints = append([]byte(nil), d.bytes(int(d.u16()))...)
	for n := int(d.u16()); n > 0 && !d.failed; n-- {
		bits := d.u8()
		found := Found{Live: bits&foundLive != 0, Seen: bits&foundSeen != 0, Version: d.version()}
		for k := int(d.u16()); k > 0 && !d.failed; k-- {
			found.On = append(found.On, int(d.u16()))
		}
		f.Found = append(f.Found, found)
	}
	return f, d.end(kindFacts)
}

func encodePlan(p Plan) []byte {
	var e encoder
	e.u8(p.Type)
	e.u8(p.Action)
	e.str(p.Resolution)
	e.str(p.Rule)
	e.u16(uint16(p.Decisive + 1))
	e.u16(uint16(len(p.Fates)))
	e = append(e, p.Fates...)
	e.u16(uint16(len(p.Remember)))
	for _, constraint := range p.Remember {
		e.u16(uint16(constraint))
	}
	return e
}

func encodeFault(err error) []byte {
	fault := pgerr.From(err)
	var e encoder
	e.str(fault.Code)
	e.str(fault.Message)
	e.optional(fault.Detail)
	e.optional(fault.Hint)
	e.optional(fault.Context)
	return e
}

func encodeStatements(statements []Stmt) ([]byte, error) {
	var e encoder
	e.u16(uint16(len(statements)))
	for _, s := range statements {
		e.str(s.SQL)
		e.u16(uint16(len(s.Args)))
		for _, value := range s.Args {
			text, err := argument(value)
			if err != nil {
				return nil, err
			}
			e.text(text)
		}
	}
	return e, nil
}

func encodeSetup(s Setup) []byte {
	var e encoder
	e.u32(s.Subscription)
	e.u32(s.PeerNode)
	e.u32(s.LocalNode)
	e.u8(uint8(s.Mode))
	e.str(s.PeerName)
	e.u64(uint64(s.First))
	return e
}

func encodeDecision(d Decision) []byte {
	var e encoder
	e.u8(d.Action)
	e.str(d.Resolution)
	e.str(d.Rule)
	return e
}
