/*-------------------------------------------------------------------------
 * row/write.c
 *		Writing one row, and what belongs to it: generated columns, checks, indexes,
 *		triggers.
 *
 * NOTES
 *		A row that another transaction changes between our finding and our
 *		writing is not written; whoever calls finds it again.  The command counter
 *		moves only where a transaction changes a row for the second time.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/snapmgr.h"

#include "row/partition.h"
#include "row/write.h"
#include "bdr_compat.h"

static void check_row(BdrRelation *rel, TupleTableSlot *slot, CmdType command);
static void check_partition(BdrRelation *rel, TupleTableSlot *slot);
static Bitmapset *changed_columns(BdrRelation *rel, TupleTableSlot *found, TupleTableSlot *slot);
static bool fire_before_update(BdrRelation *rel, ItemPointer tid, TupleTableSlot *slot, Bitmapset *changed);
static void fire_after_update(BdrRelation *rel, ItemPointer tid, TupleTableSlot *slot, List *recheck, Bitmapset *changed);
static bool lock_row(BdrRelation *rel, TupleTableSlot *found);
static void make_writable(TupleTableSlot *found);
static bool is_written(TM_Result result);

/*
 * One row, with triggers if there are any that fire here.
 */
BdrWritten
bdr_write_insert(BdrRelation *rel, TupleTableSlot *slot, List **recheck)
{
	*recheck = NIL;
	if (rel->fires_before && rel->result->ri_TrigDesc->trig_insert_before_row &&
		!ExecBRInsertTriggers(rel->estate, rel->result, slot))
		return BDR_WRITTEN_VETOED;
	check_row(rel, slot, CMD_INSERT);
	check_partition(rel, slot);
	table_tuple_insert(rel->rel, slot, GetCurrentCommandId(true), 0, NULL);
	if (rel->result->ri_NumIndices > 0)
		*recheck = bdr_insert_new_index_tuples(rel->result, slot, rel->estate);
	if (rel->fires_triggers)
		ExecARInsertTriggers(rel->estate, rel->result, slot, *recheck, NULL);
	return BDR_WRITTEN;
}

/*
 * Rows of one table at once; the first is that change of the transaction.
 * stored is called for each that was stored, NULL: nobody wants to know.
 */
void
bdr_write_run(BdrRelation *rel, TupleTableSlot **slots, int count, uint32 first_change,
			  void (*stored) (BdrRelation *rel, TupleTableSlot *slot, List *recheck))
{
	for (int i = 0; i < count; i++)
	{
		rel->apply->xact.change_nr = first_change + i;
		check_row(rel, slots[i], CMD_INSERT);
		if (rel->is_partition && !rel->reroutes)
			check_partition(rel, slots[i]);
	}
	table_multi_insert(rel->rel, slots, count, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; rel->result->ri_NumIndices > 0 && i < count; i++)
	{
		List	   *recheck;

		rel->apply->xact.change_nr = first_change + i;
		recheck = bdr_insert_new_index_tuples(rel->result, slots[i], rel->estate);
		if (stored != NULL)
			stored(rel, slots[i], recheck);
	}
}

/*
 * May be done twice: a unique index on such a column has to be looked at
 * before the row is stored.
 */
void
bdr_write_generated(BdrRelation *rel, TupleTableSlot *slot, CmdType command)
{
	if (rel->has_generated)
		ExecComputeStoredGenerated(rel->result, rel->estate, slot, command);
}

/*
 * What the executor does with a new row before it stores it.
 */
static void
check_row(BdrRelation *rel, TupleTableSlot *slot, CmdType command)
{
	bdr_write_generated(rel, slot, command);
	if (rel->has_constraints)
		ExecConstraints(rel->result, slot, rel->estate);
}

static void
check_partition(BdrRelation *rel, TupleTableSlot *slot)
{
	if (rel->is_partition)
		ExecPartitionCheck(rel->result, slot, rel->estate, true);
}

/*
 * Replace found by slot.
 */
BdrWritten
bdr_write_update(BdrRelation *rel, TupleTableSlot *found, TupleTableSlot *slot, List **recheck)
{
	ItemPointerData tid = found->tts_tid;
	BdrUpdateIndexes update_indexes;
	TM_FailureData failure;
	LockTupleMode lockmode;
	Bitmapset  *changed = rel->all_columns;

	*recheck = NIL;
	if (unlikely(rel->reroutes) && !bdr_partition_accepts(rel, slot))
		return BDR_WRITTEN_MOVES;
	if (unlikely(rel->fires_by_column))
		changed = changed_columns(rel, found, slot);
	if (rel->fires_before && rel->result->ri_TrigDesc->trig_update_before_row)
	{
		if (!lock_row(rel, found))
			return BDR_WRITTEN_CHANGED;
		if (!fire_before_update(rel, &tid, slot, changed))
			return BDR_WRITTEN_VETOED;
	}
	check_row(rel, slot, CMD_UPDATE);
	check_partition(rel, slot);
	make_writable(found);
	if (!is_written(table_tuple_update(rel->rel, &tid, slot, GetCurrentCommandId(true),
									   GetActiveSnapshot(), InvalidSnapshot, true,
									   &failure, &lockmode, &update_indexes)))
		return BDR_WRITTEN_CHANGED;
	if (rel->result->ri_NumIndices > 0 && bdr_updates_indexes(update_indexes))
		*recheck = bdr_insert_index_tuples(rel->result, slot, rel->estate, update_indexes);
	if (rel->fires_triggers)
		fire_after_update(rel, &tid, slot, *recheck, changed);
	return BDR_WRITTEN;
}

/*
 * Which columns have another value in the new row: for triggers that fire for
 * updates of some columns.  The row came whole; what its UPDATE named is not
 * known.
 *
 * A generated column is computed before, with all columns as changed: which
 * ones are computed from then on, and count as changed, is settled by the first
 * time.  A virtual one is only counted.
 */
static Bitmapset *
changed_columns(BdrRelation *rel, TupleTableSlot *found, TupleTableSlot *slot)
{
	Bitmapset  *changed = NULL;

	bdr_write_generated(rel, slot, CMD_UPDATE);
	if (rel->has_virtual)
		(void) ExecGetExtraUpdatedCols(rel->result, rel->estate);
	slot_getallattrs(found);
	slot_getallattrs(slot);
	for (int i = 0; i < rel->desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(rel->desc, i);

		if (att->attisdropped ||
			(found->tts_isnull[i] ? slot->tts_isnull[i] : !slot->tts_isnull[i] &&
			 datum_image_eq(found->tts_values[i], slot->tts_values[i], att->attbyval, att->attlen)))
			continue;
		changed = bms_add_member(changed, i + 1 - FirstLowInvalidHeapAttributeNumber);
	}
	return changed;
}

/*
 * Returns false when a trigger kept the row.  Only triggers see what has
 * changed: the executor draws lasting conclusions from what it is told first.
 */
static bool
fire_before_update(BdrRelation *rel, ItemPointer tid, TupleTableSlot *slot, Bitmapset *changed)
{
	EPQState	epq;
	bool		goes_on;

	bdr_epq_init(&epq, rel->estate);
	bdr_set_updated_columns(rel->estate, changed);
	goes_on = bdr_before_update_triggers(rel->estate, &epq, rel->result, tid, slot);
	bdr_set_updated_columns(rel->estate, rel->all_columns);
	return goes_on;
}

static void
fire_after_update(BdrRelation *rel, ItemPointer tid, TupleTableSlot *slot, List *recheck, Bitmapset *changed)
{
	bdr_set_updated_columns(rel->estate, changed);
	ExecARUpdateTriggers(rel->estate, rel->result, NULL, NULL, tid, NULL, slot, recheck, NULL, false);
	bdr_set_updated_columns(rel->estate, rel->all_columns);
}

BdrWritten
bdr_write_delete(BdrRelation *rel, TupleTableSlot *found)
{
	ItemPointerData tid = found->tts_tid;
	TM_FailureData failure;
	EPQState	epq;

	if (rel->fires_before && rel->result->ri_TrigDesc->trig_delete_before_row)
	{
		if (!lock_row(rel, found))
			return BDR_WRITTEN_CHANGED;
		bdr_epq_init(&epq, rel->estate);
		if (!bdr_before_delete_triggers(rel->estate, &epq, rel->result, &tid))
			return BDR_WRITTEN_VETOED;
	}
	make_writable(found);
	if (!is_written(table_tuple_delete(rel->rel, &tid, GetCurrentCommandId(true),
									   GetActiveSnapshot(), InvalidSnapshot, true,
									   &failure, false)))
		return BDR_WRITTEN_CHANGED;
	rel->apply->xact.deleted_by = GetCurrentTransactionIdIfAny();
	if (rel->fires_triggers)
		ExecARDeleteTriggers(rel->estate, rel->result, &tid, NULL, NULL, false);
	return BDR_WRITTEN;
}

/*
 * PostgreSQL locks a row before it calls the triggers that come before a
 * change, and where the row has a newer version runs a plan again, which we do
 * not have.  So we lock it first.  Returns false when found is not the newest
 * version any more.
 */
static bool
lock_row(BdrRelation *rel, TupleTableSlot *found)
{
	TupleTableSlot *slot = ExecGetTriggerOldSlot(rel->estate, rel->result);
	ItemPointerData tid = found->tts_tid;
	TM_FailureData failure;
	TM_Result	result;

	make_writable(found);
	rel->estate->es_output_cid = GetCurrentCommandId(true);
	result = table_tuple_lock(rel->rel, &tid, GetActiveSnapshot(), slot, rel->estate->es_output_cid,
							  LockTupleExclusive, LockWaitBlock, 0, &failure);
	ExecClearTuple(slot);
	return is_written(result);
}

/*
 * A row that this transaction wrote is writable from the next command on.
 */
static void
make_writable(TupleTableSlot *found)
{
	if (TransactionIdIsCurrentTransactionId(bdr_version_xmin(found)))
		CommandCounterIncrement();
}

/*
 * False: find the row again.
 */
static bool
is_written(TM_Result result)
{
	switch (result)
	{
		case TM_Ok:
			return true;
		case TM_SelfModified:
			CommandCounterIncrement();
			return false;
		case TM_Updated:
		case TM_Deleted:
			CHECK_FOR_INTERRUPTS();
			return false;
		default:
			elog(ERROR, "unexpected result %u of a table change", result);
	}
}
