/*-------------------------------------------------------------------------
 * version/barrier.c
 *		A place in this node's WAL behind which everything is newer than a time.
 *
 * NOTES
 *		A node that joins copies rows of one node without their versions, and
 *		hears the others from their barriers on.  What comes then must be newer
 *		than every row that was copied (decision 0005).
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "version/clock.h"

/* Columns of bdr.internal_barrier(). */
enum
{
	BARRIER_CLOCK,
	BARRIER_POSITION,
	BARRIER_COLUMNS
};

PG_FUNCTION_INFO_V1(bdr_internal_barrier);

/*
 * clock: nothing that is here is newer.  position: all commits behind it are
 * newer than time; NULL while the clock has not passed that, or somebody takes
 * too long to commit.
 *
 * The newest time is raised only when the clock has passed it: a peer's clock
 * that is ahead must not keep our users from committing.
 */
Datum
bdr_internal_barrier(PG_FUNCTION_ARGS)
{
	TimestampTz time = PG_GETARG_INT64(0);
	TimestampTz now = GetCurrentTimestamp();
	TupleDesc	desc;
	Datum		values[BARRIER_COLUMNS];
	bool		nulls[BARRIER_COLUMNS] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[BARRIER_CLOCK] = Int64GetDatum(Max(now, bdr_clock_high()));
	nulls[BARRIER_POSITION] = true;
	if (now > time)
	{
		bdr_clock_raise(time);
		nulls[BARRIER_POSITION] = !bdr_clock_wait_for_commits();
	}
	if (!nulls[BARRIER_POSITION])
		values[BARRIER_POSITION] = LSNGetDatum(GetXLogInsertRecPtr());
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
