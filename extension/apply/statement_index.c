/*-------------------------------------------------------------------------
 * apply/statement_index.c
 *		CREATE INDEX CONCURRENTLY, in two statements.
 *
 * NOTES
 *		Where it is typed, the index is there before it is built, and stays, not
 *		valid, if that fails; other statements may use it.  So it is here: the
 *		first statement makes the index, the second one builds it.  The table has
 *		the same lock meanwhile as under CREATE INDEX, so that nobody writes to it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "commands/defrem.h"
#include "commands/event_trigger.h"
#include "commands/tablecmds.h"
#include "nodes/parsenodes.h"
#include "parser/parse_utilcmd.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "apply/statement_index.h"
#include "base/table_gate.h"
#include "base/user_context.h"
#include "bdr_compat.h"

static Oid	index_of(Oid relid, const char *name);
static void make(Oid relid, IndexStmt *create, const char *text);
static void run_with_triggers(Oid relid, Oid index, IndexStmt *create);
static void build(Oid relid, Oid index);
static bool is_valid(Oid index);
static void set_built(Oid index, bool is_built);

/*
 * A table that is partitioned here has no use for an index that is not built.
 */
bool
bdr_statement_run_index(Node *node, const BdrStatement *statement)
{
	IndexStmt  *create = (IndexStmt *) node;
	bool		is_built;
	const char *name = bdr_statement_index(statement, &is_built);
	Oid			relid;
	Oid			index;

	if (name == NULL || !IsA(node, IndexStmt))
		return false;
	create->idxname = pstrdup(name);	/* it may have been chosen there */
	relid = RangeVarGetRelidExtended(create->relation, ShareLock, 0, RangeVarCallbackOwnsRelation, NULL);
	if (get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE)
		return !is_built;
	index = is_built ? index_of(relid, name) : InvalidOid;
	if (is_built && !OidIsValid(index))
		return false;
	PushActiveSnapshot(GetTransactionSnapshot());
	if (is_built)
		run_with_triggers(relid, index, create);
	else
		make(relid, create, statement->text);
	PopActiveSnapshot();
	CommandCounterIncrement();
	return true;
}

/* A node that was made meanwhile has none: pg_dump leaves it out. */
static Oid
index_of(Oid relid, const char *name)
{
	Oid			index = get_relname_relid(name, get_rel_namespace(relid));

	return OidIsValid(index) && IndexGetRelation(index, true) == relid ? index : InvalidOid;
}

static void
make(Oid relid, IndexStmt *create, const char *text)
{
	ObjectAddress address = bdr_define_unbuilt_index(relid, transformIndexStmt(relid, create, text));

	if (!OidIsValid(address.objectId))
		return;					/* IF NOT EXISTS */
	CommandCounterIncrement();
	set_built(address.objectId, false);
	CacheInvalidateRelcacheByRelid(relid);
}

/*
 * Event triggers see one command, which has been run when the index has been built.
 */
static void
run_with_triggers(Oid relid, Oid index, IndexStmt *create)
{
	bool		is_begun = EventTriggerBeginCompleteQuery();
	ObjectAddress address;

	PG_TRY();
	{
		EventTriggerDDLCommandStart((Node *) create);
		build(relid, index);
		ObjectAddressSet(address, RelationRelationId, index);
		EventTriggerCollectSimpleCommand(address, InvalidObjectAddress, (Node *) create);
		EventTriggerDDLCommandEnd((Node *) create);
	}
	PG_FINALLY();
	{
		if (is_begun)
			EventTriggerEndCompleteQuery();
	}
	PG_END_TRY();
}

/*
 * REINDEX may have done it.  Expressions run as the owner, those that are constant
 * already where the index is described.  Not in parallel: others can see the index,
 * and workers would lock out whoever plans a query on the table.
 */
static void
build(Oid relid, Oid index)
{
	Relation	table;
	Relation	rel;
	BdrRights	before;

	if (is_valid(index))
		return;
	table = table_open(relid, ShareLock);
	bdr_gate_lock_pass(relid, BDR_GATE_KEEP_OUT, false);
	rel = index_open(index, RowExclusiveLock);
	bdr_rights_take(table->rd_rel->relowner, &before);
	index_build(table, rel, BuildIndexInfo(rel), false, false);
	bdr_rights_restore(&before);
	index_close(rel, NoLock);
	table_close(table, NoLock);
	CommandCounterIncrement();
	set_built(index, true);
	CacheInvalidateRelcacheByRelid(relid);
}

static bool
is_valid(Oid index)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	bool		is_valid;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", index);
	is_valid = ((Form_pg_index) GETSTRUCT(tuple))->indisvalid;
	ReleaseSysCache(tuple);
	return is_valid;
}

static void
set_built(Oid index, bool is_built)
{
	Relation	indexes = table_open(IndexRelationId, RowExclusiveLock);
	HeapTuple	tuple = SearchSysCacheCopy1(INDEXRELID, ObjectIdGetDatum(index));
	Form_pg_index form;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", index);
	form = (Form_pg_index) GETSTRUCT(tuple);
	form->indisready = is_built;
	form->indisvalid = is_built;
	CatalogTupleUpdate(indexes, &tuple->t_self, tuple);
	heap_freetuple(tuple);
	table_close(indexes, RowExclusiveLock);
}
