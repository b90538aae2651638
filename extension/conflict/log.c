/*-------------------------------------------------------------------------
 * conflict/log.c
 *		What is told about a conflict: a row of bdr.conflict_history, a line
 *		of the server log, both or neither.
 *
 * NOTES
 *		bdr.node_log_config says what is told.  It is read once in each local
 *		transaction that meets a conflict.  The manager takes rows away that are
 *		too old (gosrc/retention/history.go).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/tables.h"
#include "base/user_context.h"
#include "conflict/log.h"
#include "bdr_compat.h"

/* A row with more is left out: as json it might not fit into a value. */
#define LOGGED_ROW_BYTES_MAX	((Size) 16 * 1024 * 1024)

/* More of a value of a key does not go to the server log. */
#define LOGGED_VALUE_BYTES_MAX	256

/* Columns of bdr.conflict_history, in the order of sql/40_conflict.sql. */
enum
{
	HISTORY_SUB_ID,
	HISTORY_ORIGIN_NODE_ID,
	HISTORY_LOCAL_XID,
	HISTORY_LOCAL_LSN,
	HISTORY_LOCAL_TIME,
	HISTORY_REMOTE_XID,
	HISTORY_REMOTE_CHANGE_NR,
	HISTORY_REMOTE_COMMIT_LSN,
	HISTORY_REMOTE_COMMIT_TIME,
	HISTORY_CONFLICT_TYPE,
	HISTORY_CONFLICT_RESOLUTION,
	HISTORY_CONFLICT_RULE,
	HISTORY_CONFLICT_INDEX,
	HISTORY_RELOID,
	HISTORY_NSPNAME,
	HISTORY_RELNAME,
	HISTORY_KEY_TUPLE,
	HISTORY_REMOTE_TUPLE,
	HISTORY_LOCAL_TUPLE,
	HISTORY_APPLY_TUPLE,
	HISTORY_LOCAL_TUPLE_XMIN,
	HISTORY_LOCAL_TUPLE_NODE_ID,
	HISTORY_LOCAL_TUPLE_COMMIT_TIME,
	HISTORY_RELOID_XMIN,
	HISTORY_COLUMNS
};

/* Columns of the tables that say what is logged, and where. */
enum
{
	CONFIG_LOG_NAME = 1,
	CONFIG_LOG_TO_FILE,
	CONFIG_LOG_TO_TABLE,
	CONFIG_LOG_CONFLICT_TYPE,
	CONFIG_LOG_CONFLICT_RES
};
enum
{
	NODE_ID = 1,
	NODE_NAME
};

/* What is logged by the local transaction lxid. */
typedef struct LogConfig
{
	LocalTransactionId lxid;
	bool		to_file;
	bool		to_table;
	bool		all_types;
	bool		all_resolutions;
	List	   *types;
	List	   *resolutions;
} LogConfig;

/* The values of a history row. */
typedef struct HistoryRow
{
	Datum		values[HISTORY_COLUMNS];
	bool		nulls[HISTORY_COLUMNS];
} HistoryRow;

static LogConfig config;

static void read_config(void);
static void read_node_config(void);
static bool read_names(Relation rel, HeapTuple tuple, int column, List **names);
static bool is_chosen(const BdrConflict *conflict);
static bool names_contain(const List *names, const char *name);
static void write_line(BdrConflict *conflict);
static char *value_text(BdrRelation *rel, TupleTableSlot *slot, int i);
static char *node_text(uint32 node);
static void write_row(BdrConflict *conflict, TupleTableSlot *applied);
static void fill_row(BdrConflict *conflict, TupleTableSlot *applied, HistoryRow *row);
static void fill_table(Oid relid, HistoryRow *row);
static void fill_local(BdrConflict *conflict, HistoryRow *row);
static void fill_version(const BdrVersion *version, HistoryRow *row);
static void fill_key(BdrConflict *conflict, HistoryRow *row);
static void fill_json(BdrConflict *conflict, TupleTableSlot *slot, int column, HistoryRow *row);
static bool row_json(BdrRelation *rel, TupleTableSlot *slot, Datum *json);
static Datum stored_columns(BdrRelation *rel, TupleTableSlot *slot);
static void become_owner(BdrRelation *rel, BdrRights *before);
static bool is_too_large(TupleTableSlot *slot);
static TupleTableSlot *key_slot(BdrRelation *rel, TupleTableSlot *from, const bool *columns);
static void store_row(HistoryRow *row);

/*
 * Tell about a conflict; applied is the row that was stored, if any.
 */
void
bdr_conflict_log(BdrConflict *conflict, TupleTableSlot *applied)
{
	if (conflict->rel->apply->peer.catch_up)
		return;
	if (config.lxid != bdr_local_xid())
		read_config();
	if (!is_chosen(conflict))
		return;
	if (config.to_file)
		write_line(conflict);
	if (config.to_table)
		write_row(conflict, applied);
}

/* ---------------------------------------------------------------------
 * What is logged, and where
 * ---------------------------------------------------------------------
 */
static void
read_config(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);

	memset(&config, 0, sizeof(config));
	read_node_config();
	config.lxid = bdr_local_xid();
	MemoryContextSwitchTo(old);
}

/*
 * Without a row everything goes to the table.
 */
static void
read_node_config(void)
{
	Relation	rel = bdr_catalog_open("node_log_config", AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	HeapTuple	tuple = systable_getnext(scan);
	bool		isnull;

	config.to_table = true;
	config.all_types = true;
	config.all_resolutions = true;
	if (HeapTupleIsValid(tuple))
	{
		config.to_file = DatumGetBool(heap_getattr(tuple, CONFIG_LOG_TO_FILE, RelationGetDescr(rel), &isnull));
		config.to_table = DatumGetBool(heap_getattr(tuple, CONFIG_LOG_TO_TABLE, RelationGetDescr(rel), &isnull));
		config.all_types = !read_names(rel, tuple, CONFIG_LOG_CONFLICT_TYPE, &config.types);
		config.all_resolutions = !read_names(rel, tuple, CONFIG_LOG_CONFLICT_RES, &config.resolutions);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/*
 * Returns false when the column is null: no restriction.
 */
static bool
read_names(Relation rel, HeapTuple tuple, int column, List **names)
{
	bool		isnull;
	Datum		array = heap_getattr(tuple, column, RelationGetDescr(rel), &isnull);
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	if (isnull)
		return false;
	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (!nulls[i])
			*names = lappend(*names, TextDatumGetCString(elements[i]));
	}
	return true;
}

static bool
is_chosen(const BdrConflict *conflict)
{
	return (config.all_types || names_contain(config.types, bdr_conflict_type_name(conflict->type))) &&
		(config.all_resolutions || names_contain(config.resolutions, conflict->resolution));
}

static bool
names_contain(const List *names, const char *name)
{
	ListCell   *lc;

	foreach(lc, names)
	{
		if (name != NULL && strcmp(lfirst(lc), name) == 0)
			return true;
	}
	return false;
}

/* ---------------------------------------------------------------------
 * The server log
 * ---------------------------------------------------------------------
 */
static void
write_line(BdrConflict *conflict)
{
	const BdrVersion *incoming = bdr_version_incoming();
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfo(&detail, "Key %s.", bdr_conflict_key_text(conflict));
	appendStringInfo(&detail, " The incoming version is transaction %u of %s, committed at %s.", conflict->rel->apply->xact.xid,
					 node_text(incoming->node), timestamptz_to_str(incoming->time));
	if (conflict->local != NULL && conflict->local_version.known)
		appendStringInfo(&detail, " The local version is transaction %u here, of %s, committed at %s.", conflict->local_xmin,
						 node_text(conflict->local_version.node), timestamptz_to_str(conflict->local_version.time));
	else if (conflict->local != NULL)
		appendStringInfo(&detail, " The local version is transaction %u here; its origin is not known.", conflict->local_xmin);
	else if (conflict->local_version.known)
		appendStringInfo(&detail, " The row that was here is gone; its last version is of %s, committed at %s.",
						 node_text(conflict->local_version.node), timestamptz_to_str(conflict->local_version.time));
	else
		appendStringInfoString(&detail, " There is no local version.");
	if (OidIsValid(conflict->index))
		appendStringInfo(&detail, " Index: \"%s\".", get_rel_name(conflict->index));
	appendStringInfo(&detail, " Rule: %s.", conflict->rule ? conflict->rule : "none");
	ereport(LOG,
			(errmsg("conflict of type %s on table \"%s.%s\", resolution %s",
					bdr_conflict_type_name(conflict->type), conflict->rel->schema, conflict->rel->name,
					conflict->resolution ? conflict->resolution : "none"),
			 errdetail_log("%s", detail.data)));
	pfree(detail.data);
}

/*
 * The key that the origin sent, or that of the incoming row, as in
 * PostgreSQL's own messages.
 */
char *
bdr_conflict_key_text(BdrConflict *conflict)
{
	BdrRelation *rel = conflict->rel;
	TupleTableSlot *from = conflict->key;
	const bool *columns = conflict->key_columns;
	StringInfoData names;
	StringInfoData values;

	if (from == NULL && rel->by_key.usable)
	{
		from = conflict->remote;
		columns = rel->by_key.compare;
	}
	if (from == NULL || columns == NULL)
		return "is not known";
	initStringInfo(&names);
	initStringInfo(&values);
	for (int i = 0; i < rel->desc->natts; i++)
	{
		if (!columns[i])
			continue;
		appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", NameStr(TupleDescAttr(rel->desc, i)->attname));
		appendStringInfo(&values, "%s%s", values.len > 0 ? ", " : "", value_text(rel, from, i));
	}
	return psprintf("(%s)=(%s)", names.data, values.data);
}

static char *
value_text(BdrRelation *rel, TupleTableSlot *slot, int i)
{
	Oid			output;
	bool		is_varlena;
	BdrRights	rights;
	char	   *text;

	if (slot->tts_isnull[i])
		return "null";
	getTypeOutputInfo(TupleDescAttr(rel->desc, i)->atttypid, &output, &is_varlena);
	become_owner(rel, &rights);
	text = OidOutputFunctionCall(output, slot->tts_values[i]);
	bdr_rights_restore(&rights);
	if (strlen(text) <= LOGGED_VALUE_BYTES_MAX)
		return text;
	return psprintf("%.*s...", pg_mbcliplen(text, strlen(text), LOGGED_VALUE_BYTES_MAX), text);
}

static char *
node_text(uint32 node)
{
	Relation	rel = bdr_catalog_open("node", AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	char	   *text = NULL;
	HeapTuple	tuple;

	while (text == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;

		if (DatumGetObjectId(heap_getattr(tuple, NODE_ID, RelationGetDescr(rel), &isnull)) == node)
			text = psprintf("node \"%s\"",
							NameStr(*DatumGetName(heap_getattr(tuple, NODE_NAME, RelationGetDescr(rel), &isnull))));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return text != NULL ? text : psprintf("node %u", node);
}

/* ---------------------------------------------------------------------
 * The table
 * ---------------------------------------------------------------------
 */
static void
write_row(BdrConflict *conflict, TupleTableSlot *applied)
{
	HistoryRow	row;

	memset(row.nulls, true, sizeof(row.nulls));
	fill_row(conflict, applied, &row);
	store_row(&row);
}

static void
set_value(int column, Datum value, HistoryRow *row)
{
	row->values[column] = value;
	row->nulls[column] = false;
}

static void
set_text(int column, const char *value, HistoryRow *row)
{
	if (value != NULL)
		set_value(column, CStringGetTextDatum(value), row);
}

static void
fill_row(BdrConflict *conflict, TupleTableSlot *applied, HistoryRow *row)
{
	const BdrApply *apply = conflict->rel->apply;
	const BdrVersion *incoming = bdr_version_incoming();
	BdrRelation *rel = conflict->rel;

	set_value(HISTORY_SUB_ID, ObjectIdGetDatum(apply->peer.subscription_id), row);
	set_value(HISTORY_ORIGIN_NODE_ID, ObjectIdGetDatum(incoming->node), row);
	set_value(HISTORY_LOCAL_XID, TransactionIdGetDatum(GetTopTransactionId()), row);
	set_value(HISTORY_LOCAL_LSN, LSNGetDatum(GetXLogInsertRecPtr()), row);
	set_value(HISTORY_LOCAL_TIME, TimestampTzGetDatum(GetCurrentTimestamp()), row);
	set_value(HISTORY_REMOTE_XID, TransactionIdGetDatum(apply->xact.xid), row);
	set_value(HISTORY_REMOTE_CHANGE_NR, ObjectIdGetDatum(apply->xact.change_nr), row);
	set_value(HISTORY_REMOTE_COMMIT_LSN, LSNGetDatum(apply->xact.commit_lsn), row);
	set_value(HISTORY_REMOTE_COMMIT_TIME, TimestampTzGetDatum(incoming->time), row);
	set_text(HISTORY_CONFLICT_TYPE, bdr_conflict_type_name(conflict->type), row);
	set_text(HISTORY_CONFLICT_RESOLUTION, conflict->resolution, row);
	set_text(HISTORY_CONFLICT_RULE, conflict->rule, row);
	fill_table(rel->local_relid, row);
	set_text(HISTORY_NSPNAME, rel->schema, row);
	set_text(HISTORY_RELNAME, rel->name, row);
	if (conflict->key != NULL)
		fill_key(conflict, row);
	fill_json(conflict, conflict->remote, HISTORY_REMOTE_TUPLE, row);
	fill_json(conflict, applied, HISTORY_APPLY_TUPLE, row);
	if (conflict->local != NULL)
		fill_local(conflict, row);
	fill_version(&conflict->local_version, row);
}

/*
 * The oid may be another table's one day.  Who made this one is told by its
 * first rows in the catalogs, and that of a system column does not change.
 */
static void
fill_table(Oid relid, HistoryRow *row)
{
	HeapTuple	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(relid), Int16GetDatum(MinCommandIdAttributeNumber));

	set_value(HISTORY_RELOID, ObjectIdGetDatum(relid), row);
	if (!HeapTupleIsValid(tuple))
		return;
	set_value(HISTORY_RELOID_XMIN, TransactionIdGetDatum(HeapTupleHeaderGetRawXmin(tuple->t_data)), row);
	ReleaseSysCache(tuple);
}

static void
fill_local(BdrConflict *conflict, HistoryRow *row)
{
	fill_json(conflict, conflict->local, HISTORY_LOCAL_TUPLE, row);
	if (OidIsValid(conflict->index))
		set_value(HISTORY_CONFLICT_INDEX, ObjectIdGetDatum(conflict->index), row);
	set_value(HISTORY_LOCAL_TUPLE_XMIN, TransactionIdGetDatum(conflict->local_xmin), row);
}

/*
 * Of the row that is here, or of the last one that was.
 */
static void
fill_version(const BdrVersion *version, HistoryRow *row)
{
	if (!version->known)
		return;
	set_value(HISTORY_LOCAL_TUPLE_NODE_ID, ObjectIdGetDatum(version->node), row);
	set_value(HISTORY_LOCAL_TUPLE_COMMIT_TIME, TimestampTzGetDatum(version->time), row);
}

static void
fill_key(BdrConflict *conflict, HistoryRow *row)
{
	TupleTableSlot *slot = key_slot(conflict->rel, conflict->key, conflict->key_columns);

	fill_json(conflict, slot, HISTORY_KEY_TUPLE, row);
	ExecDropSingleTupleTableSlot(slot);
}

static void
fill_json(BdrConflict *conflict, TupleTableSlot *slot, int column, HistoryRow *row)
{
	Datum		json;

	if (slot != NULL && !TTS_EMPTY(slot) && row_json(conflict->rel, slot, &json))
		set_value(column, json, row);
}

/*
 * The row as json: the same as row_to_json gives in SQL, but for virtual
 * columns.  Returns false when it is too large.
 */
static bool
row_json(BdrRelation *rel, TupleTableSlot *slot, Datum *json)
{
	BdrRights	rights;

	if (is_too_large(slot))
		return false;
	become_owner(rel, &rights);
	*json = DirectFunctionCall1(row_to_json, rel->has_virtual ? stored_columns(rel, slot) : ExecFetchSlotHeapTupleDatum(slot));
	bdr_rights_restore(&rights);
	return true;
}

/*
 * The row without its virtual columns.  Computing one may fail, for a row that
 * could be stored; that must not keep it from being applied.
 */
static Datum
stored_columns(BdrRelation *rel, TupleTableSlot *slot)
{
	TupleDesc	desc = CreateTupleDescCopy(rel->desc);

	for (int i = 0; i < desc->natts; i++)
	{
		TupleDescAttr(desc, i)->attisdropped |= bdr_is_virtual(TupleDescAttr(rel->desc, i));
		bdr_attribute_was_set(desc, i);
	}
	desc->tdtypeid = RECORDOID;
	desc->tdtypmod = -1;
	assign_record_type_typmod(desc);
	return HeapTupleGetDatum(heap_form_tuple(desc, slot->tts_values, slot->tts_isnull));
}

/*
 * An error in between is taken care of by the abort of the transaction.
 */
static void
become_owner(BdrRelation *rel, BdrRights *before)
{
	bdr_rights_take(OidIsValid(rel->owner) ? rel->owner : rel->rel->rd_rel->relowner, before);
}

static bool
is_too_large(TupleTableSlot *slot)
{
	TupleDesc	desc = slot->tts_tupleDescriptor;
	Size		size = 0;

	slot_getallattrs(slot);
	for (int i = 0; i < desc->natts; i++)
	{
		if (!slot->tts_isnull[i] && TupleDescAttr(desc, i)->attlen == -1)
			size += toast_raw_datum_size(slot->tts_values[i]);
	}
	return size > LOGGED_ROW_BYTES_MAX;
}

/*
 * Only these columns; the others are null.
 */
static TupleTableSlot *
key_slot(BdrRelation *rel, TupleTableSlot *from, const bool *columns)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(rel->desc, &TTSOpsVirtual);

	for (int i = 0; i < rel->desc->natts; i++)
	{
		slot->tts_values[i] = from->tts_values[i];
		slot->tts_isnull[i] = from->tts_isnull[i] || !columns[i];
	}
	return ExecStoreVirtualTuple(slot);
}

/*
 * A row of bdr.conflict_history.
 */
static void
store_row(HistoryRow *row)
{
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *result = makeNode(ResultRelInfo);
	Relation	history = bdr_catalog_open("conflict_history", RowExclusiveLock);
	TupleTableSlot *slot;

	if (RelationGetDescr(history)->natts != HISTORY_COLUMNS)
		elog(ERROR, "table \"%s\" has %d columns", RelationGetRelationName(history), RelationGetDescr(history)->natts);
	InitResultRelInfo(result, history, 0, NULL, 0);
	ExecOpenIndices(result, false);
	slot = MakeSingleTupleTableSlot(RelationGetDescr(history), &TTSOpsVirtual);
	memcpy(slot->tts_values, row->values, sizeof(row->values));
	memcpy(slot->tts_isnull, row->nulls, sizeof(row->nulls));
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(history);
	table_tuple_insert(history, slot, GetCurrentCommandId(true), 0, NULL);
	list_free(bdr_insert_new_index_tuples(result, slot, estate));
	ExecCloseIndices(result);
	ExecDropSingleTupleTableSlot(slot);
	FreeExecutorState(estate);
	table_close(history, NoLock);
}
