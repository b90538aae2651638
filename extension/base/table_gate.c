/*-------------------------------------------------------------------------
 * base/table_gate.c
 *		Tables that users do not write to: the list, in shared memory.
 *
 * NOTES
 *		What is looked for most is that there is none: that is one number to
 *		read.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "base/shmem.h"
#include "base/table_gate.h"

/* Of a server.  A partitioned table takes one for each of its partitions. */
#define GATES_MAX		4096

#define PASS_CLASS		0x6268

#define TRANCHE			"bdr table gates"

/* A writer, which waits for its latch. */
typedef struct GateWriter
{
	int			pid;			/* 0: free */
	Oid			dboid;
	uint32		node;
	Latch	   *latch;
} GateWriter;

typedef struct Gates
{
	LWLock	   *lock;
	pg_atomic_uint32 count;
	int			nused;			/* behind these all are free */
	BdrGate		gates[GATES_MAX];
	int			nloaded;
	int			nmax;			/* of both that follow: there cannot be more workers */
	Oid		   *loaded;			/* databases */
	GateWriter *writers;
} Gates;

static Gates *shared = NULL;

static Size memory_bytes(void);
static void start_memory(void);
static BdrGate *find(Oid relid, const char *lock_id);
static void add(Oid relid, uint32 node, const char *lock_id, bool closed);
static void clear(BdrGate *gate);
static bool is_loaded(void);
static void wake(uint32 node);
static void set_pass_tag(LOCKTAG *tag, Oid relid);
static void detach(int code, Datum arg);

static const BdrShmemPart shmem_part = {memory_bytes, start_memory, TRANCHE};

void
bdr_gate_init(void)
{
	bdr_shmem_register(&shmem_part);
}

static Size
memory_bytes(void)
{
	return MAXALIGN(sizeof(Gates)) + max_worker_processes * (MAXALIGN(sizeof(GateWriter)) + MAXALIGN(sizeof(Oid)));
}

static void
start_memory(void)
{
	bool		found;

	shared = ShmemInitStruct("bdr table gates", memory_bytes(), &found);
	if (found)
		return;
	memset(shared, 0, memory_bytes());
	shared->lock = &GetNamedLWLockTranche(TRANCHE)->lock;
	pg_atomic_init_u32(&shared->count, 0);
	shared->nmax = max_worker_processes;
	shared->writers = (GateWriter *) ((char *) shared + MAXALIGN(sizeof(Gates)));
	shared->loaded = (Oid *) (shared->writers + shared->nmax);
}

bool
bdr_gate_exists(void)
{
	return shared != NULL && pg_atomic_read_u32(&shared->count) > 0;
}

List *
bdr_gate_list(void)
{
	BdrGate    *copies;
	int			max;
	int			n = 0;
	List	   *list = NIL;

	if (!bdr_gate_exists())
		return NIL;
	LWLockAcquire(shared->lock, LW_SHARED);
	max = shared->nused;
	LWLockRelease(shared->lock);
	copies = palloc(Max(max, 1) * sizeof(BdrGate));
	LWLockAcquire(shared->lock, LW_SHARED);
	/* what has come in between will be seen the next time */
	for (int i = 0; i < Min(max, shared->nused); i++)
	{
		if (shared->gates[i].dboid == MyDatabaseId)
			copies[n++] = shared->gates[i];
	}
	LWLockRelease(shared->lock);
	for (int i = 0; i < n; i++)
		list = lappend(list, &copies[i]);
	return list;
}

bool
bdr_gate_is_held(Oid relid)
{
	bool		is_held = false;

	if (!bdr_gate_exists())
		return false;
	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < shared->nused && !is_held; i++)
	{
		const BdrGate *gate = &shared->gates[i];

		is_held = gate->dboid == MyDatabaseId && gate->relid == relid && gate->pid != 0;
	}
	LWLockRelease(shared->lock);
	return is_held;
}

void
bdr_gate_add(Oid relid, uint32 node, const char *lock_id, bool closed)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	add(relid, node, lock_id, closed);
	LWLockRelease(shared->lock);
	wake(node);
}

/* With the lock, which an error gives back. */
static void
add(Oid relid, uint32 node, const char *lock_id, bool closed)
{
	BdrGate    *gate = find(relid, lock_id);

	if (gate != NULL)
		return;
	for (int i = 0; i < GATES_MAX && gate == NULL; i++)
	{
		if (!OidIsValid(shared->gates[i].dboid))
			gate = &shared->gates[i];
	}
	if (gate == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many tables are locked by other nodes"),
				 errdetail("There are %d, partitions included, in all databases of this server.", GATES_MAX)));
	shared->nused = Max(shared->nused, gate - shared->gates + 1);
	gate->dboid = MyDatabaseId;
	gate->relid = relid;
	gate->node = node;
	strlcpy(gate->lock_id, lock_id, sizeof(gate->lock_id));
	gate->closed = closed;
	gate->leaves = false;
	gate->pid = 0;
	pg_atomic_fetch_add_u32(&shared->count, 1);
}

static BdrGate *
find(Oid relid, const char *lock_id)
{
	for (int i = 0; i < shared->nused; i++)
	{
		BdrGate    *gate = &shared->gates[i];

		if (gate->dboid == MyDatabaseId && gate->relid == relid && strcmp(gate->lock_id, lock_id) == 0)
			return gate;
	}
	return NULL;
}

static void
clear(BdrGate *gate)
{
	gate->dboid = InvalidOid;
	gate->pid = 0;
	while (shared->nused > 0 && !OidIsValid(shared->gates[shared->nused - 1].dboid))
		shared->nused--;
	pg_atomic_fetch_sub_u32(&shared->count, 1);
}

bool
bdr_gate_is_loaded(void)
{
	bool		loaded;

	LWLockAcquire(shared->lock, LW_SHARED);
	loaded = is_loaded();
	LWLockRelease(shared->lock);
	return loaded;
}

static bool
is_loaded(void)
{
	for (int i = 0; i < shared->nloaded; i++)
	{
		if (shared->loaded[i] == MyDatabaseId)
			return true;
	}
	return false;
}

void
bdr_gate_load(List *gates)
{
	ListCell   *lc;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (!is_loaded() && shared->nloaded < shared->nmax)
	{
		foreach(lc, gates)
		{
			const BdrGate *gate = lfirst(lc);

			add(gate->relid, gate->node, gate->lock_id, true);
		}
		shared->loaded[shared->nloaded++] = MyDatabaseId;
	}
	LWLockRelease(shared->lock);
}

void
bdr_gate_leave(const char *lock_id)
{
	uint32		node = 0;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared->nused; i++)
	{
		BdrGate    *gate = &shared->gates[i];

		if (gate->dboid != MyDatabaseId || strcmp(gate->lock_id, lock_id) != 0)
			continue;
		gate->leaves = true;
		node = gate->node;
		if (gate->pid == 0)
			clear(gate);
	}
	LWLockRelease(shared->lock);
	if (node != 0)
		wake(node);
}

static void
wake(uint32 node)
{
	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < shared->nmax; i++)
	{
		GateWriter *writer = &shared->writers[i];

		if (writer->pid != 0 && writer->dboid == MyDatabaseId && writer->node == node)
			SetLatch(writer->latch);
	}
	LWLockRelease(shared->lock);
}

void
bdr_gate_lock_pass(Oid relid, LOCKMODE mode, bool of_session)
{
	LOCKTAG		tag;

	set_pass_tag(&tag, relid);
	(void) LockAcquire(&tag, mode, of_session, false);
}

void
bdr_gate_unlock_pass(Oid relid, LOCKMODE mode)
{
	LOCKTAG		tag;

	set_pass_tag(&tag, relid);
	LockRelease(&tag, mode, true);
}

/* Global locks have other classes (session/lock/global_lock.h). */
static void
set_pass_tag(LOCKTAG *tag, Oid relid)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, relid, 0, PASS_CLASS);
	tag->locktag_type = LOCKTAG_USERLOCK;
	tag->locktag_lockmethodid = DEFAULT_LOCKMETHOD;
}

/* ---------------------------------------------------------------------
 * The writer's side
 * ---------------------------------------------------------------------
 */
void
bdr_gate_attach(uint32 node)
{
	bool		done = false;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared->nmax && !done; i++)
	{
		GateWriter *writer = &shared->writers[i];

		if (writer->pid != 0)
			continue;
		writer->pid = MyProcPid;
		writer->dboid = MyDatabaseId;
		writer->node = node;
		writer->latch = MyLatch;
		done = true;
	}
	LWLockRelease(shared->lock);
	if (!done)
		elog(ERROR, "no slot for the gates of a bdr writer");
	before_shmem_exit(detach, (Datum) 0);
}

/*
 * The server gives back what a session has locked only if that is aborted.
 */
static void
detach(int code, Datum arg)
{
	ListCell   *lc;

	foreach(lc, bdr_gate_list())
	{
		const BdrGate *gate = lfirst(lc);
		LockRelId	table = {gate->relid, MyDatabaseId};

		if (gate->pid != MyProcPid)
			continue;
		bdr_gate_lost();
		UnlockRelationIdForSession(&table, BDR_GATE_LOCK);
	}
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared->nmax; i++)
	{
		if (shared->writers[i].pid == MyProcPid)
			shared->writers[i].pid = 0;
	}
	LWLockRelease(shared->lock);
}

/*
 * Before that: who looks afterwards must not believe that they are there.
 */
void
bdr_gate_lost(void)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared->nused; i++)
	{
		BdrGate    *gate = &shared->gates[i];

		if (!OidIsValid(gate->dboid) || gate->pid != MyProcPid)
			continue;
		gate->pid = 0;
		if (gate->leaves)
			clear(gate);
	}
	LWLockRelease(shared->lock);
}

bool
bdr_gate_closed(const BdrGate *gate)
{
	BdrGate    *mine;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	mine = find(gate->relid, gate->lock_id);
	if (mine != NULL)
	{
		mine->pid = MyProcPid;
		mine->closed = true;
	}
	LWLockRelease(shared->lock);
	return mine != NULL;
}

void
bdr_gate_opened(const BdrGate *gate)
{
	BdrGate    *mine;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	mine = find(gate->relid, gate->lock_id);
	if (mine != NULL)
		clear(mine);
	LWLockRelease(shared->lock);
}
