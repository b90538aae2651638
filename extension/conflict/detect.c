/*-------------------------------------------------------------------------
 * conflict/detect.c
 *		What an incoming version collides with: rows, and versions that are
 *		no longer, or never were, to be seen.
 *
 * NOTES
 *		Rows are wanted as they are now, so they are searched with a dirty
 *		snapshot, waiting for whoever is writing one.  Such a search can miss
 *		a row whose next version was added behind it meanwhile; an ordinary
 *		snapshot has the last word on a miss.
 *
 *		Dead rows are found through the same indexes with SnapshotAny, as long
 *		as the hold keeps VACUUM from them; the rest is in conflict/tombstone.c.
 *		Where a row of the table has a value, nothing invisible is newer on
 *		it, so they are looked for only where no row was found.
 *
 *		Deferrable constraints are looked at alone, when the transaction ends:
 *		conflict/deferred.c.  An image that came and went in one transaction takes
 *		nothing under them.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/amapi.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "apply/apply.h"
#include "base/bdr.h"
#include "conflict/conflict.h"
#include "bdr_compat.h"

static bool describe_index(BdrCase *c, BdrConstraint *constraint, int place);
static void set_operator(BdrConstraint *constraint, Relation index, IndexInfo *info, int i);
static Oid	value_type(BdrRelation *rel, IndexInfo *info, int i);
static void set_value(BdrConstraint *constraint, int i, Datum value);
static bool was_overruled(BdrCase *c, int k, const BdrVersion *version);
static void take_text(BdrConstraint *constraint, BdrRelation *rel, BdrLookup *lookup, int i, char *text);
static bool find_rows(BdrCase *c);
static void find_row_by_lookup(BdrCase *c);
static bool find_rows_by_index(BdrCase *c, int k);
static bool is_torn(BdrCase *c, int k);
static bool nothing_missed(BdrCase *c, int k);
static bool is_row(BdrCase *c, BdrConstraint *constraint, IndexScanDesc scan, TupleTableSlot *slot);
static bool is_known(BdrCase *c, int k, ItemPointer tid);
static void add_row(BdrCase *c, int k, TupleTableSlot *slot);
static bool find_unseen(BdrCase *c);
static bool newest_unseen(BdrCase *c, BdrConstraint *constraint, bool wait, BdrVersion *newest);
static bool newest_dead(BdrCase *c, BdrConstraint *constraint, bool wait, BdrVersion *newest);
static bool take_dead(BdrCase *c, BdrConstraint *constraint, TupleTableSlot *slot, BdrVersion *newest);
static void take_version(TransactionId xid, BdrVersion *newest);
static BdrXactState hinted(HeapTupleHeader header, uint16 committed, uint16 aborted, TransactionId xid);
static BdrXactState how_ended(TransactionId xid);
static TransactionId ender_of(HeapTupleHeader header);
static bool is_worth_telling(BdrCase *c, int k, const BdrVersion *version);

/* ---------------------------------------------------------------------
 * The constraints, and the values that the incoming row has there
 * ---------------------------------------------------------------------
 */

/*
 * Generated columns of the row must have been computed.
 */
void
bdr_case_describe(BdrCase *c)
{
	BdrRelation *rel = c->rel;
	int			nindexes = c->operation == BDR_OP_DELETE ? 0 : rel->result->ri_NumIndices;

	c->constraints = palloc0((1 + nindexes) * sizeof(BdrConstraint));
	bdr_constraint_of_key(&c->constraints[0], rel, c->lookup, c->row);
	c->nconstraints = 1;
	for (int i = 0; i < nindexes; i++)
	{
		if (rel->index_oids[i] != c->lookup->index &&
			describe_index(c, &c->constraints[c->nconstraints], i))
			c->nconstraints++;
	}
}

void
bdr_constraint_of_key(BdrConstraint *key, BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *row)
{
	memset(key, 0, sizeof(*key));
	key->place = -1;
	key->name = "";
	key->index = lookup->index;
	if (!lookup->usable || !OidIsValid(lookup->index))
		return;
	for (int i = 0; i < rel->result->ri_NumIndices; i++)
	{
		if (rel->index_oids[i] == lookup->index)
			key->place = i;
	}
	key->nkeys = lookup->nkeys;
	key->keys = palloc(lookup->nkeys * sizeof(ScanKeyData));
	key->types = palloc(lookup->nkeys * sizeof(Oid));
	memcpy(key->keys, lookup->keys, lookup->nkeys * sizeof(ScanKeyData));
	slot_getallattrs(row);
	for (int i = 0; i < lookup->nkeys; i++)
	{
		int			att = lookup->attnums[i] - 1;

		/* NULL is equal to nothing */
		if (row->tts_isnull[att])
			return;
		key->types[i] = getBaseType(TupleDescAttr(rel->desc, att)->atttypid);
		set_value(key, i, row->tts_values[att]);
	}
	key->by_value = true;
}

/*
 * Returns false when the row cannot collide there.
 */
static bool
describe_index(BdrCase *c, BdrConstraint *constraint, int place)
{
	BdrRelation *rel = c->rel;
	TupleTableSlot *row = c->row;
	Relation	index = rel->result->ri_IndexRelationDescs[place];
	IndexInfo  *info = rel->result->ri_IndexRelationInfo[place];
	ExprContext *econtext = GetPerTupleExprContext(rel->estate);
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];

	if ((!info->ii_Unique && info->ii_ExclusionOps == NULL) ||
		!info->ii_ReadyForInserts || index->rd_index->indimmediate == c->at_end)
		return false;
	econtext->ecxt_scantuple = row;
	if (info->ii_Predicate != NIL)
	{
		if (info->ii_PredicateState == NULL)
			info->ii_PredicateState = ExecPrepareQual(info->ii_Predicate, rel->estate);
		if (!ExecQual(info->ii_PredicateState, econtext))
			return false;
	}
	FormIndexDatum(info, row, rel->estate, values, isnull);

	memset(constraint, 0, sizeof(*constraint));
	constraint->place = place;
	constraint->index = RelationGetRelid(index);
	constraint->name = RelationGetRelationName(index);
	constraint->is_exclusion = info->ii_ExclusionOps != NULL;
	constraint->is_deferrable = !index->rd_index->indimmediate;
	constraint->by_value = true;
	constraint->nkeys = IndexRelationGetNumberOfKeyAttributes(index);
	constraint->keys = palloc0(constraint->nkeys * sizeof(ScanKeyData));
	constraint->types = palloc(constraint->nkeys * sizeof(Oid));
	for (int i = 0; i < constraint->nkeys; i++)
	{
		if (isnull[i] && (constraint->is_exclusion || !info->ii_NullsNotDistinct))
			return false;
		set_operator(constraint, index, info, i);
		constraint->types[i] = getBaseType(value_type(rel, info, i));
		if (isnull[i])
			constraint->keys[i].sk_flags |= SK_ISNULL | SK_SEARCHNULL;
		else
			set_value(constraint, i, values[i]);
	}
	return true;
}

static void
set_operator(BdrConstraint *constraint, Relation index, IndexInfo *info, int i)
{
	if (constraint->is_exclusion)
		ScanKeyEntryInitialize(&constraint->keys[i], 0, i + 1, info->ii_ExclusionStrats[i], InvalidOid,
							   index->rd_indcollation[i], info->ii_ExclusionProcs[i], (Datum) 0);
	else if (!bdr_index_scan_key(&constraint->keys[i], index, i))
		elog(ERROR, "unique index \"%s\" has no equality operator", RelationGetRelationName(index));
}

static Oid
value_type(BdrRelation *rel, IndexInfo *info, int i)
{
	int			nexpressions = 0;

	if (info->ii_IndexAttrNumbers[i] != InvalidAttrNumber)
		return TupleDescAttr(rel->desc, info->ii_IndexAttrNumbers[i] - 1)->atttypid;
	for (int k = 0; k < i; k++)
		nexpressions += info->ii_IndexAttrNumbers[k] == InvalidAttrNumber ? 1 : 0;
	return exprType(list_nth(info->ii_Expressions, nexpressions));
}

/*
 * Keep the value: the row may be read again.
 */
static void
set_value(BdrConstraint *constraint, int i, Datum value)
{
	int16		len;
	bool		byval;

	get_typlenbyval(constraint->types[i], &len, &byval);
	constraint->keys[i].sk_argument = datumCopy(value, byval, len);
}

/*
 * The same for values that a peer remembers as texts.  Returns false when there
 * is no such constraint here.
 */
bool
bdr_constraint_of_texts(BdrConstraint *constraint, BdrRelation *rel, BdrLookup *lookup,
						const char *index, int n, char **texts)
{
	bool		is_key = index[0] == '\0';
	int			place = -1;

	memset(constraint, 0, sizeof(*constraint));
	for (int i = 0; i < rel->result->ri_NumIndices; i++)
	{
		Relation	candidate = rel->result->ri_IndexRelationDescs[i];

		if (is_key ? RelationGetRelid(candidate) == lookup->index :
			strcmp(RelationGetRelationName(candidate), index) == 0)
			place = i;
	}
	if (is_key ? !lookup->usable || !OidIsValid(lookup->index) || lookup->nkeys != n :
		place < 0 || IndexRelationGetNumberOfKeyAttributes(rel->result->ri_IndexRelationDescs[place]) != n)
		return false;
	constraint->place = place;
	constraint->name = index;
	constraint->by_value = true;
	constraint->nkeys = n;
	constraint->keys = palloc0(n * sizeof(ScanKeyData));
	constraint->types = palloc(n * sizeof(Oid));
	if (is_key)
		memcpy(constraint->keys, lookup->keys, n * sizeof(ScanKeyData));
	else
		constraint->is_exclusion = rel->result->ri_IndexRelationInfo[place]->ii_ExclusionOps != NULL;
	for (int i = 0; i < n; i++)
		take_text(constraint, rel, is_key ? lookup : NULL, i, texts[i]);
	return true;
}

static void
take_text(BdrConstraint *constraint, BdrRelation *rel, BdrLookup *lookup, int i, char *text)
{
	Oid			input;
	Oid			param;

	if (lookup != NULL)
		constraint->types[i] = getBaseType(TupleDescAttr(rel->desc, lookup->attnums[i] - 1)->atttypid);
	else
	{
		IndexInfo  *info = rel->result->ri_IndexRelationInfo[constraint->place];

		set_operator(constraint, rel->result->ri_IndexRelationDescs[constraint->place], info, i);
		constraint->types[i] = getBaseType(value_type(rel, info, i));
	}
	if (text == NULL)
	{
		constraint->keys[i].sk_flags |= SK_ISNULL | SK_SEARCHNULL;
		return;
	}
	getTypeInputInfo(constraint->types[i], &input, &param);
	set_value(constraint, i, OidInputFunctionCall(input, text, param, -1));
}

/*
 * Do these values of another row collide with those of the incoming one?
 */
bool
bdr_constraint_matches(BdrConstraint *constraint, const Datum *values, const bool *isnull)
{
	for (int i = 0; i < constraint->nkeys; i++)
	{
		ScanKey		key = &constraint->keys[i];
		bool		wants_null = (key->sk_flags & SK_ISNULL) != 0;

		if (isnull[i] || wants_null)
		{
			if (isnull[i] != wants_null)
				return false;
			continue;
		}
		if (!DatumGetBool(FunctionCall2Coll(&key->sk_func, key->sk_collation, values[i], key->sk_argument)))
			return false;
	}
	return true;
}

/* ---------------------------------------------------------------------
 * All that there is
 * ---------------------------------------------------------------------
 */

/*
 * Leave what c collides with in c->found.  Waits for transactions that write
 * such rows.
 */
void
bdr_case_gather(BdrCase *c)
{
	do
	{
		bdr_case_end(c);
		/* what this transaction has deleted is to be gone */
		CommandCounterIncrement();
		CHECK_FOR_INTERRUPTS();
	} while (!find_rows(c) || (!bdr_peer.trusted && !find_unseen(c)));
}

/*
 * The row has been stored: has it a value that a newer version took, unseen,
 * which was not there before?
 *
 * Who is writing such a version meets our row and waits for us, so we do not
 * wait.  What is in a row in progress will be looked for by its writer.
 */
bool
bdr_case_is_surpassed(BdrCase *c)
{
	BdrVersion	remote = {true, bdr_xact.commit_time, bdr_xact.origin_node};

	for (int k = c->at_end ? 1 : 0; k < c->nconstraints; k++)
	{
		BdrVersion	newest;

		(void) newest_unseen(c, &c->constraints[k], false, &newest);
		if (bdr_version_compare(&newest, &remote) > 0 && !was_overruled(c, k, &newest))
			return true;
	}
	return false;
}

/*
 * Was this version, or a newer one, found before it was decided to store the
 * row?
 */
static bool
was_overruled(BdrCase *c, int k, const BdrVersion *version)
{
	ListCell   *lc;

	foreach(lc, c->found)
	{
		BdrFound   *found = lfirst(lc);

		if (bms_is_member(k, found->on) && bdr_version_compare(&found->version, version) >= 0)
			return true;
	}
	return false;
}

/*
 * The version has been remembered: is there an older row that was not there
 * before?
 */
bool
bdr_case_overlooked(BdrCase *c)
{
	BdrVersion	remote = {true, bdr_xact.commit_time, bdr_xact.origin_node};
	BdrCase		again = *c;
	bool		overlooked = false;
	ListCell   *lc;

	again.found = NIL;
	do
	{
		bdr_case_end(&again);
		CommandCounterIncrement();
		CHECK_FOR_INTERRUPTS();
	} while (!find_rows(&again));
	foreach(lc, again.found)
	{
		BdrFound   *found = lfirst(lc);

		overlooked |= bdr_version_compare(&found->version, &remote) < 0;
	}
	bdr_case_end(&again);
	return overlooked;
}

/*
 * Let go of what was found.
 */
void
bdr_case_end(BdrCase *c)
{
	ListCell   *lc;

	foreach(lc, c->found)
	{
		BdrFound   *found = lfirst(lc);

		if (found->row != NULL)
			ExecDropSingleTupleTableSlot(found->row);
	}
	c->found = NIL;
	for (int k = 0; k < c->nconstraints; k++)
		c->constraints[k].taken = c->constraints[k].remember = false;
}

/* ---------------------------------------------------------------------
 * Rows
 * ---------------------------------------------------------------------
 */

/*
 * Returns false when the search has to begin again.
 */
static bool
find_rows(BdrCase *c)
{
	for (int k = c->at_end ? 1 : 0; k < c->nconstraints; k++)
	{
		BdrConstraint *constraint = &c->constraints[k];

		if (constraint->place < 0 || !constraint->by_value)
		{
			if (k == 0 && c->key != NULL && !c->key_changed && !c->rel->routes)
				find_row_by_lookup(c);
		}
		else if (!find_rows_by_index(c, k))
			return false;
	}
	return true;
}

/*
 * No index finds the row.
 */
static void
find_row_by_lookup(BdrCase *c)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(c->rel->desc, table_slot_callbacks(c->rel->rel));

	if (bdr_tuple_find(c->rel, c->lookup, c->key, slot))
		add_row(c, 0, slot);
	ExecDropSingleTupleTableSlot(slot);
}

static bool
find_rows_by_index(BdrCase *c, int k)
{
	BdrConstraint *constraint = &c->constraints[k];
	Relation	index = c->rel->result->ri_IndexRelationDescs[constraint->place];
	TupleTableSlot *slot = c->rel->other_slot;
	TransactionId busy = InvalidTransactionId;
	uint32		walked = 0;
	SnapshotData dirty;
	IndexScanDesc scan;

	InitDirtySnapshot(dirty);
	scan = bdr_index_beginscan(c->rel->rel, index, &dirty, constraint->nkeys);
	index_rescan(scan, constraint->keys, constraint->nkeys, NULL, 0);
	while (!TransactionIdIsValid(busy) && bdr_index_next_slot(scan, slot, &walked))
	{
		if (!is_row(c, constraint, scan, slot))
			continue;
		busy = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
		if (c->old != NULL && ItemPointerEquals(&c->old->tts_tid, &slot->tts_tid))
			constraint->taken |= !constraint->is_exclusion && !c->at_end;
		else if (!TransactionIdIsValid(busy))
			add_row(c, k, slot);
	}
	ExecClearTuple(slot);
	index_endscan(scan);
	bdr_sweep(c->rel, constraint, walked);
	if (TransactionIdIsValid(busy))
	{
		XactLockTableWait(busy, NULL, NULL, XLTW_None);
		return false;
	}
	return !is_torn(c, k) && (constraint->taken || nothing_missed(c, k));
}

/*
 * Two rows with one value: the first has gone while we were looking.
 */
static bool
is_torn(BdrCase *c, int k)
{
	int			n = 0;
	ListCell   *lc;

	if (c->constraints[k].is_exclusion || c->constraints[k].is_deferrable)
		return false;
	foreach(lc, c->found)
		n += bms_is_member(k, ((BdrFound *) lfirst(lc))->on) ? 1 : 0;
	return n > 1;
}

static bool
nothing_missed(BdrCase *c, int k)
{
	BdrConstraint *constraint = &c->constraints[k];
	Relation	index = c->rel->result->ri_IndexRelationDescs[constraint->place];
	TupleTableSlot *slot = c->rel->other_slot;
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	IndexScanDesc scan = bdr_index_beginscan(c->rel->rel, index, latest, constraint->nkeys);
	bool		missed = false;

	index_rescan(scan, constraint->keys, constraint->nkeys, NULL, 0);
	while (!missed && index_getnext_slot(scan, ForwardScanDirection, slot))
		missed = is_row(c, constraint, scan, slot) && !is_known(c, k, &slot->tts_tid);
	ExecClearTuple(slot);
	index_endscan(scan);
	UnregisterSnapshot(latest);
	return !missed;
}

/*
 * Some indexes return more than was asked for.
 */
static bool
is_row(BdrCase *c, BdrConstraint *constraint, IndexScanDesc scan, TupleTableSlot *slot)
{
	ResultRelInfo *result = c->rel->result;
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];

	if (!scan->xs_recheck)
		return true;
	GetPerTupleExprContext(c->rel->estate)->ecxt_scantuple = slot;
	FormIndexDatum(result->ri_IndexRelationInfo[constraint->place], slot, c->rel->estate, values, isnull);
	return bdr_constraint_matches(constraint, values, isnull);
}

static bool
is_known(BdrCase *c, int k, ItemPointer tid)
{
	ListCell   *lc;

	if (c->old != NULL && ItemPointerEquals(&c->old->tts_tid, tid))
		return true;
	foreach(lc, c->found)
	{
		BdrFound   *found = lfirst(lc);

		if (found->row != NULL && bms_is_member(k, found->on) && ItemPointerEquals(&found->row->tts_tid, tid))
			return true;
	}
	return false;
}

/*
 * Each row once, with all that it collides over.
 */
static void
add_row(BdrCase *c, int k, TupleTableSlot *slot)
{
	BdrFound   *found = NULL;
	ListCell   *lc;

	c->constraints[k].taken |= !c->constraints[k].is_exclusion;
	foreach(lc, c->found)
	{
		BdrFound   *other = lfirst(lc);

		if (ItemPointerEquals(&other->row->tts_tid, &slot->tts_tid))
			found = other;
	}
	if (found == NULL)
	{
		found = palloc0(sizeof(BdrFound));
		found->row = MakeSingleTupleTableSlot(c->rel->desc, table_slot_callbacks(c->rel->rel));
		ExecCopySlot(found->row, slot);
		/* a copy of a row that owns its bytes does not have these */
		found->row->tts_tid = slot->tts_tid;
		found->row->tts_tableOid = c->rel->local_relid;
		found->xmin = bdr_conflict_xmin(slot);
		found->fate = BDR_FATE_STAYS;
		bdr_conflict_local_version(found->xmin, &found->version);
		c->found = lappend(c->found, found);
	}
	found->on = bms_add_member(found->on, k);
}

/* ---------------------------------------------------------------------
 * Versions that cannot be seen
 * ---------------------------------------------------------------------
 */

/*
 * Add the newest for each constraint.  Returns false when the search has to
 * begin again.
 */
static bool
find_unseen(BdrCase *c)
{
	for (int k = c->at_end ? 1 : 0; k < c->nconstraints; k++)
	{
		BdrFound   *found;
		BdrVersion	newest;

		if (c->constraints[k].taken)
			continue;
		if (!newest_unseen(c, &c->constraints[k], true, &newest))
			return false;
		if (!is_worth_telling(c, k, &newest))
			continue;
		found = palloc0(sizeof(BdrFound));
		found->version = newest;
		found->fate = BDR_FATE_STAYS;
		found->on = bms_make_singleton(k);
		c->found = lappend(c->found, found);
	}
	return true;
}

/*
 * What is older takes nothing from the incoming version.  Only an update
 * that finds no row is told that there was one.
 */
static bool
is_worth_telling(BdrCase *c, int k, const BdrVersion *version)
{
	BdrVersion	remote = {true, bdr_xact.commit_time, bdr_xact.origin_node};

	int			order = bdr_version_compare(version, &remote);

	if (!version->known || order == 0)
		return false;
	return order > 0 || (k == 0 && (c->leaves || (c->operation == BDR_OP_UPDATE && !c->key_changed)));
}

/*
 * If wait, returns false when somebody is writing such a version: the search
 * has to begin again.
 */
static bool
newest_unseen(BdrCase *c, BdrConstraint *constraint, bool wait, BdrVersion *newest)
{
	memset(newest, 0, sizeof(*newest));
	if (!constraint->by_value)
		return true;
	if (constraint->place >= 0 && bdr_dead_are_known(c->rel) &&
		!newest_dead(c, constraint, wait, newest))
		return false;
	return bdr_memory_newest(c->rel, constraint, wait, newest);
}

/*
 * New versions of a key are mostly at the end of its entries, and what is not
 * newer than one of them needs no further look.
 */
static bool
newest_dead(BdrCase *c, BdrConstraint *constraint, bool wait, BdrVersion *newest)
{
	Relation	index = c->rel->result->ri_IndexRelationDescs[constraint->place];
	ScanDirection direction = index->rd_indam->amcanbackward ? BackwardScanDirection : ForwardScanDirection;
	TupleTableSlot *slot = c->rel->other_slot;
	IndexScanDesc scan = bdr_index_beginscan(c->rel->rel, index, SnapshotAny, constraint->nkeys);
	bool		again = false;

	index_rescan(scan, constraint->keys, constraint->nkeys, NULL, 0);
	while (!again && index_getnext_slot(scan, direction, slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (is_row(c, constraint, scan, slot) && !take_dead(c, constraint, slot, newest))
			again = wait;
	}
	ExecClearTuple(slot);
	index_endscan(scan);
	return !again;
}

/*
 * Returns false when the row is not dead, or not yet.
 *
 * Who wrote it took its values.  Who ended it was a version of its key, unless
 * that was another row's.
 */
static bool
take_dead(BdrCase *c, BdrConstraint *constraint, TupleTableSlot *slot, BdrVersion *newest)
{
	BdrDeadRow	dead;

	bdr_dead_read(slot, &dead);
	if (dead.born == BDR_XACT_ABORTED || dead.born == BDR_XACT_OURS)
		return true;
	if (dead.born == BDR_XACT_BUSY || dead.died == BDR_XACT_BUSY)
		return false;
	/* such rows were found before; one that was not must be looked for again */
	if (dead.died == BDR_XACT_NONE || dead.died == BDR_XACT_ABORTED)
		return constraint->is_exclusion;
	if (constraint->is_deferrable && bdr_dead_is_one_version(&dead))
		return true;
	take_version(dead.xmin, newest);
	if (constraint == &c->constraints[0] && dead.died == BDR_XACT_COMMITTED &&
		bdr_dead_is_newer(dead.xmax, newest) && !bdr_memory_is_evicted(c->rel, constraint, dead.xmax))
		take_version(dead.xmax, newest);
	return true;
}

static void
take_version(TransactionId xid, BdrVersion *newest)
{
	BdrVersion	version;

	bdr_conflict_local_version(xid, &version);
	if (bdr_version_compare(&version, newest) > 0)
		*newest = version;
}

/* ---------------------------------------------------------------------
 * Dead rows
 * ---------------------------------------------------------------------
 */

/*
 * How other kinds of tables keep them is not known.
 */
bool
bdr_dead_are_known(BdrRelation *rel)
{
	return rel->rel->rd_tableam == GetHeapamTableAmRoutine();
}

/*
 * What became of the row that an index scan left in slot.
 */
void
bdr_dead_read(TupleTableSlot *slot, BdrDeadRow *dead)
{
	Buffer		buffer = ((BufferHeapTupleTableSlot *) slot)->buffer;
	HeapTupleHeaderData header;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	memcpy(&header, ((BufferHeapTupleTableSlot *) slot)->base.tuple->t_data, SizeofHeapTupleHeader);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	dead->xmin = HeapTupleHeaderGetRawXmin(&header);
	dead->frozen = HeapTupleHeaderXminFrozen(&header);
	dead->born = hinted(&header, HEAP_XMIN_COMMITTED, HEAP_XMIN_INVALID, dead->xmin);
	dead->xmax = ender_of(&header);
	dead->died = hinted(&header, HEAP_XMAX_COMMITTED, 0, dead->xmax);
}

/*
 * Searches before this one have mostly left in the row what became of who
 * wrote it, and of who ended it.
 */
static BdrXactState
hinted(HeapTupleHeader header, uint16 committed, uint16 aborted, TransactionId xid)
{
	if (TransactionIdIsValid(xid) && (header->t_infomask & committed) != 0)
		return BDR_XACT_COMMITTED;
	if ((header->t_infomask & aborted) != 0)
		return BDR_XACT_ABORTED;
	return how_ended(xid);
}

bool
bdr_dead_is_newer(TransactionId xid, const BdrVersion *than)
{
	BdrVersion	version;

	bdr_conflict_local_version(xid, &version);
	return bdr_version_compare(&version, than) > 0;
}

/*
 * Did one transaction, or one version, write the row and end it?
 */
bool
bdr_dead_is_one_version(const BdrDeadRow *dead)
{
	BdrVersion	born;
	BdrVersion	died;

	bdr_conflict_local_version(dead->xmin, &born);
	bdr_conflict_local_version(dead->xmax, &died);
	return dead->xmin == dead->xmax || (born.known && bdr_version_compare(&born, &died) == 0);
}

static BdrXactState
how_ended(TransactionId xid)
{
	if (!TransactionIdIsValid(xid))
		return BDR_XACT_NONE;
	if (TransactionIdIsCurrentTransactionId(xid))
		return BDR_XACT_OURS;
	if (TransactionIdIsInProgress(xid))
		return BDR_XACT_BUSY;
	return TransactionIdDidCommit(xid) ? BDR_XACT_COMMITTED : BDR_XACT_ABORTED;
}

/*
 * Who deleted or updated it; InvalidTransactionId: nobody.
 */
static TransactionId
ender_of(HeapTupleHeader header)
{
	if ((header->t_infomask & HEAP_XMAX_INVALID) != 0 || HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask))
		return InvalidTransactionId;
	return HeapTupleHeaderGetUpdateXid(header);
}
