/*-------------------------------------------------------------------------
 * base/lock_wait.c
 *		Waiting for a lock of the server for a limited time.
 *
 * NOTES
 *		Only a subtransaction gives back what a wait has left.  What a session has
 *		locked it does not touch.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "storage/proc.h"
#include "utils/resowner.h"

#include "base/lock_wait.h"

bool
bdr_lock_wait(void (*take) (Oid relid), Oid relid, int limit_ms, bool gives_way)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	int			before = LockTimeout;
	volatile bool got = true;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		LockTimeout = limit_ms;
		take(relid);
		LockTimeout = before;
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		LockTimeout = before;
		if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE &&
			!(gives_way && geterrcode() == ERRCODE_T_R_DEADLOCK_DETECTED))
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		got = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return got;
}
