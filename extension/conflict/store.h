/*-------------------------------------------------------------------------
 * conflict/store.h
 *		A version is stored, and what follows from that.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_CONFLICT_STORE_H
#define BDR_CONFLICT_STORE_H

#include "postgres.h"

#include "row/relation.h"

extern bool bdr_store_may_be_surpassed(BdrRelation *rel);

/* Each returns false when the row has changed meanwhile. */
extern bool bdr_store_update(BdrRelation *rel, TupleTableSlot *found, TupleTableSlot *row);
extern bool bdr_store_delete(BdrRelation *rel, TupleTableSlot *found);
extern bool bdr_store_take_back(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *row);

extern void bdr_store_insert(BdrRelation *rel, TupleTableSlot *row);
extern void bdr_store_run(BdrRelation *rel, TupleTableSlot **rows, int count, uint32 first_change);
extern void bdr_store_alone(BdrRelation *rel, TupleTableSlot *row);
extern void bdr_store_where_it_belongs(BdrRelation *rel, TupleTableSlot *row);

#endif							/* BDR_CONFLICT_STORE_H */
