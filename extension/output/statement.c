/*-------------------------------------------------------------------------
 * output/statement.c
 *		Statements that run on every node, on their way to the peers.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"

#include "base/tables.h"
#include "output/frame.h"
#include "output/replication_set.h"
#include "output/statement.h"

static bool is_empty(Datum text);

/*
 * Which sets it goes with was decided where it was typed (session/ddl/sets.c); none
 * are the default one.
 */
bool
bdr_statement_is_sent(BdrOutput *output, const BdrSentRelation *sent, TupleDesc desc, HeapTuple tuple)
{
	bool		isnull;
	Datum		sets;

	output->in_statement = DatumGetChar(heap_getattr(tuple, BDR_QUEUE_MESSAGE_TYPE, desc, &isnull)) == BDR_QUEUE_PART;
	if (output->in_statement)
		return false;
	sets = heap_getattr(tuple, BDR_QUEUE_REPLICATION_SETS, desc, &isnull);
	if (!isnull)
		return bdr_sets_have_one_of(output, DatumGetArrayTypeP(sets));
	return sent->is_default || is_empty(heap_getattr(tuple, BDR_QUEUE_MESSAGE, desc, &isnull));
}

/* It only says what comes before the rows that follow, and those may be of any set. */
static bool
is_empty(Datum text)
{
	return toast_raw_datum_size(text) == VARHDRSZ;
}

/*
 * A subscriber that does not know the message would lack what the rows behind it
 * need: that stops the stream.
 */
void
bdr_statement_write(BdrOutput *output, TupleDesc desc, HeapTuple tuple)
{
	Datum		values[BDR_QUEUE_COLUMNS];
	bool		nulls[BDR_QUEUE_COLUMNS];

	heap_deform_tuple(tuple, desc, values, nulls);
	if (output->protocol < BDR_WIRE_VERSION_STATEMENT)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot send DDL to a subscriber that reads protocol version %d", output->protocol),
				 errdetail("Statements are sent since version %d.", BDR_WIRE_VERSION_STATEMENT),
				 errhint("Install a newer version of bdr on the subscriber; replication then continues by itself.")));
	bdr_wire_write_statement(output, NameStr(*DatumGetName(values[BDR_QUEUE_ROLE - 1])),
							 DatumGetBool(values[BDR_QUEUE_ROLE_SUPERUSER - 1]),
							 nulls[BDR_QUEUE_REPLICATION_SETS - 1] ? NULL : DatumGetArrayTypeP(values[BDR_QUEUE_REPLICATION_SETS - 1]),
							 DatumGetArrayTypeP(values[BDR_QUEUE_SETTINGS - 1]),
							 DatumGetTextPP(values[BDR_QUEUE_MESSAGE - 1]));
}
