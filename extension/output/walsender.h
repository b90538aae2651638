/*-------------------------------------------------------------------------
 * output/walsender.h
 *		Inside the walsender's loop: when pending frames leave.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_OUTPUT_WALSENDER_H
#define BDR_OUTPUT_WALSENDER_H

#include "postgres.h"

#include "output/output.h"

extern void bdr_sender_attach(BdrOutput *output);
extern void bdr_sender_detach(BdrOutput *output);
extern bool bdr_sender_is_attached(const BdrOutput *output);

#endif							/* BDR_OUTPUT_WALSENDER_H */
