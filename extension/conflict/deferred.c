/*-------------------------------------------------------------------------
 * conflict/deferred.c
 *		Deferrable unique and exclusion constraints, judged at the end of a
 *		transaction by the last image of each row.
 *
 * NOTES
 *		While a transaction is applied, rows may collide under a deferrable
 *		constraint as they did where it ran.  So nothing is looked at when a
 *		row is written; the row is noted if it collides then, or if a version
 *		that no row shows may be as new.  At the end it is settled like any
 *		incoming version, under its deferrable constraints alone: the row that
 *		is there already is kept, or goes.
 *
 *		A row that a resolver skips gets what it was before the transaction;
 *		one that was not there goes.  If that collides in turn, it goes too:
 *		another row of the transaction has its values.
 *
 *		A row that lost under another constraint, and was not stored, is noted
 *		with its values: it still evicts what is older under these.  A later
 *		change of its key takes its place.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "apply/apply.h"
#include "base/bdr.h"
#include "conflict/conflict.h"
#include "bdr_compat.h"

typedef struct Deferred
{
	BdrRelation *rel;			/* NULL: superseded */
	Oid			relid;
	ItemPointerData row;		/* of a row that was stored */
	HeapTuple	lost;			/* or the row that was not */
	bool		taken_back;		/* has the values from before the transaction */
} Deferred;

static Deferred *noted;
static int	nnoted;
static int	capacity;
static int	nkept;				/* before the unit in progress */
static int	nlost;
static MemoryContext lost_rows; /* until the transaction ends */
static bool taking_back;		/* what is noted now is what it was before */
static bool was_taken_back;		/* the row being settled is */

static Deferred *add(BdrRelation *rel);
static void settle(Deferred *deferred);
static bool find_before(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *row, TupleTableSlot *before);
static bool fetch_newest(BdrRelation *rel, ItemPointer row, TupleTableSlot *slot);

/*
 * The row in slot was written.
 */
void
bdr_deferred_add(BdrRelation *rel, TupleTableSlot *slot)
{
	Deferred   *deferred = add(rel);

	deferred->row = slot->tts_tid;
	deferred->lost = NULL;
}

/*
 * The row in slot was decided not to be stored.
 */
void
bdr_deferred_add_lost(BdrRelation *rel, TupleTableSlot *slot)
{
	Deferred   *deferred;
	MemoryContext old;

	if (lost_rows == NULL)
		lost_rows = AllocSetContextCreate(TopMemoryContext, "bdr lost rows", ALLOCSET_DEFAULT_SIZES);
	deferred = add(rel);
	old = MemoryContextSwitchTo(lost_rows);
	bdr_piece_copy_values(slot);
	deferred->lost = ExecCopySlotHeapTuple(slot);
	MemoryContextSwitchTo(old);
	nlost++;
}

static Deferred *
add(BdrRelation *rel)
{
	if (nnoted == capacity)
	{
		int			n = capacity == 0 ? 256 : 2 * capacity;

		if (noted == NULL)
			noted = MemoryContextAllocHuge(TopMemoryContext, n * sizeof(Deferred));
		else
			noted = repalloc_huge(noted, n * sizeof(Deferred));
		capacity = n;
	}
	noted[nnoted].rel = rel;
	noted[nnoted].relid = rel->local_relid;
	noted[nnoted].taken_back = taking_back;
	return &noted[nnoted++];
}

/*
 * A change of this key comes: what was lost of it before does not count.
 */
void
bdr_deferred_supersede(BdrRelation *rel, BdrLookup *lookup, BdrConstraint *key)
{
	TupleTableSlot *slot;

	if (likely(nlost == 0) || !key->by_value)
		return;
	slot = MakeSingleTupleTableSlot(rel->desc, &TTSOpsHeapTuple);
	for (int i = 0; i < nnoted; i++)
	{
		Deferred   *deferred = &noted[i];
		Datum		values[INDEX_MAX_KEYS];
		bool		isnull[INDEX_MAX_KEYS];

		if (deferred->lost == NULL || deferred->relid != rel->local_relid)
			continue;
		ExecStoreHeapTuple(deferred->lost, slot, false);
		for (int k = 0; k < lookup->nkeys; k++)
			values[k] = slot_getattr(slot, lookup->attnums[k], &isnull[k]);
		if (bdr_constraint_matches(key, values, isnull))
			deferred->rel = NULL;
	}
	ExecDropSingleTupleTableSlot(slot);
}

/*
 * Settle what has been noted.  Comes at the end of a transaction, and before a
 * table gets another definition in the middle of one.
 */
void
bdr_deferred_settle(void)
{
	for (int i = 0; i < nnoted; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (noted[i].rel != NULL)
			settle(&noted[i]);
	}
	bdr_deferred_reset();
}

/* A transaction starts, or has ended. */
void
bdr_deferred_reset(void)
{
	if (nlost > 0)
		MemoryContextReset(lost_rows);
	nnoted = nkept = nlost = 0;
	taking_back = false;
	if (noted != NULL && capacity > 64 * 1024)
	{
		pfree(noted);
		noted = NULL;
		capacity = 0;
	}
}

/* A unit ends that will not be rolled back alone. */
void
bdr_deferred_keep(void)
{
	nkept = nnoted;
}

/* The unit in progress was rolled back. */
void
bdr_deferred_rollback(void)
{
	nnoted = nkept;
	taking_back = false;
}

/*
 * What is noted about a table that is about to be forgotten cannot be settled.
 */
void
bdr_deferred_forget(BdrRelation *rel)
{
	for (int i = 0; i < nnoted; i++)
	{
		if (noted[i].rel == rel && bdr_xact.started)
			bdr_unit_start_over();
	}
}

static void
settle(Deferred *deferred)
{
	BdrRelation *rel = deferred->rel;
	TupleTableSlot *row;

	if ((!rel->open || rel->stale) && (!bdr_relation_open_this(rel) || rel->local_relid != deferred->relid))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("table \"%s.%s\" was changed while a transaction was applied", rel->schema, rel->name)));
	bdr_apply_relation = rel;
	was_taken_back = deferred->taken_back;
	bdr_apply_begin_change(rel);
	if (deferred->lost != NULL)
	{
		row = MakeSingleTupleTableSlot(rel->desc, &TTSOpsHeapTuple);
		ExecStoreHeapTuple(deferred->lost, row, false);
		bdr_settle_at_end(rel, row, false);
	}
	else
	{
		row = MakeSingleTupleTableSlot(rel->desc, table_slot_callbacks(rel->rel));
		if (fetch_newest(rel, &deferred->row, row))
			bdr_settle_at_end(rel, row, true);
	}
	ExecDropSingleTupleTableSlot(row);
	bdr_apply_fire_triggers(rel);
	ResetPerTupleExprContext(rel->estate);
	MemoryContextReset(bdr_change_context);
}

/*
 * The row is to be as if the transaction had left it alone.  Returns false when
 * it has changed meanwhile.
 */
bool
bdr_deferred_take_back(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *row)
{
	TupleTableSlot *before = MakeSingleTupleTableSlot(rel->desc, table_slot_callbacks(rel->rel));
	bool		vetoed;
	bool		done;

	if (!was_taken_back && find_before(rel, lookup, row, before))
	{
		taking_back = true;
		done = bdr_write_update(rel, row, before);
		taking_back = false;
	}
	else
		done = bdr_write_delete(rel, row, &vetoed);
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
	found = index_getnext_slot(scan, ForwardScanDirection, before);
	if (found)
		ExecMaterializeSlot(before);
	index_endscan(scan);
	UnregisterSnapshot(latest);
	return found;
}

/*
 * A row that is gone collides with nothing; one that was updated in place
 * lives on under the tuple that the indexes know.
 */
static bool
fetch_newest(BdrRelation *rel, ItemPointer row, TupleTableSlot *slot)
{
	IndexFetchTableData *fetch = table_index_fetch_begin(rel->rel);
	ItemPointerData live = *row;
	bool		call_again = false;
	bool		found = table_index_fetch_tuple(fetch, &live, SnapshotSelf, slot, &call_again, NULL);

	table_index_fetch_end(fetch);
	return found;
}
