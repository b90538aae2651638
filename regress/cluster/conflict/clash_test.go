package conflict

import (
	"testing"
	"time"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestConflictChaos exists because the schedules that somebody thinks of are not
// those that break. Writers on all nodes insert, update, delete and insert again,
// on the same few keys and the same few unique values, while servers and
// processes are killed and links are cut. In the end all nodes are equal.
//
// BDR_SEED chooses another order of accidents.
func TestConflictChaos(t *testing.T) {
	conflictChaos(t, clustertest.SeedOr(1), 15*time.Second, 300*time.Millisecond)
}

func conflictChaos(t *testing.T, seed uint64, duration, second time.Duration) {
	t.Helper()
	c := pgtest.NewCluster(t, 3, pgtest.WithProxies(), pgtest.WithSettings(clustertest.Impatient))
	clustertest.ConflictChaos(t, c, seed, duration, second)
}
