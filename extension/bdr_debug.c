/*-------------------------------------------------------------------------
 * bdr_debug.c
 *		What only tests call: making the manager die, and looking for lost
 *		wake-ups of its main thread.
 *
 * NOTES
 *		All of it needs bdr.debug_faults, which a superuser sets.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "utils/timestamp.h"

#include "bdr.h"
#include "bdr_shmem.h"

#define ANSWER_MS_MAX	500		/* then a wake-up counts as lost */
#define SIGNAL_EVERY	16		/* pings between two signals */

PG_FUNCTION_INFO_V1(bdr_internal_debug_fault);
PG_FUNCTION_INFO_V1(bdr_internal_latch_stress);

extern PGDLLEXPORT Datum bdr_call(PG_FUNCTION_ARGS);

static void check_debug(void);
static bool ping(BdrManagerSlot *slot, uint32 round);

Datum
bdr_internal_debug_fault(PG_FUNCTION_ARGS)
{
	check_debug();
	return bdr_call(fcinfo);
}

/*
 * Pings the manager's main thread by its latch and counts the pings that it
 * does not answer in time.
 *
 * Only the latch's signal can wake it here: nothing else is sent to it but,
 * now and then, other signals, which must not swallow it.  With a Go thread
 * that takes the signal, answers get lost (prototypes, P1).
 */
Datum
bdr_internal_latch_stress(PG_FUNCTION_ARGS)
{
	int			n = PG_GETARG_INT32(0);
	int			lost = 0;
	BdrManagerSlot *slot;

	check_debug();
	LWLockAcquire(bdr_shmem->lock, LW_SHARED);
	slot = bdr_shmem_find(MyDatabaseId);
	LWLockRelease(bdr_shmem->lock);
	if (slot == NULL || slot->pid == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the bdr manager of this database does not run")));
	slot->pinger = MyLatch;
	for (int i = 0; i < n && slot->pid != 0; i++)
	{
		if (i % SIGNAL_EVERY == 0)
			kill(slot->pid, i / SIGNAL_EVERY % 2 ? SIGUSR1 : SIGHUP);
		if (!ping(slot, slot->ping + 1))
			lost++;
	}
	slot->pinger = NULL;
	PG_RETURN_INT32(lost);
}

static void
check_debug(void)
{
	if (!superuser() || !bdr_debug_faults)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("this function is for tests"),
				 errhint("Set bdr.debug_faults.")));
	if (!bdr_is_preloaded())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("bdr is not loaded"),
				 errhint("Add bdr to shared_preload_libraries and restart the server.")));
}

static bool
ping(BdrManagerSlot *slot, uint32 round)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ANSWER_MS_MAX);
	Latch	   *latch = slot->latch;

	slot->ping = round;
	pg_memory_barrier();
	if (latch != NULL)
		SetLatch(latch);
	for (;;)
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);

		if (*((volatile uint32 *) &slot->pong) == round)
			return true;
		if (left <= 0)
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}
