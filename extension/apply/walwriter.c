/*-------------------------------------------------------------------------
 * apply/walwriter.c
 *		Do not wake the WAL writer for every transaction that is applied.
 *
 * NOTES
 *		Before version 17 an asynchronous commit wakes the WAL writer whenever
 *		a whole page of WAL waits for its flush.  The WAL writer flushes only
 *		when wal_writer_flush_after or wal_writer_delay is reached, so that it
 *		goes back to sleep and the next commit wakes it again: for one-row
 *		transactions that signal was a quarter of the writer's time.
 *
 *		Here only the first commit of a frame and the end of the frame do.
 *		For those between, the latch is marked as set, and SetLatch() does
 *		nothing.  That is what SetLatch() itself would do but for the signal:
 *		the WAL writer finds it when its sleep is over.
 *
 *		Nothing is flushed later than PostgreSQL promises.  The first commit of
 *		the frame has brought the WAL writer out of hibernation, so that its
 *		sleep is not longer than wal_writer_delay, also when the frame takes
 *		long or this process dies; others who want to wake it meanwhile are in
 *		the same position.  We never reset the latch: only its owner knows what
 *		it was set for.
 *
 *		With one transaction per frame, as in a live stream, nothing changes,
 *		nor with wal_writer_flush_after = 0, where each signal is for a flush.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "postmaster/walwriter.h"
#include "storage/latch.h"

#include "apply/walwriter.h"
#include "bdr_compat.h"

static bool woken;				/* by a commit of this frame */
static bool spared;				/* another commit would have */

/*
 * A frame begins.
 */
void
bdr_walwriter_begin_frame(void)
{
	woken = false;
}

/*
 * A transaction that wrote is about to be committed.  A WAL writer that is
 * awake looks at its latch before it sleeps; marking it then would keep it from
 * sleeping at all.
 */
void
bdr_walwriter_before_commit(void)
{
	Latch	   *latch = BdrWalWriterLatch();

	if (latch != NULL && woken && WalWriterFlushAfter != 0 &&
		latch->maybe_sleeping && !latch->is_set)
	{
		latch->is_set = true;
		spared = true;
	}
	woken = true;
}

/*
 * The frame is applied: what SetLatch() has left out.
 */
void
bdr_walwriter_end_frame(void)
{
	Latch	   *latch = BdrWalWriterLatch();
	pid_t		owner;

	if (!spared)
		return;
	spared = false;
	owner = latch->owner_pid;
	if (latch->is_set && latch->maybe_sleeping && owner != 0)
		kill(owner, SIGURG);
}
