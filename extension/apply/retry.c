/*-------------------------------------------------------------------------
 * apply/retry.c
 *		What is rolled back and applied again when a conflict shows up.
 *
 * NOTES
 *		Changes are written without looking for conflicts first.  When a
 *		unique index objects, the current unit is rolled back and applied
 *		again carefully.  A unit is the whole transaction while its frames
 *		fit into BDR_UNIT_BYTES_MAX; after that the transaction goes on in a
 *		subtransaction for every so many bytes.  Thus the usual case pays
 *		nothing, memory stays flat, and a transaction of any size can meet a
 *		conflict.  A row that came in pieces is a unit of its own.
 *
 *		A unit that is the whole transaction is also applied again when it
 *		was the victim of a deadlock: its locks are gone then, and whoever
 *		waited for them goes on.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/latch.h"
#include "utils/memutils.h"

#include "apply/activity.h"
#include "apply/change.h"
#include "apply/origin.h"
#include "apply/pieces.h"
#include "apply/retry.h"
#include "apply/state.h"
#include "base/retry.h"
#include "base/user_context.h"
#include "conflict/deferred.h"
#include "conflict/schema_mismatch.h"
#include "row/statistics.h"
#include "bdr_compat.h"

/* Frames kept for another try; a subtransaction starts when they exceed it. */
#define BDR_UNIT_BYTES_MAX		((Size) 8 * 1024 * 1024)

/* In a row, of one transaction; after that the manager starts over. */
#define BDR_DEADLOCKS_MAX		10

/* After the first of them; doubles with each. */
#define BDR_DEADLOCK_PAUSE_MS	10

/*
 * Of one unit with rows that are there; the first one makes it careful.  Each
 * later one means that somebody else has just committed.  Where that does not
 * end, a pause lets the others go first; it doubles, too.
 */
#define BDR_COLLISIONS_MAX		12
#define BDR_COLLISIONS_AT_ONCE	4

/* What is rolled back and applied again when a conflict shows up. */
typedef struct BdrUnit
{
	const char *start;			/* in the frame being read; NULL: an earlier */
	List	   *frames;			/* BdrReader: earlier frames of the unit */
	Size		bytes;
	bool		in_subxact;
	bool		closed;			/* its subtransaction has ended: no way back */
	uint32		ndeadlocks;
	long		pause_ms;		/* before it is applied again */
	uint32		ncollisions;
	uint32		change_nr;		/* before the unit */
	BdrCounters counters;
	MemoryContext context;
} BdrUnit;

static BdrUnit unit;

static void unit_begin_next(void);
static bool may_retry_collision(void);
static bool may_retry_deadlock(void);
static void pause_before_retry(void);
static void forget_state(void);

void
bdr_unit_init(void)
{
	unit.context = AllocSetContextCreate(TopMemoryContext, "bdr unit", ALLOCSET_DEFAULT_SIZES);
}

/*
 * The transaction is about to be committed: what is left of a subtransaction
 * goes with it, and there is no way back.
 */
void
bdr_unit_finish(void)
{
	if (!unit.in_subxact)
		return;
	ReleaseCurrentSubTransaction();
	unit.closed = true;
}

/*
 * A unit starts here, at a place in the frame being read.
 */
void
bdr_unit_start(const char *at)
{
	Assert(!unit.in_subxact);
	bdr_unit_reset();
	unit.start = at;
}

void
bdr_unit_reset(void)
{
	if (unit.frames != NIL)
		MemoryContextReset(unit.context);
	unit.frames = NIL;
	unit.bytes = 0;
	unit.start = NULL;
	unit.in_subxact = false;
	unit.closed = false;
	unit.ndeadlocks = 0;
	unit.pause_ms = 0;
	unit.ncollisions = 0;
	unit.change_nr = 0;
	memset(&unit.counters, 0, sizeof(unit.counters));
	if (unlikely(bdr_piece_is_held()))
		bdr_piece_forget();
}

/*
 * What is applied so far stays; the next unit starts with what comes next.
 * Nothing must be pending.  A session that plays a writer (test/debug.c) has no
 * units.
 */
void
bdr_unit_close(void)
{
	if (bdr_apply.xact.started && MyBgworkerEntry != NULL)
		unit_begin_next();
	else
		bdr_unit_reset();
}

/* As bdr_unit_start, for a unit that has begun without being told where. */
void
bdr_unit_start_at(const char *at)
{
	unit.start = at;
}

static void
unit_begin_next(void)
{
	bdr_user_switch(InvalidOid);
	bdr_relation_close_all();
	if (unit.in_subxact)
		ReleaseCurrentSubTransaction();
	bdr_unit_reset();
	bdr_deferred_keep();
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(bdr_apply.change_context);
	unit.in_subxact = true;
	unit.change_nr = bdr_apply.xact.change_nr;
	unit.counters = bdr_apply.xact.counters;
	bdr_stats_keep();
	bdr_apply.xact.careful = false;
}

/*
 * Does the error on top of the stack call for another try of the unit?  Each
 * but the first is careful.
 */
bool
bdr_unit_may_retry(void)
{
	if (!bdr_apply.xact.open || !bdr_apply.xact.started || unit.closed)
		return false;
	switch (geterrcode())
	{
		case BDR_ERRCODE_START_OVER:
		case ERRCODE_UNIQUE_VIOLATION:
		case ERRCODE_EXCLUSION_VIOLATION:
			/* somebody may have come between the careful look and the insert */
			return may_retry_collision();
		case ERRCODE_T_R_DEADLOCK_DETECTED:
			return may_retry_deadlock();
		default:
			return false;
	}
}

static bool
may_retry_collision(void)
{
	if (unit.ncollisions >= BDR_COLLISIONS_MAX)
		return false;
	if (unit.ncollisions++ >= BDR_COLLISIONS_AT_ONCE)
		unit.pause_ms = 1L << (unit.ncollisions - BDR_COLLISIONS_AT_ONCE);
	return true;
}

/*
 * Somebody waits for locks of the whole transaction, so rolling back a part of
 * it may not help.
 */
static bool
may_retry_deadlock(void)
{
	ErrorData  *edata;

	bdr_apply.counters.deadlocks++;
	if (unit.in_subxact || unit.ndeadlocks >= BDR_DEADLOCKS_MAX)
		return false;
	unit.pause_ms = BDR_DEADLOCK_PAUSE_MS << unit.ndeadlocks++;
	MemoryContextSwitchTo(unit.context);
	edata = CopyErrorData();
	MemoryContextSwitchTo(ErrorContext);
	ereport(LOG,
			(errmsg("transaction %u of node \"%s\" is applied again after a deadlock",
					bdr_apply.xact.xid, bdr_apply.peer.name),
			 edata->detail_log ? errdetail_internal("%s", edata->detail_log) : 0));
	FreeErrorData(edata);
	return true;
}

/*
 * Whoever waited for our locks, or is faster, must go on before we try again.
 */
static void
pause_before_retry(void)
{
	if (unit.pause_ms == 0)
		return;
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, unit.pause_ms,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	unit.pause_ms = 0;
}

/* What was opened and found out in the transaction that is gone. */
static void
forget_state(void)
{
	bdr_user_forget();
	bdr_change_forget();
	bdr_relation_forget_all();
	bdr_mismatch_forget();
}

/*
 * Roll the unit back and apply the earlier frames of it again.  Returns where
 * to go on in the frame being read, NULL for its beginning.
 *
 * An error in here is like one in the frame being read: the unit stays, and
 * may be tried once more.
 */
const char *
bdr_unit_retry(void (*apply) (BdrReader *reader))
{
	ListCell   *lc;

	bdr_origin_reset();
	bdr_deferred_rollback();
	if (unit.in_subxact)
	{
		RollbackAndReleaseCurrentSubTransaction();
		forget_state();
		BeginInternalSubTransaction(NULL);
		bdr_origin_set();
	}
	else
	{
		AbortOutOfAnyTransaction();
		forget_state();
		bdr_apply.xact.started = false;
		bdr_apply.counters.aborts++;
		bdr_activity_aborted();
		pause_before_retry();
	}
	MemoryContextSwitchTo(bdr_apply.change_context);
	MemoryContextReset(bdr_apply.change_context);
	bdr_apply.xact.change_nr = unit.change_nr;
	bdr_apply.xact.counters = unit.counters;
	bdr_stats_undo();
	bdr_apply.xact.careful = true;

	foreach(lc, unit.frames)
	{
		BdrReader	reader = *(BdrReader *) lfirst(lc);

		apply(&reader);
	}
	return unit.start;
}

/*
 * The frame is read and the transaction goes on: keep what belongs to the
 * unit, or close the unit if that is too much.
 */
void
bdr_unit_keep(const char *data, Size len, Size header)
{
	const char *start = unit.start != NULL ? unit.start : data + header;
	Size		n = data + len - start;
	MemoryContext old;
	BdrReader  *reader;
	char	   *copy;

	unit.start = NULL;
	if (bdr_apply.xact.skip || bdr_piece_is_due())
		return;
	if (bdr_apply.xact.started && (unit.bytes + n > BDR_UNIT_BYTES_MAX || bdr_piece_is_held()))
	{
		unit_begin_next();
		return;
	}
	if (n == 0)
		return;
	old = MemoryContextSwitchTo(unit.context);
	copy = palloc_extended(n, MCXT_ALLOC_HUGE);
	memcpy(copy, start, n);
	reader = palloc(sizeof(BdrReader));
	reader->at = copy;
	reader->end = copy + n;
	unit.frames = lappend(unit.frames, reader);
	unit.bytes += n;
	MemoryContextSwitchTo(old);
}
