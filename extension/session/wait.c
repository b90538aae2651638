/*-------------------------------------------------------------------------
 * session/wait.c
 *		Waiting until peers have confirmed this node's changes.
 *
 * NOTES
 *		A peer confirms by moving its slot.  Slots do not tell anybody when
 *		they move, so this looks again after a while; everything it looks at is
 *		in shared memory.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/slot.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"

#include "version/retention_slot.h"
#include "bdr_wire.h"

#define LOOK_MS_MIN		2
#define LOOK_MS_MAX		100

PG_FUNCTION_INFO_V1(bdr_wait_slot_confirm_lsn);
PG_FUNCTION_INFO_V1(bdr_wait_node_confirm_lsn);

static void check_caller(void);
static XLogRecPtr target_lsn(FunctionCallInfo fcinfo);
static Oid	find_node(const char *name);
static void wait_for_slots(const char *name, XLogRecPtr target);
static bool slots_confirmed(const char *name, XLogRecPtr target, bool *found);
static bool is_meant(ReplicationSlot *slot, const char *name);

Datum
bdr_wait_slot_confirm_lsn(PG_FUNCTION_ARGS)
{
	check_caller();
	wait_for_slots(PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0)), target_lsn(fcinfo));
	PG_RETURN_VOID();
}

Datum
bdr_wait_node_confirm_lsn(PG_FUNCTION_ARGS)
{
	XLogRecPtr	target;
	char	   *node;

	check_caller();
	target = target_lsn(fcinfo);
	if (PG_ARGISNULL(0))
	{
		wait_for_slots(NULL, target);
		PG_RETURN_VOID();
	}
	node = text_to_cstring(PG_GETARG_TEXT_PP(0));
	wait_for_slots(psprintf(BDR_ORIGIN_FORMAT, MyDatabaseId, find_node(node)), target);
	PG_RETURN_VOID();
}

static void
check_caller(void)
{
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to wait for replication slots"),
				 errhint("Only superusers can do that.")));
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("bdr does not run during recovery")));
}

/*
 * The second argument, or the end of the WAL.
 *
 * WAL is sent only after it was flushed: without a flush here, the last
 * asynchronous commit would wait for the WAL writer.  Nothing beyond the end
 * of the WAL can be flushed, and is not asked for.
 */
static XLogRecPtr
target_lsn(FunctionCallInfo fcinfo)
{
	XLogRecPtr	end = bdr_wal_end();
	XLogRecPtr	target = PG_ARGISNULL(1) ? end : PG_GETARG_LSN(1);

	XLogFlush(Min(target, end));
	return target;
}

static Oid
find_node(const char *name)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(name)};
	Oid			node = InvalidOid;

	SPI_connect();
	if (SPI_execute_with_args("SELECT n.node_id FROM bdr.node n WHERE n.node_name OPERATOR(pg_catalog.=) $1",
							  1, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read bdr.node");
	if (SPI_processed == 1)
	{
		bool		isnull;

		node = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	}
	SPI_finish();
	if (!OidIsValid(node))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("node \"%s\" does not exist", name),
				 errhint("See bdr.node_summary for the nodes of this cluster.")));
	return node;
}

/*
 * Waits for the slot of this name, or for every slot of this database that is
 * ours when name is NULL; none is nothing to wait for.
 */
static void
wait_for_slots(const char *name, XLogRecPtr target)
{
	long		delay = LOOK_MS_MIN;

	for (;;)
	{
		bool		found;

		CHECK_FOR_INTERRUPTS();
		if (slots_confirmed(name, target, &found))
			return;
		if (name != NULL && !found)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("replication slot \"%s\" does not exist", name),
					 errhint("See bdr.node_slots for the slots of this node.")));
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, delay, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		delay = Min(delay * 2, LOOK_MS_MAX);
	}
}

static bool
slots_confirmed(const char *name, XLogRecPtr target, bool *found)
{
	bool		confirmed = true;

	*found = false;
	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];
		XLogRecPtr	position;

		if (!slot->in_use || !is_meant(slot, name))
			continue;
		*found = true;
		SpinLockAcquire(&slot->mutex);
		position = slot->data.confirmed_flush;
		SpinLockRelease(&slot->mutex);
		if (position < target)
			confirmed = false;
	}
	LWLockRelease(ReplicationSlotControlLock);
	return confirmed && (*found || name == NULL);
}

static bool
is_meant(ReplicationSlot *slot, const char *name)
{
	char		prefix[NAMEDATALEN];

	if (slot->data.database != MyDatabaseId)
		return false;
	if (name != NULL)
		return strcmp(NameStr(slot->data.name), name) == 0;
	snprintf(prefix, sizeof(prefix), "bdr_%u_", MyDatabaseId);
	return strncmp(NameStr(slot->data.name), prefix, strlen(prefix)) == 0;
}
