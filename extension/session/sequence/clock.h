/*-------------------------------------------------------------------------
 * session/sequence/clock.h
 *		The clock of ids that are made from the time.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_SEQUENCE_CLOCK_H
#define BDR_SESSION_SEQUENCE_CLOCK_H

#include "postgres.h"

/* Ids that are made from now on are of this time, or later; in ms since the epoch. */
extern void bdr_id_clock_raise(int64 ms);

/* Sessions find out again which number this node has. */
extern void bdr_id_clock_forget_number(void);

/* The time now, in ms since the epoch, as ids have it. */
extern int64 bdr_id_clock_now(void);

extern void bdr_id_clock_init(void);

#endif							/* BDR_SESSION_SEQUENCE_CLOCK_H */
