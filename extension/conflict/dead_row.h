/*-------------------------------------------------------------------------
 * conflict/dead_row.h
 *		Rows of a heap that may be dead: who wrote them, and who ended them.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_CONFLICT_DEAD_ROW_H
#define BDR_CONFLICT_DEAD_ROW_H

#include "postgres.h"

#include "access/htup.h"

#include "row/relation.h"
#include "version/version.h"

/* How far a transaction is that wrote, or ended, a row. */
typedef enum BdrXactState
{
	BDR_XACT_NONE,				/* there is none */
	BDR_XACT_ABORTED,
	BDR_XACT_OURS,
	BDR_XACT_BUSY,
	BDR_XACT_COMMITTED
} BdrXactState;

/* A row of a heap, which may be dead. */
typedef struct BdrDeadRow
{
	TransactionId xmin;
	TransactionId xmax;			/* who deleted or updated it */
	bool		frozen;			/* its xmin is */
	BdrXactState born;
	BdrXactState died;
} BdrDeadRow;

extern bool bdr_dead_are_known(BdrRelation *rel);
extern void bdr_dead_read(TupleTableSlot *slot, BdrDeadRow *dead);
extern TransactionId bdr_dead_ended_by(HeapTupleHeader header);
extern bool bdr_dead_is_newer(TransactionId xid, const BdrVersion *than);
extern bool bdr_dead_is_one_version(const BdrDeadRow *dead);

#endif							/* BDR_CONFLICT_DEAD_ROW_H */
