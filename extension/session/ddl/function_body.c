/*-------------------------------------------------------------------------
 * session/ddl/function_body.c
 *		Functions that cannot be called where rows are applied.
 *
 * NOTES
 *		What an index, a check or a generated column calls runs in a writer, with
 *		search_path = pg_catalog.  A body of language SQL is a text in which names
 *		without a schema are looked up each time; it is looked through here as it
 *		would be there.  Nobody can know that of other languages, which take their
 *		bodies apart while they run.
 *
 *		Which functions an object calls stands in pg_depend, before it can be seen.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "session/ddl/function_body.h"

/* A row of a catalog, as this command has left it. */
typedef struct Found
{
	Relation	catalog;
	SysScanDesc scan;
	HeapTuple	tuple;			/* invalid: there is none */
} Found;

static Found find(Oid catalog, Oid index, int nkeys, ScanKey keys);
static void end(Found *found);
static Oid	caller_of(Oid class, Oid object, int sub);
static bool is_lasting_index(Oid relid);
static bool is_lasting_constraint(Oid constraint);
static Oid	generated_by(Oid relid, int column);
static bool is_generated(Oid relid, int column);
static void check_called(Oid class, Oid object);
static void check(Oid function);
static bool is_looked_up(HeapTuple function);
static bool sets_search_path(HeapTuple function);
static void validate(Oid function);
static void refuse(Oid function, MemoryContext context);

/*
 * What is made anew for a statement about something else was looked at before.
 */
void
bdr_function_body_check(ObjectAccessType access, Oid class, Oid object, int sub, void *arg)
{
	Oid			caller;

	if (access != OAT_POST_CREATE || (arg != NULL && ((ObjectAccessPostCreate *) arg)->is_internal))
		return;
	caller = caller_of(class, object, sub);
	if (OidIsValid(caller))
		check_called(class, caller);
}

/* The object that has the expression; InvalidOid: it has none that a writer runs. */
static Oid
caller_of(Oid class, Oid object, int sub)
{
	switch (class)
	{
		case RelationRelationId:
			return sub == 0 && is_lasting_index(object) ? object : InvalidOid;
		case ConstraintRelationId:
			return is_lasting_constraint(object) ? object : InvalidOid;
		case AttrDefaultRelationId:
			return get_rel_persistence(object) != RELPERSISTENCE_TEMP && is_generated(object, sub) ?
				generated_by(object, sub) : InvalidOid;
		default:
			return InvalidOid;
	}
}

static bool
is_lasting_index(Oid relid)
{
	Relation	rel = RelationIdGetRelation(relid);
	bool		is_lasting = RelationIsValid(rel) && rel->rd_rel->relpersistence != RELPERSISTENCE_TEMP &&
		(rel->rd_rel->relkind == RELKIND_INDEX || rel->rd_rel->relkind == RELKIND_PARTITIONED_INDEX);

	if (RelationIsValid(rel))
		RelationClose(rel);
	return is_lasting;
}

/* Of a domain, too. */
static bool
is_lasting_constraint(Oid constraint)
{
	ScanKeyData key;
	Found		found;
	bool		is_lasting = false;

	ScanKeyInit(&key, Anum_pg_constraint_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(constraint));
	found = find(ConstraintRelationId, ConstraintOidIndexId, 1, &key);
	if (HeapTupleIsValid(found.tuple))
	{
		Form_pg_constraint form = (Form_pg_constraint) GETSTRUCT(found.tuple);
		Relation	rel = OidIsValid(form->conrelid) ? RelationIdGetRelation(form->conrelid) : NULL;

		is_lasting = form->contype == CONSTRAINT_CHECK &&
			(rel == NULL || rel->rd_rel->relpersistence != RELPERSISTENCE_TEMP);
		if (rel != NULL)
			RelationClose(rel);
	}
	end(&found);
	return is_lasting;
}

static bool
is_generated(Oid relid, int column)
{
	ScanKeyData keys[2];
	Found		found;
	bool		is_generated;

	ScanKeyInit(&keys[0], Anum_pg_attribute_attrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	ScanKeyInit(&keys[1], Anum_pg_attribute_attnum, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(column));
	found = find(AttributeRelationId, AttributeRelidNumIndexId, 2, keys);
	is_generated = HeapTupleIsValid(found.tuple) && ((Form_pg_attribute) GETSTRUCT(found.tuple))->attgenerated != '\0';
	end(&found);
	return is_generated;
}

static Oid
generated_by(Oid relid, int column)
{
	ScanKeyData keys[2];
	Found		found;
	Oid			expression;

	ScanKeyInit(&keys[0], Anum_pg_attrdef_adrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	ScanKeyInit(&keys[1], Anum_pg_attrdef_adnum, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(column));
	found = find(AttrDefaultRelationId, AttrDefaultIndexId, 2, keys);
	expression = HeapTupleIsValid(found.tuple) ? ((Form_pg_attrdef) GETSTRUCT(found.tuple))->oid : InvalidOid;
	end(&found);
	return expression;
}

static void
check_called(Oid class, Oid object)
{
	ScanKeyData keys[2];
	Found		found;

	ScanKeyInit(&keys[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(class));
	ScanKeyInit(&keys[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object));
	found = find(DependRelationId, DependDependerIndexId, 2, keys);
	for (; HeapTupleIsValid(found.tuple); found.tuple = systable_getnext(found.scan))
	{
		Form_pg_depend depend = (Form_pg_depend) GETSTRUCT(found.tuple);

		if (depend->refclassid == ProcedureRelationId)
			check(depend->refobjid);
	}
	end(&found);
}

static Found
find(Oid catalog, Oid index, int nkeys, ScanKey keys)
{
	Found		found;

	found.catalog = table_open(catalog, AccessShareLock);
	found.scan = systable_beginscan(found.catalog, index, true, SnapshotSelf, nkeys, keys);
	found.tuple = systable_getnext(found.scan);
	return found;
}

static void
end(Found *found)
{
	systable_endscan(found->scan);
	table_close(found->catalog, AccessShareLock);
}

/* ---------------------------------------------------------------------
 * A function
 * ---------------------------------------------------------------------
 */
static void
check(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	bool		has_names;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	has_names = is_looked_up(tuple);
	ReleaseSysCache(tuple);
	if (has_names)
		validate(function);
}

/* Are names in its body looked up as the session says? */
static bool
is_looked_up(HeapTuple function)
{
	return ((Form_pg_proc) GETSTRUCT(function))->prolang == SQLlanguageId &&
		heap_attisnull(function, Anum_pg_proc_prosqlbody, NULL) && !sets_search_path(function);
}

static bool
sets_search_path(HeapTuple function)
{
	const char *prefix = "search_path=";
	bool		isnull;
	Datum		settings = SysCacheGetAttr(PROCOID, function, Anum_pg_proc_proconfig, &isnull);
	Datum	   *texts;
	int			ntexts;

	if (isnull)
		return false;
	deconstruct_array(DatumGetArrayTypeP(settings), TEXTOID, -1, false, TYPALIGN_INT, &texts, NULL, &ntexts);
	for (int i = 0; i < ntexts; i++)
	{
		if (strncmp(TextDatumGetCString(texts[i]), prefix, strlen(prefix)) == 0)
			return true;
	}
	return false;
}

/*
 * What the server asks of a new function, where all names are looked up as a writer
 * would.
 */
static void
validate(Oid function)
{
	MemoryContext context = CurrentMemoryContext;
	int			nest_level = NewGUCNestLevel();

	(void) set_config_option("search_path", "pg_catalog", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("check_function_bodies", "on", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	PG_TRY();
	{
		OidFunctionCall1(F_FMGR_SQL_VALIDATOR, ObjectIdGetDatum(function));
	}
	PG_CATCH();
	{
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION)
			PG_RE_THROW();
		refuse(function, context);
	}
	PG_END_TRY();
	AtEOXact_GUC(true, nest_level);
}

static void
refuse(Oid function, MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("function %s cannot be called where rows are applied", format_procedure_qualified(function)),
			 errdetail("Other nodes would call it with search_path = pg_catalog: %s.", error->message),
			 errhint("Name what it uses with its schema, or use ALTER FUNCTION ... SET search_path.")));
}
