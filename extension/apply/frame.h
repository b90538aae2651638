/*-------------------------------------------------------------------------
 * apply/frame.h
 *		The messages of a frame, each to whom it is for.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_APPLY_FRAME_H
#define BDR_APPLY_FRAME_H

#include "postgres.h"

#include "base/reader.h"

extern void bdr_frame_apply(const char *start, Size len);
extern void bdr_frame_apply_messages(BdrReader *reader);

#endif							/* BDR_APPLY_FRAME_H */
