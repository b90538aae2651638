package hand

// Fetch asks for the values that an update left out. The row is the peer's, as
// the transaction with this id and commit time left it.
type Fetch struct {
	XID        uint32
	CommitTime int64 // microseconds since 2000-01-01
	Schema     string
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

// Fetched answers a Fetch; made by Gone or Complete.
type Fetched []byte

// Gone says that the row does not exist any more, or is of a later version.
func Gone() Fetched { return Fetched{0} }

// Complete brings the values in the order of the columns; nil is NULL.
func Complete(values [][]byte) Fetched {
	size := 3
	for _, v := range values {
		size += 4 + len(v)
	}
	e := make(encoder, 0, size)
	e.u8(1)
	e.u16(uint16(len(values)))
	for _, v := range values {
		if v == nil {
			e.text(nil)
			continue
		}
		e.u32(uint32(len(v)))
		e = append(e, v...)
	}
	return Fetched(e)
}

func decodeFetch(body []byte) (Fetch, error) {
	d := decoder{rest: body}
	f := Fetch{XID: d.u32(), CommitTime: int64(d.u64()), Schema: d.str(), Relation: d.str()}
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
