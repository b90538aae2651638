/*-------------------------------------------------------------------------
 * session/sequence/ksuuid.c
 *		Uuids that sort by the time at which they were made.
 *
 * NOTES
 *		Version 2: bytes 0 to 6 are the microseconds since 1970-01-01 00:00 UTC,
 *		big endian, until the year 4253; bytes 7 to 15 are random.  There are no
 *		bits for a version and a variant of RFC 9562.
 *
 *		Of two that one session makes without a time given, the later one is the
 *		larger one, also when the clock stands still or goes back: it then has
 *		the time of the one before, and bytes 8 to 15 of that and a random
 *		number of 32 bits more.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "port/pg_bswap.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#define TIME_BITS			56
#define TIME_MAX			((INT64CONST(1) << TIME_BITS) - 1)
#define UNIX_EPOCH \
	((UNIX_EPOCH_JDATE - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY)

/* Big endian both: the upper byte of the second is byte 8. */
typedef struct Ksuuid
{
	uint64		high;			/* the time, and a random byte */
	uint64		low;
} Ksuuid;

PG_FUNCTION_INFO_V1(bdr_gen_ksuuid_v2);
PG_FUNCTION_INFO_V1(bdr_ksuuid_v2_cmp);
PG_FUNCTION_INFO_V1(bdr_extract_timestamp_from_ksuuid_v2);

static Ksuuid next_ksuuid(void);
static Ksuuid make_ksuuid(int64 us);
static void fill_random(void *bytes, size_t size);
static int64 time_of(Ksuuid id);
static Ksuuid unpack(const pg_uuid_t *uuid);
static pg_uuid_t *pack(Ksuuid id);

Datum
bdr_gen_ksuuid_v2(PG_FUNCTION_ARGS)
{
	TimestampTz time;

	if (PG_ARGISNULL(0))
		PG_RETURN_UUID_P(pack(next_ksuuid()));
	time = PG_GETARG_TIMESTAMPTZ(0);
	if (time < UNIX_EPOCH || time > UNIX_EPOCH + TIME_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range for a KSUUID: \"%s\"", timestamptz_to_str(time)),
				 errdetail("The times of KSUUIDs are from 1970-01-01 00:00 UTC to the year 4253.")));
	PG_RETURN_UUID_P(pack(make_ksuuid(time - UNIX_EPOCH)));
}

Datum
bdr_ksuuid_v2_cmp(PG_FUNCTION_ARGS)
{
	int			order = memcmp(PG_GETARG_UUID_P(0)->data, PG_GETARG_UUID_P(1)->data, UUID_LEN);

	PG_RETURN_INT32(order > 0 ? 1 : order < 0 ? -1 : 0);
}

Datum
bdr_extract_timestamp_from_ksuuid_v2(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(UNIX_EPOCH + time_of(unpack(PG_GETARG_UUID_P(0))));
}

static Ksuuid
next_ksuuid(void)
{
	static Ksuuid last;
	int64		now = GetCurrentTimestamp() - UNIX_EPOCH;

	if (now > time_of(last))
		last = make_ksuuid(now);
	else
	{
		uint32		step;

		fill_random(&step, sizeof(step));
		if (last.low <= PG_UINT64_MAX - step - 1)
			last.low += (uint64) step + 1;
		else
			last = make_ksuuid(time_of(last) + 1);
	}
	return last;
}

static Ksuuid
make_ksuuid(int64 us)
{
	Ksuuid		id;

	fill_random(&id, sizeof(id));
	id.high = (uint64) us << (64 - TIME_BITS) | (id.high & 0xff);
	return id;
}

static void
fill_random(void *bytes, size_t size)
{
	if (!pg_strong_random(bytes, size))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
}

static int64
time_of(Ksuuid id)
{
	return id.high >> (64 - TIME_BITS);
}

static Ksuuid
unpack(const pg_uuid_t *uuid)
{
	Ksuuid		id;

	StaticAssertStmt(sizeof(Ksuuid) == UUID_LEN, "a KSUUID is a uuid");
	memcpy(&id, uuid->data, UUID_LEN);
	id.high = pg_ntoh64(id.high);
	id.low = pg_ntoh64(id.low);
	return id;
}

static pg_uuid_t *
pack(Ksuuid id)
{
	pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

	id.high = pg_hton64(id.high);
	id.low = pg_hton64(id.low);
	memcpy(uuid->data, &id, UUID_LEN);
	return uuid;
}
