package wire

import (
	"encoding/binary"
	"fmt"

	"bdr/gosrc/lsn"
)

// A reader takes values from the front of a message body. The first value that
// is not there sets err; what follows then reads as zero.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) take(n int) []byte {
	if r.err == nil && len(r.rest) < n {
		r.err = fmt.Errorf("%d bytes left, expected %d", len(r.rest), n)
	}
	if r.err != nil {
		return nil
	}
	taken := r.rest[:n:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) uint8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) lsn() lsn.LSN { return lsn.LSN(r.uint64()) }

func (r *reader) name() string { return string(r.take(int(r.uint16()))) }

// remainder takes all that is left.
func (r *reader) remainder() []byte { return r.take(len(r.rest)) }

// end returns the first error; bytes that nobody took are one.
func (r *reader) end() error {
	if r.err == nil && len(r.rest) > 0 {
		return fmt.Errorf("%d bytes left over", len(r.rest))
	}
	return r.err
}
