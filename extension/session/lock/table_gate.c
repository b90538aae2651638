/*-------------------------------------------------------------------------
 * session/lock/table_gate.c
 *		What sessions may not do to a table that another node has locked; and
 *		what the manager asks of its gates.
 *
 * NOTES
 *		Users wait for the server's lock, which the writer has.  Between the end
 *		of a writer and the next one it is not there, and after a crash until the
 *		first one: then they get an error.
 *
 *		Who makes an index waits for transactions that write to the table, which
 *		do not know the index.  By their locks the server does not see writers
 *		that have passed a gate, so each waits for the other here.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "commands/tablecmds.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "base/bdr.h"
#include "base/hooks.h"
#include "base/shmem.h"
#include "base/table_gate.h"
#include "base/tables.h"
#include "base/worker.h"
#include "session/lock/table_gate.h"
#include "bdr_compat.h"

/* Columns of bdr.internal_gates(). */
enum
{
	GATES_RELID,
	GATES_NODE_ID,
	GATES_LOCK_ID,
	GATES_CLOSED,
	GATES_HELD,
	GATES_COLUMNS
};

PG_FUNCTION_INFO_V1(bdr_internal_close_gates);
PG_FUNCTION_INFO_V1(bdr_internal_leave_gates);
PG_FUNCTION_INFO_V1(bdr_internal_gates);

/* This session knows that those of before the server's start are in the list. */
static bool is_loaded = false;

static void check_started(QueryDesc *query, int eflags);
static void process(const BdrUtility *statement);
static void check_named(const RangeVar *name);
static void check_table(Oid relid);
static void load(void);
static List *read_rows(Oid relid);
static void keep_writers_out(const IndexStmt *index);
static Oid	reindexed_table(const ReindexStmt *reindex);
static void run_keeping_out(const BdrUtility *statement, const Oid relid);
static Oid	one_table(Oid relid);
static Oid	look_up(const RangeVar *name);

void
bdr_table_gate_init(void)
{
	bdr_hooks_on_start(check_started);
	bdr_hooks_on_utility(process);
}

/* ---------------------------------------------------------------------
 * While no writer has the lock
 * ---------------------------------------------------------------------
 */

static void
check_started(QueryDesc *query, int eflags)
{
	const PlannedStmt *statement = query->plannedstmt;
	ListCell   *lc;

	if (likely(statement->resultRelations == NIL || (is_loaded && !bdr_gate_exists())))
		return;
	foreach(lc, statement->resultRelations)
		check_table(rt_fetch(lfirst_int(lc), statement->rtable)->relid);
}

static void
process(const BdrUtility *statement)
{
	Node	   *node = statement->pstmt->utilityStmt;
	ListCell   *lc;

	switch (nodeTag(node))
	{
		case T_CopyStmt:
			if (((CopyStmt *) node)->is_from && ((CopyStmt *) node)->relation != NULL)
				check_named(((CopyStmt *) node)->relation);
			break;
		case T_TruncateStmt:
			foreach(lc, ((TruncateStmt *) node)->relations)
				check_named(lfirst(lc));
			break;
		case T_IndexStmt:
			if (((IndexStmt *) node)->concurrent)
			{
				run_keeping_out(statement, one_table(look_up(((IndexStmt *) node)->relation)));
				return;
			}
			keep_writers_out((IndexStmt *) node);
			break;
		case T_ReindexStmt:
			run_keeping_out(statement, reindexed_table((ReindexStmt *) node));
			return;
		default:
			break;
	}
	bdr_hooks_run_utility(statement);
}

/* With a lock that the statement takes as well, or that is weaker. */
static void
check_named(const RangeVar *name)
{
	Oid			relid;

	if (is_loaded && !bdr_gate_exists())
		return;
	relid = RangeVarGetRelid(name, RowExclusiveLock, true);
	if (OidIsValid(relid))
		check_table(relid);
}

static void
check_table(Oid relid)
{
	List	   *below = NIL;
	ListCell   *lc;

	if (!bdr_is_preloaded() || bdr_is_own_worker())
		return;
	load();
	foreach(lc, bdr_gate_list())
	{
		const BdrGate *gate = lfirst(lc);

		if (!gate->closed || gate->pid != 0)
			continue;
		if (!OidIsValid(bdr_catalog_extension()))
			return;				/* nobody is left to open it */
		if (below == NIL)
			below = find_all_inheritors(relid, NoLock, NULL);
		if (list_member_oid(below, gate->relid))
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("table \"%s\" is locked by a transaction of another node", get_rel_name(relid)),
					 errdetail("The writer that keeps the lock on this node has ended, and the next one does not have it yet."),
					 errhint("Try again. bdr.global_locks shows whose lock it is, and bdr.subscription_summary how the stream from that node is.")));
	}
}

static void
load(void)
{
	Oid			relid;

	if (is_loaded)
		return;
	relid = bdr_gate_is_loaded() ? InvalidOid : bdr_catalog_relation("table_gate");
	if (OidIsValid(relid))
		bdr_gate_load(read_rows(relid));
	is_loaded = true;
}

/* Of bdr.table_gate. */
static List *
read_rows(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	List	   *gates = NIL;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		BdrGate    *gate = palloc0(sizeof(BdrGate));
		Datum		values[BDR_TABLE_GATE_COLUMNS];
		bool		nulls[BDR_TABLE_GATE_COLUMNS];

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		gate->relid = DatumGetObjectId(values[BDR_TABLE_GATE_RELID - 1]);
		gate->node = DatumGetObjectId(values[BDR_TABLE_GATE_NODE - 1]);
		strlcpy(gate->lock_id, TextDatumGetCString(values[BDR_TABLE_GATE_LOCK_ID - 1]), sizeof(gate->lock_id));
		gates = lappend(gates, gate);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return gates;
}

/* ---------------------------------------------------------------------
 * Indexes
 * ---------------------------------------------------------------------
 */

/*
 * Until the transaction ends; with the lock that the statement takes, so that the
 * name does not move.
 */
static void
keep_writers_out(const IndexStmt *index)
{
	Oid			relid;
	ListCell   *lc;

	if (!bdr_shmem_has_database(MyDatabaseId))
		return;
	relid = RangeVarGetRelidExtended(index->relation, ShareLock, RVR_MISSING_OK, RangeVarCallbackOwnsRelation, NULL);
	if (!OidIsValid(relid))
		return;
	foreach(lc, find_all_inheritors(relid, ShareLock, NULL))
		bdr_gate_lock_pass(lfirst_oid(lc), BDR_GATE_KEEP_OUT, false);
}

/*
 * While the statement runs, as it may have several transactions, and until the last
 * of them ends.  InvalidOid: out of all tables.
 */
static void
run_keeping_out(const BdrUtility *statement, const Oid relid)
{
	if (!bdr_shmem_has_database(MyDatabaseId))
	{
		bdr_hooks_run_utility(statement);
		return;
	}
	bdr_gate_lock_pass(relid, BDR_GATE_KEEP_OUT, true);
	PG_TRY();
	{
		bdr_hooks_run_utility(statement);
		if (IsTransactionState())
			bdr_gate_lock_pass(relid, BDR_GATE_KEEP_OUT, false);
	}
	PG_FINALLY();
	{
		bdr_gate_unlock_pass(relid, BDR_GATE_KEEP_OUT);
	}
	PG_END_TRY();
}

static Oid
reindexed_table(const ReindexStmt *reindex)
{
	Oid			relid = reindex->relation != NULL ? look_up(reindex->relation) : InvalidOid;

	return one_table(OidIsValid(relid) && reindex->kind == REINDEX_OBJECT_INDEX ? IndexGetRelation(relid, true) : relid);
}

/* InvalidOid: there are partitions. */
static Oid
one_table(Oid relid)
{
	return get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE ? InvalidOid : relid;
}

static Oid
look_up(const RangeVar *name)
{
	return RangeVarGetRelid(name, NoLock, true);
}

/* ---------------------------------------------------------------------
 * The manager's questions
 * ---------------------------------------------------------------------
 */

bool
bdr_table_gate_is_for(Oid relid)
{
	char		kind = get_rel_relkind(relid);

	return (kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE) && relid >= FirstNormalObjectId && !bdr_catalog_has(relid);
}

/*
 * How many tables of the tree users may write to still; NULL: there is no such
 * table.  To be asked again until that is 0.
 */
Datum
bdr_internal_close_gates(PG_FUNCTION_ARGS)
{
	RangeVar   *name = makeRangeVar(text_to_cstring(PG_GETARG_TEXT_PP(0)), text_to_cstring(PG_GETARG_TEXT_PP(1)), -1);
	Oid			node = PG_GETARG_OID(2);
	char	   *lock_id = text_to_cstring(PG_GETARG_TEXT_PP(3));
	Oid			relid = RangeVarGetRelid(name, NoLock, true);
	List	   *tables;
	ListCell   *lc;
	int			nopen;

	bdr_require_preloaded();
	if (!OidIsValid(relid) || !bdr_table_gate_is_for(relid))
		PG_RETURN_NULL();
	load();
	tables = find_all_inheritors(relid, NoLock, NULL);
	foreach(lc, tables)
		bdr_gate_add(lfirst_oid(lc), node, lock_id, false);
	nopen = list_length(tables);
	foreach(lc, bdr_gate_list())
	{
		const BdrGate *gate = lfirst(lc);

		if (gate->closed && strcmp(gate->lock_id, lock_id) == 0 && list_member_oid(tables, gate->relid))
			nopen--;
	}
	PG_RETURN_INT32(nopen);
}

Datum
bdr_internal_leave_gates(PG_FUNCTION_ARGS)
{
	bdr_require_preloaded();
	load();
	bdr_gate_leave(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}

Datum
bdr_internal_gates(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	if (!bdr_is_preloaded())
		return (Datum) 0;
	load();
	foreach(lc, bdr_gate_list())
	{
		const BdrGate *gate = lfirst(lc);
		Datum		values[GATES_COLUMNS];
		bool		nulls[GATES_COLUMNS] = {false};

		values[GATES_RELID] = ObjectIdGetDatum(gate->relid);
		values[GATES_NODE_ID] = ObjectIdGetDatum(gate->node);
		values[GATES_LOCK_ID] = CStringGetTextDatum(gate->lock_id);
		values[GATES_CLOSED] = BoolGetDatum(gate->closed);
		values[GATES_HELD] = BoolGetDatum(gate->pid != 0);
		tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
	}
	return (Datum) 0;
}
