/*-------------------------------------------------------------------------
 * session/dropped.h
 *		Tables that were dropped here not long ago.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_DROPPED_H
#define BDR_SESSION_DROPPED_H

#include "postgres.h"

extern void bdr_dropped_init(void);

#endif							/* BDR_SESSION_DROPPED_H */
