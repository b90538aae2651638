/*-------------------------------------------------------------------------
 * conflict/dead_row.c
 *		Rows of a heap that may be dead: who wrote them, and who ended them.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"

#include "conflict/dead_row.h"
#include "bdr_compat.h"

static BdrXactState hinted(HeapTupleHeader header, uint16 committed, uint16 aborted, TransactionId xid);
static BdrXactState how_ended(TransactionId xid);

/*
 * How other kinds of tables keep them is not known.
 */
bool
bdr_dead_are_known(BdrRelation *rel)
{
	return rel->rel->rd_tableam == GetHeapamTableAmRoutine();
}

/*
 * What became of the row that an index scan left in slot.
 */
void
bdr_dead_read(TupleTableSlot *slot, BdrDeadRow *dead)
{
	Buffer		buffer = ((BufferHeapTupleTableSlot *) slot)->buffer;
	HeapTupleHeaderData header;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	memcpy(&header, ((BufferHeapTupleTableSlot *) slot)->base.tuple->t_data, SizeofHeapTupleHeader);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	dead->xmin = HeapTupleHeaderGetRawXmin(&header);
	dead->frozen = HeapTupleHeaderXminFrozen(&header);
	dead->born = hinted(&header, HEAP_XMIN_COMMITTED, HEAP_XMIN_INVALID, dead->xmin);
	dead->xmax = bdr_dead_ended_by(&header);
	dead->died = hinted(&header, HEAP_XMAX_COMMITTED, 0, dead->xmax);
}

/*
 * Searches before this one have mostly left in the row what became of who
 * wrote it, and of who ended it.
 */
static BdrXactState
hinted(HeapTupleHeader header, uint16 committed, uint16 aborted, TransactionId xid)
{
	if (TransactionIdIsValid(xid) && (header->t_infomask & committed) != 0)
		return BDR_XACT_COMMITTED;
	if ((header->t_infomask & aborted) != 0)
		return BDR_XACT_ABORTED;
	return how_ended(xid);
}

bool
bdr_dead_is_newer(TransactionId xid, const BdrVersion *than)
{
	BdrVersion	version;

	bdr_version_of(xid, &version);
	return bdr_version_compare(&version, than) > 0;
}

/*
 * Did one transaction, or one version, write the row and end it?
 */
bool
bdr_dead_is_one_version(const BdrDeadRow *dead)
{
	BdrVersion	born;
	BdrVersion	died;

	bdr_version_of(dead->xmin, &born);
	bdr_version_of(dead->xmax, &died);
	return dead->xmin == dead->xmax || (born.known && bdr_version_compare(&born, &died) == 0);
}

static BdrXactState
how_ended(TransactionId xid)
{
	if (!TransactionIdIsValid(xid))
		return BDR_XACT_NONE;
	if (TransactionIdIsCurrentTransactionId(xid))
		return BDR_XACT_OURS;
	if (TransactionIdIsInProgress(xid))
		return BDR_XACT_BUSY;
	return TransactionIdDidCommit(xid) ? BDR_XACT_COMMITTED : BDR_XACT_ABORTED;
}

/*
 * Who deleted or updated it; InvalidTransactionId: nobody.
 */
TransactionId
bdr_dead_ended_by(HeapTupleHeader header)
{
	if ((header->t_infomask & HEAP_XMAX_INVALID) != 0 || HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask))
		return InvalidTransactionId;
	return HeapTupleHeaderGetUpdateXid(header);
}
