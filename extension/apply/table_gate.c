/*-------------------------------------------------------------------------
 * apply/table_gate.c
 *		The gates that a writer closes and opens.
 *
 * NOTES
 *		Its own node's users are kept out by a lock of the server that this
 *		session holds: they wait for it as for any other, and see the table as
 *		it is then.  The statement that the lock is for comes to this writer, so
 *		it meets no lock of somebody else's.
 *
 *		An abort of the server gives back all that a session has locked.  Users
 *		get an error then until this writer has locked the table again.
 *
 *		While transactions of users end the stream must go on, so the lock is
 *		tried for a time, and as long again is for frames.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "apply/state.h"
#include "apply/table_gate.h"
#include "base/lock_wait.h"
#include "base/table_gate.h"

/* Beyond deadlock_timeout, at which the server looks who is in the way. */
#define TRY_MORE_MS		500

static TimestampTz rests_until = 0; /* after a try in vain */

static void at_transaction_end(XactEvent event, void *arg);
static long serve(const List *gates);
static bool close_gate(const BdrGate *gate);
static bool lock_table(Oid relid);
static void lock_for_session(Oid relid);
static void open_gate(const BdrGate *gate);
static void unlock_table(Oid relid);

void
bdr_gates_init(void)
{
	bdr_gate_attach(bdr_apply.peer.node_id);
	RegisterXactCallback(at_transaction_end, NULL);
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT && bdr_gate_exists())
		bdr_gate_lost();
}

long
bdr_gates_serve(void)
{
	MemoryContext old;
	long		next;

	if (likely(!bdr_gate_exists()))
		return -1;
	old = MemoryContextSwitchTo(bdr_apply.change_context);
	next = serve(bdr_gate_list());
	MemoryContextSwitchTo(old);
	MemoryContextReset(bdr_apply.change_context);
	return next;
}

static long
serve(const List *gates)
{
	ListCell   *lc;

	foreach(lc, gates)
	{
		const BdrGate *gate = lfirst(lc);

		if (gate->node != bdr_apply.peer.node_id)
			continue;
		if (gate->leaves)
			open_gate(gate);
		else if (gate->pid == 0)
		{
			long		rest = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), rests_until);

			if (rest > 0)
				return rest;
			if (!close_gate(gate))
			{
				int			pause = DeadlockTimeout + TRY_MORE_MS;

				rests_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause);
				return pause;
			}
		}
	}
	return -1;
}

/* Returns false when users are at the table still. */
static bool
close_gate(const BdrGate *gate)
{
	if (!lock_table(gate->relid))
		return false;
	if (!bdr_gate_closed(gate))
		unlock_table(gate->relid);
	return true;
}

static bool
lock_table(Oid relid)
{
	MemoryContext context = CurrentMemoryContext;
	bool		got;

	StartTransactionCommand();
	got = bdr_lock_wait(lock_for_session, relid, DeadlockTimeout + TRY_MORE_MS, true);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return got;
}

static void
lock_for_session(Oid relid)
{
	LockRelId	table = {relid, MyDatabaseId};

	LockRelationIdForSession(&table, BDR_GATE_LOCK);
}

static void
open_gate(const BdrGate *gate)
{
	if (gate->pid == MyProcPid)
		unlock_table(gate->relid);
	bdr_gate_opened(gate);
}

static void
unlock_table(Oid relid)
{
	LockRelId	table = {relid, MyDatabaseId};

	UnlockRelationIdForSession(&table, BDR_GATE_LOCK);
}
