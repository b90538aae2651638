/*-------------------------------------------------------------------------
 * row/lookup.h
 *		Which index finds a row, and by which columns.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_ROW_LOOKUP_H
#define BDR_ROW_LOOKUP_H

#include "postgres.h"

#include "row/relation.h"

extern void bdr_lookup_map(BdrRelation *rel, Relation local, BdrLookup *lookup, bool whole_row);
extern void bdr_lookup_make_keys(BdrLookup *lookup, Relation index);
extern Oid	bdr_lookup_choose_index(Relation local, const bool *allowed);
extern bool bdr_lookup_scan_key(ScanKey key, Relation index, int i);
extern bool bdr_lookup_matches(const BdrLookup *lookup, ScanKey keys, TupleTableSlot *row);

#endif							/* BDR_ROW_LOOKUP_H */
