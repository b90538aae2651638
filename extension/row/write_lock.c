/*-------------------------------------------------------------------------
 * row/write_lock.c
 *		The lock of a table that a writer writes to.
 *
 * NOTES
 *		It is the one that users take, but where a gate keeps them out
 *		(base/table_gate.h): what peers have sent must come through.  There each
 *		writer takes a lock that does not wait for the gate, nor for users who
 *		do.  It is weaker than who makes an index believes that writers have, so
 *		there is one more for him to see.
 *
 *		A gate may be closed just when we wait for it to be: nobody would ever
 *		wake us, so a wait has an end, after which we look again.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "storage/lmgr.h"
#include "storage/proc.h"

#include "base/lock_wait.h"
#include "base/table_gate.h"
#include "row/write_lock.h"

/* Where gates are closed there is one to pass soon; else deadlocks are to be found. */
#define GATED_WAIT_MS		100
#define WAIT_MORE_MS		10000

static void pass(Oid relid);
static void lock(Oid relid);

void
bdr_write_lock(Oid relid)
{
	for (;;)
	{
		if (unlikely(bdr_gate_is_held(relid)))
		{
			pass(relid);
			return;
		}
		if (ConditionalLockRelationOid(relid, RowExclusiveLock) ||
			bdr_lock_wait(lock, relid, bdr_gate_exists() ? GATED_WAIT_MS : DeadlockTimeout + WAIT_MORE_MS, false))
			return;
	}
}

static void
pass(Oid relid)
{
	bdr_gate_lock_pass(InvalidOid, BDR_GATE_PASS, false);
	bdr_gate_lock_pass(relid, BDR_GATE_PASS, false);
	LockRelationOid(relid, BDR_GATE_PASS_LOCK);
}

static void
lock(Oid relid)
{
	LockRelationOid(relid, RowExclusiveLock);
}

Relation
bdr_write_lock_open(Oid relid, LOCKMODE lockmode)
{
	if (lockmode != RowExclusiveLock)
		return try_relation_open(relid, lockmode);
	bdr_write_lock(relid);
	return try_relation_open(relid, NoLock);
}

/*
 * Names may move while we wait.
 */
Oid
bdr_write_lock_name(const RangeVar *name, LOCKMODE lockmode)
{
	Oid			relid;

	if (lockmode != RowExclusiveLock)
		return RangeVarGetRelid(name, lockmode, true);
	relid = RangeVarGetRelid(name, NoLock, true);
	while (OidIsValid(relid))
	{
		Oid			locked = relid;

		bdr_write_lock(locked);
		relid = RangeVarGetRelid(name, NoLock, true);
		if (relid == locked)
			break;
	}
	return relid;
}
