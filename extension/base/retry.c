/*-------------------------------------------------------------------------
 * base/retry.c
 *		An error that has the work in progress started over.
 *
 * NOTES
 *		Whoever meets the reason does not know what belongs to the work.  Who does,
 *		catches the error by its code; see apply/retry.c.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/retry.h"

/*
 * A row was stored without looking, and a version that it should have been
 * compared with came up meanwhile.
 */
void
bdr_retry_start_over(uint32 xid, const char *node)
{
	ereport(ERROR,
			(errcode(BDR_ERRCODE_START_OVER),
			 errmsg("transaction %u of node \"%s\" met newer versions while it was applied", xid, node)));
}
