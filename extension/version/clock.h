/*-------------------------------------------------------------------------
 * version/clock.h
 *		The newest commit time seen or committed on this server.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_VERSION_CLOCK_H
#define BDR_VERSION_CLOCK_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* 0: nothing was seen or committed since the server started. */
extern TimestampTz bdr_clock_high(void);

/*
 * Nothing local commits at or before time from now on, but for transactions
 * that are committing already: all that they wrote is in the tables and their
 * indexes, so whoever looks for it after this call finds it.
 */
extern void bdr_clock_raise(TimestampTz time);

/* Of a commit in a session that uses a replication origin; 0: the server's. */
extern TimestampTz bdr_clock_chosen_time(void);

/* What a transaction does that is about to take its commit time. */
extern void bdr_clock_wait(void);

/* What it does afterwards. */
extern void bdr_clock_committed(TimestampTz time);

/*
 * version/watermark.c: wait until those that have taken their commit time have
 * written their commit record.  False: somebody takes too long.
 */
extern bool bdr_clock_wait_for_commits(void);

/* For bdr.c and manager/supervisor.c. */
extern void bdr_clock_init(void);
extern void bdr_clock_configure(void);

#endif							/* BDR_VERSION_CLOCK_H */
