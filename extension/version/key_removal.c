/*-------------------------------------------------------------------------
 * version/key_removal.c
 *		Counts, per table, the transactions that make versions invisible, and
 *		keeps the newest version that they left behind.
 *
 * NOTES
 *		Shared memory has a fixed number of slots.  Two tables on one slot cost
 *		a look too many, now and then.  There is no lock: a transaction counts
 *		itself, at its end raises the time, and then uncounts.  Readers look in
 *		the other order.
 *
 *		A session's statement may count itself at any time before its commit:
 *		until then the old rows are in the indexes, and whoever collides with
 *		them waits for the transaction.  Hence a prepared transaction need not
 *		be counted before COMMIT PREPARED.  A writer that remembers must count
 *		itself before it looks for rows, since what it writes is in no index
 *		of the table.
 *
 *		A rolled back subtransaction stays counted until the end.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "base/settings.h"
#include "base/shmem.h"
#include "base/worker.h"
#include "version/clock.h"
#include "version/key_removal.h"

#define BDR_REMOVAL_SLOTS	4096	/* a power of two */
#define SERVER_SLOT			BDR_REMOVAL_SLOTS	/* counts for every table */

typedef struct RemovalSlot
{
	pg_atomic_uint32 in_progress;
	pg_atomic_uint64 newest;	/* a TimestampTz */
} RemovalSlot;

static RemovalSlot *slots = NULL;

/* Where this transaction is counted. */
static uint16 counted[BDR_REMOVAL_SLOTS + 1];
static int	ncounted = 0;
static bool is_counted[BDR_REMOVAL_SLOTS + 1];

static Size memory_bytes(void);
static void start_memory(void);
static void at_transaction_end(XactEvent event, void *arg);
static void count(int i);
static void uncount(TimestampTz time);
static bool goes_around_executor(void);
static void raise_newest(RemovalSlot *slot, TimestampTz time);
static bool slot_is_newer(RemovalSlot *slot, uint32 own, TimestampTz time);

static const BdrShmemPart shmem_part = {memory_bytes, start_memory, NULL};

void
bdr_key_removal_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	bdr_shmem_register(&shmem_part);
}

/* ---------------------------------------------------------------------
 * Shared memory
 * ---------------------------------------------------------------------
 */
static Size
memory_bytes(void)
{
	return (BDR_REMOVAL_SLOTS + 1) * sizeof(RemovalSlot);
}

static void
start_memory(void)
{
	bool		found;

	slots = ShmemInitStruct("bdr removed versions", memory_bytes(), &found);
	if (found)
		return;
	for (int i = 0; i <= SERVER_SLOT; i++)
	{
		pg_atomic_init_u32(&slots[i].in_progress, 0);
		pg_atomic_init_u64(&slots[i].newest, 0);
	}
	bdr_key_removal_forget_past();
}

/*
 * What was removed before the server started, or while it was a standby, is not
 * known: it may be as new as our clock, and where that is allowed, newer.
 */
void
bdr_key_removal_forget_past(void)
{
	raise_newest(&slots[SERVER_SLOT],
		  GetCurrentTimestamp() + Max(bdr_maximum_clock_skew, 0) * INT64CONST(1000));
}

static inline int
slot_of(Oid relid)
{
	return hash_combine(murmurhash32(MyDatabaseId), murmurhash32(relid)) & (BDR_REMOVAL_SLOTS - 1);
}

/* ---------------------------------------------------------------------
 * Who makes versions invisible
 * ---------------------------------------------------------------------
 */
void
bdr_key_removal_begin(Oid relid)
{
	count(slot_of(relid));
}

static void
count(int i)
{
	if (slots == NULL || is_counted[i])
		return;
	pg_atomic_fetch_add_u32(&slots[i].in_progress, 1);	/* a full barrier */
	is_counted[i] = true;
	counted[ncounted++] = i;
}

/*
 * COMMIT comes after the transaction has become visible, and before its locks
 * are released.
 */
static void
at_transaction_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (goes_around_executor())
				count(SERVER_SLOT);
			break;
		case XACT_EVENT_COMMIT:
			if (ncounted == 0 || !TransactionIdIsValid(GetTopTransactionIdIfAny()))
				uncount(0);
			else if (bdr_clock_chosen_time() != 0)
				uncount(bdr_clock_chosen_time());
			else
				uncount(GetCurrentTransactionStopTimestamp());
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			uncount(0);
			break;
		default:
			break;
	}
}

/*
 * Logical replication's workers, and those of other extensions, change rows
 * without a statement that a hook could see.
 */
static bool
goes_around_executor(void)
{
	return MyBgworkerEntry != NULL && !bdr_is_own_worker() &&
		TransactionIdIsValid(GetTopTransactionIdIfAny());
}

/* The newest version that was removed has this time; 0: none was. */
static void
uncount(TimestampTz time)
{
	for (int i = 0; i < ncounted; i++)
	{
		RemovalSlot *slot = &slots[counted[i]];

		if (time != 0)
			raise_newest(slot, time);
		pg_atomic_fetch_sub_u32(&slot->in_progress, 1);
		is_counted[counted[i]] = false;
	}
	ncounted = 0;
}

static void
raise_newest(RemovalSlot *slot, TimestampTz time)
{
	uint64		newest = pg_atomic_read_u64(&slot->newest);

	while ((TimestampTz) newest < time)
		if (pg_atomic_compare_exchange_u64(&slot->newest, &newest, (uint64) time))
			break;
}

/*
 * COMMIT PREPARED: which tables the transaction changed is not known.
 */
void
bdr_key_removal_server_begin(void)
{
	if (slots != NULL)
		pg_atomic_fetch_add_u32(&slots[SERVER_SLOT].in_progress, 1);
}

void
bdr_key_removal_server_end(TimestampTz time)
{
	if (slots == NULL)
		return;
	raise_newest(&slots[SERVER_SLOT], time);
	pg_atomic_fetch_sub_u32(&slots[SERVER_SLOT].in_progress, 1);
}

/* ---------------------------------------------------------------------
 * Who looks
 * ---------------------------------------------------------------------
 */
bool
bdr_key_removal_newer(Oid relid, TimestampTz time)
{
	int			i = slot_of(relid);

	if (slots == NULL)
		return true;
	pg_memory_barrier();		/* what we stored is there before we read */
	return slot_is_newer(&slots[i], is_counted[i], time) ||
		slot_is_newer(&slots[SERVER_SLOT], is_counted[SERVER_SLOT], time);
}

static bool
slot_is_newer(RemovalSlot *slot, uint32 own, TimestampTz time)
{
	if (pg_atomic_read_u32(&slot->in_progress) > own)
		return true;
	pg_read_barrier();
	return (TimestampTz) pg_atomic_read_u64(&slot->newest) >= time;
}

uint32
bdr_key_removal_look(Oid relid, TimestampTz *newest)
{
	RemovalSlot *slot = &slots[OidIsValid(relid) ? slot_of(relid) : SERVER_SLOT];

	*newest = (TimestampTz) pg_atomic_read_u64(&slot->newest);
	return pg_atomic_read_u32(&slot->in_progress);
}
