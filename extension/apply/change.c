/*-------------------------------------------------------------------------
 * apply/change.c
 *		Changes to local tables: one function per kind of change.
 *
 * NOTES
 *		Inserts into one table that follow each other are gathered into a
 *		run and written with one multi-insert.  A run ends with its frame at
 *		the latest, since its values lie in the frame.
 *
 *		Nothing is looked up before an insert.  When a unique index objects,
 *		the unit starts over with xact.careful set (apply/retry.c), and then
 *		every row is checked first.  Whatever may meet another version is left
 *		to conflict/resolve.c.
 *
 *		Changes are applied in the change context, which only this folder
 *		resets, after each.  Nothing that PostgreSQL keeps may lie there: what
 *		goes with an open table is in its exec_context or in its executor's
 *		es_query_cxt, what goes with a mapping is in map_context.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/executor.h"
#include "utils/memutils.h"

#include "apply/change.h"
#include "apply/state.h"
#include "base/user_context.h"
#include "conflict/concurrent.h"
#include "conflict/dead_entry.h"
#include "conflict/resolve.h"
#include "conflict/schema_mismatch.h"
#include "conflict/store.h"
#include "row/partition.h"
#include "row/row_version.h"
#include "row/trigger.h"
#include "version/key_removal.h"
#include "bdr_wire.h"

/* Limits of a run; the frame is another one. */
#define BDR_RUN_ROWS_MAX		1000

typedef struct BdrRun
{
	BdrRelation *rel;			/* NULL: no run */
	int			count;
	uint32		first_change;
} BdrRun;

static BdrRun run;

static BdrRelation *leaf_of_next_row(BdrRelation *root, BdrReader reader);
static TupleTableSlot *next_run_slot(BdrRelation *rel);
static void leave_out(BdrReader *reader);
static void reroute_insert(BdrRelation *rel, BdrReader reader);
static bool find_and_write(BdrUpdate *update);
static bool find_in_leaves(BdrUpdate *update, Oid except, bool everywhere);
static bool find_in_leaf(BdrUpdate *update, Oid relid);
static bool find_elsewhere(BdrUpdate *update);
static void read_again(BdrUpdate *update, const BdrUpdate *from);
static bool update_found(BdrUpdate *update);
static bool delete_found(BdrUpdate *update);
static void end_change(BdrRelation *rel);

/* After an abort. */
void
bdr_change_forget(void)
{
	run.rel = NULL;
	run.count = 0;
	bdr_apply.relation = NULL;
	bdr_apply.column = NULL;
}

/*
 * The relation of the change that comes next, open and acted for by its owner.
 * NULL: its table does not exist here, and a resolver says that the change is
 * not for this node.
 */
BdrRelation *
bdr_change_open(BdrReader *reader)
{
	BdrRelation *rel = bdr_relation_find(bdr_read_uint32(reader));

	if (unlikely(!bdr_relation_is_ready(rel)))
	{
		/* only an insert finds a run here, and it may be one of rel */
		bdr_change_flush();
		if (!bdr_relation_open(rel))
		{
			bdr_mismatch_table(rel);
			return bdr_apply.relation = NULL;
		}
	}
	bdr_user_switch(rel->owner);
	return bdr_apply.relation = rel;
}

/* ---------------------------------------------------------------------
 * INSERT
 * ---------------------------------------------------------------------
 */
void
bdr_change_insert(BdrReader *reader)
{
	BdrRelation *rel;
	TupleTableSlot *slot;
	BdrReader	start;

	rel = bdr_change_open(reader);
	if (unlikely(rel == NULL))
	{
		leave_out(reader);
		return;
	}
	start = *reader;
	if (unlikely(rel->routes))
		rel = leaf_of_next_row(rel, start);
	if (run.rel != NULL && (run.rel != rel || run.count == BDR_RUN_ROWS_MAX))
	{
		bdr_change_flush();
		bdr_apply.relation = rel;
		bdr_user_switch(rel->owner);
	}
	slot = next_run_slot(rel);
	bdr_tuple_read(reader, rel, slot);
	if (rel->nunchanged > 0)
		bdr_frame_error("An inserted row has an unchanged value.");
	if (unlikely(rel->differs) && !bdr_mismatch_accept(rel, slot))
	{
		leave_out(reader);
		return;
	}
	bdr_apply.xact.counters.inserts++;

	if (rel->batchable && !bdr_apply.xact.careful)
	{
		if (unlikely(rel->reroutes) && !bdr_partition_accepts(rel, slot))
		{
			reroute_insert(rel, start);
			return;
		}
		if (run.rel == NULL)
			run.first_change = bdr_apply.xact.change_nr;
		run.rel = rel;
		run.count++;
		return;
	}
	bdr_change_begin(rel);
	bdr_tuple_fill_defaults(rel, slot);
	bdr_store_where_it_belongs(rel, slot);
	ExecClearTuple(slot);
	end_change(rel);
}

/*
 * Writing a run takes away what was read; the caller reads the row again.
 */
static BdrRelation *
leaf_of_next_row(BdrRelation *root, BdrReader reader)
{
	BdrRelation *leaf = bdr_partition_of_new_row(root, reader);

	if (!bdr_relation_is_ready(leaf))
	{
		bdr_change_flush();
		bdr_partition_open_leaf(root, leaf->leaf_relid);
	}
	return bdr_apply.relation = leaf;
}

/*
 * A resolver says that this change is not for this node.
 */
static void
leave_out(BdrReader *reader)
{
	reader->at = reader->end;
	bdr_apply.relation = NULL;
}

/*
 * This partition is another one than the peer's.
 */
static void
reroute_insert(BdrRelation *rel, BdrReader reader)
{
	bdr_change_flush();
	rel = leaf_of_next_row(rel->root, reader);
	bdr_tuple_read(&reader, rel, rel->new_slot);
	bdr_change_begin(rel);
	bdr_tuple_fill_defaults(rel, rel->new_slot);
	bdr_store_insert(rel, rel->new_slot);
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
bdr_change_is_flushed(void)
{
	return run.rel == NULL;
}

/*
 * Write the run, if there is one.  What was read into the change context is
 * gone then, so this comes first: a message other than INSERT never sees a run
 * (apply/frame.c), and who reads an insert reads it again after calling this.
 */
void
bdr_change_flush(void)
{
	BdrRelation *rel = run.rel;
	int			count = run.count;
	uint32		change_nr = bdr_apply.xact.change_nr;

	if (rel == NULL)
		return;
	run.rel = NULL;
	run.count = 0;
	bdr_apply.relation = rel;
	bdr_user_switch(rel->owner);
	bdr_apply.xact.change_nr = run.first_change;
	if (count == 1)
		bdr_store_alone(rel, rel->run_slots[0]);
	else
		bdr_store_run(rel, rel->run_slots, count, run.first_change);
	/* storing a row made a copy of it in its slot */
	for (int i = 0; i < count; i++)
		ExecClearTuple(rel->run_slots[i]);
	bdr_apply.xact.change_nr = change_nr;
	bdr_apply.relation = NULL;
	ResetPerTupleExprContext(rel->estate);
	MemoryContextReset(bdr_apply.change_context);
}

/* ---------------------------------------------------------------------
 * UPDATE
 * ---------------------------------------------------------------------
 */
void
bdr_change_update(BdrReader *reader)
{
	BdrUpdate	update;

	Assert(bdr_change_is_flushed());
	update.rel = bdr_change_open(reader);
	if (likely(update.rel != NULL))
		bdr_tuple_read_update(&update, reader);
	if (unlikely(update.rel == NULL ||
				 (update.rel->differs && !bdr_mismatch_accept(update.rel, update.row))))
	{
		leave_out(reader);
		return;
	}
	bdr_apply.xact.counters.updates++;
	bdr_change_begin(update.rel);
	if (!find_and_write(&update))
		bdr_resolve_update(&update);
	end_change(update.rel);
}

/*
 * Find the row of an update or delete and write it.  Returns false when there
 * is none.
 */
static bool
find_and_write(BdrUpdate *update)
{
	BdrRelation *rel = update->rel;
	bool		done = false;

	if (unlikely(rel->routes))
		return find_in_leaves(update, InvalidOid, true);
	while (!done)
	{
		if (!bdr_dead_entry_find_row(rel, update->lookup, update->key, rel->found_slot))
			return unlikely(rel->reroutes) && find_elsewhere(update);
		done = update->row != NULL ? update_found(update) : delete_found(update);
		ExecClearTuple(rel->found_slot);
	}
	return true;
}

/*
 * update->rel routes.
 */
static bool
find_in_leaves(BdrUpdate *update, Oid except, bool everywhere)
{
	ListCell   *lc;

	foreach(lc, bdr_partition_candidates(update, except, everywhere))
	{
		if (find_in_leaf(update, lfirst_oid(lc)))
			return true;
	}
	return false;
}

static bool
find_in_leaf(BdrUpdate *update, Oid relid)
{
	BdrUpdate	in_leaf;
	bool		found;

	in_leaf.rel = bdr_partition_open_leaf(update->rel, relid);
	read_again(&in_leaf, update);
	bdr_change_begin(in_leaf.rel);
	found = find_and_write(&in_leaf);
	ExecClearTuple(in_leaf.rel->found_slot);
	bdr_change_fire(in_leaf.rel);
	ResetPerTupleExprContext(in_leaf.rel->estate);
	return found;
}

/*
 * The row was not found in this partition, which has the name of the peer's.
 * Look in the others, unless they may have another row of that key.
 */
static bool
find_elsewhere(BdrUpdate *update)
{
	BdrRelation *rel = update->rel;
	BdrUpdate	at_root;

	if (OidIsValid(rel->leaf_relid))
		return false;
	bdr_partition_open_root(rel->root);
	at_root.rel = rel->root;
	read_again(&at_root, update);
	return find_in_leaves(&at_root, rel->local_relid,
						  (rel->flags & BDR_RELATION_UNIQUE_IN_ROOT) != 0);
}

/*
 * The same change for another table.
 */
static void
read_again(BdrUpdate *update, const BdrUpdate *from)
{
	BdrReader	reader = from->body;

	if (from->row != NULL)
		bdr_tuple_read_update(update, &reader);
	else
		bdr_tuple_read_delete(update, &reader);
}

/*
 * Returns false when the row in found_slot has changed meanwhile.
 */
static bool
update_found(BdrUpdate *update)
{
	BdrRelation *rel = update->rel;

	if (likely(!bdr_conflict_with_update(rel, rel->found_slot) && (rel->nunchanged == 0 || bdr_resolve_may_fill(rel)) &&
			   (rel->row_version == InvalidAttrNumber || !bdr_row_version_differs(update, rel, rel->found_slot))))
	{
		bdr_tuple_fill_from(rel, update->row, rel->found_slot);
		if (likely(bdr_resolve_is_plain(update)))
			return bdr_store_update(rel, rel->found_slot, update->row);
	}
	bdr_resolve_update(update);
	return true;
}

/* ---------------------------------------------------------------------
 * DELETE
 * ---------------------------------------------------------------------
 */
void
bdr_change_delete(BdrReader *reader)
{
	BdrUpdate	update;

	Assert(bdr_change_is_flushed());
	update.rel = bdr_change_open(reader);
	if (unlikely(update.rel == NULL))
	{
		leave_out(reader);
		return;
	}
	bdr_tuple_read_delete(&update, reader);
	bdr_apply.xact.counters.deletes++;
	bdr_key_removal_begin(update.rel->local_relid);
	bdr_change_begin(update.rel);
	if (!find_and_write(&update))
		bdr_resolve_delete(&update);
	end_change(update.rel);
}

/*
 * Returns false when the row in found_slot has changed meanwhile.
 */
static bool
delete_found(BdrUpdate *update)
{
	BdrRelation *rel = update->rel;

	if (likely(!bdr_conflict_with_delete(rel, rel->found_slot) &&
			   (rel->row_version == InvalidAttrNumber || !bdr_row_version_differs(update, rel, rel->found_slot))))
		return bdr_store_delete(rel, rel->found_slot);
	bdr_resolve_delete(update);
	return true;
}

static void
end_change(BdrRelation *rel)
{
	ExecClearTuple(rel->found_slot);
	bdr_change_fire(rel);
	ResetPerTupleExprContext(rel->estate);
	MemoryContextReset(bdr_apply.change_context);
}
