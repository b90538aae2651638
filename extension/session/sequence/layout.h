/*-------------------------------------------------------------------------
 * session/sequence/layout.h
 *		Bits of the ids that are made from the time.
 *
 * NOTES
 *		An id is positive: 41 bits of milliseconds since the epoch, until the
 *		year 2086, then 22 bits for the number of the node and a counter.  A
 *		timeshard id has one bit less for the node and one more for the counter.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_SEQUENCE_LAYOUT_H
#define BDR_SESSION_SEQUENCE_LAYOUT_H

#include "postgres.h"

#define BDR_ID_EPOCH_UNIX_MS	INT64CONST(1475798400000)	/* 2016-10-07 00:00 UTC */
#define BDR_ID_LOW_BITS			22	/* node and counter together */
#define BDR_ID_TIME_BITS		41
#define BDR_ID_TIME_MAX			((INT64CONST(1) << BDR_ID_TIME_BITS) - 1)

typedef struct BdrIdLayout
{
	int			node_bits;
	int			counter_bits;
} BdrIdLayout;

static const BdrIdLayout bdr_snowflakeid_layout = {10, 12};
static const BdrIdLayout bdr_timeshard_layout = {9, 13};

static inline int64
bdr_id_make(const BdrIdLayout *layout, int64 ms, int64 node, int64 counter)
{
	return ms << BDR_ID_LOW_BITS | node << layout->counter_bits | counter;
}

static inline int64
bdr_id_time(int64 id)
{
	return id >> BDR_ID_LOW_BITS;
}

static inline int32
bdr_id_node(const BdrIdLayout *layout, int64 id)
{
	return (id >> layout->counter_bits) & ((1 << layout->node_bits) - 1);
}

static inline int32
bdr_id_counter(const BdrIdLayout *layout, int64 id)
{
	return id & ((1 << layout->counter_bits) - 1);
}

#endif							/* BDR_SESSION_SEQUENCE_LAYOUT_H */
