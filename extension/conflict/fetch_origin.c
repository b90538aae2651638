/*-------------------------------------------------------------------------
 * conflict/fetch_origin.c
 *		Values that an update left out, at the node that made it: a peer reads
 *		them with bdr.internal_fetch.
 *
 * NOTES
 *		The peer connects as a superuser, and by the time that it asks, the
 *		table may have another name and any code on it.  So the table is found
 *		by the oid that the update named, and its row by what the server itself
 *		knows: the scan keys of a plain index, or the types' operators.  No
 *		query is planned, so no expression of an index is read, no policy, no
 *		rule, no view; keys do not go through the checks of domains.  What is
 *		left that could call code of users, such as a domain inside a composite
 *		type, does so as they.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/commit_ts.h"
#include "access/genam.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "replication/origin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"

#include "base/bdr.h"
#include "base/user_context.h"
#include "row/lookup.h"
#include "bdr_compat.h"

/* Columns of the answer; the first row is about the row itself. */
enum
{
	ANSWER_SHOWN,
	ANSWER_FOUND,
	ANSWER_VALUE,
	ANSWER_COLUMNS
};

/* The row that is looked for. */
typedef struct Wanted
{
	Relation	rel;
	Snapshot	snapshot;
	TimestampTz time;
	int			nkeys;
	AttrNumber *attnums;
	Datum	   *values;
	bool	   *in_index;		/* found by it already */
	TupleTableSlot *row;
} Wanted;

/* An array of the question. */
typedef struct Arguments
{
	int			n;
	Datum	   *values;
	bool	   *isnull;
} Arguments;

PG_FUNCTION_INFO_V1(bdr_internal_fetch);

static Arguments read_list(FunctionCallInfo fcinfo, int arg, Oid type, int len, bool byval, char align);
static Relation open_table(Oid relid);
static bool read_keys(Wanted *wanted, Arguments names, Arguments texts);
static AttrNumber column_of(Relation rel, Arguments names, int i);
static bool find_row(Wanted *wanted);
static bool find_by_index(Wanted *wanted, Oid relid);
static bool find_by_scan(Wanted *wanted);
static bool is_wanted(Wanted *wanted, TupleTableSlot *slot);
static bool is_equal(Form_pg_attribute att, Datum a, Datum b);
static bool is_of_version(Wanted *wanted, TupleTableSlot *slot);
static bool is_of_peer(RepOriginId origin);
static void answer_values(ReturnSetInfo *set, Wanted *wanted, Arguments names, Arguments in_binary);
static Datum value_bytes(Form_pg_attribute att, Datum value, bool in_binary);
static void answer(ReturnSetInfo *set, bool shown, bool found, Datum value, bool isnull);

/*
 * bdr.internal_fetch(relation, xid, commit_time, key_columns, key_values,
 * columns, in_binary): one row that says whether we show what the transaction
 * wrote and whether the row is there as that transaction left it, and if so one
 * for each of the columns.
 */
Datum
bdr_internal_fetch(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	Wanted		wanted = {.time = PG_GETARG_TIMESTAMPTZ(2)};
	Arguments		key_names = read_list(fcinfo, 3, TEXTOID, -1, false, TYPALIGN_INT);
	Arguments		key_texts = read_list(fcinfo, 4, TEXTOID, -1, false, TYPALIGN_INT);
	Arguments		names = read_list(fcinfo, 5, TEXTOID, -1, false, TYPALIGN_INT);
	Arguments		in_binary = read_list(fcinfo, 6, BOOLOID, 1, true, TYPALIGN_CHAR);
	BdrRights	rights;
	bool		shown;
	bool		found;

	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for function \"%s.internal_fetch\"", BDR_SCHEMA),
				 errdetail("It is for the connections of other nodes, which are a superuser's.")));
	if (key_names.n == 0 || key_names.n != key_texts.n || names.n != in_binary.n)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("each column of the key needs a value, and each other column a form")));
	InitMaterializedSRF(fcinfo, 0);
	wanted.rel = open_table(PG_GETARG_OID(0));
	/* not before the lock: a table may have been rewritten meanwhile */
	wanted.snapshot = RegisterSnapshot(GetLatestSnapshot());
	wanted.row = table_slot_create(wanted.rel, NULL);
	shown = !XidInMVCCSnapshot(PG_GETARG_TRANSACTIONID(1), wanted.snapshot);

	bdr_rights_take(bdr_code_role(RelationGetRelid(wanted.rel), wanted.rel->rd_rel->relowner,
								  bdr_owner_above(RelationGetRelid(wanted.rel))), &rights);
	found = read_keys(&wanted, key_names, key_texts) && find_row(&wanted);
	answer(set, shown, found, (Datum) 0, true);
	if (found)
		answer_values(set, &wanted, names, in_binary);
	bdr_rights_restore(&rights);

	ExecDropSingleTupleTableSlot(wanted.row);
	UnregisterSnapshot(wanted.snapshot);
	relation_close(wanted.rel, NoLock);
	return (Datum) 0;
}

/* ---------------------------------------------------------------------
 * The question
 * ---------------------------------------------------------------------
 */
static Arguments
read_list(FunctionCallInfo fcinfo, int arg, Oid type, int len, bool byval, char align)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(arg);
	Arguments		list;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("arguments must be one-dimensional arrays")));
	deconstruct_array(array, type, len, byval, align, &list.values, &list.isnull, &list.n);
	return list;
}

/*
 * A table of users.  One that is none any more has no rows, so that is the same
 * as if it had been dropped.
 */
static Relation
open_table(Oid relid)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);

	if (rel == NULL || rel->rd_rel->relkind != RELKIND_RELATION || RELATION_IS_OTHER_TEMP(rel))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("there is no table with OID %u", relid)));
	if (IsCatalogRelation(rel) || RelationGetNamespace(rel) == get_namespace_oid(BDR_SCHEMA, true))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table \"%s\" is not replicated", RelationGetRelationName(rel))));
	return rel;
}

/*
 * Returns false when a value is NULL: a key is equal to no such row.  A domain
 * has the values of its base type.
 */
static bool
read_keys(Wanted *wanted, Arguments names, Arguments texts)
{
	wanted->nkeys = names.n;
	wanted->attnums = palloc(names.n * sizeof(AttrNumber));
	wanted->values = palloc(names.n * sizeof(Datum));
	wanted->in_index = palloc0(names.n * sizeof(bool));
	for (int i = 0; i < names.n; i++)
	{
		Form_pg_attribute att;
		int32		typmod;
		Oid			type;
		Oid			input;
		Oid			param;

		wanted->attnums[i] = column_of(wanted->rel, names, i);
		if (texts.isnull[i])
			return false;
		att = TupleDescAttr(RelationGetDescr(wanted->rel), wanted->attnums[i] - 1);
		typmod = att->atttypmod;
		type = getBaseTypeAndTypmod(att->atttypid, &typmod);
		getTypeInputInfo(type, &input, &param);
		wanted->values[i] = OidInputFunctionCall(input, TextDatumGetCString(texts.values[i]), param, typmod);
	}
	return true;
}

static AttrNumber
column_of(Relation rel, Arguments names, int i)
{
	TupleDesc	desc = RelationGetDescr(rel);
	char	   *name = names.isnull[i] ? "" : TextDatumGetCString(names.values[i]);

	for (int k = 0; k < desc->natts; k++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, k);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return att->attnum;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of relation \"%s\" does not exist", name, RelationGetRelationName(rel))));
}

/* ---------------------------------------------------------------------
 * The row
 * ---------------------------------------------------------------------
 */
static bool
find_row(Wanted *wanted)
{
	bool	   *allowed = palloc0(RelationGetNumberOfAttributes(wanted->rel) * sizeof(bool));
	Oid			index;

	for (int i = 0; i < wanted->nkeys; i++)
		allowed[wanted->attnums[i] - 1] = true;
	index = bdr_lookup_choose_index(wanted->rel, allowed);
	return OidIsValid(index) ? find_by_index(wanted, index) : find_by_scan(wanted);
}

/*
 * By a unique index without expressions and predicate.
 */
static bool
find_by_index(Wanted *wanted, Oid relid)
{
	Relation	index = index_open(relid, AccessShareLock);
	int			n = IndexRelationGetNumberOfKeyAttributes(index);
	ScanKeyData keys[INDEX_MAX_KEYS];
	IndexScanDesc scan;
	bool		found;

	for (int k = 0; k < n; k++)
	{
		if (!bdr_lookup_scan_key(&keys[k], index, k))
			elog(ERROR, "index \"%s\" has no equality operator", RelationGetRelationName(index));
		for (int i = 0; i < wanted->nkeys; i++)
		{
			if (wanted->attnums[i] != index->rd_index->indkey.values[k])
				continue;
			keys[k].sk_argument = wanted->values[i];
			/* others may return more than was asked for */
			wanted->in_index[i] = index->rd_rel->relam == BTREE_AM_OID;
		}
	}
	scan = bdr_index_beginscan(wanted->rel, index, wanted->snapshot, n);
	index_rescan(scan, keys, n, NULL, 0);
	do
		found = index_getnext_slot(scan, ForwardScanDirection, wanted->row);
	while (found && !is_wanted(wanted, wanted->row));
	if (found)
		ExecMaterializeSlot(wanted->row);
	index_endscan(scan);
	index_close(index, NoLock);
	return found;
}

static bool
find_by_scan(Wanted *wanted)
{
	TupleTableSlot *slot = table_slot_create(wanted->rel, NULL);
	TableScanDesc scan = table_beginscan(wanted->rel, wanted->snapshot, 0, NULL);
	bool		found = false;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (!is_wanted(wanted, slot))
			continue;
		if (found)
			ereport(ERROR,
					(errcode(ERRCODE_CARDINALITY_VIOLATION),
					 errmsg("several rows of table \"%s\" have the same key", RelationGetRelationName(wanted->rel))));
		ExecCopySlot(wanted->row, slot);
		found = true;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return found;
}

static bool
is_wanted(Wanted *wanted, TupleTableSlot *slot)
{
	for (int i = 0; i < wanted->nkeys; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(wanted->rel), wanted->attnums[i] - 1);
		bool		isnull;
		Datum		value;

		if (wanted->in_index[i])
			continue;
		value = slot_getattr(slot, wanted->attnums[i], &isnull);
		if (isnull || !is_equal(att, value, wanted->values[i]))
			return false;
	}
	return is_of_version(wanted, slot);
}

/*
 * A type without an operator has images to compare.
 */
static bool
is_equal(Form_pg_attribute att, Datum a, Datum b)
{
	TypeCacheEntry *type;

	if (datum_image_eq(a, b, att->attbyval, att->attlen))
		return true;
	type = lookup_type_cache(getBaseType(att->atttypid), TYPECACHE_EQ_OPR_FINFO);
	return OidIsValid(type->eq_opr_finfo.fn_oid) &&
		DatumGetBool(FunctionCall2Coll(&type->eq_opr_finfo, att->attcollation, a, b));
}

/*
 * Is it of the transaction that committed then, and that this node made?
 */
static bool
is_of_version(Wanted *wanted, TupleTableSlot *slot)
{
	TimestampTz time;
	RepOriginId origin;

	return TransactionIdGetCommitTsData(bdr_version_xmin(slot), &time, &origin) &&
		time == wanted->time && !is_of_peer(origin);
}

/* Origins of this node's own do not have names of peers'. */
static bool
is_of_peer(RepOriginId origin)
{
	char	   *name;

	return origin != InvalidRepOriginId && origin != DoNotReplicateId &&
		replorigin_by_oid(origin, true, &name) &&
		strncmp(name, "bdr_", 4) == 0 && isdigit((unsigned char) name[4]);
}

/* ---------------------------------------------------------------------
 * The answer
 * ---------------------------------------------------------------------
 */
static void
answer_values(ReturnSetInfo *set, Wanted *wanted, Arguments names, Arguments in_binary)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "bdr fetched value", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	for (int i = 0; i < names.n; i++)
	{
		AttrNumber	attnum = column_of(wanted->rel, names, i);
		bool		isnull;
		Datum		value = slot_getattr(wanted->row, attnum, &isnull);

		CHECK_FOR_INTERRUPTS();
		if (!isnull)
			value = value_bytes(TupleDescAttr(RelationGetDescr(wanted->rel), attnum - 1), value,
								!in_binary.isnull[i] && DatumGetBool(in_binary.values[i]));
		answer(set, true, true, value, isnull);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

static Datum
value_bytes(Form_pg_attribute att, Datum value, bool in_binary)
{
	Oid			type = getBaseType(att->atttypid);
	Oid			function;
	bool		is_varlena;

	if (in_binary)
	{
		getTypeBinaryOutputInfo(type, &function, &is_varlena);
		return PointerGetDatum(OidSendFunctionCall(function, value));
	}
	if (type == XMLOID)
		return PointerGetDatum(PG_DETOAST_DATUM(value));	/* a text, with its XML declaration */
	getTypeOutputInfo(type, &function, &is_varlena);
	return CStringGetTextDatum(OidOutputFunctionCall(function, value));
}

static void
answer(ReturnSetInfo *set, bool shown, bool found, Datum value, bool isnull)
{
	Datum		values[ANSWER_COLUMNS];
	bool		nulls[ANSWER_COLUMNS] = {false};

	values[ANSWER_SHOWN] = BoolGetDatum(shown);
	values[ANSWER_FOUND] = BoolGetDatum(found);
	values[ANSWER_VALUE] = value;
	nulls[ANSWER_VALUE] = isnull;
	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
}
