/*-------------------------------------------------------------------------
 * apply/progress.c
 *		What has been applied, and what of it is on disk here.
 *
 * NOTES
 *		Local transactions commit asynchronously.  Which remote position belongs to
 *		which local one is remembered until the WAL is flushed, so that nothing is
 *		confirmed that a crash could take away.  Where synchronized_standby_slots
 *		names standbys, one of them may take the place of this server: nothing is
 *		confirmed then that they do not have.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "replication/slot.h"
#include "utils/memutils.h"

#include "apply/progress.h"
#include "bdr_compat.h"

/* Beyond it, commits are remembered together: a standby may be away for days. */
#define FLUSH_ENTRIES_MAX	(64 * 1024)

typedef struct BdrFlushEntry
{
	XLogRecPtr	remote_end;
	XLogRecPtr	local_end;
} BdrFlushEntry;

/* A ring that grows: commits that are not known to be flushed, on standbys too. */
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

static BdrProgress progress;

static void add(XLogRecPtr remote_end, XLogRecPtr local_end);

/*
 * What came before first is on disk here, but perhaps not yet on standbys.
 */
void
bdr_progress_init(XLogRecPtr first)
{
	progress.capacity = 1024;
	progress.entries = MemoryContextAlloc(TopMemoryContext,
										  progress.capacity * sizeof(BdrFlushEntry));
	add(first, GetFlushRecPtr(NULL));
}

/*
 * The remote transaction that ends there is applied; local_end is the end of
 * its local one, InvalidXLogRecPtr: it wrote nothing, and goes with the last.
 */
void
bdr_progress_note(XLogRecPtr remote_end, XLogRecPtr local_end, TimestampTz time)
{
	if (local_end != InvalidXLogRecPtr)
		progress.last_local = local_end;
	progress.time = time;
	add(remote_end, progress.last_local);
}

/* The end of the last local transaction that wrote. */
XLogRecPtr
bdr_progress_last_local(void)
{
	return progress.last_local;
}

/* ---------------------------------------------------------------------
 * Progress
 * ---------------------------------------------------------------------
 */
static void
add(XLogRecPtr remote_end, XLogRecPtr local_end)
{
	uint32		mask;

	progress.applied = remote_end;
	if (progress.count == FLUSH_ENTRIES_MAX)
		progress.count--;
	else if (progress.count == progress.capacity)
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
 * The remote position up to which everything is on disk here;
 * InvalidXLogRecPtr: not even what was there at the start is on all standbys.
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

		if (entry->local_end > flushed || !bdr_standbys_have(entry->local_end))
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
