/*-------------------------------------------------------------------------
 * apply/change.c
 *		Writes changes to local tables: one function per kind of change.
 *
 * NOTES
 *		Inserts into one table that follow each other are gathered into a
 *		run and written with one multi-insert.  A run ends with its frame at
 *		the latest, since its values lie in the frame.
 *
 *		Nothing is looked up before an insert.  When a unique index objects,
 *		the writer starts the unit over with bdr_xact.careful set
 *		(apply/transaction.c), and then every row is checked first.  Whatever
 *		may meet another version is left to conflict/resolve.c.
 *
 *		A row that another transaction changes between our finding and our
 *		writing is found again.  The command counter moves only where a
 *		transaction changes a row for the second time.
 *
 *		Changes are applied in bdr_change_context, which is reset after each.
 *		Nothing that PostgreSQL keeps may lie there: what goes with an open
 *		table is in its exec_context or in its executor's es_query_cxt, what
 *		goes with a mapping is in map_context.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "apply/apply.h"
#include "base/bdr.h"
#include "conflict/conflict.h"
#include "session/row_version.h"
#include "version/key_removal.h"
#include "bdr_compat.h"
#include "bdr_wire.h"

/* Limits of a run; the frame is another one. */
#define BDR_RUN_ROWS_MAX		1000

typedef struct BdrRun
{
	BdrRelation *rel;			/* NULL: no run */
	int			count;
	uint32		first_change;
} BdrRun;

BdrRelation *bdr_apply_relation;

static BdrRun run;

static TupleTableSlot *next_run_slot(BdrRelation *rel);
static void leave_out(BdrReader *reader);
static void reroute_insert(BdrRelation *rel, BdrReader reader);
static void insert_run(BdrRelation *rel, int count, uint32 first_change);
static void insert_where_it_belongs(BdrRelation *rel, TupleTableSlot *slot);
static void insert_alone(BdrRelation *rel, TupleTableSlot *slot);
static bool may_be_surpassed(BdrRelation *rel);
static void note_deferred(BdrRelation *rel, TupleTableSlot *slot, const List *recheck);
static void check_row(BdrRelation *rel, TupleTableSlot *slot, CmdType command);
static void check_partition(BdrRelation *rel, TupleTableSlot *slot);
static bool update_found(BdrUpdate *update);
static bool update_row(BdrRelation *rel, TupleTableSlot *found, TupleTableSlot *slot);
static Bitmapset *changed_columns(BdrRelation *rel, TupleTableSlot *found, TupleTableSlot *slot);
static bool fire_before_update(BdrRelation *rel, ItemPointer tid, TupleTableSlot *slot, Bitmapset *changed);
static void fire_after_update(BdrRelation *rel, ItemPointer tid, TupleTableSlot *slot, List *recheck, Bitmapset *changed);
static bool move_row(BdrRelation *rel, TupleTableSlot *found, TupleTableSlot *slot);
static bool delete_found(BdrUpdate *update);
static bool lock_row(BdrRelation *rel, TupleTableSlot *found);
static void make_writable(TupleTableSlot *found);
static bool is_written(TM_Result result);
static void end_change(BdrRelation *rel);
static uint8 read_old(BdrReader *reader, BdrRelation *rel);

void
bdr_apply_init(void)
{
	run.rel = NULL;
}

/* After an abort. */
void
bdr_apply_forget(void)
{
	run.rel = NULL;
	run.count = 0;
	bdr_apply_relation = NULL;
}

/* ---------------------------------------------------------------------
 * INSERT
 * ---------------------------------------------------------------------
 */
void
bdr_apply_insert(BdrReader *reader)
{
	BdrRelation *rel;
	TupleTableSlot *slot;
	BdrReader	start;

	rel = bdr_relation_open(bdr_read_uint32(reader));
	if (unlikely(rel == NULL))
	{
		leave_out(reader);
		return;
	}
	start = *reader;
	if (unlikely(rel->routes))
		rel = bdr_route_insert(rel, start);
	if (run.rel != NULL && (run.rel != rel || run.count == BDR_RUN_ROWS_MAX))
	{
		bdr_apply_flush();
		bdr_apply_relation = rel;
		bdr_act_as(rel->owner);
	}
	slot = next_run_slot(rel);
	bdr_tuple_read(reader, rel, slot);
	if (rel->nunchanged > 0)
		bdr_frame_error("An inserted row has an unchanged value.");
	if (unlikely(rel->differs) && !bdr_missing_accept(rel, slot))
	{
		leave_out(reader);
		return;
	}
	bdr_xact.counters.inserts++;

	if (rel->batchable && !bdr_xact.careful)
	{
		if (unlikely(rel->reroutes) && !bdr_route_accepts(rel, slot))
		{
			reroute_insert(rel, start);
			return;
		}
		if (run.rel == NULL)
			run.first_change = bdr_xact.change_nr;
		run.rel = rel;
		run.count++;
		return;
	}
	bdr_apply_begin_change(rel);
	bdr_tuple_fill_defaults(rel, slot);
	insert_where_it_belongs(rel, slot);
	ExecClearTuple(slot);
	end_change(rel);
}

/*
 * A resolver says that this change is not for this node.
 */
static void
leave_out(BdrReader *reader)
{
	reader->at = reader->end;
	bdr_apply_relation = NULL;
}

/*
 * This partition is another one than the peer's.  Writing the run takes the
 * row's values away, so it is read again.
 */
static void
reroute_insert(BdrRelation *rel, BdrReader reader)
{
	bdr_apply_flush();
	rel = bdr_route_insert(rel->root, reader);
	bdr_tuple_read(&reader, rel, rel->new_slot);
	bdr_apply_begin_change(rel);
	bdr_tuple_fill_defaults(rel, rel->new_slot);
	bdr_write_insert(rel, rel->new_slot);
	end_change(rel);
}

/*
 * Slots are made as they are needed and stay with the mapping.
 */
static TupleTableSlot *
next_run_slot(BdrRelation *rel)
{
	int			i = run.rel != NULL ? run.count : 0;
	MemoryContext old;

	if (likely(i < rel->nrun_slots))
		return rel->run_slots[i];
	old = MemoryContextSwitchTo(rel->map_context);
	if (rel->run_slots == NULL)
		rel->run_slots = palloc0(BDR_RUN_ROWS_MAX * sizeof(TupleTableSlot *));
	rel->run_slots[i] = MakeSingleTupleTableSlot(rel->desc, &TTSOpsVirtual);
	rel->run_slots[i]->tts_tableOid = rel->local_relid;
	rel->nrun_slots = i + 1;
	MemoryContextSwitchTo(old);
	return rel->run_slots[i];
}

/*
 * Nothing waits to be written, so what is read from here on stays until the
 * change is done.
 */
bool
bdr_apply_is_flushed(void)
{
	return run.rel == NULL;
}

/*
 * Write the run, if there is one.  What was read into bdr_change_context is
 * gone then, so this comes first: a message other than INSERT never sees a run
 * (apply/writer.c), and who reads an insert reads it again after calling this.
 */
void
bdr_apply_flush(void)
{
	BdrRelation *rel = run.rel;
	int			count = run.count;
	uint32		change_nr = bdr_xact.change_nr;

	if (rel == NULL)
		return;
	run.rel = NULL;
	run.count = 0;
	bdr_apply_relation = rel;
	bdr_act_as(rel->owner);
	bdr_xact.change_nr = run.first_change;
	if (count == 1)
		insert_alone(rel, rel->run_slots[0]);
	else
		insert_run(rel, count, run.first_change);
	/* storing a row made a copy of it in its slot */
	for (int i = 0; i < count; i++)
		ExecClearTuple(rel->run_slots[i]);
	bdr_xact.change_nr = change_nr;
	bdr_apply_relation = NULL;
	ResetPerTupleExprContext(rel->estate);
	MemoryContextReset(bdr_change_context);
}

static void
insert_run(BdrRelation *rel, int count, uint32 first_change)
{
	if (unlikely(may_be_surpassed(rel)))
	{
		for (int i = 0; i < count; i++)
		{
			bdr_xact.change_nr = first_change + i;
			bdr_settle_insert(rel, rel->run_slots[i]);
		}
		return;
	}
	for (int i = 0; i < count; i++)
	{
		bdr_xact.change_nr = first_change + i;
		check_row(rel, rel->run_slots[i], CMD_INSERT);
		if (rel->is_partition && !rel->reroutes)
			check_partition(rel, rel->run_slots[i]);
	}
	table_multi_insert(rel->rel, rel->run_slots, count, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; rel->result->ri_NumIndices > 0 && i < count; i++)
	{
		List	   *recheck;

		bdr_xact.change_nr = first_change + i;
		recheck = bdr_insert_new_index_tuples(rel->result, rel->run_slots[i], rel->estate);
		if (unlikely(rel->has_deferrable))
			note_deferred(rel, rel->run_slots[i], recheck);
	}
	if (unlikely(may_be_surpassed(rel)))
		bdr_unit_start_over();
}

/*
 * One row, with triggers if there are any that fire here.
 */
void
bdr_write_insert(BdrRelation *rel, TupleTableSlot *slot)
{
	List	   *recheck = NIL;

	if (rel->fires_before && rel->result->ri_TrigDesc->trig_insert_before_row &&
		!ExecBRInsertTriggers(rel->estate, rel->result, slot))
		return;
	check_row(rel, slot, CMD_INSERT);
	check_partition(rel, slot);
	table_tuple_insert(rel->rel, slot, GetCurrentCommandId(true), 0, NULL);
	if (rel->result->ri_NumIndices > 0)
		recheck = bdr_insert_new_index_tuples(rel->result, slot, rel->estate);
	if (rel->fires_triggers)
		ExecARInsertTriggers(rel->estate, rel->result, slot, recheck, NULL);
	if (unlikely(rel->has_deferrable))
		note_deferred(rel, slot, recheck);
}

/*
 * Insert into rel, or where its root says that the row belongs.
 */
static void
insert_where_it_belongs(BdrRelation *rel, TupleTableSlot *slot)
{
	BdrRelation *target = rel;

	if (unlikely(bdr_xact.careful))
	{
		bdr_settle_insert(rel, slot);
		return;
	}
	if (unlikely(rel->routes || rel->reroutes))
		target = bdr_route_target(rel, &slot);
	if (target != rel)
		bdr_apply_begin_change(target);
	insert_alone(target, slot);
	if (target != rel)
		bdr_apply_fire_triggers(target);
}

/*
 * Nothing is looked up, unless a version may be about that is newer and that
 * no row shows.
 */
static void
insert_alone(BdrRelation *rel, TupleTableSlot *slot)
{
	if (unlikely(may_be_surpassed(rel)))
	{
		bdr_settle_insert(rel, slot);
		return;
	}
	bdr_write_insert(rel, slot);
	if (unlikely(may_be_surpassed(rel)))
		bdr_unit_start_over();
}

static bool
may_be_surpassed(BdrRelation *rel)
{
	return !bdr_peer.trusted && bdr_vanish_newer(rel->local_relid, bdr_xact.commit_time);
}

/*
 * The row was stored; recheck are the deferrable indexes where it collides.
 */
static void
note_deferred(BdrRelation *rel, TupleTableSlot *slot, const List *recheck)
{
	if (recheck != NIL || may_be_surpassed(rel))
		bdr_deferred_add(rel, slot);
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

/* ---------------------------------------------------------------------
 * UPDATE
 * ---------------------------------------------------------------------
 */
void
bdr_apply_update(BdrReader *reader)
{
	BdrUpdate	update;

	Assert(bdr_apply_is_flushed());
	update.rel = bdr_relation_open(bdr_read_uint32(reader));
	if (likely(update.rel != NULL))
		bdr_apply_read_update(&update, reader);
	if (unlikely(update.rel == NULL ||
				 (update.rel->differs && !bdr_missing_accept(update.rel, update.row))))
	{
		leave_out(reader);
		return;
	}
	bdr_xact.counters.updates++;
	bdr_apply_begin_change(update.rel);
	if (!bdr_apply_find_and_write(&update))
		bdr_settle_update(&update);
	end_change(update.rel);
}

/*
 * Read what belongs to an update of update->rel.
 */
void
bdr_apply_read_update(BdrUpdate *update, BdrReader *reader)
{
	BdrRelation *rel = update->rel;
	uint8		old;

	update->body = *reader;
	update->row = rel->new_slot;
	old = read_old(reader, rel);
	bdr_tuple_read(reader, rel, update->row);
	if (old != BDR_OLD_NONE)
		bdr_tuple_complete_from_old(rel, update->row, rel->key_slot);
	update->key = old == BDR_OLD_NONE ? update->row : rel->key_slot;
	update->lookup = old == BDR_OLD_FULL ? &rel->by_row : &rel->by_key;
	for (int i = 0; old == BDR_OLD_NONE && rel->nunchanged > 0 && i < rel->desc->natts; i++)
	{
		if (rel->unchanged[i] && update->lookup->compare[i])
			bdr_frame_error("An updated row has an unchanged value in its key.");
	}
}

/*
 * Which old row comes next; a key or a full one is read into key_slot.
 */
static uint8
read_old(BdrReader *reader, BdrRelation *rel)
{
	uint8		old = bdr_read_uint8(reader);

	if (old == BDR_OLD_KEY || old == BDR_OLD_FULL)
		bdr_tuple_read(reader, rel, rel->key_slot);
	else if (old != BDR_OLD_NONE)
		bdr_frame_error("An old row has the unknown kind %u.", old);
	return old;
}

/*
 * Find the row of an update or delete and write it.  Returns false when there
 * is none.
 */
bool
bdr_apply_find_and_write(BdrUpdate *update)
{
	BdrRelation *rel = update->rel;
	bool		done = false;

	if (unlikely(rel->routes))
		return bdr_route_update(update);
	while (!done)
	{
		if (!bdr_tuple_find(rel, update->lookup, update->key, rel->found_slot))
			return unlikely(rel->reroutes) && bdr_route_elsewhere(update);
		done = update->row != NULL ? update_found(update) : delete_found(update);
		ExecClearTuple(rel->found_slot);
	}
	return true;
}

/*
 * Returns false when the row in found_slot has changed meanwhile.
 */
static bool
update_found(BdrUpdate *update)
{
	BdrRelation *rel = update->rel;

	if (likely(!bdr_conflict_with_update(rel->found_slot) && (rel->nunchanged == 0 || bdr_settle_may_fill(rel)) &&
			   (rel->row_version == InvalidAttrNumber || !bdr_row_version_differs(update, rel, rel->found_slot))))
	{
		bdr_tuple_fill_from(rel, update->row, rel->found_slot);
		if (likely(bdr_settle_is_plain(update)))
			return bdr_write_update(rel, rel->found_slot, update->row);
	}
	bdr_settle_update(update);
	return true;
}

/*
 * Write slot over found.  Returns false when that is not the newest version
 * any more.
 */
bool
bdr_write_update(BdrRelation *rel, TupleTableSlot *found, TupleTableSlot *slot)
{
	if (unlikely(rel->reroutes) && !bdr_route_accepts(rel, slot))
		return move_row(rel, found, slot);
	return update_row(rel, found, slot);
}

/*
 * Replace found by slot.  Returns false when found is not the newest version
 * any more.
 */
static bool
update_row(BdrRelation *rel, TupleTableSlot *found, TupleTableSlot *slot)
{
	ItemPointerData tid = found->tts_tid;
	BdrUpdateIndexes update_indexes;
	TM_FailureData failure;
	LockTupleMode lockmode;
	Bitmapset  *changed = rel->all_columns;
	List	   *recheck = NIL;

	if (unlikely(rel->fires_by_column))
		changed = changed_columns(rel, found, slot);
	if (rel->fires_before && rel->result->ri_TrigDesc->trig_update_before_row)
	{
		if (!lock_row(rel, found))
			return false;
		if (!fire_before_update(rel, &tid, slot, changed))
			return true;
	}
	check_row(rel, slot, CMD_UPDATE);
	check_partition(rel, slot);
	make_writable(found);
	if (!is_written(table_tuple_update(rel->rel, &tid, slot, GetCurrentCommandId(true),
									   GetActiveSnapshot(), InvalidSnapshot, true,
									   &failure, &lockmode, &update_indexes)))
		return false;
	if (rel->result->ri_NumIndices > 0 && bdr_updates_indexes(update_indexes))
		recheck = bdr_insert_index_tuples(rel->result, slot, rel->estate, update_indexes);
	if (rel->fires_triggers)
		fire_after_update(rel, &tid, slot, recheck, changed);
	if (unlikely(rel->has_deferrable))
		note_deferred(rel, slot, recheck);
	return true;
}

/*
 * Which columns have another value in the new row: for triggers that fire for
 * updates of some columns.  The row came whole; what its UPDATE named is not
 * known.
 *
 * A generated column is computed before, with all columns as changed: which
 * ones are computed from then on is settled by the first time.
 */
static Bitmapset *
changed_columns(BdrRelation *rel, TupleTableSlot *found, TupleTableSlot *slot)
{
	Bitmapset  *changed = NULL;

	bdr_write_generated(rel, slot, CMD_UPDATE);
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

/*
 * The new row belongs to another partition.  Returns false when found is not
 * the newest version any more.
 */
static bool
move_row(BdrRelation *rel, TupleTableSlot *found, TupleTableSlot *slot)
{
	bool		vetoed = false;

	if (!bdr_write_delete(rel, found, &vetoed))
		return false;
	if (vetoed)
		return true;
	bdr_apply_fire_triggers(rel);
	insert_where_it_belongs(rel, slot);
	bdr_apply_begin_change(rel);
	return true;
}

/* ---------------------------------------------------------------------
 * DELETE
 * ---------------------------------------------------------------------
 */
void
bdr_apply_delete(BdrReader *reader)
{
	BdrUpdate	update;

	Assert(bdr_apply_is_flushed());
	update.rel = bdr_relation_open(bdr_read_uint32(reader));
	if (unlikely(update.rel == NULL))
	{
		leave_out(reader);
		return;
	}
	bdr_apply_read_delete(&update, reader);
	bdr_xact.counters.deletes++;
	bdr_vanish_begin(update.rel->local_relid);
	bdr_apply_begin_change(update.rel);
	if (!bdr_apply_find_and_write(&update))
		bdr_settle_delete(&update);
	end_change(update.rel);
}

void
bdr_apply_read_delete(BdrUpdate *update, BdrReader *reader)
{
	BdrRelation *rel = update->rel;
	uint8		old;

	update->body = *reader;
	update->row = NULL;
	old = read_old(reader, rel);
	if (old == BDR_OLD_NONE)
		bdr_frame_error("A delete has no old row.");
	update->key = rel->key_slot;
	update->lookup = old == BDR_OLD_FULL ? &rel->by_row : &rel->by_key;
}

/*
 * Returns false when the row in found_slot has changed meanwhile.
 */
static bool
delete_found(BdrUpdate *update)
{
	BdrRelation *rel = update->rel;
	bool		vetoed;

	if (likely(!bdr_conflict_with_delete(rel->found_slot) &&
			   (rel->row_version == InvalidAttrNumber || !bdr_row_version_differs(update, rel, rel->found_slot))))
		return bdr_write_delete(rel, rel->found_slot, &vetoed);
	bdr_settle_delete(update);
	return true;
}

/*
 * Returns false when found is not the newest version any more; sets *vetoed
 * when a trigger kept the row.
 */
bool
bdr_write_delete(BdrRelation *rel, TupleTableSlot *found, bool *vetoed)
{
	ItemPointerData tid = found->tts_tid;
	TM_FailureData failure;
	EPQState	epq;

	if (rel->fires_before && rel->result->ri_TrigDesc->trig_delete_before_row)
	{
		if (!lock_row(rel, found))
			return false;
		bdr_epq_init(&epq, rel->estate);
		if (!bdr_before_delete_triggers(rel->estate, &epq, rel->result, &tid))
			return *vetoed = true;
	}
	make_writable(found);
	if (!is_written(table_tuple_delete(rel->rel, &tid, GetCurrentCommandId(true),
									   GetActiveSnapshot(), InvalidSnapshot, true,
									   &failure, false)))
		return false;
	bdr_xact.deleted_by = GetCurrentTransactionIdIfAny();
	if (rel->fires_triggers)
		ExecARDeleteTriggers(rel->estate, rel->result, &tid, NULL, NULL, false);
	return true;
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
	if (TransactionIdIsCurrentTransactionId(bdr_conflict_xmin(found)))
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

/* ---------------------------------------------------------------------
 * Around a change
 * ---------------------------------------------------------------------
 */

/*
 * rel was opened.  PostgreSQL looks a trigger's function up when it calls it
 * for the first time, and keeps that for as long as the table is open; so does
 * the function with what it finds out.  That must not lie in
 * bdr_change_context, in which changes are applied.
 */
void
bdr_apply_prepare_triggers(BdrRelation *rel)
{
	TriggerDesc *triggers = rel->result->ri_TrigDesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		if (bdr_trigger_fires(&triggers->triggers[i]))
			fmgr_info_cxt(triggers->triggers[i].tgfoid, &rel->result->ri_TrigFunctions[i],
						  rel->estate->es_query_cxt);
	}
}

/*
 * Triggers see what came before them.
 */
void
bdr_apply_begin_change(BdrRelation *rel)
{
	bdr_act_as(rel->owner);
	if (!rel->fires_triggers)
		return;
	CommandCounterIncrement();
	PopActiveSnapshot();
	PushActiveSnapshot(GetTransactionSnapshot());
	rel->estate->es_snapshot = GetActiveSnapshot();
	rel->estate->es_output_cid = GetCurrentCommandId(true);
	AfterTriggerBeginQuery();
}

void
bdr_apply_fire_triggers(BdrRelation *rel)
{
	MemoryContext old;

	if (!rel->fires_triggers)
		return;
	old = MemoryContextSwitchTo(rel->estate->es_query_cxt);
	AfterTriggerEndQuery(rel->estate);
	MemoryContextSwitchTo(old);
	CommandCounterIncrement();
}

static void
end_change(BdrRelation *rel)
{
	ExecClearTuple(rel->found_slot);
	bdr_apply_fire_triggers(rel);
	ResetPerTupleExprContext(rel->estate);
	MemoryContextReset(bdr_change_context);
}
