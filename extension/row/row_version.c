/*-------------------------------------------------------------------------
 * row/row_version.c
 *		Row versions: a column that every local UPDATE increments, by which a
 *		node sees that a change was made upon another row than it has.
 *
 * NOTES
 *		docs/decisions/0010-row-versions.md.  The trigger that increments the
 *		column is all there is to remember that a table has row versions, so
 *		that a copy of the table has them, too.
 *
 *		It fires for users only: a writer stores the number that the origin
 *		gave.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/bdr.h"
#include "base/tables.h"
#include "row/row_version.h"
#include "bdr_compat.h"

/* After all others that fire before an update. */
#define TRIGGER_NAME			"zzzz_bdr_row_version"
#define TRIGGER_FUNCTION		"internal_row_version"
#define DEFAULT_COLUMN			"row_version"

/* Second argument of the trigger: whose the column is. */
#define COLUMN_ADDED			"added"
#define COLUMN_GIVEN			"given"

PG_FUNCTION_INFO_V1(bdr_alter_table_conflict_detection);
PG_FUNCTION_INFO_V1(bdr_internal_row_version);

static int64 increment(int64 number, Oid type, int by);
static int64 get_number(Datum value, Oid type);
static Trigger *find_trigger(Relation rel);
static Oid	trigger_function(void);
static void check_owner(Oid relid);
static void check_table(Relation rel);
static bool wants_row_version(const char *method);
static bool start(Relation rel, const char *column);
static bool stop(Relation rel);
static bool has_column(Relation rel, const char *column);
static void run(const char *fmt,...) pg_attribute_printf(1, 2);
static void tie_to_column(Oid relid, const char *column);

/* ---------------------------------------------------------------------
 * The writer
 * ---------------------------------------------------------------------
 */

/*
 * Find the column of a table that is being mapped.
 */
void
bdr_row_version_describe(BdrRelation *rel, Relation local)
{
	Trigger    *trigger = local->trigdesc != NULL ? find_trigger(local) : NULL;

	rel->row_version = InvalidAttrNumber;
	if (trigger == NULL || trigger->tgenabled == TRIGGER_DISABLED)
		return;
	for (int i = 0; i < rel->desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(rel->desc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), trigger->tgargs[0]) == 0 &&
			rel->supplied[i] && (att->atttypid == INT4OID || att->atttypid == INT8OID))
			rel->row_version = i + 1;
	}
}

/*
 * Was the change made upon another row than this one?  Its origin sends the
 * old row or not; an UPDATE adds one.
 */
bool
bdr_row_version_differs(BdrUpdate *update, BdrRelation *rel, TupleTableSlot *local)
{
	BdrRelation *sent = update->rel;
	bool		is_whole = update->lookup == &sent->by_row;
	TupleTableSlot *slot = is_whole ? update->key : update->row;
	int			i = sent->row_version - 1;
	bool		isnull;
	Datum		here;
	int64		there;
	Oid			type;

	if (rel->row_version == InvalidAttrNumber || i < 0 || slot == NULL || rel->apply->peer.trusted)
		return false;
	here = slot_getattr(local, rel->row_version, &isnull);
	if (isnull || slot->tts_isnull[i])
		return false;
	type = TupleDescAttr(sent->desc, i)->atttypid;
	there = get_number(slot->tts_values[i], type);
	if (!is_whole)
		there = increment(there, type, -1);
	return there != get_number(here, TupleDescAttr(rel->desc, rel->row_version - 1)->atttypid);
}

/*
 * After the largest number comes the smallest.
 */
static int64
increment(int64 number, Oid type, int by)
{
	if (type == INT4OID)
		return (int32) ((uint32) number + (uint32) by);
	return (int64) ((uint64) number + (uint64) by);
}

static int64
get_number(Datum value, Oid type)
{
	return type == INT4OID ? (int64) DatumGetInt32(value) : DatumGetInt64(value);
}

static Trigger *
find_trigger(Relation rel)
{
	Oid			function = InvalidOid;

	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];

		if (trigger->tgnargs != 2)
			continue;
		if (!OidIsValid(function))
			function = trigger_function();
		if (trigger->tgfoid == function)
			return trigger;
	}
	return NULL;
}

static Oid
trigger_function(void)
{
	return bdr_catalog_function(TRIGGER_FUNCTION);
}

/* ---------------------------------------------------------------------
 * The trigger
 * ---------------------------------------------------------------------
 */
Datum
bdr_internal_row_version(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	int			column;
	Oid			type;
	bool		isnull;
	Datum		value;
	int64		number = 1;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(data->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(data->tg_event) || !TRIGGER_FIRED_BY_UPDATE(data->tg_event) ||
		data->tg_trigger->tgnargs != 2)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"bdr.internal_row_version\" was not called by a trigger of bdr.alter_table_conflict_detection")));
	if (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA)
		return PointerGetDatum(data->tg_newtuple);
	desc = RelationGetDescr(data->tg_relation);
	column = SPI_fnumber(desc, data->tg_trigger->tgargs[0]);
	type = column > 0 ? TupleDescAttr(desc, column - 1)->atttypid : InvalidOid;
	if (type != INT4OID && type != INT8OID)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table \"%s\" has no column \"%s\" of type integer or bigint for its row versions",
						RelationGetRelationName(data->tg_relation), data->tg_trigger->tgargs[0]),
				 errhint("Call bdr.alter_table_conflict_detection(relation, 'row_origin'), and then with another column.")));
	value = heap_getattr(data->tg_trigtuple, column, desc, &isnull);
	if (!isnull)
		number = increment(get_number(value, type), type, 1);
	value = type == INT4OID ? Int32GetDatum((int32) number) : Int64GetDatum(number);
	isnull = false;
	return PointerGetDatum(heap_modify_tuple_by_cols(data->tg_newtuple, desc, 1, &column, &value, &isnull));
}

/* ---------------------------------------------------------------------
 * The function
 * ---------------------------------------------------------------------
 */

/*
 * bdr.alter_table_conflict_detection(relation, method, column_name): false
 * when the table has this method already.
 */
Datum
bdr_alter_table_conflict_detection(PG_FUNCTION_ARGS)
{
	Relation	rel;
	bool		wanted;
	bool		changed;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("relation and method cannot be NULL")));
	wanted = wants_row_version(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	/* who does not own it must not hold up those who use it, either */
	check_owner(PG_GETARG_OID(0));
	rel = table_open(PG_GETARG_OID(0), ShareRowExclusiveLock);
	check_table(rel);
	if (wanted)
		changed = start(rel, PG_ARGISNULL(2) ? NULL : NameStr(*PG_GETARG_NAME(2)));
	else
		changed = stop(rel);
	PG_RETURN_BOOL(changed);
}

static bool
wants_row_version(const char *method)
{
	if (strcmp(method, "row_version") == 0 || strcmp(method, "row_origin") == 0)
		return strcmp(method, "row_version") == 0;
	if (strcmp(method, "column_commit_timestamp") == 0 || strcmp(method, "column_modify_timestamp") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("conflict detection method \"%s\" is not supported yet", method),
				 errdetail("Conflicts are not resolved column by column."),
				 errhint("Supported methods are \"row_origin\" and \"row_version\".")));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("conflict detection method \"%s\" does not exist", method),
			 errhint("Methods are \"row_origin\" and \"row_version\".")));
}

static void
check_owner(Oid relid)
{
	if (!bdr_owns_relation(relid))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(get_rel_relkind(relid)), get_rel_name(relid));
}

static void
check_table(Relation rel)
{
	const char *schema = get_namespace_name(RelationGetNamespace(rel));
	char		relkind = rel->rd_rel->relkind;

	check_owner(RelationGetRelid(rel));
	if ((relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE) ||
		rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT || IsCatalogRelation(rel) ||
		strcmp(schema, BDR_SCHEMA) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("relation \"%s.%s\" is not replicated", schema, RelationGetRelationName(rel)),
				 errhint("Only permanent tables of users have conflicts.")));
	if (rel->rd_rel->relispartition)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table \"%s.%s\" is a partition", schema, RelationGetRelationName(rel)),
				 errhint("Call the function for the partitioned table.")));
}

/*
 * Closes rel.
 */
static bool
start(Relation rel, const char *column)
{
	Oid			relid = RelationGetRelid(rel);
	char	   *table = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
												   RelationGetRelationName(rel));
	Trigger    *trigger = find_trigger(rel);
	bool		is_there;

	if (trigger != NULL)
	{
		if (column != NULL && strcmp(column, trigger->tgargs[0]) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("table %s already has its row versions in column \"%s\"", table, trigger->tgargs[0]),
					 errhint("Call bdr.alter_table_conflict_detection(relation, 'row_origin') first.")));
		table_close(rel, NoLock);
		return false;
	}
	if (column == NULL)
		column = DEFAULT_COLUMN;
	is_there = has_column(rel, column);
	table_close(rel, NoLock);
	if (!is_there)
		run("ALTER TABLE %s ADD COLUMN %s pg_catalog.int4 NOT NULL DEFAULT 1", table, quote_identifier(column));
	run("CREATE TRIGGER %s BEFORE UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION %s.%s(%s, '%s')",
		TRIGGER_NAME, table, BDR_SCHEMA, TRIGGER_FUNCTION, quote_literal_cstr(column),
		is_there ? COLUMN_GIVEN : COLUMN_ADDED);
	tie_to_column(relid, column);
	return true;
}

static bool
has_column(Relation rel, const char *column)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), column);
	Form_pg_attribute att;

	if (attnum == InvalidAttrNumber)
		return false;
	att = attnum > 0 ? TupleDescAttr(RelationGetDescr(rel), attnum - 1) : NULL;
	if (att == NULL || att->attgenerated || (att->atttypid != INT4OID && att->atttypid != INT8OID))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table \"%s\" cannot hold row versions", column, RelationGetRelationName(rel)),
				 errhint("It must be an ordinary column of type integer or bigint; one that does not exist is added.")));
	return true;
}

/*
 * Closes rel.  A column that start added goes as well.
 */
static bool
stop(Relation rel)
{
	char	   *table = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
												   RelationGetRelationName(rel));
	Trigger    *trigger = find_trigger(rel);
	char	   *name;
	char	   *column;
	bool		was_added;

	if (trigger == NULL)
	{
		table_close(rel, NoLock);
		return false;
	}
	name = pstrdup(trigger->tgname);
	column = pstrdup(trigger->tgargs[0]);
	was_added = strcmp(trigger->tgargs[1], COLUMN_ADDED) == 0;
	table_close(rel, NoLock);
	run("DROP TRIGGER %s ON %s", quote_identifier(name), table);
	if (was_added)
		run("ALTER TABLE %s DROP COLUMN IF EXISTS %s", table, quote_identifier(column));
	return true;
}

/*
 * DDL with the rights of the caller, on this node only: our functions are called
 * on each.
 */
static void
run(const char *fmt,...)
{
	StringInfoData sql;
	int			nest_level = NewGUCNestLevel();
	int			needed;

	initStringInfo(&sql);
	do
	{
		va_list		args;

		va_start(args, fmt);
		needed = appendStringInfoVA(&sql, fmt, args);
		va_end(args);
		if (needed > 0)
			enlargeStringInfo(&sql, needed);
	} while (needed > 0);
	(void) set_config_option("bdr.ddl_replication", "off", PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	SPI_connect();
	if (SPI_execute(sql.data, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not run \"%s\"", sql.data);
	SPI_finish();
	AtEOXact_GUC(false, nest_level);
}

/*
 * Who drops the column drops the trigger.
 */
static void
tie_to_column(Oid relid, const char *column)
{
	ObjectAddress trigger;
	ObjectAddress attribute;

	ObjectAddressSet(trigger, TriggerRelationId, get_trigger_oid(relid, TRIGGER_NAME, false));
	ObjectAddressSubSet(attribute, RelationRelationId, relid, get_attnum(relid, column));
	recordDependencyOn(&trigger, &attribute, DEPENDENCY_AUTO);
}
