/*-------------------------------------------------------------------------
 * output/origin_progress.c
 *		How far the sender was with the changes of its peers, at each point of
 *		its stream.
 *
 * NOTES
 *		A writer calls an update a conflict when it is about a row that yet
 *		another node wrote, and the sender had not seen that version
 *		(docs/decisions/0009-concurrent-updates.md).  WAL has the answer: the
 *		commit records of what was applied lie among those of the sender's
 *		own transactions, with the origin's commit time.  The decoder shows
 *		each of them to the filter for origins, before it throws it away.
 *
 *		What was applied before the start of the stream is not decoded.  There
 *		the commit timestamps help, as far as we look back.  Between the
 *		slot's catalog xmin and the start of the stream lies a gap, some
 *		seconds wide, of which nothing is known until the next transaction of
 *		that peer.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/commit_ts.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlogreader.h"
#include "miscadmin.h"
#include "replication/origin.h"
#include "replication/slot.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "output/origin_progress.h"

/* Commits to look at when a stream starts. */
#define LOOK_BACK_XIDS_MAX		200000

/* Origins are few; more of them are not looked for. */
#define LOOK_BACK_ORIGINS_MAX	64

static void look_back(BdrOutput *output, TransactionId before, TransactionId end, bool recent);
static void note_origin(BdrOutput *output, RepOriginId id, TimestampTz time, bool recent);

/*
 * Read what the newest transactions say.  To be called when the stream starts,
 * in the memory context of the session.
 *
 * Whatever is older than the slot's catalog xmin had ended before the first
 * transaction that is sent.  Whatever is found from there on has ended before
 * now.
 */
void
bdr_origin_progress_start(BdrOutput *output)
{
	TransactionId horizon = MyReplicationSlot->data.catalog_xmin;

	if (output->all_origins || !track_commit_timestamp)
		return;
	if (TransactionIdIsNormal(horizon))
		look_back(output, horizon, InvalidTransactionId, false);
	look_back(output, XidFromFullTransactionId(ReadNextFullTransactionId()), horizon, true);
	output->seen_start = GetXLogInsertRecPtr();
}

static void
look_back(BdrOutput *output, TransactionId before, TransactionId end, bool recent)
{
	for (int i = 0; i < LOOK_BACK_XIDS_MAX && before != end; i++)
	{
		TimestampTz time;
		RepOriginId origin;

		CHECK_FOR_INTERRUPTS();
		TransactionIdRetreat(before);
		if (TransactionIdGetCommitTsData(before, &time, &origin) &&
			origin != InvalidRepOriginId && origin != DoNotReplicateId)
			note_origin(output, origin, time, recent);
	}
}

static void
note_origin(BdrOutput *output, RepOriginId id, TimestampTz time, bool recent)
{
	BdrRecentOrigin *entry;
	ListCell   *lc;

	foreach(lc, output->seen_at_start)
	{
		entry = lfirst(lc);
		if (entry->origin == id && entry->recent == recent)
		{
			entry->time = Max(entry->time, time);
			return;
		}
	}
	if (list_length(output->seen_at_start) == LOOK_BACK_ORIGINS_MAX)
		return;
	entry = palloc(sizeof(BdrRecentOrigin));
	entry->origin = id;
	entry->time = time;
	entry->recent = recent;
	output->seen_at_start = lappend(output->seen_at_start, entry);
}

/*
 * The record being decoded was written while changes of node were applied.
 * It counts if it is their commit.
 */
void
bdr_origin_progress_note(BdrOutput *output, uint32 node)
{
	XLogReaderState *reader = output->decoding->reader;
	xl_xact_parsed_commit parsed;

	if (XLogRecGetRmid(reader) != RM_XACT_ID || output->all_origins)
		return;
	if ((XLogRecGetInfo(reader) & XLOG_XACT_OPMASK) != XLOG_XACT_COMMIT)
		return;
	ParseCommitRecord(XLogRecGetInfo(reader), (xl_xact_commit *) XLogRecGetData(reader), &parsed);
	if (parsed.xinfo & XACT_XINFO_HAS_ORIGIN)
		bdr_origin_progress_raise(output, node, parsed.origin_timestamp);
}

/*
 * Everything that node committed up to time has been applied here.
 */
void
bdr_origin_progress_raise(BdrOutput *output, uint32 node, TimestampTz time)
{
	BdrOriginProgress    *seen = NULL;
	MemoryContext old;
	ListCell   *lc;

	foreach(lc, output->seen)
	{
		seen = lfirst(lc);
		if (seen->node == node)
			break;
	}
	if (lc == NULL)
	{
		old = MemoryContextSwitchTo(output->cache_context);
		seen = palloc0(sizeof(BdrOriginProgress));
		seen->node = node;
		seen->time = DT_NOBEGIN;
		output->seen = lappend(output->seen, seen);
		MemoryContextSwitchTo(old);
	}
	if (time <= seen->time)
		return;
	seen->time = time;
	seen->sent = false;
	output->seen_changed = true;
}
