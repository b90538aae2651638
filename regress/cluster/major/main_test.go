// Package major has the tests of what differs between the major versions of the
// server: slots, origins, workers and settings.
package major

import (
	"testing"

	"bdr/gosrc/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }
