/*-------------------------------------------------------------------------
 * session/sequence/kind.c
 *		bdr.sequence_kind, and what a session remembers of it.
 *
 * NOTES
 *		A kind changes only under a lock with which no transaction uses the
 *		sequence, so it is looked up once the lock is held, and again when the
 *		sequence is invalidated.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_sequence.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/tables.h"
#include "session/sequence/kind.h"
#include "bdr_compat.h"

#define LOOK_MS			20		/* while a switch is under way */
#define STOPPED_MS_MAX	60000

static HTAB *sequences = NULL;

static BdrSequence *find(Oid relid);
static void init_cache(void);
static void relation_changed(Datum arg, Oid relid);
static void lock(BdrSequence *seq);
static void load(BdrSequence *seq);
static void wait_for_switch(BdrSequence *seq);
static bool has_other(List *kinds, const char *key, Oid relid);
static bool read_row(Relation kinds, Oid relid, Snapshot snapshot, BdrKindRow *row, ItemPointer tid);

BdrSequence *
bdr_sequence_open(Oid relid)
{
	BdrSequence *seq = find(relid);

	if (seq->locked != bdr_local_xid())
		lock(seq);
	if (!seq->valid)
		load(seq);
	if (seq->has_row && !bdr_uuid_is_zero(&seq->stopped_by))
		wait_for_switch(seq);
	return seq;
}

BdrSequence *
bdr_sequence_look(Oid relid)
{
	BdrSequence *seq = find(relid);

	load(seq);
	seq->valid = false;			/* without a lock it may change at once */
	return seq;
}

BdrSequence *
bdr_sequence_had(Oid relid)
{
	return sequences != NULL ? hash_search(sequences, &relid, HASH_FIND, NULL) : NULL;
}

static BdrSequence *
find(Oid relid)
{
	BdrSequence *seq;
	bool		found;

	if (sequences == NULL)
		init_cache();
	seq = hash_search(sequences, &relid, HASH_ENTER, &found);
	if (!found)
	{
		memset(seq, 0, sizeof(*seq));
		seq->relid = relid;
	}
	return seq;
}

static void
init_cache(void)
{
	HASHCTL		ctl = {.keysize = sizeof(Oid),.entrysize = sizeof(BdrSequence)};

	sequences = hash_create("bdr sequences", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
}

/* InvalidOid: any. */
static void
relation_changed(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	BdrSequence *seq;

	if (OidIsValid(relid))
	{
		seq = hash_search(sequences, &relid, HASH_FIND, NULL);
		if (seq != NULL)
			seq->valid = false;
		return;
	}
	hash_seq_init(&status, sequences);
	while ((seq = hash_seq_search(&status)) != NULL)
		seq->valid = false;
}

void
bdr_sequence_discard(void)
{
	HASH_SEQ_STATUS status;
	BdrSequence *seq;

	if (sequences == NULL)
		return;
	hash_seq_init(&status, sequences);
	while ((seq = hash_seq_search(&status)) != NULL)
	{
		seq->last_from = BDR_LAST_SERVER;
		seq->fetched = seq->fetched_last = 0;
	}
}

/*
 * Until the end of the top transaction, whichever subtransaction asks.
 */
static void
lock(BdrSequence *seq)
{
	ResourceOwner owner = CurrentResourceOwner;

	CurrentResourceOwner = TopTransactionResourceOwner;
	LockRelationOid(seq->relid, RowExclusiveLock);
	CurrentResourceOwner = owner;
	seq->locked = bdr_local_xid();
}

static void
load(BdrSequence *seq)
{
	HeapTuple	tuple = SearchSysCache1(SEQRELID, ObjectIdGetDatum(seq->relid));
	BdrKindRow	row = {0};

	if (HeapTupleIsValid(tuple))
	{
		memcpy(&seq->form, GETSTRUCT(tuple), sizeof(seq->form));
		ReleaseSysCache(tuple);
	}
	seq->valid = true;			/* what comes now makes it invalid again */
	seq->settled = false;
	seq->checked = InvalidLocalTransactionId;
	seq->chunk_first = seq->chunk_last = 0;
	seq->fetched = seq->fetched_last = 0;
	seq->has_row = HeapTupleIsValid(tuple) && bdr_kind_read(seq->relid, &row);
	seq->method = bdr_sequence_method(seq->has_row ? row.letter : BDR_SEQUENCE_LOCAL);
	seq->stopped_by = row.stopped_by;
	seq->local = row.local;
	if (seq->key != NULL)
		pfree(seq->key);
	seq->key = seq->has_row ? MemoryContextStrdup(TopMemoryContext, row.key) : NULL;
}

/*
 * A switch that was cancelled leaves its mark in the row.  Who stops waiting, on an
 * error, looks again the next time.
 */
static void
wait_for_switch(BdrSequence *seq)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													   LockTimeout > 0 ? LockTimeout : STOPPED_MS_MAX);

	seq->valid = false;
	while (bdr_switch_is_pending(&seq->stopped_by))
	{
		if (GetCurrentTimestamp() > deadline)
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("the kind of sequence \"%s\" is being switched", get_rel_name(seq->relid)),
					 errdetail("The nodes of the group have not agreed on it yet."),
					 errhint("Try again. bdr.sequence_switch shows which node switches it; bdr.get_raft_status() shows whether there is a majority.")));
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOOK_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	load(seq);
	memset(&seq->stopped_by, 0, sizeof(seq->stopped_by));
}

bool
bdr_kind_read(Oid relid, BdrKindRow *row)
{
	Oid			table = bdr_catalog_relation("sequence_kind");
	Relation	kinds;
	Snapshot	snapshot;
	bool		found;

	if (!OidIsValid(table))
		return false;
	kinds = table_open(table, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	found = read_row(kinds, relid, snapshot, row, NULL);
	UnregisterSnapshot(snapshot);
	table_close(kinds, AccessShareLock);
	return found;
}

static bool
read_row(Relation kinds, Oid relid, Snapshot snapshot, BdrKindRow *row, ItemPointer tid)
{
	TupleDesc	desc = RelationGetDescr(kinds);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Datum		values[BDR_KIND_COLUMNS];
	bool		nulls[BDR_KIND_COLUMNS];

	ScanKeyInit(&key, BDR_KIND_SEQID, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(kinds, bdr_catalog_relation("sequence_kind_pkey"), true, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		heap_deform_tuple(tuple, desc, values, nulls);
		memset(row, 0, sizeof(*row));
		row->letter = DatumGetChar(values[BDR_KIND_KIND - 1]);
		row->key = TextDatumGetCString(values[BDR_KIND_KEY - 1]);
		if (!nulls[BDR_KIND_STOPPED_BY - 1])
			row->stopped_by = *DatumGetUUIDP(values[BDR_KIND_STOPPED_BY - 1]);
		if (!nulls[BDR_KIND_LOCAL_LAST - 1])
			row->local.last_value = DatumGetInt64(values[BDR_KIND_LOCAL_LAST - 1]);
		row->local.is_called = !nulls[BDR_KIND_LOCAL_CALLED - 1] && DatumGetBool(values[BDR_KIND_LOCAL_CALLED - 1]);
		if (tid != NULL)
			*tid = tuple->t_self;
	}
	systable_endscan(scan);
	return HeapTupleIsValid(tuple);
}

void
bdr_kind_write(Oid relid, const BdrKindRow *row)
{
	Relation	kinds = bdr_catalog_open("sequence_kind", RowExclusiveLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Datum		values[BDR_KIND_COLUMNS] = {0};
	bool		nulls[BDR_KIND_COLUMNS] = {false};
	BdrKindRow	old;
	HeapTuple	tuple;
	ItemPointerData tid;

	values[BDR_KIND_SEQID - 1] = ObjectIdGetDatum(relid);
	values[BDR_KIND_KIND - 1] = CharGetDatum(row->letter);
	values[BDR_KIND_KEY - 1] = CStringGetTextDatum(row->key);
	values[BDR_KIND_STOPPED_BY - 1] = UUIDPGetDatum(&row->stopped_by);
	nulls[BDR_KIND_STOPPED_BY - 1] = bdr_uuid_is_zero(&row->stopped_by);
	values[BDR_KIND_LOCAL_LAST - 1] = Int64GetDatum(row->local.last_value);
	values[BDR_KIND_LOCAL_CALLED - 1] = BoolGetDatum(row->local.is_called);
	tuple = heap_form_tuple(RelationGetDescr(kinds), values, nulls);
	if (read_row(kinds, relid, snapshot, &old, &tid))
		CatalogTupleUpdate(kinds, &tid, tuple);
	else
		CatalogTupleInsert(kinds, tuple);
	UnregisterSnapshot(snapshot);
	table_close(kinds, RowExclusiveLock);
	bdr_kind_changed(relid);
}

void
bdr_kind_delete(Oid relid)
{
	Relation	kinds = bdr_catalog_open("sequence_kind", RowExclusiveLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	BdrKindRow	old;
	ItemPointerData tid;

	if (read_row(kinds, relid, snapshot, &old, &tid))
	{
		CatalogTupleDelete(kinds, &tid);
		bdr_kind_changed(relid);
	}
	UnregisterSnapshot(snapshot);
	table_close(kinds, RowExclusiveLock);
}

/*
 * The command counter makes what was written visible to this transaction, too.
 */
void
bdr_kind_changed(Oid relid)
{
	if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		CacheInvalidateRelcacheByRelid(relid);
	CommandCounterIncrement();
}

void
bdr_kind_changed_key(const char *key)
{
	ListCell   *lc;

	foreach(lc, bdr_sequence_kinds())
	{
		const BdrSequenceKind *kind = lfirst(lc);

		if (strcmp(kind->key, key) == 0 && SearchSysCacheExists1(RELOID, ObjectIdGetDatum(kind->relid)))
			CacheInvalidateRelcacheByRelid(kind->relid);
	}
}

bool
bdr_switch_is_pending(const pg_uuid_t *id)
{
	Relation	switches = bdr_catalog_open("sequence_switch", AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		pending = false;

	ScanKeyInit(&key, BDR_SWITCH_ID, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	scan = systable_beginscan(switches, bdr_catalog_relation("sequence_switch_pkey"), true, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;

		pending = !DatumGetBool(heap_getattr(tuple, BDR_SWITCH_DONE, RelationGetDescr(switches), &isnull));
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(switches, AccessShareLock);
	return pending;
}

/*
 * What a sequence is called on all nodes, and goes on to be when it is renamed:
 * then the next of its name, on every node alike, gets a number.
 */
char *
bdr_sequence_new_key(Oid relid, const char *schema, const char *name)
{
	const char *plain = quote_qualified_identifier(schema, name);
	char	   *key = pstrdup(plain);
	List	   *kinds = bdr_sequence_kinds();

	for (int number = 2; has_other(kinds, key, relid); number++)
		key = psprintf("%s #%d", plain, number);
	return key;
}

static bool
has_other(List *kinds, const char *key, Oid relid)
{
	ListCell   *lc;

	foreach(lc, kinds)
	{
		const BdrSequenceKind *kind = lfirst(lc);

		if (kind->relid != relid && strcmp(kind->key, key) == 0)
			return true;
	}
	return false;
}

char *
bdr_sequence_new_key_of(Oid relid)
{
	return bdr_sequence_new_key(relid, get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid));
}

bool
bdr_uuid_is_zero(const pg_uuid_t *id)
{
	static const pg_uuid_t zero = {{0}};

	return memcmp(id, &zero, sizeof(zero)) == 0;
}
