/*-------------------------------------------------------------------------
 * base/settings.c
 *		Settings that several parts read, and what the manager is told of them.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "utils/guc.h"

#include "base/settings.h"
#include "bdr_protocol.h"

int			bdr_conflict_history_retention = 30 * 24 * 60 * 60;
char	   *bdr_debug_architecture = "";
char	   *bdr_debug_go_library = "";
int			bdr_debug_id_clock = 0;
bool		bdr_debug_trust_peers = false;
int			bdr_ddl_locking = BDR_DDL_LOCKING_ALL;
bool		bdr_ddl_replication = false;
int			bdr_default_replica_identity = BDR_IDENTITY_AUTO;
int			bdr_default_sequence_kind = BDR_SEQUENCE_DISTRIBUTED;
int			bdr_global_lock_timeout = 60000;
bool		bdr_match_table_owner = true;
int			bdr_max_worker_backoff_delay = 60000;
int			bdr_maximum_clock_skew = BDR_MAXIMUM_CLOCK_SKEW;
int			bdr_maximum_clock_skew_action = BDR_MAXIMUM_CLOCK_SKEW_ACTION;
int			bdr_min_worker_backoff_delay = 1000;
bool		bdr_role_replication = true;
int			bdr_stat_relation_max = 5000;
bool		bdr_truncate_locking = false;

/* The last ones are of servers that have leaders of locks, and of booleans. */
const struct config_enum_entry bdr_ddl_locking_names[] = {
	{"off", BDR_DDL_LOCKING_OFF, false},
	{"dml", BDR_DDL_LOCKING_DML, false},
	{"all", BDR_DDL_LOCKING_ALL, false},
	{"leader", BDR_DDL_LOCKING_ALL, true},
	{"auto", BDR_DDL_LOCKING_ALL, true},
	{"on", BDR_DDL_LOCKING_ALL, true},
	{"true", BDR_DDL_LOCKING_ALL, true},
	{"false", BDR_DDL_LOCKING_OFF, true},
	{NULL, 0, false}
};

/* What the manager is told. */
static const char *const setting_names[] = {
	"bdr.conflict_history_retention",
	"bdr.dead_row_retention",
	"bdr.max_worker_backoff_delay",
	"bdr.min_worker_backoff_delay",
	"bdr.watermark_interval",
	"idle_replication_slot_timeout",	/* since 18 */
	"synchronized_standby_slots",	/* since 17 */
	"wal_receiver_timeout",
};

/*
 * Packs every setting, in its base unit and without it, as SETTINGS.  One that
 * this server does not know is empty.
 */
void
bdr_settings_pack(StringInfo buf)
{
	bdr_message_begin(buf, BDR_MSG_SETTINGS);
	pq_sendint16(buf, lengthof(setting_names));
	for (int i = 0; i < lengthof(setting_names); i++)
	{
		const char *value = GetConfigOption(setting_names[i], true, false);

		bdr_message_text(buf, setting_names[i]);
		bdr_message_text(buf, value != NULL ? value : "");
	}
}
