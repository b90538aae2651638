/*-------------------------------------------------------------------------
 * base/worker.h
 *		What a writer is given when it is started.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_WORKER_H
#define BDR_BASE_WORKER_H

#include "postgres.h"

/* In bgw_extra; bgw_main_arg is the database's oid. */
typedef struct BdrWriterExtra
{
	Oid			dboid;
	uint64		token;			/* for HELLO, from LAUNCH */
} BdrWriterExtra;

#endif							/* BDR_BASE_WORKER_H */
