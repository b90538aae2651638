// Package wire reads the frames that bdr_output sends: their lengths and the
// boundaries of transactions. Rows stay bytes; a writer of ours reads them, in
// extension/row/decode.c. docs/protocol.md has the layout.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Versions of the protocol that this build reads, as in include/bdr_wire.h.
const (
	VersionMin = 2
	VersionMax = 3
)

const (
	magic              = 'B'
	headerBytes        = 8
	messageHeaderBytes = 5
)

// A Frame is a checked frame: every message in it lies inside it and has a
// known kind. It aliases the bytes that it was read from.
type Frame struct {
	Version  uint8
	messages []byte
}

// castagnoli is the polynomial that processors have an instruction for.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ReadFrame checks the header of b, its checksum and the length and kind of
// every message.
func ReadFrame(b []byte) (Frame, error) {
	switch {
	case len(b) < headerBytes:
		return Frame{}, fmt.Errorf("frame of %d bytes is too short", len(b))
	case b[0] != magic:
		return Frame{}, fmt.Errorf("frame begins with byte %#02x", b[0])
	case b[1] < VersionMin || b[1] > VersionMax:
		return Frame{}, fmt.Errorf("frame of protocol version %d", b[1])
	case b[2] != 0 || b[3] != 0:
		return Frame{}, errors.New("reserved bytes of frame header are set")
	}
	f := Frame{Version: b[1], messages: b[headerBytes:]}
	if sum, want := crc32.Checksum(f.messages, castagnoli), binary.BigEndian.Uint32(b[4:]); sum != want {
		return Frame{}, fmt.Errorf("frame of %d bytes was damaged on its way: checksum %08x, expected %08x", len(b), sum, want)
	}
	return f, f.each(func(Kind, []byte) error { return nil })
}

// each calls visit with every message in order.
func (f Frame) each(visit func(Kind, []byte) error) error {
	for rest := f.messages; len(rest) > 0; {
		if len(rest) < messageHeaderBytes {
			return fmt.Errorf("message header is cut off after %d bytes", len(rest))
		}
		kind := Kind(rest[0])
		length := int64(binary.BigEndian.Uint32(rest[1:]))
		rest = rest[messageHeaderBytes:]
		least := bodyBytesMin[kind]
		switch {
		case least == 0:
			return fmt.Errorf("unknown message kind %q", kind)
		case length < int64(least):
			return fmt.Errorf("message %q has %d bytes, expected at least %d", kind, length, least)
		case length > int64(len(rest)):
			return fmt.Errorf("message %q has %d bytes, %d are left in its frame", kind, length, len(rest))
		}
		if err := visit(kind, rest[:length:length]); err != nil {
			return err
		}
		rest = rest[length:]
	}
	return nil
}

// Scan calls visit with every event of the frame in order. It stops at the
// first error, its own or visit's.
func (f Frame) Scan(visit func(Event) error) error {
	return f.each(func(kind Kind, body []byte) error {
		e, err := decode(kind, body)
		if err != nil || e == nil {
			return err
		}
		return visit(e)
	})
}
