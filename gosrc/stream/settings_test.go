package stream

import (
	"strings"
	"testing"
)

// A server that does not know a setting refuses a connection that has it.
func TestSettingsOfVersions(t *testing.T) {
	for _, c := range []struct {
		version              string
		restricts, transacts bool
	}{
		{"15.7 (Debian 15.7-1)", false, false}, {"15.18", true, false}, {"16.3", false, false}, {"16.4", true, false},
		{"17.0", true, true}, {"18beta1", true, true}, {"18.1", true, true}, {"nonsense", false, false},
	} {
		all := settings(Command, "postgres", versionNumber(c.version))
		_, restricts := all["restrict_nonsystem_relation_kind"]
		_, transacts := all["transaction_timeout"]
		if restricts != c.restricts || transacts != c.transacts {
			t.Errorf("%s: restrict_nonsystem_relation_kind %v, transaction_timeout %v", c.version, restricts, transacts)
		}
		if all["search_path"] == "" || all["role"] != "none" || all["session_authorization"] != "postgres" {
			t.Errorf("%s: %v", c.version, all)
		}
	}
}

// A connection string keeps what it sets, but not what is pinned.
func TestOptionsOfConnectionStrings(t *testing.T) {
	config, err := parse("host=a user=x Search_Path=evil role=u work_mem=8MB options='-c search_path=evil -c geqo=off'", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	pinConfig(config, Restoring, 150018)
	want := map[string]string{"search_path": "pg_catalog, pg_temp", "role": "none", "work_mem": "8MB",
		"session_replication_role": "replica", "options": "-c search_path=evil -c geqo=off"}
	for name, value := range want {
		if config.RuntimeParams[name] != value {
			t.Errorf("%s is %q, not %q", name, config.RuntimeParams[name], value)
		}
	}
	if _, there := config.RuntimeParams["Search_Path"]; there {
		t.Error("Search_Path of the connection string stayed")
	}
}

// A program's options are ours behind the connection string's: the last counts.
func TestOptionsOfPrograms(t *testing.T) {
	options, err := ProgramOptions("host=a user=x options='-c geqo=off'", Reading, 150018)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"-c geqo=off -c ", `-c search_path=pg_catalog,\ pg_temp`, "-c session_authorization=x", "-c bdr.internal_restore=on"} {
		if !strings.Contains(options, want) {
			t.Errorf("no %q in %q", want, options)
		}
	}
}
