/*-------------------------------------------------------------------------
 * base/worker.h
 *		Our background workers: how to tell, and what a writer is given.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_WORKER_H
#define BDR_BASE_WORKER_H

#include "postgres.h"

#include "postmaster/bgworker.h"

/* Is this process one of ours, and not a session or somebody's worker? */
static inline bool
bdr_is_own_worker(void)
{
	return MyBgworkerEntry != NULL && strcmp(MyBgworkerEntry->bgw_library_name, "bdr") == 0;
}

/* In bgw_extra; bgw_main_arg is the database's oid. */
typedef struct BdrWriterExtra
{
	Oid			dboid;
	uint64		token;			/* for HELLO, from LAUNCH */
} BdrWriterExtra;

#endif							/* BDR_BASE_WORKER_H */
