/*-------------------------------------------------------------------------
 * output/origin_progress.h
 *		How far the sender is with the changes of its peers.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_OUTPUT_ORIGIN_PROGRESS_H
#define BDR_OUTPUT_ORIGIN_PROGRESS_H

#include "postgres.h"

#include "output/output.h"

extern void bdr_origin_progress_start(BdrOutput *output);
extern void bdr_origin_progress_note(BdrOutput *output, uint32 node);
extern void bdr_origin_progress_raise(BdrOutput *output, uint32 node, TimestampTz time);

#endif							/* BDR_OUTPUT_ORIGIN_PROGRESS_H */
