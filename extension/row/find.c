/*-------------------------------------------------------------------------
 * row/find.c
 *		Finding the local row of a remote one.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "row/find.h"
#include "row/lookup.h"
#include "row/scan.h"
#include "bdr_compat.h"

static bool find_by_index(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *key, TupleTableSlot *found);
static bool set_keys(BdrLookup *lookup, TupleTableSlot *key);
static bool find_match(BdrLookup *lookup, IndexScanDesc scan, TupleTableSlot *found, uint32 *walked);
static bool find_by_index_mvcc(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *found);
static void wait_for_writer(SnapshotData *dirty);

/*
 * Find the row that has key's values in the columns of lookup.
 *
 * The newest version is wanted, so the search uses a dirty snapshot and waits
 * for whoever is writing the row.  Such a search can miss a row whose next
 * version was added behind it meanwhile; an ordinary snapshot has the last
 * word on a miss.
 */
bool
bdr_find_row(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *key, TupleTableSlot *found)
{
	if (!lookup->usable)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("cannot find rows of table \"%s.%s\" by the replica identity of node \"%s\"",
						rel->schema, rel->name, rel->apply->peer.name),
				 errdetail("It has no column, or a column that this node does not have or does not store."),
				 errhint("Give the table the same columns and replica identity on all nodes.")));
	if (OidIsValid(lookup->index) && set_keys(lookup, key))
		return find_by_index(rel, lookup, key, found);
	return bdr_scan_find(rel, lookup, key, found);
}

static bool
find_by_index(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *key, TupleTableSlot *found)
{
	IndexScanDesc scan = bdr_relation_scan(rel, lookup);

	lookup->walked = 0;
	for (;;)
	{
		/* what the scan allocates on the way lives as long as the scan */
		MemoryContext old = MemoryContextSwitchTo(rel->exec_context);
		bool		hit;

		index_rescan(scan, lookup->keys, lookup->nkeys, NULL, 0);
		hit = find_match(lookup, scan, found, &lookup->walked);
		MemoryContextSwitchTo(old);
		if (!hit)
			return find_by_index_mvcc(rel, lookup, found);
		if (likely(!TransactionIdIsValid(lookup->dirty.xmin) &&
				   !TransactionIdIsValid(lookup->dirty.xmax)))
			return true;
		ExecClearTuple(found);
		index_rescan(scan, NULL, lookup->nkeys, NULL, 0);
		wait_for_writer(&lookup->dirty);
	}
}

/*
 * Returns false when a key is NULL, which an index does not find by "=".
 */
static bool
set_keys(BdrLookup *lookup, TupleTableSlot *key)
{
	for (int i = 0; i < lookup->nkeys; i++)
	{
		int			att = lookup->attnums[i] - 1;

		if (key->tts_isnull[att])
			return false;
		lookup->keys[i].sk_argument = key->tts_values[att];
	}
	return true;
}

/*
 * Some indexes return more than was asked for.
 */
static bool
find_match(BdrLookup *lookup, IndexScanDesc scan, TupleTableSlot *found, uint32 *walked)
{
	while (bdr_find_next(scan, found, walked))
	{
		if (likely(!scan->xs_recheck) || bdr_lookup_matches(lookup, lookup->keys, found))
			return true;
	}
	return false;
}

static bool
find_by_index_mvcc(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *found)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	IndexScanDesc scan = bdr_index_beginscan(rel->rel, bdr_relation_index(rel, lookup->index),
											 snapshot, lookup->nkeys);
	uint32		walked = 0;
	bool		hit;

	index_rescan(scan, lookup->keys, lookup->nkeys, NULL, 0);
	hit = find_match(lookup, scan, found, &walked);
	index_endscan(scan);
	UnregisterSnapshot(snapshot);
	return hit;
}

/*
 * Wait for the transaction that the dirty snapshot met, if any.
 */
static void
wait_for_writer(SnapshotData *dirty)
{
	TransactionId xid = TransactionIdIsValid(dirty->xmin) ? dirty->xmin : dirty->xmax;

	CHECK_FOR_INTERRUPTS();
	if (TransactionIdIsValid(xid))
		XactLockTableWait(xid, NULL, NULL, XLTW_None);
}

/*
 * index_getnext_slot, which counts the entries.
 */
bool
bdr_find_next(IndexScanDesc scan, TupleTableSlot *slot, uint32 *walked)
{
	for (;;)
	{
		if (!scan->xs_heap_continue)
		{
			if (index_getnext_tid(scan, ForwardScanDirection) == NULL)
				return false;
			(*walked)++;
		}
		if (index_fetch_heap(scan, slot))
			return true;
	}
}
