/*-------------------------------------------------------------------------
 * row/lookup.c
 *		Which index finds a row, and by which columns.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "catalog/pg_index.h"
#include "catalog/pg_statistic.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "row/lookup.h"
#include "bdr_compat.h"
#include "bdr_wire.h"

/* An index with fewer values leads to too many rows. */
#define DISTINCT_MIN			10

/* Of a column without statistics, as the planner has it. */
#define DISTINCT_DEFAULT		200

static bool index_is_usable(Relation index, const bool *allowed);
static Oid	equality_operator(Relation index, int i);
static bool may_miss(Relation local, BdrLookup *lookup);
static void choose_leading(Relation local, BdrLookup *lookup);
static int	count_leading(Relation local, Relation index, const bool *compare, double *distinct);
static bool is_column_equality(Relation local, Relation index, int i);
static double distinct_values(Relation local, AttrNumber attnum);
static void make_leading(BdrLookup *lookup, Relation index, int n);

/*
 * Find rows by the columns of the peer's replica identity, or by all that it
 * sends.  The local index need not be the one that the peer uses.
 */
void
bdr_lookup_map(BdrRelation *rel, Relation local, BdrLookup *lookup, bool whole_row)
{
	int			ncompared = 0;

	memset(lookup, 0, sizeof(BdrLookup));
	lookup->compare = palloc0(rel->desc->natts * sizeof(bool) + 1);
	lookup->usable = true;
	for (int i = 0; i < rel->ncolumns; i++)
	{
		BdrColumn  *column = &rel->columns[i];

		if (!whole_row && !(column->flags & BDR_COLUMN_KEY))
			continue;
		if (column->attnum != InvalidAttrNumber)
		{
			lookup->compare[column->attnum - 1] = true;
			ncompared++;
		}
		else if (!whole_row)
			lookup->usable = false;
	}
	/* rows without columns are all alike */
	if (ncompared == 0 && (!whole_row || rel->ncolumns > 0))
		lookup->usable = false;
	if (!lookup->usable)
		return;
	lookup->index = bdr_lookup_choose_index(local, lookup->compare);
	if (OidIsValid(lookup->index))
	{
		Relation	index = index_open(lookup->index, AccessShareLock);

		bdr_lookup_make_keys(lookup, index);
		index_close(index, NoLock);
	}
	if (may_miss(local, lookup))
		choose_leading(local, lookup);
	InitDirtySnapshot(lookup->dirty);
}

/*
 * A unique index whose columns are all allowed: the replica identity, else
 * the primary key, else any.
 */
Oid
bdr_lookup_choose_index(Relation local, const bool *allowed)
{
	List	   *candidates = RelationGetIndexList(local);
	Oid			primary = bdr_primary_key_index(local);
	Oid			identity = RelationGetReplicaIndex(local);
	Oid			chosen = InvalidOid;
	ListCell   *lc;

	if (OidIsValid(primary))
		candidates = lcons_oid(primary, candidates);
	if (OidIsValid(identity))
		candidates = lcons_oid(identity, candidates);
	foreach(lc, candidates)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		if (index_is_usable(index, allowed))
			chosen = lfirst_oid(lc);
		index_close(index, NoLock);
		if (OidIsValid(chosen))
			break;
	}
	list_free(candidates);
	return chosen;
}

/*
 * WITHOUT OVERLAPS makes a GiST index unique: no two rows have equal values
 * there, either.
 */
static bool
index_is_usable(Relation index, const bool *allowed)
{
	Form_pg_index form = index->rd_index;

	if (!form->indisunique || !form->indisvalid || !form->indimmediate ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return false;
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
	{
		AttrNumber	attnum = form->indkey.values[i];

		if (attnum <= 0 || !allowed[attnum - 1] || !OidIsValid(equality_operator(index, i)))
			return false;
	}
	return true;
}

/* By which the index finds equal values of its column i; InvalidOid: it does not. */
static Oid
equality_operator(Relation index, int i)
{
	StrategyNumber strategy = bdr_equal_strategy(index, i);

	if (strategy == InvalidStrategy || index->rd_indam->amgettuple == NULL)
		return InvalidOid;
	return get_opfamily_member(index->rd_opfamily[i], index->rd_opcintype[i], index->rd_opcintype[i], strategy);
}

/*
 * Is there no index, or one that does not find NULLs?
 */
static bool
may_miss(Relation local, BdrLookup *lookup)
{
	for (int i = 0; i < lookup->nkeys; i++)
	{
		if (!bdr_is_never_null(RelationGetDescr(local), lookup->attnums[i] - 1))
			return true;
	}
	return !OidIsValid(lookup->index);
}

void
bdr_lookup_make_keys(BdrLookup *lookup, Relation index)
{
	lookup->nkeys = IndexRelationGetNumberOfKeyAttributes(index);
	lookup->attnums = palloc(lookup->nkeys * sizeof(AttrNumber));
	lookup->keys = palloc0(lookup->nkeys * sizeof(ScanKeyData));
	for (int i = 0; i < lookup->nkeys; i++)
	{
		lookup->attnums[i] = index->rd_index->indkey.values[i];
		bdr_lookup_scan_key(&lookup->keys[i], index, i);
	}
}

/*
 * A scan key for "column i equals"; the caller sets the argument.  Returns
 * false when the index has no such operator.
 */
bool
bdr_lookup_scan_key(ScanKey key, Relation index, int i)
{
	Oid			operator = equality_operator(index, i);

	if (!OidIsValid(operator))
		return false;
	ScanKeyEntryInitialize(key, 0, i + 1, bdr_equal_strategy(index, i), InvalidOid,
						   index->rd_indcollation[i], get_opcode(operator), (Datum) 0);
	return true;
}

/*
 * Has the row the values of these keys of the lookup?  To be asked of what a
 * scan wants to have looked at again; no key is NULL.
 */
bool
bdr_lookup_matches(const BdrLookup *lookup, ScanKey keys, TupleTableSlot *row)
{
	for (int i = 0; i < lookup->nkeys; i++)
	{
		bool		isnull;
		Datum		value = slot_getattr(row, lookup->attnums[i], &isnull);

		if (isnull || !DatumGetBool(FunctionCall2Coll(&keys[i].sk_func, keys[i].sk_collation,
													  value, keys[i].sk_argument)))
			return false;
	}
	return true;
}

/* ---------------------------------------------------------------------
 * Any index that leads to candidates
 * ---------------------------------------------------------------------
 */

/*
 * The index that leads to the fewest rows by the columns that are compared; the
 * caller is in the context of the mapping.
 */
static void
choose_leading(Relation local, BdrLookup *lookup)
{
	double		best = DISTINCT_MIN;
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(local))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		double		distinct;
		int			n = count_leading(local, index, lookup->compare, &distinct);

		if (n > 0 && distinct > best)
		{
			best = distinct;
			make_leading(lookup, index, n);
		}
		index_close(index, NoLock);
	}
}

/*
 * The columns of the index up to the first that cannot be searched by.
 */
static int
count_leading(Relation local, Relation index, const bool *compare, double *distinct)
{
	Form_pg_index form = index->rd_index;
	int			n = 0;

	*distinct = 1;
	if (!form->indisvalid ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return 0;
	while (n < IndexRelationGetNumberOfKeyAttributes(index))
	{
		AttrNumber	attnum = form->indkey.values[n];

		if (attnum <= 0 || !compare[attnum - 1] || !is_column_equality(local, index, n))
			break;
		*distinct *= distinct_values(local, attnum);
		n++;
	}
	return n;
}

/*
 * Does the index call the same values equal as row/scan.c does?
 */
static bool
is_column_equality(Relation local, Relation index, int i)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(local), index->rd_index->indkey.values[i] - 1);
	TypeCacheEntry *type = lookup_type_cache(att->atttypid, TYPECACHE_EQ_OPR);

	return index->rd_indcollation[i] == att->attcollation && OidIsValid(type->eq_opr) &&
		type->eq_opr == equality_operator(index, i);
}

static double
distinct_values(Relation local, AttrNumber attnum)
{
	HeapTuple	tuple = SearchSysCache3(STATRELATTINH, ObjectIdGetDatum(RelationGetRelid(local)),
										Int16GetDatum(attnum), BoolGetDatum(false));
	double		distinct = 0;

	if (HeapTupleIsValid(tuple))
	{
		distinct = ((Form_pg_statistic) GETSTRUCT(tuple))->stadistinct;
		ReleaseSysCache(tuple);
	}
	if (distinct < 0)
		distinct = -distinct * Max(local->rd_rel->reltuples, 0);
	return distinct == 0 ? DISTINCT_DEFAULT : distinct;
}

static void
make_leading(BdrLookup *lookup, Relation index, int n)
{
	lookup->leading = RelationGetRelid(index);
	lookup->nleading = n;
	lookup->leading_attnums = palloc(n * sizeof(AttrNumber));
	lookup->leading_keys = palloc0(n * sizeof(ScanKeyData));
	for (int i = 0; i < n; i++)
	{
		lookup->leading_attnums[i] = index->rd_index->indkey.values[i];
		bdr_lookup_scan_key(&lookup->leading_keys[i], index, i);
	}
}
