/*-------------------------------------------------------------------------
 * conflict/deferred.c
 *		Deferrable unique and exclusion constraints, judged at the end of a
 *		transaction by the last image of each row.
 *
 * NOTES
 *		While a transaction is applied, rows may collide under a deferrable
 *		constraint as they did where it ran.  So nothing is looked at when a
 *		row is written; the row is noted if it collides then, or if a version
 *		that no row shows may be as new.  At the end it is resolved like any
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

#include "executor/executor.h"
#include "utils/memutils.h"

#include "conflict/deferred.h"
#include "row/decode.h"
#include "bdr_compat.h"

static BdrDeferred *noted;
static int	nnoted;
static int	capacity;
static int	nkept;				/* before the unit in progress */
static int	nlost;
static MemoryContext lost_rows; /* until the transaction ends */
static bool taking_back;		/* what is noted now is what it was before */
static bool was_taken_back;		/* the row being resolved is */

static BdrDeferred *add(BdrRelation *rel);

/*
 * The row in slot was written.
 */
void
bdr_deferred_add(BdrRelation *rel, TupleTableSlot *slot)
{
	BdrDeferred   *deferred = add(rel);

	deferred->row = slot->tts_tid;
	deferred->lost = NULL;
}

/*
 * The row in slot was decided not to be stored.
 */
void
bdr_deferred_add_lost(BdrRelation *rel, TupleTableSlot *slot)
{
	BdrDeferred   *deferred;
	MemoryContext old;

	if (lost_rows == NULL)
		lost_rows = AllocSetContextCreate(TopMemoryContext, "bdr lost rows", ALLOCSET_DEFAULT_SIZES);
	deferred = add(rel);
	old = MemoryContextSwitchTo(lost_rows);
	bdr_tuple_keep_large_values(slot);
	deferred->lost = ExecCopySlotHeapTuple(slot);
	MemoryContextSwitchTo(old);
	nlost++;
}

static BdrDeferred *
add(BdrRelation *rel)
{
	if (nnoted == capacity)
	{
		int			n = capacity == 0 ? 256 : 2 * capacity;

		if (noted == NULL)
			noted = MemoryContextAllocHuge(TopMemoryContext, n * sizeof(BdrDeferred));
		else
			noted = repalloc_huge(noted, n * sizeof(BdrDeferred));
		capacity = n;
	}
	noted[nnoted].superseded = false;
	noted[nnoted].remote_relid = rel->remote_relid;
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
		BdrDeferred   *deferred = &noted[i];
		Datum		values[INDEX_MAX_KEYS];
		bool		isnull[INDEX_MAX_KEYS];

		if (deferred->lost == NULL || deferred->relid != rel->local_relid)
			continue;
		ExecStoreHeapTuple(deferred->lost, slot, false);
		for (int k = 0; k < lookup->nkeys; k++)
			values[k] = slot_getattr(slot, lookup->attnums[k], &isnull[k]);
		if (bdr_constraint_matches(key, values, isnull))
			deferred->superseded = true;
	}
	ExecDropSingleTupleTableSlot(slot);
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

int
bdr_deferred_count(void)
{
	return nnoted;
}

/*
 * The i'th is judged from here on; NULL: there is nothing to judge any more.
 */
const BdrDeferred *
bdr_deferred_begin(int i)
{
	was_taken_back = noted[i].taken_back;
	return noted[i].superseded ? NULL : &noted[i];
}

void
bdr_deferred_taking_back(bool is_before)
{
	taking_back = is_before;
}

bool
bdr_deferred_was_taken_back(void)
{
	return was_taken_back;
}
