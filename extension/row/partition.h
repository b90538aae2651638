/*-------------------------------------------------------------------------
 * row/partition.h
 *		Rows for tables that the nodes have cut into other partitions.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_ROW_PARTITION_H
#define BDR_ROW_PARTITION_H

#include "postgres.h"

#include "row/decode.h"
#include "row/relation.h"

/* For row/relation.c */
extern Relation bdr_partition_open_local(BdrRelation *rel, LOCKMODE lockmode);
extern void bdr_partition_lock_ancestors(List *ancestors);
extern void bdr_partition_map(BdrRelation *rel, Relation local);
extern void bdr_partition_start(BdrRelation *rel);
extern void bdr_partition_stop(BdrRelation *rel);
extern void bdr_partition_mark_stale(BdrRelation *rel, Oid relid);
extern void bdr_partition_trim(BdrRelation *rel, uint64 oldest);
extern void bdr_partition_drop_leaves(BdrRelation *rel, uint64 oldest);
extern void bdr_partition_drop_all(BdrRelation *rel);

/* Where a row goes, and where it may be */
extern void bdr_partition_open_root(BdrRelation *root);
extern BdrRelation *bdr_partition_open_leaf(BdrRelation *root, Oid relid);
extern BdrRelation *bdr_partition_of_new_row(BdrRelation *root, BdrReader reader);
extern bool bdr_partition_accepts(BdrRelation *rel, TupleTableSlot *row);
extern BdrRelation *bdr_partition_target(BdrRelation *rel, TupleTableSlot **row);
extern List *bdr_partition_candidates(BdrUpdate *update, Oid except, bool everywhere);
extern BdrRelation *bdr_partition_reopen(uint32 remote_relid, Oid relid);

#endif							/* BDR_ROW_PARTITION_H */
