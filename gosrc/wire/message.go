package wire

import (
	"fmt"

	"bdr/gosrc/lsn"
)

// Kind is the first byte of a message; include/bdr_wire.h has the same list.
type Kind uint8

// Kinds of messages.
const (
	KindStartup   Kind = 'S'
	KindRelation  Kind = 'R'
	KindBegin     Kind = 'B'
	KindCommit    Kind = 'C'
	KindInsert    Kind = 'I'
	KindUpdate    Kind = 'U'
	KindDelete    Kind = 'D'
	KindTruncate  Kind = 'T'
	KindMessage   Kind = 'M'
	KindSeen      Kind = 'V'
	KindWatermark Kind = 'W'
	KindTombstone Kind = 'N'
	KindStatement Kind = 'Q'
	KindForget    Kind = 'F'
	KindPiece     Kind = 'P'
)

// bodyBytesMin is the length of each kind's body without its variable parts;
// zero: no such kind. It is looked at for every message of every frame.
var bodyBytesMin = [1 << 8]uint8{
	KindStartup:   2 + 4 + 1 + 2,
	KindRelation:  4 + 1 + 1 + 2 + 2 + 2 + 2 + 2 + 2 + 2,
	KindBegin:     4 + 8 + 8 + 8 + 4 + 8,
	KindCommit:    8 + 8 + 4,
	KindInsert:    4 + 2,
	KindUpdate:    4 + 1 + 2,
	KindDelete:    4 + 1 + 2,
	KindTruncate:  1 + 4,
	KindMessage:   8,
	KindSeen:      2,
	KindWatermark: 8 + 8,
	KindTombstone: 4 + 1 + 2 + 2,
	KindStatement: 1 + 2 + 2,
	KindForget:    4,
	KindPiece:     1 + 1,
}

// pieceLast is the flag of the last piece of a message.
const pieceLast = 1

// isLong reports whether a message of this kind may come in pieces.
func (k Kind) isLong() bool { return k.isChange() && k != KindTruncate }

// isChange reports whether a message of this kind counts in COMMIT.
func (k Kind) isChange() bool {
	switch k {
	case KindInsert, KindUpdate, KindDelete, KindTruncate, KindTombstone, KindStatement:
		return true
	}
	return false
}

// An Event is a message that matters to more than the table it changes:
// Startup, Begin, Commit, Watermark or Message.
type Event interface{ event() }

// Startup is the sender's answer to the stream options.
type Startup struct {
	Protocol      uint16
	ServerVersion uint32
	Formats       uint8 // best form of values that may occur: i, b or t
	Encoding      string
}

// Begin opens a transaction.
type Begin struct {
	XID        uint32
	CommitLSN  lsn.LSN // start of the commit record
	EndLSN     lsn.LSN // end of the commit record; progress is measured in these
	CommitTime int64   // microseconds since 2000
	OriginNode uint32  // node that made the changes; zero: the sender
	OriginLSN  lsn.LSN // EndLSN of the transaction at that node
}

// Commit closes the transaction in progress.
type Commit struct {
	CommitLSN lsn.LSN
	EndLSN    lsn.LSN
	Changes   uint32 // rows, truncations and statements since BEGIN
}

// Watermark is a promise of the sender about its own changes. Times are
// microseconds since 2000.
type Watermark struct {
	Time    int64 // nothing that follows was committed before
	Awaited int64 // the sender waits for everybody to promise a later time
}

// Message is a logical message of ours. Content aliases the frame.
type Message struct {
	LSN     lsn.LSN // end of its record
	Content []byte
}

func (Startup) event()   {}
func (Begin) event()     {}
func (Commit) event()    {}
func (Watermark) event() {}
func (Message) event()   {}

// decode returns the event that a message is, or nil for a message about rows.
func decode(kind Kind, body []byte) (Event, error) {
	r := reader{rest: body}
	var e Event
	switch kind {
	case KindStartup:
		e = Startup{Protocol: r.uint16(), ServerVersion: r.uint32(), Formats: r.uint8(), Encoding: r.name()}
	case KindBegin:
		e = Begin{XID: r.uint32(), CommitLSN: r.lsn(), EndLSN: r.lsn(), CommitTime: int64(r.uint64()),
			OriginNode: r.uint32(), OriginLSN: r.lsn()}
	case KindCommit:
		e = Commit{CommitLSN: r.lsn(), EndLSN: r.lsn(), Changes: r.uint32()}
	case KindWatermark:
		e = Watermark{Time: int64(r.uint64()), Awaited: int64(r.uint64())}
	case KindMessage:
		e = Message{LSN: r.lsn(), Content: r.remainder()}
	default:
		return nil, nil
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("message %q: %w", kind, err)
	}
	return e, nil
}
