/*-------------------------------------------------------------------------
 * version/clock.c
 *		No local commit is older than what was seen before it.
 *
 * NOTES
 *		A session overwrites what is there and wins.  All nodes agree with
 *		that only if its version is the newest, so a transaction that wrote
 *		waits, before it takes its commit time, until the clock has passed the
 *		newest time that was seen or committed here (decision 0007).  Writers
 *		commit with the time of the remote transaction and raise the newest
 *		time before they look for rows.
 *
 *		A transaction writes and then reads the newest time; a writer raises it
 *		and then looks.  Either the transaction waits, or the writer meets its
 *		rows, waits for it and compares versions.
 *
 *		With clocks that only go forward, and apply that waits for them
 *		(apply/skew.c), nobody waits here.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "replication/origin.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "base/settings.h"
#include "base/shmem.h"
#include "base/worker.h"
#include "version/clock.h"

/* Less than this is not worth a sleep. */
#define BDR_CLOCK_SPIN_USEC		50

/* A reload of the settings ends a wait after this. */
#define BDR_CLOCK_LOOK_MS		100

/* What is worth a message, and the time between two of them. */
#define BDR_CLOCK_LOG_USEC		1000000
#define BDR_CLOCK_LOG_PAUSE_MS	60000

typedef struct BdrClock
{
	pg_atomic_uint64 high;		/* a TimestampTz */
	pg_atomic_uint32 waits;		/* bdr.maximum_clock_skew_action is WAIT */
} BdrClock;

static BdrClock *shared = NULL;

static Size memory_bytes(void);
static void start_memory(void);
static void at_transaction_end(XactEvent event, void *arg);
static bool is_guarded(void);
static void sleep_until(TimestampTz high, TimestampTz now);
static void complain(TimestampTz high, TimestampTz now);

static const BdrShmemPart shmem_part = {memory_bytes, start_memory, NULL};

/*
 * Must be registered before others: the first callback runs last, when the
 * others have chosen a commit time or written what they write.
 */
void
bdr_clock_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	bdr_shmem_register(&shmem_part);
}

static Size
memory_bytes(void)
{
	return sizeof(BdrClock);
}

static void
start_memory(void)
{
	bool		found;

	shared = ShmemInitStruct("bdr clock", memory_bytes(), &found);
	if (found)
		return;
	pg_atomic_init_u64(&shared->high, 0);
	pg_atomic_init_u32(&shared->waits, bdr_maximum_clock_skew_action == BDR_SKEW_WAIT);
}

/*
 * The supervisor has read the settings.  A session reads them only between two
 * commands, so what holds for one that waits is in shared memory.
 */
void
bdr_clock_configure(void)
{
	pg_atomic_write_u32(&shared->waits, bdr_maximum_clock_skew_action == BDR_SKEW_WAIT);
}

TimestampTz
bdr_clock_high(void)
{
	return shared != NULL ? (TimestampTz) pg_atomic_read_u64(&shared->high) : 0;
}

void
bdr_clock_raise(TimestampTz time)
{
	uint64		high;

	if (shared == NULL)
		return;
	high = pg_atomic_read_u64(&shared->high);
	while ((TimestampTz) high < time)
		if (pg_atomic_compare_exchange_u64(&shared->high, &high, (uint64) time))
			return;
	pg_memory_barrier();
}

/*
 * The server keeps the time of a session from one transaction to the next, so
 * it means something only together with an origin.
 */
TimestampTz
bdr_clock_chosen_time(void)
{
	if (replorigin_session_origin == InvalidRepOriginId || replorigin_session_origin == DoNotReplicateId)
		return 0;
	return replorigin_session_origin_timestamp;
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_COMMIT)
		return;
	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return;
	if (event == XACT_EVENT_PRE_COMMIT)
		bdr_clock_wait();
	else
		bdr_clock_committed(bdr_clock_chosen_time() != 0 ? bdr_clock_chosen_time() :
							GetCurrentTransactionStopTimestamp());
}

void
bdr_clock_committed(TimestampTz time)
{
	if (is_guarded())
		bdr_clock_raise(time);
}

/*
 * Our own processes write what users wrote with the time of that, and besides
 * only into tables that are not replicated.
 */
static bool
is_guarded(void)
{
	if (shared == NULL || !bdr_shmem_has_database(MyDatabaseId))
		return false;
	return !bdr_is_own_worker();
}

/*
 * Until the clock has passed all that was seen or committed.  What commits
 * with a time of its own choice (another replication system) is left alone.
 *
 * The clock may go back between here and the commit; that cannot be helped.
 */
void
bdr_clock_wait(void)
{
	TimestampTz now = bdr_clock_chosen_time();

	if (!is_guarded())
		return;
	pg_memory_barrier();		/* what we wrote is there before we read */
	if (now == 0)
	{
		for (;;)
		{
			TimestampTz high = bdr_clock_high();

			now = GetCurrentTimestamp();
			if (now > high || pg_atomic_read_u32(&shared->waits) == 0)
				break;
			if (high - now > BDR_CLOCK_SPIN_USEC)
				sleep_until(high, now);
			CHECK_FOR_INTERRUPTS();
		}
	}
	bdr_clock_raise(now);
}

static void
sleep_until(TimestampTz high, TimestampTz now)
{
	complain(high, now);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 Min((high - now) / 1000 + 1, BDR_CLOCK_LOOK_MS), PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}

static void
complain(TimestampTz high, TimestampTz now)
{
	static TimestampTz complained = 0;

	if (high - now <= BDR_CLOCK_LOG_USEC)
		return;
	if (complained != 0 && complained <= now &&
		!TimestampDifferenceExceeds(complained, now, BDR_CLOCK_LOG_PAUSE_MS))
		return;
	complained = now;
	ereport(WARNING,
			(errmsg("the commit waits " INT64_FORMAT " ms for the clock", (high - now) / 1000),
			 errdetail("This node has a newer transaction already."),
			 errhint("Synchronize the clocks of all nodes.  Setting bdr.maximum_clock_skew_action to WARN ends the wait; the nodes may differ then.")));
}
