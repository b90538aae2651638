// Package mixed tests clusters whose servers are of different major versions, and
// the ways from one to the next. "make check-mixed" runs it.
package mixed

import (
	"testing"

	"bdr/gosrc/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }
