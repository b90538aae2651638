/*-------------------------------------------------------------------------
 * apply/skew.h
 *		Peers whose clock is ahead of ours.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_SKEW_H
#define BDR_APPLY_SKEW_H

#include "postgres.h"

extern void bdr_skew_check(void);

#endif							/* BDR_APPLY_SKEW_H */
