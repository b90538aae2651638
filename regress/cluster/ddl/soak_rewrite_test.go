//go:build soak

package ddl

import (
	"testing"

	"bdr/regress/cluster/clustertest"
)

// TestSoakRewrite is TestRewriteOfManyRows with as many as tables of applications have.
func TestSoakRewrite(t *testing.T) {
	rewriteManyRows(t, clustertest.FromEnvironment("BDR_SOAK_ROWS", 1_000_000))
}
