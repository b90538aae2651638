/*-------------------------------------------------------------------------
 * base/lock_wait.h
 *		Waiting for a lock of the server for a limited time.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_LOCK_WAIT_H
#define BDR_BASE_LOCK_WAIT_H

#include "postgres.h"

/*
 * Calls take, in a transaction, for a lock of a table.  Returns false when the time is
 * over or, if the caller can do without, when that would be a deadlock.
 */
extern bool bdr_lock_wait(void (*take) (Oid relid), Oid relid, int limit_ms, bool gives_way);

#endif							/* BDR_BASE_LOCK_WAIT_H */
