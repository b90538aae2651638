/*-------------------------------------------------------------------------
 * bdr.c
 *		Module start: the order in which the parts of bdr.so are set up.
 *
 * NOTES
 *		When bdr is not in shared_preload_libraries, a session that loads it
 *		gets the settings and the guards, and every function that needs the
 *		manager says what is missing.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "apply/activity.h"
#include "base/shmem.h"
#include "base/table_gate.h"
#include "manager/supervisor.h"
#include "rebuild/index.h"
#include "rebuild/table.h"
#include "row/statistics.h"
#include "session/attribute_version.h"
#include "session/commit_prepared.h"
#include "session/drop_guard.h"
#include "session/ddl/capture.h"
#include "session/ddl/identity.h"
#include "session/ddl/table_lock.h"
#include "session/dropped.h"
#include "session/filter_guard.h"
#include "session/local_only.h"
#include "session/lock/global_lock.h"
#include "session/lock/table_gate.h"
#include "session/pg_upgrade.h"
#include "session/replica_identity.h"
#include "session/sequence/clock.h"
#include "session/sequence/define.h"
#include "session/sequence/function.h"
#include "session/sequence/plan.h"
#include "settings.h"
#include "version/clock.h"
#include "version/key_removal.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	bdr_settings_define();
	bdr_activity_init();
	bdr_gate_init();
	bdr_stats_init();
	bdr_clock_init();
	bdr_drop_guard_init();
	bdr_dropped_init();
	bdr_filter_guard_init();
	bdr_local_only_init();
	bdr_pg_upgrade_init();
	bdr_replica_identity_init();
	bdr_key_removal_init();
	bdr_commit_prepared_init();
	bdr_id_clock_init();
	bdr_sequence_function_init();
	bdr_sequence_plan_init();
	bdr_sequence_define_init();
	bdr_global_lock_init();
	bdr_table_gate_init();
	bdr_rebuild_table_init();
	bdr_rebuild_index_init();
	bdr_identity_init();
	bdr_capture_init();
	bdr_table_lock_init();
	if (!process_shared_preload_libraries_in_progress)
		return;
	bdr_shmem_init();
	/* pg_upgrade must find a quiet server. */
	if (IsBinaryUpgrade)
		bdr_attribute_version_init();
	else
		bdr_supervisor_register();
}
