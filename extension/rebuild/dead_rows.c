/*-------------------------------------------------------------------------
 * rebuild/dead_rows.c
 *		Dead rows of a table that is rewritten: the versions that they show go
 *		into the memory.
 *
 * NOTES
 *		A dead row tells that its xmin took its values, and its xmax its key
 *		(docs/decisions/0007-convergence.md).  Those that the retention slot keeps are
 *		wanted, and of them the newest per value, where no row of the table has
 *		the value now.
 *
 *		A dead row cannot be computed anew: what the ALTER computes may fail
 *		for it.  Its constrained values are converted by their text, and where
 *		that fails there can be no row that means them.
 *
 *		What was in the memory before is looked up by a hash of the values, and
 *		so is entered again where that is another one for the new type.
 *
 *		Expressions of indexes and types' functions run as the table's owner,
 *		in a security-restricted operation.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/tupdesc_details.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "base/bdr.h"
#include "base/tables.h"
#include "base/user_context.h"
#include "conflict/dead_row.h"
#include "conflict/detect.h"
#include "conflict/resolve.h"
#include "conflict/tombstone.h"
#include "rebuild/dead_rows.h"
#include "version/retention_slot.h"
#include "bdr_compat.h"

/* How many versions wait to be written. */
#define GRAVES_VERSIONS_MAX		20000

/* The newest version that took some values. */
typedef struct Grave
{
	struct
	{
		Oid			index;
		uint32		unused;		/* 0 */
		int64		hash;
	}			key;
	BdrKept		kept;
} Grave;

struct BdrGraves
{
	Relation	table;
	CommandId	first;
	uint32		local_node;
	TransactionId hold;			/* what ended before it is not kept */
	MemoryContext context;
	MemoryContext row_context;

	/* made for the first row that is wanted */
	bool		is_open;
	TupleDesc	old;			/* what the old rows look like */
	BdrRelation rel;
	BdrLookup  *lookup;
	Bitmapset  *constrained;	/* columns, from 0 */
	bool		converts;		/* the type of one of these was changed */
	TupleTableSlot *slot;
	HTAB	   *newest;			/* of Grave */

	BdrRights	before;			/* who we were */
};

/* What a text of a value depends on, as writers have it. */
static const struct
{
	const char *name;
	const char *value;
}			settings[] =
{
	{"DateStyle", "ISO, YMD"},
	{"IntervalStyle", "postgres"},
	{"extra_float_digits", "1"},
	{"bytea_output", "hex"},
	{"lc_monetary", "C"},
	{"xmlbinary", "base64"},
	{"quote_all_identifiers", "off"},
};

typedef struct DeadRow
{
	HeapTuple	row;
	HeapTupleHeader header;
} DeadRow;

static bool has_committed(TransactionId xid);
static bool is_wanted(BdrGraves *graves, HeapTupleHeader header);
static void open_table(BdrGraves *graves);
static TupleDesc old_descriptor(BdrGraves *graves);
static List *old_columns(BdrGraves *graves, Relation catalog);
static void read_missing(TupleDesc desc, int i, HeapTuple tuple, TupleDesc catalog);
static Bitmapset *constrained_columns(BdrGraves *graves);
static bool has_changed(BdrGraves *graves, int i);
static void become_owner(BdrGraves *graves);
static void become_previous_user(BdrGraves *graves);
static void convert_remembered(void *arg, const BdrKept *kept, TransactionId writer);
static void enter_remembered(BdrGraves *graves, void *arg);
static void bury_row(BdrGraves *graves, HeapTuple row, HeapTupleHeader header);
static void bury_any_row(BdrGraves *graves, void *arg);
static void try_to(void (*convert) (BdrGraves *graves, void *arg), BdrGraves *graves, void *arg);
static bool is_about_the_row(int sqlerrcode);
static void store_row(BdrGraves *graves, HeapTuple row);
static Datum convert(BdrGraves *graves, int i, Datum value);
static void bury(BdrGraves *graves, HeapTupleHeader header, bool deferrable);
static bool is_taken(BdrGraves *graves, BdrConstraint *constraint);
static void take_version(BdrGraves *graves, TransactionId xid, BdrVersion *newest);
static void keep(BdrGraves *graves, BdrConstraint *constraint, const BdrVersion *version);
static void write_one(BdrGraves *graves, const BdrKept *kept);
static void write_all(BdrGraves *graves);

bool
bdr_dead_rows_matter(Relation table)
{
	return table->rd_rel->relkind == RELKIND_RELATION &&
		table->rd_rel->relpersistence != RELPERSISTENCE_TEMP &&
		table->rd_tableam == GetHeapamTableAmRoutine() &&
		RelationGetNamespace(table) != get_namespace_oid(BDR_SCHEMA, true);
}

BdrGraves *
bdr_dead_rows_open(Relation table, CommandId first, uint32 local_node)
{
	BdrGraves  *graves = palloc0(sizeof(BdrGraves));

	graves->table = table;
	graves->first = first;
	graves->local_node = local_node;
	graves->hold = bdr_retention_xmin();
	graves->context = AllocSetContextCreate(CurrentMemoryContext, "bdr graves", ALLOCSET_DEFAULT_SIZES);
	graves->row_context = AllocSetContextCreate(graves->context, "bdr grave", ALLOCSET_DEFAULT_SIZES);
	return graves;
}

/*
 * What the memory has of the table, for the columns as they are now.
 */
void
bdr_dead_rows_convert_memory(BdrGraves *graves)
{
	Snapshot	snapshot;
	MemoryContext old;

	if (!graves->is_open)
		open_table(graves);
	if (!graves->converts)
		return;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	old = MemoryContextSwitchTo(graves->row_context);
	bdr_tombstone_scan(graves->rel.local_relid, snapshot, convert_remembered, graves);
	MemoryContextSwitchTo(old);
	MemoryContextReset(graves->row_context);
	UnregisterSnapshot(snapshot);
}

void
bdr_dead_rows_add(BdrGraves *graves, HeapTuple row, HeapTupleHeader header)
{
	MemoryContext old;

	if (!is_wanted(graves, header))
		return;
	if (!graves->is_open)
		open_table(graves);
	old = MemoryContextSwitchTo(graves->context);
	if (hash_get_num_entries(graves->newest) >= GRAVES_VERSIONS_MAX)
		write_all(graves);
	MemoryContextSwitchTo(graves->row_context);
	if (graves->converts)
		try_to(bury_any_row, graves, &(DeadRow) {row, header});
	else
		bury_row(graves, row, header);
	ExecClearTuple(graves->slot);
	ResetPerTupleExprContext(graves->rel.estate);
	MemoryContextSwitchTo(old);
	MemoryContextReset(graves->row_context);
}

void
bdr_dead_rows_close(BdrGraves *graves)
{
	if (graves->is_open)
	{
		write_all(graves);
		ExecCloseIndices(graves->rel.result);
		ExecDropSingleTupleTableSlot(graves->rel.other_slot);
		ExecDropSingleTupleTableSlot(graves->slot);
		FreeExecutorState(graves->rel.estate);
		become_previous_user(graves);
	}
	MemoryContextDelete(graves->context);
	pfree(graves);
}

/* ---------------------------------------------------------------------
 * Which rows
 * ---------------------------------------------------------------------
 */

/*
 * What a heap-only tuple follows has the same values in all indexes, and is
 * newer.
 */
static bool
is_wanted(BdrGraves *graves, HeapTupleHeader header)
{
	TransactionId xmin = HeapTupleHeaderGetRawXmin(header);
	TransactionId xmax = bdr_dead_ended_by(header);

	if (!TransactionIdIsValid(xmax) || HeapTupleHeaderIsHotUpdated(header))
		return false;
	if (!HeapTupleHeaderXminFrozen(header) && !has_committed(xmin))
		return false;
	return has_committed(xmax) &&
		(!TransactionIdIsValid(graves->hold) || TransactionIdFollowsOrEquals(xmax, graves->hold));
}

/* Or will have. */
static bool
has_committed(TransactionId xid)
{
	return TransactionIdIsCurrentTransactionId(xid) || TransactionIdDidCommit(xid);
}

/* ---------------------------------------------------------------------
 * The table, as it is and as it was
 * ---------------------------------------------------------------------
 */
static void
open_table(BdrGraves *graves)
{
	HASHCTL		control = {.keysize = sizeof(((Grave *) NULL)->key), .entrysize = sizeof(Grave), .hcxt = graves->context};
	MemoryContext old = MemoryContextSwitchTo(graves->context);
	int			i = -1;

	become_owner(graves);
	bdr_relation_describe_local(&graves->rel, graves->table);
	graves->lookup = bdr_resolve_key_lookup(&graves->rel);
	graves->old = old_descriptor(graves);
	graves->constrained = constrained_columns(graves);
	while ((i = bms_next_member(graves->constrained, i)) >= 0)
		graves->converts |= has_changed(graves, i);
	graves->slot = MakeSingleTupleTableSlot(graves->rel.desc, &TTSOpsVirtual);
	graves->newest = hash_create("bdr graves", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	graves->is_open = true;
	MemoryContextSwitchTo(old);
}

/*
 * From the catalog as it was before the ALTER.
 */
static TupleDesc
old_descriptor(BdrGraves *graves)
{
	Relation	catalog = table_open(AttributeRelationId, AccessShareLock);
	List	   *columns = old_columns(graves, catalog);
	TupleDesc	desc = CreateTemplateTupleDesc(list_length(columns));
	ListCell   *lc;

	foreach(lc, columns)
	{
		HeapTuple	tuple = lfirst(lc);
		Form_pg_attribute att = (Form_pg_attribute) GETSTRUCT(tuple);
		int			i = att->attnum - 1;

		if (i >= desc->natts)
			elog(ERROR, "column %d of relation %u is one too many", att->attnum, att->attrelid);
		memcpy(TupleDescAttr(desc, i), att, ATTRIBUTE_FIXED_PART_SIZE);
		bdr_attribute_was_set(desc, i);
		if (att->atthasmissing)
			read_missing(desc, i, tuple, RelationGetDescr(catalog));
	}
	table_close(catalog, AccessShareLock);
	return desc;
}

static List *
old_columns(BdrGraves *graves, Relation catalog)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	List	   *columns = NIL;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	/* it is our own copy */
	snapshot->curcid = graves->first;
	ScanKeyInit(&keys[0], Anum_pg_attribute_attrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationGetRelid(graves->table)));
	ScanKeyInit(&keys[1], Anum_pg_attribute_attnum, BTGreaterStrategyNumber, F_INT2GT, Int16GetDatum(0));
	scan = systable_beginscan(catalog, AttributeRelidNumIndexId, true, snapshot, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		columns = lappend(columns, heap_copytuple(tuple));
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	return columns;
}

/*
 * The value of rows that are older than the column.
 */
static void
read_missing(TupleDesc desc, int i, HeapTuple tuple, TupleDesc catalog)
{
	Form_pg_attribute att = TupleDescAttr(desc, i);
	bool		isnull;
	Datum		array = heap_getattr(tuple, Anum_pg_attribute_attmissingval, catalog, &isnull);
	Datum		value;
	int			one = 1;

	if (isnull)
		return;
	if (desc->constr == NULL)
	{
		desc->constr = palloc0(sizeof(TupleConstr));
		desc->constr->missing = palloc0(desc->natts * sizeof(AttrMissing));
	}
	value = array_get_element(array, 1, &one, -1, att->attlen, att->attbyval, att->attalign, &isnull);
	desc->constr->missing[i].am_value = datumCopy(value, att->attbyval, att->attlen);
	desc->constr->missing[i].am_present = true;
}

/*
 * Those that unique and exclusion indexes are made from.
 */
static Bitmapset *
constrained_columns(BdrGraves *graves)
{
	ResultRelInfo *result = graves->rel.result;
	Bitmapset  *found = NULL;
	Bitmapset  *columns = NULL;
	int			i = -1;

	for (int k = 0; k < result->ri_NumIndices; k++)
	{
		IndexInfo  *info = result->ri_IndexRelationInfo[k];

		if (!info->ii_Unique && info->ii_ExclusionOps == NULL)
			continue;
		for (int n = 0; n < info->ii_NumIndexKeyAttrs; n++)
			if (info->ii_IndexAttrNumbers[n] > 0)
				columns = bms_add_member(columns, info->ii_IndexAttrNumbers[n] - 1);
		pull_varattnos((Node *) info->ii_Expressions, 1, &found);
		pull_varattnos((Node *) info->ii_Predicate, 1, &found);
	}
	while ((i = bms_next_member(found, i)) >= 0)
	{
		AttrNumber	attnum = i + FirstLowInvalidHeapAttributeNumber;

		if (attnum > 0)
			columns = bms_add_member(columns, attnum - 1);
		else if (attnum == 0)
			columns = bms_add_range(columns, 0, graves->rel.desc->natts - 1);
	}
	return columns;
}

static bool
has_changed(BdrGraves *graves, int i)
{
	return i < graves->old->natts &&
		TupleDescAttr(graves->old, i)->atttypid != TupleDescAttr(graves->rel.desc, i)->atttypid;
}

/* ---------------------------------------------------------------------
 * As whom
 * ---------------------------------------------------------------------
 */
static void
become_owner(BdrGraves *graves)
{
	Relation	table = graves->table;
	Oid			relid = RelationGetRelid(table);

	bdr_rights_take(bdr_code_role(relid, table->rd_rel->relowner, bdr_owner_above(relid)), &graves->before);
	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i].name, settings[i].value, PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

static void
become_previous_user(BdrGraves *graves)
{
	bdr_rights_restore(&graves->before);
}

/* ---------------------------------------------------------------------
 * A row
 * ---------------------------------------------------------------------
 */

static void
bury_row(BdrGraves *graves, HeapTuple row, HeapTupleHeader header)
{
	store_row(graves, row);
	bury(graves, header, false);
	bury(graves, header, true);
}

static void
bury_any_row(BdrGraves *graves, void *arg)
{
	DeadRow    *dead = arg;

	bury_row(graves, dead->row, dead->header);
}

/*
 * Values may not be of the new types.  Then no row can mean them.
 */
static void
try_to(void (*convert) (BdrGraves *graves, void *arg), BdrGraves *graves, void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		convert(graves, arg);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		if (!is_about_the_row(CopyErrorData()->sqlerrcode))
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_END_TRY();
}

static bool
is_about_the_row(int sqlerrcode)
{
	int			category = ERRCODE_TO_CATEGORY(sqlerrcode);

	return category != ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION) &&
		category != ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES) &&
		category != ERRCODE_TO_CATEGORY(ERRCODE_INTERNAL_ERROR);
}

/*
 * Put the constrained values of an old row into the slot.
 */
static void
store_row(BdrGraves *graves, HeapTuple row)
{
	TupleTableSlot *slot = graves->slot;
	Datum	   *values = palloc(graves->old->natts * sizeof(Datum) + 1);
	bool	   *isnull = palloc(graves->old->natts * sizeof(bool) + 1);

	heap_deform_tuple(row, graves->old, values, isnull);
	ExecStoreAllNullTuple(slot);
	for (int i = 0; i < graves->old->natts; i++)
	{
		if (isnull[i] || !bms_is_member(i, graves->constrained) ||
			TupleDescAttr(graves->rel.desc, i)->attisdropped)
			continue;
		slot->tts_values[i] = has_changed(graves, i) ? convert(graves, i, values[i]) : values[i];
		slot->tts_isnull[i] = false;
	}
}

static Datum
convert(BdrGraves *graves, int i, Datum value)
{
	Oid			output;
	Oid			input;
	Oid			param;
	bool		is_varlena;
	char	   *text;

	getTypeOutputInfo(TupleDescAttr(graves->old, i)->atttypid, &output, &is_varlena);
	text = OidOutputFunctionCall(output, value);
	getTypeInputInfo(getBaseType(TupleDescAttr(graves->rel.desc, i)->atttypid), &input, &param);
	return OidInputFunctionCall(input, text, param, -1);
}

/*
 * The row in the slot took its values, and was ended.
 */
static void
bury(BdrGraves *graves, HeapTupleHeader header, bool deferrable)
{
	TransactionId xmax = bdr_dead_ended_by(header);
	BdrCase		c = {&graves->rel, BDR_OP_INSERT};
	BdrVersion	died = {false};
	BdrVersion	born = {false};

	c.image = BDR_IMAGE_COMPLETE;
	c.row = graves->slot;
	c.lookup = graves->lookup;
	c.at_end = deferrable;
	bdr_case_describe(&c);
	take_version(graves, HeapTupleHeaderGetRawXmin(header), &born);
	take_version(graves, xmax, &died);
	for (int k = deferrable ? 1 : 0; k < c.nconstraints; k++)
	{
		BdrConstraint *constraint = &c.constraints[k];
		BdrVersion	newest = born;

		if (!constraint->by_value || (deferrable && bdr_version_compare(&born, &died) == 0) ||
			is_taken(graves, constraint))
			continue;
		if (k == 0 && bdr_version_compare(&died, &newest) > 0 && !bdr_tombstone_is_evicted(&graves->rel, constraint, xmax))
			newest = died;
		if (newest.known)
			keep(graves, constraint, &newest);
	}
}

/*
 * Has a row of the table these values?  Then what is not to be seen is older.
 */
static bool
is_taken(BdrGraves *graves, BdrConstraint *constraint)
{
	BdrRelation *rel = &graves->rel;
	Snapshot	latest;
	IndexScanDesc scan;
	bool		taken = false;

	if (constraint->is_exclusion || constraint->place < 0)
		return false;
	latest = RegisterSnapshot(GetLatestSnapshot());
	scan = bdr_index_beginscan(rel->rel, rel->result->ri_IndexRelationDescs[constraint->place], latest, constraint->nkeys);
	index_rescan(scan, constraint->keys, constraint->nkeys, NULL, 0);
	while (!taken && index_getnext_slot(scan, ForwardScanDirection, rel->other_slot))
	{
		Datum		values[INDEX_MAX_KEYS];
		bool		isnull[INDEX_MAX_KEYS];

		GetPerTupleExprContext(rel->estate)->ecxt_scantuple = rel->other_slot;
		FormIndexDatum(rel->result->ri_IndexRelationInfo[constraint->place], rel->other_slot, rel->estate, values, isnull);
		taken = bdr_constraint_matches(constraint, values, isnull);
	}
	ExecClearTuple(rel->other_slot);
	index_endscan(scan);
	UnregisterSnapshot(latest);
	return taken;
}

static void
take_version(BdrGraves *graves, TransactionId xid, BdrVersion *newest)
{
	if (TransactionIdIsCurrentTransactionId(xid))
		*newest = (BdrVersion)
	{
		true, BDR_VERSION_TIME_OWN, graves->local_node
	};
	else
		bdr_version_of_committed(xid, graves->local_node, newest);
}

/* ---------------------------------------------------------------------
 * What was remembered before
 * ---------------------------------------------------------------------
 */
static void
convert_remembered(void *arg, const BdrKept *kept, TransactionId writer)
{
	BdrGraves  *graves = arg;
	BdrKept		converted = *kept;

	CHECK_FOR_INTERRUPTS();
	if (kept->version.time == BDR_VERSION_TIME_OWN)
		take_version(graves, writer, &converted.version);
	if (converted.version.known)
		try_to(enter_remembered, graves, &converted);
}

/*
 * What is older than the change of the type goes as it would have.
 */
static void
enter_remembered(BdrGraves *graves, void *arg)
{
	BdrKept    *kept = arg;
	int64		before = kept->hash;
	BdrConstraint constraint;
	Datum	   *texts;
	bool	   *nulls;
	char	   *values[INDEX_MAX_KEYS];
	int			n;

	deconstruct_array(DatumGetArrayTypeP(kept->key_values), TEXTOID, -1, false, TYPALIGN_INT, &texts, &nulls, &n);
	for (int i = 0; i < n && i < INDEX_MAX_KEYS; i++)
		values[i] = nulls[i] ? NULL : TextDatumGetCString(texts[i]);
	if (n > INDEX_MAX_KEYS ||
		!bdr_constraint_of_texts(&constraint, &graves->rel, graves->lookup, NameStr(kept->index), n, values))
		return;
	kept->hash = bdr_tombstone_values(&constraint, &kept->key_values);
	if (kept->hash != before)
		write_one(graves, kept);
}

/* ---------------------------------------------------------------------
 * The newest of each value
 * ---------------------------------------------------------------------
 */

/*
 * Where values without a hash, or other values, have the place, the version is
 * written at once.
 */
static void
keep(BdrGraves *graves, BdrConstraint *constraint, const BdrVersion *version)
{
	Grave		wanted = {{constraint->place >= 0 ? graves->rel.index_oids[constraint->place] : InvalidOid}};
	BdrKept    *kept = &wanted.kept;
	Grave	   *grave;
	bool		found;

	namestrcpy(&kept->index, constraint->name);
	kept->version = *version;
	kept->hash = wanted.key.hash = bdr_tombstone_values(constraint, &kept->key_values);
	grave = hash_search(graves->newest, &wanted.key, HASH_ENTER, &found);
	if (!found)
	{
		MemoryContext old = MemoryContextSwitchTo(graves->context);

		grave->kept = *kept;
		grave->kept.key_values = datumCopy(kept->key_values, false, -1);
		MemoryContextSwitchTo(old);
	}
	else if (!datum_image_eq(grave->kept.key_values, kept->key_values, false, -1))
		write_one(graves, kept);
	else if (bdr_version_compare(version, &grave->kept.version) > 0)
		grave->kept.version = *version;
}

static void
write_one(BdrGraves *graves, const BdrKept *kept)
{
	CatalogIndexState indexes;
	Relation	memory = bdr_tombstone_open(&indexes);

	bdr_tombstone_keep(memory, indexes, graves->rel.local_relid, kept);
	bdr_tombstone_close(memory, indexes);
}

static void
write_all(BdrGraves *graves)
{
	CatalogIndexState indexes;
	Relation	memory = bdr_tombstone_open(&indexes);
	HASH_SEQ_STATUS seq;
	Grave	   *grave;

	hash_seq_init(&seq, graves->newest);
	while ((grave = hash_seq_search(&seq)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		bdr_tombstone_keep(memory, indexes, graves->rel.local_relid, &grave->kept);
		pfree(DatumGetPointer(grave->kept.key_values));
		hash_search(graves->newest, &grave->key, HASH_REMOVE, NULL);
	}
	bdr_tombstone_close(memory, indexes);
}
