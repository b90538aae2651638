/*-------------------------------------------------------------------------
 * row/find.h
 *		Finding the local row of a remote one.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_ROW_FIND_H
#define BDR_ROW_FIND_H

#include "postgres.h"

#include "row/relation.h"

extern bool bdr_find_row(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *key, TupleTableSlot *found);
extern bool bdr_find_next(IndexScanDesc scan, TupleTableSlot *slot, uint32 *walked);

#endif							/* BDR_ROW_FIND_H */
