/*-------------------------------------------------------------------------
 * session/sequence.c
 *		Where a sequence stands, by its oid: SELECT ... FROM its name would run
 *		what has that name by now.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(bdr_internal_sequence);

static void read_position(Relation rel, int64 *last_value, bool *is_called);

Datum
bdr_internal_sequence(PG_FUNCTION_ARGS)
{
	Relation	rel;
	TupleDesc	tupdesc;
	Datum		values[2] = {0};
	bool		nulls[2] = {true, true};
	int64		last_value;
	bool		is_called;

	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser to read sequences for a join")));
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	rel = try_relation_open(PG_GETARG_OID(0), AccessShareLock);
	if (rel != NULL && rel->rd_rel->relkind == RELKIND_SEQUENCE &&
		rel->rd_rel->relpersistence != RELPERSISTENCE_TEMP)
	{
		read_position(rel, &last_value, &is_called);
		values[0] = Int64GetDatum(last_value);
		values[1] = BoolGetDatum(is_called);
		nulls[0] = nulls[1] = false;
	}
	if (rel != NULL)
		relation_close(rel, AccessShareLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(tupdesc, values, nulls)));
}

/* A sequence is a table of one row, in its first page. */
static void
read_position(Relation rel, int64 *last_value, bool *is_called)
{
	Buffer		buffer = ReadBuffer(rel, 0);
	Page		page = BufferGetPage(buffer);
	HeapTupleHeader tuple;
	Form_pg_sequence_data data;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	tuple = (HeapTupleHeader) PageGetItem(page, PageGetItemId(page, FirstOffsetNumber));
	data = (Form_pg_sequence_data) ((char *) tuple + tuple->t_hoff);
	*last_value = data->last_value;
	*is_called = data->is_called;
	UnlockReleaseBuffer(buffer);
}
