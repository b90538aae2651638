package ddl

import (
	"testing"

	"bdr/gosrc/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// on are the settings of a cluster that replicates DDL.
var on = map[string]string{"bdr.ddl_replication": "on", "bdr.max_worker_backoff_delay": "1s", "allow_in_place_tablespaces": "on"}
