/*-------------------------------------------------------------------------
 * session/ddl/touched.c
 *		Is a statement about temporary objects?
 *
 * NOTES
 *		The relations that a statement names say so, where it names any.  Of
 *		others the objects count that it makes, alters or drops: they come by the
 *		server's hook, and lie in a schema.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_conversion.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_statistic_ext.h"
#include "catalog/pg_ts_config.h"
#include "catalog/pg_ts_dict.h"
#include "catalog/pg_type.h"
#include "nodes/parsenodes.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "session/ddl/touched.h"

static void note(BdrTouched *touched, Oid class, Oid object);
static bool depends_on_temporary(Oid class, Oid object);
static bool has_schema(Oid class);
static void note_schema(BdrTemporality *found, Oid schema);
static void note_named(BdrTouched *touched, Node *statement);
static void note_relation(BdrTouched *touched, const RangeVar *name);
static void note_new(BdrTouched *touched, Node *statement);
static void note_object(BdrTouched *touched, ObjectType type, Node *object);
static int	names_after_relation(ObjectType type);

void
bdr_touched_begin(BdrTouched *touched, Node *statement)
{
	memset(touched, 0, sizeof(*touched));
	touched->context = CurrentMemoryContext;
	note_named(touched, statement);
	note_new(touched, statement);
}

/*
 * What the server does for itself, as with the transient table of REFRESH, is
 * not what the statement is about.
 */
void
bdr_touched_access(BdrTouched *touched, ObjectAccessType access, Oid class, Oid object, void *arg)
{
	MemoryContext old;
	ObjectAddress *address;

	if (!has_schema(class))
		return;
	switch (access)
	{
		case OAT_POST_CREATE:
			if (arg != NULL && ((ObjectAccessPostCreate *) arg)->is_internal)
				return;
			old = MemoryContextSwitchTo(touched->context);
			address = palloc(sizeof(ObjectAddress));
			ObjectAddressSet(*address, class, object);
			touched->created = lappend(touched->created, address);
			MemoryContextSwitchTo(old);
			break;
		case OAT_POST_ALTER:
			if (arg == NULL || !((ObjectAccessPostAlter *) arg)->is_internal)
				note(touched, class, object);
			break;
		case OAT_DROP:
			if (arg == NULL || !(((ObjectAccessDrop *) arg)->dropflags & PERFORM_DELETION_INTERNAL))
				note(touched, class, object);
			break;
		default:
			break;
	}
}

/*
 * What it names decides: a temporary table that inherits from it, or is dropped
 * with it, is not on other nodes.
 */
BdrTemporality
bdr_touched_end(BdrTouched *touched)
{
	ListCell   *lc;

	foreach(lc, touched->created)
	{
		ObjectAddress *address = lfirst(lc);

		note(touched, address->classId, address->objectId);
	}
	if (touched->named.temporary || touched->named.permanent)
		return touched->named;
	if (touched->found.permanent)
		touched->found.temporary = false;
	return touched->found;
}

bool
bdr_touched_is_temporary(const RangeVar *name)
{
	Oid			relid = RangeVarGetRelid(name, NoLock, true);

	return OidIsValid(relid) && isAnyTempNamespace(get_rel_namespace(relid));
}

bool
bdr_touched_makes_temporary(const RangeVar *name)
{
	return name->relpersistence == RELPERSISTENCE_TEMP ||
		(name->schemaname != NULL && strcmp(name->schemaname, "pg_temp") == 0);
}

List *
bdr_touched_permanent(const List *names)
{
	List	   *permanent = NIL;
	ListCell   *lc;

	foreach(lc, names)
	{
		if (!bdr_touched_is_temporary(makeRangeVarFromNameList(lfirst(lc))))
			permanent = lappend(permanent, lfirst(lc));
	}
	return permanent;
}

static bool
has_schema(Oid class)
{
	switch (class)
	{
		case RelationRelationId:
		case TypeRelationId:
		case ProcedureRelationId:
		case OperatorRelationId:
		case OperatorClassRelationId:
		case OperatorFamilyRelationId:
		case CollationRelationId:
		case ConversionRelationId:
		case StatisticExtRelationId:
		case TSConfigRelationId:
		case TSDictionaryRelationId:
			return true;
		default:
			return false;
	}
}

/* One that is gone again does not count. */
static void
note(BdrTouched *touched, Oid class, Oid object)
{
	ObjectAddress address;

	if (!SearchSysCacheExists1(get_object_catcache_oid(class), ObjectIdGetDatum(object)))
		return;
	ObjectAddressSet(address, class, object);
	if (class != RelationRelationId && depends_on_temporary(class, object))
		touched->found.temporary = true;
	else
		note_schema(&touched->found, get_object_namespace(&address));
}

/*
 * A function whose result is a row of a temporary table is gone with that table.
 */
static bool
depends_on_temporary(Oid class, Oid object)
{
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&keys[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(class));
	ScanKeyInit(&keys[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object));
	scan = systable_beginscan(depend, DependDependerIndexId, true, NULL, 2, keys);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend row = (Form_pg_depend) GETSTRUCT(tuple);
		ObjectAddress referenced;

		ObjectAddressSet(referenced, row->refclassid, row->refobjid);
		if (row->deptype == DEPENDENCY_INTERNAL && row->refclassid == TypeRelationId)
			found = depends_on_temporary(row->refclassid, row->refobjid);	/* an array's element */
		else
			found = has_schema(row->refclassid) &&
				SearchSysCacheExists1(get_object_catcache_oid(row->refclassid), ObjectIdGetDatum(row->refobjid)) &&
				isAnyTempNamespace(get_object_namespace(&referenced));
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return found;
}

static void
note_schema(BdrTemporality *found, Oid schema)
{
	if (isAnyTempNamespace(schema))
		found->temporary = true;
	else
		found->permanent = true;
}

/* ---------------------------------------------------------------------
 * Relations that a statement names
 * ---------------------------------------------------------------------
 */
static void
note_named(BdrTouched *touched, Node *statement)
{
	ListCell   *lc;

	switch (nodeTag(statement))
	{
		case T_AlterTableStmt:
			note_relation(touched, ((AlterTableStmt *) statement)->relation);
			break;
		case T_RenameStmt:
			note_relation(touched, ((RenameStmt *) statement)->relation);
			break;
		case T_AlterObjectSchemaStmt:
			note_relation(touched, ((AlterObjectSchemaStmt *) statement)->relation);
			break;
		case T_AlterObjectDependsStmt:
			note_relation(touched, ((AlterObjectDependsStmt *) statement)->relation);
			break;
		case T_IndexStmt:
			note_relation(touched, ((IndexStmt *) statement)->relation);
			break;
		case T_CreateTrigStmt:
			note_relation(touched, ((CreateTrigStmt *) statement)->relation);
			break;
		case T_RuleStmt:
			note_relation(touched, ((RuleStmt *) statement)->relation);
			break;
		case T_CreatePolicyStmt:
			note_relation(touched, ((CreatePolicyStmt *) statement)->table);
			break;
		case T_AlterPolicyStmt:
			note_relation(touched, ((AlterPolicyStmt *) statement)->table);
			break;
		case T_CommentStmt:
			note_object(touched, ((CommentStmt *) statement)->objtype, ((CommentStmt *) statement)->object);
			break;
		case T_SecLabelStmt:
			note_object(touched, ((SecLabelStmt *) statement)->objtype, ((SecLabelStmt *) statement)->object);
			break;
		case T_DropStmt:
			foreach(lc, ((DropStmt *) statement)->objects)
				note_object(touched, ((DropStmt *) statement)->removeType, lfirst(lc));
			break;
		case T_GrantStmt:
			foreach(lc, ((GrantStmt *) statement)->objects)
			{
				if (IsA(lfirst(lc), RangeVar))
					note_relation(touched, lfirst(lc));
			}
			break;
		default:
			break;
	}
}

static void
note_relation(BdrTouched *touched, const RangeVar *name)
{
	Oid			relid = name != NULL ? RangeVarGetRelid(name, NoLock, true) : InvalidOid;

	if (OidIsValid(relid))
		note_schema(&touched->named, get_rel_namespace(relid));
}

/* What it makes; where a permanent one is to be is not known yet. */
static void
note_new(BdrTouched *touched, Node *statement)
{
	const RangeVar *name = NULL;

	if (IsA(statement, CreateStmt))
		name = ((CreateStmt *) statement)->relation;
	else if (IsA(statement, CreateSeqStmt))
		name = ((CreateSeqStmt *) statement)->sequence;
	else if (IsA(statement, ViewStmt))
		name = ((ViewStmt *) statement)->view;
	if (name != NULL && bdr_touched_makes_temporary(name))
		touched->named.temporary = true;
}

/* The relation that an object belongs to, or is. */
static void
note_object(BdrTouched *touched, ObjectType type, Node *object)
{
	int			after = names_after_relation(type);
	List	   *names;

	if (after < 0 || !IsA(object, List) || list_length((List *) object) <= after)
		return;
	names = list_truncate(list_copy((List *) object), list_length((List *) object) - after);
	if (list_length(names) <= 3)
		note_relation(touched, makeRangeVarFromNameList(names));
}

static int
names_after_relation(ObjectType type)
{
	switch (type)
	{
		case OBJECT_TABLE:
		case OBJECT_SEQUENCE:
		case OBJECT_VIEW:
		case OBJECT_MATVIEW:
		case OBJECT_INDEX:
		case OBJECT_FOREIGN_TABLE:
			return 0;
		case OBJECT_COLUMN:
		case OBJECT_TRIGGER:
		case OBJECT_RULE:
		case OBJECT_POLICY:
		case OBJECT_TABCONSTRAINT:
			return 1;
		default:
			return -1;
	}
}
