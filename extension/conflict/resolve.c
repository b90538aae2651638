/*-------------------------------------------------------------------------
 * conflict/resolve.c
 *		Changes that may meet another version: find out, decide, carry out.
 *
 * NOTES
 *		apply/change.c comes here with every change but those of which it is
 *		plain that nothing is in the way: an insert, as long as no index
 *		objects; an update of the row that its origin updated, which leaves
 *		constrained values alone; a deletion of an older row.
 *
 *		A case is resolved in rounds.  A round finds what is there, asks what
 *		to do and does it; it ends early, and another one begins, when a row
 *		has changed meanwhile.
 *
 *		Another writer may be resolving a case of the same values.  Each
 *		publishes first, a row in the indexes or a remembered version, and
 *		then looks for what the other may have published.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/datum.h"

#include "base/retry.h"
#include "conflict/ask.h"
#include "conflict/concurrent.h"
#include "conflict/dead_entry.h"
#include "conflict/deferred.h"
#include "conflict/detect.h"
#include "conflict/fetch.h"
#include "conflict/log.h"
#include "conflict/resolve.h"
#include "conflict/store.h"
#include "conflict/tombstone.h"
#include "row/partition.h"
#include "row/statistics.h"
#include "row/trigger.h"
#include "row/write.h"
#include "version/key_removal.h"
#include "bdr_compat.h"

static bool update_round(BdrUpdate *update);
static bool move_round(BdrUpdate *update, BdrCase *c);
static bool moves_key(BdrUpdate *update);
static BdrImage fill(BdrUpdate *update, bool is_here);
static bool leaves_out_constrained(BdrRelation *rel);
static BdrImage fetch(BdrUpdate *update);
static bool resolve_where_it_belongs(BdrCase *c);
static bool resolve_round(BdrCase *c);
static void decide(BdrCase *c);
static bool decide_alone(BdrCase *c);
static void win(BdrCase *c);
pg_noreturn static void raise_error(BdrCase *c);
static bool carry_out(BdrCase *c);
static bool take_away(BdrCase *c);
static bool store(BdrCase *c);
static BdrFound *find_replaced(BdrCase *c);
static void remember(BdrCase *c);
static void tell(BdrCase *c);
static void tell_of(BdrCase *c, BdrFound *found);
static void describe(BdrCase *c, BdrFound *found, BdrConflict *conflict);

/* ---------------------------------------------------------------------
 * Changes
 * ---------------------------------------------------------------------
 */
void
bdr_resolve_insert(BdrRelation *rel, TupleTableSlot *row)
{
	BdrCase		c = {rel, BDR_OP_INSERT};

	c.image = BDR_IMAGE_COMPLETE;
	c.row = row;
	c.lookup = bdr_resolve_key_lookup(rel);
	while (!resolve_where_it_belongs(&c))
		CHECK_FOR_INTERRUPTS();
}

/*
 * Each round reads the change again: its values may be those of a row that
 * has gone since.
 */
void
bdr_resolve_update(BdrUpdate *update)
{
	update->wants_all = false;
	do
	{
		BdrReader	body = update->body;

		CHECK_FOR_INTERRUPTS();
		bdr_tuple_read_update(update, &body);
	} while (!update_round(update));
}

void
bdr_resolve_delete(BdrUpdate *update)
{
	BdrCase		c = {update->rel, BDR_OP_DELETE};

	c.update = update;
	c.row = c.key = update->key;
	c.lookup = update->lookup;
	while (!resolve_round(&c))
		CHECK_FOR_INTERRUPTS();
}

/*
 * The transaction ends: resolve a row under its deferrable constraints.  It has
 * been stored, or lost under others.
 */
void
bdr_resolve_at_end(BdrRelation *rel, TupleTableSlot *row, bool is_stored)
{
	BdrCase		c = {rel, BDR_OP_UPDATE};

	c.key_changed = true;
	c.at_end = true;
	c.image = is_stored ? BDR_IMAGE_COMPLETE : BDR_IMAGE_GONE;
	c.row = row;
	c.old = is_stored ? row : NULL;
	c.lookup = bdr_resolve_key_lookup(rel);
	while (!resolve_round(&c))
		CHECK_FOR_INTERRUPTS();
}

/*
 * Does the update leave all constrained values of the row as they are?  It has
 * been filled from the row in found_slot, which is older or was seen by the
 * sender.
 */
bool
bdr_resolve_is_plain(BdrUpdate *update)
{
	BdrRelation *rel = update->rel;
	TupleTableSlot *found = rel->found_slot;
	TupleTableSlot *row = update->row;

	if (update->key != row && moves_key(update))
		return false;
	if (rel->nconstrained > 0)
		bdr_write_generated(rel, row, CMD_UPDATE);
	for (int i = 0; i < rel->nconstrained; i++)
	{
		int			att = rel->constrained[i] - 1;
		Form_pg_attribute form = TupleDescAttr(rel->desc, att);
		bool		isnull;
		Datum		value = slot_getattr(found, att + 1, &isnull);

		if (isnull != row->tts_isnull[att] ||
			(!isnull && !datum_image_eq(value, row->tts_values[att], form->attbyval, form->attlen)))
			return false;
	}
	return true;
}

/*
 * How rows with the key of an incoming row are found.
 */
BdrLookup *
bdr_resolve_key_lookup(BdrRelation *rel)
{
	return rel->by_key.usable && rel->identity != REPLICA_IDENTITY_FULL ? &rel->by_key : &rel->by_row;
}

static bool
update_round(BdrUpdate *update)
{
	BdrRelation *rel = update->rel;
	BdrCase		c = {rel, BDR_OP_UPDATE};
	bool		is_here = !rel->routes && bdr_dead_entry_find_row(rel, update->lookup, update->key, rel->found_slot);

	c.image = fill(update, is_here);
	c.row = update->row;
	c.lookup = update->lookup;
	c.key = update->key;
	c.update = update;
	if (update->key != update->row && moves_key(update))
		return move_round(update, &c);
	return is_here ? resolve_round(&c) : resolve_where_it_belongs(&c);
}

/*
 * A change of the key is a deletion of the old one and then a new row.  The
 * row itself moves, if both come out so.  Users see one update.
 */
static bool
move_round(BdrUpdate *update, BdrCase *c)
{
	BdrCase		d = {update->rel, BDR_OP_DELETE};
	ListCell   *lc;
	bool		done;

	d.leaves = true;
	d.update = update;
	d.image = c->image;
	d.row = d.key = update->key;
	d.moved = c->row;
	d.lookup = update->lookup;
	bdr_key_removal_begin(d.rel->local_relid);
	bdr_case_describe(&d);
	bdr_deferred_supersede(d.rel, d.lookup, &d.constraints[0]);
	bdr_case_gather(&d);
	decide(&d);
	foreach(lc, d.found)
	{
		BdrFound   *found = lfirst(lc);

		if (found->fate != BDR_FATE_REMOVED)
			continue;
		c->old = found->row;
		found->fate = BDR_FATE_STAYS;	/* until the new row is decided about */
	}
	c->key_changed = true;
	done = carry_out(&d) &&
		(d.action == BDR_ACTION_IGNORE || (c->old != NULL ? resolve_round(c) : resolve_where_it_belongs(c)));
	d.stored = c->stored;
	if (done && d.type != 0 && c->action != BDR_ACTION_IGNORE)
		tell(&d);
	bdr_case_end(&d);
	return done;
}

static bool
moves_key(BdrUpdate *update)
{
	BdrLookup  *lookup = update->lookup;
	TupleTableSlot *key = update->key;
	TupleTableSlot *row = update->row;

	for (int i = 0; OidIsValid(lookup->index) && i < lookup->nkeys; i++)
	{
		int			att = lookup->attnums[i] - 1;
		Form_pg_attribute form = TupleDescAttr(update->rel->desc, att);

		if (key->tts_isnull[att] != row->tts_isnull[att] ||
			(!key->tts_isnull[att] &&
			 !datum_image_eq(key->tts_values[att], row->tts_values[att], form->attbyval, form->attlen)))
			return true;
	}
	return false;
}

/*
 * Values that were not sent: from the row in found_slot, if it is here and the
 * right one, else from the origin, if they are needed.
 */
static BdrImage
fill(BdrUpdate *update, bool is_here)
{
	BdrRelation *rel = update->rel;
	BdrImage	image = BDR_IMAGE_COMPLETE;

	if (!is_here)
		bdr_tuple_fill_defaults(rel, update->row);
	if (rel->nunchanged > 0 && !(is_here && bdr_resolve_may_fill(rel)))
		image = update->wants_all || leaves_out_constrained(rel) ? fetch(update) : BDR_IMAGE_PARTIAL;
	if (is_here && image == BDR_IMAGE_COMPLETE)
	{
		bdr_tuple_fill_from(rel, update->row, rel->found_slot);
		/* the row that it is written over may be another one */
		memset(rel->unchanged, false, rel->desc->natts);
		rel->nunchanged = 0;
	}
	return image;
}

/*
 * What the row collides with cannot be told without such a value.
 */
static bool
leaves_out_constrained(BdrRelation *rel)
{
	for (int i = 0; i < rel->nconstrained; i++)
	{
		if (rel->unchanged[rel->constrained[i] - 1])
			return true;
	}
	return false;
}

static BdrImage
fetch(BdrUpdate *update)
{
	BdrApply   *apply = update->rel->apply;

	if (apply->peer.catch_up)
		return BDR_IMAGE_PARTIAL;
	apply->xact.fetched = true;
	return bdr_fetch_row(update->rel, update->row) == BDR_FETCH_COMPLETE ? BDR_IMAGE_COMPLETE : BDR_IMAGE_GONE;
}

/*
 * May values that an update left out be taken from the row in found_slot?
 *
 * Only if it is the one that the origin updated.  The origin leaves them out
 * only where it wrote the row before itself.  What was fetched in this
 * transaction may be of a later change than the one that comes now.
 */
bool
bdr_resolve_may_fill(BdrRelation *rel)
{
	TransactionId xmin = bdr_version_xmin(rel->found_slot);
	BdrVersion	version;

	if (rel->apply->peer.trusted)
		return true;
	bdr_version_of(xmin, &version);
	return version.known && version.node == bdr_version_incoming()->node &&
		!(rel->apply->xact.fetched && TransactionIdIsCurrentTransactionId(xmin));
}

/* ---------------------------------------------------------------------
 * A round
 * ---------------------------------------------------------------------
 */

/*
 * In the partition that the row belongs to.
 */
static bool
resolve_where_it_belongs(BdrCase *c)
{
	BdrCase		there = *c;
	bool		done;

	if (likely(!c->rel->routes && !c->rel->reroutes))
		return resolve_round(c);
	there.rel = bdr_partition_target(c->rel, &there.row);
	if (there.rel == c->rel)
		return resolve_round(c);
	bdr_change_begin(there.rel);
	there.lookup = bdr_resolve_key_lookup(there.rel);
	there.key = c->key != NULL ? there.row : NULL;
	done = resolve_round(&there);
	bdr_change_fire(there.rel);
	c->action = there.action;
	c->stored = there.stored;
	return done;
}

/*
 * One round.  Returns false when something has changed meanwhile, or when the
 * next one must have the complete row.
 */
static bool
resolve_round(BdrCase *c)
{
	bool		done;

	bdr_key_removal_begin(c->rel->local_relid);
	if (c->operation != BDR_OP_DELETE && !c->at_end)
		bdr_write_generated(c->rel, c->row, c->operation == BDR_OP_INSERT ? CMD_INSERT : CMD_UPDATE);
	bdr_case_describe(c);
	bdr_deferred_supersede(c->rel, c->lookup, &c->constraints[0]);
	bdr_case_gather(c);
	decide(c);
	if (c->action == BDR_ACTION_FETCH)
		c->update->wants_all = true;
	done = c->action != BDR_ACTION_FETCH && carry_out(c);
	bdr_case_end(c);
	return done;
}

static void
decide(BdrCase *c)
{
	c->type = 0;
	c->resolution = NULL;
	c->rule = NULL;
	c->decisive = NULL;
	if (c->rel->apply->peer.trusted || decide_alone(c))
		win(c);
	else
		bdr_conflict_plan(c);
	if (c->action == BDR_ACTION_ERROR)
		raise_error(c);
}

/*
 * Is it plain that the incoming version wins, and that this is no conflict?
 */
static bool
decide_alone(BdrCase *c)
{
	BdrFound   *found;

	if (c->operation != BDR_OP_DELETE && c->image != BDR_IMAGE_COMPLETE)
		return false;
	if (c->found == NIL)
		return c->operation == BDR_OP_INSERT || c->key_changed;
	found = linitial(c->found);
	if (list_length(c->found) > 1 || found->row == NULL || !bms_is_member(0, found->on))
		return false;
	return c->operation != BDR_OP_INSERT && !c->key_changed &&
		bdr_version_compare(&found->version, bdr_version_incoming()) <= 0 && bdr_conflict_is_seen(c, found);
}

/*
 * The incoming version goes where it belongs, whatever is there.
 */
static void
win(BdrCase *c)
{
	ListCell   *lc;

	c->action = c->operation == BDR_OP_DELETE ? BDR_ACTION_KEEP :
		c->image == BDR_IMAGE_COMPLETE ? BDR_ACTION_INSERT : BDR_ACTION_KEEP;
	foreach(lc, c->found)
	{
		BdrFound   *found = lfirst(lc);

		if (found->row == NULL)
			continue;
		if (!bms_is_member(0, found->on))
		{
			found->fate = BDR_FATE_EVICTED;
			continue;
		}
		c->action = BDR_ACTION_APPLY;
		found->fate = c->operation == BDR_OP_DELETE ? BDR_FATE_REMOVED : BDR_FATE_REPLACED;
	}
}

static void
raise_error(BdrCase *c)
{
	BdrConflict conflict;

	describe(c, c->decisive, &conflict);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("conflict of type %s on table \"%s.%s\"", bdr_conflict_type_name(c->type),
					c->rel->schema, c->rel->name),
			 errdetail("Key %s of a change from node \"%s\". Rule: %s.", bdr_conflict_key_text(&conflict),
					   c->rel->apply->peer.name, c->rule),
			 errhint("Choose another resolver for conflict type %s with bdr.alter_node_set_conflict_resolver; replication then continues by itself.",
					 bdr_conflict_type_name(c->type))));
}

/* ---------------------------------------------------------------------
 * What was decided
 * ---------------------------------------------------------------------
 */

/*
 * Returns false when a row has changed meanwhile, or one came up that must be
 * decided about: another round is needed.
 */
static bool
carry_out(BdrCase *c)
{
	bool		stores = c->operation != BDR_OP_DELETE &&
		(c->action == BDR_ACTION_APPLY || c->action == BDR_ACTION_INSERT);
	bool		remembers = false;

	if (!take_away(c) || (stores && !store(c)))
		return false;
	for (int k = 0; k < c->nconstraints; k++)
		remembers |= c->constraints[k].remember && c->constraints[k].by_value;
	if (remembers)
		remember(c);
	c->stored = stores;
	if (c->type != 0 && !c->leaves)
		tell(c);
	if (unlikely(c->rel->has_deferrable) && c->action == BDR_ACTION_KEEP && c->operation != BDR_OP_DELETE && !c->at_end)
		bdr_deferred_add_lost(c->rel, c->row);
	if (remembers && bdr_case_overlooked(c))
		return false;
	if (stores && bdr_store_may_be_surpassed(c->rel) && bdr_case_is_surpassed(c))
		bdr_retry_start_over(c->rel->apply->xact.xid, c->rel->apply->peer.name);
	return true;
}

/*
 * Delete the rows that go.  One that another key's row takes the place of
 * leaves a mark.
 */
static bool
take_away(BdrCase *c)
{
	ListCell   *lc;

	foreach(lc, c->found)
	{
		BdrFound   *found = lfirst(lc);

		if (found->fate != BDR_FATE_REMOVED && found->fate != BDR_FATE_EVICTED)
			continue;
		if (!bdr_store_delete(c->rel, found->row))
			return false;
		if (found->fate == BDR_FATE_EVICTED && !c->rel->apply->peer.trusted)
			bdr_tombstone_mark_evicted(c->rel, c->lookup, found->row);
	}
	if (c->old != NULL && c->at_end && c->action == BDR_ACTION_IGNORE)
		return bdr_store_take_back(c->rel, c->lookup, c->old);
	if (c->old != NULL && c->action != BDR_ACTION_INSERT && c->action != BDR_ACTION_IGNORE)
		return bdr_store_delete(c->rel, c->old);
	return true;
}

static bool
store(BdrCase *c)
{
	BdrFound   *replaced = find_replaced(c);

	if (c->at_end)
		return true;
	if (replaced != NULL)
	{
		/* columns that the peer does not know keep the local value */
		bdr_tuple_fill_from(c->rel, c->row, replaced->row);
		return bdr_store_update(c->rel, replaced->row, c->row);
	}
	if (c->old != NULL)
		return bdr_store_update(c->rel, c->old, c->row);
	bdr_store_insert(c->rel, c->row);
	return true;
}

static BdrFound *
find_replaced(BdrCase *c)
{
	ListCell   *lc;

	foreach(lc, c->found)
	{
		if (((BdrFound *) lfirst(lc))->fate == BDR_FATE_REPLACED)
			return lfirst(lc);
	}
	return NULL;
}

static void
remember(BdrCase *c)
{
	for (int k = 0; k < c->nconstraints; k++)
	{
		if (c->constraints[k].remember)
			bdr_tombstone_remember(c->rel, &c->constraints[k]);
	}
}

/* ---------------------------------------------------------------------
 * Telling
 * ---------------------------------------------------------------------
 */

/*
 * Every row that was lost is told of, and what decided in any case.
 */
static void
tell(BdrCase *c)
{
	bool		told = false;
	ListCell   *lc;

	c->rel->apply->xact.counters.conflicts++;
	bdr_stats_count(c->rel, BDR_COUNT_CONFLICTS);
	foreach(lc, c->found)
	{
		BdrFound   *found = lfirst(lc);

		if (found->fate == BDR_FATE_STAYS)
			continue;
		tell_of(c, found);
		told = true;
	}
	if (!told)
		tell_of(c, c->decisive);
}

static void
tell_of(BdrCase *c, BdrFound *found)
{
	BdrConflict conflict;

	describe(c, found, &conflict);
	bdr_conflict_log(&conflict, c->stored ? conflict.remote : NULL);
}

static void
describe(BdrCase *c, BdrFound *found, BdrConflict *conflict)
{
	memset(conflict, 0, sizeof(*conflict));
	conflict->type = c->type;
	conflict->rel = c->rel;
	conflict->key = c->key;
	conflict->key_columns = c->lookup->compare;
	conflict->remote = c->operation == BDR_OP_DELETE ? c->moved : c->row;
	conflict->complete = c->image == BDR_IMAGE_COMPLETE;
	conflict->action = c->action;
	conflict->resolution = c->resolution;
	conflict->rule = c->rule;
	if (found == NULL)
		return;
	conflict->local = found->row;
	conflict->local_xmin = found->xmin;
	conflict->local_version = found->version;
	conflict->index = c->constraints[bms_next_member(found->on, -1)].index;
}
