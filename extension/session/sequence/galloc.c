/*-------------------------------------------------------------------------
 * session/sequence/galloc.c
 *		Kind galloc: ordinary numbers, from chunks that the nodes of the group
 *		give each other by consensus.
 *
 * NOTES
 *		bdr.sequence_chunk says which values this node may make, and the page
 *		which of them was the last: log_cnt holds that, and how many more are
 *		logged.  Values of a chunk are made here without asking anybody.  When a
 *		chunk is begun the manager is told, which sees to it that two more are
 *		there; a session waits for it only when there is none.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/membership.h"
#include "base/tables.h"
#include "session/request.h"
#include "session/sequence/chunk.h"
#include "session/sequence/kind.h"
#include "session/sequence/method.h"

#define LOG_VALUES			32	/* logged ahead, as the server does it */
#define LOG_BITS			6
#define VALUE_MAX			(INT64CONST(1) << 56)
#define CHUNKS_AHEAD		2

/* What a page says. */
typedef struct Position
{
	int64		last;			/* 0: none */
	int			logged;			/* so many values after it are */
} Position;

/* The chunk that a position leads to. */
typedef struct Chunk
{
	int64		first;
	int64		last;			/* 0: there is none */
	int			ahead;			/* chunks of ours behind it */
} Chunk;

static const char *unfit_galloc(const FormData_pg_sequence *form);
static int64 next_galloc(BdrSequence *seq);
static void set_galloc(BdrSequence *seq, int64 value);
static int64 describe_galloc(BdrSequence *seq);
static int64 begin_galloc(BdrSequence *seq, int64 made);
static void advance(BdrSequence *seq, int64 to);
static Position unpack(int64 log_cnt);
static int64 pack(int64 last, int logged);
static bool fetch_values(BdrSequence *seq, Relation rel, int64 *position);
static int64 next_value(const BdrSequence *seq, int64 last);
static void write_position(BdrSequence *seq, BdrSequencePage *page, const Position *old, int64 last);
static BdrSequenceState page_state(const BdrSequence *seq, int64 last, int logged);
static void move_position(BdrSequence *seq, int64 value);
static void enter_chunk(BdrSequence *seq, int64 position);
static Chunk find_chunk(const char *key, int64 position);
static int64 last_of_chunks(const char *key);
static List *own_chunks(const char *key);
static void ask_for_chunk(BdrSequence *seq, int64 position, bool wait);
static void ask(BdrSequence *seq, const char *function, int64 position, const char *more);
static int64 value_max(const BdrSequence *seq);
static int64 chunk_size(Oid type);

/* The server refuses a maximum below the page's value, which is the one before. */
static const char *const alterable[] = {"as", "maxvalue", "cache", NULL};

const BdrSequenceMethod bdr_galloc_method = {
	.name = "galloc",
	.letter = 'g',
	.unfit = unfit_galloc,
	.nextval = next_galloc,
	.setval = set_galloc,
	.made = describe_galloc,
	.describe = describe_galloc,
	.begin = begin_galloc,
	.alterable = alterable
};

static const char *
unfit_galloc(const FormData_pg_sequence *form)
{
	if (form->seqincrement < 0)
		return "The sequence is descending.";
	if (form->seqcycle)
		return "The sequence has CYCLE.";
	if (form->seqstart < 1)
		return "Its first value is less than 1.";
	if (form->seqincrement > chunk_size(form->seqtypid))
		return "Its increment is larger than a chunk.";
	return NULL;
}

static int64
chunk_size(Oid type)
{
	return type == INT2OID ? 1000 : type == INT4OID ? 1000000 : 1000000000;
}

/*
 * Values that CACHE has fetched are those between last and fetched_last.
 */
static int64
next_galloc(BdrSequence *seq)
{
	Relation	rel;
	int64		position;

	if (seq->fetched < seq->fetched_last)
	{
		seq->fetched += seq->form.seqincrement;
		return seq->fetched;
	}
	rel = relation_open(seq->relid, NoLock);
	while (!fetch_values(seq, rel, &position))
		enter_chunk(seq, position);
	relation_close(rel, NoLock);
	return seq->fetched;
}

/*
 * Takes what CACHE wants, or what is left of the chunk.  False: the value after
 * the position is not in the chunk that we know.
 */
static bool
fetch_values(BdrSequence *seq, Relation rel, int64 *position)
{
	BdrSequencePage page;
	BdrSequenceState state;
	Position	old;
	int64		first;
	int64		last;

	bdr_sequence_page_open(&page, rel, &state);
	old = unpack(state.log_cnt);
	*position = old.last;
	first = next_value(seq, old.last);
	if (seq->chunk_last == 0 || first > seq->chunk_last || first < seq->chunk_first)
	{
		bdr_sequence_page_close(&page);
		return false;
	}
	last = first + (seq->form.seqcache - 1) * seq->form.seqincrement;
	if (last > seq->chunk_last)
		last -= (last - seq->chunk_last + seq->form.seqincrement - 1) / seq->form.seqincrement * seq->form.seqincrement;
	write_position(seq, &page, &old, last);
	bdr_sequence_page_close(&page);
	seq->fetched = first;
	seq->fetched_last = last;
	return true;
}

/* A chunk begins with its first value, wherever the last one ended. */
static int64
next_value(const BdrSequence *seq, int64 last)
{
	return last < seq->chunk_first ? seq->chunk_first : last + seq->form.seqincrement;
}

/*
 * As nextval of the server: some values more are logged, and after a checkpoint
 * they are logged again.
 */
static void
write_position(BdrSequence *seq, BdrSequencePage *page, const Position *old, int64 last)
{
	int64		increment = seq->form.seqincrement;
	int64		made = (last - old->last) / increment;
	int64		ahead;
	BdrSequenceState state;
	BdrSequenceState logged;

	if (old->last >= seq->chunk_first && made <= old->logged && bdr_sequence_page_is_logged(page))
	{
		state = page_state(seq, last, old->logged - made);
		bdr_sequence_page_write(page, &state, NULL);
		return;
	}
	ahead = Min(LOG_VALUES, (seq->chunk_last - last) / increment);
	state = page_state(seq, last, ahead);
	logged = page_state(seq, last + ahead * increment, 0);
	GetTopTransactionId();		/* so that the commit flushes it */
	bdr_sequence_page_write(page, &state, &logged);
}

static BdrSequenceState
page_state(const BdrSequence *seq, int64 last, int logged)
{
	BdrSequenceState state = {.last_value = seq->form.seqmax,.log_cnt = pack(last, logged),.is_called = true};

	return state;
}

static Position
unpack(int64 log_cnt)
{
	Position	position = {0, 0};
	int64		packed = -(log_cnt + 2);

	if (log_cnt >= BDR_PAGE_OURS)
		return position;
	position.last = packed >> LOG_BITS;
	position.logged = packed & ((1 << LOG_BITS) - 1);
	return position;
}

static int64
pack(int64 last, int logged)
{
	return -(last << LOG_BITS | logged) - 2;
}

/*
 * Chunks are looked up with a new snapshot: others commit them while we wait.
 */
static void
enter_chunk(BdrSequence *seq, int64 position)
{
	Chunk		chunk = find_chunk(seq->key, position);

	if (chunk.last != 0 && position >= chunk.first && position + seq->form.seqincrement > chunk.last)
	{
		position = chunk.last;	/* what is left of it is less than the increment */
		chunk = find_chunk(seq->key, position);
	}
	if (chunk.last == 0)
	{
		ask_for_chunk(seq, position, true);
		chunk = find_chunk(seq->key, position);
	}
	else if (chunk.ahead < CHUNKS_AHEAD)
		ask_for_chunk(seq, position, false);
	if (chunk.last == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there are no values for sequence \"%s\"", get_rel_name(seq->relid)),
				 errdetail("The chunk that the group gave this node was taken back."),
				 errhint("Try again.")));
	seq->chunk_first = chunk.first;
	seq->chunk_last = Min(chunk.last, value_max(seq));
	if (next_value(seq, position) <= seq->chunk_last)
		return;
	seq->chunk_first = seq->chunk_last = 0;
	ereport(ERROR,
			(errcode(ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED),
			 errmsg("nextval: reached maximum value of sequence \"%s\" (%lld)",
					get_rel_name(seq->relid), (long long) value_max(seq))));
}

/*
 * The first chunk of ours that has a value after the position.
 */
static Chunk
find_chunk(const char *key, int64 position)
{
	Chunk		found = {0, 0, 0};
	ListCell   *lc;

	foreach(lc, own_chunks(key))
	{
		const BdrChunk *chunk = lfirst(lc);

		if (chunk->last <= position)
			continue;
		if (found.last != 0)
		{
			found.ahead++;
			continue;
		}
		found.first = chunk->first;
		found.last = chunk->last;
	}
	return found;
}

/* A node that has been parted has none. */
static List *
own_chunks(const char *key)
{
	Snapshot	snapshot;
	List	   *chunks;
	Oid			node;

	if (!bdr_is_member(&node))
		return NIL;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	chunks = bdr_chunks_of(key, node, snapshot);
	UnregisterSnapshot(snapshot);
	return chunks;
}

static void
ask_for_chunk(BdrSequence *seq, int64 position, bool wait)
{
	ask(seq, "sequence_chunk", position, wait ? "t" : "f");
}

/*
 * Everything in a request but the key and the position is what the group needs to
 * begin with the sequence.  more: one more argument, if any.
 */
static void
ask(BdrSequence *seq, const char *function, int64 position, const char *more)
{
	const char *args[6];

	args[0] = seq->key;
	args[1] = psprintf(INT64_FORMAT, seq->form.seqstart);
	args[2] = psprintf(INT64_FORMAT, value_max(seq));
	args[3] = psprintf(INT64_FORMAT, chunk_size(seq->form.seqtypid));
	args[4] = psprintf(INT64_FORMAT, position);
	args[5] = more;
	bdr_request(function, more != NULL ? 6 : 5, args);
}

static int64
value_max(const BdrSequence *seq)
{
	return Min(seq->form.seqmax, VALUE_MAX);
}

/*
 * setval: the values up to this one are given to nobody any more.
 */
static void
set_galloc(BdrSequence *seq, int64 value)
{
	if (value > VALUE_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("setval: value %lld is too large for sequence \"%s\" of kind galloc",
						(long long) value, get_rel_name(seq->relid))));
	advance(seq, Max(value, 0));
	move_position(seq, value);
	seq->chunk_first = seq->chunk_last = 0;
	seq->fetched = seq->fetched_last = 0;
}

/* The group gives nobody values up to this one any more. */
static void
advance(BdrSequence *seq, int64 to)
{
	ask(seq, "sequence_advance", to, NULL);
}

/*
 * Sessions that know their chunk already go on behind the value, too.
 */
static void
move_position(BdrSequence *seq, int64 value)
{
	Relation	rel = relation_open(seq->relid, NoLock);
	BdrSequencePage page;
	BdrSequenceState state;
	int64		position;

	bdr_sequence_page_open(&page, rel, &state);
	position = unpack(state.log_cnt).last;
	if (value > position)
	{
		state = page_state(seq, value, 0);
		bdr_sequence_page_write(&page, &state, &state);
	}
	bdr_sequence_page_close(&page);
	relation_close(rel, NoLock);
	if (value < position)
		ereport(NOTICE,
				(errmsg("sequence \"%s\" stays where it is", get_rel_name(seq->relid)),
				 errdetail("It is of kind galloc, which does not go back.")));
}

static int64
describe_galloc(BdrSequence *seq)
{
	Relation	allocations = bdr_catalog_open("sequence_allocation", AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleDesc	desc = RelationGetDescr(allocations);
	int64		up_to = seq->form.seqstart - 1;
	ScanKeyData skey;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		isnull;

	ScanKeyInit(&skey, BDR_ALLOCATION_KEY, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(seq->key));
	skey.sk_collation = TupleDescAttr(desc, BDR_ALLOCATION_KEY - 1)->attcollation;
	scan = systable_beginscan(allocations, bdr_catalog_relation("sequence_allocation_pkey"), true, snapshot, 1, &skey);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		up_to = DatumGetInt64(heap_getattr(tuple, BDR_ALLOCATION_UP_TO, desc, &isnull));
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(allocations, AccessShareLock);
	return up_to;
}

/*
 * What the group has given this node under that name was for a sequence that is
 * gone, or on a page that is.
 */
static int64
begin_galloc(BdrSequence *seq, int64 made)
{
	int64		last;

	if (made < seq->form.seqstart)
		made = 0;
	if (made > describe_galloc(seq))
		advance(seq, made);
	last = Max(last_of_chunks(seq->key), made);
	return last != 0 ? pack(last, 0) : BDR_PAGE_OURS;
}

static int64
last_of_chunks(const char *key)
{
	List	   *chunks = own_chunks(key);

	return chunks != NIL ? ((BdrChunk *) llast(chunks))->last : 0;
}
