// Package update tests how one version of bdr takes the place of another: the
// SQL objects, the files of a server, and a group of which some nodes have the
// one and some the other.
package update

import (
	"testing"

	"bdr/gosrc/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }
