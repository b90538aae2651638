/*-------------------------------------------------------------------------
 * conflict/schema_mismatch.h
 *		Tables and columns that only one side has.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_CONFLICT_SCHEMA_MISMATCH_H
#define BDR_CONFLICT_SCHEMA_MISMATCH_H

#include "postgres.h"

#include "row/relation.h"

extern void bdr_mismatch_forget(void);
extern bool bdr_mismatch_accept(BdrRelation *rel, TupleTableSlot *row);
extern void bdr_mismatch_table(BdrRelation *rel);

#endif							/* BDR_CONFLICT_SCHEMA_MISMATCH_H */
