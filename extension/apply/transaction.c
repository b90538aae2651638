/*-------------------------------------------------------------------------
 * apply/transaction.c
 *		One local transaction for each remote one, and what of it is safe.
 *
 * NOTES
 *		A local transaction starts at the first change, carries the origin,
 *		LSN and commit timestamp of the remote one and commits
 *		asynchronously.  Progress remembers which remote position belongs to
 *		which local one until the WAL is flushed, so that nothing is
 *		confirmed that a crash could take away.
 *
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
 *
 *		From PostgreSQL 16 an abort advances the session's origin, the abort
 *		of a subtransaction in somebody's trigger included.  So the origin's
 *		position is set only where nothing but the commit record can follow,
 *		and the origin is reset before we abort anything.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "replication/origin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "apply/activity.h"
#include "apply/apply.h"
#include "apply/skew.h"
#include "base/bdr.h"
#include "version/clock.h"
#include "bdr_compat.h"
#include "bdr_wire.h"

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

typedef struct BdrFlushEntry
{
	XLogRecPtr	remote_end;
	XLogRecPtr	local_end;
} BdrFlushEntry;

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

/* A ring that grows: commits that are not known to be flushed. */
typedef struct BdrProgress
{
	XLogRecPtr	applied;
	XLogRecPtr	flushed;
	XLogRecPtr	last_local;
	TimestampTz time;
	BdrFlushEntry *entries;
	uint32		capacity;		/* a power of two */
	uint32		head;
	uint32		count;
} BdrProgress;

BdrPeer		bdr_peer;
BdrRemoteXact bdr_xact;
BdrCounters bdr_counters;

static BdrUnit unit;
static bool start_over;		/* the error was bdr_unit_start_over's */
static BdrProgress progress;

/* The origin of the session; switched only in mirror mode. */
static uint32 session_node;		/* 0: none is set up */
static RepOriginId session_origin;
static XLogRecPtr session_progress;

static void use_origin(uint32 node);
static bool seen_before(uint32 node);
static void commit_local(void);
static void stamp_origin(void);
static bool may_redo_collision(void);
static bool may_redo_deadlock(void);
static void pause_before_redo(void);
static void unit_reset(void);
static void unit_begin_next(void);
static void progress_add(XLogRecPtr remote_end, XLogRecPtr local_end);
static void counters_add(BdrCounters *total, const BdrCounters *more);
static void reset_origin_at_exit(int code, Datum arg);

/*
 * Called once, after SETUP.  Callbacks run last in, first out: this one is
 * registered after those of InitPostgres and so runs before the abort.
 */
void
bdr_xact_init(void)
{
	before_shmem_exit(reset_origin_at_exit, (Datum) 0);
	unit.context = AllocSetContextCreate(TopMemoryContext, "bdr unit", ALLOCSET_DEFAULT_SIZES);
	progress.applied = bdr_peer.first_lsn;
	progress.flushed = bdr_peer.first_lsn;
	progress.capacity = 1024;
	progress.entries = MemoryContextAlloc(TopMemoryContext,
										  progress.capacity * sizeof(BdrFlushEntry));
	if (!bdr_peer.mirror)
		use_origin(bdr_peer.node_id);
}

static void
reset_origin_at_exit(int code, Datum arg)
{
	bdr_xact_reset_origin();
}

/*
 * Must come before every abort; see the notes above.
 */
void
bdr_xact_reset_origin(void)
{
	replorigin_session_origin = InvalidRepOriginId;
	replorigin_session_origin_lsn = InvalidXLogRecPtr;
	replorigin_session_origin_timestamp = 0;
}

/*
 * Make node's origin the one of this session and read its progress.
 *
 * The origin is created when it is missing: mirror mode meets nodes that this
 * node never had a connection to.
 */
static void
use_origin(uint32 node)
{
	char		name[64];

	if (session_node == node)
		return;
	if (session_node != 0)
	{
		replorigin_session_reset();
		session_node = 0;
	}
	snprintf(name, sizeof(name), BDR_ORIGIN_FORMAT, MyDatabaseId, node);
	StartTransactionCommand();
	session_origin = replorigin_by_name(name, true);
	if (session_origin == InvalidRepOriginId)
		session_origin = replorigin_create(name);
	CommitTransactionCommand();
	MemoryContextSwitchTo(bdr_change_context);

	bdr_origin_session_setup(session_origin);
	session_node = node;
	session_progress = replorigin_session_get_progress(!seen_before(node));
}

/*
 * What an earlier writer committed may not be on disk yet.  A transaction
 * that is skipped because of it must not be confirmed before it is, so the
 * first look at an origin's progress flushes.
 */
static bool
seen_before(uint32 node)
{
	static List *seen = NIL;
	MemoryContext old;

	if (list_member_oid(seen, node))
		return true;
	old = MemoryContextSwitchTo(TopMemoryContext);
	seen = lappend_oid(seen, node);
	MemoryContextSwitchTo(old);
	return false;
}

/*
 * BEGIN.
 */
void
bdr_xact_begin(BdrReader *reader)
{
	uint32		origin_node;

	if (bdr_xact.open)
		bdr_frame_error("A transaction begins before transaction %u ended.", bdr_xact.xid);

	memset(&bdr_xact, 0, sizeof(bdr_xact));
	bdr_deferred_reset();
	bdr_xact.xid = bdr_read_uint32(reader);
	bdr_xact.commit_lsn = bdr_read_uint64(reader);
	bdr_xact.end_lsn = bdr_read_uint64(reader);
	bdr_xact.commit_time = (TimestampTz) bdr_read_uint64(reader);
	origin_node = bdr_read_uint32(reader);
	bdr_xact.origin_lsn = bdr_read_uint64(reader);
	if (bdr_xact.end_lsn == InvalidXLogRecPtr || bdr_xact.origin_lsn == InvalidXLogRecPtr)
		bdr_frame_error("Transaction %u has no position.", bdr_xact.xid);
	if (!IS_VALID_TIMESTAMP(bdr_xact.commit_time))
		bdr_frame_error("Transaction %u has no valid commit time.", bdr_xact.xid);
	if (origin_node != 0 && !bdr_peer.mirror && origin_node != bdr_peer.node_id)
		bdr_frame_error("Transaction %u comes from node %u, which is not the sender.",
						bdr_xact.xid, origin_node);

	bdr_xact.origin_node = origin_node == 0 ? bdr_peer.node_id : origin_node;
	bdr_xact.open = true;
	/* our own changes, coming back, are here by definition */
	if (bdr_xact.origin_node == bdr_peer.local_node_id)
		bdr_xact.skip = true;
	else
	{
		use_origin(bdr_xact.origin_node);
		bdr_xact.skip = bdr_xact.origin_lsn <= session_progress;
	}
	bdr_activity_begin();
}

/*
 * Called before each change; the first one starts the local transaction.
 */
void
bdr_xact_start_local(void)
{
	if (bdr_xact.started)
		return;
	SetCurrentStatementStartTimestamp();
	bdr_skew_check();
	bdr_clock_raise(bdr_xact.commit_time);
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(bdr_change_context);
	replorigin_session_origin = session_origin;
	bdr_xact.started = true;
}

/*
 * COMMIT.
 */
void
bdr_xact_commit(BdrReader *reader)
{
	XLogRecPtr	commit_lsn = bdr_read_uint64(reader);
	XLogRecPtr	end_lsn = bdr_read_uint64(reader);
	uint32		nchanges = bdr_read_uint32(reader);

	if (!bdr_xact.open)
		bdr_frame_error("A transaction ends that has not begun.");
	if (commit_lsn != bdr_xact.commit_lsn || end_lsn != bdr_xact.end_lsn)
		bdr_frame_error("The end of transaction %u has another position than its beginning.",
						bdr_xact.xid);
	if (!bdr_xact.skip && nchanges != bdr_xact.change_nr)
		bdr_frame_error("Transaction %u has %u changes, but %u arrived.",
						bdr_xact.xid, nchanges, bdr_xact.change_nr);

	if (bdr_xact.skip)
		bdr_counters.skipped++;
	else
	{
		commit_local();
		bdr_xact.counters.commits++;
		counters_add(&bdr_counters, &bdr_xact.counters);
		bdr_stats_commit();
	}
	progress_add(end_lsn, progress.last_local);
	progress.time = bdr_xact.commit_time;
	bdr_xact.open = false;
	bdr_activity_end();
	unit_reset();
	bdr_apply_relation = NULL;
	bdr_relation_trim();
}

/*
 * Commit what there is.
 *
 * A transaction that wrote nothing here has no commit record to carry the
 * origin's position, so that is advanced in memory only.  If a crash loses
 * it, the transaction comes again, and what it does then is decided by the
 * versions of what is here then, as it would have been had it come later.
 */
static void
commit_local(void)
{
	bool		writes = false;

	if (bdr_xact.started)
	{
		Assert(bdr_apply_is_flushed());
		bdr_deferred_settle();
		bdr_act_as(InvalidOid);
		bdr_relation_close_all();
		if (unit.in_subxact)
		{
			ReleaseCurrentSubTransaction();
			unit.closed = true;
		}
		PopActiveSnapshot();
		AfterTriggerFireDeferred();
		writes = TransactionIdIsValid(GetTopTransactionIdIfAny());
		stamp_origin();
		if (writes)
			bdr_walwriter_before_commit();
		CommitTransactionCommand();
		MemoryContextSwitchTo(bdr_change_context);
		bdr_xact.started = false;
	}
	if (writes)
	{
		progress.last_local = XactLastCommitEnd;
		bdr_xact.counters.apply_usec = GetCurrentTransactionStopTimestamp() -
			GetCurrentStatementStartTimestamp();
	}
	else
		replorigin_session_advance(bdr_xact.origin_lsn, progress.last_local);
	session_progress = bdr_xact.origin_lsn;
	bdr_xact_reset_origin();
}

/*
 * What the commit record carries.  Deferred triggers have fired: no code of
 * users runs any more that could abort a subtransaction.
 */
static void
stamp_origin(void)
{
	replorigin_session_origin_lsn = bdr_xact.origin_lsn;
	replorigin_session_origin_timestamp = bdr_xact.commit_time;
}

/*
 * Roll back what is unfinished; the process ends after this.
 */
void
bdr_xact_abort(void)
{
	bdr_xact_reset_origin();
	AbortOutOfAnyTransaction();
}

/* ---------------------------------------------------------------------
 * Units
 * ---------------------------------------------------------------------
 */

/*
 * A unit starts here, at a place in the frame being read.
 */
void
bdr_unit_start(const char *at)
{
	Assert(!unit.in_subxact);
	unit_reset();
	unit.start = at;
}

static void
unit_reset(void)
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
	if (bdr_xact.started && MyBgworkerEntry != NULL)
		unit_begin_next();
	else
		unit_reset();
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
	bdr_act_as(InvalidOid);
	bdr_relation_close_all();
	if (unit.in_subxact)
		ReleaseCurrentSubTransaction();
	unit_reset();
	bdr_deferred_keep();
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(bdr_change_context);
	unit.in_subxact = true;
	unit.change_nr = bdr_xact.change_nr;
	unit.counters = bdr_xact.counters;
	bdr_stats_keep();
	bdr_xact.careful = false;
}

/*
 * Does the error on top of the stack call for another try of the unit?  Each
 * but the first is careful.
 */
bool
bdr_unit_may_redo(void)
{
	bool		asked = start_over;

	start_over = false;
	if (!bdr_xact.open || !bdr_xact.started || unit.closed)
		return false;
	if (asked)
		return may_redo_collision();
	switch (geterrcode())
	{
		case ERRCODE_UNIQUE_VIOLATION:
		case ERRCODE_EXCLUSION_VIOLATION:
			/* somebody may have come between the careful look and the insert */
			return may_redo_collision();
		case ERRCODE_T_R_DEADLOCK_DETECTED:
			return may_redo_deadlock();
		default:
			return false;
	}
}

/*
 * A row was stored without looking, and a version that it should have been
 * compared with came up meanwhile.
 */
void
bdr_unit_start_over(void)
{
	start_over = true;
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("transaction %u of node \"%s\" met newer versions while it was applied",
					bdr_xact.xid, bdr_peer.name)));
}

static bool
may_redo_collision(void)
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
may_redo_deadlock(void)
{
	ErrorData  *edata;

	bdr_counters.deadlocks++;
	if (unit.in_subxact || unit.ndeadlocks >= BDR_DEADLOCKS_MAX)
		return false;
	unit.pause_ms = BDR_DEADLOCK_PAUSE_MS << unit.ndeadlocks++;
	MemoryContextSwitchTo(unit.context);
	edata = CopyErrorData();
	MemoryContextSwitchTo(ErrorContext);
	ereport(LOG,
			(errmsg("transaction %u of node \"%s\" is applied again after a deadlock",
					bdr_xact.xid, bdr_peer.name),
			 edata->detail_log ? errdetail_internal("%s", edata->detail_log) : 0));
	FreeErrorData(edata);
	return true;
}

/*
 * Whoever waited for our locks, or is faster, must go on before we try again.
 */
static void
pause_before_redo(void)
{
	if (unit.pause_ms == 0)
		return;
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, unit.pause_ms,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	unit.pause_ms = 0;
}

/*
 * Roll the unit back and apply the earlier frames of it again.  Returns where
 * to go on in the frame being read, NULL for its beginning.
 *
 * An error in here is like one in the frame being read: the unit stays, and
 * may be tried once more.
 */
const char *
bdr_unit_redo(void (*apply) (BdrReader *reader))
{
	ListCell   *lc;

	bdr_xact_reset_origin();
	bdr_deferred_rollback();
	if (unit.in_subxact)
	{
		RollbackAndReleaseCurrentSubTransaction();
		bdr_act_forget();
		bdr_apply_forget();
		bdr_relation_forget_all();
		BeginInternalSubTransaction(NULL);
		replorigin_session_origin = session_origin;
	}
	else
	{
		AbortOutOfAnyTransaction();
		bdr_act_forget();
		bdr_apply_forget();
		bdr_relation_forget_all();
		bdr_xact.started = false;
		bdr_counters.aborts++;
		bdr_activity_aborted();
		pause_before_redo();
	}
	MemoryContextSwitchTo(bdr_change_context);
	MemoryContextReset(bdr_change_context);
	bdr_xact.change_nr = unit.change_nr;
	bdr_xact.counters = unit.counters;
	bdr_stats_undo();
	bdr_xact.careful = true;

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
	if (bdr_xact.skip || bdr_piece_is_due)
		return;
	if (bdr_xact.started && (unit.bytes + n > BDR_UNIT_BYTES_MAX || bdr_piece_is_held()))
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

/* ---------------------------------------------------------------------
 * Progress
 * ---------------------------------------------------------------------
 */
static void
progress_add(XLogRecPtr remote_end, XLogRecPtr local_end)
{
	uint32		mask;

	progress.applied = remote_end;
	if (progress.count == progress.capacity)
	{
		BdrFlushEntry *old = progress.entries;
		uint32		n = progress.capacity;

		progress.entries = MemoryContextAllocHuge(TopMemoryContext,
												  2 * (Size) n * sizeof(BdrFlushEntry));
		for (uint32 i = 0; i < n; i++)
			progress.entries[i] = old[(progress.head + i) & (n - 1)];
		pfree(old);
		progress.head = 0;
		progress.capacity = 2 * n;
	}
	mask = progress.capacity - 1;
	progress.entries[(progress.head + progress.count) & mask] =
		(BdrFlushEntry)
	{
		remote_end, local_end
	};
	progress.count++;
}

XLogRecPtr
bdr_progress_applied(void)
{
	return progress.applied;
}

TimestampTz
bdr_progress_time(void)
{
	return progress.time;
}

/*
 * The remote position up to which everything is on disk here.
 */
XLogRecPtr
bdr_progress_flushed(void)
{
	XLogRecPtr	flushed;

	if (progress.count == 0)
		return progress.flushed;
	flushed = GetFlushRecPtr(NULL);
	while (progress.count > 0)
	{
		BdrFlushEntry *entry = &progress.entries[progress.head];

		if (entry->local_end > flushed)
			break;
		progress.flushed = entry->remote_end;
		progress.head = (progress.head + 1) & (progress.capacity - 1);
		progress.count--;
	}
	return progress.flushed;
}

bool
bdr_progress_pending(void)
{
	return progress.count > 0;
}

static void
counters_add(BdrCounters *total, const BdrCounters *more)
{
	total->commits += more->commits;
	total->inserts += more->inserts;
	total->updates += more->updates;
	total->deletes += more->deletes;
	total->truncates += more->truncates;
	total->conflicts += more->conflicts;
	total->skipped += more->skipped;
	total->aborts += more->aborts;
	total->deadlocks += more->deadlocks;
	total->apply_usec += more->apply_usec;
}
