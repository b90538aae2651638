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

#include "conflict/ask.h"
#include "conflict/dropped.h"
#include "conflict/log.h"
#include "conflict/resolvers.h"
#include "conflict/schema_mismatch.h"
#include "bdr_compat.h"

/* Answers of an earlier one are asked for again. */
static uint32 rollbacks = 0;

static BdrAction decide(BdrRelation *rel, BdrConflictType type, bool complete, TupleTableSlot *row);
pg_noreturn static void raise_error(BdrRelation *rel, BdrConflictType type);

/* What was logged may have been rolled back. */
void
bdr_mismatch_forget(void)
{
	rollbacks++;
}

/*
 * May a new row be applied to a table with other columns than the peer's?
 * row was read last.  False: the change is to be skipped.
 */
bool
bdr_mismatch_accept(BdrRelation *rel, TupleTableSlot *row)
{
	if (rel->missing_here != NULL &&
		decide(rel, BDR_TARGET_COLUMN_MISSING, rel->unmapped == NULL, row) == BDR_ACTION_KEEP)
		return false;
	return rel->missing_there == InvalidAttrNumber ||
		decide(rel, BDR_SOURCE_COLUMN_MISSING, true, row) != BDR_ACTION_KEEP;
}

/*
 * The table of a change does not exist here.  Returns if its changes are to
 * be skipped.
 */
void
bdr_mismatch_table(BdrRelation *rel)
{
	(void) decide(rel, BDR_TARGET_TABLE_MISSING, bdr_dropped_recently(rel->schema, rel->name, &rel->owner_there), NULL);
}

/*
 * The decision for a kind of rows, asked for if it is not known.
 */
static BdrAction
decide(BdrRelation *rel, BdrConflictType type, bool complete, TupleTableSlot *row)
{
	uint8	   *known = &rel->decisions[type - BDR_TARGET_COLUMN_MISSING][complete ? 1 : 0];
	uint32		generation = rollbacks + bdr_resolvers_generation();
	BdrConflict conflict = {type, rel};

	if (likely(rel->decided == generation && *known != 0))
		return *known;
	if (rel->decided != generation)
		memset(rel->decisions, 0, sizeof(rel->decisions));
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
						(rel->unmapped != NULL ? rel->unmapped : rel->missing_here)->name, rel->schema, rel->name),
				 rel->unmapped != NULL ?
				 errdetail("Node \"%s\" sent a value for it.", rel->apply->peer.name) :
				 errdetail("Node \"%s\" has it.", rel->apply->peer.name),
				 errhint("Add the column here too, or choose another resolver for conflict type target_column_missing; replication then continues by itself.")));
	if (type == BDR_SOURCE_COLUMN_MISSING)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s.%s\" does not exist on node \"%s\"",
						NameStr(TupleDescAttr(rel->desc, rel->missing_there - 1)->attname),
						rel->schema, rel->name, rel->apply->peer.name),
				 errhint("Add the column there too, or choose another resolver for conflict type source_column_missing; replication then continues by itself.")));
	if (rel->via_root)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("cannot truncate partition \"%s.%s\" of table \"%s.%s\"",
						rel->schema, rel->name, rel->root_schema, rel->root_name),
				 errdetail("This node has no such partition and cannot tell which rows were in it on node \"%s\".",
						   rel->apply->peer.name),
				 errhint("Give the table a partition of that name with the same bounds here, or choose resolver \"skip\" for conflict type target_table_missing; replication then continues by itself.")));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("table \"%s.%s\" does not exist on this node", rel->schema, rel->name),
			 errdetail("Node \"%s\" sent a change of it.", rel->apply->peer.name),
			 errhint("Create the table here too, or choose another resolver for conflict type target_table_missing; replication then continues by itself.")));
}
