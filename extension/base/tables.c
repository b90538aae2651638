/*-------------------------------------------------------------------------
 * base/tables.c
 *		Tables, indexes and functions of the extension; base/tables.h says
 *		what counts as one.
 *
 * NOTES
 *		What was found is kept until the relation changes.  What was not is
 *		looked for again: that ends at the name of the schema, where there is
 *		no extension.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "commands/extension.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/bdr.h"
#include "base/tables.h"

typedef struct Known
{
	NameData	name;			/* hash key */
	Oid			oid;
	uint32		hash;			/* of the oid, as invalidations have it */
} Known;

static HTAB *relations = NULL;
static HTAB *functions = NULL;	/* those that were found; forgotten together */

static Oid	find_relation(const char *name);
static bool is_member(Oid classid, Oid objid);
static Oid	find_function(const char *name);
static void init_cache(void);
static void init_functions(void);
static void functions_changed(Datum arg, int cache, uint32 hash);
static void relation_changed(Datum arg, int cache, uint32 hash);

Oid
bdr_catalog_extension(void)
{
	return get_extension_oid(BDR_EXTENSION, true);
}

Oid
bdr_catalog_relation(const char *name)
{
	NameData	key;
	Known	   *known;
	Oid			oid;

	if (relations == NULL)
		init_cache();
	namestrcpy(&key, name);
	known = hash_search(relations, &key, HASH_FIND, NULL);
	if (known != NULL)
		return known->oid;
	oid = find_relation(name);
	if (OidIsValid(oid))
	{
		known = hash_search(relations, &key, HASH_ENTER, NULL);
		known->oid = oid;
		known->hash = GetSysCacheHashValue1(RELOID, ObjectIdGetDatum(oid));
	}
	return oid;
}

static Oid
find_relation(const char *name)
{
	Oid			schema = get_namespace_oid(BDR_SCHEMA, true);
	Oid			oid = OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;

	return OidIsValid(oid) && bdr_catalog_has(oid) ? oid : InvalidOid;
}

/*
 * An index belongs to the extension as its table does.
 */
bool
bdr_catalog_has(Oid relid)
{
	Oid			table = get_rel_relkind(relid) == RELKIND_INDEX ? IndexGetRelation(relid, true) : relid;

	return OidIsValid(table) && is_member(RelationRelationId, table);
}

static bool
is_member(Oid classid, Oid objid)
{
	Oid			extension = bdr_catalog_extension();

	return OidIsValid(extension) && getExtensionOfObject(classid, objid) == extension;
}

Relation
bdr_catalog_open(const char *name, LOCKMODE lockmode)
{
	Oid			oid = bdr_catalog_relation(name);

	if (!OidIsValid(oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s.%s\" of extension \"%s\" does not exist", BDR_SCHEMA, name, BDR_EXTENSION)));
	return table_open(oid, lockmode);
}

Oid
bdr_catalog_function(const char *name)
{
	NameData	key;
	Known	   *known;
	Oid			oid;

	if (functions == NULL)
		init_functions();
	namestrcpy(&key, name);
	known = hash_search(functions, &key, HASH_FIND, NULL);
	if (known != NULL)
		return known->oid;
	oid = find_function(name);
	if (OidIsValid(oid))
	{
		known = hash_search(functions, &key, HASH_ENTER, NULL);
		known->oid = oid;
	}
	return oid;
}

static Oid
find_function(const char *name)
{
	Oid			schema = get_namespace_oid(BDR_SCHEMA, true);
	Oid			found = InvalidOid;
	CatCList   *list;

	if (!OidIsValid(schema))
		return InvalidOid;
	list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(name));
	for (int i = 0; i < list->n_members && !OidIsValid(found); i++)
	{
		Form_pg_proc function = (Form_pg_proc) GETSTRUCT(&list->members[i]->tuple);

		if (function->pronamespace == schema && is_member(ProcedureRelationId, function->oid))
			found = function->oid;
	}
	ReleaseSysCacheList(list);
	return found;
}

/*
 * DROP EXTENSION takes this lock before anything is gone.
 */
void
bdr_catalog_require(void)
{
	Oid			extension = bdr_catalog_extension();

	if (OidIsValid(extension))
		LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	if (!OidIsValid(extension) || bdr_catalog_extension() != extension)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"%s\" is not installed in this database", BDR_EXTENSION),
				 errhint("Run CREATE EXTENSION %s.", BDR_EXTENSION)));
}

static void
init_cache(void)
{
	HASHCTL		ctl = {.keysize = sizeof(NameData),.entrysize = sizeof(Known)};

	relations = hash_create("bdr catalog", 16, &ctl, HASH_ELEM | HASH_STRINGS);
	CacheRegisterSyscacheCallback(RELOID, relation_changed, (Datum) 0);
}

/*
 * hash is that of one relation, or 0 for all.
 */
static void
relation_changed(Datum arg, int cache, uint32 hash)
{
	HASH_SEQ_STATUS status;
	Known	   *known;

	hash_seq_init(&status, relations);
	while ((known = hash_seq_search(&status)) != NULL)
	{
		if (hash == 0 || known->hash == hash)
			(void) hash_search(relations, &known->name, HASH_REMOVE, NULL);
	}
}

static void
init_functions(void)
{
	HASHCTL		ctl = {.keysize = sizeof(NameData),.entrysize = sizeof(Known)};

	functions = hash_create("bdr functions", 16, &ctl, HASH_ELEM | HASH_STRINGS);
	CacheRegisterSyscacheCallback(PROCOID, functions_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, functions_changed, (Datum) 0);
}

static void
functions_changed(Datum arg, int cache, uint32 hash)
{
	HASH_SEQ_STATUS status;
	Known	   *known;

	hash_seq_init(&status, functions);
	while ((known = hash_seq_search(&status)) != NULL)
		(void) hash_search(functions, &known->name, HASH_REMOVE, NULL);
}
