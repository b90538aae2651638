/*-------------------------------------------------------------------------
 * session/sequence/clock.c
 *		Kinds snowflakeid and timeshard: ids that are made from the time.
 *
 * NOTES
 *		All sessions of a database share a clock in shared memory, which does not
 *		go back: it runs with the monotonic clock of the machine, is put forward
 *		when the wall clock is ahead, and where the wall clock was set back loses
 *		what it is ahead little by little.  An id is the next tick of its kind,
 *		a tick being a millisecond and a counter; a tick may be up to CREDIT_MS
 *		ahead of the clock, so that a burst does not wait.
 *
 *		Ticks are below a limit that is in WAL, in the sequence bdr.id_clock,
 *		before they are used: after a crash, on a promoted standby and after
 *		pg_upgrade the clock starts at that limit.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "access/relation.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/membership.h"
#include "base/sequence.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "base/tables.h"
#include "session/sequence/clock.h"
#include "session/sequence/layout.h"
#include "session/sequence/method.h"
#include "bdr_compat.h"

#define LOCK_NAME			"bdr_id_clock"
#define CREDIT_MS			1000	/* how far ahead of the clock a tick may be */
#define RESERVE_MS			3000	/* how far ahead of that the limit is put */
#define RENEW_MS			1500	/* it is put further when so little is left */
#define LEAD_LOSS			10		/* a tenth of the time that passes */
#define LEAD_TOLD_MS		60000
#define SET_AHEAD_MS		60000	/* setval may put the clock so far ahead */
#define WAIT_US				200
#define US_PER_MS			INT64CONST(1000)

/* Which ticks. */
enum
{
	SNOWFLAKEID,
	TIMESHARD,
	NTICKS
};

/* The clock of one database; fields that are not atomic are under the lock. */
typedef struct IdClock
{
	Oid			dboid;			/* InvalidOid: free */
	int64		renewed_us;		/* when the limit was put, on the monotonic clock */
	pg_atomic_uint32 number;	/* of the node */
	pg_atomic_uint64 limit;		/* ms; 0: find out everything again */
	pg_atomic_uint64 offset;	/* us, of the clock from the monotonic one; signed */
	pg_atomic_uint64 ticks[NTICKS]; /* the last that was used */
} IdClock;

typedef struct IdClocks
{
	LWLock	   *lock;
	int			nclocks;
	IdClock		clocks[FLEXIBLE_ARRAY_MEMBER];
} IdClocks;

static Size memory_bytes(void);
static void start_memory(void);

static const BdrShmemPart shmem_part = {memory_bytes, start_memory, LOCK_NAME};

static IdClocks *clocks = NULL;
static IdClock *mine = NULL;	/* of this session's database */

static const char *unfit_snowflakeid(const FormData_pg_sequence *form);
static int64 next_snowflakeid(BdrSequence *seq);
static int64 next_timeshard(BdrSequence *seq);
static void set_time(BdrSequence *seq, int64 value);
static int64 made_time(BdrSequence *seq);
static int64 describe_time(BdrSequence *seq);
static int64 begin_time(BdrSequence *seq, int64 made);
static int64 make(BdrSequence *seq, int kind, const BdrIdLayout *layout);
static int64 take_tick(IdClock *clock, int kind, int counter_bits);
static int64 reading(IdClock *clock);
static int64 read_us(clockid_t which);
static int64 wall_ms(void);
static int64 durable_limit(void);
static inline IdClock *clock_of_database(void);
static IdClock *attach(void);
static IdClock *find_or_make(void);
static void forget_dropped_databases(void);
static void renew(IdClock *clock, int64 needed);
static void put_limit(IdClock *clock, Relation rel, int64 needed);
static void set_clock(IdClock *clock, int64 durable);
static void raise_tick(pg_atomic_uint64 *tick, uint64 to);
static int	find_number(void);
static void refuse_number(BdrSequence *seq, uint32 number);

const BdrSequenceMethod bdr_snowflakeid_method = {
	.name = "snowflakeid",
	.letter = 's',
	.unfit = unfit_snowflakeid,
	.nextval = next_snowflakeid,
	.setval = set_time,
	.made = made_time,
	.describe = describe_time,
	.begin = begin_time
};

const BdrSequenceMethod bdr_timeshard_method = {
	.name = "timeshard",
	.letter = 't',
	.unfit = unfit_snowflakeid,
	.nextval = next_timeshard,
	.setval = set_time,
	.made = made_time,
	.describe = describe_time,
	.begin = begin_time
};

void
bdr_id_clock_init(void)
{
	bdr_shmem_register(&shmem_part);
}

/* There cannot be more nodes than managers. */
static Size
memory_bytes(void)
{
	return offsetof(IdClocks, clocks) + max_worker_processes * sizeof(IdClock);
}

static void
start_memory(void)
{
	bool		found;

	clocks = ShmemInitStruct(LOCK_NAME, memory_bytes(), &found);
	if (found)
		return;
	memset(clocks, 0, memory_bytes());
	clocks->lock = &GetNamedLWLockTranche(LOCK_NAME)->lock;
	clocks->nclocks = max_worker_processes;
	for (int i = 0; i < clocks->nclocks; i++)
	{
		pg_atomic_init_u32(&clocks->clocks[i].number, 0);
		pg_atomic_init_u64(&clocks->clocks[i].limit, 0);
		pg_atomic_init_u64(&clocks->clocks[i].offset, 0);
		for (int kind = 0; kind < NTICKS; kind++)
			pg_atomic_init_u64(&clocks->clocks[i].ticks[kind], 0);
	}
}

/* ---------------------------------------------------------------------
 * The methods
 * ---------------------------------------------------------------------
 */

static const char *
unfit_snowflakeid(const FormData_pg_sequence *form)
{
	int64		largest = bdr_id_make(&bdr_snowflakeid_layout, BDR_ID_TIME_MAX, 0, 0);

	if (form->seqmax < largest || form->seqmin > bdr_id_make(&bdr_snowflakeid_layout, 1, 0, 0))
		return "Its values are of 64 bits, and outside of the bounds of the sequence.";
	if (form->seqcycle)
		return "The sequence has CYCLE.";
	if (form->seqincrement < 0)
		return "The sequence is descending.";
	return NULL;
}

static int64
next_snowflakeid(BdrSequence *seq)
{
	return make(seq, SNOWFLAKEID, &bdr_snowflakeid_layout);
}

static int64
next_timeshard(BdrSequence *seq)
{
	return make(seq, TIMESHARD, &bdr_timeshard_layout);
}

static int64
make(BdrSequence *seq, int kind, const BdrIdLayout *layout)
{
	IdClock    *clock = clock_of_database();
	int64		tick = take_tick(clock, kind, layout->counter_bits);
	uint32		number = pg_atomic_read_u32(&clock->number);

	if (number == 0 || number >= 1 << layout->node_bits)
		refuse_number(seq, number);
	return bdr_id_make(layout, tick >> layout->counter_bits, number, tick & ((1 << layout->counter_bits) - 1));
}

static void
refuse_number(BdrSequence *seq, uint32 number)
{
	if (number == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot make a value of sequence \"%s\"", get_rel_name(seq->relid)),
				 errdetail("It is of kind %s, and this database is not a member of a node group.", seq->method->name),
				 errhint("Make it local with bdr.alter_sequence_set_kind(), or join a group.")));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot make a value of sequence \"%s\"", get_rel_name(seq->relid)),
			 errdetail("The number of this node is %u, and ids of kind %s have room for %d.",
					   number, seq->method->name, (1 << bdr_timeshard_layout.node_bits) - 1),
			 errhint("Change its kind to snowflakeid with bdr.alter_sequence_set_kind().")));
}

/*
 * The sequence has no position; but nobody shall believe that it goes on behind
 * a value that it has not reached.  One of a clock that is a little ahead of ours,
 * from a dump, is gone beyond.
 */
static void
set_time(BdrSequence *seq, int64 value)
{
	int64		ms = bdr_id_time(value);

	if (value <= describe_time(seq))
		ereport(NOTICE,
				(errmsg("sequence \"%s\" stays where it is", get_rel_name(seq->relid)),
				 errdetail("It is of kind %s: its values are made from the time.", seq->method->name)));
	else if (ms < wall_ms() + SET_AHEAD_MS)
		bdr_id_clock_raise(ms + 1);
	else
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot set sequence \"%s\" to %lld", get_rel_name(seq->relid), (long long) value),
				 errdetail("It is of kind %s, and its values, which are made from the time, are not that far.", seq->method->name),
				 errhint("Make it local with bdr.alter_sequence_set_kind() to give it a position.")));
}

static int64
describe_time(BdrSequence *seq)
{
	return bdr_id_make(&bdr_snowflakeid_layout, bdr_id_clock_now() + CREDIT_MS, 0, 0) - 1;
}

/*
 * No more than that: a change of the kind puts the clock behind it, and many
 * changes in a row would put it far ahead.
 */
static int64
made_time(BdrSequence *seq)
{
	IdClock    *clock = clock_of_database();
	int64		ms = durable_limit();

	if (pg_atomic_read_u64(&clock->limit) != 0)
		ms = Max(pg_atomic_read_u64(&clock->ticks[SNOWFLAKEID]) >> bdr_snowflakeid_layout.counter_bits,
				 pg_atomic_read_u64(&clock->ticks[TIMESHARD]) >> bdr_timeshard_layout.counter_bits);
	return bdr_id_make(&bdr_snowflakeid_layout, ms + 1, 0, 0) - 1;
}

static int64
begin_time(BdrSequence *seq, int64 made)
{
	return BDR_PAGE_OURS;
}

/* ---------------------------------------------------------------------
 * The clock
 * ---------------------------------------------------------------------
 */

/*
 * The next tick, which nobody else gets.
 */
static int64
take_tick(IdClock *clock, int kind, int counter_bits)
{
	for (;;)
	{
		int64		now = reading(clock);
		uint64		last = pg_atomic_read_u64(&clock->ticks[kind]);
		uint64		next = Max(last + 1, (uint64) now << counter_bits);
		int64		ms = next >> counter_bits;

		if (ms + RENEW_MS > (int64) pg_atomic_read_u64(&clock->limit))
			renew(clock, ms);
		else if (ms > now + CREDIT_MS)
			pg_usleep(WAIT_US);
		else if (pg_atomic_compare_exchange_u64(&clock->ticks[kind], &last, next))
			return next;
		CHECK_FOR_INTERRUPTS();
	}
}

static int64
reading(IdClock *clock)
{
	return (read_us(CLOCK_MONOTONIC) + (int64) pg_atomic_read_u64(&clock->offset)) / US_PER_MS;
}

static int64
read_us(clockid_t which)
{
	struct timespec now;

	clock_gettime(which, &now);
	return now.tv_sec * INT64CONST(1000000) + now.tv_nsec / 1000;
}

static int64
wall_ms(void)
{
	return read_us(CLOCK_REALTIME) / US_PER_MS - BDR_ID_EPOCH_UNIX_MS + bdr_debug_id_clock * US_PER_MS;
}

/*
 * Where no id was made since the server started, what is durable says how far
 * they were.
 */
int64
bdr_id_clock_now(void)
{
	IdClock    *clock = bdr_is_preloaded() ? clock_of_database() : NULL;

	if (clock != NULL && pg_atomic_read_u64(&clock->limit) != 0)
		return Max(reading(clock), wall_ms());
	return Max(durable_limit(), wall_ms());
}

/* Ids were made up to here, at most. */
static int64
durable_limit(void)
{
	Relation	rel = relation_open(bdr_catalog_relation("id_clock"), AccessShareLock);
	BdrSequenceState state;

	bdr_sequence_read(rel, &state);
	relation_close(rel, AccessShareLock);
	return state.last_value;
}

static inline IdClock *
clock_of_database(void)
{
	return mine != NULL ? mine : attach();
}

static IdClock *
attach(void)
{
	bdr_require_preloaded();
	mine = find_or_make();
	if (mine == NULL)
	{
		forget_dropped_databases();
		mine = find_or_make();
	}
	if (mine == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many databases make ids"),
				 errhint("Increase max_worker_processes.")));
	return mine;
}

static IdClock *
find_or_make(void)
{
	IdClock    *found = NULL;

	LWLockAcquire(clocks->lock, LW_EXCLUSIVE);
	for (int i = 0; i < clocks->nclocks && found == NULL; i++)
	{
		if (clocks->clocks[i].dboid == MyDatabaseId)
			found = &clocks->clocks[i];
	}
	for (int i = 0; i < clocks->nclocks && found == NULL; i++)
	{
		if (!OidIsValid(clocks->clocks[i].dboid))
			found = &clocks->clocks[i];
	}
	if (found != NULL)
		found->dboid = MyDatabaseId;
	LWLockRelease(clocks->lock);
	return found;
}

/* Nobody can be connected to them. */
static void
forget_dropped_databases(void)
{
	for (int i = 0; i < clocks->nclocks; i++)
	{
		IdClock    *clock = &clocks->clocks[i];
		Oid			dboid = clock->dboid;

		if (SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(dboid)))
			continue;
		LWLockAcquire(clocks->lock, LW_EXCLUSIVE);
		if (clock->dboid == dboid)
		{
			clock->dboid = InvalidOid;
			pg_atomic_write_u64(&clock->limit, 0);
			for (int kind = 0; kind < NTICKS; kind++)
				pg_atomic_write_u64(&clock->ticks[kind], 0);
		}
		LWLockRelease(clocks->lock);
	}
}

void
bdr_id_clock_forget_number(void)
{
	if (bdr_is_preloaded())
		pg_atomic_write_u64(&clock_of_database()->limit, 0);
}

/*
 * What is looked at in tables comes before the lock.  Whoever comes first puts
 * the limit; the others go on with what is left, or wait.
 */
static void
renew(IdClock *clock, int64 needed)
{
	bool		must = needed >= (int64) pg_atomic_read_u64(&clock->limit);
	Relation	rel;
	int			number;

	if (!must)
	{
		if (!LWLockConditionalAcquire(clocks->lock, LW_EXCLUSIVE))
			return;				/* somebody does it */
		LWLockRelease(clocks->lock);
	}
	number = find_number();
	rel = relation_open(bdr_catalog_relation("id_clock"), RowExclusiveLock);
	LWLockAcquire(clocks->lock, LW_EXCLUSIVE);
	pg_atomic_write_u32(&clock->number, number);
	if (needed + RENEW_MS > (int64) pg_atomic_read_u64(&clock->limit))
		put_limit(clock, rel, needed);
	LWLockRelease(clocks->lock);
	relation_close(rel, RowExclusiveLock);
}

static int
find_number(void)
{
	Oid			node;

	return bdr_is_member(&node) ? bdr_node_number(node) : 0;
}

/*
 * The limit counts once it is on disk.
 */
static void
put_limit(IdClock *clock, Relation rel, int64 needed)
{
	BdrSequencePage page;
	BdrSequenceState state;
	int64		limit;

	bdr_sequence_page_open(&page, rel, &state);
	set_clock(clock, state.last_value);
	limit = Max(needed, reading(clock)) + CREDIT_MS + RESERVE_MS;
	state.last_value = Max(limit, state.last_value);
	state.log_cnt = 0;
	state.is_called = true;
	bdr_sequence_page_write(&page, &state, &state);
	bdr_sequence_page_close(&page);
	XLogFlush(XactLastRecEnd);
	pg_atomic_write_u64(&clock->limit, state.last_value);
}

/*
 * After a start of the server nothing is known but the limit that was durable.
 * A limit of 0 with ticks is that of a node that looks for its number.
 */
static void
set_clock(IdClock *clock, int64 durable)
{
	int64		monotonic = read_us(CLOCK_MONOTONIC);
	int64		wall = wall_ms() * US_PER_MS - monotonic;	/* the offset that it would be */
	int64		offset = (int64) pg_atomic_read_u64(&clock->offset);

	if (pg_atomic_read_u64(&clock->ticks[SNOWFLAKEID]) == 0)
	{
		offset = Max(wall, durable * US_PER_MS - monotonic);
		pg_atomic_write_u64(&clock->ticks[SNOWFLAKEID], (uint64) durable << bdr_snowflakeid_layout.counter_bits);
		pg_atomic_write_u64(&clock->ticks[TIMESHARD], (uint64) durable << bdr_timeshard_layout.counter_bits);
		if (offset - wall > LEAD_TOLD_MS * US_PER_MS)
			ereport(LOG,
					(errmsg("the clock of this server is %lld s behind the times of ids that it has made",
							(long long) ((offset - wall) / US_PER_MS / 1000)),
					 errdetail("Ids go on from there, and come nearer to the clock by a tenth of the time that passes.")));
	}
	else if (wall > offset)
		offset = wall;
	else
		offset -= Min(offset - wall, (monotonic - clock->renewed_us) / LEAD_LOSS);
	clock->renewed_us = monotonic;
	pg_atomic_write_u64(&clock->offset, offset);
}

void
bdr_id_clock_raise(int64 ms)
{
	IdClock    *clock = clock_of_database();
	int			number = find_number();
	Relation	rel = relation_open(bdr_catalog_relation("id_clock"), RowExclusiveLock);

	LWLockAcquire(clocks->lock, LW_EXCLUSIVE);
	pg_atomic_write_u32(&clock->number, number);
	put_limit(clock, rel, ms);
	if (reading(clock) < ms)
		pg_atomic_write_u64(&clock->offset, ms * US_PER_MS - clock->renewed_us);
	raise_tick(&clock->ticks[SNOWFLAKEID], (uint64) ms << bdr_snowflakeid_layout.counter_bits);
	raise_tick(&clock->ticks[TIMESHARD], (uint64) ms << bdr_timeshard_layout.counter_bits);
	LWLockRelease(clocks->lock);
	relation_close(rel, RowExclusiveLock);
}

static void
raise_tick(pg_atomic_uint64 *tick, uint64 to)
{
	uint64		last = pg_atomic_read_u64(tick);

	while (last < to && !pg_atomic_compare_exchange_u64(tick, &last, to))
		;
}
