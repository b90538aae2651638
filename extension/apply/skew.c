/*-------------------------------------------------------------------------
 * apply/skew.c
 *		Transactions whose commit time lies in the future of our clock.
 *
 * NOTES
 *		A row that such a transaction wrote wins against what is written here
 *		afterwards, until our clock has passed its commit time.  WAIT with a
 *		maximum of 0, the default, rules that out: whoever sees the row here
 *		commits later than it.  With more, commits wait instead (version/clock.c).
 *
 *		The log tells of waits that a user would notice.  The clocks of two
 *		servers are never quite alike, and waiting some milliseconds for a
 *		transaction does not slow down those that follow it.
 *
 *		The wait comes before the local transaction begins, so it holds no
 *		lock and no snapshot.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "access/xact.h"
#include "utils/timestamp.h"

#include "apply/report.h"
#include "apply/skew.h"
#include "apply/state.h"
#include "base/settings.h"

/* WAIT: a wait that is worth a message. */
#define BDR_SKEW_NOTICE_MS		1000

/* Between two messages in the log. */
#define BDR_SKEW_LOG_MS			60000

static long left_ms(TimestampTz now);
static long left_to_wait(void);
static bool is_worth_a_message(TimestampTz now);
static void complain(TimestampTz now);

/*
 * Called before the first change of a remote transaction, with the current
 * time as the start of the statement; renews that after a wait.
 */
void
bdr_skew_check(void)
{
	TimestampTz now = GetCurrentStatementStartTimestamp();
	char		activity[NAMEDATALEN + 64];

	if (left_ms(now) == 0)
		return;
	if (is_worth_a_message(now))
		complain(now);
	if (bdr_maximum_clock_skew_action != BDR_SKEW_WAIT)
		return;

	snprintf(activity, sizeof(activity), "wait for the clock to reach transaction %u of node \"%s\"",
			 bdr_apply.xact.xid, bdr_apply.peer.name);
	bdr_report_wait(left_to_wait, activity);
	SetCurrentStatementStartTimestamp();
}

/* The settings may change meanwhile. */
static long
left_to_wait(void)
{
	return bdr_maximum_clock_skew_action == BDR_SKEW_WAIT ? left_ms(GetCurrentTimestamp()) : 0;
}

/*
 * How long until the transaction is near enough, rounded up; 0: it is.
 *
 * At the very moment of the limit it is not: the next local commit must be
 * later, not equal.
 */
static long
left_ms(TimestampTz now)
{
	TimestampTz limit;

	if (bdr_maximum_clock_skew < 0)
		return 0;
	limit = bdr_apply.xact.version.time - bdr_maximum_clock_skew * INT64CONST(1000);
	if (now > limit)
		return 0;
	return (long) Min((limit - now) / 1000 + 1, INT_MAX);
}

static bool
is_worth_a_message(TimestampTz now)
{
	return bdr_maximum_clock_skew_action == BDR_SKEW_WARN || left_ms(now) > BDR_SKEW_NOTICE_MS;
}

static void
complain(TimestampTz now)
{
	static TimestampTz complained = 0;

	if (complained != 0 && !TimestampDifferenceExceeds(complained, now, BDR_SKEW_LOG_MS))
		return;
	complained = now;
	ereport(WARNING,
			(errmsg("transaction %u of node \"%s\" was committed " INT64_FORMAT " ms in the future",
					bdr_apply.xact.xid, bdr_apply.peer.name, (bdr_apply.xact.version.time - now) / 1000),
			 bdr_maximum_clock_skew_action == BDR_SKEW_WAIT ?
			 errdetail("It is applied when our clock is at most %d ms behind it.", bdr_maximum_clock_skew) :
			 errdetail("bdr.maximum_clock_skew is %d ms.", bdr_maximum_clock_skew),
			 errhint("Synchronize the clocks of both servers.")));
}
