/*-------------------------------------------------------------------------
 * apply/skew.h
 *		Peers whose clock is ahead of ours.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_SKEW_H
#define BDR_APPLY_SKEW_H

#include "postgres.h"

typedef enum BdrSkewAction
{
	BDR_SKEW_WARN,
	BDR_SKEW_WAIT
} BdrSkewAction;

/* The defaults of both settings: what makes nodes equal. */
#define BDR_MAXIMUM_CLOCK_SKEW			0
#define BDR_MAXIMUM_CLOCK_SKEW_ACTION	BDR_SKEW_WAIT

extern int	bdr_maximum_clock_skew; /* ms; -1: any */
extern int	bdr_maximum_clock_skew_action;

extern void bdr_skew_check(void);

#endif							/* BDR_APPLY_SKEW_H */
