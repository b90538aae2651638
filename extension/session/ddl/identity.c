/*-------------------------------------------------------------------------
 * session/ddl/identity.c
 *		The replica identity of new tables: bdr.default_replica_identity.
 *
 * NOTES
 *		It is set behind the statement that made the table, as a part of that:
 *		each node does so, with the setting of the origin.  What a table of an
 *		extension has is the extension's matter.
 *
 *		With auto a table has FULL for as long as it has no primary key, which
 *		comes and goes: a restored dump adds it by a statement of its own.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/hooks.h"
#include "base/membership.h"
#include "base/settings.h"
#include "base/tables.h"
#include "session/ddl/identity.h"
#include "session/restore.h"

static void process(const BdrUtility *statement);
static bool changes_primary_key(Node *node);
static bool is_key(const ColumnDef *column);
static bool is_wanted(void);
static void set_created(const List *relations);
static void follow_primary_key(Oid relid);
static void set_identity(Oid relid, char from, char to);
static void store_identity(Oid relid, char identity);
static bool may_change(Relation table, char from);
static bool has_primary_key(Relation table);

void
bdr_identity_init(void)
{
	bdr_hooks_on_utility(process);
	bdr_hooks_on_created(set_created);
}

static void
process(const BdrUtility *statement)
{
	Node	   *node = statement->pstmt->utilityStmt;

	bdr_hooks_run_utility(statement);
	if (statement->context != PROCESS_UTILITY_SUBCOMMAND && bdr_default_replica_identity == BDR_IDENTITY_AUTO &&
		changes_primary_key(node) && is_wanted())
		follow_primary_key(RangeVarGetRelid(((AlterTableStmt *) node)->relation, NoLock, true));
}

static bool
changes_primary_key(Node *node)
{
	ListCell   *lc;

	if (!IsA(node, AlterTableStmt))
		return false;
	foreach(lc, ((AlterTableStmt *) node)->cmds)
	{
		AlterTableCmd *cmd = lfirst(lc);

		if (cmd->subtype == AT_DropConstraint || cmd->subtype == AT_DropColumn || cmd->subtype == AT_AttachPartition ||
			(cmd->subtype == AT_AddConstraint && ((Constraint *) cmd->def)->contype == CONSTR_PRIMARY) ||
			(cmd->subtype == AT_AddColumn && is_key((ColumnDef *) cmd->def)))
			return true;
	}
	return false;
}

static bool
is_key(const ColumnDef *column)
{
	ListCell   *lc;

	foreach(lc, column->constraints)
	{
		if (((Constraint *) lfirst(lc))->contype == CONSTR_PRIMARY)
			return true;
	}
	return false;
}

static bool
is_wanted(void)
{
	Oid			self;

	return !creating_extension && !bdr_internal_restore && !IsBinaryUpgrade && bdr_is_member(&self);
}

static void
set_created(const List *relations)
{
	bool		is_auto = bdr_default_replica_identity == BDR_IDENTITY_AUTO;
	ListCell   *lc;

	if (bdr_default_replica_identity == REPLICA_IDENTITY_DEFAULT || !is_wanted())
		return;
	foreach(lc, relations)
		set_identity(lfirst_oid(lc), REPLICA_IDENTITY_DEFAULT, is_auto ? REPLICA_IDENTITY_FULL : bdr_default_replica_identity);
}

static void
follow_primary_key(Oid relid)
{
	ListCell   *lc;

	if (!OidIsValid(relid))
		return;
	CommandCounterIncrement();
	foreach(lc, find_all_inheritors(relid, AccessShareLock, NULL))
	{
		set_identity(lfirst_oid(lc), REPLICA_IDENTITY_FULL, REPLICA_IDENTITY_DEFAULT);
		set_identity(lfirst_oid(lc), REPLICA_IDENTITY_DEFAULT, REPLICA_IDENTITY_FULL);
	}
}

/*
 * The statement has locked the table.
 */
static void
set_identity(Oid relid, char from, char to)
{
	Relation	table = try_relation_open(relid, AccessShareLock);
	bool		is_auto = bdr_default_replica_identity == BDR_IDENTITY_AUTO;
	bool		is_set;

	if (table == NULL)
		return;
	is_set = may_change(table, from) && (!is_auto || has_primary_key(table) == (to == REPLICA_IDENTITY_DEFAULT));
	relation_close(table, AccessShareLock);
	if (is_set)
		store_identity(relid, to);
}

static void
store_identity(Oid relid, char identity)
{
	Relation	classes = table_open(RelationRelationId, RowExclusiveLock);
	HeapTuple	tuple = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(relid));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	((Form_pg_class) GETSTRUCT(tuple))->relreplident = identity;
	CatalogTupleUpdate(classes, &tuple->t_self, tuple);
	heap_freetuple(tuple);
	table_close(classes, RowExclusiveLock);
	CommandCounterIncrement();
}

static bool
may_change(Relation table, char from)
{
	Form_pg_class form = table->rd_rel;

	return (form->relkind == RELKIND_RELATION || form->relkind == RELKIND_PARTITIONED_TABLE) &&
		form->relpersistence != RELPERSISTENCE_TEMP && form->relreplident == from &&
		!bdr_catalog_has(RelationGetRelid(table));
}

/* That can be a replica identity. */
static bool
has_primary_key(Relation table)
{
	HeapTuple	tuple;
	bool		is_immediate;

	list_free(RelationGetIndexList(table));
	if (!OidIsValid(table->rd_pkindex))
		return false;
	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(table->rd_pkindex));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", table->rd_pkindex);
	is_immediate = ((Form_pg_index) GETSTRUCT(tuple))->indimmediate;
	ReleaseSysCache(tuple);
	return is_immediate;
}
