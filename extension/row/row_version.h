/*-------------------------------------------------------------------------
 * row/row_version.h
 *		Row versions of a table, for those who look for conflicts.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_ROW_ROW_VERSION_H
#define BDR_ROW_ROW_VERSION_H

#include "postgres.h"

#include "row/decode.h"

extern void bdr_row_version_describe(BdrRelation *rel, Relation local);

/* Callers ask only where rel->row_version is set. */
extern bool bdr_row_version_differs(BdrUpdate *update, BdrRelation *rel, TupleTableSlot *local);

#endif							/* BDR_ROW_ROW_VERSION_H */
