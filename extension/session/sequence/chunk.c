/*-------------------------------------------------------------------------
 * session/sequence/chunk.c
 *		How bdr.sequence_chunk is read.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/table.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "base/tables.h"
#include "session/sequence/chunk.h"

List *
bdr_chunks_of(const char *key, Oid node, Snapshot snapshot)
{
	Relation	rel = bdr_catalog_open("sequence_chunk", AccessShareLock);
	Relation	index = index_open(bdr_catalog_relation("sequence_chunk_pkey"), AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	List	   *chunks = NIL;
	ScanKeyData skey;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		isnull;

	ScanKeyInit(&skey, BDR_CHUNK_KEY, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(key));
	skey.sk_collation = TupleDescAttr(desc, BDR_CHUNK_KEY - 1)->attcollation;
	scan = systable_beginscan_ordered(rel, index, snapshot, 1, &skey);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		BdrChunk   *chunk;

		if (DatumGetObjectId(heap_getattr(tuple, BDR_CHUNK_NODE, desc, &isnull)) != node)
			continue;
		chunk = palloc(sizeof(BdrChunk));
		chunk->first = DatumGetInt64(heap_getattr(tuple, BDR_CHUNK_FIRST, desc, &isnull));
		chunk->last = DatumGetInt64(heap_getattr(tuple, BDR_CHUNK_LAST, desc, &isnull));
		chunks = lappend(chunks, chunk);
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return chunks;
}
