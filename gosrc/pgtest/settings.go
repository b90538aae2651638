package pgtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// defaults are what bdr needs of a server, and what keeps tests quick.
//
// fsync is off: tests end processes, not machines, and what a process has
// written stays in the kernel when it is killed. A test about losing power
// would have to turn it on. The benchmark does.
func defaults(port int, dir string) map[string]string {
	return map[string]string{
		"listen_addresses":            "127.0.0.1",
		"port":                        fmt.Sprint(port),
		"unix_socket_directories":     dir,
		"shared_preload_libraries":    "bdr",
		"wal_level":                   "logical",
		"track_commit_timestamp":      "on",
		"max_worker_processes":        "32",
		"max_wal_senders":             "24",
		"max_replication_slots":       "24",
		"max_connections":             "100",
		"fsync":                       "off",
		"shared_buffers":              "64MB",
		"max_wal_size":                "1GB",
		"wal_sender_timeout":          "10s",
		"deadlock_timeout":            "200ms",
		"log_line_prefix":             "%m [%p] %b %a ",
		"log_checkpoints":             "off",
		"logging_collector":           "off",
		"timezone":                    "UTC",
		"max_prepared_transactions":   "4",
		"autovacuum_naptime":          "10s",
		"wal_retrieve_retry_interval": "100ms",
	}
}

// merge lays b over a; an empty value removes a setting.
func merge(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	for name, value := range b {
		if value == "" {
			delete(out, name)
			continue
		}
		out[name] = value
	}
	return out
}

// configuration is the text of postgresql.conf, in a fixed order.
func configuration(settings map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "%s = '%s'\n", name, strings.ReplaceAll(settings[name], "'", "''"))
	}
	return b.String()
}

// PasswordRole may only connect with a password; every other role is trusted.
// The role is made by the test that wants it.
const PasswordRole = "bdr_password"

const hostBasedAuthentication = `local all all trust
host all ` + PasswordRole + ` 127.0.0.1/32 scram-sha-256
host replication ` + PasswordRole + ` 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
host replication all 127.0.0.1/32 trust
`
