/*-------------------------------------------------------------------------
 * rebuild/index.c
 *		CREATE INDEX CONCURRENTLY and REINDEX CONCURRENTLY.
 *
 * NOTES
 *		A dead row is found through an index.  Those that are built while
 *		others write get entries of the rows that live, and of those that die
 *		later.  So when such an index becomes valid, what the dead rows of the
 *		table tell goes into the memory, in the same transaction: until it
 *		commits, writers use the old one.
 *
 *		REINDEX commits where it makes the new indexes valid, hence the
 *		callback; CREATE INDEX leaves the last commit to its caller.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/bufmgr.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/hooks.h"
#include "base/membership.h"
#include "rebuild/dead_rows.h"
#include "rebuild/index.h"

/* Of the statement that runs: the indexes that are not valid yet. */
static bool watching = false;
static List *made = NIL;

static void process(const BdrUtility *statement);
static void watch(ObjectAccessType access, Oid classId, Oid objectId, int subId, void *arg);
static void at_commit(XactEvent event, void *arg);
static void keep_versions(void);
static List *tables_with_new_index(void);
static bool read_index(Oid index, Oid *table, bool *is_constraint);
static void remember_dead(Oid relid, Oid local_node);
static void bury_dead(Relation table, BdrGraves *graves);

void
bdr_rebuild_index_init(void)
{
	bdr_hooks_on_utility(process);
	bdr_hooks_on_access(watch);
	RegisterXactCallback(at_commit, NULL);
}

/*
 * A plain CREATE INDEX has ended when its transaction commits.
 */
static void
process(const BdrUtility *statement)
{
	Node	   *node = statement->pstmt->utilityStmt;

	if (watching || !(IsA(node, IndexStmt) || IsA(node, ReindexStmt)))
	{
		bdr_hooks_run_utility(statement);
		return;
	}
	watching = true;
	PG_TRY();
	{
		bdr_hooks_run_utility(statement);
		if (IsA(node, IndexStmt) && ((IndexStmt *) node)->concurrent)
			keep_versions();
	}
	PG_FINALLY();
	{
		watching = false;
		list_free(made);
		made = NIL;
	}
	PG_END_TRY();
}

static void
watch(ObjectAccessType access, Oid classId, Oid objectId, int subId, void *arg)
{
	if (watching && access == OAT_POST_CREATE && classId == RelationRelationId && subId == 0)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		made = lappend_oid(made, objectId);
		MemoryContextSwitchTo(old);
	}
}

static void
at_commit(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT && made != NIL)
		keep_versions();
}

static void
keep_versions(void)
{
	List	   *tables;
	ListCell   *lc;
	Oid			local_node;

	CommandCounterIncrement();
	tables = tables_with_new_index();
	if (tables == NIL || !bdr_is_member(&local_node))
		return;
	PushActiveSnapshot(GetTransactionSnapshot());
	foreach(lc, tables)
		remember_dead(lfirst_oid(lc), local_node);
	PopActiveSnapshot();
}

/*
 * Those of which an index has become valid, that can be a constraint.
 */
static List *
tables_with_new_index(void)
{
	List	   *tables = NIL;
	ListCell   *lc;

	foreach(lc, made)
	{
		Oid			table;
		bool		is_constraint;

		if (!read_index(lfirst_oid(lc), &table, &is_constraint))
			continue;
		made = foreach_delete_current(made, lc);
		if (is_constraint)
			tables = list_append_unique_oid(tables, table);
	}
	return tables;
}

/*
 * Returns false when it is no index, or not a valid one yet.
 */
static bool
read_index(Oid index, Oid *table, bool *is_constraint)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	Form_pg_index form;
	bool		is_valid;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_index) GETSTRUCT(tuple);
	*table = form->indrelid;
	*is_constraint = form->indisunique || form->indisexclusion;
	is_valid = form->indisvalid;
	ReleaseSysCache(tuple);
	return is_valid;
}

static void
remember_dead(Oid relid, Oid local_node)
{
	Relation	table = table_open(relid, AccessShareLock);

	if (bdr_dead_rows_matter(table))
	{
		BdrGraves  *graves = bdr_dead_rows_open(table, GetCurrentCommandId(false), local_node);

		bury_dead(table, graves);
		bdr_dead_rows_close(graves);
	}
	table_close(table, NoLock);
}

static void
bury_dead(Relation table, BdrGraves *graves)
{
	TableScanDesc scan = table_beginscan_strat(table, SnapshotAny, 0, NULL, true, false);
	HeapTuple	row;

	while ((row = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Buffer		buffer = ((HeapScanDesc) scan)->rs_cbuf;
		HeapTupleHeaderData header;

		CHECK_FOR_INTERRUPTS();
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		memcpy(&header, row->t_data, SizeofHeapTupleHeader);
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		bdr_dead_rows_add(graves, row, &header);
	}
	table_endscan(scan);
}
