/*-------------------------------------------------------------------------
 * session/sequence/id.c
 *		SQL functions that take ids of snowflakeid and timeshard sequences apart,
 *		and make the smallest id of a time.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/timestamp.h"

#include "session/sequence/layout.h"

#define US_PER_MS	INT64CONST(1000)

/* The epochs of ids and of Unix, as times of the server. */
#define UNIX_EPOCH	((UNIX_EPOCH_JDATE - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY)
#define ID_EPOCH	(UNIX_EPOCH + BDR_ID_EPOCH_UNIX_MS * US_PER_MS)

PG_FUNCTION_INFO_V1(bdr_extract_timestamp_from_snowflakeid);
PG_FUNCTION_INFO_V1(bdr_extract_nodeid_from_snowflakeid);
PG_FUNCTION_INFO_V1(bdr_extract_localseqid_from_snowflakeid);
PG_FUNCTION_INFO_V1(bdr_timestamp_to_snowflakeid);
PG_FUNCTION_INFO_V1(bdr_extract_timestamp_from_timeshard);
PG_FUNCTION_INFO_V1(bdr_extract_nodeid_from_timeshard);
PG_FUNCTION_INFO_V1(bdr_extract_localseqid_from_timeshard);
PG_FUNCTION_INFO_V1(bdr_timestamp_to_timeshard);

static int64 check_id(int64 id, const char *kind);
static TimestampTz time_of(int64 id);
static int64 first_id_of(TimestampTz time, const char *kind);

Datum
bdr_extract_timestamp_from_snowflakeid(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(time_of(check_id(PG_GETARG_INT64(0), "snowflakeid")));
}

Datum
bdr_extract_nodeid_from_snowflakeid(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(bdr_id_node(&bdr_snowflakeid_layout, check_id(PG_GETARG_INT64(0), "snowflakeid")));
}

Datum
bdr_extract_localseqid_from_snowflakeid(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(bdr_id_counter(&bdr_snowflakeid_layout, check_id(PG_GETARG_INT64(0), "snowflakeid")));
}

Datum
bdr_timestamp_to_snowflakeid(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(first_id_of(PG_GETARG_TIMESTAMPTZ(0), "snowflakeid"));
}

Datum
bdr_extract_timestamp_from_timeshard(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(time_of(check_id(PG_GETARG_INT64(0), "timeshard")));
}

Datum
bdr_extract_nodeid_from_timeshard(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(bdr_id_node(&bdr_timeshard_layout, check_id(PG_GETARG_INT64(0), "timeshard")));
}

Datum
bdr_extract_localseqid_from_timeshard(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(bdr_id_counter(&bdr_timeshard_layout, check_id(PG_GETARG_INT64(0), "timeshard")));
}

Datum
bdr_timestamp_to_timeshard(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(first_id_of(PG_GETARG_TIMESTAMPTZ(0), "timeshard"));
}

static int64
check_id(int64 id, const char *kind)
{
	if (id < 0)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%s " INT64_FORMAT " is negative", kind, id),
				 errdetail("No sequence of this kind makes such a value.")));
	return id;
}

static TimestampTz
time_of(int64 id)
{
	return ID_EPOCH + bdr_id_time(id) * US_PER_MS;
}

/*
 * No id that was made at that time or later is smaller; of those made before it,
 * some in the same millisecond may be as large.
 */
static int64
first_id_of(TimestampTz time, const char *kind)
{
	if (time < ID_EPOCH || (time - ID_EPOCH) / US_PER_MS > BDR_ID_TIME_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range for a %s: \"%s\"", kind, timestamptz_to_str(time)),
				 errdetail("The times of ids are from 2016-10-07 00:00 UTC to the year 2086.")));
	return (time - ID_EPOCH) / US_PER_MS << BDR_ID_LOW_BITS;
}
