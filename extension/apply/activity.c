/*-------------------------------------------------------------------------
 * apply/activity.c
 *		What each writer is doing: written by writers, read by the views.
 *
 * NOTES
 *		pg_stat_activity shows that a writer waits, and for what.  Which
 *		transaction of which peer waits, and how far it is, must be seen at
 *		the same moment; a writer that waits cannot be asked.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "apply/activity.h"
#include "apply/state.h"
#include "base/shmem.h"

/* Columns of bdr.internal_writer_activity(). */
enum
{
	ACTIVITY_PID,
	ACTIVITY_SUB_ID,
	ACTIVITY_NCOMMITS,
	ACTIVITY_NABORTS,
	ACTIVITY_XID,
	ACTIVITY_COMMIT_LSN,
	ACTIVITY_END_LSN,
	ACTIVITY_COMMIT_TIME,
	ACTIVITY_ORIGIN_NODE_ID,
	ACTIVITY_ORIGIN_LSN,
	ACTIVITY_NCHANGES,
	ACTIVITY_COLUMNS
};

PG_FUNCTION_INFO_V1(bdr_internal_writer_activity);

BdrActivity *bdr_activity = NULL;

static BdrActivity *slots = NULL;

static Size memory_bytes(void);
static void start_memory(void);
static void detach(int code, Datum arg);
static bool look(const BdrActivity *slot, BdrActivity *copy);
static void fill_row(const BdrActivity *a, Datum *values, bool *nulls);

static const BdrShmemPart shmem_part = {memory_bytes, start_memory, NULL};

void
bdr_activity_init(void)
{
	bdr_shmem_register(&shmem_part);
}

/* There cannot be more writers than background workers. */
static Size
memory_bytes(void)
{
	return mul_size(max_worker_processes, sizeof(BdrActivity));
}

/* With AddinShmemInitLock held. */
static void
start_memory(void)
{
	bool		found;

	slots = ShmemInitStruct("bdr writers", memory_bytes(), &found);
	if (!found)
		memset(slots, 0, memory_bytes());
}

/* ---------------------------------------------------------------------
 * The writer's side
 * ---------------------------------------------------------------------
 */
void
bdr_activity_attach(uint32 subscription_id)
{
	LWLockAcquire(bdr_shmem->lock, LW_EXCLUSIVE);
	for (int i = 0; i < max_worker_processes && bdr_activity == NULL; i++)
	{
		if (slots[i].pid == 0)
			bdr_activity = &slots[i];
	}
	if (bdr_activity != NULL)
	{
		memset(bdr_activity, 0, sizeof(BdrActivity));
		bdr_activity->pid = MyProcPid;
		bdr_activity->dboid = MyDatabaseId;
		bdr_activity->subscription_id = subscription_id;
	}
	LWLockRelease(bdr_shmem->lock);
	if (bdr_activity == NULL)
		elog(ERROR, "no slot for the activity of a bdr writer");
	before_shmem_exit(detach, (Datum) 0);
}

static void
detach(int code, Datum arg)
{
	LWLockAcquire(bdr_shmem->lock, LW_EXCLUSIVE);
	bdr_activity->pid = 0;
	LWLockRelease(bdr_shmem->lock);
}

/* A transaction begins: bdr_apply.xact is filled in. */
void
bdr_activity_begin(void)
{
	volatile BdrActivity *a = bdr_activity;

	a->changes++;
	pg_write_barrier();
	a->xact.open = !bdr_apply.xact.skip;
	a->xact.xid = bdr_apply.xact.xid;
	a->xact.origin_node = bdr_apply.xact.version.node;
	a->xact.commit_lsn = bdr_apply.xact.commit_lsn;
	a->xact.end_lsn = bdr_apply.xact.end_lsn;
	a->xact.origin_lsn = bdr_apply.xact.origin_lsn;
	a->xact.commit_time = bdr_apply.xact.version.time;
	a->nchanges = 0;
	pg_write_barrier();
	a->changes++;
}

/* It has been committed. */
void
bdr_activity_end(void)
{
	volatile BdrActivity *a = bdr_activity;

	a->changes++;
	pg_write_barrier();
	a->xact.open = false;
	a->ncommits = bdr_apply.counters.commits;
	pg_write_barrier();
	a->changes++;
}

/* It has been rolled back, to be applied again. */
void
bdr_activity_aborted(void)
{
	volatile BdrActivity *a = bdr_activity;

	a->changes++;
	pg_write_barrier();
	a->naborts = bdr_apply.counters.aborts;
	a->nchanges = 0;
	pg_write_barrier();
	a->changes++;
}

/* ---------------------------------------------------------------------
 * The views' side
 * ---------------------------------------------------------------------
 */

/*
 * The writers of this database.
 */
Datum
bdr_internal_writer_activity(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		values[ACTIVITY_COLUMNS];
	bool		nulls[ACTIVITY_COLUMNS];

	InitMaterializedSRF(fcinfo, 0);
	if (slots == NULL)
		return (Datum) 0;
	LWLockAcquire(bdr_shmem->lock, LW_SHARED);
	for (int i = 0; i < max_worker_processes; i++)
	{
		BdrActivity copy;

		if (slots[i].pid == 0 || slots[i].dboid != MyDatabaseId || !look(&slots[i], &copy))
			continue;
		fill_row(&copy, values, nulls);
		tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
	}
	LWLockRelease(bdr_shmem->lock);
	return (Datum) 0;
}

/*
 * A writer that was killed in the middle of a change leaves its slot odd, until
 * the server has restarted: false then.
 */
static bool
look(const BdrActivity *slot, BdrActivity *copy)
{
	for (int i = 0; i < 1000; i++)
	{
		uint32		before = ((volatile const BdrActivity *) slot)->changes;

		pg_read_barrier();
		memcpy(copy, slot, sizeof(*copy));
		pg_read_barrier();
		if ((before & 1) == 0 && before == ((volatile const BdrActivity *) slot)->changes)
			return true;
	}
	return false;
}

static void
fill_row(const BdrActivity *a, Datum *values, bool *nulls)
{
	memset(nulls, false, ACTIVITY_COLUMNS * sizeof(bool));
	values[ACTIVITY_PID] = Int32GetDatum(a->pid);
	values[ACTIVITY_SUB_ID] = ObjectIdGetDatum(a->subscription_id);
	values[ACTIVITY_NCOMMITS] = Int64GetDatum(a->ncommits);
	values[ACTIVITY_NABORTS] = Int64GetDatum(a->naborts);
	if (!a->xact.open)
	{
		memset(nulls + ACTIVITY_XID, true, (ACTIVITY_COLUMNS - ACTIVITY_XID) * sizeof(bool));
		return;
	}
	values[ACTIVITY_XID] = TransactionIdGetDatum(a->xact.xid);
	values[ACTIVITY_COMMIT_LSN] = LSNGetDatum(a->xact.commit_lsn);
	values[ACTIVITY_END_LSN] = LSNGetDatum(a->xact.end_lsn);
	values[ACTIVITY_COMMIT_TIME] = TimestampTzGetDatum(a->xact.commit_time);
	values[ACTIVITY_ORIGIN_NODE_ID] = ObjectIdGetDatum(a->xact.origin_node);
	values[ACTIVITY_ORIGIN_LSN] = LSNGetDatum(a->xact.origin_lsn);
	values[ACTIVITY_NCHANGES] = Int64GetDatum(a->nchanges);
}
