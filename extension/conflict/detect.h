/*-------------------------------------------------------------------------
 * conflict/detect.h
 *		What an incoming version collides with.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_CONFLICT_DETECT_H
#define BDR_CONFLICT_DETECT_H

#include "postgres.h"

#include "conflict/case.h"

extern void bdr_case_describe(BdrCase *c);
extern void bdr_case_gather(BdrCase *c);
extern void bdr_case_end(BdrCase *c);
extern bool bdr_case_is_surpassed(BdrCase *c);
extern bool bdr_case_overlooked(BdrCase *c);

#endif							/* BDR_CONFLICT_DETECT_H */
