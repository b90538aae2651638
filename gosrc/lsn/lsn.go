// Package lsn is a position in a server's write-ahead log, and what it is on. It
// knows the text form and nothing else: positions of different servers do not
// compare.
package lsn

import (
	"fmt"
	"strconv"
	"strings"
)

// LSN is a byte position in the write-ahead log.
type LSN uint64

// Zero is the position that is not known yet.
const Zero LSN = 0

// Parse reads the text form of pg_lsn: two hexadecimal halves and a slash.
func Parse(text string) (LSN, error) {
	high, low, found := strings.Cut(text, "/")
	if !found {
		return Zero, invalid(text)
	}
	h, err := parseHalf(high)
	if err != nil {
		return Zero, invalid(text)
	}
	l, err := parseHalf(low)
	if err != nil {
		return Zero, invalid(text)
	}
	return LSN(h)<<32 | LSN(l), nil
}

// parseHalf refuses the signs and underscores that strconv would let through.
func parseHalf(digits string) (uint64, error) {
	if strings.Trim(digits, "0123456789abcdefABCDEF") != "" {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseUint(digits, 16, 32)
}

func invalid(text string) error {
	return fmt.Errorf("invalid write-ahead log position %q", text)
}

// String returns the text form of pg_lsn, which Parse reads.
func (l LSN) String() string {
	return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l))
}
