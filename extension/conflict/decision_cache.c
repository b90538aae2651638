/*-------------------------------------------------------------------------
 * conflict/decision_cache.c
 *		Plans that Go made before, for cases that are like these.
 *
 * NOTES
 *		A plan does not depend on the times and nodes of versions, only on how
 *		each compares with the incoming one (gosrc/conflict).  So few kinds of
 *		cases exist, and a writer that meets one conflict after another need
 *		not ask about each.
 *
 *		Answers are dropped when users may have chosen other resolvers.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "conflict/concurrent.h"
#include "conflict/decision_cache.h"

/* A case of more bytes is asked about each time. */
#define KIND_BYTES_MAX	60
#define KINDS_MAX		512

typedef struct Kind
{
	uint32		size;
	char		bytes[KIND_BYTES_MAX];	/* zero after size */
} Kind;

typedef struct KnownPlan
{
	Kind		kind;			/* hash key */
	char	   *answer;
	int			size;
} KnownPlan;

static HTAB *plans = NULL;
static MemoryContext context = NULL;
static uint32 made_for = 0;		/* the generation of resolvers */

static bool describe(BdrCase *c, Kind *kind);
static int	order(const BdrVersion *version);
static void start_over(uint32 generation);

/*
 * The answer to a case of this kind, to be read like a message; false: nobody
 * has asked yet, or users may have chosen otherwise since.
 */
bool
bdr_decision_find(BdrCase *c, uint32 generation, StringInfo answer)
{
	Kind		kind;
	KnownPlan  *plan;

	if (plans == NULL || generation != made_for || !describe(c, &kind))
		return false;
	plan = hash_search(plans, &kind, HASH_FIND, NULL);
	if (plan == NULL)
		return false;
	initStringInfo(answer);
	appendBinaryStringInfo(answer, plan->answer, plan->size);
	return true;
}

/*
 * This is the answer to the case; nothing of it has been read.
 */
void
bdr_decision_keep(BdrCase *c, uint32 generation, const StringInfoData *answer)
{
	Kind		kind;
	KnownPlan  *plan;
	char	   *copy;
	int			size = answer->len - answer->cursor;

	if (!describe(c, &kind))
		return;
	if (plans == NULL || generation != made_for || hash_get_num_entries(plans) >= KINDS_MAX)
		start_over(generation);
	copy = MemoryContextAlloc(context, size);
	memcpy(copy, answer->data + answer->cursor, size);
	plan = hash_search(plans, &kind, HASH_ENTER, NULL);
	plan->answer = copy;
	plan->size = size;
}

static void
start_over(uint32 generation)
{
	HASHCTL		control = {.keysize = sizeof(Kind), .entrysize = sizeof(KnownPlan)};

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "bdr plans", ALLOCSET_DEFAULT_SIZES);
	plans = NULL;
	MemoryContextReset(context);
	control.hcxt = context;
	plans = hash_create("bdr plans", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	made_for = generation;
}

/*
 * All that a plan depends on.  Returns false when that is too much.
 */
static bool
describe(BdrCase *c, Kind *kind)
{
	StringInfoData buf;
	ListCell   *lc;
	bool		fits;

	initStringInfo(&buf);
	pq_sendbyte(&buf, (c->key_changed || c->leaves ? 1 : 0) | (c->rel->row_version != InvalidAttrNumber ? 2 : 0));
	pq_sendbyte(&buf, c->operation);
	pq_sendbyte(&buf, c->image);
	pq_sendbyte(&buf, c->nconstraints);
	for (int k = 0; k < c->nconstraints; k++)
		pq_sendbyte(&buf, c->constraints[k].is_exclusion ? 2 : 1);
	foreach(lc, c->found)
	{
		BdrFound   *found = lfirst(lc);
		int			k = -1;

		pq_sendbyte(&buf, (found->row != NULL ? 1 : 0) | (bdr_conflict_is_seen(c, found) ? 2 : 0));
		pq_sendbyte(&buf, order(&found->version));
		pq_sendbyte(&buf, bms_num_members(found->on));
		while ((k = bms_next_member(found->on, k)) >= 0)
			pq_sendbyte(&buf, k);
	}
	fits = buf.len <= KIND_BYTES_MAX && c->nconstraints <= PG_UINT8_MAX;
	memset(kind, 0, sizeof(*kind));
	if (fits)
	{
		kind->size = buf.len;
		memcpy(kind->bytes, buf.data, buf.len);
	}
	pfree(buf.data);
	return fits;
}

/*
 * How it compares with the incoming version, and by what.
 */
static int
order(const BdrVersion *version)
{
	const BdrVersion *incoming = bdr_version_incoming();

	if (!version->known)
		return 0;
	if (version->time != incoming->time)
		return version->time < incoming->time ? 1 : 2;
	if (version->node != incoming->node)
		return version->node < incoming->node ? 3 : 4;
	return 5;
}
