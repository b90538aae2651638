/*-------------------------------------------------------------------------
 * conflict/tombstone.h
 *		Versions that this node has seen and that no row of a table shows.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_CONFLICT_TOMBSTONE_H
#define BDR_CONFLICT_TOMBSTONE_H

#include "postgres.h"

#include "catalog/indexing.h"

#include "conflict/constraint.h"
#include "version/version.h"

/* A version to be remembered that is not the incoming one's. */
typedef struct BdrKept
{
	NameData	index;
	int64		hash;
	Datum		key_values;
	BdrVersion	version;
} BdrKept;

extern void bdr_tombstone_remember(BdrRelation *rel, BdrConstraint *constraint);
extern void bdr_tombstone_mark_evicted(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *row);
extern void bdr_tombstone_mark(BdrRelation *rel, BdrConstraint *key, TransactionId xid);
extern int64 bdr_tombstone_values(BdrConstraint *constraint, Datum *values);
extern Relation bdr_tombstone_open(CatalogIndexState *indexes);
extern void bdr_tombstone_keep(Relation memory, CatalogIndexState indexes, Oid relid, const BdrKept *kept);
extern void bdr_tombstone_scan(Oid relid, Snapshot snapshot,
							void (*visit) (void *arg, const BdrKept *kept, TransactionId writer), void *arg);
extern void bdr_tombstone_close(Relation memory, CatalogIndexState indexes);
extern bool bdr_tombstone_newest(BdrRelation *rel, BdrConstraint *constraint, bool wait, BdrVersion *newest);
extern bool bdr_tombstone_is_evicted(BdrRelation *rel, BdrConstraint *key, TransactionId xmax);

#endif							/* BDR_CONFLICT_TOMBSTONE_H */
