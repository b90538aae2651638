/*-------------------------------------------------------------------------
 * bdr_scan.c
 *		Finding a local row by comparing columns, where no unique index does.
 *
 * NOTES
 *		Several rows may be equal to the one that was sent, and not all of
 *		them need be the same: 1.0 equals 1.00, and "a" equals "A" under many a
 *		collation.  So a row with the same image is wanted.  As long as nodes
 *		hold the same images, that keeps them so: which of the rows with one
 *		image goes does not show.  Only where none has the image is one taken
 *		that is equal by the types' operators.
 *
 *		Among rows with the same image those are left alone that another node
 *		wrote after the incoming change was made: it cannot mean them.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "bdr.h"
#include "bdr_apply.h"
#include "bdr_compat.h"

/* How well a row fits; the search ends at the best. */
typedef enum Fit
{
	FITS_NOT,
	FITS_EQUAL_BUSY,			/* equal, and in the hands of a transaction */
	FITS_EQUAL,
	FITS_SAME_NEWER,			/* the same, but written later */
	FITS_SAME_BUSY,
	FITS_SAME
} Fit;

typedef struct Search
{
	BdrRelation *rel;
	const bool *compare;
	TupleTableSlot *key;
	TupleTableSlot *found;		/* the best row so far */
	Fit			fit;
	TransactionId busy;			/* who holds it */
	TypeCacheEntry **equal;		/* per column, when it was needed */
	MemoryContext context;		/* of one comparison */
} Search;

static void scan_table(Search *search, Snapshot snapshot);
static Fit	fit_of(Search *search, TupleTableSlot *row, bool busy);
static bool is_equal(Search *search, int att, Datum a, Datum b);
static bool is_newer(TupleTableSlot *row);

/*
 * Find the row that has key's values in the columns of lookup; see
 * bdr_tuple_find for the snapshots.
 */
bool
bdr_scan_find(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *key, TupleTableSlot *found)
{
	Search		search = {rel, lookup->compare, key, found};
	SnapshotData dirty;
	Snapshot	latest;

	search.equal = palloc0(rel->desc->natts * sizeof(TypeCacheEntry *) + 1);
	search.context = AllocSetContextCreate(CurrentMemoryContext, "bdr scan", ALLOCSET_SMALL_SIZES);
	InitDirtySnapshot(dirty);
	for (;;)
	{
		scan_table(&search, &dirty);
		if (!TransactionIdIsValid(search.busy))
			break;
		ExecClearTuple(found);
		CHECK_FOR_INTERRUPTS();
		XactLockTableWait(search.busy, NULL, NULL, XLTW_None);
	}
	if (search.fit == FITS_NOT)
	{
		latest = RegisterSnapshot(GetLatestSnapshot());
		scan_table(&search, latest);
		UnregisterSnapshot(latest);
	}
	MemoryContextDelete(search.context);
	return search.fit != FITS_NOT;
}

/*
 * Leave the row that fits best in search->found.
 */
static void
scan_table(Search *search, Snapshot snapshot)
{
	bool		is_dirty = snapshot->snapshot_type == SNAPSHOT_DIRTY;
	TableScanDesc scan = table_beginscan(search->rel->rel, snapshot, 0, NULL);
	TupleTableSlot *row = search->rel->other_slot;

	search->fit = FITS_NOT;
	search->busy = InvalidTransactionId;
	while (search->fit != FITS_SAME && table_scan_getnextslot(scan, ForwardScanDirection, row))
	{
		TransactionId busy = InvalidTransactionId;
		Fit			fit;

		CHECK_FOR_INTERRUPTS();
		if (is_dirty)
			busy = TransactionIdIsValid(snapshot->xmin) ? snapshot->xmin : snapshot->xmax;
		fit = fit_of(search, row, TransactionIdIsValid(busy));
		if (fit <= search->fit)
			continue;
		ExecCopySlot(search->found, row);
		search->fit = fit;
		search->busy = busy;
	}
	ExecClearTuple(row);
	if (search->fit != FITS_NOT)
		ExecMaterializeSlot(search->found);
	table_endscan(scan);
}

static Fit
fit_of(Search *search, TupleTableSlot *row, bool busy)
{
	TupleDesc	desc = search->rel->desc;
	TupleTableSlot *key = search->key;
	bool		same = true;

	slot_getallattrs(row);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!search->compare[i])
			continue;
		if (row->tts_isnull[i] != key->tts_isnull[i])
			return FITS_NOT;
		if (row->tts_isnull[i] ||
			datum_image_eq(row->tts_values[i], key->tts_values[i], att->attbyval, att->attlen))
			continue;
		if (!is_equal(search, i, row->tts_values[i], key->tts_values[i]))
			return FITS_NOT;
		same = false;
	}
	if (!same)
		return busy ? FITS_EQUAL_BUSY : FITS_EQUAL;
	if (busy)
		return FITS_SAME_BUSY;
	return is_newer(row) ? FITS_SAME_NEWER : FITS_SAME;
}

/*
 * By the operator of the type.  Values of a type without one, such as json,
 * are equal when they are the same.
 */
static bool
is_equal(Search *search, int att, Datum a, Datum b)
{
	Form_pg_attribute column = TupleDescAttr(search->rel->desc, att);
	TypeCacheEntry *type = search->equal[att];
	MemoryContext old;
	bool		result;

	if (type == NULL)
		type = search->equal[att] = lookup_type_cache(column->atttypid, TYPECACHE_EQ_OPR_FINFO);
	if (!OidIsValid(type->eq_opr_finfo.fn_oid))
		return false;
	old = MemoryContextSwitchTo(search->context);
	result = DatumGetBool(FunctionCall2Coll(&type->eq_opr_finfo, column->attcollation, a, b));
	MemoryContextSwitchTo(old);
	MemoryContextReset(search->context);
	return result;
}

static bool
is_newer(TupleTableSlot *row)
{
	BdrVersion	version;

	if (bdr_peer.trusted)
		return false;
	bdr_conflict_local_version(bdr_conflict_xmin(row), &version);
	return version.known && version.node != bdr_xact.origin_node && version.time >= bdr_xact.commit_time;
}
