/*-------------------------------------------------------------------------
 * apply/transaction.c
 *		One local transaction for each remote one.
 *
 * NOTES
 *		A local transaction starts at the first change, carries the origin,
 *		LSN and commit timestamp of the remote one (apply/origin.c) and commits
 *		asynchronously (apply/progress.c).  What a conflict or a deadlock takes
 *		back of it is applied again (apply/retry.c).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "replication/origin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "apply/activity.h"
#include "apply/change.h"
#include "apply/deferred.h"
#include "apply/origin.h"
#include "apply/progress.h"
#include "apply/retry.h"
#include "apply/skew.h"
#include "apply/state.h"
#include "apply/transaction.h"
#include "apply/walwriter.h"
#include "base/user_context.h"
#include "conflict/deferred.h"
#include "row/statistics.h"
#include "version/clock.h"
#include "bdr_compat.h"

static void read_begin(BdrReader *reader);
static bool commit_local(void);
static void add_counters(BdrCounters *total, const BdrCounters *more);

/*
 * Called once, after SETUP.
 */
void
bdr_xact_init(void)
{
	bdr_progress_init(bdr_apply.peer.first_lsn);
	bdr_unit_init();
	bdr_origin_init();
}

/*
 * BEGIN.
 */
void
bdr_xact_begin(BdrReader *reader)
{
	BdrRemoteXact *xact = &bdr_apply.xact;

	if (xact->open)
		bdr_frame_error("A transaction begins before transaction %u ended.", xact->xid);
	memset(xact, 0, sizeof(*xact));
	bdr_deferred_reset();
	read_begin(reader);
	bdr_version_begin(&xact->version);
	xact->open = true;
	/* our own changes, coming back, are here by definition */
	if (xact->version.node == bdr_apply.peer.local_node_id)
		xact->skip = true;
	else
	{
		bdr_origin_use(xact->version.node);
		xact->skip = bdr_origin_has(xact->origin_lsn);
	}
	bdr_activity_begin();
}

static void
read_begin(BdrReader *reader)
{
	BdrRemoteXact *xact = &bdr_apply.xact;
	BdrPeer    *peer = &bdr_apply.peer;
	uint32		origin_node;

	xact->xid = bdr_read_uint32(reader);
	xact->commit_lsn = bdr_read_uint64(reader);
	xact->end_lsn = bdr_read_uint64(reader);
	xact->version.known = true;
	xact->version.time = (TimestampTz) bdr_read_uint64(reader);
	origin_node = bdr_read_uint32(reader);
	xact->version.node = origin_node == 0 ? peer->node_id : origin_node;
	xact->origin_lsn = bdr_read_uint64(reader);
	if (xact->end_lsn == InvalidXLogRecPtr || xact->origin_lsn == InvalidXLogRecPtr)
		bdr_frame_error("Transaction %u has no position.", xact->xid);
	if (!IS_VALID_TIMESTAMP(xact->version.time))
		bdr_frame_error("Transaction %u has no valid commit time.", xact->xid);
	if (!peer->catch_up && xact->version.node != peer->node_id)
		bdr_frame_error("Transaction %u comes from node %u, which is not the sender.",
						xact->xid, origin_node);
}

/*
 * Called before each change; the first one starts the local transaction.
 */
void
bdr_xact_start_local(void)
{
	if (bdr_apply.xact.started)
		return;
	SetCurrentStatementStartTimestamp();
	bdr_skew_check();
	bdr_clock_raise(bdr_apply.xact.version.time);
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(bdr_apply.change_context);
	bdr_origin_set();
	bdr_apply.xact.started = true;
}

/*
 * COMMIT.
 */
void
bdr_xact_commit(BdrReader *reader)
{
	BdrRemoteXact *xact = &bdr_apply.xact;
	XLogRecPtr	commit_lsn = bdr_read_uint64(reader);
	XLogRecPtr	end_lsn = bdr_read_uint64(reader);
	uint32		nchanges = bdr_read_uint32(reader);
	bool		wrote = false;

	if (!xact->open)
		bdr_frame_error("A transaction ends that has not begun.");
	if (commit_lsn != xact->commit_lsn || end_lsn != xact->end_lsn)
		bdr_frame_error("The end of transaction %u has another position than its beginning.", xact->xid);
	if (!xact->skip && nchanges != xact->change_nr)
		bdr_frame_error("Transaction %u has %u changes, but %u arrived.", xact->xid, nchanges, xact->change_nr);

	if (xact->skip)
		bdr_apply.counters.skipped++;
	else
	{
		wrote = commit_local();
		xact->counters.commits++;
		add_counters(&bdr_apply.counters, &xact->counters);
		bdr_stats_commit();
	}
	bdr_progress_note(end_lsn, wrote ? XactLastCommitEnd : InvalidXLogRecPtr, xact->version.time);
	xact->open = false;
	bdr_activity_end();
	bdr_unit_reset();
	bdr_apply.relation = NULL;
	bdr_relation_trim();
}

/*
 * Commit what there is.  Returns whether anything was written.
 *
 * A transaction that wrote nothing here has no commit record to carry the
 * origin's position, so that is advanced in memory only.  If a crash loses
 * it, the transaction comes again, and what it does then is decided by the
 * versions of what is here then, as it would have been had it come later.
 */
static bool
commit_local(void)
{
	BdrRemoteXact *xact = &bdr_apply.xact;
	bool		writes = false;

	if (xact->started)
	{
		Assert(bdr_change_is_flushed());
		bdr_deferred_resolve();
		bdr_user_switch(InvalidOid);
		bdr_relation_close_all();
		bdr_unit_finish();
		PopActiveSnapshot();
		AfterTriggerFireDeferred();
		writes = TransactionIdIsValid(GetTopTransactionIdIfAny());
		bdr_origin_stamp();
		if (writes)
			bdr_walwriter_before_commit();
		CommitTransactionCommand();
		MemoryContextSwitchTo(bdr_apply.change_context);
		xact->started = false;
	}
	if (writes)
		xact->counters.apply_usec = GetCurrentTransactionStopTimestamp() - GetCurrentStatementStartTimestamp();
	else
		replorigin_session_advance(xact->origin_lsn, bdr_progress_last_local());
	bdr_origin_passed(xact->origin_lsn);
	return writes;
}

/*
 * Roll back what is unfinished; the process ends after this.
 */
void
bdr_xact_abort(void)
{
	bdr_origin_reset();
	AbortOutOfAnyTransaction();
}

static void
add_counters(BdrCounters *total, const BdrCounters *more)
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
