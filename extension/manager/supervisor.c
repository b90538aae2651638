/*-------------------------------------------------------------------------
 * manager/supervisor.c
 *		One worker per instance: keeps a manager in every node database.
 *
 * NOTES
 *		A database is a node when it has a security label of provider "bdr", or
 *		a session has asked for its manager.  The supervisor is connected to no
 *		database and reads only shared catalogs.  It sleeps until a session, a
 *		manager or the postmaster wakes it; there is a timer only while a
 *		restart is due.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "catalog/pg_shseclabel.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/bdr.h"
#include "base/shmem.h"
#include "base/worker_settings.h"
#include "manager/supervisor.h"
#include "version/clock.h"
#include "version/key_removal.h"
#include "version/retention_slot.h"

#define RESTART_MS		1000

/* A database, as the shared catalogs show it. */
typedef struct Database
{
	Oid			oid;
	char		name[NAMEDATALEN];
	bool		labelled;
} Database;

/* Handles of the managers that this process started, by slot. */
static BackgroundWorkerHandle **handles;
static bool out_of_workers = false;

static void forget_supervisor(int code, Datum arg);
static List *read_databases(MemoryContext context, List **labelled);
static List *read_labels(MemoryContext context);
static void mark_labelled(List *databases, List *labelled);
static void drop_stray_holds(List *holds, List *labelled);
static Database *find_database(List *databases, Oid oid);
static void add_labelled(List *databases);
static long look_after(List *databases);
static long look_after_slot(int i, List *databases, TimestampTz now);
static bool is_running(int i);
static void note_end(BdrManagerSlot *slot, TimestampTz now);
static void stop_manager(int i);
static bool start_manager(int i, const char *database);

void
bdr_supervisor_register(void)
{
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = RESTART_MS / 1000,
		.bgw_name = "bdr supervisor",
		.bgw_type = "bdr supervisor",
		.bgw_library_name = "bdr",
		.bgw_function_name = "bdr_supervisor_main",
	};

	RegisterBackgroundWorker(&worker);
}

void
bdr_supervisor_main(Datum arg)
{
	MemoryContext context;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	bdr_worker_pin_settings(BDR_SESSION_MANAGER);

	handles = MemoryContextAllocZero(TopMemoryContext, bdr_shmem->nslots * sizeof(*handles));
	context = AllocSetContextCreate(TopMemoryContext, "bdr supervisor", ALLOCSET_DEFAULT_SIZES);
	before_shmem_exit(forget_supervisor, 0);
	bdr_shmem->supervisor = MyLatch;
	bdr_clock_configure();
	bdr_key_removal_forget_past();

	for (;;)
	{
		List	   *holds = bdr_retention_databases(context);
		List	   *labelled;
		List	   *databases = read_databases(context, &labelled);
		long		timeout;

		drop_stray_holds(holds, labelled);
		add_labelled(databases);
		timeout = look_after(databases);
		MemoryContextReset(context);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (timeout >= 0 ? WL_TIMEOUT : 0),
						 timeout, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		/* Code 1, or the postmaster would never start another one. */
		if (ShutdownRequestPending)
			proc_exit(1);
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			bdr_clock_configure();
		}
	}
}

static void
forget_supervisor(int code, Datum arg)
{
	bdr_shmem->supervisor = NULL;
}

/* Every database that one can connect to, and all with a label, in context. */
static List *
read_databases(MemoryContext context, List **labelled)
{
	List	   *databases = NIL;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old;
		Database   *database;

		if (!form->datallowconn)
			continue;
		old = MemoryContextSwitchTo(context);
		database = palloc0(sizeof(Database));
		database->oid = form->oid;
		strlcpy(database->name, NameStr(form->datname), NAMEDATALEN);
		databases = lappend(databases, database);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	*labelled = read_labels(context);
	mark_labelled(databases, *labelled);
	CommitTransactionCommand();
	return databases;
}

static List *
read_labels(MemoryContext context)
{
	List	   *labelled = NIL;
	Relation	rel = table_open(SharedSecLabelRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(rel, 0, NULL);
	HeapTuple	tuple;

	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_shseclabel form = (Form_pg_shseclabel) GETSTRUCT(tuple);
		bool		isnull;
		Datum		provider = heap_getattr(tuple, Anum_pg_shseclabel_provider, RelationGetDescr(rel), &isnull);
		MemoryContext old;

		if (form->classoid != DatabaseRelationId ||
			strcmp(TextDatumGetCString(provider), BDR_LABEL_PROVIDER) != 0)
			continue;
		old = MemoryContextSwitchTo(context);
		labelled = lappend_oid(labelled, form->objoid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	return labelled;
}

static void
mark_labelled(List *databases, List *labelled)
{
	ListCell   *lc;

	foreach(lc, labelled)
	{
		Database   *database = find_database(databases, lfirst_oid(lc));

		if (database != NULL)
			database->labelled = true;
	}
}

/*
 * A hold is made only where a label is, and holds were listed before the labels
 * were read: one whose database has none was left behind.
 */
static void
drop_stray_holds(List *holds, List *labelled)
{
	ListCell   *lc;

	foreach(lc, holds)
	{
		if (!list_member_oid(labelled, lfirst_oid(lc)))
			bdr_retention_drop(lfirst_oid(lc));
	}
}

static Database *
find_database(List *databases, Oid oid)
{
	ListCell   *lc;

	foreach(lc, databases)
		if (((Database *) lfirst(lc))->oid == oid)
			return lfirst(lc);
	return NULL;
}

/* Gives every node database a slot. */
static void
add_labelled(List *databases)
{
	ListCell   *lc;

	LWLockAcquire(bdr_shmem->lock, LW_EXCLUSIVE);
	foreach(lc, databases)
	{
		Database   *database = lfirst(lc);

		/* Without a free slot there is no free worker either: try later. */
		if (database->labelled)
			(void) bdr_shmem_find_or_make(database->oid);
	}
	LWLockRelease(bdr_shmem->lock);
}

/* Returns how long to sleep, or -1 for ever. */
static long
look_after(List *databases)
{
	TimestampTz now = GetCurrentTimestamp();
	long		timeout = -1;

	for (int i = 0; i < bdr_shmem->nslots; i++)
	{
		long		due = look_after_slot(i, databases, now);

		if (due >= 0 && (timeout < 0 || due < timeout))
			timeout = due;
	}
	return timeout;
}

/* Returns in how many ms a restart is due, -1 for none. */
static long
look_after_slot(int i, List *databases, TimestampTz now)
{
	BdrManagerSlot *slot = &bdr_shmem->slots[i];
	Database   *database;
	bool		running = is_running(i);
	bool		start = false;
	long		due = -1;

	LWLockAcquire(bdr_shmem->lock, LW_EXCLUSIVE);
	database = find_database(databases, slot->dboid);
	if (slot->dboid == InvalidOid)
		 /* free */ ;
	else if (running)
	{
		if (slot->stop)
			stop_manager(i);
		slot->restart_at = -1;
	}
	else
	{
		slot->stop = false;
		if (slot->restart_at == -1)
			note_end(slot, now);
		if (database == NULL || !(database->labelled || slot->wanted))
			slot->dboid = InvalidOid;
		else if (slot->restart_at > now)
			due = TimestampDifferenceMilliseconds(now, slot->restart_at) + 1;
		else
			start = true;
	}
	LWLockRelease(bdr_shmem->lock);
	return start && !start_manager(i, database->name) ? RESTART_MS : due;
}

/* Lets go of the handle of a manager that ended. */
static bool
is_running(int i)
{
	pid_t		pid;

	if (handles[i] != NULL)
	{
		BgwHandleStatus status = GetBackgroundWorkerPid(handles[i], &pid);

		if (status == BGWH_STARTED || status == BGWH_NOT_YET_STARTED)
			return true;
		pfree(handles[i]);
		handles[i] = NULL;
		bdr_shmem->slots[i].restart_at = -1;
		return false;
	}
	/* One that an earlier supervisor started. */
	pid = bdr_shmem->slots[i].pid;
	return pid != 0 && kill(pid, 0) == 0;
}

/* Lock held.  A manager that is asked for at once after its end waits too. */
static void
note_end(BdrManagerSlot *slot, TimestampTz now)
{
	slot->restart_at = TimestampTzPlusMilliseconds(now, RESTART_MS);
	slot->pid = 0;
	slot->ready = false;
}

static void
stop_manager(int i)
{
	pid_t		pid = bdr_shmem->slots[i].pid;

	bdr_shmem->slots[i].stop = false;
	if (handles[i] != NULL)
		TerminateBackgroundWorker(handles[i]);
	else if (pid != 0)
		kill(pid, SIGTERM);
}

static bool
start_manager(int i, const char *database)
{
	BdrManagerSlot *slot = &bdr_shmem->slots[i];
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_type = "bdr manager",
		.bgw_library_name = "bdr",
		.bgw_function_name = "bdr_manager_main",
		.bgw_main_arg = ObjectIdGetDatum(slot->dboid),
		.bgw_notify_pid = MyProcPid,
	};
	bool		started;

	snprintf(worker.bgw_name, BGW_MAXLEN, "bdr manager: %s", database);
	started = RegisterDynamicBackgroundWorker(&worker, &handles[i]);
	MemoryContextSwitchTo(old);
	slot->restart_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), started ? 0 : RESTART_MS);
	if (!started)
		bdr_shmem_note_failure(slot, "There is no free background worker slot; increase max_worker_processes.");
	if (!started && !out_of_workers)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("could not start the bdr manager of database \"%s\"", database),
				 errdetail("There is no free background worker slot."),
				 errhint("Increase max_worker_processes and restart the server.")));
	out_of_workers = !started;
	return started;
}
