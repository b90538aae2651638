/*-------------------------------------------------------------------------
 * session/replication_set.c
 *		Tables of replication sets: what may be put into one.
 *
 * NOTES
 *		The table is looked at here; the sets are the manager's, which has
 *		them agreed on by all nodes.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/sysattr.h"
#include "catalog/catalog.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

#include "base/row_filter.h"
#include "base/tables.h"
#include "session/request.h"
#include "bdr_compat.h"

PG_FUNCTION_INFO_V1(bdr_internal_replication_sets_changed);
PG_FUNCTION_INFO_V1(bdr_internal_check_row_filter);
PG_FUNCTION_INFO_V1(bdr_replication_set_add_table);
PG_FUNCTION_INFO_V1(bdr_replication_set_remove_table);

static Relation open_table(FunctionCallInfo fcinfo, const char *function);
static void check_table(Relation rel);
static const char *check_columns(Relation rel, ArrayType *columns);
static void warn_of_missing(Relation rel, Bitmapset *listed);
static const char *check_filter(Relation rel, const char *text, const char **outside);
static const char *deparse(Relation rel, Node *filter);
static Bitmapset *identity_of(Relation rel);

/* Output plugins hear of it where the change stands in WAL. */
Datum
bdr_internal_replication_sets_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"bdr.internal_replication_sets_changed\" was not called as a trigger")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	return PointerGetDatum(NULL);
}

/* For a join, which is about to read a table through its filter. */
Datum
bdr_internal_check_row_filter(PG_FUNCTION_ARGS)
{
	Relation	rel = relation_open(PG_GETARG_OID(0), AccessShareLock);
	Bitmapset  *columns;

	(void) bdr_row_filter_parse(rel, text_to_cstring(PG_GETARG_TEXT_PP(1)), &columns);
	relation_close(rel, NoLock);
	PG_RETURN_VOID();
}

Datum
bdr_replication_set_add_table(PG_FUNCTION_ARGS)
{
	Relation	rel = open_table(fcinfo, "replication_set_add_table");
	const char *args[6] = {0};

	check_table(rel);
	args[0] = get_namespace_name(RelationGetNamespace(rel));
	args[1] = pstrdup(RelationGetRelationName(rel));
	if (!PG_ARGISNULL(1))
		args[2] = NameStr(*PG_GETARG_NAME(1));
	if (!PG_ARGISNULL(2))
		args[3] = check_columns(rel, PG_GETARG_ARRAYTYPE_P(2));
	if (!PG_ARGISNULL(3))
		args[4] = check_filter(rel, text_to_cstring(PG_GETARG_TEXT_PP(3)), &args[5]);
	relation_close(rel, NoLock);
	bdr_request("replication_set_add_table", lengthof(args), args);
	PG_RETURN_VOID();
}

Datum
bdr_replication_set_remove_table(PG_FUNCTION_ARGS)
{
	Relation	rel = open_table(fcinfo, "replication_set_remove_table");
	const char *args[3] = {0};

	args[0] = get_namespace_name(RelationGetNamespace(rel));
	args[1] = pstrdup(RelationGetRelationName(rel));
	if (!PG_ARGISNULL(1))
		args[2] = NameStr(*PG_GETARG_NAME(1));
	relation_close(rel, NoLock);
	bdr_request("replication_set_remove_table", lengthof(args), args);
	PG_RETURN_VOID();
}

static Relation
open_table(FunctionCallInfo fcinfo, const char *function)
{
	bdr_require_superuser(function);
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("relation must not be NULL")));
	return relation_open(PG_GETARG_OID(0), AccessShareLock);
}

static void
check_table(Relation rel)
{
	if (rel->rd_rel->relkind != RELKIND_RELATION && rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", RelationGetRelationName(rel))));
	if (rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table \"%s\" is not permanent", RelationGetRelationName(rel)),
				 errdetail("Temporary and unlogged tables are not replicated.")));
	if (IsCatalogRelation(rel) || bdr_catalog_has(RelationGetRelid(rel)))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is a system table", RelationGetRelationName(rel))));
}

/*
 * The list in JSON.  A node could not find the rows without the replica identity.
 */
static const char *
check_columns(Relation rel, ArrayType *columns)
{
	Bitmapset  *missing = identity_of(rel);
	Bitmapset  *listed = NULL;
	Datum	   *names;
	bool	   *nulls;
	int			n;

	if (ARR_NDIM(columns) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("the column list of table \"%s\" has more than one dimension", RelationGetRelationName(rel))));
	deconstruct_array(columns, TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		char	   *name = nulls[i] ? "" : TextDatumGetCString(names[i]);
		AttrNumber	attnum = get_attnum(RelationGetRelid(rel), name);

		if (attnum <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of table \"%s\" does not exist", name, RelationGetRelationName(rel))));
		if (bms_is_member(attnum, listed))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("the column list of table \"%s\" names column \"%s\" twice", RelationGetRelationName(rel), name)));
		listed = bms_add_member(listed, attnum);
		missing = bms_del_member(missing, attnum);
	}
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the column list of table \"%s\" is empty", RelationGetRelationName(rel)),
				 errhint("NULL stands for all columns.")));
	if (!bms_is_empty(missing))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
				 errmsg("the column list of table \"%s\" lacks column \"%s\"", RelationGetRelationName(rel),
						get_attname(RelationGetRelid(rel), bms_next_member(missing, -1), false)),
				 errdetail("It is part of the replica identity.")));
	warn_of_missing(rel, listed);
	return text_to_cstring(DatumGetTextPP(DirectFunctionCall1(array_to_json, PointerGetDatum(columns))));
}

static void
warn_of_missing(Relation rel, Bitmapset *listed)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && att->attnotnull && !att->atthasdef && att->attidentity == '\0' &&
			!bms_is_member(att->attnum, listed))
			ereport(WARNING,
					(errmsg("the column list of table \"%s\" lacks column \"%s\"", RelationGetRelationName(rel), NameStr(att->attname)),
					 errdetail("It is NOT NULL and has no default: insertions fail on nodes whose table is the same.")));
	}
}

/*
 * The filter as every node reads it.  outside gets a column that is not part of the
 * replica identity, if there is one.  What fails whatever the row fails here.
 */
static const char *
check_filter(Relation rel, const char *text, const char **outside)
{
	Bitmapset  *columns;
	Node	   *filter = bdr_row_filter_parse(rel, text, &columns);
	int			attnum;

	(void) expression_planner((Expr *) copyObject(filter));
	columns = bms_del_members(columns, identity_of(rel));
	attnum = bms_next_member(columns, -1);
	if (attnum >= 0)
		*outside = get_attname(RelationGetRelid(rel), attnum, false);
	return deparse(rel, filter);
}

/*
 * Under the settings under which it will be read.
 */
static const char *
deparse(Relation rel, Node *filter)
{
	static const char *const settings[][2] = {
		{"DateStyle", "ISO, YMD"}, {"IntervalStyle", "postgres"}, {"TimeZone", "GMT"}, {"extra_float_digits", "3"},
		{"lc_monetary", "C"}, {"bytea_output", "hex"}, {"quote_all_identifiers", "off"}, {"search_path", ""}
	};
	int			level = NewGUCNestLevel();
	List	   *context = deparse_context_for(RelationGetRelationName(rel), RelationGetRelid(rel));
	const char *text;

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	text = deparse_expression(filter, context, false, false);
	AtEOXact_GUC(true, level);
	return text;
}

/* The numbers of its columns; of all with REPLICA IDENTITY FULL. */
static Bitmapset *
identity_of(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Bitmapset  *key = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_IDENTITY_KEY);
	Bitmapset  *numbers = NULL;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
			continue;
		if (bms_is_member(att->attnum - FirstLowInvalidHeapAttributeNumber, key) ||
			(rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL && att->attgenerated == '\0'))
			numbers = bms_add_member(numbers, att->attnum);
	}
	return numbers;
}
