/*-------------------------------------------------------------------------
 * apply/report.c
 *		What the manager, and pg_stat_activity, are told about a writer's work.
 *
 * NOTES
 *		Each report wakes the manager up, so commits are gathered for a while.
 *		With a report go the statistics of tables.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/walwriter.h"
#include "storage/latch.h"
#include "utils/timestamp.h"

#include "apply/handoff.h"
#include "apply/progress.h"
#include "apply/report.h"
#include "apply/state.h"
#include "base/worker_settings.h"
#include "row/statistics.h"
#include "bdr_compat.h"

/* Between the reports of a long transaction. */
#define BDR_PROGRESS_MS			1000

/* Between those of short ones. */
#define BDR_REPORT_MS			20

static BdrSocket *manager;
static XLogRecPtr reported_flushed;
static TimestampTz reported_at;
static bool is_pending;			/* there are commits that were not reported */
static bool stats_pending;		/* counted, not yet handed on */
static bool was_sent;			/* since somebody asked */
static BackendState shown = STATE_UNDEFINED;	/* in pg_stat_activity */

static bool is_due(void);

void
bdr_report_init(BdrSocket *to)
{
	manager = to;
	is_pending = true;			/* the manager may not know what standbys have */
}

/*
 * PROGRESS: the manager knows then what has been applied by now.
 */
void
bdr_report_send(void)
{
	StringInfoData buf;
	const uint64 *counter = (const uint64 *) &bdr_apply.counters;

	was_sent = true;
	is_pending = false;
	reported_flushed = bdr_progress_flushed();
	reported_at = GetCurrentTimestamp();
	stats_pending = true;
	bdr_message_begin(&buf, BDR_MSG_PROGRESS);
	pq_sendint64(&buf, bdr_progress_applied());
	pq_sendint64(&buf, reported_flushed);
	pq_sendint64(&buf, bdr_progress_time());
	for (int i = 0; i < BDR_COUNTERS; i++)
		pq_sendint64(&buf, counter[i]);
	pq_sendint64(&buf, bdr_apply.xact.open ? bdr_apply.xact.change_nr : 0);
	bdr_handoff_report(&buf);
	bdr_socket_send(manager, &buf);
	pfree(buf.data);
	bdr_stats_report();
	if (!bdr_apply.xact.started)
		pgstat_report_stat(false);
}

/*
 * There is something to report, soon.
 */
void
bdr_report_note(void)
{
	is_pending = true;
}

void
bdr_report_if_due(void)
{
	if (is_due())
		bdr_report_send();
}

/*
 * Commits are reported soon, a long transaction now and then, and with it what
 * was flushed.
 */
static bool
is_due(void)
{
	if (!is_pending && !bdr_apply.xact.open)
		return false;
	return TimestampDifferenceExceeds(reported_at, GetCurrentTimestamp(),
									  is_pending ? BDR_REPORT_MS : BDR_PROGRESS_MS);
}

/*
 * Was a report sent since the last call?  The manager may have answered.
 */
bool
bdr_report_was_sent(void)
{
	bool		result = was_sent;

	was_sent = false;
	return result;
}

/*
 * How long to wait for something to happen; -1: for ever.  There is a limit
 * while commits wait to be reported or for their flush, which the WAL writer
 * does within its delay, and for the statistics.
 */
long
bdr_report_timeout_ms(void)
{
	if (is_pending)
		return BDR_REPORT_MS;
	return bdr_progress_pending() || stats_pending ? WalWriterDelay : -1;
}

/*
 * Nothing happened for that time.
 */
void
bdr_report_after_silence(void)
{
	if (is_pending)
	{
		bdr_report_send();
		return;
	}
	if (bdr_progress_flushed() != reported_flushed)
		bdr_report_send();
	if (!bdr_apply.xact.started)
		pgstat_report_stat(true);
	stats_pending = false;
}

/*
 * What pg_stat_activity shows.  A text for each transaction would cost more
 * than a small transaction; bdr.stat_writer knows which one it is.
 */
void
bdr_report_activity(BackendState state)
{
	char		text[NAMEDATALEN + 64];

	if (state == shown)
		return;
	shown = state;
	snprintf(text, sizeof(text), state == STATE_RUNNING ?
			 "apply changes of node \"%s\"" : "wait for node \"%s\"", bdr_apply.peer.name);
	pgstat_report_activity(state, text);
}

/*
 * Wait, interruptibly and reporting, until left_ms returns 0.  Between BEGIN
 * and the first change, when no local transaction is open.
 */
void
bdr_report_wait(long (*left_ms) (void), const char *activity)
{
	long		left = left_ms();

	Assert(!bdr_apply.xact.started);
	pgstat_report_activity(STATE_RUNNING, activity);
	while (left > 0)
	{
		bdr_report_if_due();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(left, BDR_PROGRESS_MS), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		bdr_worker_handle_signals();
		left = left_ms();
	}
	shown = STATE_UNDEFINED;
	bdr_report_activity(STATE_RUNNING);
}
