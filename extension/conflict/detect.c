/*-------------------------------------------------------------------------
 * conflict/detect.c
 *		What an incoming version collides with: rows, and versions that are
 *		no longer, or never were, to be seen.
 *
 * NOTES
 *		Rows are wanted as they are now, so they are searched with a dirty
 *		snapshot, waiting for whoever is writing one.  Such a search can miss
 *		a row whose next version was added behind it meanwhile; an ordinary
 *		snapshot has the last word on a miss.
 *
 *		Dead rows are found through the same indexes with SnapshotAny, as long
 *		as the retention slot keeps VACUUM from them; the rest is in conflict/tombstone.c.
 *		Where a row of the table has a value, nothing invisible is newer on
 *		it, so they are looked for only where no row was found.
 *
 *		Deferrable constraints are looked at alone, when the transaction ends:
 *		conflict/deferred.c.  An image that came and went in one transaction takes
 *		nothing under them.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/amapi.h"
#include "access/heapam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/snapmgr.h"

#include "conflict/dead_entry.h"
#include "conflict/dead_row.h"
#include "conflict/detect.h"
#include "conflict/tombstone.h"
#include "row/find.h"
#include "bdr_compat.h"

static bool was_overruled(BdrCase *c, int k, const BdrVersion *version);
static bool find_rows(BdrCase *c);
static void find_row_by_lookup(BdrCase *c);
static bool find_rows_by_index(BdrCase *c, int k);
static bool is_torn(BdrCase *c, int k);
static bool nothing_missed(BdrCase *c, int k);
static bool is_row(BdrCase *c, BdrConstraint *constraint, IndexScanDesc scan, TupleTableSlot *slot);
static bool is_known(BdrCase *c, int k, ItemPointer tid);
static void add_row(BdrCase *c, int k, TupleTableSlot *slot);
static bool find_tombstones(BdrCase *c);
static bool newest_tombstone(BdrCase *c, BdrConstraint *constraint, bool wait, BdrVersion *newest);
static bool newest_dead(BdrCase *c, BdrConstraint *constraint, bool wait, BdrVersion *newest);
static bool take_dead(BdrCase *c, BdrConstraint *constraint, TupleTableSlot *slot, BdrVersion *newest);
static void take_version(TransactionId xid, BdrVersion *newest);
static bool is_worth_telling(BdrCase *c, int k, const BdrVersion *version);

/* ---------------------------------------------------------------------
 * The constraints, and the values that the incoming row has there
 * ---------------------------------------------------------------------
 */

/*
 * Generated columns of the row must have been computed.
 */
void
bdr_case_describe(BdrCase *c)
{
	BdrRelation *rel = c->rel;
	int			nindexes = c->operation == BDR_OP_DELETE ? 0 : rel->result->ri_NumIndices;

	c->constraints = palloc0((1 + nindexes) * sizeof(BdrConstraint));
	bdr_constraint_of_key(&c->constraints[0], rel, c->lookup, c->row);
	c->nconstraints = 1;
	for (int i = 0; i < nindexes; i++)
	{
		bool		is_key = rel->index_oids[i] == c->lookup->index;

		/* a key WITHOUT OVERLAPS excludes more than it finds */
		if ((!is_key || rel->result->ri_IndexRelationInfo[i]->ii_ExclusionOps != NULL) &&
			bdr_constraint_of_index(&c->constraints[c->nconstraints], rel, c->row, i, c->at_end))
			c->nconstraints++;
	}
}

/* ---------------------------------------------------------------------
 * All that there is
 * ---------------------------------------------------------------------
 */

/*
 * Leave what c collides with in c->found.  Waits for transactions that write
 * such rows.
 */
void
bdr_case_gather(BdrCase *c)
{
	do
	{
		bdr_case_end(c);
		/* what this transaction has deleted is to be gone */
		CommandCounterIncrement();
		CHECK_FOR_INTERRUPTS();
	} while (!find_rows(c) || (!c->rel->apply->peer.trusted && !find_tombstones(c)));
}

/*
 * The row has been stored: has it a value that a newer version took and no row shows,
 * which was not there before?
 *
 * Who is writing such a version meets our row and waits for us, so we do not
 * wait.  What is in a row in progress will be looked for by its writer.
 */
bool
bdr_case_is_surpassed(BdrCase *c)
{
	for (int k = c->at_end ? 1 : 0; k < c->nconstraints; k++)
	{
		BdrVersion	newest;

		(void) newest_tombstone(c, &c->constraints[k], false, &newest);
		if (bdr_version_compare(&newest, bdr_version_incoming()) > 0 && !was_overruled(c, k, &newest))
			return true;
	}
	return false;
}

/*
 * Was this version, or a newer one, found before it was decided to store the
 * row?
 */
static bool
was_overruled(BdrCase *c, int k, const BdrVersion *version)
{
	ListCell   *lc;

	foreach(lc, c->found)
	{
		BdrFound   *found = lfirst(lc);

		if (bms_is_member(k, found->on) && bdr_version_compare(&found->version, version) >= 0)
			return true;
	}
	return false;
}

/*
 * The version has been remembered: is there an older row that was not there
 * before?
 */
bool
bdr_case_overlooked(BdrCase *c)
{
	BdrCase		again = *c;
	bool		overlooked = false;
	ListCell   *lc;

	again.found = NIL;
	do
	{
		bdr_case_end(&again);
		CommandCounterIncrement();
		CHECK_FOR_INTERRUPTS();
	} while (!find_rows(&again));
	foreach(lc, again.found)
	{
		BdrFound   *found = lfirst(lc);

		overlooked |= bdr_version_compare(&found->version, bdr_version_incoming()) < 0;
	}
	bdr_case_end(&again);
	return overlooked;
}

/*
 * Let go of what was found.
 */
void
bdr_case_end(BdrCase *c)
{
	ListCell   *lc;

	foreach(lc, c->found)
	{
		BdrFound   *found = lfirst(lc);

		if (found->row != NULL)
			ExecDropSingleTupleTableSlot(found->row);
	}
	c->found = NIL;
	for (int k = 0; k < c->nconstraints; k++)
		c->constraints[k].taken = c->constraints[k].remember = false;
}

/* ---------------------------------------------------------------------
 * Rows
 * ---------------------------------------------------------------------
 */

/*
 * Returns false when the search has to begin again.
 */
static bool
find_rows(BdrCase *c)
{
	for (int k = c->at_end ? 1 : 0; k < c->nconstraints; k++)
	{
		BdrConstraint *constraint = &c->constraints[k];

		if (constraint->place < 0 || !constraint->by_value)
		{
			if (k == 0 && c->key != NULL && !c->key_changed && !c->rel->routes)
				find_row_by_lookup(c);
		}
		else if (!find_rows_by_index(c, k))
			return false;
	}
	return true;
}

/*
 * No index finds the row.
 */
static void
find_row_by_lookup(BdrCase *c)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(c->rel->desc, table_slot_callbacks(c->rel->rel));

	if (bdr_dead_entry_find_row(c->rel, c->lookup, c->key, slot))
		add_row(c, 0, slot);
	ExecDropSingleTupleTableSlot(slot);
}

static bool
find_rows_by_index(BdrCase *c, int k)
{
	BdrConstraint *constraint = &c->constraints[k];
	Relation	index = c->rel->result->ri_IndexRelationDescs[constraint->place];
	TupleTableSlot *slot = c->rel->other_slot;
	TransactionId busy = InvalidTransactionId;
	uint32		walked = 0;
	SnapshotData dirty;
	IndexScanDesc scan;

	InitDirtySnapshot(dirty);
	scan = bdr_index_beginscan(c->rel->rel, index, &dirty, constraint->nkeys);
	index_rescan(scan, constraint->keys, constraint->nkeys, NULL, 0);
	while (!TransactionIdIsValid(busy) && bdr_find_next(scan, slot, &walked))
	{
		if (!is_row(c, constraint, scan, slot))
			continue;
		busy = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
		if (c->old != NULL && ItemPointerEquals(&c->old->tts_tid, &slot->tts_tid))
			constraint->taken |= !constraint->is_exclusion && !c->at_end;
		else if (!TransactionIdIsValid(busy))
			add_row(c, k, slot);
	}
	ExecClearTuple(slot);
	index_endscan(scan);
	bdr_dead_entry_sweep(c->rel, constraint, walked);
	if (TransactionIdIsValid(busy))
	{
		XactLockTableWait(busy, NULL, NULL, XLTW_None);
		return false;
	}
	return !is_torn(c, k) && (constraint->taken || nothing_missed(c, k));
}

/*
 * Two rows with one value: the first has gone while we were looking.
 */
static bool
is_torn(BdrCase *c, int k)
{
	int			n = 0;
	ListCell   *lc;

	if (c->constraints[k].is_exclusion || c->constraints[k].is_deferrable)
		return false;
	foreach(lc, c->found)
		n += bms_is_member(k, ((BdrFound *) lfirst(lc))->on) ? 1 : 0;
	return n > 1;
}

static bool
nothing_missed(BdrCase *c, int k)
{
	BdrConstraint *constraint = &c->constraints[k];
	Relation	index = c->rel->result->ri_IndexRelationDescs[constraint->place];
	TupleTableSlot *slot = c->rel->other_slot;
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	IndexScanDesc scan = bdr_index_beginscan(c->rel->rel, index, latest, constraint->nkeys);
	bool		missed = false;

	index_rescan(scan, constraint->keys, constraint->nkeys, NULL, 0);
	while (!missed && index_getnext_slot(scan, ForwardScanDirection, slot))
		missed = is_row(c, constraint, scan, slot) && !is_known(c, k, &slot->tts_tid);
	ExecClearTuple(slot);
	index_endscan(scan);
	UnregisterSnapshot(latest);
	return !missed;
}

/*
 * Some indexes return more than was asked for.
 */
static bool
is_row(BdrCase *c, BdrConstraint *constraint, IndexScanDesc scan, TupleTableSlot *slot)
{
	ResultRelInfo *result = c->rel->result;
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];

	if (!scan->xs_recheck)
		return true;
	GetPerTupleExprContext(c->rel->estate)->ecxt_scantuple = slot;
	FormIndexDatum(result->ri_IndexRelationInfo[constraint->place], slot, c->rel->estate, values, isnull);
	return bdr_constraint_matches(constraint, values, isnull);
}

static bool
is_known(BdrCase *c, int k, ItemPointer tid)
{
	ListCell   *lc;

	if (c->old != NULL && ItemPointerEquals(&c->old->tts_tid, tid))
		return true;
	foreach(lc, c->found)
	{
		BdrFound   *found = lfirst(lc);

		if (found->row != NULL && bms_is_member(k, found->on) && ItemPointerEquals(&found->row->tts_tid, tid))
			return true;
	}
	return false;
}

/*
 * Each row once, with all that it collides over.
 */
static void
add_row(BdrCase *c, int k, TupleTableSlot *slot)
{
	BdrFound   *found = NULL;
	ListCell   *lc;

	c->constraints[k].taken |= !c->constraints[k].is_exclusion;
	foreach(lc, c->found)
	{
		BdrFound   *other = lfirst(lc);

		if (ItemPointerEquals(&other->row->tts_tid, &slot->tts_tid))
			found = other;
	}
	if (found == NULL)
	{
		found = palloc0(sizeof(BdrFound));
		found->row = MakeSingleTupleTableSlot(c->rel->desc, table_slot_callbacks(c->rel->rel));
		ExecCopySlot(found->row, slot);
		/* a copy of a row that owns its bytes does not have these */
		found->row->tts_tid = slot->tts_tid;
		found->row->tts_tableOid = c->rel->local_relid;
		found->xmin = bdr_version_xmin(slot);
		found->fate = BDR_FATE_STAYS;
		bdr_version_of(found->xmin, &found->version);
		c->found = lappend(c->found, found);
	}
	found->on = bms_add_member(found->on, k);
}

/* ---------------------------------------------------------------------
 * Versions that cannot be seen
 * ---------------------------------------------------------------------
 */

/*
 * Add the newest for each constraint.  Returns false when the search has to
 * begin again.
 */
static bool
find_tombstones(BdrCase *c)
{
	for (int k = c->at_end ? 1 : 0; k < c->nconstraints; k++)
	{
		BdrFound   *found;
		BdrVersion	newest;

		if (c->constraints[k].taken)
			continue;
		if (!newest_tombstone(c, &c->constraints[k], true, &newest))
			return false;
		if (!is_worth_telling(c, k, &newest))
			continue;
		found = palloc0(sizeof(BdrFound));
		found->version = newest;
		found->fate = BDR_FATE_STAYS;
		found->on = bms_make_singleton(k);
		c->found = lappend(c->found, found);
	}
	return true;
}

/*
 * What is older takes nothing from the incoming version.  Only an update
 * that finds no row is told that there was one.
 */
static bool
is_worth_telling(BdrCase *c, int k, const BdrVersion *version)
{
	int			order = bdr_version_compare(version, bdr_version_incoming());

	if (!version->known || order == 0)
		return false;
	return order > 0 || (k == 0 && (c->leaves || (c->operation == BDR_OP_UPDATE && !c->key_changed)));
}

/*
 * If wait, returns false when somebody is writing such a version: the search
 * has to begin again.
 */
static bool
newest_tombstone(BdrCase *c, BdrConstraint *constraint, bool wait, BdrVersion *newest)
{
	memset(newest, 0, sizeof(*newest));
	if (!constraint->by_value)
		return true;
	if (constraint->place >= 0 && bdr_dead_are_known(c->rel) &&
		!newest_dead(c, constraint, wait, newest))
		return false;
	return bdr_tombstone_newest(c->rel, constraint, wait, newest);
}

/*
 * New versions of a key are mostly at the end of its entries, and what is not
 * newer than one of them needs no further look.
 */
static bool
newest_dead(BdrCase *c, BdrConstraint *constraint, bool wait, BdrVersion *newest)
{
	Relation	index = c->rel->result->ri_IndexRelationDescs[constraint->place];
	ScanDirection direction = index->rd_indam->amcanbackward ? BackwardScanDirection : ForwardScanDirection;
	TupleTableSlot *slot = c->rel->other_slot;
	IndexScanDesc scan = bdr_index_beginscan(c->rel->rel, index, SnapshotAny, constraint->nkeys);
	bool		again = false;

	index_rescan(scan, constraint->keys, constraint->nkeys, NULL, 0);
	while (!again && index_getnext_slot(scan, direction, slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (is_row(c, constraint, scan, slot) && !take_dead(c, constraint, slot, newest))
			again = wait;
	}
	ExecClearTuple(slot);
	index_endscan(scan);
	return !again;
}

/*
 * Returns false when the row is not dead, or not yet.
 *
 * Who wrote it took its values.  Who ended it was a version of its key, unless
 * that was another row's.
 */
static bool
take_dead(BdrCase *c, BdrConstraint *constraint, TupleTableSlot *slot, BdrVersion *newest)
{
	BdrDeadRow	dead;

	bdr_dead_read(slot, &dead);
	if (dead.born == BDR_XACT_ABORTED || dead.born == BDR_XACT_OURS)
		return true;
	if (dead.born == BDR_XACT_BUSY || dead.died == BDR_XACT_BUSY)
		return false;
	/* such rows were found before; one that was not must be looked for again */
	if (dead.died == BDR_XACT_NONE || dead.died == BDR_XACT_ABORTED)
		return constraint->is_exclusion;
	if (constraint->is_deferrable && bdr_dead_is_one_version(&dead))
		return true;
	take_version(dead.xmin, newest);
	if (constraint == &c->constraints[0] && dead.died == BDR_XACT_COMMITTED &&
		bdr_dead_is_newer(dead.xmax, newest) && !bdr_tombstone_is_evicted(c->rel, constraint, dead.xmax))
		take_version(dead.xmax, newest);
	return true;
}

static void
take_version(TransactionId xid, BdrVersion *newest)
{
	BdrVersion	version;

	bdr_version_of(xid, &version);
	if (bdr_version_compare(&version, newest) > 0)
		*newest = version;
}
