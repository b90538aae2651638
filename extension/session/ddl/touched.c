/*-------------------------------------------------------------------------
 * session/ddl/touched.c
 *		Is a statement about temporary objects?
 *
 * NOTES
 *		Objects that it makes, alters or drops come by the server's hook, and lie
 *		in a schema.  Comments, rights, triggers and the like of a relation do
 *		not come by it, or have no schema: the relation that the statement names
 *		counts.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_conversion.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_statistic_ext.h"
#include "catalog/pg_ts_config.h"
#include "catalog/pg_ts_dict.h"
#include "catalog/pg_type.h"
#include "nodes/parsenodes.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "session/ddl/touched.h"

static void note(BdrTouched *touched, Oid class, Oid object);
static bool has_schema(Oid class);
static void note_schema(BdrTouched *touched, Oid schema);
static void note_named(BdrTouched *touched, Node *statement);
static void note_relation(BdrTouched *touched, const RangeVar *name);
static void note_object(BdrTouched *touched, ObjectType type, Node *object);
static int	names_after_relation(ObjectType type);

void
bdr_touched_begin(BdrTouched *touched, Node *statement)
{
	memset(touched, 0, sizeof(*touched));
	touched->context = CurrentMemoryContext;
	note_named(touched, statement);
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

void
bdr_touched_end(BdrTouched *touched)
{
	ListCell   *lc;

	foreach(lc, touched->created)
	{
		ObjectAddress *address = lfirst(lc);

		note(touched, address->classId, address->objectId);
	}
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
	note_schema(touched, get_object_namespace(&address));
}

static void
note_schema(BdrTouched *touched, Oid schema)
{
	if (isAnyTempNamespace(schema))
		touched->temporary = true;
	else
		touched->permanent = true;
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
		note_schema(touched, get_rel_namespace(relid));
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
