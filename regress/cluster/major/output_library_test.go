package major

import (
	"strings"
	"testing"

	"bdr/gosrc/pgtest"
	"bdr/regress/cluster/clustertest"
)

// TestOutputPluginIsForbidden exists because output_plugin_libraries came with a
// minor version: a configuration that was complete until yesterday stops all
// peers. They must say which line is missing on which server, and go on by
// themselves when it is there.
func TestOutputPluginIsForbidden(t *testing.T) {
	c := pgtest.NewCluster(t, 2, pgtest.WithSettings(clustertest.QuickRetries))
	a, b := c.Nodes[0], c.Nodes[1]
	if a.Value("SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'") == "0" {
		t.Skipf("%s does not have output_plugin_libraries, which came with 15.19, 16.15, 17.11 and 18.6", a.Value("SELECT version()"))
	}
	c.ExecAll("CREATE TABLE t (id int PRIMARY KEY)")
	c.RequireConverged()
	a.Must(a.Configure(map[string]string{"output_plugin_libraries": "pgoutput, test_decoding"}))
	a.Must(a.Reload())
	a.Wait(clustertest.ResumeLimit, "SHOW output_plugin_libraries", "pgoutput, test_decoding")
	a.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender'", "INSERT INTO t VALUES (1)")
	b.Wait(clustertest.ResumeLimit, "SELECT error_sqlstate || ' ' || (error_retries > 1) FROM bdr.worker_errors", "42501 true")
	said := strings.Join(b.Rows("SELECT error_message, error_detail, error_hint FROM bdr.worker_errors")[0], "\n")
	t.Log(said)
	for _, part := range []string{`library "bdr_output" may not be used as an output plugin`, a.NodeDSN, `add it to "output_plugin_libraries" and reload`} {
		if !strings.Contains(said, part) {
			t.Errorf("%q is not said", part)
		}
	}
	b.Exec("INSERT INTO t VALUES (2)")
	a.Wait(clustertest.ResumeLimit, "SELECT count(*) FROM t", "2")
	a.Must(a.Configure(map[string]string{"output_plugin_libraries": "pgoutput, test_decoding, bdr_output"}))
	a.Must(a.Reload())
	c.RequireConverged()
}
