package catalog

import (
	"bdr/gosrc/ipc"
)

// Facts is what the checks before create_node and join look at: the server,
// the database and the session's role.
type Facts struct {
	VersionNum           int
	Version              string
	WALLevel             string
	TrackCommitTimestamp bool
	HasPluginSetting     bool   // output_plugin_libraries exists
	PluginLibraries      string // its value
	IdleSlotTimeout      string // idle_replication_slot_timeout, "0" where that does not exist
	Slots, Senders       Quota  // the hold of the database is not among the slots in use
	Origins, Workers     Quota
	Encoding             string
	Collate, Ctype       string
	LocaleProvider       string
	Locale               string // of ICU or the builtin provider
	Database             string
	DatabaseOID          uint32
	SystemIdentifier     string
	PostmasterStart      string
	Superuser            bool
	Role                 string
	Extension            string // version of bdr, empty when it is not installed
}

// Quota is a limit of the configuration and how much of it is in use.
type Quota struct {
	Max, Used int
}

// Free says how many are left.
func (q Quota) Free() int { return q.Max - q.Used }

// SelectFacts reads Facts; it works without the extension.
func SelectFacts() ipc.Stmt {
	return ipc.Stmt{SQL: `WITH backend AS (
 SELECT backend_type, count(*) AS n FROM pg_catalog.pg_stat_activity GROUP BY backend_type)
SELECT current_setting('server_version_num'), current_setting('server_version'),
 current_setting('wal_level'), current_setting('track_commit_timestamp'),
 EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name = 'output_plugin_libraries'),
 (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'output_plugin_libraries'),
 COALESCE(current_setting('idle_replication_slot_timeout', true), '0'),
 current_setting('max_replication_slots'),
 (SELECT count(*) FROM pg_catalog.pg_replication_slots WHERE slot_name <> pg_catalog.format('bdr_%s_hold', d.oid)),
 current_setting('max_wal_senders'), COALESCE((SELECT n FROM backend WHERE backend_type = 'walsender'), 0),
 COALESCE(current_setting('max_active_replication_origins', true), current_setting('max_replication_slots')),
 (SELECT count(*) FROM pg_catalog.pg_replication_origin),
 current_setting('max_worker_processes'),
 (SELECT COALESCE(sum(n), 0) FROM backend WHERE backend_type NOT IN ('client backend', 'walsender', 'walreceiver',
  'autovacuum launcher', 'autovacuum worker', 'background writer', 'checkpointer', 'walwriter', 'startup', 'archiver',
  'logger', 'slotsync worker', 'walsummarizer', 'io worker', 'standalone backend', 'parallel worker')),
 pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,
 COALESCE(pg_catalog.to_jsonb(d) ->> 'datlocprovider', 'c'),
 COALESCE(pg_catalog.to_jsonb(d) ->> 'daticulocale', pg_catalog.to_jsonb(d) ->> 'datlocale', ''),
 d.datname, d.oid, (SELECT system_identifier FROM pg_catalog.pg_control_system()),
 extract(epoch FROM pg_catalog.pg_postmaster_start_time())::text,
 (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), current_user,
 (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'bdr')
FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()`}
}

// FactsOf decodes what SelectFacts returned.
func FactsOf(r ipc.Result) (Facts, error) {
	if len(r.Rows) == 0 {
		return Facts{}, (&columns{}).done()
	}
	c := columns{row: r.Rows[0]}
	quota := func() Quota { return Quota{Max: int(c.integer()), Used: int(c.integer())} }
	f := Facts{VersionNum: int(c.integer()), Version: c.text(), WALLevel: c.text(), TrackCommitTimestamp: c.boolean(),
		HasPluginSetting: c.boolean(), PluginLibraries: c.text(), IdleSlotTimeout: c.text(),
		Slots: quota(), Senders: quota(), Origins: quota(), Workers: quota(),
		Encoding: c.text(), Collate: c.text(), Ctype: c.text(), LocaleProvider: c.text(), Locale: c.text(),
		Database: c.text(), DatabaseOID: c.oid(), SystemIdentifier: c.text(), PostmasterStart: c.text(),
		Superuser: c.boolean(), Role: c.text(), Extension: c.text()}
	return f, c.done()
}

// userRelations are those of which a join speaks: not the system's, not the
// extension's, and not members of any extension.
const userRelations = relations + ` WHERE ` + isUsers

const (
	relations = `pg_catalog.pg_class c JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace`

	isUsers = `s.nspname NOT LIKE 'pg\_%' AND s.nspname NOT IN ('information_schema', 'bdr')
 AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_catalog.pg_class'::regclass
  AND e.objid = c.oid AND e.deptype = 'e')`
)

// SelectUserRelations reads the names of some user tables, views and
// sequences: what must not be there when the schema is to be copied.
func SelectUserRelations(limit int) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT pg_catalog.format('%I.%I', s.nspname, c.relname) FROM ` + userRelations + `
 AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') ORDER BY 1 LIMIT $1::integer`, Args: []any{limit}}
}

// SelectOwners reads the roles to which objects of the database refer.
func SelectOwners() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT DISTINCT pg_catalog.pg_get_userbyid(refobjid)::text FROM pg_catalog.pg_shdepend
 WHERE refclassid = 'pg_catalog.pg_authid'::regclass AND deptype IN ('o', 'a', 'r')
 AND dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) ORDER BY 1`}
}

// SelectMissingRoles reads which of these names are not roles here.
func SelectMissingRoles(names []string) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT n FROM pg_catalog.unnest($1::text[]) n
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = n) ORDER BY 1`, Args: []any{names}}
}

// SelectExtensions reads the installed extensions.
func SelectExtensions() ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT extname::text FROM pg_catalog.pg_extension ORDER BY 1`}
}

// SelectMissingExtensions reads which of these extensions cannot be installed here.
func SelectMissingExtensions(names []string) ipc.Stmt {
	return ipc.Stmt{SQL: `SELECT n FROM pg_catalog.unnest($1::text[]) n
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = n) ORDER BY 1`, Args: []any{names}}
}

// Texts decodes a result of one text column.
func Texts(r ipc.Result) []string {
	texts := make([]string, 0, len(r.Rows))
	for _, row := range r.Rows {
		if len(row) > 0 && row[0] != nil {
			texts = append(texts, *row[0])
		}
	}
	return texts
}
