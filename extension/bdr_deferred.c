/*-------------------------------------------------------------------------
 * bdr_deferred.c
 *		Deferrable unique and exclusion constraints, checked at commit.
 *
 * NOTES
 *		While a transaction is applied, rows may collide under a deferrable
 *		constraint as they did where it ran.  The trigger that looks again at
 *		the end does not fire in a writer, so a row of another node that
 *		collides too would stay unnoticed.  We remember the rows that collided
 *		when they were written, and look again before the commit.
 *
 *		A collision that lasts is an error; replication from this peer stops
 *		there.  There is no resolver for it: which of the rows goes cannot be
 *		told before the transaction is complete.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "bdr.h"
#include "bdr_apply.h"
#include "bdr_compat.h"

typedef struct Collision
{
	Oid			table;
	Oid			index;
	ItemPointerData row;
} Collision;

static Collision *collisions;
static int	ncollisions;
static int	capacity;
static int	nkept;				/* before the unit in progress */

static void check_index(const Collision *first, const Collision *end);
static void check_row(Relation rel, Relation index, IndexInfo *info, EState *estate,
					  TupleTableSlot *slot, ItemPointerData row);

/*
 * The row in slot was written and collides under these deferrable indexes.
 */
void
bdr_deferred_add(BdrRelation *rel, TupleTableSlot *slot, List *indexes)
{
	ListCell   *lc;

	foreach(lc, indexes)
	{
		if (ncollisions == capacity)
		{
			int			n = capacity == 0 ? 256 : 2 * capacity;

			if (collisions == NULL)
				collisions = MemoryContextAllocHuge(TopMemoryContext, n * sizeof(Collision));
			else
				collisions = repalloc_huge(collisions, n * sizeof(Collision));
			capacity = n;
		}
		collisions[ncollisions].table = rel->local_relid;
		collisions[ncollisions].index = lfirst_oid(lc);
		collisions[ncollisions].row = slot->tts_tid;
		ncollisions++;
	}
	list_free(indexes);
}

/*
 * Raises an error for the first collision that is still there.  No relation
 * of ours need be open.
 */
void
bdr_deferred_check(void)
{
	int			first = 0;

	while (first < ncollisions)
	{
		int			end = first + 1;

		while (end < ncollisions && collisions[end].index == collisions[first].index)
			end++;
		check_index(&collisions[first], &collisions[end]);
		first = end;
	}
	bdr_deferred_reset();
}

/* A transaction starts, or has ended. */
void
bdr_deferred_reset(void)
{
	ncollisions = nkept = 0;
	if (collisions != NULL && capacity > 64 * 1024)
	{
		pfree(collisions);
		collisions = NULL;
		capacity = 0;
	}
}

/* A unit ends that will not be rolled back alone. */
void
bdr_deferred_keep(void)
{
	nkept = ncollisions;
}

/* The unit in progress was rolled back. */
void
bdr_deferred_rollback(void)
{
	ncollisions = nkept;
}

static void
check_index(const Collision *first, const Collision *end)
{
	Relation	rel = table_open(first->table, RowExclusiveLock);
	Relation	index = index_open(first->index, RowExclusiveLock);
	IndexInfo  *info = BuildIndexInfo(index);
	EState	   *estate = CreateExecutorState();
	TupleTableSlot *slot = table_slot_create(rel, NULL);

	for (const Collision *at = first; at < end; at++)
	{
		CHECK_FOR_INTERRUPTS();
		check_row(rel, index, info, estate, slot, at->row);
		ResetPerTupleExprContext(estate);
	}
	ExecDropSingleTupleTableSlot(slot);
	FreeExecutorState(estate);
	index_close(index, NoLock);
	table_close(rel, NoLock);
}

/*
 * As PostgreSQL's trigger does.  A row that is gone collides with nothing; one
 * that was updated in place lives on under the tuple that the index knows.
 */
static void
check_row(Relation rel, Relation index, IndexInfo *info, EState *estate,
		  TupleTableSlot *slot, ItemPointerData row)
{
	IndexFetchTableData *fetch = table_index_fetch_begin(rel);
	ItemPointerData live = row;
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];
	bool		call_again = false;
	bool		found = table_index_fetch_tuple(fetch, &live, SnapshotSelf, slot, &call_again, NULL);

	table_index_fetch_end(fetch);
	if (!found)
		return;
	GetPerTupleExprContext(estate)->ecxt_scantuple = slot;
	FormIndexDatum(info, slot, estate, values, isnull);
	if (info->ii_ExclusionOps == NULL)
		index_insert(index, values, isnull, &row, rel, UNIQUE_CHECK_EXISTING, false, info);
	else
		check_exclusion_constraint(rel, index, info, &live, values, isnull, estate, false);
	ExecClearTuple(slot);
}
