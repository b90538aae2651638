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

#include "bdr.h"
#include "bdr_clock.h"
#include "bdr_dropped.h"
#include "bdr_guard.h"
#include "bdr_identity.h"
#include "bdr_prepared.h"
#include "bdr_reindex.h"
#include "bdr_repair.h"
#include "bdr_rewrite.h"
#include "bdr_vanish.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	bdr_guc_define();
	bdr_clock_init();
	bdr_guard_init();
	bdr_dropped_init();
	bdr_repair_init();
	bdr_identity_init();
	bdr_vanish_init();
	bdr_prepared_init();
	bdr_rewrite_init();
	bdr_reindex_init();
	if (!process_shared_preload_libraries_in_progress)
		return;
	bdr_shmem_init();
	/* pg_upgrade must find a quiet server. */
	if (!IsBinaryUpgrade)
		bdr_supervisor_register();
}
