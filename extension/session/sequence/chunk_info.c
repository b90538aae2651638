/*-------------------------------------------------------------------------
 * session/sequence/chunk_info.c
 *		bdr.galloc_chunk_info.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "base/membership.h"
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
