/*-------------------------------------------------------------------------
 * session/pg_upgrade.c
 *		A node that is being upgraded in place: its fence, and origins under
 *		the numbers that they had.
 *
 * NOTES
 *		What is committed after the peers have read all, and before their slots
 *		are there again on the upgraded server, would never reach them.  So a
 *		file in the node's run directory (gosrc/upgrade) says that an upgrade is
 *		under way, and from then on no transaction of the database that has
 *		written commits.  The file goes along to the new data directory, and is
 *		looked for before the server takes connections.
 *
 *		A transaction writes and then reads the fence; who sets the fence then
 *		looks for transactions that run.  Either the transaction sees it, or it
 *		is seen and waited for.
 *
 *		Commit timestamps name an origin by its number, which pg_upgrade does
 *		not carry over.  Their files come along with bdr_pg_upgrade, but the new
 *		server believes that it has none from before it was made.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/indexing.h"
#include "catalog/pg_replication_origin.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "postmaster/autovacuum.h"
#include "postmaster/bgwriter.h"
#include "replication/origin.h"
#include "storage/fd.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/run_directory.h"
#include "base/shmem.h"
#include "base/worker.h"
#include "session/pg_upgrade.h"
#include "bdr_compat.h"

/* Also in gosrc/upgrade and in bdr_pg_upgrade. */
#define BDR_UPGRADE_FILE		"upgrade"

typedef struct BdrFence
{
	pg_atomic_uint32 count;
	uint32		ndatabases;
	pg_atomic_uint32 databases[FLEXIBLE_ARRAY_MEMBER];	/* InvalidOid: free */
} BdrFence;

PG_FUNCTION_INFO_V1(bdr_internal_set_fence);
PG_FUNCTION_INFO_V1(bdr_internal_restore_origin);
PG_FUNCTION_INFO_V1(bdr_internal_oldest_commit_timestamp);
PG_FUNCTION_INFO_V1(bdr_internal_restore_commit_timestamps);

static BdrFence *shared = NULL;

static Size memory_bytes(void);
static void start_memory(void);
static void read_files(void);
static bool is_fenced(Oid dboid);
static bool set_fence(Oid dboid);
static void remove_fence(Oid dboid);
static void at_transaction_end(XactEvent event, void *arg);
static void check_superuser(void);
static void insert_origin(const char *name, RepOriginId number);

static const BdrShmemPart shmem_part = {memory_bytes, start_memory, NULL};

void
bdr_pg_upgrade_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	bdr_shmem_register(&shmem_part);
}

/* ---------------------------------------------------------------------
 * The fence
 * ---------------------------------------------------------------------
 */

/* A node needs a background worker, so there cannot be more of them. */
static Size
memory_bytes(void)
{
	return offsetof(BdrFence, databases) + max_worker_processes * sizeof(pg_atomic_uint32);
}

static void
start_memory(void)
{
	bool		found;

	shared = ShmemInitStruct("bdr fence", memory_bytes(), &found);
	if (found)
		return;
	pg_atomic_init_u32(&shared->count, 0);
	shared->ndatabases = max_worker_processes;
	for (uint32 i = 0; i < shared->ndatabases; i++)
		pg_atomic_init_u32(&shared->databases[i], InvalidOid);
	if (!IsBinaryUpgrade)
		read_files();
}

/* The databases whose nodes were being upgraded when the server stopped. */
static void
read_files(void)
{
	DIR		   *dir = AllocateDir(BDR_RUN_DIRECTORY);
	struct dirent *entry;

	if (dir == NULL)
		return;					/* there has never been a manager */
	while ((entry = ReadDirExtended(dir, BDR_RUN_DIRECTORY, LOG)) != NULL)
	{
		Oid			dboid = (Oid) strtoul(entry->d_name, NULL, 10);
		char		path[MAXPGPATH];
		struct stat info;

		snprintf(path, sizeof(path), "%s/%s/%s", BDR_RUN_DIRECTORY, entry->d_name, BDR_UPGRADE_FILE);
		if (OidIsValid(dboid) && stat(path, &info) == 0 && !set_fence(dboid))
			ereport(FATAL,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("more databases are being upgraded than the server has background workers"),
					 errhint("Increase max_worker_processes.")));
	}
	FreeDir(dir);
}

static bool
is_fenced(Oid dboid)
{
	if (shared == NULL || pg_atomic_read_u32(&shared->count) == 0)
		return false;
	for (uint32 i = 0; i < shared->ndatabases; i++)
		if (pg_atomic_read_u32(&shared->databases[i]) == dboid)
			return true;
	return false;
}

/* Returns false when there is no room. */
static bool
set_fence(Oid dboid)
{
	if (is_fenced(dboid))
		return true;
	for (uint32 i = 0; i < shared->ndatabases; i++)
	{
		uint32		free = InvalidOid;

		if (pg_atomic_compare_exchange_u32(&shared->databases[i], &free, dboid))
		{
			pg_atomic_fetch_add_u32(&shared->count, 1);
			return true;
		}
	}
	return false;
}

static void
remove_fence(Oid dboid)
{
	for (uint32 i = 0; i < shared->ndatabases; i++)
	{
		uint32		found = dboid;

		if (pg_atomic_compare_exchange_u32(&shared->databases[i], &found, InvalidOid))
			pg_atomic_fetch_sub_u32(&shared->count, 1);
	}
}

/*
 * Our own processes, and autovacuum, write nothing that peers get.
 */
static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE)
		return;
	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return;
	pg_memory_barrier();		/* we are seen before we look */
	if (!is_fenced(MyDatabaseId) || bdr_is_autovacuum_worker() || bdr_is_own_worker())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
			 errmsg("cannot commit changes while the node is being upgraded"),
			 errdetail("Peers would not get them."),
			 errhint("Write on another node.  bdr.finish_pg_upgrade() ends the upgrade, bdr.cancel_pg_upgrade() gives it up.")));
}

Datum
bdr_internal_set_fence(PG_FUNCTION_ARGS)
{
	check_superuser();
	bdr_require_preloaded();
	if (!PG_GETARG_BOOL(0))
		remove_fence(MyDatabaseId);
	else if (!set_fence(MyDatabaseId))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many databases are being upgraded"),
				 errhint("Increase max_worker_processes.")));
	PG_RETURN_VOID();
}

/* ---------------------------------------------------------------------
 * Origins
 * ---------------------------------------------------------------------
 */

Datum
bdr_internal_restore_origin(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int32		number = PG_GETARG_INT32(1);
	RepOriginId found;

	check_superuser();
	if (number <= InvalidRepOriginId || number >= DoNotReplicateId)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%d is not the number of a replication origin", number)));
	LockRelationOid(ReplicationOriginRelationId, ExclusiveLock);
	found = replorigin_by_name(name, true);
	if (found == InvalidRepOriginId)
		insert_origin(name, (RepOriginId) number);
	else if (found != number)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("replication origin \"%s\" has number %u instead of %d", name, found, number),
				 errhint("Drop it.")));
	replorigin_advance((RepOriginId) number, PG_GETARG_LSN(2), InvalidXLogRecPtr, false, true);
	UnlockRelationOid(ReplicationOriginRelationId, ExclusiveLock);
	PG_RETURN_VOID();
}

/* As replorigin_create() does, but with a number of our choice. */
static void
insert_origin(const char *name, RepOriginId number)
{
	Relation	rel = table_open(ReplicationOriginRelationId, ExclusiveLock);
	Datum		values[Natts_pg_replication_origin];
	bool		nulls[Natts_pg_replication_origin] = {false};
	HeapTuple	tuple;

	if (SearchSysCacheExists1(REPLORIGIDENT, ObjectIdGetDatum(number)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("another replication origin has number %u", number),
				 errdetail("\"%s\" had it before the upgrade.", name),
				 errhint("Drop the other one, and the subscription that it belongs to.")));
	values[Anum_pg_replication_origin_roident - 1] = ObjectIdGetDatum(number);
	values[Anum_pg_replication_origin_roname - 1] = CStringGetTextDatum(name);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	CommandCounterIncrement();
	heap_freetuple(tuple);
	table_close(rel, NoLock);
}

/* ---------------------------------------------------------------------
 * Commit timestamps
 * ---------------------------------------------------------------------
 */

/* The first transaction with one; NULL: there are none. */
Datum
bdr_internal_oldest_commit_timestamp(PG_FUNCTION_ARGS)
{
	TransactionId oldest;

	check_superuser();
	LWLockAcquire(CommitTsLock, LW_SHARED);
	oldest = BdrTransamVariables->oldestCommitTsXid;
	LWLockRelease(CommitTsLock);
	if (!TransactionIdIsValid(oldest))
		PG_RETURN_NULL();
	PG_RETURN_TRANSACTIONID(oldest);
}

/*
 * The checkpoint makes it last: after a crash the server would begin with what
 * it knew at the last one.
 */
Datum
bdr_internal_restore_commit_timestamps(PG_FUNCTION_ARGS)
{
	TransactionId oldest = PG_GETARG_TRANSACTIONID(0);

	check_superuser();
	if (!TransactionIdIsNormal(oldest) || !TransactionIdPrecedes(oldest, ReadNextTransactionId()))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%u is not a transaction of the past", oldest)));
	LWLockAcquire(CommitTsLock, LW_EXCLUSIVE);
	if (TransactionIdIsValid(BdrTransamVariables->oldestCommitTsXid) &&
		TransactionIdPrecedes(oldest, BdrTransamVariables->oldestCommitTsXid))
		BdrTransamVariables->oldestCommitTsXid = oldest;
	LWLockRelease(CommitTsLock);
	RequestCheckpoint(CHECKPOINT_IMMEDIATE | CHECKPOINT_FORCE | CHECKPOINT_WAIT);
	PG_RETURN_VOID();
}

static void
check_superuser(void)
{
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser to upgrade a node")));
}
