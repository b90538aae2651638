/*-------------------------------------------------------------------------
 * conflict/dead_entry.c
 *		Index entries of dead rows that nobody has to look at any more.
 *
 * NOTES
 *		The hold keeps VACUUM, and the server's own marking of dead index
 *		entries, from rows that died since a peer last promised anything.  Of
 *		one key they may be thousands, and every search for the key walks
 *		them: ours, and the server's own when it inserts a row.
 *
 *		Of the dead rows with one value only the newest version counts
 *		(conflict/detect.c).  So where a search had to walk many, the entries of
 *		the others are marked dead, as the server does for rows that are dead
 *		to everybody.  The rows stay until the retention slot moves on.
 *
 *		Dead to everybody means, as for VACUUM, that whoever ended the row did
 *		so before any snapshot that is in use, here or on a standby, began.
 *		Only the retention slot does not count.  The entry that stays has the newest
 *		version of those that are as old as that; so whoever is searching
 *		meanwhile meets it, or a newer one.
 *
 *		An exclusion constraint is left alone: a dead row may be older than
 *		another one and yet the newest for a value that only it collides with.
 *		So is a key that is one, WITHOUT OVERLAPS, whose index may return more
 *		than was asked for.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/spin.h"
#include "utils/hsearch.h"
#include "utils/snapmgr.h"

#include "conflict/dead_entry.h"
#include "conflict/dead_row.h"
#include "conflict/tombstone.h"
#include "row/find.h"
#include "version/retention_slot.h"
#include "bdr_compat.h"

/* Values of which it is known what the last sweep left; then all are forgotten. */
#define SWEPT_MAX			1024

typedef struct SweptKey
{
	int64		hash;			/* of the values */
	int64		index;
} SweptKey;

typedef struct Swept
{
	SweptKey	key;			/* hash key */
	uint32		left;			/* entries that had to stay */
	TransactionId until;		/* no other try before nobody sees less than this */
} Swept;

typedef struct Sweep
{
	BdrRelation *rel;
	BdrConstraint *constraint;
	bool		is_key;			/* who ends a row is a version of its key */
	TransactionId horizon;		/* what ended a row before is dead to everybody */
	IndexScanDesc scan;
	TupleTableSlot *slot;
	BdrVersion	newest_born;	/* ... and the newest of all */
	BdrVersion	newest;
	ItemPointerData keeps_born; /* the entries that show them */
	ItemPointerData keeps;
} Sweep;

static HTAB *swept = NULL;

static Swept *swept_before(BdrConstraint *constraint);
static TransactionId oldest_snapshot(void);
static TransactionId older(TransactionId a, TransactionId b);
static TransactionId oldest_of_slots(void);
static void find_newest(Sweep *sweep);
static void mark_others(Sweep *sweep);
static uint32 count_left(Sweep *sweep);
static bool is_entry(ItemPointer kept, ItemPointer entry);
static bool next_entry(Sweep *sweep, ItemPointer tid);
static void take_entry(Sweep *sweep, const BdrDeadRow *dead, ItemPointer entry);
static bool take(TransactionId xid, BdrVersion *newest);
static bool is_past(Sweep *sweep, TransactionId xid);
static bool is_over(Sweep *sweep, const BdrDeadRow *dead);

/*
 * A search for these values walked so many entries.
 *
 * What the last sweep had to leave is not looked at again all the time: only
 * after as many transactions, or when as many entries have come since.
 */
void
bdr_dead_entry_sweep(BdrRelation *rel, BdrConstraint *constraint, uint32 walked)
{
	Sweep		sweep = {rel, constraint};
	Relation	index;
	Swept	   *before;

	if (walked < BDR_SWEEP_ENTRIES || constraint->place < 0 || !constraint->by_value || constraint->is_exclusion ||
		!bdr_dead_are_known(rel))
		return;
	index = rel->result->ri_IndexRelationDescs[constraint->place];
	if (index->rd_rel->relam != BTREE_AM_OID)
		return;
	before = swept_before(constraint);
	sweep.horizon = oldest_snapshot();
	if (walked < BDR_SWEEP_ENTRIES + 2 * before->left && TransactionIdPrecedes(sweep.horizon, before->until))
		return;
	sweep.is_key = rel->by_key.usable && rel->by_key.index == RelationGetRelid(index);
	sweep.slot = MakeSingleTupleTableSlot(rel->desc, table_slot_callbacks(rel->rel));
	sweep.scan = bdr_index_beginscan(rel->rel, index, SnapshotAny, constraint->nkeys);
	find_newest(&sweep);
	mark_others(&sweep);
	before->left = count_left(&sweep);
	before->until = ReadNextTransactionId() + before->left;
	if (!TransactionIdIsNormal(before->until))
		before->until = FirstNormalTransactionId;
	index_endscan(sweep.scan);
	ExecDropSingleTupleTableSlot(sweep.slot);
}

/*
 * bdr_find_row, after which entries go that the search had to walk.
 */
bool
bdr_dead_entry_find_row(BdrRelation *rel, BdrLookup *lookup, TupleTableSlot *key, TupleTableSlot *found)
{
	bool		is_here = bdr_find_row(rel, lookup, key, found);

	if (unlikely(lookup->walked >= BDR_SWEEP_ENTRIES))
	{
		BdrConstraint constraint;

		bdr_constraint_of_key(&constraint, rel, lookup, key);
		bdr_dead_entry_sweep(rel, &constraint, lookup->walked);
	}
	return is_here;
}

static Swept *
swept_before(BdrConstraint *constraint)
{
	HASHCTL		control = {.keysize = sizeof(SweptKey), .entrysize = sizeof(Swept)};
	SweptKey	key = {bdr_constraint_hash(constraint), constraint->index};
	Swept	   *before;
	bool		found;

	if (swept != NULL && hash_get_num_entries(swept) >= SWEPT_MAX)
	{
		hash_destroy(swept);
		swept = NULL;
	}
	if (swept == NULL)
		swept = hash_create("bdr swept values", 64, &control, HASH_ELEM | HASH_BLOBS);
	before = hash_search(swept, &key, HASH_ENTER, &found);
	if (!found)
	{
		before->left = 0;
		before->until = FirstNormalTransactionId;
	}
	return before;
}

/* ---------------------------------------------------------------------
 * Who may still see a row
 * ---------------------------------------------------------------------
 */

/*
 * All that ended before this transaction is seen as such by every snapshot of
 * this database, the present ones and those to come.  Like the server, without
 * those that look at no rows of tables.
 *
 * A snapshot that is taken after ours has no older xmin; one that was taken
 * before is in its process's slot.
 */
static TransactionId
oldest_snapshot(void)
{
	TransactionId oldest = GetLatestSnapshot()->xmin;

	LWLockAcquire(ProcArrayLock, LW_SHARED);
	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		PGPROC	   *proc = &ProcGlobal->allProcs[i];

		/* a walsender that serves a standby is in no database */
		if ((proc->databaseId == MyDatabaseId || !OidIsValid(proc->databaseId)) &&
			(proc->statusFlags & (PROC_IN_VACUUM | PROC_IN_LOGICAL_DECODING)) == 0)
			oldest = older(oldest, *(volatile TransactionId *) &proc->xmin);
	}
	LWLockRelease(ProcArrayLock);
	return older(oldest, oldest_of_slots());
}

static TransactionId
older(TransactionId a, TransactionId b)
{
	return TransactionIdIsNormal(b) && TransactionIdPrecedes(b, a) ? b : a;
}

/*
 * InvalidTransactionId: none.  The holds do not count.
 */
static TransactionId
oldest_of_slots(void)
{
	TransactionId oldest = InvalidTransactionId;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];
		TransactionId xmin;
		Oid			dboid;

		if (!slot->in_use || bdr_retention_is(slot, &dboid))
			continue;
		SpinLockAcquire(&slot->mutex);
		xmin = slot->effective_xmin;
		SpinLockRelease(&slot->mutex);
		oldest = TransactionIdIsValid(oldest) ? older(oldest, xmin) : xmin;
	}
	LWLockRelease(ReplicationSlotControlLock);
	return oldest;
}

/* ---------------------------------------------------------------------
 * Which entries stay
 * ---------------------------------------------------------------------
 */
static void
find_newest(Sweep *sweep)
{
	ItemPointerData entry;

	index_rescan(sweep->scan, sweep->constraint->keys, sweep->constraint->nkeys, NULL, 0);
	while (next_entry(sweep, &entry))
	{
		while (index_fetch_heap(sweep->scan, sweep->slot))
		{
			BdrDeadRow	dead;

			bdr_dead_read(sweep->slot, &dead);
			take_entry(sweep, &dead, &entry);
		}
	}
}

/*
 * All rows of an entry that goes were there when the newest was looked for,
 * since they are past.
 */
static void
mark_others(Sweep *sweep)
{
	ItemPointerData entry;

	index_rescan(sweep->scan, sweep->constraint->keys, sweep->constraint->nkeys, NULL, 0);
	while (next_entry(sweep, &entry))
	{
		bool		stays = is_entry(&sweep->keeps, &entry) || is_entry(&sweep->keeps_born, &entry);

		while (!stays && index_fetch_heap(sweep->scan, sweep->slot))
		{
			BdrDeadRow	dead;

			bdr_dead_read(sweep->slot, &dead);
			stays = !is_over(sweep, &dead);
		}
		sweep->scan->kill_prior_tuple = !stays;
	}
	ExecClearTuple(sweep->slot);
}

/*
 * Entries that the index keeps in one list go together or not at all.
 */
static uint32
count_left(Sweep *sweep)
{
	ItemPointerData entry;
	uint32		left = 0;

	index_rescan(sweep->scan, sweep->constraint->keys, sweep->constraint->nkeys, NULL, 0);
	while (next_entry(sweep, &entry))
		left++;
	return left;
}

/*
 * Nothing is kept where no row is past, or no version is known.
 */
static bool
is_entry(ItemPointer kept, ItemPointer entry)
{
	return ItemPointerIsValid(kept) && ItemPointerEquals(kept, entry);
}

static bool
next_entry(Sweep *sweep, ItemPointer tid)
{
	ItemPointer next;

	CHECK_FOR_INTERRUPTS();
	next = index_getnext_tid(sweep->scan, ForwardScanDirection);
	if (next == NULL)
		return false;
	*tid = *next;
	return true;
}

static void
take_entry(Sweep *sweep, const BdrDeadRow *dead, ItemPointer entry)
{
	bool		ended = dead->died == BDR_XACT_COMMITTED && is_past(sweep, dead->xmax);

	if (dead->born != BDR_XACT_COMMITTED || !(dead->frozen || is_past(sweep, dead->xmin)))
		return;
	/* an image that came and went in one transaction takes nothing */
	if (sweep->constraint->is_deferrable && ended && bdr_dead_is_one_version(dead))
		return;
	if (take(dead->xmin, &sweep->newest_born))
		sweep->keeps_born = *entry;
	if (take(dead->xmin, &sweep->newest))
		sweep->keeps = *entry;
	if (sweep->is_key && ended && bdr_dead_is_newer(dead->xmax, &sweep->newest) &&
		!bdr_tombstone_is_evicted(sweep->rel, sweep->constraint, dead->xmax) && take(dead->xmax, &sweep->newest))
		sweep->keeps = *entry;
}

static bool
take(TransactionId xid, BdrVersion *newest)
{
	if (!bdr_dead_is_newer(xid, newest))
		return false;
	bdr_version_of(xid, newest);
	return true;
}

static bool
is_past(Sweep *sweep, TransactionId xid)
{
	return TransactionIdPrecedes(xid, sweep->horizon);
}

/*
 * Does nobody see the row, and was its version looked at?
 */
static bool
is_over(Sweep *sweep, const BdrDeadRow *dead)
{
	if (dead->born == BDR_XACT_ABORTED)
		return true;
	return dead->born == BDR_XACT_COMMITTED && (dead->frozen || is_past(sweep, dead->xmin)) &&
		dead->died == BDR_XACT_COMMITTED && is_past(sweep, dead->xmax);
}
