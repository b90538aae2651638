/*-------------------------------------------------------------------------
 * version/watermark.c
 *		Watermarks: "nothing older than this follows", in a node's stream.
 *
 * NOTES
 *		Commit records are not in the order of their times, so the time of the
 *		last transaction that came is no promise (decision 0007, "Clean-up").
 *		What is one: a time that nobody who commits from now on can get below,
 *		and that those who took theirs before have been waited for.
 *
 *		When a watermark is due, and what follows from those of the peers, is
 *		decided in gosrc/conflict/retain.go.  It goes through WAL, so that its
 *		place among the commits is exact.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"

#include "base/wal_message.h"
#include "version/clock.h"
#include "bdr_wire.h"

/* For those that are committing: the main thread serves nobody meanwhile. */
#define COMMITS_WAIT_MS_MAX		1000

PG_FUNCTION_INFO_V1(bdr_internal_watermark);

/*
 * Writes a watermark with the time of now.  Returns that time, or NULL when
 * somebody takes too long to commit: nothing was written then.
 *
 * The time is the clock's and not the newest commit's, which may be ahead of
 * it: who has passed the guard of version/clock.c already takes his time from the
 * clock.
 */
Datum
bdr_internal_watermark(PG_FUNCTION_ARGS)
{
	int64		awaited = PG_GETARG_INT64(0);
	TimestampTz time = GetCurrentTimestamp();
	uint64		content[2];

	StaticAssertStmt(sizeof(content) == BDR_WATERMARK_BYTES, "unexpected size of a watermark");
	bdr_clock_raise(time);
	if (!bdr_clock_wait_for_commits())
		PG_RETURN_NULL();
	content[0] = pg_hton64((uint64) time);
	content[1] = pg_hton64((uint64) awaited);
	bdr_wal_message_write(BDR_WATERMARK_PREFIX, (const char *) content, sizeof(content));
	PG_RETURN_INT64(time);
}

/*
 * Until those that have taken their commit time have written their commit
 * record.  They delay checkpoints meanwhile, for the same reason.
 *
 * They announce that and then read the clock, with no barrier in between.  The
 * pause gives the announcement time to become visible if they read the clock
 * before we did.
 */
bool
bdr_clock_wait_for_commits(void)
{
	VirtualTransactionId *xacts;
	int			n;
	bool		over;

	pg_usleep(1000L);
	xacts = GetVirtualXIDsDelayingChkpt(&n, DELAY_CHKPT_START);
	for (int i = 0;; i++)
	{
		over = n == 0 || !HaveVirtualXIDsDelayingChkpt(xacts, n, DELAY_CHKPT_START);
		if (over || i == COMMITS_WAIT_MS_MAX)
			break;
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000L);
	}
	pfree(xacts);
	return over;
}

