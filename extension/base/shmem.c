/*-------------------------------------------------------------------------
 * base/shmem.c
 *		Shared memory: which managers are wanted or run.
 *
 * NOTES
 *		Sessions ask, the supervisor starts, managers report.  All of it lives
 *		under one lock, which nobody holds for longer than a look at an array.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "base/shmem.h"

#define PARTS_MAX		16

BdrShmem   *bdr_shmem = NULL;

static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;
static BdrManagerSlot *my_slot = NULL;
static const BdrShmemPart *parts[PARTS_MAX];
static int	nparts = 0;

static void request_memory(void);
static void request_manager(Oid dboid);
static void start_memory(void);
static void detach(int code, Datum arg);

void
bdr_shmem_register(const BdrShmemPart *part)
{
	if (nparts == PARTS_MAX)
		elog(ERROR, "too many parts of shared memory");
	parts[nparts++] = part;
}

void
bdr_shmem_init(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request_memory;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = start_memory;
}

bool
bdr_is_preloaded(void)
{
	return bdr_shmem != NULL;
}

void
bdr_require_preloaded(void)
{
	if (!bdr_is_preloaded())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("bdr is not loaded"),
				 errdetail("\"bdr\" is not in shared_preload_libraries."),
				 errhint("Add bdr to shared_preload_libraries and restart the server.")));
}

/* There cannot be more managers than background workers. */
static Size
memory_bytes(void)
{
	return offsetof(BdrShmem, slots) + max_worker_processes * sizeof(BdrManagerSlot);
}

static void
request_memory(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(memory_bytes());
	RequestNamedLWLockTranche("bdr", 1);
	for (int i = 0; i < nparts; i++)
	{
		RequestAddinShmemSpace(parts[i]->bytes());
		if (parts[i]->tranche != NULL)
			RequestNamedLWLockTranche(parts[i]->tranche, 1);
	}
}

static void
start_memory(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	bdr_shmem = ShmemInitStruct("bdr", memory_bytes(), &found);
	if (!found)
	{
		memset(bdr_shmem, 0, memory_bytes());
		bdr_shmem->lock = &GetNamedLWLockTranche("bdr")->lock;
		bdr_shmem->nslots = max_worker_processes;
		for (int i = 0; i < bdr_shmem->nslots; i++)
			ConditionVariableInit(&bdr_shmem->slots[i].changed);
	}
	for (int i = 0; i < nparts; i++)
		parts[i]->start();
	LWLockRelease(AddinShmemInitLock);
}

BdrManagerSlot *
bdr_shmem_find(Oid dboid)
{
	for (int i = 0; i < bdr_shmem->nslots; i++)
		if (bdr_shmem->slots[i].dboid == dboid)
			return &bdr_shmem->slots[i];
	return NULL;
}

/*
 * Without the lock: is this the database of a node, or will it be asked to be?
 */
bool
bdr_shmem_has_database(Oid dboid)
{
	return bdr_shmem != NULL && bdr_shmem_find(dboid) != NULL;
}

/* Returns NULL when every slot is taken. */
BdrManagerSlot *
bdr_shmem_find_or_make(Oid dboid)
{
	BdrManagerSlot *slot = bdr_shmem_find(dboid);

	if (slot != NULL)
		return slot;
	slot = bdr_shmem_find(InvalidOid);
	if (slot == NULL)
		return NULL;
	slot->dboid = dboid;
	slot->wanted = slot->stop = slot->ready = false;
	slot->pid = 0;
	slot->latch = NULL;
	slot->restart_at = 0;
	slot->failures = 0;
	slot->error[0] = '\0';
	return slot;
}

/* With or without the lock: a latch that is set once too often does no harm. */
void
bdr_shmem_wake_supervisor(void)
{
	Latch	   *latch = bdr_shmem->supervisor;

	if (latch != NULL)
		SetLatch(latch);
}

static void
request_manager(Oid dboid)
{
	BdrManagerSlot *slot;

	LWLockAcquire(bdr_shmem->lock, LW_EXCLUSIVE);
	slot = bdr_shmem_find_or_make(dboid);
	if (slot != NULL)
		slot->wanted = true;
	LWLockRelease(bdr_shmem->lock);
	if (slot == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many databases have a bdr manager"),
				 errhint("Increase max_worker_processes and restart the server.")));
	bdr_shmem_wake_supervisor();
}

/* Ends the manager, if there is one, and forgets that it was wanted. */
void
bdr_shmem_stop_manager(Oid dboid)
{
	BdrManagerSlot *slot;

	LWLockAcquire(bdr_shmem->lock, LW_EXCLUSIVE);
	slot = bdr_shmem_find(dboid);
	if (slot != NULL)
	{
		slot->wanted = false;
		slot->stop = true;
	}
	LWLockRelease(bdr_shmem->lock);
	bdr_shmem_wake_supervisor();
}

/*
 * Asks for the manager and waits until it is ready or failed to start.
 *
 * Returns whether it is ready.  *failures counts up with each failed start.
 */
bool
bdr_shmem_wait_ready(Oid dboid, long timeout_ms, uint32 *failures)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);
	uint32		before = *failures;
	bool		ready = false;

	for (;;)
	{
		BdrManagerSlot *slot;
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);

		request_manager(dboid);
		LWLockAcquire(bdr_shmem->lock, LW_SHARED);
		slot = bdr_shmem_find(dboid);
		if (slot != NULL)
		{
			ready = slot->ready;
			*failures = slot->failures;
		}
		LWLockRelease(bdr_shmem->lock);
		if (ready || *failures != before || slot == NULL || left <= 0)
			break;
		ConditionVariableTimedSleep(&slot->changed, left, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
	return ready;
}

/* Why the last start failed; NULL when none has. */
char *
bdr_shmem_manager_error(Oid dboid)
{
	BdrManagerSlot *slot;
	char	   *error = NULL;

	LWLockAcquire(bdr_shmem->lock, LW_SHARED);
	slot = bdr_shmem_find(dboid);
	if (slot != NULL && slot->error[0] != '\0')
		error = pstrdup(slot->error);
	LWLockRelease(bdr_shmem->lock);
	return error;
}

/* Returns false when the database has a manager already. */
bool
bdr_shmem_attach(Oid dboid)
{
	BdrManagerSlot *slot;
	bool		mine;

	LWLockAcquire(bdr_shmem->lock, LW_EXCLUSIVE);
	slot = bdr_shmem_find_or_make(dboid);
	mine = slot != NULL && (slot->pid == 0 || kill(slot->pid, 0) != 0);
	if (mine)
	{
		slot->pid = MyProcPid;
		slot->latch = MyLatch;
		slot->ready = slot->stop = false;
		my_slot = slot;
	}
	LWLockRelease(bdr_shmem->lock);
	if (mine)
		before_shmem_exit(detach, 0);
	return mine;
}

static void
detach(int code, Datum arg)
{
	LWLockAcquire(bdr_shmem->lock, LW_EXCLUSIVE);
	my_slot->pid = 0;
	my_slot->latch = NULL;
	my_slot->ready = false;
	LWLockRelease(bdr_shmem->lock);
	ConditionVariableBroadcast(&my_slot->changed);
	bdr_shmem_wake_supervisor();
}

void
bdr_shmem_set_ready(void)
{
	LWLockAcquire(bdr_shmem->lock, LW_EXCLUSIVE);
	my_slot->ready = true;
	my_slot->error[0] = '\0';
	LWLockRelease(bdr_shmem->lock);
	ConditionVariableBroadcast(&my_slot->changed);
}

void
bdr_shmem_set_finished(void)
{
	LWLockAcquire(bdr_shmem->lock, LW_EXCLUSIVE);
	my_slot->wanted = false;	/* a request from now on is a new one */
	LWLockRelease(bdr_shmem->lock);
}

void
bdr_shmem_set_failed(const char *error)
{
	bdr_shmem_note_failure(my_slot, error);
}

/* Tells the sessions that wait why they wait in vain. */
void
bdr_shmem_note_failure(BdrManagerSlot *slot, const char *error)
{
	LWLockAcquire(bdr_shmem->lock, LW_EXCLUSIVE);
	slot->failures++;
	strlcpy(slot->error, error, sizeof(slot->error));
	LWLockRelease(bdr_shmem->lock);
	ConditionVariableBroadcast(&slot->changed);
}

/* Called whenever the manager's latch was set. */
void
bdr_shmem_answer_ping(void)
{
	uint32		ping = *((volatile uint32 *) &my_slot->ping);

	if (my_slot->pong == ping)
		return;
	pg_read_barrier();
	my_slot->pong = ping;
	pg_memory_barrier();
	if (my_slot->pinger != NULL)
		SetLatch(my_slot->pinger);
}
