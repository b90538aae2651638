/*-------------------------------------------------------------------------
 * session/default_identity.c
 *		The replica identity of new tables, as bdr.default_replica_identity says.
 *
 * NOTES
 *		A table gets it when the statement that makes it ends, on each node: the
 *		setting travels with the statement (ddl/statement.c).  What a join
 *		restores has its identity already.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/bdr.h"
#include "base/hooks.h"
#include "base/settings.h"
#include "session/default_identity.h"
#include "session/restore.h"

/* A statement under way, without those inside of it. */
typedef struct Level
{
	MemoryContext context;
	List	   *created;		/* relations of any kind */
} Level;

static Level *current = NULL;

static void process(const BdrUtility *statement);
static void accessed(ObjectAccessType access, Oid class, Oid object, int sub, void *arg);
static bool wants_identity(Oid relid);
static void set_identity(Oid relid);

void
bdr_default_identity_init(void)
{
	bdr_hooks_on_utility(process);
	bdr_hooks_on_access(accessed);
}

static void
process(const BdrUtility *statement)
{
	Level		level = {CurrentMemoryContext, NIL};
	Level	   *above = current;
	ListCell   *lc;

	current = &level;
	PG_TRY();
	{
		bdr_hooks_run_utility(statement);
	}
	PG_FINALLY();
	{
		current = above;
	}
	PG_END_TRY();
	if (level.created == NIL)
		return;
	CommandCounterIncrement();
	foreach(lc, level.created)
	{
		if (wants_identity(lfirst_oid(lc)))
			set_identity(lfirst_oid(lc));
	}
	CommandCounterIncrement();
}

/*
 * What the server makes for itself, as the new file of a table that is rewritten,
 * is no new table.
 */
static void
accessed(ObjectAccessType access, Oid class, Oid object, int sub, void *arg)
{
	MemoryContext old;

	if (current == NULL || access != OAT_POST_CREATE || class != RelationRelationId || sub != 0 ||
		bdr_default_replica_identity == BDR_IDENTITY_DEFAULT || bdr_internal_restore || IsBinaryUpgrade ||
		(arg != NULL && ((ObjectAccessPostCreate *) arg)->is_internal))
		return;
	old = MemoryContextSwitchTo(current->context);
	current->created = lappend_oid(current->created, object);
	MemoryContextSwitchTo(old);
}

/*
 * A permanent table that has none yet; it may be gone again.
 */
static bool
wants_identity(Oid relid)
{
	Relation	rel = RelationIdGetRelation(relid);
	bool		wants;

	if (!RelationIsValid(rel))
		return false;
	wants = (rel->rd_rel->relkind == RELKIND_RELATION || rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE) &&
		rel->rd_rel->relpersistence == RELPERSISTENCE_PERMANENT && !IsCatalogRelation(rel) &&
		rel->rd_rel->relreplident == REPLICA_IDENTITY_DEFAULT &&
		RelationGetNamespace(rel) != get_namespace_oid(BDR_SCHEMA, true) &&
		(bdr_default_replica_identity == BDR_IDENTITY_FULL || !OidIsValid(RelationGetReplicaIndex(rel)));
	RelationClose(rel);
	return wants;
}

static void
set_identity(Oid relid)
{
	Relation	classes = table_open(RelationRelationId, RowExclusiveLock);
	HeapTuple	tuple = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(relid));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	((Form_pg_class) GETSTRUCT(tuple))->relreplident = REPLICA_IDENTITY_FULL;
	CatalogTupleUpdate(classes, &tuple->t_self, tuple);
	heap_freetuple(tuple);
	table_close(classes, RowExclusiveLock);
}
