/*-------------------------------------------------------------------------
 * rebuild/table.c
 *		A row's version survives ALTER TABLE.
 *
 * NOTES
 *		ALTER TABLE that rewrites a table inserts each visible row anew, so all
 *		have its own xmin, and would be newer than whatever is on its way from
 *		a peer.  Here they get the xmin that they had, as CLUSTER and VACUUM
 *		FULL leave it: docs/decisions/0018-rewritten-tables.md.
 *
 *		The server reads the old rows in the order of their places and writes
 *		the new ones in that order.  So the rows of the two files that are
 *		there when it drops the old one belong together in pairs.  For that a
 *		scan must begin at the first page: synchronized ones do not.
 *
 *		The new file belongs to this transaction, under an exclusive lock.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/generic_xlog.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/bufmgr.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/hooks.h"
#include "base/membership.h"
#include "rebuild/dead_rows.h"
#include "rebuild/table.h"
#include "bdr_compat.h"

/* The utility statement that runs innermost. */
typedef struct Statement
{
	bool		alters;			/* it is an ALTER TABLE */
	CommandId	first;			/* its first command */
	Oid			table;			/* that is being rewritten; InvalidOid: none */
	Oid			transient;		/* stands for the new file of it, and then the old */
	CommandId	began;			/* what the rewrite sees of this transaction */
	Oid			local_node;
} Statement;

/* The visible rows of the old file, one after the other. */
typedef struct OldRows
{
	TableScanDesc scan;
	Snapshot	snapshot;
	BdrGraves  *graves;			/* for the others */
} OldRows;

/* Who wrote a row, as its header has it. */
typedef struct Birth
{
	TransactionId xmin;
	uint16		infomask;
} Birth;

static Statement *current = NULL;

static void process(const BdrUtility *statement);
static void watch(ObjectAccessType access, Oid classId, Oid objectId, int subId, void *arg);
static void begin(Oid relid);
static bool belongs_to_transient(Oid relid);
static void keep_versions(Oid relid, Oid transient);
static TransactionId give_back(Relation table, OldRows *rows);
static void give_back_page(Relation table, Buffer buffer, OldRows *rows, TransactionId *oldest);
static int	count_rows(Buffer buffer);
static bool next_birth(OldRows *rows, Birth *birth);
static bool is_theirs(const Birth *birth);
static void set_births(Relation table, Buffer buffer, const Birth *births);
static void note_oldest(const Birth *birth, TransactionId *oldest);
static void lower_frozen_xid(Oid relid, TransactionId oldest);
pg_noreturn static void bad_order(Relation table);

void
bdr_rebuild_table_init(void)
{
	bdr_hooks_on_utility(process);
	bdr_hooks_on_access(watch);
}

/* ---------------------------------------------------------------------
 * When a table is rewritten
 * ---------------------------------------------------------------------
 */

/*
 * Only ALTER TABLE is of interest, and not what runs inside of it: a CLUSTER
 * there writes rows in another order, and keeps who wrote them.
 */
static void
process(const BdrUtility *statement)
{
	bool		alters = IsA(statement->pstmt->utilityStmt, AlterTableStmt);
	Statement  *outer = current;
	bool		synchronize = synchronize_seqscans;
	Statement	here = {alters};

	if (!alters && current == NULL)
	{
		bdr_hooks_run_utility(statement);
		return;
	}
	here.first = GetCurrentCommandId(false);
	current = &here;
	PG_TRY();
	{
		bdr_hooks_run_utility(statement);
	}
	PG_FINALLY();
	{
		current = outer;
		if (OidIsValid(here.table))
			synchronize_seqscans = synchronize;
	}
	PG_END_TRY();
}

/*
 * The old file goes when the new one and its indexes are complete.  What large
 * values are stored in goes before it.
 */
static void
watch(ObjectAccessType access, Oid classId, Oid objectId, int subId, void *arg)
{
	if (current == NULL || !current->alters || classId != RelationRelationId || subId != 0)
		return;
	if (access == OAT_POST_CREATE)
		begin(objectId);
	else if (access == OAT_DROP && OidIsValid(current->transient) &&
			 (((ObjectAccessDrop *) arg)->dropflags & PERFORM_DELETION_INTERNAL) != 0 &&
			 belongs_to_transient(objectId))
	{
		Oid			transient = current->transient;

		current->transient = InvalidOid;
		keep_versions(current->table, transient);
	}
}

/*
 * A relation was made; is it the new file of a table?
 */
static void
begin(Oid relid)
{
	Relation	transient = RelationIdGetRelation(relid);
	Oid			table = RelationIsValid(transient) ? transient->rd_rel->relrewrite : InvalidOid;

	if (OidIsValid(table) && transient->rd_rel->relkind == RELKIND_RELATION)
	{
		Relation	old = table_open(table, NoLock);

		if (bdr_dead_rows_matter(old) && transient->rd_tableam == GetHeapamTableAmRoutine() && bdr_is_member(&current->local_node))
		{
			current->table = table;
			current->transient = relid;
			current->began = GetCurrentCommandId(false);
			synchronize_seqscans = false;
		}
		table_close(old, NoLock);
	}
	if (RelationIsValid(transient))
		RelationClose(transient);
}

static bool
belongs_to_transient(Oid relid)
{
	HeapTuple	tuple;
	Oid			toast = InvalidOid;

	if (relid == current->transient)
		return true;
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(current->transient));
	if (HeapTupleIsValid(tuple))
	{
		toast = ((Form_pg_class) GETSTRUCT(tuple))->reltoastrelid;
		ReleaseSysCache(tuple);
	}
	return OidIsValid(toast) && (relid == toast ||
								 (get_rel_relkind(relid) == RELKIND_INDEX && IndexGetRelation(relid, true) == toast));
}

/* ---------------------------------------------------------------------
 * What its rows had
 * ---------------------------------------------------------------------
 */
static void
keep_versions(Oid relid, Oid transient)
{
	Relation	table = table_open(relid, NoLock);
	Relation	old = table_open(transient, NoLock);
	OldRows		rows;
	TransactionId oldest;

	/* our own copy; expressions that are computed may have changed the table */
	rows.snapshot = RegisterSnapshot(GetLatestSnapshot());
	rows.snapshot->curcid = current->began;
	rows.scan = table_beginscan_strat(old, SnapshotAny, 0, NULL, true, false);
	rows.graves = bdr_dead_rows_open(table, current->first, current->local_node);
	bdr_dead_rows_convert_memory(rows.graves);
	oldest = give_back(table, &rows);
	bdr_dead_rows_close(rows.graves);
	table_endscan(rows.scan);
	UnregisterSnapshot(rows.snapshot);
	table_close(old, NoLock);
	table_close(table, NoLock);
	if (TransactionIdIsValid(oldest))
		lower_frozen_xid(relid, oldest);
}

/*
 * Returns the oldest xmin that VACUUM has to freeze some day.
 */
static TransactionId
give_back(Relation table, OldRows *rows)
{
	BufferAccessStrategy strategy = GetAccessStrategy(BAS_BULKWRITE);
	BlockNumber nblocks = RelationGetNumberOfBlocks(table);
	TransactionId oldest = InvalidTransactionId;
	Birth		none;

	for (BlockNumber block = 0; block < nblocks; block++)
	{
		Buffer		buffer = ReadBufferExtended(table, MAIN_FORKNUM, block, RBM_NORMAL, strategy);

		give_back_page(table, buffer, rows, &oldest);
		ReleaseBuffer(buffer);
	}
	if (next_birth(rows, &none))
		bad_order(table);
	FreeAccessStrategy(strategy);
	return oldest;
}

/*
 * The old rows are read before the page is locked.
 */
static void
give_back_page(Relation table, Buffer buffer, OldRows *rows, TransactionId *oldest)
{
	Birth		births[MaxHeapTuplesPerPage];
	int			n = count_rows(buffer);
	bool		any = false;

	for (int i = 0; i < n; i++)
	{
		if (!next_birth(rows, &births[i]))
			bad_order(table);
		note_oldest(&births[i], oldest);
		any |= is_theirs(&births[i]);
	}
	if (any)
		set_births(table, buffer, births);
}

static int
count_rows(Buffer buffer)
{
	Page		page;
	int			n = 0;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	if (!PageIsNew(page))
		n = PageGetMaxOffsetNumber(page);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	return n;
}

static bool
next_birth(OldRows *rows, Birth *birth)
{
	HeapTuple	row;

	while ((row = heap_getnext(rows->scan, ForwardScanDirection)) != NULL)
	{
		Buffer		buffer = ((HeapScanDesc) rows->scan)->rs_cbuf;
		HeapTupleHeaderData header;
		bool		visible;

		CHECK_FOR_INTERRUPTS();
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		visible = HeapTupleSatisfiesVisibility(row, rows->snapshot, buffer);
		memcpy(&header, row->t_data, SizeofHeapTupleHeader);
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		if (visible)
		{
			birth->xmin = HeapTupleHeaderGetRawXmin(&header);
			birth->infomask = header.t_infomask & HEAP_XMIN_FROZEN;
			return true;
		}
		bdr_dead_rows_add(rows->graves, row, &header);
	}
	return false;
}

/*
 * What this transaction wrote before is its own in any case.
 */
static bool
is_theirs(const Birth *birth)
{
	return !TransactionIdIsCurrentTransactionId(birth->xmin);
}

/*
 * The page's record in WAL comes after those of the commits that the hints in
 * infomask tell of.
 */
static void
set_births(Relation table, Buffer buffer, const Birth *births)
{
	GenericXLogState *state;
	Page		page;
	OffsetNumber last;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	state = GenericXLogStart(table);
	page = GenericXLogRegisterBuffer(state, buffer, 0);
	last = PageGetMaxOffsetNumber(page);
	for (OffsetNumber i = FirstOffsetNumber; i <= last; i++)
	{
		ItemId		item = PageGetItemId(page, i);
		HeapTupleHeader header = (HeapTupleHeader) PageGetItem(page, item);
		const Birth *birth = &births[i - FirstOffsetNumber];

		if (!ItemIdIsNormal(item) || !TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetRawXmin(header)) ||
			(header->t_infomask & HEAP_XMAX_INVALID) == 0)
			bad_order(table);
		if (!is_theirs(birth))
			continue;
		HeapTupleHeaderSetXmin(header, birth->xmin);
		header->t_infomask = (header->t_infomask & ~HEAP_XMIN_FROZEN) | birth->infomask;
	}
	GenericXLogFinish(state);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
}

static void
note_oldest(const Birth *birth, TransactionId *oldest)
{
	if (TransactionIdIsNormal(birth->xmin) && birth->infomask != HEAP_XMIN_FROZEN && is_theirs(birth) &&
		(!TransactionIdIsValid(*oldest) || TransactionIdPrecedes(birth->xmin, *oldest)))
		*oldest = birth->xmin;
}

/*
 * ALTER TABLE believes that all rows are its own.  It is never less than what
 * the table had before.
 */
static void
lower_frozen_xid(Oid relid, TransactionId oldest)
{
	Relation	catalog = table_open(RelationRelationId, RowExclusiveLock);
	HeapTuple	tuple = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(relid));
	Form_pg_class class;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	class = (Form_pg_class) GETSTRUCT(tuple);
	if (TransactionIdPrecedes(oldest, class->relfrozenxid))
	{
		class->relfrozenxid = oldest;
		CatalogTupleUpdate(catalog, &tuple->t_self, tuple);
		CommandCounterIncrement();
	}
	heap_freetuple(tuple);
	table_close(catalog, RowExclusiveLock);
}

static void
bad_order(Relation table)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot rewrite table \"%s\"", RelationGetRelationName(table)),
			 errdetail("The rows of the new file do not follow those of the old one, so who wrote them would be lost.")));
}
