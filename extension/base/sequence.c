/*-------------------------------------------------------------------------
 * base/sequence.c
 *		Pages of sequences, and calls that make values of identity columns;
 *		base/sequence.h says why.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "catalog/pg_sequence.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/sequence.h"
#include "base/tables.h"
#include "bdr_compat.h"

/* Where the page of a sequence is. */
typedef struct NotedPage
{
	Oid			relid;
	BdrLocator	locator;
} NotedPage;

static Form_pg_sequence_data data_of(BdrSequencePage *page);
static void take_tuple(BdrSequencePage *page);
static BdrSequenceState state_of(BdrSequencePage *page);
static BdrSequenceState read_page(Buffer buffer);
static void set_tuple(BdrSequencePage *page, const BdrSequenceState *state);
static void carry_over(const NotedPage *noted);
static void refuse_unlogged(Relation rel);

void
bdr_sequence_page_open(BdrSequencePage *page, Relation rel, BdrSequenceState *state)
{
	page->rel = rel;
	page->buffer = ReadBuffer(rel, 0);
	LockBuffer(page->buffer, BUFFER_LOCK_EXCLUSIVE);
	take_tuple(page);
	*state = state_of(page);
}

/* A sequence is a table of one row, in its first page. */
static void
take_tuple(BdrSequencePage *page)
{
	Page		bytes = BufferGetPage(page->buffer);
	ItemId		item = PageGetItemId(bytes, FirstOffsetNumber);

	page->tuple.t_data = (HeapTupleHeader) PageGetItem(bytes, item);
	page->tuple.t_len = ItemIdGetLength(item);
}

static Form_pg_sequence_data
data_of(BdrSequencePage *page)
{
	return (Form_pg_sequence_data) ((char *) page->tuple.t_data + page->tuple.t_data->t_hoff);
}

static BdrSequenceState
state_of(BdrSequencePage *page)
{
	Form_pg_sequence_data data = data_of(page);
	BdrSequenceState state = {data->last_value, data->log_cnt, data->is_called};

	return state;
}

void
bdr_sequence_page_close(BdrSequencePage *page)
{
	UnlockReleaseBuffer(page->buffer);
}

bool
bdr_sequence_page_is_logged(BdrSequencePage *page)
{
	return PageGetLSN(BufferGetPage(page->buffer)) > GetRedoRecPtr();
}

void
bdr_sequence_page_write(BdrSequencePage *page, const BdrSequenceState *state, const BdrSequenceState *logged)
{
	bool		logs = logged != NULL && RelationNeedsWAL(page->rel);

	START_CRIT_SECTION();
	MarkBufferDirty(page->buffer);
	if (logs)
	{
		xl_seq_rec	record;
		XLogRecPtr	end;

		set_tuple(page, logged);
		bdr_sequence_record_locator(&record) = bdr_relation_locator(page->rel);
		XLogBeginInsert();
		XLogRegisterBuffer(0, page->buffer, REGBUF_WILL_INIT);
		XLogRegisterData((char *) &record, sizeof(record));
		XLogRegisterData((char *) page->tuple.t_data, page->tuple.t_len);
		end = XLogInsert(RM_SEQ_ID, XLOG_SEQ_LOG);
		PageSetLSN(BufferGetPage(page->buffer), end);
	}
	set_tuple(page, state);
	END_CRIT_SECTION();
}

static void
set_tuple(BdrSequencePage *page, const BdrSequenceState *state)
{
	Form_pg_sequence_data data = data_of(page);

	data->last_value = state->last_value;
	data->log_cnt = state->log_cnt;
	data->is_called = state->is_called;
}

void
bdr_sequence_read(Relation rel, BdrSequenceState *state)
{
	*state = read_page(ReadBuffer(rel, 0));
}

/* Releases the buffer. */
static BdrSequenceState
read_page(Buffer buffer)
{
	BdrSequencePage page = {.buffer = buffer};
	BdrSequenceState state;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	take_tuple(&page);
	state = state_of(&page);
	UnlockReleaseBuffer(buffer);
	return state;
}

void
bdr_sequence_set(Relation rel, const BdrSequenceState *state)
{
	BdrSequencePage page;
	BdrSequenceState old;

	GetTopTransactionId();		/* so that the commit flushes it */
	bdr_sequence_page_open(&page, rel, &old);
	bdr_sequence_page_write(&page, state, state);
	bdr_sequence_page_close(&page);
}

void
bdr_sequence_replace(Relation rel, const BdrSequenceState *state)
{
	if (rel->rd_createSubid != GetCurrentSubTransactionId())
		ResetSequence(RelationGetRelid(rel));
	bdr_sequence_set(rel, state);
}

BdrSequenceState
bdr_sequence_exhausted(Oid relid, int64 log_cnt)
{
	HeapTuple	tuple = SearchSysCache1(SEQRELID, ObjectIdGetDatum(relid));
	BdrSequenceState state = {.log_cnt = log_cnt,.is_called = true};
	Form_pg_sequence form;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for sequence %u", relid);
	form = (Form_pg_sequence) GETSTRUCT(tuple);
	state.last_value = form->seqincrement > 0 ? form->seqmax : form->seqmin;
	ReleaseSysCache(tuple);
	return state;
}

List *
bdr_sequence_kinds(void)
{
	Oid			table = bdr_catalog_relation("sequence_kind");
	List	   *kinds = NIL;
	Relation	rel;
	Snapshot	snapshot;
	TableScanDesc scan;
	TupleTableSlot *slot;

	if (!OidIsValid(table))
		return NIL;
	rel = table_open(table, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = table_beginscan(rel, snapshot, 0, NULL);
	slot = table_slot_create(rel, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		BdrSequenceKind *kind = palloc(sizeof(BdrSequenceKind));
		bool		isnull;

		kind->relid = DatumGetObjectId(slot_getattr(slot, BDR_KIND_SEQID, &isnull));
		kind->letter = DatumGetChar(slot_getattr(slot, BDR_KIND_KIND, &isnull));
		kind->key = TextDatumGetCString(slot_getattr(slot, BDR_KIND_KEY, &isnull));
		kinds = lappend(kinds, kind);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return kinds;
}

List *
bdr_sequence_note_pages(void)
{
	List	   *pages = NIL;
	ListCell   *lc;

	foreach(lc, bdr_sequence_kinds())
	{
		const BdrSequenceKind *kind = lfirst(lc);
		HeapTuple	tuple;
		NotedPage  *noted;

		if (kind->letter == BDR_SEQUENCE_LOCAL)
			continue;
		tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(kind->relid));
		if (!HeapTupleIsValid(tuple))
			continue;
		noted = palloc(sizeof(NotedPage));
		noted->relid = kind->relid;
		noted->locator = bdr_locator_of((Form_pg_class) GETSTRUCT(tuple));
		pages = lappend(pages, noted);
		ReleaseSysCache(tuple);
	}
	return pages;
}

void
bdr_sequence_carry_over(List *pages)
{
	ListCell   *lc;

	foreach(lc, pages)
		carry_over(lfirst(lc));
}

/*
 * Who gave the sequence another page has locked it, so the old one is still as
 * it was then.
 */
static void
carry_over(const NotedPage *noted)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(noted->relid));
	BdrLocator	locator;
	BdrSequenceState old;
	Relation	rel;

	if (!HeapTupleIsValid(tuple))
		return;
	locator = bdr_locator_of((Form_pg_class) GETSTRUCT(tuple));
	ReleaseSysCache(tuple);
	if (bdr_locators_equal(locator, noted->locator))
		return;
	old = read_page(ReadBufferWithoutRelcache(noted->locator, MAIN_FORKNUM, 0, RBM_NORMAL, NULL, true));
	if (!bdr_sequence_is_exhausted(&old))
		return;
	rel = relation_open(noted->relid, NoLock);
	refuse_unlogged(rel);
	old = bdr_sequence_exhausted(noted->relid, old.log_cnt);
	bdr_sequence_set(rel, &old);
	relation_close(rel, NoLock);
}

/* A crash would make it start again. */
static void
refuse_unlogged(Relation rel)
{
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_PERMANENT)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("sequence \"%s\" cannot become unlogged", RelationGetRelationName(rel)),
			 errdetail("Its kind is not local."),
			 errhint("Make it local on all nodes first, with bdr.alter_sequence_set_kind().")));
}

Expr *
bdr_sequence_identity_call(const NextValueExpr *value)
{
	Oid			function = bdr_catalog_function("seq_nextval_identity");
	Const	   *sequence;
	Expr	   *call;

	if (!OidIsValid(function))
		return NULL;
	sequence = makeConst(REGCLASSOID, -1, InvalidOid, sizeof(Oid), ObjectIdGetDatum(value->seqid), false, true);
	call = (Expr *) makeFuncExpr(function, INT8OID, list_make1(sequence), InvalidOid, InvalidOid, BDR_CALL_IS_OURS);
	if (value->typeId == INT8OID)
		return call;
	return (Expr *) makeFuncExpr(value->typeId == INT4OID ? F_INT4_INT8 : F_INT2_INT8, value->typeId,
								 list_make1(call), InvalidOid, InvalidOid, COERCE_IMPLICIT_CAST);
}

Expr *
bdr_sequence_default(Expr *expr)
{
	Expr	   *call = expr != NULL && IsA(expr, NextValueExpr) ?
		bdr_sequence_identity_call((NextValueExpr *) expr) : NULL;

	return call != NULL ? call : expr;
}
