/*-------------------------------------------------------------------------
 * session/sequence/chunk_info.c
 *		The chunks of a galloc sequence that this node has.
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

#include "base/tables.h"

#define KIND_GALLOC		'g'

/* Columns of bdr.sequence_kind, bdr.sequence_chunk and bdr.local_node. */
#define KIND_SEQID		1
#define KIND_SEQKIND	2
#define KIND_SEQ_KEY	3
#define CHUNK_SEQ_KEY	1
#define CHUNK_FIRST		2
#define CHUNK_LAST		3
#define CHUNK_NODE_ID	4
#define LOCAL_NODE_ID	2

PG_FUNCTION_INFO_V1(bdr_galloc_chunk_info);

static void check_sequence(Oid seqid);
static char *galloc_key(Oid seqid);
static Oid	this_node(void);
static void return_chunks(ReturnSetInfo *result, const char *seq_key, Oid node);
static Datum column_of(Relation rel, HeapTuple row, int column);

Datum
bdr_galloc_chunk_info(PG_FUNCTION_ARGS)
{
	Oid			seqid = PG_GETARG_OID(0);
	char	   *seq_key;

	check_sequence(seqid);
	seq_key = galloc_key(seqid);
	if (seq_key == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("sequence \"%s\" is not of kind galloc", get_rel_name(seqid)),
				 errhint("The view bdr.sequences shows the kinds of sequences.")));
	InitMaterializedSRF(fcinfo, 0);
	return_chunks((ReturnSetInfo *) fcinfo->resultinfo, seq_key, this_node());
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

/*
 * Under which name the cluster knows it; NULL: it is of another kind.
 */
static char *
galloc_key(Oid seqid)
{
	Relation	kinds = bdr_catalog_open("sequence_kind", AccessShareLock);
	char	   *found = NULL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	row;

	ScanKeyInit(&key, KIND_SEQID, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(seqid));
	scan = systable_beginscan(kinds, bdr_catalog_relation("sequence_kind_pkey"), true, GetActiveSnapshot(), 1, &key);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row) && DatumGetChar(column_of(kinds, row, KIND_SEQKIND)) == KIND_GALLOC)
		found = TextDatumGetCString(column_of(kinds, row, KIND_SEQ_KEY));
	systable_endscan(scan);
	table_close(kinds, AccessShareLock);
	return found;
}

static Oid
this_node(void)
{
	Relation	nodes = bdr_catalog_open("local_node", AccessShareLock);
	SysScanDesc scan = systable_beginscan(nodes, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	HeapTuple	row = systable_getnext(scan);
	Oid			found = HeapTupleIsValid(row) ? DatumGetObjectId(column_of(nodes, row, LOCAL_NODE_ID)) : InvalidOid;

	systable_endscan(scan);
	table_close(nodes, AccessShareLock);
	return found;
}

static void
return_chunks(ReturnSetInfo *result, const char *seq_key, Oid node)
{
	Relation	chunks = bdr_catalog_open("sequence_chunk", AccessShareLock);
	Relation	index = index_open(bdr_catalog_relation("sequence_chunk_pkey"), AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	row;

	ScanKeyInit(&key, CHUNK_SEQ_KEY, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(seq_key));
	scan = systable_beginscan_ordered(chunks, index, GetActiveSnapshot(), 1, &key);
	while (HeapTupleIsValid(row = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		Datum		values[2] = {column_of(chunks, row, CHUNK_FIRST), column_of(chunks, row, CHUNK_LAST)};
		bool		nulls[2] = {false, false};

		if (DatumGetObjectId(column_of(chunks, row, CHUNK_NODE_ID)) == node)
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(chunks, AccessShareLock);
}

/* None of the columns that are read here may be NULL. */
static Datum
column_of(Relation rel, HeapTuple row, int column)
{
	bool		isnull;

	return heap_getattr(row, column, RelationGetDescr(rel), &isnull);
}
