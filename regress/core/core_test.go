package core

import (
	"os"
	"testing"

	"bdr/gosrc/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	sourceVariable = "BDR_CORE_SOURCE" // the source of the server; make core-regress sets these
	folderVariable = "BDR_CORE_FOLDER" // where what was found is written
	skipVariable   = "BDR_CORE_SKIP"   // what node 2 cannot apply is left out, so that one run finds all
	database       = "regression"      // results of the suite have its name
)

// common is as a server has it by default, or as the suite's own server does. Both
// kinds of servers have it, so that nothing else differs.
var common = map[string]string{
	"max_prepared_transactions": "2",
	"max_worker_processes":      "32",
	"shared_buffers":            "128MB",
	"deadlock_timeout":          "1s",
	"autovacuum_naptime":        "1min",
}

// replicating is what the pair has besides: local sequences give the values of a plain
// server, and a table without a key takes UPDATE and DELETE as it does there.
var replicating = map[string]string{
	"bdr.ddl_replication":          "on",
	"bdr.dead_row_retention":       "0",
	"bdr.default_replica_identity": "auto",
	"bdr.default_sequence_kind":    "local", "bdr.ddl_locking": "off",
	"bdr.max_worker_backoff_delay": "1s",
}

// TestCoreRegress exists because PostgreSQL's own suite has thousands of statements
// that nobody would think of, and knows what each returns. It runs on node 1 of a pair
// as on a plain server; then both nodes must be equal. What differs is known, with a
// reason, or a fault.
func TestCoreRegress(t *testing.T) {
	source := os.Getenv(sourceVariable)
	if source == "" {
		t.Skip(`needs the source of the server: "make core-regress PG_SOURCE=..."`)
	}
	known := readKnown(t)
	s := newSuite(t, source)
	plain := s.runPlain(t)
	c := pgtest.NewCluster(t, 2, pgtest.WithDatabase(database), pgtest.WithSettings(merged(common, replicating)))
	node1, node2 := c.Nodes[0], c.Nodes[1]
	// node 1 refuses an empty location, as the suite wants it, where it is not set
	must(t, node2.Configure(map[string]string{"allow_in_place_tablespaces": "on"}))
	must(t, node2.Reload())
	follower := follow(t, known, node1, node2)
	results := s.run(t, node1)
	stops := follower.finish()
	found := append(differingResults(t, plain, results), stops...)
	found = append(found, differingSchemas(t, node1, node2)...)
	found = append(found, differingRows(t, node1, node2)...)
	report(t, s.folder, known, found)
	requireNoCrash(t, node1, node2)
}

func merged(all ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, settings := range all {
		for name, value := range settings {
			out[name] = value
		}
	}
	return out
}

// requireNoCrash reads the logs, since a server that starts over hides it.
func requireNoCrash(t *testing.T, nodes ...*pgtest.Node) {
	t.Helper()
	for _, n := range nodes {
		for _, text := range []string{"PANIC:", "TRAP:", "was terminated by signal", "terminating any other active server processes"} {
			if n.LogContains(text) {
				t.Errorf("%s: the log has %q", n.Name, text)
			}
		}
	}
}
