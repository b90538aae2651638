/*-------------------------------------------------------------------------
 * row/scan.c
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
 *		Any index may lead there, if what it calls equal is what the columns'
 *		own operators call equal: all rows that may be taken are among those
 *		that it finds.  They are compared like those of a sequential scan.
 *
 *		Among rows with the same image those are left alone that another node
 *		wrote after the incoming change was made: it cannot mean them.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "row/scan.h"
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
	BdrLookup  *lookup;
	const bool *compare;
	TupleTableSlot *key;
	TupleTableSlot *found;		/* the best row so far */
	Fit			fit;
	TransactionId busy;			/* who holds it */
	TypeCacheEntry **equal;		/* per column, when it was needed */
	MemoryContext context;		/* of one comparison */
} Search;

static void scan(Search *search, Snapshot snapshot);
static bool leads(Search *search);
static void scan_table(Search *search, Snapshot snapshot);
static void scan_index(Search *search, Snapshot snapshot);
static void look_at(Search *search, TupleTableSlot *row, Snapshot snapshot);
static Fit	fit_of(Search *search, TupleTableSlot *row, bool busy);
static bool is_equal(Search *search, int att, Datum a, Datum b);
static bool is_newer(BdrRelation *rel, TupleTableSlot *row);

/*
 * Find the row that has key's values in the columns of lookup; see
 * bdr_find_row for the snapshots.
 */
bool
bdr_scan_find(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *key, TupleTableSlot *found)
{
	Search		search = {rel, lookup, lookup->compare, key, found};
	SnapshotData dirty;
	Snapshot	latest;

	search.equal = palloc0(rel->desc->natts * sizeof(TypeCacheEntry *) + 1);
	search.context = AllocSetContextCreate(CurrentMemoryContext, "bdr scan", ALLOCSET_SMALL_SIZES);
	InitDirtySnapshot(dirty);
	for (;;)
	{
		scan(&search, &dirty);
		if (!TransactionIdIsValid(search.busy))
			break;
		ExecClearTuple(found);
		CHECK_FOR_INTERRUPTS();
		XactLockTableWait(search.busy, NULL, NULL, XLTW_None);
	}
	if (search.fit == FITS_NOT)
	{
		latest = RegisterSnapshot(GetLatestSnapshot());
		scan(&search, latest);
		UnregisterSnapshot(latest);
	}
	MemoryContextDelete(search.context);
	return search.fit != FITS_NOT;
}

/*
 * Leave the row that fits best in search->found.
 */
static void
scan(Search *search, Snapshot snapshot)
{
	search->fit = FITS_NOT;
	search->busy = InvalidTransactionId;
	if (leads(search))
		scan_index(search, snapshot);
	else
		scan_table(search, snapshot);
	ExecClearTuple(search->rel->other_slot);
	if (search->fit != FITS_NOT)
		ExecMaterializeSlot(search->found);
}

/*
 * Is there an index that leads to the row?  A hash index does not find NULL.
 */
static bool
leads(Search *search)
{
	BdrLookup  *lookup = search->lookup;

	if (!OidIsValid(lookup->leading))
		return false;
	if (bdr_relation_index(search->rel, lookup->leading)->rd_indam->amsearchnulls)
		return true;
	for (int i = 0; i < lookup->nleading; i++)
	{
		if (search->key->tts_isnull[lookup->leading_attnums[i] - 1])
			return false;
	}
	return true;
}

static void
scan_table(Search *search, Snapshot snapshot)
{
	TableScanDesc scan = table_beginscan(search->rel->rel, snapshot, 0, NULL);
	TupleTableSlot *row = search->rel->other_slot;

	while (search->fit != FITS_SAME && table_scan_getnextslot(scan, ForwardScanDirection, row))
		look_at(search, row, snapshot);
	table_endscan(scan);
}

static void
scan_index(Search *search, Snapshot snapshot)
{
	BdrLookup  *lookup = search->lookup;
	TupleTableSlot *row = search->rel->other_slot;
	ScanKeyData keys[INDEX_MAX_KEYS];
	IndexScanDesc scan;

	memcpy(keys, lookup->leading_keys, lookup->nleading * sizeof(ScanKeyData));
	for (int i = 0; i < lookup->nleading; i++)
	{
		int			att = lookup->leading_attnums[i] - 1;

		if (search->key->tts_isnull[att])
			ScanKeyEntryInitialize(&keys[i], SK_ISNULL | SK_SEARCHNULL, i + 1, InvalidStrategy,
								   InvalidOid, InvalidOid, InvalidOid, (Datum) 0);
		else
			keys[i].sk_argument = search->key->tts_values[att];
	}
	scan = bdr_index_beginscan(search->rel->rel, bdr_relation_index(search->rel, lookup->leading),
							   snapshot, lookup->nleading);
	index_rescan(scan, keys, lookup->nleading, NULL, 0);
	while (search->fit != FITS_SAME && index_getnext_slot(scan, ForwardScanDirection, row))
		look_at(search, row, snapshot);
	index_endscan(scan);
}

/*
 * Take the row, if none before fits as well.
 */
static void
look_at(Search *search, TupleTableSlot *row, Snapshot snapshot)
{
	TransactionId busy = InvalidTransactionId;
	Fit			fit;

	CHECK_FOR_INTERRUPTS();
	if (snapshot->snapshot_type == SNAPSHOT_DIRTY)
		busy = TransactionIdIsValid(snapshot->xmin) ? snapshot->xmin : snapshot->xmax;
	fit = fit_of(search, row, TransactionIdIsValid(busy));
	if (fit <= search->fit)
		return;
	ExecCopySlot(search->found, row);
	search->fit = fit;
	search->busy = busy;
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
	return is_newer(search->rel, row) ? FITS_SAME_NEWER : FITS_SAME;
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
is_newer(BdrRelation *rel, TupleTableSlot *row)
{
	const BdrVersion *incoming = bdr_version_incoming();
	BdrVersion	version;

	if (rel->apply->peer.trusted)
		return false;
	bdr_version_of(bdr_version_xmin(row), &version);
	return version.known && version.node != incoming->node && version.time >= incoming->time;
}
