package ipc

import "encoding/binary"

// Fetch asks for the values that an update left out. The row is the peer's, as
// the transaction with this id and commit time left it.
type Fetch struct {
	XID        uint32
	CommitTime int64 // microseconds since 2000-01-01
	Table      uint32
	Schema     string // and the name, for messages
	Relation   string
	Key        []KeyValue
	Columns    []FetchColumn
}

// KeyValue is a column of the row's key, in text form.
type KeyValue struct {
	Column string
	Value  *string
}

// FetchColumn is a column whose value is missing.
type FetchColumn struct {
	Name   string
	Binary bool // wanted in send/recv form
}

const formBinary = 'b'

// Fetched answers a Fetch; made by Gone or Present.
type Fetched []byte

// Gone says that the row does not exist any more, or is of a later version.
func Gone() Fetched { return Fetched{0} }

// Present says that the row is there; its values follow with And.
func Present() Fetched { return Fetched{1, 0, 0} }

// And adds the value of the next column; nil is NULL.
func (f Fetched) And(value []byte) Fetched {
	binary.BigEndian.PutUint16(f[1:], binary.BigEndian.Uint16(f[1:])+1)
	e := encoder(f)
	if value == nil {
		e.text(nil)
		return Fetched(e)
	}
	e.u32(uint32(len(value)))
	return append(Fetched(e), value...)
}

func decodeFetch(body []byte) (Fetch, error) {
	d := decoder{rest: body}
	f := Fetch{XID: d.u32(), CommitTime: int64(d.u64()), Table: d.u32(), Schema: d.str(), Relation: d.str()}
	for n := d.u16(); n > 0 && !d.failed; n-- {
		f.Key = append(f.Key, KeyValue{Column: d.str(), Value: d.text()})
	}
	for n := d.u16(); n > 0 && !d.failed; n-- {
		f.Columns = append(f.Columns, FetchColumn{Name: d.str(), Binary: d.u8() == formBinary})
	}
	return f, d.end(kindFetch)
}

// Fetched answers the Fetch that was read last.
func (w *Writer) Fetched(f Fetched) error { return w.decide.write(kindFetched, nil, f) }

// Refuse answers the question that was read last with an error, which ends the
// writer.
func (w *Writer) Refuse(err error) error { return w.decide.write(kindFault, encodeFault(err), nil) }
