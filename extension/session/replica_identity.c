/*-------------------------------------------------------------------------
 * session/replica_identity.c
 *		Refuses UPDATE and DELETE of tables that have no replica identity, on
 *		the node where a user asks for them.
 *
 * NOTES
 *		The other nodes could not find the row, so the change would be lost
 *		there.  PostgreSQL refuses such a change only where a publication
 *		publishes it, and we have none.
 *
 *		What a plan may change is known when it starts; only the partitions
 *		that ON CONFLICT DO UPDATE is routed to are known when it has run.
 *		session_replication_role makes no difference: it does not keep changes
 *		from being sent.  What goes around the executor slips through; the
 *		sender's log tells of it (output/plugin.c).
 *
 *		Tables with an identity cost a look at the relation cache.  Whether
 *		the database is a member of a group is read only for the others.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "nodes/plannodes.h"
#include "replication/origin.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "base/bdr.h"
#include "base/hooks.h"
#include "base/membership.h"
#include "base/worker_settings.h"
#include "session/key_removal.h"
#include "session/replica_identity.h"
#include "session/unchanged_toast.h"
#include "bdr_compat.h"

static ExecutorFinish_hook_type previous_finish_hook = NULL;

static void check_started(QueryDesc *query, int eflags);
static void finish_executor(QueryDesc *query);
static void check_plan(EState *estate, Plan *plan);
static CmdType changing_command(ModifyTable *plan, int i);
static void check_relation(Relation rel, CmdType command);
static AttrNumber nullable_column(Relation rel);
static bool is_member(void);

void
bdr_replica_identity_init(void)
{
	bdr_hooks_on_start(check_started);
	previous_finish_hook = ExecutorFinish_hook;
	ExecutorFinish_hook = finish_executor;
}

static void
check_started(QueryDesc *query, int eflags)
{
	PlannedStmt *statement = query->plannedstmt;

	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;
	if (query->operation != CMD_SELECT)
		check_plan(query->estate, statement->planTree);
	if (statement->hasModifyingCTE)
	{
		ListCell   *lc;

		foreach(lc, statement->subplans)
			check_plan(query->estate, lfirst(lc));
	}
}

static void
finish_executor(QueryDesc *query)
{
	ListCell   *lc;

	foreach(lc, query->estate->es_tuple_routing_result_relations)
	{
		ResultRelInfo *result = lfirst(lc);

		if (result->ri_onConflict == NULL)
			continue;
		check_relation(result->ri_RelationDesc, CMD_UPDATE);
		bdr_key_removal_routed(query->estate, result);
	}
	if (previous_finish_hook)
		previous_finish_hook(query);
	else
		standard_ExecutorFinish(query);
}

/*
 * A plan changes tables at its top only, or at the top of a CTE's.
 */
static void
check_plan(EState *estate, Plan *plan)
{
	ModifyTable *modify;
	ListCell   *lc;

	if (plan == NULL || !IsA(plan, ModifyTable))
		return;
	modify = (ModifyTable *) plan;
	foreach(lc, modify->resultRelations)
	{
		Relation	rel = estate->es_relations[lfirst_int(lc) - 1];
		CmdType		command = changing_command(modify, foreach_current_index(lc));

		/* there is none for a partition that was pruned */
		if (rel == NULL)
			continue;
		check_relation(rel, command);
		bdr_key_removal_statement(estate, modify, foreach_current_index(lc));
		if (command == CMD_UPDATE || modify->operation == CMD_MERGE)
			bdr_unchanged_watch(estate, lfirst_int(lc));
	}
}

/*
 * What needs a replica identity of result relation i, or CMD_UNKNOWN.
 */
static CmdType
changing_command(ModifyTable *plan, int i)
{
	ListCell   *lc;

	switch (plan->operation)
	{
		case CMD_UPDATE:
		case CMD_DELETE:
			return plan->operation;
		case CMD_INSERT:
			return plan->onConflictAction == ONCONFLICT_UPDATE ? CMD_UPDATE : CMD_UNKNOWN;
		case CMD_MERGE:
			foreach(lc, list_nth(plan->mergeActionLists, i))
			{
				CmdType		command = lfirst_node(MergeAction, lc)->commandType;

				if (command == CMD_UPDATE || command == CMD_DELETE)
					return command;
			}
			return CMD_UNKNOWN;
		default:
			return CMD_UNKNOWN;
	}
}

/*
 * Is this a change that peers would have to get, and could not carry out?
 *
 * What a writer's triggers do stays here, and so does what a session keeps
 * from being sent.
 */
static void
check_relation(Relation rel, CmdType command)
{
	AttrNumber	nullable;

	if (command != CMD_UPDATE && command != CMD_DELETE)
		return;
	if (rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL ||
		rel->rd_rel->relkind != RELKIND_RELATION || !RelationIsLogicallyLogged(rel))
		return;
	nullable = nullable_column(rel);
	if (OidIsValid(RelationGetReplicaIndex(rel)) && nullable == InvalidAttrNumber)
		return;
	if (bdr_is_writer() || replorigin_session_origin == DoNotReplicateId)
		return;
	if (RelationGetNamespace(rel) == get_namespace_oid(BDR_SCHEMA, true) || !is_member())
		return;
	if (nullable != InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot change rows of table \"%s\" because column \"%s\" of its replica identity may be NULL",
						RelationGetRelationName(rel), NameStr(TupleDescAttr(RelationGetDescr(rel), nullable - 1)->attname)),
				 errdetail("Its NOT NULL constraint is NOT VALID, and other nodes could not tell which of several rows is meant."),
				 errhint("Use ALTER TABLE ... VALIDATE CONSTRAINT, or set REPLICA IDENTITY FULL.")));
	if (command == CMD_UPDATE)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot update table \"%s\" because it does not have a replica identity",
						RelationGetRelationName(rel)),
				 errdetail("The other nodes of the group could not find the rows."),
				 errhint("To enable updating the table, add a primary key or set REPLICA IDENTITY using ALTER TABLE.")));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot delete from table \"%s\" because it does not have a replica identity",
					RelationGetRelationName(rel)),
			 errdetail("The other nodes of the group could not find the rows."),
			 errhint("To enable deleting from the table, add a primary key or set REPLICA IDENTITY using ALTER TABLE.")));
}

/*
 * A column of an index that is the replica identity, of which a row may have
 * NULL; 0: none.  A primary key has no such column.
 */
static AttrNumber
nullable_column(Relation rel)
{
	Bitmapset  *columns;
	int			i = -1;

	if (rel->rd_rel->relreplident != REPLICA_IDENTITY_INDEX)
		return InvalidAttrNumber;
	columns = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_IDENTITY_KEY);
	while ((i = bms_next_member(columns, i)) >= 0)
	{
		AttrNumber	attnum = i + FirstLowInvalidHeapAttributeNumber;

		if (!bdr_is_never_null(RelationGetDescr(rel), attnum - 1))
			return attnum;
	}
	return InvalidAttrNumber;
}

/* ---------------------------------------------------------------------
 * Membership
 * ---------------------------------------------------------------------
 */

/*
 * Is this database a node that is or becomes a member of a group?  A group of
 * one counts: what works there must work when the second node comes.
 */
static bool
is_member(void)
{
	Oid			node;

	return bdr_is_member(&node);
}

