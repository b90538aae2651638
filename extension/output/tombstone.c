/*-------------------------------------------------------------------------
 * output/tombstone.c
 *		What this node remembers of versions that no row shows, on its way to
 *		a node that is being made from it.
 *
 * NOTES
 *		Such a node repeats what this one does, and then hears the peers
 *		itself.  What they send may be older than a version that lost here, or
 *		belong to a row that was evicted here (decision 0005).  The tables of
 *		such versions name tables by oid and transactions by xid, which mean
 *		nothing elsewhere, so their rows travel as a message of their own.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "utils/array.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "base/tables.h"
#include "output/frame.h"
#include "output/relation.h"
#include "output/tombstone.h"

/*
 * Of a relation of our schema: what its rows say, '\0' for nothing.
 */
char
bdr_tombstone_kind(const BdrSentRelation *sent)
{
	if (strcmp(sent->name, "remembered_version") == 0)
		return BDR_TOMBSTONE_REMEMBERED;
	if (strcmp(sent->name, "evicted_row") == 0)
		return BDR_TOMBSTONE_EVICTED;
	return '\0';
}

/*
 * A row came into memory.  The version is that of the transaction.  Returns
 * false when the table that it is about is not there any more.
 */
bool
bdr_tombstone_write(BdrOutput *output, const BdrSentRelation *memory, TupleDesc desc, HeapTuple tuple)
{
	bool		evicted = memory->tombstone == BDR_TOMBSTONE_EVICTED;
	bool		isnull;
	Oid			relid = DatumGetObjectId(heap_getattr(tuple, evicted ? BDR_EVICTED_RELATION : BDR_VERSION_RELATION, desc, &isnull));
	Datum		values = heap_getattr(tuple, evicted ? BDR_EVICTED_KEY_VALUES : BDR_VERSION_KEY_VALUES, desc, &isnull);
	Relation	relation = RelationIdGetRelation(relid);
	const char *index = "";
	BdrSentRelation *sent;

	if (!RelationIsValid(relation))
		return false;
	sent = bdr_sent_find(output, relation);
	RelationClose(relation);
	if (!sent->is_truncated)
		return false;
	if (!evicted)
		index = NameStr(*DatumGetName(heap_getattr(tuple, BDR_VERSION_INDEX_NAME, desc, &isnull)));
	bdr_sent_announce(output, sent);
	bdr_wire_write_tombstone(output, relid, memory->tombstone, index, DatumGetArrayTypeP(values));
	return true;
}
