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

/* Columns of bdr.remembered_version, in the order of sql/50_versions.sql. */
enum
{
	BDR_VERSION_RELATION = 1,
	BDR_VERSION_INDEX_NAME,
	BDR_VERSION_VALUE_HASH,
	BDR_VERSION_KEY_VALUES,
	BDR_VERSION_COMMIT_TIME,
	BDR_VERSION_NODE_ID
};
#define BDR_VERSION_COLUMNS BDR_VERSION_NODE_ID

/* As commit_time: that of the transaction that wrote the row. */
#define BDR_VERSION_TIME_OWN	DT_NOEND

/* ... of bdr.evicted_row. */
enum
{
	BDR_EVICTED_RELATION = 1,
	BDR_EVICTED_VALUE_HASH,
	BDR_EVICTED_KEY_VALUES,
	BDR_EVICTED_XID
};
#define BDR_EVICTED_COLUMNS BDR_EVICTED_XID

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
