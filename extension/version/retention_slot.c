/*-------------------------------------------------------------------------
 * version/retention_slot.c
 *		The retention slot: its xmin keeps dead rows for as long as a peer may
 *		send something older.
 *
 * NOTES
 *		A physical slot without a WAL position, one per database.  Where it
 *		stands is decided in gosrc/conflict/retain.go, by samples: what had
 *		ended when a snapshot was taken cannot be newer than the newest time
 *		that was known after that.
 *
 *		What ends after the slot shows its xmin is kept.  Nothing has to be
 *		locked for that: a vacuum that chose its horizon before did so while
 *		the transaction was running or had not begun, and spares its rows.
 *
 *		The slot belongs to no database as the server sees it, so nobody but
 *		us drops it: membership when a node leaves its group, the supervisor
 *		when a database is no node any more, however that came about.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "version/clock.h"
#include "version/retention_slot.h"
#include "bdr_compat.h"

/* Columns of bdr.internal_sample(). */
enum
{
	SAMPLE_XMIN,
	SAMPLE_NEXT_XID,
	SAMPLE_CLOCK,
	SAMPLE_NEWEST_COMMIT,
	SAMPLE_HOLD_XMIN,
	SAMPLE_COLUMNS
};

PG_FUNCTION_INFO_V1(bdr_internal_sample);
PG_FUNCTION_INFO_V1(bdr_internal_set_hold);

static TransactionId hold_xmin(const char *name);
static bool take_slot(const char *name);
static bool has_free_slot(void);
static void move_slot(TransactionId xmin);

/*
 * What has ended by now, and the times that nothing of it can be newer than.
 *
 * The clock counts too: a transaction that has ended may not have told its
 * commit time yet.
 */
Datum
bdr_internal_sample(PG_FUNCTION_ARGS)
{
	TransactionId xmin = GetLatestSnapshot()->xmin;
	FullTransactionId next = ReadNextFullTransactionId();
	char		name[NAMEDATALEN];
	TransactionId held;
	TupleDesc	desc;
	Datum		values[SAMPLE_COLUMNS];
	bool		nulls[SAMPLE_COLUMNS] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	snprintf(name, sizeof(name), BDR_RETENTION_FORMAT, MyDatabaseId);
	held = hold_xmin(name);
	values[SAMPLE_XMIN] = FullTransactionIdGetDatum(bdr_widen_xid(xmin, next));
	values[SAMPLE_NEXT_XID] = FullTransactionIdGetDatum(next);
	values[SAMPLE_CLOCK] = Int64GetDatum(GetCurrentTimestamp());
	values[SAMPLE_NEWEST_COMMIT] = Int64GetDatum(bdr_clock_high());
	nulls[SAMPLE_HOLD_XMIN] = !TransactionIdIsNormal(held);
	if (!nulls[SAMPLE_HOLD_XMIN])
		values[SAMPLE_HOLD_XMIN] = FullTransactionIdGetDatum(bdr_widen_xid(held, next));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* The full form of an xid that is not far from the next one. */
FullTransactionId
bdr_widen_xid(TransactionId xid, FullTransactionId next)
{
	int32		before = (int32) (XidFromFullTransactionId(next) - xid);

	return FullTransactionIdFromU64(U64FromFullTransactionId(next) - before);
}

/* The first transaction whose dead rows are kept; InvalidTransactionId: there is no hold. */
TransactionId
bdr_retention_xmin(void)
{
	char		name[NAMEDATALEN];

	snprintf(name, sizeof(name), BDR_RETENTION_FORMAT, MyDatabaseId);
	return hold_xmin(name);
}

/* InvalidTransactionId: there is no such slot, or it holds nothing. */
static TransactionId
hold_xmin(const char *name)
{
	TransactionId xmin = InvalidTransactionId;
	ReplicationSlot *slot;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	slot = SearchNamedReplicationSlot(name, false);
	if (slot != NULL)
	{
		SpinLockAcquire(&slot->mutex);
		xmin = slot->data.xmin;
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(ReplicationSlotControlLock);
	return xmin;
}

/*
 * Moves the retention slot of this database, which is made if there is none.  Returns
 * false when max_replication_slots has no room for it.
 */
Datum
bdr_internal_set_hold(PG_FUNCTION_ARGS)
{
	FullTransactionId xmin = PG_GETARG_FULLTRANSACTIONID(0);
	char		name[NAMEDATALEN];
	bool		taken;

	if (FullTransactionIdFollows(xmin, ReadNextFullTransactionId()) ||
		!FullTransactionIdIsNormal(xmin))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot hold rows from transaction " UINT64_FORMAT " on",
						U64FromFullTransactionId(xmin))));
	/* xids that a crash takes out of the WAL are used again */
	XLogFlush(bdr_wal_end());
	snprintf(name, sizeof(name), BDR_RETENTION_FORMAT, MyDatabaseId);
	taken = take_slot(name);
	if (taken)
	{
		PG_TRY();
		{
			move_slot(XidFromFullTransactionId(xmin));
		}
		PG_FINALLY();
		{
			ReplicationSlotRelease();
		}
		PG_END_TRY();
	}
	PG_RETURN_BOOL(taken);
}

static bool
take_slot(const char *name)
{
	if (SearchNamedReplicationSlot(name, true) != NULL)
		bdr_slot_acquire(name);
	else if (has_free_slot())
		bdr_slot_create(name);
	else
		return false;
	if (SlotIsPhysical(MyReplicationSlot))
		return true;
	ReplicationSlotRelease();
	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("replication slot \"%s\" is not ours", name),
			 errhint("Drop it.")));
}

/* Somebody else may still come first; that is an error, and tried again. */
static bool
has_free_slot(void)
{
	bool		found = false;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots && !found; i++)
		found = !ReplicationSlotCtl->replication_slots[i].in_use;
	LWLockRelease(ReplicationSlotControlLock);
	return found;
}

/*
 * On disk an older xmin than the one that counts does no harm: a crash then
 * makes us keep more.  A checkpoint writes it in its time.
 */
static void
move_slot(TransactionId xmin)
{
	ReplicationSlot *slot = MyReplicationSlot;
	bool		later;

	SpinLockAcquire(&slot->mutex);
	later = TransactionIdIsValid(slot->data.xmin) && TransactionIdPrecedes(slot->data.xmin, xmin);
	slot->data.xmin = xmin;
	slot->effective_xmin = xmin;
	SpinLockRelease(&slot->mutex);
	ReplicationSlotMarkDirty();
	if (!later)
		ReplicationSlotSave();
	ReplicationSlotsComputeRequiredXmin(false);
}

/*
 * The end of what can be flushed.  The server names the place of the next
 * record, which is behind a page's header if that begins a page.
 */
XLogRecPtr
bdr_wal_end(void)
{
	XLogRecPtr	end = GetXLogInsertRecPtr();
	uint32		header = XLogSegmentOffset(end, wal_segment_size) < XLOG_BLCKSZ ?
	SizeOfXLogLongPHD : SizeOfXLogShortPHD;

	return end % XLOG_BLCKSZ == header ? end - header : end;
}

/*-------------------------------------------------------------------------
 * What is left of databases that are no nodes any more
 *-------------------------------------------------------------------------
 */

/*
 * The OIDs of the databases that have a hold, in context.
 */
List *
bdr_retention_databases(MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	List	   *databases = NIL;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];
		Oid			dboid;

		if (slot->in_use && bdr_retention_is(slot, &dboid))
			databases = lappend_oid(databases, dboid);
	}
	LWLockRelease(ReplicationSlotControlLock);
	MemoryContextSwitchTo(old);
	return databases;
}

/*
 * Is the slot, which is in use, a hold, and of which database?
 */
bool
bdr_retention_is(ReplicationSlot *slot, Oid *dboid)
{
	char		name[NAMEDATALEN];

	if (!SlotIsPhysical(slot) || sscanf(NameStr(slot->data.name), BDR_RETENTION_FORMAT, dboid) != 1)
		return false;
	snprintf(name, sizeof(name), BDR_RETENTION_FORMAT, *dboid);
	return strcmp(name, NameStr(slot->data.name)) == 0;
}

/*
 * Drops the retention slot of a database.  What keeps us from it is only logged: the
 * supervisor tries again when it looks the next time.
 */
void
bdr_retention_drop(Oid dboid)
{
	MemoryContext context = CurrentMemoryContext;
	char		name[NAMEDATALEN];

	snprintf(name, sizeof(name), BDR_RETENTION_FORMAT, dboid);
	StartTransactionCommand();
	PG_TRY();
	{
		ReplicationSlotDrop(name, true);
		ereport(LOG,
				(errmsg("dropped replication slot \"%s\"", name),
				 errdetail("Its database is not a node any more.")));
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		EmitErrorReport();
		FlushErrorState();
		AbortCurrentTransaction();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
}
