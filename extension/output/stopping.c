/*-------------------------------------------------------------------------
 * output/stopping.c
 *		When the server stops: how long a walsender waits for its peer.
 *
 * NOTES
 *		A server that stops waits for its walsenders, and each of them for its
 *		receiver to confirm all that was written.  A peer may be unable to, for
 *		as long as one of its users holds a lock.  So a walsender gives its
 *		connection up when nothing was confirmed for BDR_STOP_STILL_MS, or at the
 *		latest after BDR_STOP_MAX_MS.  Nothing is lost: the slot knows what was
 *		confirmed, and the rest is sent after the restart.
 *
 *		The walsender itself knows that the server stops once it has been told
 *		and has looked, which shows in its state.  While it cannot write to its
 *		socket, or decodes a large transaction, it does not look; there the
 *		postmaster's file and the absence of the WAL writer tell.  Both are
 *		needed: the file says "stopping" in a smart shutdown too, in which
 *		sessions of users, and so walsenders, go on as ever.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "replication/slot.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "base/libpq.h"
#include "base/postmaster.h"
#include "output/stopping.h"
#include "bdr_compat.h"

/* Between two looks whether the server stops. */
#define BDR_STOP_LOOK_MS		1000

/* Without a confirmation; and in all. */
#define BDR_STOP_STILL_MS		5000
#define BDR_STOP_MAX_MS			30000

static struct
{
	TimestampTz looked;
	TimestampTz stopping;		/* since when, as far as we know; 0: no */
	XLogRecPtr	confirmed;
	TimestampTz confirmed_at;	/* or when we began to look at it */
}			state;

static bool server_is_stopping(void);
static bool wal_writer_runs(void);
static void note_confirmation(TimestampTz now);
pg_noreturn static void give_up(void);
static void look_again(void);
static void timeout_is_over(void);

/*
 * To be called now and then by a walsender that streams, in any state that it
 * can be interrupted in.  Does not return if it is time to give up.
 */
void
bdr_stopping_check(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (TimestampDifferenceExceeds(state.looked, now, BDR_STOP_LOOK_MS))
	{
		state.looked = now;
		if (!server_is_stopping())
			state.stopping = 0;
		else
			note_confirmation(now);
		if (state.stopping != 0 &&
			(TimestampDifferenceExceeds(state.confirmed_at, now, BDR_STOP_STILL_MS) ||
			 TimestampDifferenceExceeds(state.stopping, now, BDR_STOP_MAX_MS)))
			give_up();
	}
	if (state.stopping != 0 || pq_is_send_pending())
		look_again();
}

static void
note_confirmation(TimestampTz now)
{
	XLogRecPtr	confirmed = MyReplicationSlot->data.confirmed_flush;

	if (state.stopping != 0 && confirmed == state.confirmed)
		return;
	if (state.stopping == 0)
		state.stopping = now;
	state.confirmed = confirmed;
	state.confirmed_at = now;
}

/* As the walsender does when its client has gone. */
static void
give_up(void)
{
	ereport(LOG,
			(errmsg("replication to \"%s\" ends without its confirmation because the server stops",
					application_name),
			 errdetail("Everything up to %X/%X was confirmed.", LSN_FORMAT_ARGS(state.confirmed)),
			 errhint("The rest is sent after the restart.")));
	whereToSendOutput = DestNone;
	proc_exit(0);
}

static bool
server_is_stopping(void)
{
	return MyWalSnd->state == WALSNDSTATE_STOPPING ||
		(bdr_postmaster_is_stopping() && !wal_writer_runs());
}

static bool
wal_writer_runs(void)
{
	bool		found = false;
	int			n = pgstat_fetch_stat_numbackends();

	for (int i = 1; i <= n && !found; i++)
		found = bdr_backend_entry(i)->backendStatus.st_backendType == B_WAL_WRITER;
	pgstat_clear_backend_activity_snapshot();
	return found;
}

/*
 * A walsender that waits for its socket hears nothing of a stop: wake it up.
 */
static void
look_again(void)
{
	static TimeoutId timeout = MAX_TIMEOUTS;

	if (timeout == MAX_TIMEOUTS)
		timeout = RegisterTimeout(USER_TIMEOUT, timeout_is_over);
	if (!get_timeout_active(timeout))
		enable_timeout_after(timeout, BDR_STOP_LOOK_MS);
}

/* The server sets the latch for every timeout. */
static void
timeout_is_over(void)
{
}
