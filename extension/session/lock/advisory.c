/*-------------------------------------------------------------------------
 * session/lock/advisory.c
 *		bdr.global_advisory_lock() and bdr.global_advisory_unlock().
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "session/lock/global_lock.h"

PG_FUNCTION_INFO_V1(bdr_global_advisory_lock_bigint);
PG_FUNCTION_INFO_V1(bdr_global_advisory_lock_integers);
PG_FUNCTION_INFO_V1(bdr_global_advisory_unlock_bigint);
PG_FUNCTION_INFO_V1(bdr_global_advisory_unlock_integers);

static BdrGlobalLock lock_of_bigint(int64 key);
static BdrGlobalLock lock_of_integers(int32 key1, int32 key2);
static void unlock(BdrGlobalLock lock);

Datum
bdr_global_advisory_lock_bigint(PG_FUNCTION_ARGS)
{
	BdrGlobalLock lock = lock_of_bigint(PG_GETARG_INT64(0));

	bdr_global_lock_take(&lock);
	PG_RETURN_VOID();
}

Datum
bdr_global_advisory_lock_integers(PG_FUNCTION_ARGS)
{
	BdrGlobalLock lock = lock_of_integers(PG_GETARG_INT32(0), PG_GETARG_INT32(1));

	bdr_global_lock_take(&lock);
	PG_RETURN_VOID();
}

Datum
bdr_global_advisory_unlock_bigint(PG_FUNCTION_ARGS)
{
	unlock(lock_of_bigint(PG_GETARG_INT64(0)));
	PG_RETURN_VOID();
}

Datum
bdr_global_advisory_unlock_integers(PG_FUNCTION_ARGS)
{
	unlock(lock_of_integers(PG_GETARG_INT32(0), PG_GETARG_INT32(1)));
	PG_RETURN_VOID();
}

static BdrGlobalLock
lock_of_bigint(int64 key)
{
	BdrGlobalLock lock = {BDR_GLOBAL_LOCK_BIGINT, (int32) ((uint64) key >> 32), (int32) (uint32) key};

	return lock;
}

static BdrGlobalLock
lock_of_integers(int32 key1, int32 key2)
{
	BdrGlobalLock lock = {BDR_GLOBAL_LOCK_INTEGERS, key1, key2};

	return lock;
}

static void
unlock(BdrGlobalLock lock)
{
	if (!bdr_global_lock_give_back(&lock))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this transaction does not have %s", bdr_global_lock_title(&lock)),
				 errhint("A lock ends with its transaction; the view bdr.global_locks shows who has which.")));
}
