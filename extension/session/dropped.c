/*-------------------------------------------------------------------------
 * session/dropped.c
 *		Notes which tables are dropped, for resolver skip_if_recently_dropped.
 *
 * NOTES
 *		The note commits and rolls back with the DROP.  It is only ever added
 *		here: to take old ones away would make one DROP wait for another.  The
 *		manager does that.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/bdr.h"
#include "base/hooks.h"
#include "base/tables.h"
#include "base/user_context.h"
#include "session/dropped.h"

static void watch(ObjectAccessType access, Oid classId, Oid objectId, int subId, void *arg);
static bool is_worth_noting(Oid relid);
static void note(Oid relid);

void
bdr_dropped_init(void)
{
	bdr_hooks_on_access(watch);
}

/*
 * What PostgreSQL drops for itself, such as the old file of a table that was
 * rewritten, is no matter of users.
 */
static void
watch(ObjectAccessType access, Oid classId, Oid objectId, int subId, void *arg)
{
	if (access == OAT_DROP && classId == RelationRelationId && subId == 0 && !IsBinaryUpgrade &&
		(((ObjectAccessDrop *) arg)->dropflags & PERFORM_DELETION_INTERNAL) == 0 && is_worth_noting(objectId))
		note(objectId);
}

/*
 * A permanent table, in a database with the extension.
 */
static bool
is_worth_noting(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool		is_table = false;

	if (HeapTupleIsValid(tuple))
	{
		Form_pg_class class = (Form_pg_class) GETSTRUCT(tuple);

		is_table = (class->relkind == RELKIND_RELATION || class->relkind == RELKIND_PARTITIONED_TABLE) &&
			class->relpersistence == RELPERSISTENCE_PERMANENT &&
			class->relnamespace != get_namespace_oid(BDR_SCHEMA, true);
		ReleaseSysCache(tuple);
	}
	return is_table && OidIsValid(bdr_catalog_relation("dropped_table"));
}

static void
note(Oid relid)
{
	Relation	catalog = bdr_catalog_open("dropped_table", RowExclusiveLock);
	Datum		values[DROPPED_COLUMNS];
	bool		nulls[DROPPED_COLUMNS] = {0};
	Oid			owner = bdr_owner_of(relid);
	NameData	schema;
	NameData	name;
	NameData	owner_name;

	namestrcpy(&owner_name, GetUserNameFromId(owner, false));
	namestrcpy(&schema, get_namespace_name(get_rel_namespace(relid)));
	namestrcpy(&name, get_rel_name(relid));
	values[DROPPED_NSPNAME - 1] = NameGetDatum(&schema);
	values[DROPPED_RELNAME - 1] = NameGetDatum(&name);
	values[DROPPED_TIME - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[DROPPED_OWNER - 1] = NameGetDatum(&owner_name);
	values[DROPPED_OWNER_SUPERUSER - 1] = BoolGetDatum(superuser_arg(owner));
	CatalogTupleInsert(catalog, heap_form_tuple(RelationGetDescr(catalog), values, nulls));
	table_close(catalog, NoLock);
}
