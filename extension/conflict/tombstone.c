/*-------------------------------------------------------------------------
 * conflict/tombstone.c
 *		Versions that this node has seen and that no row of a table, dead or
 *		alive, shows: bdr.remembered_version and bdr.evicted_row.
 *
 * NOTES
 *		Values are kept as text, so that a join can copy them, and are found
 *		by a hash that agrees with the constraint's operators.  Where a type
 *		has none the hash is 0, and the operators alone decide.
 *
 *		Whoever looks waits for whoever is writing such a version: a row that
 *		was stored before may have to go for its sake.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "base/tables.h"
#include "conflict/tombstone.h"
#include "version/retention_slot.h"
#include "bdr_compat.h"

static Relation open_table(const char *name, LOCKMODE lockmode, Oid *index);
static bool newest_of(Relation memory, Oid memory_index, Oid relid, BdrConstraint *constraint, bool wait,
					  BdrVersion *newest);
static BdrVersion read_version(Relation memory, HeapTuple tuple);
static bool has_values(Relation memory, HeapTuple tuple, int column, BdrConstraint *constraint);
static Datum values_text(BdrConstraint *constraint);
static void insert(Relation memory, Datum *values);
static Oid	topmost(BdrRelation *rel);
static void insert_into_indexes(Relation memory, CatalogIndexState indexes, HeapTuple tuple, Datum *values, bool *nulls);

/* ---------------------------------------------------------------------
 * Remembering
 * ---------------------------------------------------------------------
 */

/*
 * The incoming version took these values, and no row shows it.
 */
void
bdr_tombstone_remember(BdrRelation *rel, BdrConstraint *constraint)
{
	Relation	memory;
	NameData	name;
	Datum		values[BDR_VERSION_COLUMNS];
	Oid			index;

	/* a table without a key cannot tell which row was meant */
	if (!constraint->by_value)
		return;
	memory = open_table("remembered_version", RowExclusiveLock, &index);
	namestrcpy(&name, constraint->name);
	values[BDR_VERSION_RELATION - 1] = ObjectIdGetDatum(rel->local_relid);
	values[BDR_VERSION_INDEX_NAME - 1] = NameGetDatum(&name);
	values[BDR_VERSION_VALUE_HASH - 1] = Int64GetDatum(bdr_constraint_hash(constraint));
	values[BDR_VERSION_KEY_VALUES - 1] = values_text(constraint);
	values[BDR_VERSION_COMMIT_TIME - 1] = TimestampTzGetDatum(bdr_version_incoming()->time);
	values[BDR_VERSION_NODE_ID - 1] = ObjectIdGetDatum(bdr_version_incoming()->node);
	insert(memory, values);
	table_close(memory, NoLock);
}

/*
 * The row is about to be deleted by this transaction, which is no deletion of
 * its key.
 */
void
bdr_tombstone_mark_evicted(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *row)
{
	BdrConstraint key;

	bdr_constraint_of_key(&key, rel, lookup, row);
	if (key.by_value)
		bdr_tombstone_mark(rel, &key, GetCurrentTransactionId());
}

/*
 * The local transaction xid has deleted the row with this key, which is no
 * deletion of the key.
 */
void
bdr_tombstone_mark(BdrRelation *rel, BdrConstraint *key, TransactionId xid)
{
	Relation	memory;
	Datum		values[BDR_EVICTED_COLUMNS];
	Oid			index;

	memory = open_table("evicted_row", RowExclusiveLock, &index);
	values[BDR_EVICTED_RELATION - 1] = ObjectIdGetDatum(rel->local_relid);
	values[BDR_EVICTED_VALUE_HASH - 1] = Int64GetDatum(bdr_constraint_hash(key));
	values[BDR_EVICTED_KEY_VALUES - 1] = values_text(key);
	values[BDR_EVICTED_XID - 1] = FullTransactionIdGetDatum(bdr_widen_xid(xid, ReadNextFullTransactionId()));
	insert(memory, values);
	table_close(memory, NoLock);
}

/*
 * To keep many versions that a table shows no more, one after the other.
 */
Relation
bdr_tombstone_open(CatalogIndexState *indexes)
{
	Oid			unused;
	Relation	memory = open_table("remembered_version", RowExclusiveLock, &unused);

	*indexes = CatalogOpenIndexes(memory);
	return memory;
}

void
bdr_tombstone_close(Relation memory, CatalogIndexState indexes)
{
	CatalogCloseIndexes(indexes);
	table_close(memory, NoLock);
}

/*
 * A node that is being made from this one has seen the version in the table,
 * so this is not for its eyes.
 */
void
bdr_tombstone_keep(Relation memory, CatalogIndexState indexes, Oid relid, const BdrKept *kept)
{
	Datum		values[BDR_VERSION_COLUMNS];
	bool		nulls[BDR_VERSION_COLUMNS] = {false};
	HeapTuple	tuple;

	values[BDR_VERSION_RELATION - 1] = ObjectIdGetDatum(relid);
	values[BDR_VERSION_INDEX_NAME - 1] = NameGetDatum(&kept->index);
	values[BDR_VERSION_VALUE_HASH - 1] = Int64GetDatum(kept->hash);
	values[BDR_VERSION_KEY_VALUES - 1] = kept->key_values;
	values[BDR_VERSION_COMMIT_TIME - 1] = TimestampTzGetDatum(kept->version.time);
	values[BDR_VERSION_NODE_ID - 1] = ObjectIdGetDatum(kept->version.node);
	tuple = heap_form_tuple(RelationGetDescr(memory), values, nulls);
	heap_insert(memory, tuple, GetCurrentCommandId(true), HEAP_INSERT_NO_LOGICAL, NULL);
	insert_into_indexes(memory, indexes, tuple, values, nulls);
	heap_freetuple(tuple);
}

/*
 * Ours have plain columns only, and are not unique.
 */
static void
insert_into_indexes(Relation memory, CatalogIndexState indexes, HeapTuple tuple, Datum *values, bool *nulls)
{
	for (int i = 0; i < indexes->ri_NumIndices; i++)
	{
		IndexInfo  *info = indexes->ri_IndexRelationInfo[i];
		Datum		keys[INDEX_MAX_KEYS];
		bool		isnull[INDEX_MAX_KEYS];

		for (int k = 0; k < info->ii_NumIndexAttrs; k++)
		{
			keys[k] = values[info->ii_IndexAttrNumbers[k] - 1];
			isnull[k] = nulls[info->ii_IndexAttrNumbers[k] - 1];
		}
		index_insert(indexes->ri_IndexRelationDescs[i], keys, isnull, &tuple->t_self, memory,
					 UNIQUE_CHECK_NO, false, info);
	}
}

static void
insert(Relation memory, Datum *values)
{
	bool		nulls[BDR_VERSION_COLUMNS] = {false};
	HeapTuple	tuple = heap_form_tuple(RelationGetDescr(memory), values, nulls);

	CatalogTupleInsert(memory, tuple);
	heap_freetuple(tuple);
}

/* ---------------------------------------------------------------------
 * Looking
 * ---------------------------------------------------------------------
 */

/*
 * Raise *newest to the newest version that collides under the constraint.
 *
 * If wait, returns false, after a wait, when somebody was writing one: look
 * again.  Else that counts like any other.
 *
 * What was meant for a row of a partitioned table, and found none, was
 * remembered for that table.
 */
bool
bdr_tombstone_newest(BdrRelation *rel, BdrConstraint *constraint, bool wait, BdrVersion *newest)
{
	Oid			index;
	Relation	memory = open_table("remembered_version", AccessShareLock, &index);
	Oid			root = topmost(rel);
	bool		done;

	done = newest_of(memory, index, rel->local_relid, constraint, wait, newest);
	if (done && OidIsValid(root))
		done = newest_of(memory, index, root, constraint, wait, newest);
	table_close(memory, NoLock);
	return done;
}

/*
 * The index has the newest one last, so what is remembered of a key may be much.
 */
static bool
newest_of(Relation memory, Oid memory_index, Oid relid, BdrConstraint *constraint, bool wait, BdrVersion *newest)
{
	Relation	index = index_open(memory_index, AccessShareLock);
	TransactionId busy = InvalidTransactionId;
	SnapshotData dirty;
	ScanKeyData keys[4];
	SysScanDesc scan;
	HeapTuple	tuple;
	NameData	name;

	namestrcpy(&name, constraint->name);
	ScanKeyInit(&keys[0], BDR_VERSION_RELATION, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	ScanKeyInit(&keys[1], BDR_VERSION_INDEX_NAME, BTEqualStrategyNumber, F_NAMEEQ, NameGetDatum(&name));
	ScanKeyInit(&keys[2], BDR_VERSION_VALUE_HASH, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(bdr_constraint_hash(constraint)));
	ScanKeyInit(&keys[3], BDR_VERSION_COMMIT_TIME, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE,
				TimestampTzGetDatum(newest->known ? newest->time : DT_NOBEGIN));
	InitDirtySnapshot(dirty);
	scan = systable_beginscan_ordered(memory, index, &dirty, lengthof(keys), keys);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, BackwardScanDirection)))
	{
		TransactionId writer = dirty.xmin;
		BdrVersion	version = read_version(memory, tuple);

		CHECK_FOR_INTERRUPTS();
		/* these come first, whatever their time turns out to be */
		if (version.time == BDR_VERSION_TIME_OWN)
			bdr_version_of(HeapTupleHeaderGetRawXmin(tuple->t_data), &version);
		else if (newest->known && version.time < newest->time)
			break;
		if (bdr_version_compare(&version, newest) <= 0 ||
			!has_values(memory, tuple, BDR_VERSION_KEY_VALUES, constraint))
			continue;
		*newest = version;
		if (wait && TransactionIdIsValid(writer))
		{
			busy = writer;
			break;
		}
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	if (TransactionIdIsValid(busy))
		XactLockTableWait(busy, NULL, NULL, XLTW_None);
	return !TransactionIdIsValid(busy);
}

/*
 * The time may be BDR_VERSION_TIME_OWN: a transaction that rewrites a table
 * cannot know yet when it commits.
 */
static BdrVersion
read_version(Relation memory, HeapTuple tuple)
{
	TupleDesc	desc = RelationGetDescr(memory);
	BdrVersion	version = {true};
	bool		isnull;

	version.time = DatumGetTimestampTz(heap_getattr(tuple, BDR_VERSION_COMMIT_TIME, desc, &isnull));
	version.node = DatumGetObjectId(heap_getattr(tuple, BDR_VERSION_NODE_ID, desc, &isnull));
	return version;
}

/*
 * All of a table.
 */
void
bdr_tombstone_scan(Oid relid, Snapshot snapshot,
				void (*visit) (void *arg, const BdrKept *kept, TransactionId writer), void *arg)
{
	Oid			index;
	Relation	memory = open_table("remembered_version", AccessShareLock, &index);
	TupleDesc	desc = RelationGetDescr(memory);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, BDR_VERSION_RELATION, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(memory, index, true, snapshot, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		BdrKept		kept;
		bool		isnull;

		kept.index = *DatumGetName(heap_getattr(tuple, BDR_VERSION_INDEX_NAME, desc, &isnull));
		kept.hash = DatumGetInt64(heap_getattr(tuple, BDR_VERSION_VALUE_HASH, desc, &isnull));
		kept.key_values = heap_getattr(tuple, BDR_VERSION_KEY_VALUES, desc, &isnull);
		kept.version = read_version(memory, tuple);
		visit(arg, &kept, HeapTupleHeaderGetRawXmin(tuple->t_data));
	}
	systable_endscan(scan);
	table_close(memory, NoLock);
}

/*
 * Did the transaction xmax delete the row with this key in favour of another
 * key's?
 */
bool
bdr_tombstone_is_evicted(BdrRelation *rel, BdrConstraint *key, TransactionId xmax)
{
	FullTransactionId xid = bdr_widen_xid(xmax, ReadNextFullTransactionId());
	Oid			index;
	Relation	memory = open_table("evicted_row", AccessShareLock, &index);
	bool		evicted = false;
	ScanKeyData keys[3];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], BDR_EVICTED_RELATION, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(rel->local_relid));
	ScanKeyInit(&keys[1], BDR_EVICTED_VALUE_HASH, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(bdr_constraint_hash(key)));
	ScanKeyInit(&keys[2], BDR_EVICTED_XID, BTEqualStrategyNumber, F_XID8EQ, FullTransactionIdGetDatum(xid));
	scan = systable_beginscan(memory, index, true, SnapshotSelf, lengthof(keys), keys);
	while (!evicted && HeapTupleIsValid(tuple = systable_getnext(scan)))
		evicted = has_values(memory, tuple, BDR_EVICTED_KEY_VALUES, key);
	systable_endscan(scan);
	table_close(memory, NoLock);
	return evicted;
}

/*
 * Do the values that are kept in this column collide with the constraint's?
 */
static bool
has_values(Relation memory, HeapTuple tuple, int column, BdrConstraint *constraint)
{
	bool		isnull;
	Datum		array = heap_getattr(tuple, column, RelationGetDescr(memory), &isnull);
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];
	Datum	   *texts;
	bool	   *text_nulls;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &texts, &text_nulls, &n);
	if (n != constraint->nkeys)
		return false;
	for (int i = 0; i < n; i++)
	{
		Oid			input;
		Oid			param;

		nulls[i] = text_nulls[i];
		if (nulls[i])
			continue;
		getTypeInputInfo(constraint->types[i], &input, &param);
		values[i] = OidInputFunctionCall(input, TextDatumGetCString(texts[i]), param, -1);
	}
	return bdr_constraint_matches(constraint, values, nulls);
}

/* ---------------------------------------------------------------------
 * Values
 * ---------------------------------------------------------------------
 */

/*
 * Returns the hash.
 */
int64
bdr_tombstone_values(BdrConstraint *constraint, Datum *values)
{
	*values = values_text(constraint);
	return bdr_constraint_hash(constraint);
}

static Datum
values_text(BdrConstraint *constraint)
{
	Datum	   *texts = palloc0(constraint->nkeys * sizeof(Datum));
	bool	   *nulls = palloc0(constraint->nkeys * sizeof(bool));
	int			dims[1] = {constraint->nkeys};
	int			lower[1] = {1};

	for (int i = 0; i < constraint->nkeys; i++)
	{
		ScanKey		key = &constraint->keys[i];
		Oid			output;
		bool		is_varlena;

		nulls[i] = (key->sk_flags & SK_ISNULL) != 0;
		if (nulls[i])
			continue;
		getTypeOutputInfo(constraint->types[i], &output, &is_varlena);
		texts[i] = CStringGetTextDatum(OidOutputFunctionCall(output, key->sk_argument));
	}
	return PointerGetDatum(construct_md_array(texts, nulls, 1, dims, lower, TEXTOID, -1, false, TYPALIGN_INT));
}

/* ---------------------------------------------------------------------
 * Tables
 * ---------------------------------------------------------------------
 */

/*
 * The table, and its index that begins with the relation.
 */
static Relation
open_table(const char *name, LOCKMODE lockmode, Oid *index)
{
	*index = bdr_catalog_relation(psprintf("%s_idx", name));
	return bdr_catalog_open(name, lockmode);
}

/*
 * InvalidOid: rel is no partition.
 */
static Oid
topmost(BdrRelation *rel)
{
	if (rel->root != NULL && rel->root->mapped)
		return rel->root->local_relid;
	return rel->ancestors != NIL ? llast_oid(rel->ancestors) : InvalidOid;
}
