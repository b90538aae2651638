/*-------------------------------------------------------------------------
 * session/sequence/chunk.c
 *		bdr.sequence_chunk, and what users see of it.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/skey.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/membership.h"
#include "base/tables.h"
#include "session/sequence/chunk.h"
#include "session/sequence/kind.h"
#include "session/sequence/method.h"

PG_FUNCTION_INFO_V1(bdr_galloc_chunk_info);

static void check_sequence(Oid seqid);
static void return_chunks(ReturnSetInfo *result, List *chunks);

Datum
bdr_galloc_chunk_info(PG_FUNCTION_ARGS)
{
	Oid			seqid = PG_GETARG_OID(0);
	BdrKindRow	row;
	Oid			node;

	check_sequence(seqid);
	if (!bdr_kind_read(seqid, &row) || row.letter != bdr_galloc_method.letter)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("sequence \"%s\" is not of kind galloc", get_rel_name(seqid)),
				 errhint("The view bdr.sequences shows the kinds of sequences.")));
	InitMaterializedSRF(fcinfo, 0);
	if (bdr_is_node(&node))
		return_chunks((ReturnSetInfo *) fcinfo->resultinfo, bdr_chunks_of(row.key, node, GetActiveSnapshot()));
	return (Datum) 0;
}

static void
check_sequence(Oid seqid)
{
	char	   *name = get_rel_name(seqid);
	AclResult	right;

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", seqid)));
	if (get_rel_relkind(seqid) != RELKIND_SEQUENCE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a sequence", name)));
	right = pg_class_aclcheck(seqid, GetUserId(), ACL_SELECT);
	if (right != ACLCHECK_OK)
		aclcheck_error(right, OBJECT_SEQUENCE, name);
}

static void
return_chunks(ReturnSetInfo *result, List *chunks)
{
	ListCell   *lc;

	foreach(lc, chunks)
	{
		const BdrChunk *chunk = lfirst(lc);
		Datum		values[2] = {Int64GetDatum(chunk->first), Int64GetDatum(chunk->last)};
		bool		nulls[2] = {false, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

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
