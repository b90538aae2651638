/*-------------------------------------------------------------------------
 * conflict/dead_entry.h
 *		Index entries of dead rows that nobody has to look at any more.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_CONFLICT_DEAD_ENTRY_H
#define BDR_CONFLICT_DEAD_ENTRY_H

#include "postgres.h"

#include "conflict/constraint.h"

/* A search that walked fewer entries is not worth a sweep. */
#define BDR_SWEEP_ENTRIES	64

extern void bdr_dead_entry_sweep(BdrRelation *rel, BdrConstraint *constraint, uint32 walked);
extern bool bdr_dead_entry_find_row(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *key, TupleTableSlot *found);

#endif							/* BDR_CONFLICT_DEAD_ENTRY_H */
