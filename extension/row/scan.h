/*-------------------------------------------------------------------------
 * row/scan.h
 *		Finding a local row by comparing columns, where no unique index does.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_ROW_SCAN_H
#define BDR_ROW_SCAN_H

#include "postgres.h"

#include "row/relation.h"

extern bool bdr_scan_find(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *key, TupleTableSlot *found);

#endif							/* BDR_ROW_SCAN_H */
