/*-------------------------------------------------------------------------
 * conflict/schema_mismatch.c
 *		Tables and columns that only one side has.
 *
 * NOTES
 *		Whether that is a conflict, and what is done then, is asked of Go as
 *		for any conflict; but it is a matter of the tables and not of a row, so
 *		the answer is kept with the mapping and one history row tells of it.
 *		It is forgotten when the mapping is, and when somebody changes
 *		bdr.node_conflict_resolvers: a trigger there sends an invalidation.
 *
 *		Only changes with a new row are looked at.  A DELETE needs no more
 *		than the columns that its row is found by.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/inval.h"

#include "apply/apply.h"
#include "base/bdr.h"
#include "base/tables.h"
#include "session/dropped.h"
#include "bdr_compat.h"

PG_FUNCTION_INFO_V1(bdr_internal_resolvers_changed);

/* Answers of an earlier generation are asked for again. */
static uint32 generation = 1;

/* How often users may have chosen other resolvers. */
static uint32 choices = 1;
static Oid	resolvers;			/* bdr.node_conflict_resolvers, when known */

static void table_changed(Datum arg, Oid relid);
static BdrAction decide(BdrRelation *rel, BdrConflictType type, bool complete, TupleTableSlot *row);
static void raise_error(BdrRelation *rel, BdrConflictType type) pg_attribute_noreturn();

void
bdr_missing_init(void)
{
	CacheRegisterRelcacheCallback(table_changed, (Datum) 0);
}

/* Until we know its oid, any table may be the one with the resolvers. */
static void
table_changed(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == resolvers || resolvers == InvalidOid)
	{
		generation++;
		choices++;
	}
}

/* What was logged may have been rolled back. */
void
bdr_missing_forget(void)
{
	generation++;
}

/* Another number means that users may have chosen other resolvers. */
uint32
bdr_missing_generation(void)
{
	if (!OidIsValid(resolvers))
		resolvers = bdr_catalog_relation("node_conflict_resolvers");
	return choices;
}

/* Has the writers ask again once the caller's transaction has committed. */
Datum
bdr_internal_resolvers_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"bdr.internal_resolvers_changed\" was not called as a trigger")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	return PointerGetDatum(NULL);
}

/*
 * Find out what rel and its local table do not have in common.  Called when
 * the columns have been mapped.
 */
void
bdr_missing_describe(BdrRelation *rel)
{
	rel->missing_here = NULL;
	rel->missing_there = InvalidAttrNumber;
	for (int i = 0; i < rel->ncolumns && rel->missing_here == NULL; i++)
	{
		if (rel->columns[i].conversion == BDR_CONVERT_MISSING)
			rel->missing_here = &rel->columns[i];
	}
	for (int i = 0; i < rel->desc->natts && rel->missing_there == InvalidAttrNumber; i++)
	{
		Form_pg_attribute att = TupleDescAttr(rel->desc, i);

		if (!rel->supplied[i] && !att->attisdropped && !att->attgenerated)
			rel->missing_there = i + 1;
	}
	rel->differs = rel->missing_here != NULL || rel->missing_there != InvalidAttrNumber;
}

/*
 * May a new row be applied to a table with other columns than the peer's?
 * row was read last.  False: the change is to be skipped.
 */
bool
bdr_missing_accept(BdrRelation *rel, TupleTableSlot *row)
{
	if (rel->missing_here != NULL &&
		decide(rel, BDR_TARGET_COLUMN_MISSING, rel->homeless == NULL, row) == BDR_ACTION_KEEP)
		return false;
	return rel->missing_there == InvalidAttrNumber ||
		decide(rel, BDR_SOURCE_COLUMN_MISSING, true, row) != BDR_ACTION_KEEP;
}

/*
 * The table of a change does not exist here.  Returns if its changes are to
 * be skipped.
 */
void
bdr_missing_table(BdrRelation *rel)
{
	(void) decide(rel, BDR_TARGET_TABLE_MISSING, bdr_dropped_recently(rel->schema, rel->name, &rel->owner_there), NULL);
}

/*
 * The decision for a kind of rows, asked for if it is not known.
 */
static BdrAction
decide(BdrRelation *rel, BdrConflictType type, bool complete, TupleTableSlot *row)
{
	BdrAction  *known = &rel->decisions[type - BDR_TARGET_COLUMN_MISSING][complete ? 1 : 0];
	BdrConflict conflict = {type, rel};

	if (likely(rel->decided == generation && *known != 0))
		return *known;
	if (rel->decided != generation)
		memset(rel->decisions, 0, sizeof(rel->decisions));
	resolvers = bdr_catalog_relation("node_conflict_resolvers");
	/* what arrives from here on makes the answer old */
	rel->decided = generation;
	conflict.complete = complete;
	conflict.remote = row;
	bdr_conflict_ask(&conflict);
	if (conflict.action == BDR_ACTION_ERROR)
		raise_error(rel, type);
	if (conflict.action != BDR_ACTION_KEEP &&
		(conflict.action != BDR_ACTION_APPLY || type == BDR_TARGET_TABLE_MISSING))
		bdr_conflict_bad_action(&conflict);
	*known = conflict.action;
	bdr_conflict_log(&conflict, NULL);
	return conflict.action;
}

static void
raise_error(BdrRelation *rel, BdrConflictType type)
{
	if (type == BDR_TARGET_COLUMN_MISSING)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s.%s\" does not exist on this node",
						(rel->homeless != NULL ? rel->homeless : rel->missing_here)->name, rel->schema, rel->name),
				 rel->homeless != NULL ?
				 errdetail("Node \"%s\" sent a value for it.", bdr_peer.name) :
				 errdetail("Node \"%s\" has it.", bdr_peer.name),
				 errhint("Add the column here too, or choose another resolver for conflict type target_column_missing; replication then continues by itself.")));
	if (type == BDR_SOURCE_COLUMN_MISSING)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s.%s\" does not exist on node \"%s\"",
						NameStr(TupleDescAttr(rel->desc, rel->missing_there - 1)->attname),
						rel->schema, rel->name, bdr_peer.name),
				 errhint("Add the column there too, or choose another resolver for conflict type source_column_missing; replication then continues by itself.")));
	if (rel->via_root)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("cannot truncate partition \"%s.%s\" of table \"%s.%s\"",
						rel->schema, rel->name, rel->root_schema, rel->root_name),
				 errdetail("This node has no such partition and cannot tell which rows were in it on node \"%s\".",
						   bdr_peer.name),
				 errhint("Give the table a partition of that name with the same bounds here, or choose resolver \"skip\" for conflict type target_table_missing; replication then continues by itself.")));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("table \"%s.%s\" does not exist on this node", rel->schema, rel->name),
			 errdetail("Node \"%s\" sent a change of it.", bdr_peer.name),
			 errhint("Create the table here too, or choose another resolver for conflict type target_table_missing; replication then continues by itself.")));
}
