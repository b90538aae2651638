/*-------------------------------------------------------------------------
 * row/statistics.c
 *		What writers did to each table, counted in shared memory.
 *
 * NOTES
 *		A writer counts for itself and hands on what has been committed when
 *		it reports its progress.  What is rolled back and applied again is
 *		counted once; units are those of apply/retry.c.
 *
 *		The table in shared memory has room for bdr.stat_relation_max tables
 *		of all databases.  Those that come later are not counted.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/settings.h"
#include "base/shmem.h"
#include "row/statistics.h"

PG_FUNCTION_INFO_V1(bdr_get_relation_stats);
PG_FUNCTION_INFO_V1(bdr_reset_relation_stats);

/* Tables that a writer has counters of its own for, from one report to the next. */
#define OWN_TABLES_MAX			1000

typedef uint64 Counts[BDR_COUNT_KINDS];

/* One table, as this writer counts. */
typedef struct BdrRelationStats
{
	Oid			relid;			/* hash key */
	bool		is_touched;		/* by the transaction */
	bool		is_pending;		/* has something to hand on */
	slist_node	touched_node;
	slist_node	pending_node;
	Counts		unit;			/* of the unit in progress */
	Counts		xact;			/* of the units before it */
	Counts		pending;		/* committed, not handed on */
} BdrRelationStats;

typedef struct SharedKey
{
	Oid			dboid;
	Oid			relid;
} SharedKey;

typedef struct SharedStats
{
	SharedKey	key;
	Counts		counts;
	TimestampTz reset;			/* 0: never */
} SharedStats;

#define LOCK_NAME	"bdr_statistics"

uint64		bdr_stats_epoch = 1;

static HTAB *shared;			/* of SharedStats */
static LWLock *shared_lock;

static HTAB *own;				/* of BdrRelationStats */
static slist_head touched = SLIST_STATIC_INIT(touched);
static slist_head pending = SLIST_STATIC_INIT(pending);

static Size memory_bytes(void);
static void start_memory(void);
static BdrRelationStats *touch(Oid relid);
static void add_counts(Counts total, Counts more);
static void forget_others(void);
static void hand_on(BdrRelationStats *stats);

static const BdrShmemPart shmem_part = {memory_bytes, start_memory, LOCK_NAME};

/* ---------------------------------------------------------------------
 * Shared memory
 * ---------------------------------------------------------------------
 */
void
bdr_stats_init(void)
{
	bdr_shmem_register(&shmem_part);
}

static Size
memory_bytes(void)
{
	return hash_estimate_size(bdr_stat_relation_max, sizeof(SharedStats));
}

static void
start_memory(void)
{
	HASHCTL		control = {.keysize = sizeof(SharedKey), .entrysize = sizeof(SharedStats)};

	shared = ShmemInitHash("bdr statistics", bdr_stat_relation_max, bdr_stat_relation_max,
						   &control, HASH_ELEM | HASH_BLOBS);
	shared_lock = &GetNamedLWLockTranche(LOCK_NAME)->lock;
}

/* ---------------------------------------------------------------------
 * The writer
 * ---------------------------------------------------------------------
 */

/*
 * The first change of a table in a transaction.
 */
void
bdr_stats_touch(BdrRelation *rel)
{
	rel->counts = touch(rel->local_relid)->unit;
	rel->counts_epoch = bdr_stats_epoch;
}

void
bdr_stats_count_table(Oid relid, BdrCountKind kind)
{
	touch(relid)->unit[kind]++;
}

static BdrRelationStats *
touch(Oid relid)
{
	BdrRelationStats *stats;
	bool		found;

	if (own == NULL)
	{
		HASHCTL		control = {.keysize = sizeof(Oid), .entrysize = sizeof(BdrRelationStats), .hcxt = TopMemoryContext};

		own = hash_create("bdr own statistics", 128, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	stats = hash_search(own, &relid, HASH_ENTER, &found);
	if (!found)
		memset((char *) stats + sizeof(Oid), 0, sizeof(BdrRelationStats) - sizeof(Oid));
	if (!stats->is_touched)
		slist_push_head(&touched, &stats->touched_node);
	stats->is_touched = true;
	return stats;
}

/* The unit in progress is rolled back. */
void
bdr_stats_undo(void)
{
	slist_iter	iter;

	slist_foreach(iter, &touched)
		memset(slist_container(BdrRelationStats, touched_node, iter.cur)->unit, 0, sizeof(Counts));
}

/* The unit in progress ends, and will not be rolled back alone. */
void
bdr_stats_keep(void)
{
	slist_iter	iter;

	slist_foreach(iter, &touched)
	{
		BdrRelationStats *stats = slist_container(BdrRelationStats, touched_node, iter.cur);

		add_counts(stats->xact, stats->unit);
		memset(stats->unit, 0, sizeof(Counts));
	}
}

/* The transaction is committed. */
void
bdr_stats_commit(void)
{
	if (slist_is_empty(&touched))
		return;
	bdr_stats_keep();
	while (!slist_is_empty(&touched))
	{
		BdrRelationStats *stats = slist_container(BdrRelationStats, touched_node, slist_pop_head_node(&touched));

		stats->is_touched = false;
		add_counts(stats->pending, stats->xact);
		memset(stats->xact, 0, sizeof(Counts));
		if (!stats->is_pending)
			slist_push_head(&pending, &stats->pending_node);
		stats->is_pending = true;
	}
	bdr_stats_epoch++;
}

/*
 * Hand on what is committed.
 */
void
bdr_stats_report(void)
{
	if (slist_is_empty(&pending))
		return;
	LWLockAcquire(shared_lock, LW_EXCLUSIVE);
	while (!slist_is_empty(&pending))
		hand_on(slist_container(BdrRelationStats, pending_node, slist_pop_head_node(&pending)));
	LWLockRelease(shared_lock);
	if (hash_get_num_entries(own) > OWN_TABLES_MAX)
		forget_others();
}

/*
 * Of the tables that the transaction has not touched nothing is left to say.
 */
static void
forget_others(void)
{
	HASH_SEQ_STATUS scan;
	BdrRelationStats *stats;

	hash_seq_init(&scan, own);
	while ((stats = hash_seq_search(&scan)) != NULL)
	{
		if (!stats->is_touched)
			hash_search(own, &stats->relid, HASH_REMOVE, NULL);
	}
}

static void
hand_on(BdrRelationStats *stats)
{
	SharedKey	key = {MyDatabaseId, stats->relid};
	bool		found;
	SharedStats *entry = hash_search(shared, &key, HASH_ENTER_NULL, &found);

	if (entry != NULL && !found)
	{
		memset(entry->counts, 0, sizeof(Counts));
		entry->reset = 0;
	}
	if (entry != NULL)
		add_counts(entry->counts, stats->pending);
	memset(stats->pending, 0, sizeof(Counts));
	stats->is_pending = false;
}

static void
add_counts(Counts total, Counts more)
{
	for (int i = 0; i < BDR_COUNT_KINDS; i++)
		total[i] += more[i];
}

/* ---------------------------------------------------------------------
 * SQL
 * ---------------------------------------------------------------------
 */
Datum
bdr_get_relation_stats(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	HASH_SEQ_STATUS scan;
	SharedStats *entry;

	InitMaterializedSRF(fcinfo, 0);
	if (shared == NULL)
		return (Datum) 0;
	LWLockAcquire(shared_lock, LW_SHARED);
	hash_seq_init(&scan, shared);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		Datum		values[1 + BDR_COUNT_KINDS + 1];
		bool		nulls[lengthof(values)] = {false};

		if (entry->key.dboid != MyDatabaseId)
			continue;
		values[0] = ObjectIdGetDatum(entry->key.relid);
		for (int i = 0; i < BDR_COUNT_KINDS; i++)
			values[1 + i] = Int64GetDatum((int64) entry->counts[i]);
		values[1 + BDR_COUNT_KINDS] = TimestampTzGetDatum(entry->reset);
		nulls[1 + BDR_COUNT_KINDS] = entry->reset == 0;
		tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
	}
	LWLockRelease(shared_lock);
	return (Datum) 0;
}

/*
 * Start from zero in this database; what has been dropped makes room.
 */
Datum
bdr_reset_relation_stats(PG_FUNCTION_ARGS)
{
	TimestampTz now = GetCurrentTimestamp();
	HASH_SEQ_STATUS scan;
	SharedStats *entry;
	List	   *relids = NIL;
	ListCell   *lc;

	if (shared == NULL)
		PG_RETURN_BOOL(false);
	LWLockAcquire(shared_lock, LW_EXCLUSIVE);
	hash_seq_init(&scan, shared);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (entry->key.dboid != MyDatabaseId)
			continue;
		memset(entry->counts, 0, sizeof(Counts));
		entry->reset = now;
		relids = lappend_oid(relids, entry->key.relid);
	}
	LWLockRelease(shared_lock);

	foreach(lc, relids)
	{
		SharedKey	key = {MyDatabaseId, lfirst_oid(lc)};

		if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(key.relid)))
			continue;
		LWLockAcquire(shared_lock, LW_EXCLUSIVE);
		(void) hash_search(shared, &key, HASH_REMOVE, NULL);
		LWLockRelease(shared_lock);
	}
	PG_RETURN_BOOL(true);
}
