/*-------------------------------------------------------------------------
 * session/key_removal.c
 *		Which statements of sessions make versions of rows invisible.
 *
 * NOTES
 *		Those that delete, and those that may change a column of a unique or
 *		exclusion constraint or of the replica identity.  session/replica_identity.c asks
 *		when the executor starts, for the tables of the plan, and when it
 *		finishes, for partitions that INSERT ... ON CONFLICT came to.  Foreign
 *		keys that cascade run statements of their own.
 *
 *		What goes around the executor is counted for the whole server, in
 *		version/key_removal.c.
 *
 *		COPY and plain INSERT make nothing invisible.  TRUNCATE is not covered.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/sysattr.h"
#include "catalog/catalog.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "optimizer/optimizer.h"
#include "session/key_removal.h"
#include "version/key_removal.h"
#include "bdr_compat.h"
#include "rewrite/rewriteHandler.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#define WHOLE_ROW	(0 - FirstLowInvalidHeapAttributeNumber)

/* The columns of a table whose change makes a value invisible. */
typedef struct KeyColumns
{
	Oid			relid;			/* hash key */
	Bitmapset  *columns;		/* offset as in pg_attribute bitmaps; WHOLE_ROW: any */
} KeyColumns;

static HTAB *cache = NULL;
static uint64 ninvalidations = 0;

static bool plan_has_action(ModifyTable *plan, int i, CmdType command);
static bool is_replicated(Relation rel);
static bool update_makes_invisible(EState *estate, ResultRelInfo *result);
static bool trigger_may_change(ResultRelInfo *result);
static Bitmapset *constrained_columns(Relation rel);
static Bitmapset *read_columns(Relation rel);
static Bitmapset *add_index(Bitmapset *columns, Relation index);
static Bitmapset *add_sources(Bitmapset *columns, Relation rel);
static void make_cache(void);
static void invalidate(Datum arg, Oid relid);

/*
 * Called when result relation i of the plan is open, before anything is done.
 */
void
bdr_key_removal_statement(EState *estate, ModifyTable *plan, int i)
{
	ResultRelInfo *result;
	bool		updates = plan_has_action(plan, i, CMD_UPDATE);
	bool		deletes = plan_has_action(plan, i, CMD_DELETE);

	if (!updates && !deletes)
		return;
	result = estate->es_result_relations[list_nth_int(plan->resultRelations, i) - 1];
	if (result == NULL || !is_replicated(result->ri_RelationDesc))
		return;
	/* a row that moves to another partition is deleted here */
	if (deletes || plan->partColsUpdated || update_makes_invisible(estate, result))
		bdr_key_removal_begin(RelationGetRelid(result->ri_RelationDesc));
}

/*
 * Called when a statement that may have updated rows of a partition is done.
 */
void
bdr_key_removal_routed(EState *estate, ResultRelInfo *result)
{
	if (is_replicated(result->ri_RelationDesc) && update_makes_invisible(estate, result))
		bdr_key_removal_begin(RelationGetRelid(result->ri_RelationDesc));
}

static bool
plan_has_action(ModifyTable *plan, int i, CmdType command)
{
	ListCell   *lc;

	if (plan->operation == CMD_INSERT)
		return command == CMD_UPDATE && plan->onConflictAction == ONCONFLICT_UPDATE;
	if (plan->operation != CMD_MERGE)
		return plan->operation == command;
	foreach(lc, list_nth(plan->mergeActionLists, i))
		if (lfirst_node(MergeAction, lc)->commandType == command)
			return true;
	return false;
}

static bool
is_replicated(Relation rel)
{
	return rel->rd_rel->relkind == RELKIND_RELATION && RelationIsLogicallyLogged(rel);
}

/* ---------------------------------------------------------------------
 * Updates
 * ---------------------------------------------------------------------
 */
static bool
update_makes_invisible(EState *estate, ResultRelInfo *result)
{
	MemoryContext old = MemoryContextSwitchTo(estate->es_query_cxt);
	Bitmapset  *updated = ExecGetUpdatedCols(result, estate);
	Bitmapset  *columns = constrained_columns(result->ri_RelationDesc);
	bool		answer;

	answer = bms_is_member(WHOLE_ROW, columns) || bms_overlap(columns, updated) ||
		trigger_may_change(result);
	MemoryContextSwitchTo(old);
	return answer;
}

/* A trigger that fires before the update can store what it likes. */
static bool
trigger_may_change(ResultRelInfo *result)
{
	TriggerDesc *triggers = result->ri_TrigDesc;
	char		other_role = SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA ?
		TRIGGER_FIRES_ON_ORIGIN : TRIGGER_FIRES_ON_REPLICA;

	if (triggers == NULL || !triggers->trig_update_before_row)
		return false;
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (TRIGGER_TYPE_MATCHES(trigger->tgtype, TRIGGER_TYPE_ROW, TRIGGER_TYPE_BEFORE, TRIGGER_TYPE_UPDATE) &&
			trigger->tgenabled != TRIGGER_DISABLED && trigger->tgenabled != other_role)
			return true;
	}
	return false;
}

/* ---------------------------------------------------------------------
 * Columns of constraints
 * ---------------------------------------------------------------------
 */

/*
 * In the cache, or in the current context; good until something is looked up
 * in a catalog.
 */
static Bitmapset *
constrained_columns(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	KeyColumns *entry;
	Bitmapset  *columns;
	uint64		before = ninvalidations;

	if (cache == NULL)
		make_cache();
	entry = hash_search(cache, &relid, HASH_FIND, NULL);
	if (entry != NULL)
		return entry->columns;
	columns = read_columns(rel);
	if (before == ninvalidations)
	{
		MemoryContext old = MemoryContextSwitchTo(CacheMemoryContext);
		Bitmapset  *copy = bms_copy(columns);

		MemoryContextSwitchTo(old);
		entry = hash_search(cache, &relid, HASH_ENTER, NULL);
		entry->columns = copy;
	}
	return columns;
}

/*
 * A table of which the whole row is the key changes it with every update.
 */
static Bitmapset *
read_columns(Relation rel)
{
	Bitmapset  *columns = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_IDENTITY_KEY);
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;

	if (rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL && !OidIsValid(bdr_primary_key_index(rel)))
		columns = bms_add_member(columns, WHOLE_ROW);
	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		columns = add_index(columns, index);
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return add_sources(columns, rel);
}

static Bitmapset *
add_index(Bitmapset *columns, Relation index)
{
	Form_pg_index form = index->rd_index;

	if (!form->indisunique && !form->indisexclusion)
		return columns;
	/* 0, an expression, must not look like the whole row */
	for (int i = 0; i < form->indnkeyatts; i++)
		if (form->indkey.values[i] != 0)
			columns = bms_add_member(columns, form->indkey.values[i] - FirstLowInvalidHeapAttributeNumber);
	pull_varattnos((Node *) RelationGetIndexExpressions(index), 1, &columns);
	pull_varattnos((Node *) RelationGetIndexPredicate(index), 1, &columns);
	return columns;
}

/* A generated column changes with the columns that it is made from. */
static Bitmapset *
add_sources(Bitmapset *columns, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);

	if (desc->constr == NULL || !desc->constr->has_generated_stored)
		return columns;
	for (int i = 0; i < desc->natts; i++)
		if (TupleDescAttr(desc, i)->attgenerated == ATTRIBUTE_GENERATED_STORED &&
			bms_is_member(i + 1 - FirstLowInvalidHeapAttributeNumber, columns))
			pull_varattnos(build_column_default(rel, i + 1), 1, &columns);
	return columns;
}

static void
make_cache(void)
{
	HASHCTL		control = {.keysize = sizeof(Oid), .entrysize = sizeof(KeyColumns), .hcxt = CacheMemoryContext};

	cache = hash_create("bdr constrained columns", 128, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(invalidate, (Datum) 0);
}

/* InvalidOid: all tables. */
static void
invalidate(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS seq;
	KeyColumns *entry;

	ninvalidations++;
	if (OidIsValid(relid))
	{
		entry = hash_search(cache, &relid, HASH_FIND, NULL);
		if (entry == NULL)
			return;
		bms_free(entry->columns);
		hash_search(cache, &relid, HASH_REMOVE, NULL);
		return;
	}
	hash_seq_init(&seq, cache);
	while ((entry = hash_seq_search(&seq)) != NULL)
	{
		bms_free(entry->columns);
		hash_search(cache, &entry->relid, HASH_REMOVE, NULL);
	}
}
