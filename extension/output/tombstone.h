/*-------------------------------------------------------------------------
 * output/tombstone.h
 *		Versions that no row shows, for a node that joins.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_OUTPUT_TOMBSTONE_H
#define BDR_OUTPUT_TOMBSTONE_H

#include "postgres.h"

#include "output/output.h"

extern char bdr_tombstone_kind(const BdrSentRelation *sent);
extern bool bdr_tombstone_write(BdrOutput *output, const BdrSentRelation *memory,
							 TupleDesc desc, HeapTuple tuple);

#endif							/* BDR_OUTPUT_TOMBSTONE_H */
