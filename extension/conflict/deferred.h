/*-------------------------------------------------------------------------
 * conflict/deferred.h
 *		Rows to be judged at the end of a transaction, under deferrable constraints.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_CONFLICT_DEFERRED_H
#define BDR_CONFLICT_DEFERRED_H

#include "postgres.h"

#include "access/htup.h"
#include "storage/itemptr.h"

#include "conflict/constraint.h"

typedef struct BdrDeferred
{
	bool		superseded;		/* nothing is left to be judged */
	uint32		remote_relid;
	Oid			relid;			/* of the local table */
	ItemPointerData row;		/* of a row that was stored */
	HeapTuple	lost;			/* or the row that was not */
	bool		taken_back;		/* has the values from before the transaction */
} BdrDeferred;

extern void bdr_deferred_add(BdrRelation *rel, TupleTableSlot *slot);
extern void bdr_deferred_add_lost(BdrRelation *rel, TupleTableSlot *slot);
extern void bdr_deferred_supersede(BdrRelation *rel, BdrLookup *lookup, BdrConstraint *key);
extern void bdr_deferred_reset(void);
extern void bdr_deferred_keep(void);
extern void bdr_deferred_rollback(void);

/* Their number, which may grow while they are judged; NULL: it was superseded. */
extern int	bdr_deferred_count(void);
extern const BdrDeferred *bdr_deferred_begin(int i);

/* What is noted from here on is what a row was before; was the row being judged? */
extern void bdr_deferred_taking_back(bool taking_back);
extern bool bdr_deferred_was_taken_back(void);

#endif							/* BDR_CONFLICT_DEFERRED_H */
