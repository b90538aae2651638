/*-------------------------------------------------------------------------
 * settings.c
 *		Every setting, with its bounds, in alphabetical order.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "base/settings.h"
#include "row/relation.h"
#include "session/local_only.h"
#include "session/restore.h"
#include "settings.h"

static int	dead_row_retention = 10 * 60;	/* these two are the manager's */
static int	watermark_interval = 1000;
static int	logical_decoding_work_mem_min = 256 * 1024;	/* read by bdr_output.so, by name */

static const struct config_enum_entry skew_actions[] = {
	{"WARN", BDR_SKEW_WARN, false},
	{"WAIT", BDR_SKEW_WAIT, false},
	{NULL, 0, false}
};

static const struct config_enum_entry replica_identities[] = {
	{"default", REPLICA_IDENTITY_DEFAULT, false},
	{"full", REPLICA_IDENTITY_FULL, false},
	{"nothing", REPLICA_IDENTITY_NOTHING, false},
	{"auto", BDR_IDENTITY_AUTO, false},
	{NULL, 0, false}
};

static const struct config_enum_entry sequence_kinds[] = {
	{"local", 'l', false},
	{"distributed", BDR_SEQUENCE_DISTRIBUTED, false},
	{"snowflakeid", 's', false},
	{"timeshard", 't', false},
	{"galloc", 'g', false},
	{NULL, 0, false}
};

static void define_ddl_settings(void);
static void define_debug_settings(void);
static void define_internal_settings(void);
static void define_retention_settings(void);
static void define_default_replica_identity(void);
static void define_default_sequence_kind(void);
static void define_global_lock_timeout(void);
static void define_match_table_owner(void);
static void assign_match_table_owner(bool newval, void *extra);

void
bdr_settings_define(void)
{
	define_ddl_settings();
	define_debug_settings();
	define_internal_settings();
	define_default_replica_identity();
	define_default_sequence_kind();
	define_global_lock_timeout();
	DefineCustomIntVariable("bdr.logical_decoding_work_mem",
							"Memory that each walsender of a peer may use before it spills transactions to disk.",
							"Where logical_decoding_work_mem is larger, that counts.",
							&logical_decoding_work_mem_min,
							256 * 1024, 64, MAX_KILOBYTES,
							PGC_SIGHUP,
							GUC_UNIT_KB,
							NULL, NULL, NULL);
	define_match_table_owner();
	DefineCustomIntVariable("bdr.max_worker_backoff_delay",
							"Longest time between two attempts of a subscription that fails.",
							NULL,
							&bdr_max_worker_backoff_delay,
							60000, 10, 24 * 60 * 60 * 1000,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("bdr.maximum_clock_skew",
							"How far the commit time of a peer's transaction may be in the future of our clock.",
							"-1 means any time.",
							&bdr_maximum_clock_skew,
							BDR_MAXIMUM_CLOCK_SKEW, -1, INT_MAX,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomEnumVariable("bdr.maximum_clock_skew_action",
							 "What to do about a transaction beyond bdr.maximum_clock_skew.",
							 "WARN says so in the server log, WAIT waits until our clock has come near enough.",
							 &bdr_maximum_clock_skew_action,
							 BDR_MAXIMUM_CLOCK_SKEW_ACTION, skew_actions,
							 PGC_SIGHUP,
							 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("bdr.min_worker_backoff_delay",
							"Time before the second attempt of a subscription that fails.",
							"It doubles with each further failure, up to bdr.max_worker_backoff_delay.",
							&bdr_min_worker_backoff_delay,
							1000, 10, 24 * 60 * 60 * 1000,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomBoolVariable("bdr.xact_replication",
							 "Off keeps what the transaction writes on this node.",
							 "Only with SET LOCAL, before the transaction has written.",
							 &bdr_xact_replication,
							 true,
							 PGC_SUSET,
							 GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE | GUC_DISALLOW_IN_AUTO_FILE,
							 bdr_local_only_check_setting, bdr_local_only_assign_setting, NULL);
	define_retention_settings();
	MarkGUCPrefixReserved("bdr");
}

static void
define_default_replica_identity(void)
{
	DefineCustomEnumVariable("bdr.default_replica_identity",
							 "Replica identity of new tables.",
							 "auto is full for as long as a table has no primary key.",
							 &bdr_default_replica_identity,
							 BDR_IDENTITY_AUTO, replica_identities,
							 PGC_USERSET,
							 0,
							 NULL, NULL, NULL);
}

static void
define_default_sequence_kind(void)
{
	DefineCustomEnumVariable("bdr.default_sequence_kind",
							 "Kind of new sequences.",
							 "distributed is snowflakeid for bigint and galloc for integer and smallint; a sequence that cannot have the kind is local.",
							 &bdr_default_sequence_kind,
							 BDR_SEQUENCE_DISTRIBUTED, sequence_kinds,
							 PGC_USERSET,
							 0,
							 NULL, NULL, NULL);
}

static void
define_global_lock_timeout(void)
{
	DefineCustomIntVariable("bdr.global_lock_timeout",
							"Longest wait for a global lock.",
							"0 means without a limit.",
							&bdr_global_lock_timeout,
							60000, 0, INT_MAX,
							PGC_USERSET,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
}

static void
define_match_table_owner(void)
{
	DefineCustomBoolVariable("bdr.match_table_owner",
							 "Changes of a peer's table go to a table of the same owner only.",
							 "Owners are compared by name; one superuser is like another.",
							 &bdr_match_table_owner,
							 true,
							 PGC_SIGHUP,
							 0,
							 NULL, assign_match_table_owner, NULL);
}

/* A writer looks at its tables again. */
static void
assign_match_table_owner(bool newval, void *extra)
{
	bdr_relation_mark_all_stale();
}

static void
define_ddl_settings(void)
{
	DefineCustomEnumVariable("bdr.ddl_locking",
							 "Global locks that DDL takes.",
							 "all: one session of the group changes the schema at a time.",
							 &bdr_ddl_locking,
							 BDR_DDL_LOCKING_ALL, bdr_ddl_locking_names,
							 PGC_SUSET,
							 0,
							 NULL, NULL, NULL);
	DefineCustomBoolVariable("bdr.ddl_replication",
							 "DDL runs on all nodes of the group.",
							 "What it locks in the group: bdr.ddl_locking.",
							 &bdr_ddl_replication,
							 false,
							 PGC_SUSET,
							 0,
							 NULL, NULL, NULL);
	DefineCustomBoolVariable("bdr.truncate_locking",
							 "TRUNCATE takes the global locks of its tables.",
							 "As far as bdr.ddl_locking is not off.",
							 &bdr_truncate_locking,
							 false,
							 PGC_USERSET,
							 0,
							 NULL, NULL, NULL);
	DefineCustomBoolVariable("bdr.role_replication",
							 "Commands about roles are DDL that runs on all nodes.",
							 "Off, they are for this server only.",
							 &bdr_role_replication,
							 true,
							 PGC_SUSET,
							 0,
							 NULL, NULL, NULL);
}

/* For tests and the benchmark. */
static void
define_debug_settings(void)
{
	DefineCustomStringVariable("bdr.debug_architecture",
							   "Architecture that this server says it has, to its peers.",
							   NULL,
							   &bdr_debug_architecture,
							   "",
							   PGC_SIGHUP,
							   GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_AUTO_FILE | GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomStringVariable("bdr.debug_go_library",
							   "Library that the manager loads in place of the installed one.",
							   NULL,
							   &bdr_debug_go_library,
							   "",
							   PGC_SIGHUP,
							   GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_AUTO_FILE | GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
	DefineCustomIntVariable("bdr.debug_id_clock",
							"How far from the server's clock that of ids takes the time to be.",
							NULL,
							&bdr_debug_id_clock,
							0, -1000000, 1000000,
							PGC_SIGHUP,
							GUC_UNIT_S | GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_AUTO_FILE | GUC_SUPERUSER_ONLY,
							NULL, NULL, NULL);
	DefineCustomBoolVariable("bdr.debug_trust_peers",
							 "Lets the benchmark apply changes without looking for conflicts: nodes end different.",
							 NULL,
							 &bdr_debug_trust_peers,
							 false,
							 PGC_SUSET,
							 GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_AUTO_FILE,
							 NULL, NULL, NULL);
}

/* What only we set. */
static void
define_internal_settings(void)
{
	DefineCustomBoolVariable("bdr.internal_restore",
							 "Marks the sessions with which a join reads and restores what belongs to users.",
							 "Functions run with the rights of their owners in them.",
							 &bdr_internal_restore,
							 false,
							 PGC_SU_BACKEND,
							 GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE | GUC_DISALLOW_IN_AUTO_FILE,
							 NULL, bdr_restore_assign, NULL);
}

/* What is kept of conflicts and old versions, and counted. */
static void
define_retention_settings(void)
{
	DefineCustomIntVariable("bdr.conflict_history_retention",
							"How long rows of bdr.conflict_history are kept.",
							"They go up to a hundredth of that time later. -1 keeps them for ever.",
							&bdr_conflict_history_retention,
							30 * 24 * 60 * 60, -1, INT_MAX,
							PGC_SIGHUP,
							GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("bdr.dead_row_retention",
							"Longest time for which dead rows are kept because a peer may send something older.",
							"0 keeps none, -1 keeps them for as long as it takes.",
							&dead_row_retention,
							10 * 60, -1, INT_MAX,
							PGC_SIGHUP,
							GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("bdr.watermark_interval",
							"Time between two watermarks of a node, and between two looks at what can be cleaned up.",
							"While nothing happens it grows up to ten times that.",
							&watermark_interval,
							1000, 10, 60 * 60 * 1000,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
	if (process_shared_preload_libraries_in_progress)
		DefineCustomIntVariable("bdr.stat_relation_max",
								"Number of tables, of all databases, that bdr.stat_relation has room for.",
								NULL,
								&bdr_stat_relation_max,
								5000, 100, 10 * 1000 * 1000,
								PGC_POSTMASTER,
								0,
								NULL, NULL, NULL);
}
