package repset

import (
	"testing"

	"bdr/gosrc/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }
