/*-------------------------------------------------------------------------
 * row/write_lock.h
 *		The lock of a table that a writer writes to.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_ROW_WRITE_LOCK_H
#define BDR_ROW_WRITE_LOCK_H

#include "postgres.h"

#include "nodes/primnodes.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

/* Until the transaction ends.  The table may be gone by then. */
extern void bdr_write_lock(Oid relid);

/*
 * A relation, locked in that mode, or as above if it is RowExclusiveLock; NULL or
 * InvalidOid when there is none.
 */
extern Relation bdr_write_lock_open(Oid relid, LOCKMODE lockmode);
extern Oid	bdr_write_lock_name(const RangeVar *name, LOCKMODE lockmode);

#endif							/* BDR_ROW_WRITE_LOCK_H */
