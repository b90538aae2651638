/*-------------------------------------------------------------------------
 * conflict/concurrent.h
 *		Had the sender a row when it changed it?
 *-------------------------------------------------------------------------
 */
#ifndef BDR_CONFLICT_CONCURRENT_H
#define BDR_CONFLICT_CONCURRENT_H

#include "postgres.h"

#include "conflict/case.h"

extern bool bdr_conflict_with_update(BdrRelation *rel, TupleTableSlot *row);
extern bool bdr_conflict_with_delete(BdrRelation *rel, TupleTableSlot *row);
extern bool bdr_conflict_is_seen(BdrCase *c, BdrFound *found);

#endif							/* BDR_CONFLICT_CONCURRENT_H */
