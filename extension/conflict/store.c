/*-------------------------------------------------------------------------
 * conflict/store.c
 *		A version is stored, and what follows from that.
 *
 * NOTES
 *		Nothing is looked up before a row is stored unless a version may be about
 *		that is newer and that no row shows.  If one came up meanwhile, the unit
 *		starts over (base/retry.h).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "utils/snapmgr.h"

#include "base/retry.h"
#include "conflict/deferred.h"
#include "conflict/resolve.h"
#include "conflict/store.h"
#include "row/lookup.h"
#include "row/partition.h"
#include "row/trigger.h"
#include "row/write.h"
#include "version/key_removal.h"
#include "bdr_compat.h"

static void note(BdrRelation *rel, TupleTableSlot *row, List *recheck);
static bool move(BdrRelation *rel, TupleTableSlot *found, TupleTableSlot *row);
static bool find_before(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *row, TupleTableSlot *before);

void
bdr_store_insert(BdrRelation *rel, TupleTableSlot *row)
{
	List	   *recheck;

	if (bdr_write_insert(rel, row, &recheck) == BDR_WRITTEN && unlikely(rel->has_deferrable))
		note(rel, row, recheck);
}

/*
 * One row, of which nothing else is known.
 */
void
bdr_store_alone(BdrRelation *rel, TupleTableSlot *row)
{
	if (unlikely(bdr_store_may_be_surpassed(rel)))
	{
		bdr_resolve_insert(rel, row);
		return;
	}
	bdr_store_insert(rel, row);
	if (unlikely(bdr_store_may_be_surpassed(rel)))
		bdr_retry_start_over(rel->apply->xact.xid, rel->apply->peer.name);
}

/*
 * Several rows of one table; the first is that change of the transaction.
 */
void
bdr_store_run(BdrRelation *rel, TupleTableSlot **rows, int count, uint32 first_change)
{
	if (unlikely(bdr_store_may_be_surpassed(rel)))
	{
		for (int i = 0; i < count; i++)
		{
			rel->apply->xact.change_nr = first_change + i;
			bdr_resolve_insert(rel, rows[i]);
		}
		return;
	}
	bdr_write_run(rel, rows, count, first_change, rel->has_deferrable ? note : NULL);
	if (unlikely(bdr_store_may_be_surpassed(rel)))
		bdr_retry_start_over(rel->apply->xact.xid, rel->apply->peer.name);
}

/*
 * In rel, or where its root says that the row belongs.
 */
void
bdr_store_where_it_belongs(BdrRelation *rel, TupleTableSlot *row)
{
	BdrRelation *target = rel;

	if (unlikely(rel->apply->xact.careful))
	{
		bdr_resolve_insert(rel, row);
		return;
	}
	if (unlikely(rel->routes || rel->reroutes))
		target = bdr_partition_target(rel, &row);
	if (target != rel)
		bdr_change_begin(target);
	bdr_store_alone(target, row);
	if (target != rel)
		bdr_change_fire(target);
}

/*
 * row over found.
 */
bool
bdr_store_update(BdrRelation *rel, TupleTableSlot *found, TupleTableSlot *row)
{
	List	   *recheck;

	switch (bdr_write_update(rel, found, row, &recheck))
	{
		case BDR_WRITTEN_CHANGED:
			return false;
		case BDR_WRITTEN_MOVES:
			return move(rel, found, row);
		case BDR_WRITTEN_VETOED:
			return true;
		case BDR_WRITTEN:
			break;
	}
	if (unlikely(rel->has_deferrable))
		note(rel, row, recheck);
	return true;
}

/*
 * The new row belongs to another partition.
 */
static bool
move(BdrRelation *rel, TupleTableSlot *found, TupleTableSlot *row)
{
	BdrWritten	written = bdr_write_delete(rel, found);

	if (written != BDR_WRITTEN)
		return written == BDR_WRITTEN_VETOED;
	bdr_change_fire(rel);
	bdr_store_where_it_belongs(rel, row);
	bdr_change_begin(rel);
	return true;
}

bool
bdr_store_delete(BdrRelation *rel, TupleTableSlot *found)
{
	return bdr_write_delete(rel, found) != BDR_WRITTEN_CHANGED;
}

/*
 * Is there, or will there be, a version that is newer than the one that comes
 * in, and that no row shows?
 */
bool
bdr_store_may_be_surpassed(BdrRelation *rel)
{
	return !rel->apply->peer.trusted && bdr_key_removal_newer(rel->local_relid, bdr_version_incoming()->time);
}

/*
 * The row was stored; recheck are the deferrable indexes where it collides.
 */
static void
note(BdrRelation *rel, TupleTableSlot *row, List *recheck)
{
	if (recheck != NIL || bdr_store_may_be_surpassed(rel))
		bdr_deferred_add(rel, row);
}

/*
 * The row is to be as if the transaction had left it alone.  Returns false when
 * it has changed meanwhile.
 */
bool
bdr_store_take_back(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *row)
{
	TupleTableSlot *before = MakeSingleTupleTableSlot(rel->desc, table_slot_callbacks(rel->rel));
	bool		done;

	if (!bdr_deferred_was_taken_back() && find_before(rel, lookup, row, before))
	{
		bdr_deferred_taking_back(true);
		done = bdr_store_update(rel, row, before);
		bdr_deferred_taking_back(false);
	}
	else
		done = bdr_store_delete(rel, row);
	ExecDropSingleTupleTableSlot(before);
	return done;
}

/*
 * What the row with this key was when the transaction began.  A snapshot before
 * our first command sees nothing that we wrote, and all that others did.
 */
static bool
find_before(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *row, TupleTableSlot *before)
{
	ScanKeyData keys[INDEX_MAX_KEYS];
	SnapshotData first;
	Snapshot	latest;
	IndexScanDesc scan;
	bool		found;

	if (!OidIsValid(lookup->index))
		return false;
	memcpy(keys, lookup->keys, lookup->nkeys * sizeof(ScanKeyData));
	for (int i = 0; i < lookup->nkeys; i++)
	{
		bool		isnull;

		keys[i].sk_argument = slot_getattr(row, lookup->attnums[i], &isnull);
		if (isnull)
			return false;
	}
	latest = RegisterSnapshot(GetLatestSnapshot());
	first = *latest;
	first.curcid = FirstCommandId;
	scan = bdr_index_beginscan(rel->rel, bdr_relation_index(rel, lookup->index), &first, lookup->nkeys);
	index_rescan(scan, keys, lookup->nkeys, NULL, 0);
	do
		found = index_getnext_slot(scan, ForwardScanDirection, before);
	while (found && scan->xs_recheck && !bdr_lookup_matches(lookup, keys, before));
	if (found)
		ExecMaterializeSlot(before);
	index_endscan(scan);
	UnregisterSnapshot(latest);
	return found;
}
