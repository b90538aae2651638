/*-------------------------------------------------------------------------
 * apply/deferred.c
 *		The end of a transaction: what was noted under deferrable constraints is
 *		judged.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "apply/deferred.h"
#include "apply/state.h"
#include "conflict/deferred.h"
#include "conflict/resolve.h"
#include "row/partition.h"
#include "row/trigger.h"

static void judge(const BdrDeferred *deferred);
static bool fetch_newest(BdrRelation *rel, const ItemPointerData *row, TupleTableSlot *slot);

/*
 * Comes at the end of a transaction, and before a table gets another definition
 * in the middle of one.
 */
void
bdr_deferred_resolve(void)
{
	for (int i = 0; i < bdr_deferred_count(); i++)
	{
		const BdrDeferred *deferred = bdr_deferred_begin(i);

		CHECK_FOR_INTERRUPTS();
		if (deferred != NULL)
			judge(deferred);
	}
	bdr_deferred_reset();
}

/*
 * What is noted meanwhile may move the notes, so this one is copied.
 */
static void
judge(const BdrDeferred *noted)
{
	BdrDeferred deferred = *noted;
	BdrRelation *rel = bdr_partition_reopen(deferred.remote_relid, deferred.relid);
	TupleTableSlot *row;

	bdr_apply.relation = rel;
	bdr_change_begin(rel);
	if (deferred.lost != NULL)
	{
		row = MakeSingleTupleTableSlot(rel->desc, &TTSOpsHeapTuple);
		ExecStoreHeapTuple(deferred.lost, row, false);
		bdr_resolve_at_end(rel, row, false);
	}
	else
	{
		row = MakeSingleTupleTableSlot(rel->desc, table_slot_callbacks(rel->rel));
		if (fetch_newest(rel, &deferred.row, row))
			bdr_resolve_at_end(rel, row, true);
	}
	ExecDropSingleTupleTableSlot(row);
	bdr_change_fire(rel);
	ResetPerTupleExprContext(rel->estate);
	MemoryContextReset(bdr_apply.change_context);
}

/*
 * A row that is gone collides with nothing; one that was updated in place
 * lives on under the tuple that the indexes know.
 */
static bool
fetch_newest(BdrRelation *rel, const ItemPointerData *row, TupleTableSlot *slot)
{
	IndexFetchTableData *fetch = table_index_fetch_begin(rel->rel);
	ItemPointerData live = *row;
	bool		call_again = false;
	bool		found = table_index_fetch_tuple(fetch, &live, SnapshotSelf, slot, &call_again, NULL);

	table_index_fetch_end(fetch);
	return found;
}
