package join

import (
	"strings"
	"testing"

	"bdr/gosrc/catalog"
	"bdr/gosrc/pgerr"
	"bdr/gosrc/release"
)

func goodFacts() catalog.Facts {
	return catalog.Facts{VersionNum: 150020, Version: "15.20", WALLevel: "logical", TrackCommitTimestamp: true,
		HasPluginSetting: true, PluginLibraries: `pgoutput, test_decoding, "bdr_output"`, IdleSlotTimeout: "0",
		Slots: catalog.Quota{Max: 10}, Senders: catalog.Quota{Max: 10}, Origins: catalog.Quota{Max: 10}, Workers: catalog.Quota{Max: 8, Used: 3},
		Encoding: "UTF8", Collate: "C", Ctype: "C", LocaleProvider: "c", Database: "app", DatabaseOID: 5,
		SystemIdentifier: "1", PostmasterStart: "1.5", Superuser: true, Extension: "0.1.0"}
}

// Each refusal must say what is wrong and what to do, with the figures.
func TestCheckServer(t *testing.T) {
	n := Need{Slots: 2, Senders: 2, Origins: 2, Workers: 2, Purpose: "A test"}
	tests := []struct {
		name, code, message, hint string
		change                    func(*catalog.Facts)
	}{
		{"good", "", "", "", func(*catalog.Facts) {}},
		{"old_minor_has_no_setting", "", "", "", func(f *catalog.Facts) { f.HasPluginSetting, f.PluginLibraries = false, "" }},
		{"wal_level", pgerr.WrongState, `wal_level must be "logical" on node "b"`, "wal_level = logical", func(f *catalog.Facts) { f.WALLevel = "replica" }},
		{"commit_timestamp", pgerr.WrongState, "track_commit_timestamp", "= on", func(f *catalog.Facts) { f.TrackCommitTimestamp = false }},
		{"plugin", pgerr.WrongState, "output_plugin_libraries", "'pgoutput, test_decoding, bdr_output'", func(f *catalog.Facts) { f.PluginLibraries = "pgoutput, test_decoding" }},
		{"slots", pgerr.ConfigLimit, "max_replication_slots", "at least 11", func(f *catalog.Facts) { f.Slots.Used = 9 }},
		{"senders", pgerr.ConfigLimit, "max_wal_senders", "at least 2", func(f *catalog.Facts) { f.Senders.Max = 0 }},
		{"workers", pgerr.ConfigLimit, "max_worker_processes", "at least 9", func(f *catalog.Facts) { f.Workers.Used = 7 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			facts := goodFacts()
			tt.change(&facts)
			err := CheckServer(facts, n, ` on node "b"`)
			if tt.code == "" {
				if err != nil {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err == nil || err.Code != tt.code || !strings.Contains(err.Message, tt.message) || !strings.Contains(err.Hint, tt.hint) || err.Detail == "" {
				t.Errorf("got %+v", err)
			}
		})
	}
}

// Two databases that cannot hold the same rows must not join.
func TestCheckPair(t *testing.T) {
	other := func(change func(*catalog.Facts)) catalog.Facts {
		f := goodFacts()
		f.SystemIdentifier = "2"
		change(&f)
		return f
	}
	tests := []struct {
		name, message string
		source        catalog.Facts
	}{
		{"good", "", other(func(*catalog.Facts) {})},
		{"itself", "to itself", goodFacts()},
		{"no_extension", "no extension bdr", other(func(f *catalog.Facts) { f.Extension = "" })},
		{"other_version", "", other(func(f *catalog.Facts) { f.Extension = "0.2.0" })},
		{"newer_major", "newer major version", other(func(f *catalog.Facts) { f.VersionNum = 170000 })},
		{"older_major", "", other(func(f *catalog.Facts) { f.VersionNum = 140000 })},
		{"encoding", "another encoding", other(func(f *catalog.Facts) { f.Encoding = "LATIN1" })},
		{"collation", "another collation", other(func(f *catalog.Facts) { f.Collate = "de_DE" })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckPair(goodFacts(), tt.source)
			if (err == nil) != (tt.message == "") || err != nil && !strings.Contains(err.Message, tt.message) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Versions that can work together may; the hint says which side is behind.
func TestCheckBuild(t *testing.T) {
	build := func(version, extension string, frames, managers release.Range) release.Build {
		return release.Build{Version: version, Extension: extension, Frames: frames, Managers: managers}
	}
	one, two, later := release.Range{Min: 1, Max: 1}, release.Range{Min: 2, Max: 2}, release.Range{Min: 3, Max: 4}
	here := build("0.2.0", "0.2.0", two, one)
	tests := []struct {
		name, message, hint string
		joiner, member      release.Build
	}{
		{"same", "", "", here, here},
		{"older_member", "", "", here, build("0.1.0", "0.1.0", two, one)},
		{"member_before_its_update", "", "", here, build("0.2.0", "0.1.0", two, one)},
		{"newer_member_before_its_update", "", "", here, build("0.3.0", "0.2.0", release.Range{Min: 2, Max: 4}, one)},
		{"newer_objects", `node "b" has a newer version`, "Install bdr 0.3.0 or later on this server", here, build("0.3.0", "0.3.0", two, one)},
		{"joiner_before_its_update", "SQL objects of this database", "ALTER EXTENSION bdr UPDATE", build("0.2.0", "0.1.0", two, one), here},
		{"frames_too_new", "the replication protocol", "on this server", here, build("0.3.0", "0.2.0", later, one)},
		{"frames_too_old", "the replication protocol", `on node "b"`, here, build("0.0.9", "0.0.9", one, one)},
		{"managers_too_new", "the managers' protocol", "on this server", here, build("0.3.0", "0.2.0", two, later)},
		{"managers_too_old", "the managers' protocol", `on node "b"`, build("0.2.0", "0.2.0", two, later), here},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckBuild(tt.joiner, tt.member, `node "b"`)
			if tt.message == "" {
				if err != nil {
					t.Fatalf("got %+v", err)
				}
				return
			}
			if err == nil || err.Code != pgerr.WrongState || !strings.Contains(err.Message, tt.message) || !strings.Contains(err.Hint, tt.hint) || err.Detail == "" {
				t.Errorf("got %+v", err)
			}
		})
	}
}

// PostgreSQL 16 and later write the name of an ICU locale in another way than 15,
// whatever was asked for.
func TestCheckPairOfLocales(t *testing.T) {
	for _, tt := range []struct {
		provider, here, there string
		same                  bool
	}{
		{"i", "en-US", "en_US", true}, {"i", "en-US", "en-us", true}, {"i", "en-US", "de-DE", false}, {"b", "C.UTF-8", "C.UTF-8", true}, {"b", "C_UTF-8", "C-UTF-8", false},
	} {
		here, there := goodFacts(), goodFacts()
		there.SystemIdentifier = "2"
		here.LocaleProvider, there.LocaleProvider = tt.provider, tt.provider
		here.Locale, there.Locale = tt.here, tt.there
		if err := CheckPair(here, there); (err == nil) != tt.same {
			t.Errorf("%q and %q of %q: got %v", tt.here, tt.there, tt.provider, err)
		}
	}
}

// The local DSN is what all other nodes will use: it must lead here.
func TestCheckSameDatabase(t *testing.T) {
	here := goodFacts()
	for name, change := range map[string]func(*catalog.Facts){
		"another server": func(f *catalog.Facts) { f.SystemIdentifier = "2" },
		"physical copy":  func(f *catalog.Facts) { f.PostmasterStart = "2" },
		`database "x"`:   func(f *catalog.Facts) { f.DatabaseOID, f.Database = 6, "x" },
	} {
		there := goodFacts()
		change(&there)
		err := CheckSameDatabase(here, there, "host=h password=secret")
		if err == nil || !strings.Contains(err.Detail, name) || strings.Contains(err.Message, "secret") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := CheckSameDatabase(here, here, ""); err != nil {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	for name, good := range map[string]bool{"a": true, "node-1_x": true, "": false, "A": false, "a b": false, "ä": false,
		strings.Repeat("x", 63): true, strings.Repeat("x", 64): false, `a"`: false} {
		if (CheckNodeName(name) == nil) != good {
			t.Errorf("node name %q", name)
		}
	}
	if CheckGroupName("a-b") == nil || CheckGroupName("a_b1") != nil {
		t.Error("group names have no hyphen")
	}
}

// Programs' arguments are visible to every user of the machine.
func TestSplitPassword(t *testing.T) {
	tests := []struct{ dsn, rest, password string }{
		{"host=a dbname=b", "host='a' dbname='b'", ""},
		{"host=a password='x y\\'z' user = u", "host='a' user='u'", "x y'z"},
		{"password=p sslpassword=q dbname='a b'", "dbname='a b'", "p"},
		{"postgresql://u:p%40x@h:1,h2:2/db?sslmode=require&password=z", "postgresql://u@h:1,h2:2/db?sslmode=require", "z"},
		{"postgres://u:p%40x@h/db", "postgres://u@h/db", "p@x"},
		{"postgres://h/db?password=a+b", "postgres://h/db", "a b"},
		{"", "", ""},
	}
	for _, tt := range tests {
		rest, password := splitPassword(tt.dsn)
		if rest != tt.rest || password != tt.password {
			t.Errorf("splitPassword(%q) = %q, %q", tt.dsn, rest, password)
		}
	}
}

// What pg_restore must not touch: our own extension, with its comment.
func TestIsExtensionEntry(t *testing.T) {
	names := map[string]bool{"bdr": true}
	for line, want := range map[string]bool{
		"2; 3079 16385 EXTENSION - bdr\n":                   true,
		"3550; 0 0 COMMENT - EXTENSION bdr\n":               true,
		"3; 3079 16385 EXTENSION - hstore\n":                false,
		"215; 1259 16400 TABLE public EXTENSION postgres\n": false,
		";\n": false,
		"\n":  false,
	} {
		if isExtensionEntry(line, names) != want {
			t.Errorf("isExtensionEntry(%q) = %v", line, !want)
		}
	}
}

// Any text may come in as a DSN.
func FuzzSplitPassword(f *testing.F) {
	f.Add("host=a password='x' b=\\")
	f.Add("postgresql://u:p@h/d?password=z")
	f.Fuzz(func(_ *testing.T, s string) { splitPassword(s) })
}

// A slot that goes by itself is a trap for the day on which a node is away.
func TestWarnIdle(t *testing.T) {
	f := goodFacts()
	if message, _, _ := WarnIdle(f, ""); message != "" {
		t.Errorf("nothing is wrong, but: %s", message)
	}
	f.IdleSlotTimeout = "1d"
	message, detail, hint := WarnIdle(f, " on node \"b\"")
	if message != "idle_replication_slot_timeout is 1d on node \"b\"" || detail == "" || hint == "" {
		t.Errorf("%s, %s, %s", message, detail, hint)
	}
}
