package stream

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Purpose is what a connection is for; its settings depend on it.
type Purpose int

const (
	// Command is for statements of ours about what is ours.
	Command Purpose = iota
	// Replication is for the replication protocol.
	Replication
	// Reading is for reading tables of users: the source's end of a join.
	Reading
	// Asking is for SQL of a superuser of ours, as if he had connected himself.
	Asking
	// Restoring is for making and filling them: the joiner's end. Code of
	// users runs with their rights (extension/session/restore.c).
	Restoring
)

// pinned are the settings of every connection of ours. They are part of its
// start, so that no moment passes without them, and nothing that is set for a
// database or a role can move them; extension/base/worker_settings.c has the same list
// for our background workers. Names without a schema in statements of ours
// mean those of pg_catalog by that.
var pinned = map[string]string{
	"role":                                "none",
	"session_replication_role":            "origin",
	"search_path":                         "pg_catalog, pg_temp",
	"default_transaction_isolation":       "read committed",
	"default_transaction_read_only":       "off",
	"default_transaction_deferrable":      "off",
	"row_security":                        "off",
	"statement_timeout":                   "0",
	"lock_timeout":                        "0",
	"idle_in_transaction_session_timeout": "0",
	"idle_session_timeout":                "0",
	"transaction_timeout":                 "0",
	"restrict_nonsystem_relation_kind":    "view, foreign-table",
	"local_preload_libraries":             "",
	"client_encoding":                     "SQL_ASCII", // text is in the database's encoding, as it is stored
	"standard_conforming_strings":         "on",
	"quote_all_identifiers":               "off",
	"transform_null_equals":               "off",
	"array_nulls":                         "on",
	"DateStyle":                           "ISO, YMD",
	"IntervalStyle":                       "postgres",
	"TimeZone":                            "GMT",
	"extra_float_digits":                  "1",
	"bytea_output":                        "hex",
	"lc_monetary":                         "C",
	"lc_numeric":                          "C",
	"lc_time":                             "C",
	"xmloption":                           "content",
	"xmlbinary":                           "base64",
	"jit":                                 "off",
	"exit_on_error":                       "off",
	"timezone_abbreviations":              "Default",
	"tcp_user_timeout":                    "0",
}

// unmoveSender takes back what somebody has set for the database or the role
// where the value of the configuration counts, which only the server knows.
const unmoveSender = `SELECT pg_catalog.set_config(name, boot_val, false) FROM pg_catalog.pg_settings
 WHERE name = 'wal_sender_timeout' AND source IN ('database', 'user', 'database user', 'global')`

// pinnedFor are the differences.
var pinnedFor = map[Purpose]map[string]string{
	Reading: {"bdr.internal_restore": "on"},
	Restoring: {"bdr.internal_restore": "on", "session_replication_role": "replica", "synchronous_commit": "off",
		"restrict_nonsystem_relation_kind": ""}, // users' views are read with users' rights
}

// ofAsking are the settings that he gets: what he runs stays on that node.
var ofAsking = map[string]string{"client_encoding": pinned["client_encoding"], "bdr.ddl_replication": "off"}

// since are the settings that not every server knows: the number of the oldest
// minor release of each major one, or of the first major one.
var since = map[string][]int{
	"transaction_timeout":              {170000},
	"restrict_nonsystem_relation_kind": {150008, 160004, 170000},
}

// knows says whether a server has a setting. Of an unknown one, 0, only what
// all have is expected.
func knows(version int, setting string) bool {
	first, limited := since[setting]
	if !limited {
		return true
	}
	for _, v := range first {
		if version >= v && (version/10000 == v/10000 || v == first[len(first)-1]) {
			return true
		}
	}
	return false
}

// isPinned says whether a connection string must not set this.
func isPinned(name string) bool {
	same := func(other string) bool { return strings.EqualFold(name, other) }
	if same("session_authorization") || slices.ContainsFunc(slices.Collect(maps.Keys(pinned)), same) {
		return true
	}
	for _, differences := range pinnedFor {
		if slices.ContainsFunc(slices.Collect(maps.Keys(differences)), same) {
			return true
		}
	}
	return false
}

// settings are those of a connection.
func settings(p Purpose, user string, version int) map[string]string {
	all := maps.Clone(pinned)
	maps.Copy(all, pinnedFor[p])
	if p == Asking {
		all = maps.Clone(ofAsking)
	}
	all["session_authorization"] = user
	maps.DeleteFunc(all, func(name, _ string) bool { return !knows(version, name) })
	return all
}

// sameSettings says whether two servers are given the same.
func sameSettings(a, b int) bool {
	for name := range since {
		if knows(a, name) != knows(b, name) {
			return false
		}
	}
	return true
}

// versionNumber makes 150018 of "15.18 (Debian 15.18-1)", and 0 of what it does
// not understand.
func versionNumber(version string) int {
	number, _, _ := strings.Cut(version, " ")
	major, minor, _ := strings.Cut(number, ".")
	n, err := strconv.Atoi(leadingDigits(major))
	if err != nil {
		return 0
	}
	m, _ := strconv.Atoi(leadingDigits(minor))
	return n*10000 + m
}

func leadingDigits(s string) string {
	return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
}

// VersionOf is the version of a connection's server, as PG_VERSION_NUM.
func VersionOf(conn *pgconn.PgConn) int { return versionNumber(conn.ParameterStatus("server_version")) }

// ProgramOptions returns the value of the connection keyword options for one of
// PostgreSQL's programs, which connects to dsn by itself: what dsn has, then
// what is pinned.
func ProgramOptions(dsn string, p Purpose, version int) (string, error) {
	config, err := parse(dsn, "", 0)
	if err != nil {
		return "", err
	}
	all := settings(p, config.User, version)
	options := []string{config.RuntimeParams["options"]}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		options = append(options, "-c "+name+"="+strings.NewReplacer(`\`, `\\`, " ", `\ `).Replace(all[name]))
	}
	return strings.TrimSpace(strings.Join(options, " ")), nil
}
