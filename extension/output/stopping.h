/*-------------------------------------------------------------------------
 * output/stopping.h
 *		When the server stops.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_OUTPUT_STOPPING_H
#define BDR_OUTPUT_STOPPING_H

#include "postgres.h"

#include "output/output.h"

extern void bdr_stopping_check(void);

#endif							/* BDR_OUTPUT_STOPPING_H */
